//! Bytes from anybody: what is not a message is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use bytes::Bytes;
use henge_sync::{Answer, Head, Request, Response};
use henge_testing::{Samples, ignores_later_fields};
use henge_types::{Key, Partition, RecordDigest, RingId, VotersDigest};

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
    ignores_later_fields(&requests().remove(0), 2);
}
