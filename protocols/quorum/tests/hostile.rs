//! Bytes from anybody: what is not a message is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{requests, responses, stale};
use henge_quorum::{Request, Response, STALE_MEMBERS_MAX};
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
    ignores_later_fields(&requests().remove(1), 5);
}

#[test]
fn more_members_than_a_stale_answer_may_have_are_not_read() {
    let Response::Stale { members } = stale() else { return };
    let with = |count: usize| {
        let members = members.iter().cycle().take(count).cloned().collect();
        encode(&Response::Stale { members }).unwrap()
    };
    assert!(decode::<Response>(&with(STALE_MEMBERS_MAX)).is_ok());
    assert!(decode::<Response>(&with(STALE_MEMBERS_MAX + 1)).is_err());
}
