//! Bytes from anybody: what is not a message is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{requests, responses};
use henge_client::{Request, Response};
use henge_testing::{Samples, ignores_later_fields};

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
    ignores_later_fields(&requests().remove(3), 4);
}
