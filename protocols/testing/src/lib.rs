//! What the tests of all protocols ask of their messages: that their bytes stay what they are, and that bytes of
//! anybody do no harm. Each function fails the test that calls it by a panic.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a failed test panics")]

use std::fmt::Debug;

use henge_types::codec::{decode, encode};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a message has to be able to do.
pub trait Message: Serialize + DeserializeOwned + PartialEq + Debug {}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Message for T {}

/// Bytes that may not change: one line for each message, its name and its bytes in hex.
#[derive(Debug, Clone, Copy)]
pub struct Golden(pub &'static str);

impl Golden {
    /// `value` is encoded as the line of this name says, and read back.
    pub fn check<T: Message>(&self, name: &str, value: &T) {
        let bytes = encode(value).unwrap();
        assert_eq!(decode::<T>(&bytes).unwrap(), *value);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert_eq!(line, Some(hex.as_str()), "\n{name} {hex}");
    }
}

/// Requests and responses of one protocol, as samples of what comes.
#[derive(Debug)]
pub struct Samples<Req, Res> {
    /// Some of each kind.
    pub requests: Vec<Req>,
    /// Some of each kind.
    pub responses: Vec<Res>,
}

impl<Req: Message, Res: Message> Samples<Req, Res> {
    // What can be decoded survives being encoded.
    fn read_as<T: Message>(bytes: &[u8]) {
        let Ok(value) = decode::<T>(bytes) else { return };
        assert_eq!(decode::<T>(&encode(&value).unwrap()).as_ref(), Ok(&value));
        let _ = format!("{value:?}");
    }

    fn read(bytes: &[u8]) {
        Self::read_as::<Req>(bytes);
        Self::read_as::<Res>(bytes);
    }

    fn encoded(&self) -> Vec<Vec<u8>> {
        let requests = self.requests.iter().map(|r| encode(r).unwrap());
        requests.chain(self.responses.iter().map(|r| encode(r).unwrap())).collect()
    }

    /// Arbitrary bytes, samples that are damaged, and such as nest deeply or declare lengths beyond reason,
    /// are read or refused.
    pub fn survive_hostile_bytes(&self) {
        let arbitrary = prop::collection::vec(any::<u8>(), 0..300);
        TestRunner::default()
            .run(&arbitrary, |bytes| {
                Self::read(&bytes);
                Ok(())
            })
            .unwrap();
        self.survive_damage();
        self.survive_nesting_and_declared_lengths();
    }

    fn survive_damage(&self) {
        let samples = self.encoded();
        let insert = prop::collection::vec(any::<u8>(), 0..4);
        let damage = (any::<Index>(), any::<Index>(), any::<Index>(), any::<u8>(), insert);
        TestRunner::default()
            .run(&damage, |(sample, at, cut, byte, insert)| {
                let mut bytes = sample.get(&samples).clone();
                let at = at.index(bytes.len());
                bytes.splice(at..=at, [byte]);
                Self::read(&bytes);
                bytes.splice(at..at, insert);
                Self::read(&bytes);
                bytes.truncate(cut.index(bytes.len()));
                Self::read(&bytes);
                Ok(())
            })
            .unwrap();
    }

    fn survive_nesting_and_declared_lengths(&self) {
        let deep = [&[0x81; 2000][..], &[0x9f; 2000], &[0xc0; 2000], &[0x5f; 2000]];
        let long = [0x9b_u8, 0xbb, 0x5b, 0x7b].map(|head| [&[head][..], &u64::MAX.to_be_bytes()].concat());
        for sample in self.encoded() {
            for at in 0..sample.len() {
                let front = sample.get(..at).unwrap();
                for tail in deep.into_iter().chain(long.iter().map(Vec::as_slice)) {
                    Self::read(&[front, tail].concat());
                }
            }
        }
    }

    /// A request with more behind it is refused.
    pub fn refuse_what_is_behind(&self) {
        for request in &self.requests {
            let bytes = [encode(request).unwrap(), vec![0xf6]].concat();
            assert!(decode::<Req>(&bytes).is_err(), "{request:?}");
        }
    }
}

/// A message whose first map of `fields` fields has one more is read as if it had not: later versions may say more.
pub fn ignores_later_fields<T: Message>(message: &T, fields: u8) {
    let mut later = encode(message).unwrap();
    let at = later.iter().position(|byte| *byte == 0xa0 + fields).unwrap();
    let field = [&[0x65][..], b"later", &[0x82, 0x01, 0xf5]].concat();
    later.splice(at..=at, [&[0xa0 + fields + 1][..], &field].concat());
    assert_eq!(decode::<T>(&later).as_ref(), Ok(message));
}
