//! Bytes from anybody: what is not a message is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{deliver, requests, responses};
use henge_handoff::{DELIVER_MAX, Outcome, Request, Response};
use henge_testing::{Samples, ignores_later_fields};
use henge_types::codec::{decode, encode};

fn samples() -> Samples<Request, Response> {
    Samples { requests: requests(), responses: responses() }
}

#[test]
fn bytes_of_anybody_never_panic() {
    samples().survive_hostile_bytes();
}

#[test]
fn a_message_with_more_behind_it_is_refused() {
    samples().refuse_what_is_behind();
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    ignores_later_fields(&deliver(1), 2);
}

#[test]
fn more_than_a_delivery_may_have_is_not_read() {
    let results = |count| encode(&Response::Delivered { results: vec![Outcome::Merged; count] }).unwrap();
    assert!(decode::<Request>(&encode(&deliver(DELIVER_MAX)).unwrap()).is_ok());
    assert!(decode::<Request>(&encode(&deliver(DELIVER_MAX + 1)).unwrap()).is_err());
    assert!(decode::<Response>(&results(DELIVER_MAX)).is_ok());
    assert!(decode::<Response>(&results(DELIVER_MAX + 1)).is_err());
}
