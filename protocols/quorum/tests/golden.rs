//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{KEY, RING, VOTERS, record, stale};
use henge_quorum::{Refusal, Request, Response, Want};
use henge_testing::Golden;
use henge_types::{Key, Record};

const GOLDEN: Golden = Golden(include_str!("golden.txt"));

#[test]
fn requests() {
    let key = || Key::new(KEY).unwrap();
    let (ring, voters) = (RING, VOTERS);
    GOLDEN
        .check("request.write", &Request::Write { ring, voters, key: key(), record: record(), strict: true });
    GOLDEN.check(
        "request.read.record",
        &Request::Read { ring, voters, key: key(), want: Want::Record, strict: false },
    );
    GOLDEN.check(
        "request.read.digest",
        &Request::Read { ring, voters, key: key(), want: Want::Digest, strict: true },
    );
    let primary = common::peer(1);
    GOLDEN.check("request.keep", &Request::Keep { ring, primary, key: key(), record: record() });
    GOLDEN.check("request.hint", &Request::Hint { ring, key: key() });
}

#[test]
fn responses() {
    GOLDEN.check("response.written", &Response::Written);
    GOLDEN.check("response.record", &Response::Record(record()));
    GOLDEN.check("response.record.empty", &Response::Record(Record::new()));
    GOLDEN.check("response.digest", &Response::Digest(record().digest()));
    GOLDEN.check("response.hint", &Response::Hint(Some(record())));
    GOLDEN.check("response.hint.none", &Response::Hint(None));
    GOLDEN.check("response.stale", &stale());
}

#[test]
fn refusals() {
    GOLDEN.check("refused.other_ring", &Response::Refused(Refusal::OtherRing { ring: RING }));
    GOLDEN.check("refused.not_member", &Response::Refused(Refusal::NotMember));
    GOLDEN.check("refused.damaged", &Response::Refused(Refusal::Damaged));
    GOLDEN.check("refused.too_large", &Response::Refused(Refusal::TooLarge));
    GOLDEN.check("refused.store", &Response::Refused(Refusal::Store));
    GOLDEN.check("refused.hints_full", &Response::Refused(Refusal::HintsFull));
    GOLDEN.check("refused.no_lease", &Response::Refused(Refusal::NoLease));
    GOLDEN.check("refused.overloaded", &Response::Refused(Refusal::Overloaded));
}
