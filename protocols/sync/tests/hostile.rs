//! Bytes from anybody: what is not a message is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fmt::Debug;

use bytes::Bytes;
use henge_sync::{Answer, Head, Request, Response};
use henge_types::codec::{decode, encode};
use henge_types::{Key, Partition, RecordDigest, RingId, VotersDigest};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn requests() -> Vec<Request> {
    let entries = vec![(Partition(0), VotersDigest([1; 16])), (Partition(9), VotersDigest([2; 16]))];
    let head = Head { ring: RingId([0xa5; 16]), salt: [1; 8], width: 4, durable: true, voters: None };
    let bytes = Bytes::from_static(&[0, 1, 2, 3]);
    vec![
        Request::Compare { ring: RingId([0xa5; 16]), entries },
        Request::Collect {
            ring: RingId([0xa5; 16]),
            partition: Partition(9),
            voters: VotersDigest([2; 16]),
            dead: vec![(Key::new(Bytes::from_static(b"sky")).unwrap(), RecordDigest([3; 32]))],
            forget: false,
        },
        Request::Groups { head: head.clone(), partitions: bytes.clone(), size: 1, hashes: bytes.clone() },
        Request::Push { head, records: Vec::new() },
    ]
}

fn responses() -> Vec<Response> {
    let stale = Bytes::from_static(&[0, 1, 2, 3]);
    vec![
        Response::Compared { answers: vec![Answer::Stale, Answer::Empty, Answer::Occupied] },
        Response::Collected { agreed: vec![true, false] },
        Response::Codes { stale: stale.clone(), codes: stale.clone() },
        Response::Records { stale, covered: 9, records: Vec::new() },
    ]
}

/// Decodes; what can be decoded survives being encoded.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    assert_eq!(decode::<T>(&encode(&value).unwrap()).as_ref(), Ok(&value));
    let _ = format!("{value:?}");
}

fn read_as_everything(bytes: &[u8]) {
    read::<Request>(bytes);
    read::<Response>(bytes);
}

fn samples() -> Vec<Vec<u8>> {
    let requests = requests().iter().map(|r| encode(r).unwrap()).collect::<Vec<_>>();
    let responses = responses().iter().map(|r| encode(r).unwrap()).collect();
    [requests, responses].concat()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(
        sample: Index, at: Index, cut: Index, byte: u8, insert in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let samples = samples();
        let mut bytes = sample.get(&samples).clone();
        let at = at.index(bytes.len());
        bytes.splice(at..=at, [byte]);
        read_as_everything(&bytes);
        bytes.splice(at..at, insert);
        read_as_everything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        read_as_everything(&bytes);
    }
}

#[test]
fn nesting_and_declared_lengths_never_panic() {
    let deep = [&[0x81; 2000][..], &[0x9f; 2000], &[0xc0; 2000], &[0x5f; 2000]];
    let long = [0x9b_u8, 0xbb, 0x5b, 0x7b].map(|head| [&[head][..], &u64::MAX.to_be_bytes()].concat());
    for sample in samples() {
        for at in 0..sample.len() {
            let front = sample.get(..at).unwrap();
            for tail in deep.into_iter().chain(long.iter().map(Vec::as_slice)) {
                read_as_everything(&[front, tail].concat());
            }
        }
    }
}

#[test]
fn a_message_with_more_behind_it_is_refused() {
    for request in requests() {
        let bytes = [encode(&request).unwrap(), vec![0xf6]].concat();
        assert!(decode::<Request>(&bytes).is_err());
    }
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    let request = requests().remove(0);
    let mut later = encode(&request).unwrap();
    let fields = later.iter().position(|b| *b == 0xa2).unwrap();
    let field = [&[0x65][..], b"later", &[0x82, 0x01, 0xf5]].concat();
    later.splice(fields..=fields, [&[0xa3][..], &field].concat());
    assert_eq!(decode::<Request>(&later), Ok(request));
}
