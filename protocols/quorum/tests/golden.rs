//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::fmt::Debug;

use common::{KEY, RING, VOTERS, record, stale};
use henge_quorum::{Refusal, Request, Response, Want};
use henge_types::{Key, Record, codec};
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
    let key = || Key::new(KEY).unwrap();
    let (ring, voters) = (RING, VOTERS);
    check("request.write", &Request::Write { ring, voters, key: key(), record: record(), strict: true });
    check(
        "request.read.record",
        &Request::Read { ring, voters, key: key(), want: Want::Record, strict: false },
    );
    check(
        "request.read.digest",
        &Request::Read { ring, voters, key: key(), want: Want::Digest, strict: true },
    );
    let primary = common::peer(1);
    check("request.keep", &Request::Keep { ring, primary, key: key(), record: record() });
    check("request.hint", &Request::Hint { ring, key: key() });
}

#[test]
fn responses() {
    check("response.written", &Response::Written);
    check("response.record", &Response::Record(record()));
    check("response.record.empty", &Response::Record(Record::new()));
    check("response.digest", &Response::Digest(record().digest()));
    check("response.hint", &Response::Hint(Some(record())));
    check("response.hint.none", &Response::Hint(None));
    check("response.stale", &stale());
}

#[test]
fn refusals() {
    check("refused.other_ring", &Response::Refused(Refusal::OtherRing { ring: RING }));
    check("refused.not_member", &Response::Refused(Refusal::NotMember));
    check("refused.damaged", &Response::Refused(Refusal::Damaged));
    check("refused.too_large", &Response::Refused(Refusal::TooLarge));
    check("refused.store", &Response::Refused(Refusal::Store));
    check("refused.hints_full", &Response::Refused(Refusal::HintsFull));
    check("refused.no_lease", &Response::Refused(Refusal::NoLease));
    check("refused.overloaded", &Response::Refused(Refusal::Overloaded));
}
