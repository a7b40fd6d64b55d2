//! What a remote may try with accusations, and that nobody is evicted by it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use common::{
    Cheap, RING, accusation, accused, at, drain, gossip, is_evicted, made_up, params, peer, plain, push,
    record, removed, ring_of, suspect,
};
use henge_membership::limits::{ACCUSATIONS_MAX, ACCUSED_MAX, PENDING_MAX};
use henge_membership::{Action, Fault, Relay, Request, Response, State};
use henge_types::codec;
use henge_types::{Accusation, AccusationError, Cause, Incarnation, RingId, SignedAccusation};
use serde::Serialize;

fn faults(state: &mut State) -> Vec<Fault> {
    let fault = |action| if let Action::Fault { fault, .. } = action { Some(fault) } else { None };
    drain(state).into_iter().filter_map(fault).collect()
}

fn mallory(accusation: Accusation) -> SignedAccusation {
    SignedAccusation::sign(accusation, &Cheap(peer(66))).unwrap()
}

#[test]
fn forged_and_misplaced_accusations_evict_nobody() {
    let word = *removed(made_up(3), suspect()).accusation();
    let other_ring = Accusation { ring: RingId([9; 16]), ..word };
    let other_life = Accusation { incarnation: Incarnation(2), ..word };
    let other_peer = Accusation { accused: made_up(2), ..word };
    let by = |accusation: Accusation| SignedAccusation::sign(accusation, &Cheap(accusation.accuser)).unwrap();
    let mut state = ring_of(4);
    for (words, fault) in [
        (mallory(word), Fault::Accusation(AccusationError::Signature { accuser: made_up(3) })),
        (by(other_ring), Fault::Accused { peer: made_up(1) }),
        (by(other_life), Fault::Accused { peer: made_up(1) }),
        (by(other_peer), Fault::Accused { peer: made_up(1) }),
    ] {
        push(&mut state, vec![accused(suspect(), vec![words])]);
        assert_eq!(faults(&mut state), [fault]);
    }
    // A record that the accused did not sign shows nothing.
    let ahead = (made_up(1), 9, 9);
    let mut forged = accused(ahead, vec![removed(made_up(3), ahead)]);
    forged.member = henge_types::SignedMember::sign(record(made_up(1), 9, 9), &Cheap(peer(66))).unwrap();
    push(&mut state, vec![forged]);
    assert!(matches!(faults(&mut state)[..], [Fault::Member(_)]));
    assert_eq!((state.view().len(), state.evictions().len()), (5, 0));
}

#[test]
fn a_life_to_come_cannot_be_accused() {
    let mut state = ring_of(4);
    for incarnation in [2, u64::MAX] {
        let future = removed(made_up(3), (made_up(1), incarnation, 0));
        assert_eq!(gossip(&mut state, future), Relay::Ignore);
    }
    assert_eq!((state.view().len(), state.evictions().len()), (5, 0));
    state.on_updates(made_up(1), vec![plain(record(made_up(1), 2, 0))], at(10));
    assert!(state.view().contains(&made_up(1)), "nothing waited for it");
}

#[test]
fn strangers_accuse_nobody() {
    let mut state = ring_of(4);
    assert_eq!(gossip(&mut state, removed(peer(66), suspect())), Relay::Ignore);
    let from_stranger = Request::Push {
        ring: RING,
        updates: vec![],
        accused: vec![accused(suspect(), vec![removed(peer(66), suspect())])],
    };
    state.on_request(peer(66), from_stranger, at(9));
    assert!(!is_evicted(&state));
}

#[test]
fn gossip_that_nobody_can_have_signed_is_rejected() {
    #[derive(Serialize)]
    struct Parts {
        payload: bytes::Bytes,
        signature: bytes::Bytes,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Said {
        Accusation(Parts),
    }
    let mut state = ring_of(4);
    let word = *removed(made_up(3), suspect()).accusation();
    assert_eq!(gossip(&mut state, mallory(word)), Relay::Reject);
    let most = u16::try_from(henge_types::limits::MEMBERS_MAX).unwrap();
    for (bad, signature) in [
        (Accusation { accuser: made_up(1), ..word }, 16),
        (Accusation { cause: Cause::Gone, electorate: 0, ..word }, 16),
        (Accusation { electorate: most + 1, ..word }, 16),
        (word, 129),
    ] {
        let payload: bytes::Bytes = codec::encode(&bad).unwrap().into();
        let said = Said::Accusation(Parts { payload, signature: vec![0; signature].into() });
        let bytes = [vec![1], codec::encode(&said).unwrap()].concat();
        assert_eq!(state.on_gossip(made_up(2), &bytes, at(9)), Relay::Reject, "{bad:?}");
        assert!(matches!(faults(&mut state)[..], [.., Fault::Undecodable(_)]));
    }
    assert!(!is_evicted(&state));
}

#[test]
fn accusations_over_a_bound_are_refused_unread() {
    let mut state = ring_of(4);
    let word = removed(made_up(3), suspect());
    let refused = Response::Refused(henge_membership::Refusal::TooMany);
    let many = accused(suspect(), vec![word.clone(); ACCUSATIONS_MAX + 1]);
    assert_eq!(push(&mut state, vec![many]), refused);
    let half = accused(suspect(), vec![word.clone(); ACCUSATIONS_MAX / 2 + 1]);
    assert_eq!(push(&mut state, vec![half.clone(), half]), refused);
    assert_eq!(push(&mut state, vec![accused(suspect(), vec![word]); ACCUSED_MAX + 1]), refused);
    assert!(!is_evicted(&state));
}

#[test]
fn what_waits_for_more_is_bounded_and_leaves_room_for_operators() {
    let others = 200;
    let mut state = ring_of(others);
    let by = |accuser: u32, of: u32| accusation(made_up(accuser), (made_up(of), 1, 1), Cause::Gone, 4000);
    for of in 1..=60 {
        let accusers = (1..=others).filter(|by| *by != of);
        push(&mut state, vec![accused((made_up(of), 1, 1), accusers.map(|n| by(n, of)).collect())]);
    }
    assert_eq!(state.view().pending_len(), PENDING_MAX);
    gossip(&mut state, removed(made_up(3), suspect()));
    assert!(is_evicted(&state));
    assert_eq!(state.view().pending_len(), PENDING_MAX - 199, "and what waited against it is over");
}

#[test]
fn every_message_that_is_sent_keeps_to_the_bounds() {
    let mut state = ring_of(100);
    for of in 1..=60 {
        gossip(&mut state, removed(made_up(100), (made_up(of), 1, 1)));
    }
    let exchange = Request::Exchange { ring: RING, summary: vec![], evicted: vec![], pending: 0 };
    let Response::Exchanged { accused, .. } = state.on_request(made_up(99), exchange, at(9)) else {
        panic!()
    };
    assert_eq!(accused.len(), ACCUSED_MAX);
    let join = Request::Join { params: params(), ring: None };
    let Response::Welcome { accused, .. } = state.on_request(peer(9), join, at(9)) else { panic!() };
    assert_eq!(accused.len(), ACCUSED_MAX);
}
