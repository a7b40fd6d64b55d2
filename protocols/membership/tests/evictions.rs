//! Which accusations evict whom, and that nothing else does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::collections::BTreeSet;

use common::{
    RING, SECRET, accusation, accused, at, drain, gossip, is_evicted, made_up, map, params, peer, plain,
    push, record, removed, ring_of, sends, settle, start, suspect, tick,
};
use henge_membership::{
    Accused, Action, Gossip, Relay, Request, Reservation, Response, SavedView, Start, State, Update, WhyNot,
    encode_gossip,
};
use henge_types::codec::Stored;
use henge_types::{Cause, Custody, Incarnation, MemberState, PeerId, SignedAccusation, Suspect};
use proptest::prelude::*;

fn gone(by: u32, counter: u64, electorate: u16) -> SignedAccusation {
    accusation(made_up(by), (made_up(1), 1, counter), Cause::Gone, electorate)
}

#[test]
fn one_word_of_an_operator_is_enough() {
    let mut state = ring_of(4);
    let (generation, placed) = (state.view().generation(), state.view().placed_generation());
    assert_eq!(gossip(&mut state, removed(made_up(3), suspect())), Relay::Forward);
    assert!(is_evicted(&state) && !state.view().contains(&made_up(1)));
    assert!(state.view().iter().all(|(peer, _)| *peer != made_up(1)));
    assert_eq!(state.view().generation(), generation + 1);
    assert_eq!(state.view().placed_generation(), placed + 1);
    let (who, eviction) = state.evictions().next().unwrap();
    assert_eq!((*who, eviction.incarnation()), (made_up(1), Incarnation(1)));
    assert_eq!((eviction.known_unix_ms(), eviction.issued_unix_ms()), (1_000_009, 1_000_000));
    assert_eq!(eviction.accusers().collect::<Vec<_>>(), [&made_up(3)]);
    assert_eq!(gossip(&mut state, removed(made_up(3), suspect())), Relay::Forward, "others may not know it");
    assert_eq!(state.view().generation(), generation + 1);
}

#[test]
fn more_than_half_of_the_electorate_have_to_take_a_member_for_gone() {
    for (electorate, needed) in [(2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
        let mut state = ring_of(8);
        for n in 1..=needed {
            assert!(!is_evicted(&state), "{} of {electorate}", n - 1);
            assert_eq!(gossip(&mut state, gone(1 + n, 1, electorate)), Relay::Forward);
            gossip(&mut state, gone(1 + n, 1, electorate));
        }
        assert!(is_evicted(&state), "{needed} of {electorate}");
        assert_eq!(state.view().pending_len(), 0);
    }
}

#[test]
fn the_largest_electorate_among_those_that_are_needed_counts() {
    let mut state = ring_of(8);
    push(&mut state, vec![accused(suspect(), vec![gone(2, 1, 3), gone(3, 1, 5)])]);
    assert!(!is_evicted(&state), "two of five");
    push(&mut state, vec![accused(suspect(), vec![gone(4, 1, 7)])]);
    assert!(!is_evicted(&state), "three of seven");
    push(&mut state, vec![accused(suspect(), vec![gone(5, 1, 4)])]);
    assert!(is_evicted(&state), "three of five");
    assert_eq!(state.evictions().next().unwrap().1.accusers().count(), 3);
}

#[test]
fn accusations_of_different_records_do_not_add_up() {
    let mut state = ring_of(4);
    push(&mut state, vec![accused((made_up(1), 1, 0), vec![gone(2, 0, 5), gone(3, 1, 5), gone(4, 2, 5)])]);
    assert!(!is_evicted(&state));
}

#[test]
fn the_next_record_of_the_accused_clears_what_was_not_enough() {
    let mut state = ring_of(5);
    push(&mut state, vec![accused(suspect(), vec![gone(2, 1, 5), gone(3, 1, 5)])]);
    assert_eq!(state.view().pending_len(), 2);
    state.on_updates(made_up(2), vec![plain(record(made_up(1), 1, 2))], at(10));
    assert_eq!(state.view().pending_len(), 0);
    assert_eq!(gossip(&mut state, gone(4, 1, 5)), Relay::Ignore, "it is refuted");
    assert!(!is_evicted(&state));
    // But a proof is a proof, whatever came since.
    let proof = vec![gone(2, 1, 5), gone(3, 1, 5), gone(4, 1, 5)];
    push(&mut state, vec![accused(suspect(), proof)]);
    assert!(is_evicted(&state));
}

#[test]
fn an_evicted_life_is_over_and_the_next_one_is_welcome() {
    let mut state = ring_of(3);
    gossip(&mut state, removed(made_up(3), suspect()));
    let mut tell = |incarnation, counter| {
        state.on_updates(made_up(2), vec![plain(record(made_up(1), incarnation, counter))], at(20));
        state.view().contains(&made_up(1))
    };
    assert!(!tell(1, 500) && !tell(0, 900));
    assert!(tell(2, 0));
    assert_eq!(state.counters().evicted, 2);
    assert!(is_evicted(&state), "and it stays known that the first one was evicted");
    // Neither the old eviction nor a later one of the old life harms the new one.
    push(&mut state, vec![accused(suspect(), vec![removed(made_up(2), suspect())])]);
    assert!(state.view().contains(&made_up(1)));
    gossip(&mut state, removed(made_up(2), (made_up(1), 2, 0)));
    assert!(!state.view().contains(&made_up(1)));
    assert_eq!(state.evictions().len(), 1, "of each peer the last one");
}

#[test]
fn who_still_speaks_in_a_life_that_is_over_is_told() {
    let mut state = ring_of(3);
    state.handle_connected(made_up(1), at(1));
    for action in drain(&mut state) {
        if let Action::Send { token, .. } = action {
            state.on_response(token, Ok(Response::Pushed), at(2));
        }
    }
    gossip(&mut state, removed(made_up(3), suspect()));
    let mut told = || {
        let actions = settle(&mut state, at(10));
        let tells = |request: &Request| match request {
            Request::Push { accused, .. } => accused.iter().any(|a| a.member.record().peer == made_up(1)),
            _ => false,
        };
        let told = sends(&actions).iter().any(|(to, request)| *to == made_up(1) && tells(request));
        for action in actions {
            if let Action::Send { token, .. } = action {
                state.on_response(token, Ok(Response::Pushed), at(11));
            }
        }
        let payload = encode_gossip(&Gossip::Member(common::signed(record(made_up(1), 1, 7)))).unwrap();
        assert_eq!(state.on_gossip(made_up(1), &payload, at(12)), Relay::Ignore);
        told
    };
    assert!(told(), "at once");
    assert!(told(), "and when it speaks");
    let exchange = Request::Exchange { ring: RING, summary: vec![], evicted: vec![], pending: 0 };
    let Response::Exchanged { accused, .. } = state.on_request(made_up(1), exchange, at(13)) else {
        panic!()
    };
    assert_eq!(accused.len(), 1, "and when it asks");
}

#[test]
fn whoever_learns_of_its_own_eviction_goes_on_in_a_new_life() {
    let mut state = ring_of(3);
    let life = state.incarnation();
    let own = state.view().get(&peer(1)).unwrap().record().clone();
    let numbers = (peer(1), own.incarnation.0, own.counter);
    let against =
        Accused { member: common::signed(own.clone()), accusations: vec![removed(made_up(3), numbers)] };
    push(&mut state, vec![against.clone()]);
    let actions = settle(&mut state, at(20));
    let next = state.incarnation();
    assert!(next > life);
    assert!(actions.contains(&Action::Evicted { incarnation: next, at_unix_ms: 1_000_000 }), "{actions:?}");
    let me = state.view().get(&peer(1)).unwrap();
    assert_eq!((me.record().incarnation, me.custody().count(Custody::None)), (next, 64));
    assert!(state.view().iter().all(|(_, member)| member.electorate() == 0), "it was no member meanwhile");
    push(&mut state, vec![against]);
    assert_eq!(state.incarnation(), next, "once");
}

#[test]
fn a_crash_before_the_return_does_not_bring_the_old_life_back() {
    let mut state = ring_of(2);
    let own = state.view().get(&peer(1)).unwrap().signed().clone();
    let numbers = (peer(1), own.record().incarnation.0, own.record().counter);
    push(&mut state, vec![Accused { member: own, accusations: vec![removed(made_up(2), numbers)] }]);
    let saved = state.view().to_saved().unwrap();
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(numbers.1), upto: 4096 },
        custody: map(Custody::Full),
        view: SavedView::from_stored(&saved.to_stored().unwrap()).unwrap(),
    };
    let mut again = start(1, how, at(50));
    let actions = settle(&mut again, at(50));
    assert!(actions.iter().any(|action| matches!(action, Action::Evicted { .. })), "{actions:?}");
    assert!(again.incarnation() > Incarnation(numbers.1));
    assert!(again.view().contains(&peer(1)));
}

#[test]
fn a_restart_knows_who_was_evicted_and_since_when_and_how_members_were_heard_of() {
    let mut state = ring_of(3);
    let payload = encode_gossip(&Gossip::Member(common::signed(record(made_up(2), 1, 2)))).unwrap();
    state.on_gossip(made_up(2), &payload, at(1));
    gossip(&mut state, removed(made_up(3), suspect()));
    let saved = state.view().to_saved().unwrap();
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: state.incarnation(), upto: 5000 },
        custody: map(Custody::Full),
        view: SavedView::from_stored(&saved.to_stored().unwrap()).unwrap(),
    };
    let again = start(1, how, at(90_000));
    assert!(is_evicted(&again) && !again.view().contains(&made_up(1)));
    assert_eq!(again.evictions().next().unwrap().1.known_unix_ms(), 1_000_009);
    assert_eq!(again.view().evictions_digest(), state.view().evictions_digest());
    assert_eq!(
        again.view().get(&made_up(2)).unwrap().electorate(),
        4,
        "before one was evicted they were four"
    );
    assert_eq!(again.view().get(&made_up(3)).unwrap().electorate(), 0, "not heard of at first hand");
}

#[test]
fn a_newcomer_that_was_evicted_before_it_lost_its_disk_begins_a_later_life() {
    let mut state = start(2, Start::Join, at(0));
    state.handle_join(peer(3), at(0));
    state.handle_connected(peer(3), at(0));
    let Action::Send { token, .. } = drain(&mut state)[0] else { panic!() };
    let numbers = (peer(2), 5_000_000, 7);
    let welcome = Response::Welcome {
        ring: RING,
        secret: SECRET,
        params: params(),
        updates: vec![plain(record(peer(3), 1, 1))],
        accused: vec![accused(numbers, vec![removed(peer(3), numbers)])],
    };
    state.on_response(token, Ok(welcome), at(1));
    assert_eq!(state.incarnation(), Incarnation(5_000_001));
}

#[test]
fn reasons_not_to_accuse() {
    let mut state = ring_of(4);
    let mut left = record(made_up(2), 1, 2);
    left.state = MemberState::Left;
    state.on_updates(made_up(3), vec![plain(left)], at(1));
    let why = |state: &mut State, peer, cause| state.accuse(peer, cause, at(2)).unwrap_err();
    assert_eq!(why(&mut state, peer(1), Cause::Removed), WhyNot::Oneself);
    assert_eq!(why(&mut state, made_up(99), Cause::Removed), WhyNot::Unknown);
    assert_eq!(why(&mut state, made_up(2), Cause::Removed), WhyNot::Left);
    assert_eq!(why(&mut state, made_up(1), Cause::Gone), WhyNot::NotDown);
    assert_eq!(state.accuse(made_up(1), Cause::Removed, at(3)), Ok(()));
    assert_eq!(why(&mut state, made_up(1), Cause::Removed), WhyNot::Evicted);
    state.declare(henge_membership::Declaration::default().with_state(MemberState::Left), at(4));
    assert_eq!(why(&mut state, made_up(3), Cause::Removed), WhyNot::NotMember);
    assert_eq!(why(&mut start(2, Start::Join, at(0)), peer(1), Cause::Removed), WhyNot::NotMember);
}

/// Two members say that they hear nothing of the first.
fn take_down(state: &mut State, counter: u64) {
    let words = |by: u32| {
        let mut record = record(made_up(by), 1, counter);
        record.suspects = vec![Suspect { peer: made_up(1), incarnation: Incarnation(1), counter: 1 }];
        plain(record)
    };
    state.on_updates(made_up(2), vec![words(2), words(3)], at(10));
}

#[test]
fn a_peer_that_never_heard_of_a_member_itself_cannot_take_it_for_gone() {
    let mut state = ring_of(4);
    take_down(&mut state, 2);
    assert!(state.is_down(&made_up(1)));
    assert_eq!(state.accuse(made_up(1), Cause::Gone, at(11)), Err(WhyNot::NoWitness));
}

#[test]
fn an_accusation_is_published_once_and_told_to_the_connected_members() {
    let mut state = ring_of(4);
    // Heard of at first hand: from itself.
    state.on_updates(made_up(1), vec![plain(record(made_up(1), 1, 1))], at(1));
    state.handle_connected(made_up(3), at(2));
    for action in drain(&mut state) {
        if let Action::Send { token, .. } = action {
            state.on_response(token, Ok(Response::Pushed), at(2));
        }
    }
    take_down(&mut state, 2);
    drain(&mut state);
    assert_eq!(state.accuse(made_up(1), Cause::Gone, at(11)), Ok(()));
    let actions = drain(&mut state);
    let said = actions.iter().filter(|action| matches!(action, Action::Publish { .. })).count();
    let told = sends(&actions);
    assert_eq!((said, told.len(), told[0].0), (1, 1, made_up(3)), "{actions:?}");
    let Request::Push { accused, .. } = told[0].1 else { panic!("{told:?}") };
    let word = accused[0].accusations[0].accusation();
    assert_eq!((word.accuser, word.electorate, word.counter), (peer(1), 5, 1));
    assert_eq!(state.accuse(made_up(1), Cause::Gone, at(12)), Ok(()));
    assert_eq!(drain(&mut state), [], "it was said");
}

#[test]
fn how_long_a_member_is_down_begins_anew_after_a_sleep() {
    let mut state = ring_of(4);
    assert_eq!(state.gone_for(&made_up(1), at(10)), None);
    take_down(&mut state, 2);
    let for_now = |state: &State, millis: u64| state.gone_for(&made_up(1), at(millis)).map(|d| d.as_millis());
    assert_eq!(for_now(&state, 10), Some(0));
    let mut now = at(10);
    while now.monotonic < at(8000).monotonic {
        now = tick(&mut state);
        settle(&mut state, now);
    }
    let so_far = state.gone_for(&made_up(1), now).unwrap();
    assert_eq!(so_far, now.monotonic - at(10).monotonic);
    let later = now.after(std::time::Duration::from_secs(3600));
    let asleep = state.gone_for(&made_up(1), later).unwrap();
    assert!(asleep < so_far + std::time::Duration::from_secs(2), "{asleep:?}: it did not run since");
    state.handle_timeout(later);
    assert_eq!(state.gone_for(&made_up(1), later), Some(std::time::Duration::ZERO));
    state.on_updates(made_up(1), vec![plain(record(made_up(1), 1, 2))], later);
    assert_eq!(state.gone_for(&made_up(1), later), None);
}

#[test]
fn only_who_knows_the_same_evictions_vouches_for_a_peer() {
    let mut state = ring_of(2);
    let hear = |state: &mut State, by: u32, counter: u64, evictions: u64| {
        let mut record = record(made_up(by), 1, counter);
        record.evictions = evictions;
        let payload = encode_gossip(&Gossip::Member(common::signed(record))).unwrap();
        state.on_gossip(made_up(by), &payload, at(1));
    };
    (1..=2).for_each(|by| hear(&mut state, by, 2, 7));
    assert!(!state.has_lease(at(2)), "they know of an eviction, which may be its own");
    hear(&mut state, 2, 3, 0);
    assert!(state.has_lease(at(2)));
    // It evicts the first: then the second has to know that, too.
    state.accuse(made_up(1), Cause::Removed, at(2)).unwrap();
    assert!(!state.has_lease(at(2)));
    let digest = state.view().evictions_digest();
    hear(&mut state, 2, 4, digest);
    assert!(state.has_lease(at(2)));
}

#[test]
fn an_exchange_brings_what_the_other_lacks_and_asks_for_what_is_lacking_here() {
    let mut state = ring_of(5);
    gossip(&mut state, removed(made_up(3), suspect()));
    let two = accusation(made_up(3), (made_up(2), 1, 1), Cause::Gone, 6);
    assert_eq!(gossip(&mut state, two), Relay::Forward);
    let mut ask = |evicted: Vec<(PeerId, Incarnation)>, pending| {
        let summary = state.view().summary();
        let exchange = Request::Exchange { ring: RING, summary, evicted, pending };
        let Response::Exchanged { wanted, accused, .. } = state.on_request(made_up(4), exchange, at(10))
        else {
            panic!()
        };
        let about: BTreeSet<PeerId> = accused.iter().map(|one| one.member.record().peer).collect();
        (about, wanted)
    };
    let (one, two, three) = (made_up(1), made_up(2), made_up(3));
    assert_eq!(ask(vec![], 0), ([one, two].into(), vec![]));
    assert_eq!(ask(vec![(one, Incarnation(1))], 0), ([two].into(), vec![]));
    assert_eq!(ask(vec![(one, Incarnation(0))], 0).0, [one, two].into());
    assert_eq!(ask(vec![(one, Incarnation(2)), (three, Incarnation(1))], 0).1.len(), 2, "unknown here");
}

#[derive(Debug, Clone)]
enum Step {
    Record(Update),
    Against(Accused),
}

fn any_step() -> impl Strategy<Value = Step> {
    let record = (1..6_u32, 1..3_u64, 0..3_u64).prop_map(|(who, incarnation, counter)| {
        Step::Record(plain(record(made_up(who), incarnation, counter)))
    });
    let word = (1..6_u32, 0..3_u64, 0..6_u8, 1..6_u16);
    let against = (1..6_u32, 1..3_u64, 0..3_u64, proptest::collection::vec(word, 1..4)).prop_map(
        |(of, incarnation, counter, words)| {
            let words = words.into_iter().filter(|(by, ..)| *by != of);
            let words = words.map(|(by, named, removed, electorate)| {
                let cause = if removed == 0 { Cause::Removed } else { Cause::Gone };
                accusation(made_up(by), (made_up(of), incarnation, named), cause, electorate)
            });
            Step::Against(accused((made_up(of), incarnation, counter), words.collect()))
        },
    );
    prop_oneof![record, against]
}

fn take(state: &mut State, step: Step) {
    match step {
        Step::Record(update) => state.on_updates(made_up(2), vec![update], at(10)),
        Step::Against(accused) => drop(push(state, vec![accused])),
    }
}

type Known = Vec<(PeerId, Incarnation, u64)>;

/// What the others are to agree on.
fn facts(state: &State) -> (Known, Vec<(PeerId, Incarnation)>) {
    let members = state.view().iter().filter(|(who, _)| **who != peer(1));
    let members = members.map(|(who, m)| (*who, m.record().incarnation, m.record().counter)).collect();
    let evicted = state.evictions().map(|(who, eviction)| (*who, eviction.incarnation())).collect();
    (members, evicted)
}

/// Tells `to` all that `from` knows, by the messages that peers use.
fn sync(from: &mut State, to: &mut State) {
    for _ in 0..4 {
        let evicted = to.evictions().map(|(who, e)| (*who, e.incarnation())).collect();
        let summary = to.view().summary();
        let exchange = Request::Exchange { ring: RING, summary, evicted, pending: 0 };
        let Response::Exchanged { updates, accused, .. } = from.on_request(made_up(2), exchange, at(11))
        else {
            panic!()
        };
        let updates = updates.into_iter().filter(|update| update.member.record().peer != peer(1)).collect();
        to.on_request(made_up(2), Request::Push { ring: RING, updates, accused }, at(11));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn two_who_tell_each_other_all_agree_whatever_each_has_heard(
        a in proptest::collection::vec(any_step(), 0..12), b in proptest::collection::vec(any_step(), 0..12)
    ) {
        let after = |steps: Vec<Step>| {
            let mut state = ring_of(5);
            for step in steps {
                let before = facts(&state).1;
                take(&mut state, step);
                let now = facts(&state).1;
                for (who, last) in before {
                    assert!(now.iter().any(|(w, l)| *w == who && *l >= last), "evictions are for good");
                }
            }
            state
        };
        let (mut one, mut two) = (after(a), after(b));
        sync(&mut one, &mut two);
        sync(&mut two, &mut one);
        sync(&mut one, &mut two);
        prop_assert_eq!(facts(&one), facts(&two));
        prop_assert_eq!(one.view().evictions_digest(), two.view().evictions_digest());
        for (who, member) in one.view().iter() {
            prop_assert!(!one.view().is_evicted(who, member.record().incarnation));
        }
    }

    #[test]
    fn the_generation_rises_with_every_eviction(steps in proptest::collection::vec(any_step(), 0..12)) {
        let mut state = ring_of(5);
        for step in steps {
            let (known, generation) = (facts(&state).1, state.view().generation());
            let placed = state.view().placed_generation();
            let members = state.view().len();
            take(&mut state, step);
            if facts(&state).1 != known {
                prop_assert!(state.view().generation() > generation);
            }
            if state.view().len() != members {
                prop_assert!(state.view().placed_generation() > placed);
            }
            prop_assert_eq!(state.view().present(), state.view().len());
        }
    }
}
