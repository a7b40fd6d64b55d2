#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::*;

const LIMIT: usize = 1 << 20;

fn framed(kind: Kind, id: u64, body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    let start = begin(&mut buffer, kind, id);
    buffer.extend_from_slice(body);
    finish(&mut buffer, start);
    buffer
}

/// These bytes are the protocol: a change here is a new protocol name.
#[test]
fn golden_frames() {
    assert_eq!(
        framed(Kind::Request, 0x0102_0304_0506_0708, b"ab"),
        [0, 0, 0, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8, b'a', b'b']
    );
    assert_eq!(framed(Kind::Response, 1, b""), [0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    let failure = |failure: Failure| {
        let mut buffer = Vec::new();
        failure.write(&mut buffer, 2);
        buffer
    };
    let head = [2, 0, 0, 0, 0, 0, 0, 0, 2];
    let expected = |length: u8, body: &[u8]| [&[0, 0, 0, length], &head[..], body].concat();
    assert_eq!(failure(Failure::UndecodableRequest), expected(10, &[0]));
    assert_eq!(
        failure(Failure::ResponseTooLarge { bytes: 258, limit: 3 }),
        expected(26, &[1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3])
    );
    assert_eq!(failure(Failure::Refused), expected(10, &[2]));
    assert_eq!(failure(Failure::Overloaded), expected(10, &[3]));
}

#[test]
fn a_frame_is_read_back_whatever_follows_it() {
    for kind in [Kind::Request, Kind::Response, Kind::Failure] {
        let mut bytes = framed(kind, u64::MAX, b"body");
        let whole = bytes.len();
        bytes.extend_from_slice(&[9, 9, 9]);
        let expected = Front::Whole { frame: Frame { kind, id: u64::MAX, body: b"body" }, bytes: whole };
        assert_eq!(parse(&bytes, LIMIT), Ok(expected));
    }
}

#[test]
fn every_beginning_of_a_frame_is_partial() {
    let bytes = framed(Kind::Request, 5, b"body");
    for length in 0..bytes.len() {
        let Ok(Front::Partial { bytes: needed }) = parse(&bytes[..length], LIMIT) else {
            panic!("at {length}")
        };
        assert!(needed > length && needed <= bytes.len());
    }
}

#[test]
fn the_limit_counts_kind_id_and_body() {
    let bytes = framed(Kind::Request, 5, &[0; 91]);
    assert!(matches!(parse(&bytes, 100), Ok(Front::Whole { .. })));
    // Four bytes are enough to refuse.
    assert_eq!(parse(&bytes[..4], 99), Err(PeerFault::Oversize { bytes: 100, limit: 99 }));
}

#[test]
fn impossible_headers_are_faults() {
    assert_eq!(parse(&[0, 0, 0, 8], LIMIT), Err(PeerFault::Undersize { bytes: 8 }));
    assert_eq!(parse(&[0, 0, 0, 9, 3], LIMIT), Err(PeerFault::UnexpectedKind { kind: 3 }));
}

#[test]
fn failures_are_read_back_and_others_refused() {
    let too_large = Failure::ResponseTooLarge { bytes: u64::MAX, limit: 1 };
    for failure in [Failure::UndecodableRequest, too_large, Failure::Refused, Failure::Overloaded] {
        let mut bytes = Vec::new();
        failure.write(&mut bytes, 1);
        let Ok(Front::Whole { frame, .. }) = parse(&bytes, LIMIT) else { panic!("not whole") };
        assert_eq!((frame.kind, Failure::read(frame.body)), (Kind::Failure, Ok(failure)));
    }
    for body in [&[][..], &[4], &[0, 0], &[1], &[1, 2, 3]] {
        assert_eq!(Failure::read(body), Err(PeerFault::UnknownFailure));
    }
}
