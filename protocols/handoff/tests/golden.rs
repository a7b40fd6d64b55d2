//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::fmt::Debug;

use common::{RING, deliver, delivered};
use henge_handoff::{Refusal, Response};
use henge_types::codec;
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
fn messages() {
    check("request.deliver", &deliver(1));
    check("request.deliver.none", &deliver(0));
    check("response.delivered", &delivered());
    check("refused.not_member", &Response::Refused(Refusal::NotMember));
    check("refused.other_ring", &Response::Refused(Refusal::OtherRing { ring: RING }));
    check("refused.overloaded", &Response::Refused(Refusal::Overloaded));
}
