//! One of everything that a message of handoff can hold.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use bytes::Bytes;
use henge_handoff::{Outcome, Refusal, Request, Response};
use henge_types::{ActorId, Clock, Content, Dot, Key, OperationId, Record, RingId, Write};

pub const RING: RingId = RingId([0xa5; 16]);
const NOW: u64 = 1_700_000_000_000;

pub fn key() -> Key {
    Key::new(Bytes::from_static(b"stone")).unwrap()
}

pub fn record() -> Record {
    let write = Write {
        dot: Dot { actor: ActorId([1; 16]), counter: 1 },
        supersede: Clock::new(),
        content: Content::Value(Bytes::from_static(b"blue")),
        written_at: NOW,
        expires_at: Some(NOW + 60_000),
        operation: OperationId([0x11; 16]),
    };
    let mut record = Record::new();
    record.apply(&write).unwrap();
    record
}

pub fn deliver(count: usize) -> Request {
    Request::Deliver { ring: RING, records: vec![(key(), record()); count] }
}

pub fn delivered() -> Response {
    let results = vec![Outcome::Merged, Outcome::NotVoter, Outcome::TooLarge, Outcome::Failed];
    Response::Delivered { results }
}

pub fn requests() -> Vec<Request> {
    vec![deliver(1), deliver(2)]
}

pub fn responses() -> Vec<Response> {
    let refusals = [Refusal::NotMember, Refusal::OtherRing { ring: RING }, Refusal::Overloaded];
    let mut responses = vec![delivered()];
    responses.extend(refusals.map(Response::Refused));
    responses
}
