//! Who is down follows from the records of the view alone, and no accusation makes more of itself.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{RING, at, drain, first, made_up, peer, plain, record, sends, settle, signed, tick};
use henge_membership::limits::{ACCUSERS, PROBE_TARGETS};
use henge_membership::{Action, Failure, Fault, Request, Response, State, Token, Update};
use henge_types::limits::SUSPECTS_MAX;
use henge_types::{Incarnation, MemberError, MemberState, PeerId, Suspect};
use proptest::prelude::*;

fn suspect(of: PeerId, incarnation: u64, counter: u64) -> Suspect {
    Suspect { peer: of, incarnation: Incarnation(incarnation), counter }
}

/// A record of `who` with this counter that accuses `suspects`.
fn accusing(who: PeerId, counter: u64, suspects: &[Suspect]) -> Update {
    let mut record = record(who, 1, counter);
    record.suspects = suspects.to_vec();
    record.suspects.sort_by_key(|suspect| suspect.peer);
    plain(record)
}

fn left(who: PeerId, counter: u64) -> Update {
    let mut record = record(who, 1, counter);
    record.state = MemberState::Left;
    plain(record)
}

/// Peer 1 in a ring with so many others, of which it knows the first record.
fn ring_of(others: u32) -> State {
    let mut state = first(1, at(0));
    tell(&mut state, (1..=others).map(|n| plain(record(made_up(n), 1, 1))).collect());
    settle(&mut state, at(0));
    state
}

fn tell(state: &mut State, updates: Vec<Update>) {
    state.on_updates(peer(2), updates, at(10));
}

fn verdicts(state: &mut State) -> Vec<(PeerId, bool)> {
    let health = |action| if let Action::Health { peer, down } = action { Some((peer, down)) } else { None };
    settle(state, at(10)).into_iter().filter_map(health).collect()
}

fn own(state: &State) -> (u64, Vec<Suspect>) {
    let own = state.view().get(&peer(1)).unwrap().record();
    (own.counter, own.suspects.clone())
}

#[test]
fn two_accusers_make_a_member_down_and_its_next_record_clears_it() {
    let mut state = ring_of(4);
    let (generation, placed) = (state.view().generation(), state.view().placed_generation());
    let accused = made_up(1);
    tell(&mut state, vec![accusing(made_up(2), 2, &[suspect(accused, 1, 1)])]);
    assert!(!state.is_down(&accused), "one is not enough");
    assert_eq!(state.accusers(&accused), [(made_up(2), at(10).monotonic)]);
    tell(&mut state, vec![accusing(made_up(3), 2, &[suspect(accused, 1, 1)])]);
    assert!(state.is_down(&accused));
    assert_eq!(verdicts(&mut state), [(accused, true)]);

    // The accusation goes on while it is repeated.
    state.on_updates(peer(2), vec![accusing(made_up(2), 3, &[suspect(accused, 1, 1)])], at(500));
    assert!(state.accusers(&accused).contains(&(made_up(2), at(10).monotonic)));

    tell(&mut state, vec![plain(record(accused, 1, 2))]);
    assert!(!state.is_down(&accused) && state.accusers(&accused).is_empty());
    assert_eq!(verdicts(&mut state), [(accused, false)]);
    assert_eq!((state.view().generation(), state.view().placed_generation()), (generation, placed));
}

#[test]
fn an_accusation_that_is_taken_back_counts_no_more() {
    let mut state = ring_of(3);
    let accused = made_up(1);
    let words = [suspect(accused, 1, 1)];
    tell(&mut state, vec![accusing(made_up(2), 2, &words), accusing(made_up(3), 2, &words)]);
    assert!(state.is_down(&accused));
    tell(&mut state, vec![accusing(made_up(3), 3, &[])]);
    assert!(!state.is_down(&accused));
}

#[test]
fn in_a_ring_of_two_one_accuser_is_enough() {
    let mut state = ring_of(1);
    // Nothing is heard of the other.
    while tick(&mut state).monotonic < Duration::from_secs(6) {
        settle(&mut state, at(0));
    }
    assert!(state.is_down(&made_up(1)));
    tell(&mut state, vec![plain(record(made_up(2), 1, 1))]);
    assert!(!state.is_down(&made_up(1)), "now they are three");
    tell(&mut state, vec![left(made_up(2), 2)]);
    assert!(state.is_down(&made_up(1)), "and two again");
}

#[test]
fn accusations_of_oneself_of_strangers_and_by_those_who_left_count_for_nothing() {
    let mut state = ring_of(4);
    let (one, two, stranger) = (made_up(1), made_up(2), made_up(99));
    tell(&mut state, vec![accusing(one, 2, &[suspect(one, 1, 2)]), accusing(two, 2, &[suspect(one, 1, 2)])]);
    assert!(!state.is_down(&one), "one accuser, and itself");
    let words = [suspect(stranger, 1, 1)];
    tell(&mut state, vec![accusing(made_up(3), 2, &words), accusing(made_up(4), 2, &words)]);
    assert!(!state.is_down(&stranger));
    tell(&mut state, vec![plain(record(stranger, 1, 1))]);
    assert!(state.is_down(&stranger), "a member now, and accused of its newest record");
    tell(&mut state, vec![left(made_up(4), 3)]);
    assert!(!state.is_down(&stranger));
    let me = state.view().get(&peer(1)).unwrap().record().clone();
    let words = [suspect(peer(1), me.incarnation.0, me.counter)];
    tell(&mut state, vec![accusing(two, 3, &words), accusing(made_up(3), 3, &words)]);
    assert!(!state.is_down(&peer(1)), "nobody takes itself for down");
}

#[test]
fn who_left_is_not_accused() {
    let mut state = ring_of(3);
    tell(&mut state, vec![left(made_up(1), 2)]);
    let words = [suspect(made_up(1), 1, 2)];
    tell(&mut state, vec![accusing(made_up(2), 2, &words), accusing(made_up(3), 2, &words)]);
    assert!(!state.is_down(&made_up(1)));
    while tick(&mut state).monotonic < Duration::from_secs(10) {
        settle(&mut state, at(0));
    }
    assert!(!own(&state).1.iter().any(|suspect| suspect.peer == made_up(1)));
}

#[test]
fn an_accusation_of_a_record_that_was_never_signed_keeps_nobody_down() {
    let mut state = ring_of(3);
    let accused = made_up(1);
    for future in [2, 1000, u64::MAX] {
        let words = [suspect(accused, 1, future), suspect(made_up(9), u64::MAX, future)];
        let counter = own(&state).0 + future.min(2000);
        let update = |who| accusing(who, counter, &words);
        tell(&mut state, vec![update(made_up(2)), update(made_up(3))]);
        assert!(!state.is_down(&accused), "{future}");
    }
    // Until it signs just that: and then the next one clears it.
    let words = [suspect(accused, 1, 5)];
    tell(&mut state, vec![accusing(made_up(2), 9000, &words), accusing(made_up(3), 9000, &words)]);
    for (counter, down) in [(4, false), (5, true), (6, false), (7, false)] {
        tell(&mut state, vec![plain(record(accused, 1, counter))]);
        assert_eq!(state.is_down(&accused), down, "counter {counter}");
    }
    tell(&mut state, vec![plain(record(accused, 2, 0))]);
    assert!(!state.is_down(&accused), "nor in another life");
}

#[test]
fn whose_accusation_is_ahead_is_asked_for_the_record() {
    let mut state = ring_of(3);
    state.handle_connected(made_up(2), at(1));
    for action in drain(&mut state) {
        if let Action::Send { token, .. } = action {
            state.on_response(
                token,
                Ok(Response::Exchanged { updates: vec![], wanted: vec![], accused: vec![] }),
                at(2),
            );
        }
    }
    tell(&mut state, vec![accusing(made_up(2), 2, &[suspect(made_up(1), 1, 1)])]);
    assert_eq!(sends(&drain(&mut state)), [], "that one is known");
    tell(&mut state, vec![accusing(made_up(2), 3, &[suspect(made_up(1), 1, 2)])]);
    let actions = drain(&mut state);
    assert!(
        matches!(sends(&actions)[..], [(to, Request::Exchange { .. })] if to == made_up(2)),
        "{actions:?}"
    );
}

#[test]
fn suspects_over_the_bound_or_out_of_order_are_no_record() {
    let words = |count: u32| (0..count).map(|n| suspect(made_up(n), 1, 1)).collect::<Vec<_>>();
    let most = u32::try_from(SUSPECTS_MAX).unwrap();
    let mut state = ring_of(2);
    tell(&mut state, vec![accusing(made_up(1), 2, &words(most))]);
    assert_eq!(state.accusers(&made_up(2)).len(), 1);
    for (suspects, error) in [
        (words(most + 1), MemberError::Oversized { what: "number of suspects" }),
        (vec![suspect(made_up(3), 1, 1); 2], MemberError::Unordered),
    ] {
        let mut record = record(made_up(1), 1, 3);
        record.suspects = suspects;
        let signer = common::Cheap(record.peer);
        assert_eq!(henge_types::SignedMember::sign(record, &signer), Err(error));
    }
}

#[test]
fn a_peer_that_hears_itself_accused_refutes_it_at_once_but_not_often() {
    let mut state = ring_of(3);
    let mut refuted = 0;
    for millis in (100..3100).step_by(10) {
        let (counter, _) = own(&state);
        let words = [suspect(peer(1), state.incarnation().0, counter)];
        state.on_updates(peer(2), vec![accusing(made_up(2), 10 + millis, &words)], at(millis));
        state.handle_timeout(at(millis));
        settle(&mut state, at(millis));
        refuted += usize::from(own(&state).0 > counter);
        if millis == 100 {
            assert_eq!(refuted, 1, "at once");
        }
    }
    assert!((3..=7).contains(&refuted), "{refuted} in three seconds, heartbeats included");
}

#[test]
fn an_answer_of_somebody_else_to_a_probe_is_a_fault() {
    let mut state = ring_of(1);
    state.handle_connected(made_up(1), at(1));
    let (_, token) = next_probe(&mut state);
    state.on_response(token, Ok(Response::Alive { member: signed(record(made_up(7), 1, 1)) }), at(2000));
    let fault = |action: &Action| matches!(action, Action::Fault { fault: Fault::WrongResponse, .. });
    assert!(drain(&mut state).iter().any(fault));
}

fn next_probe(state: &mut State) -> (PeerId, Token) {
    for _ in 0..100 {
        let now = tick(state);
        for action in settle(state, now) {
            if let Action::Send { peer, token, request: Request::Probe { .. }, .. } = action {
                return (peer, token);
            }
        }
    }
    panic!("no probe");
}

#[test]
fn three_members_are_probed_and_a_silent_one_is_asked_twice_in_each_round() {
    // In a ring so large that heartbeats are not overdue yet.
    let mut state = ring_of(40);
    (1..=40).for_each(|n| state.handle_connected(made_up(n), at(1)));
    let mut open: Vec<(PeerId, Token, Duration)> = Vec::new();
    let mut probed = BTreeMap::<PeerId, usize>::new();
    loop {
        let now = tick(&mut state);
        if now.monotonic > Duration::from_secs(6) {
            break;
        }
        for (_, token, _) in open.extract_if(.., |(_, _, until)| *until <= now.monotonic) {
            state.on_response(token, Err(Failure::Lost), now);
        }
        for action in settle(&mut state, now) {
            if let Action::Send { peer, token, timeout, request: Request::Probe { ring } } = action {
                assert_eq!(ring, RING);
                *probed.entry(peer).or_default() += 1;
                open.push((peer, token, now.monotonic + timeout));
                assert!(open.iter().filter(|(of, ..)| *of == peer).count() <= 2, "three at a time");
            }
        }
    }
    assert_eq!(probed.len(), PROBE_TARGETS);
    assert!(probed.values().all(|count| (4..=12).contains(count)), "{probed:?}");
    assert_eq!(own(&state).1.len(), PROBE_TARGETS, "they did not answer");
}

/// What the records of the view say, without any index.
fn by_hand(state: &State, accused: &PeerId) -> bool {
    let present = |who: &PeerId| {
        let record = state.view().get(who)?.record();
        (record.state != MemberState::Left).then_some(record)
    };
    let members: Vec<_> = state.view().iter().filter_map(|(who, _)| present(who)).collect();
    let Some(known) = present(accused) else { return false };
    let newest = Suspect { peer: *accused, incarnation: known.incarnation, counter: known.counter };
    let accusers = members.iter().filter(|by| by.peer != *accused && by.suspects.contains(&newest)).count();
    *accused != peer(1) && accusers >= if members.len() > ACCUSERS { ACCUSERS } else { 1 }
}

fn any_update() -> impl Strategy<Value = Update> {
    let accusation = (1..6_u32, 1..3_u64, 1..4_u64).prop_map(|(of, i, c)| suspect(made_up(of), i, c));
    let accusations = proptest::collection::btree_map(1..6_u32, accusation, 0..4);
    (1..5_u32, 1..3_u64, 1..4_u64, 0..8_u8, accusations).prop_map(
        |(who, incarnation, counter, state, words)| {
            let mut record = record(made_up(who), incarnation, counter);
            if state == 0 {
                record.state = MemberState::Left;
            }
            let words = words.into_iter().map(|(of, suspect)| Suspect { peer: made_up(of), ..suspect });
            record.suspects = words.collect();
            record.suspects.sort_by_key(|suspect| suspect.peer);
            plain(record)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn verdicts_follow_from_the_view_whatever_the_order(updates in proptest::collection::vec(any_update(), 0..20)) {
        let mut state = first(1, at(0));
        let mut announced = BTreeMap::new();
        for update in &updates {
            tell(&mut state, vec![update.clone()]);
            announced.extend(verdicts(&mut state));
            for n in 1..6 {
                let down = state.is_down(&made_up(n));
                prop_assert_eq!(down, by_hand(&state, &made_up(n)));
                prop_assert_eq!(down, announced.get(&made_up(n)).copied().unwrap_or(false));
            }
        }
        let mut backwards = first(1, at(0));
        tell(&mut backwards, updates.into_iter().rev().collect());
        for n in 1..6 {
            prop_assert_eq!(state.is_down(&made_up(n)), backwards.is_down(&made_up(n)));
        }
    }
}
