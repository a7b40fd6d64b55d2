#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::frame::{Front, parse};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Message {
    Leaf,
    Node(Box<Self>),
    Fields { name: String, numbers: Vec<u64> },
}

struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode(&mut buffer, Kind::Request, 1, value, 1 << 20).unwrap();
    let Ok(Front::Whole { frame, bytes }) = parse(&buffer, 1 << 20) else { panic!("not whole") };
    assert_eq!(bytes, buffer.len());
    frame.body.to_vec()
}

#[test]
fn values_are_read_back() {
    let message = Message::Fields { name: "a".into(), numbers: vec![1, u64::MAX] };
    assert_eq!(decode(&encoded(&message)), Some(message));
}

/// Bodies are plain CBOR, so that other languages can speak the protocol.
#[test]
fn golden_body() {
    assert_eq!(encoded(&(1_u8, "a", Some(true))), [0x83, 0x01, 0x61, b'a', 0xf5]);
}

#[test]
fn the_frame_limit_is_met_exactly_and_the_buffer_left_alone_beyond_it() {
    let value = "x".repeat(100);
    let frame_bytes = HEAD_BYTES + 102;
    let mut buffer = vec![1, 2, 3];
    let result = encode(&mut buffer, Kind::Response, 1, &value, frame_bytes - 1);
    assert_eq!(
        (result, buffer.as_slice()),
        (Err(Unencodable::TooLarge { bytes: frame_bytes }), &[1, 2, 3][..])
    );
    assert_eq!(encode(&mut buffer, Kind::Response, 1, &value, frame_bytes), Ok(()));
    assert_eq!(buffer.len(), 3 + 4 + frame_bytes);
}

#[test]
fn a_value_that_refuses_leaves_no_half_frame() {
    let mut buffer = Vec::new();
    let result = encode(&mut buffer, Kind::Request, 1, &("before", Refuses), 1000);
    assert_eq!((result, buffer.len()), (Err(Unencodable::Unserialisable), 0));
}

#[test]
fn trailing_and_missing_bytes_are_refused() {
    let mut body = encoded(&Message::Leaf);
    body.push(0);
    assert_eq!(decode::<Message>(&body), None);
    body.truncate(body.len() - 2);
    assert_eq!(decode::<Message>(&body), None);
    assert_eq!(decode::<Message>(&[]), None);
}

/// A body of a few bytes that announces four billion elements, or bytes, decodes to nothing and allocates little.
#[test]
fn announced_lengths_are_not_believed() {
    for major in [0x5b, 0x7b, 0x9b, 0xbb] {
        let body = [major, 0, 0, 0, 1, 0, 0, 0, 0, 1];
        assert_eq!(decode::<Vec<u64>>(&body), None);
        assert_eq!(decode::<String>(&body), None);
        assert_eq!(decode::<BTreeMap<u64, u64>>(&body), None);
        assert!(decode::<serde::de::IgnoredAny>(&body).is_none());
    }
}

/// On a thread with a quarter of the usual stack, in an unoptimised build: a deep body is refused, not a crash.
#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let check = || {
        // `{"Node": {"Node": ...`
        let nested = |depth: usize| [&b"\xa1\x64Node".repeat(depth)[..], b"\x64Leaf"].concat();
        assert!(decode::<Message>(&nested(100)).is_some());
        assert_eq!(decode::<Message>(&nested(100_000)), None);
        assert!(decode::<serde::de::IgnoredAny>(&vec![0x81; 100_000]).is_none());
        assert!(decode::<serde::de::IgnoredAny>(&vec![0xc1; 100_000]).is_none());
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(check).unwrap().join().unwrap();
}
