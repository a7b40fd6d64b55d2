//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fmt::Debug;

use henge_sync::{Answer, Request, Response};
use henge_types::{Partition, RingId, VotersDigest, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One line for each: its name, and its bytes in hex.
const GOLDEN: &str = include_str!("golden.txt");

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = codec::encode(value).unwrap();
    assert_eq!(codec::decode::<T>(&bytes).unwrap(), *value);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert_eq!(line, Some(hex.as_str()), "\n{name} {hex}");
}

#[test]
fn requests() {
    let entries =
        vec![(Partition(0), VotersDigest([0x0d; 16])), (Partition(16_383), VotersDigest([0x0e; 16]))];
    check("request.compare", &Request::Compare { ring: RingId([0xa5; 16]), entries });
}

#[test]
fn responses() {
    let answers = vec![Answer::Stale, Answer::Empty, Answer::Occupied];
    check("response.compared", &Response::Compared { answers });
    check("response.refused", &Response::Refused);
}
