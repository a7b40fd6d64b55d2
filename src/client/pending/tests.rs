#![allow(clippy::expect_used, reason = "a test that panics has failed, which is what it is for")]

use bytes::Bytes;
use henge_client::{Hop, Supersede};
use henge_types::{Key, OperationId};
use tokio::sync::oneshot;

use super::*;

type Answer = oneshot::Receiver<Result<Response, RequestError>>;

fn key() -> Key {
    Key::new("key").expect("a key")
}

fn put() -> Request {
    let options = WriteOptions {
        supersede: Supersede::Current,
        quorum: None,
        strict: false,
        operation: OperationId([7; 16]),
        retry: false,
        timeout_ms: 2_000,
        hop: Hop::Client,
    };
    Request::Put { key: key(), value: Bytes::from_static(b"value"), ttl_ms: None, options }
}

fn get() -> Request {
    Request::Get(Get { key: key(), quorum: None, strict: false, timeout_ms: 2_000 })
}

fn pending(request: Request, now: Instant) -> (Pending, Answer) {
    let (reply, answer) = oneshot::channel();
    (Pending::new(Call { request, reply }, now), answer)
}

fn outcome(answer: &mut Answer) -> Result<Response, RequestError> {
    answer.try_recv().expect("an answer")
}

fn options_of(request: &Request) -> &WriteOptions {
    let Request::Put { options, .. } = request else { panic!("a put") };
    options
}

#[test]
fn a_further_try_keeps_the_operation_and_says_that_it_is_one() {
    let now = Instant::now();
    let (mut pending, _answer) = pending(put(), now);
    assert!(!options_of(&pending.next_try(now)).retry);
    let mut pending = pending.on_failure(&OutboundFailure::ConnectionClosed, now).expect("another try");
    let again = pending.next_try(now + Duration::from_secs(1));
    let options = options_of(&again);
    assert!(options.retry);
    assert_eq!(options.operation, OperationId([7; 16]));
    assert_eq!(options.timeout_ms, 1_000);
}

#[test]
fn a_try_that_no_peer_saw_does_not_make_the_next_one_a_retry() {
    let now = Instant::now();
    let (mut pending, _answer) = pending(put(), now);
    pending.next_try(now);
    let mut pending = pending.on_failure(&OutboundFailure::NotConnected, now).expect("another try");
    assert!(!options_of(&pending.next_try(now)).retry);
}

#[test]
fn a_write_that_may_have_been_done_ends_as_unknown_and_a_read_as_no_answer() {
    let now = Instant::now();
    for (request, is_write) in [(put(), true), (get(), false)] {
        let (mut pending, mut answer) = pending(request, now);
        pending.next_try(now);
        assert!(pending.on_failure(&OutboundFailure::Timeout, now).is_none());
        let error = outcome(&mut answer).expect_err("no answer came");
        assert_eq!(matches!(error, RequestError::Unknown { .. }), is_write, "{error}");
        assert_eq!(matches!(error, RequestError::NoAnswer { .. }), !is_write, "{error}");
    }
}

#[test]
fn what_was_never_sent_ends_as_unreachable() {
    let now = Instant::now();
    let (pending, mut answer) = pending(put(), now);
    pending.fail("refused".to_owned());
    assert!(matches!(outcome(&mut answer), Err(RequestError::Unreachable { .. })));
}

#[test]
fn a_request_is_sent_four_times_at_most() {
    let now = Instant::now();
    let (mut pending, mut answer) = pending(put(), now);
    for _ in 1..TRIES_MAX {
        pending.next_try(now);
        pending = pending.on_failure(&OutboundFailure::ConnectionClosed, now).expect("another try");
    }
    pending.next_try(now);
    assert!(pending.on_failure(&OutboundFailure::ConnectionClosed, now).is_none());
    assert!(matches!(outcome(&mut answer), Err(RequestError::Unknown { .. })));
}

#[test]
fn a_refusal_of_a_further_try_does_not_hide_that_the_first_may_have_been_done() {
    let now = Instant::now();
    let (mut first, mut answer) = pending(put(), now);
    first.next_try(now);
    let again = first.on_failure(&OutboundFailure::ConnectionClosed, now).expect("another try");
    again.answer(Response::Failed(Failure::Overloaded));
    assert!(matches!(outcome(&mut answer), Err(RequestError::Unknown { .. })));

    let (mut first, mut answer) = pending(put(), now);
    first.next_try(now);
    first.answer(Response::Failed(Failure::Overloaded));
    assert_eq!(outcome(&mut answer), Ok(Response::Failed(Failure::Overloaded)));
}

#[test]
fn nobody_tries_again_for_a_caller_that_has_left() {
    let now = Instant::now();
    let (mut pending, answer) = pending(put(), now);
    pending.next_try(now);
    drop(answer);
    assert!(pending.on_failure(&OutboundFailure::ConnectionClosed, now).is_none());
}

#[test]
fn a_peer_that_serves_nobody_yet_is_no_answer_while_there_are_tries_left() {
    let now = Instant::now();
    let (mut pending, mut answer) = pending(put(), now);
    for _ in 1..TRIES_MAX {
        assert!(!options_of(&pending.next_try(now)).retry);
        pending = pending.on_answer(Response::Failed(Failure::NotReady), now).expect("another try");
    }
    pending.next_try(now);
    assert!(pending.on_answer(Response::Failed(Failure::NotReady), now).is_none());
    assert_eq!(outcome(&mut answer), Ok(Response::Failed(Failure::NotReady)));
}

#[test]
fn a_write_that_a_failed_store_may_have_passed_on_is_tried_again_as_a_retry() {
    let now = Instant::now();
    let (mut pending, mut answer) = pending(put(), now);
    pending.next_try(now);
    let failed = Response::Failed(Failure::Store { reason: "full".to_owned() });
    let mut pending = pending.on_answer(failed.clone(), now).expect("another try");
    assert!(options_of(&pending.next_try(now)).retry);
    let late = pending.deadline();
    assert!(pending.on_answer(failed, late).is_none());
    assert!(matches!(outcome(&mut answer), Err(RequestError::Unknown { .. })));
}

#[test]
fn what_another_peer_would_answer_too_is_handed_on() {
    let now = Instant::now();
    for failure in [Failure::Overloaded, Failure::Unavailable { needed: 2, got: 1 }] {
        let (mut pending, mut answer) = pending(put(), now);
        pending.next_try(now);
        assert!(pending.on_answer(Response::Failed(failure.clone()), now).is_none());
        assert_eq!(outcome(&mut answer), Ok(Response::Failed(failure)));
    }
}
