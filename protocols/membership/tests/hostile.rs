//! What a remote may try, and that nothing comes of it but a counter.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use common::{
    Cheap, RING, SECRET, at, drain, first, hashed_peer, made_up, map, params, peer, plain, record, sends,
    settle, with_map,
};
use henge_membership::limits::{
    FAULTS_PER_MESSAGE_MAX, GOSSIP_MAX_BYTES, JOIN_TARGETS_MAX, LINKS_MAX, SUMMARY_MAX, UPDATES_MAX,
};
use henge_membership::{
    Action, Fault, Gossip, Known, Refusal, Relay, Request, Response, State, Token, Update, encode_gossip,
};
use henge_types::limits::MEMBERS_MAX;
use henge_types::{Custody, Incarnation, MemberError, MemberState, PeerId, RingId, SignedMember};

const MALLORY: u8 = 66;

fn pushed(updates: Vec<Update>) -> Request {
    Request::Push { ring: RING, updates, accused: vec![] }
}

fn exchange(summary: Vec<Known>) -> Request {
    Request::Exchange { ring: RING, summary, evicted: vec![], pending: 0 }
}

fn push(state: &mut State, updates: Vec<Update>) -> Response {
    state.on_request(peer(MALLORY), pushed(updates), at(9))
}

fn faults(state: &mut State) -> Vec<Fault> {
    drain(state)
        .into_iter()
        .filter_map(|a| if let Action::Fault { fault, .. } = a { Some(fault) } else { None })
        .collect()
}

fn forged(who: PeerId, counter: u64) -> Update {
    let member = SignedMember::sign(record(who, u64::MAX, counter), &Cheap(peer(MALLORY))).unwrap();
    Update { member, custody: None }
}

fn gossip(update: &Update) -> Vec<u8> {
    encode_gossip(&Gossip::Member(update.member.clone())).unwrap().to_vec()
}

/// A member that knows peers 1 (itself) and 2.
fn member() -> State {
    let mut state = first(1, at(0));
    push(&mut state, vec![with_map(record(peer(2), 7, 7), map(Custody::Full))]);
    settle(&mut state, at(0));
    state
}

#[test]
fn messages_over_a_bound_are_refused_unread() {
    let known = Known {
        peer: peer(3),
        incarnation: Incarnation(1),
        state: MemberState::Active,
        counter: 1,
        custody: map(Custody::None).digest(),
    };
    let one = plain(record(peer(3), 1, 1));
    let mut state = member();
    for request in [
        pushed(vec![one.clone(); 10_000]),
        pushed(vec![one; UPDATES_MAX + 1]),
        Request::Fetch { ring: RING, peers: vec![peer(1); UPDATES_MAX + 1] },
        exchange(vec![known; SUMMARY_MAX + 1]),
    ] {
        assert_eq!(state.on_request(peer(MALLORY), request, at(9)), Response::Refused(Refusal::TooMany));
        assert!(matches!(faults(&mut state)[..], [Fault::TooMany { .. }]));
    }
    assert_eq!(state.view().len(), 2);
}

#[test]
fn after_some_faults_the_rest_of_a_message_is_not_read() {
    let mut state = member();
    let mut updates: Vec<Update> = (0..100).map(|n| forged(peer(2), n)).collect();
    updates.push(plain(record(peer(3), 1, 1)));
    assert_eq!(push(&mut state, updates), Response::Pushed);
    assert_eq!(
        faults(&mut state),
        vec![Fault::Member(MemberError::Signature { peer: peer(2) }); FAULTS_PER_MESSAGE_MAX]
    );
    assert_eq!(state.counters().faults, FAULTS_PER_MESSAGE_MAX as u64);
    assert!(!state.view().contains(&peer(3)));
}

#[test]
fn single_updates_that_are_wrong_change_nothing_and_do_not_spoil_the_others() {
    let mut other_ring = record(peer(3), 1, 1);
    other_ring.ring = RingId([9; 16]);
    let mut wrong_map = with_map(record(peer(3), 1, 1), map(Custody::Full));
    wrong_map.custody = Some(map(Custody::Part));
    let mut state = member();
    let good = plain(record(peer(4), 1, 1));
    push(&mut state, vec![plain(other_ring), wrong_map, plain(record(hashed_peer(), 1, 1)), good.clone()]);
    assert_eq!(faults(&mut state).len(), 3);
    assert_eq!(state.view().len(), 3);
    assert_eq!(state.view().get(&peer(4)).unwrap().signed(), &good.member);
}

#[test]
fn replayed_records_are_counted_and_do_not_travel_on() {
    let mut state = member();
    let generation = state.view().generation();
    let old = plain(record(peer(2), 7, 6));
    push(&mut state, vec![old.clone(); 100]);
    assert_eq!(state.on_gossip(peer(MALLORY), &gossip(&old), at(9)), Relay::Ignore);
    assert_eq!(state.counters().older, 101);
    assert_eq!(state.view().get(&peer(2)).unwrap().record().counter, 7);
    assert_eq!(state.view().generation(), generation);
    assert_eq!(drain(&mut state), []);
}

#[test]
fn a_forged_record_of_this_peer_is_a_fault_and_an_echo_is_nothing() {
    let mut state = member();
    let life = state.incarnation();
    let own = state.view().update(&peer(1)).unwrap();
    push(&mut state, vec![own, forged(peer(1), 1)]);
    assert_eq!(faults(&mut state), [Fault::Member(MemberError::Signature { peer: peer(1) })]);
    assert_eq!(state.incarnation(), life);
}

#[test]
fn two_processes_with_one_identity_do_not_race_each_other() {
    let mut state = member();
    let twin = |state: &State, counter| plain(record(peer(1), state.incarnation().0 + 1, counter));
    let update = twin(&state, 1);
    push(&mut state, vec![update]);
    let actions = settle(&mut state, at(9));
    assert!(actions.contains(&Action::Reborn { incarnation: state.incarnation() }), "{actions:?}");
    assert_eq!(state.view().get(&peer(1)).unwrap().custody().count(Custody::None), 64);

    let life = state.incarnation();
    for counter in 0..100 {
        let update = twin(&state, counter);
        push(&mut state, vec![update]);
    }
    assert_eq!(state.incarnation(), life, "at most one new life in a while");
    assert_eq!(state.counters().conflicts, 101);

    let last = plain(record(peer(1), u64::MAX, 1));
    state.on_updates(peer(2), vec![last], at(60_000));
    assert_eq!(state.incarnation(), life, "there is no later life than that");
}

#[test]
fn gossip_that_no_honest_peer_sends_is_rejected() {
    let mut state = member();
    let good = plain(record(peer(3), 1, 1));
    let mut newer_version = gossip(&good);
    newer_version[0] = 200;
    let mut other_ring = record(peer(3), 1, 1);
    other_ring.ring = RingId([9; 16]);
    let mut trailing = gossip(&good);
    trailing.push(0);
    for (payload, relay) in [
        (vec![], Relay::Reject),
        (vec![0xff; 100], Relay::Ignore),
        (vec![1, 0xff, 0xff], Relay::Reject),
        (trailing, Relay::Reject),
        (vec![1; GOSSIP_MAX_BYTES + 1], Relay::Reject),
        (newer_version, Relay::Ignore),
        (gossip(&plain(other_ring)), Relay::Ignore),
        (gossip(&plain(record(hashed_peer(), 1, 1))), Relay::Reject),
        (gossip(&forged(peer(2), 1)), Relay::Reject),
    ] {
        assert_eq!(state.on_gossip(peer(MALLORY), &payload, at(9)), relay, "{payload:02x?}");
        assert_eq!(faults(&mut state).len(), 1);
    }
    assert_eq!(state.view().len(), 2);
    assert_eq!(state.on_gossip(peer(MALLORY), &gossip(&good), at(9)), Relay::Forward);
    assert_eq!(
        state.on_gossip(peer(MALLORY), &gossip(&good), at(9)),
        Relay::Forward,
        "others may not have it yet"
    );
}

#[test]
fn a_full_view_keeps_its_members() {
    let mut state = first(1, at(0));
    let records: Vec<Update> = (0..MEMBERS_MAX as u32).map(|n| plain(record(made_up(n), 1, 1))).collect();
    for some in records.chunks(UPDATES_MAX) {
        push(&mut state, some.to_vec());
    }
    assert_eq!(state.view().len(), MEMBERS_MAX);
    assert_eq!(state.counters().view_full, 1);
    settle(&mut state, at(9));
    push(&mut state, vec![plain(record(made_up(0), 1, 2))]);
    assert_eq!(state.counters().newer, 1, "those who are in are heard");
    assert_eq!(faults(&mut state), [], "a full view is nobody's fault");
    let stranger = Known {
        peer: peer(3),
        incarnation: Incarnation(1),
        state: MemberState::Active,
        counter: 1,
        custody: map(Custody::None).digest(),
    };
    let answer = state.on_request(peer(MALLORY), exchange(vec![stranger]), at(9));
    let Response::Exchanged { updates, wanted, .. } = answer else { unreachable!("{answer:?}") };
    assert_eq!((updates.len(), wanted.len()), (UPDATES_MAX, 0));
}

#[test]
fn what_is_kept_per_connection_and_per_join_is_bounded() {
    let mut state = member();
    for n in 0..=LINKS_MAX as u32 {
        state.handle_connected(made_up(n), at(9));
    }
    assert_eq!(state.counters().links_full, 1);
    let taken = (0..=JOIN_TARGETS_MAX as u32).filter(|n| state.handle_join(made_up(*n), at(9))).count();
    assert_eq!(taken, JOIN_TARGETS_MAX);
    assert!(state.handle_join(made_up(0), at(9)), "known already");
}

#[test]
fn responses_that_nobody_waits_for_or_of_another_kind_are_not_believed() {
    let mut state = member();
    state.handle_connected(peer(2), at(9));
    let actions = drain(&mut state);
    let Action::Send { token, .. } = actions[0].clone() else { unreachable!("{actions:?}") };
    let news = vec![plain(record(peer(3), 1, 1))];
    state.on_response(Token(token.0 + 1), Ok(Response::Updates { updates: news.clone() }), at(10));
    assert_eq!(drain(&mut state), []);
    state.on_response(token, Ok(Response::Updates { updates: news.clone() }), at(10));
    assert_eq!(faults(&mut state), [Fault::WrongResponse]);
    state.on_response(token, Ok(Response::Updates { updates: news }), at(10));
    assert_eq!(state.view().len(), 2);

    state.exchange_with(peer(2));
    let actions = drain(&mut state);
    let Action::Send { token, .. } = actions[0].clone() else { unreachable!("{actions:?}") };
    let wanted: Vec<PeerId> = (0..=UPDATES_MAX as u32).map(made_up).collect();
    state.on_response(token, Ok(Response::Exchanged { updates: vec![], wanted, accused: vec![] }), at(11));
    assert!(matches!(faults(&mut state)[..], [Fault::TooMany { .. }]));
}

#[test]
fn wanted_peers_that_are_unknown_and_full_pages_without_news_lead_to_nothing() {
    let mut state = member();
    state.handle_connected(peer(2), at(9));
    let actions = drain(&mut state);
    let Action::Send { token, .. } = actions[0].clone() else { unreachable!("{actions:?}") };
    let known = state.view().update(&peer(2)).unwrap();
    let wanted: Vec<PeerId> = (0..UPDATES_MAX as u32).map(made_up).collect();
    state.on_response(
        token,
        Ok(Response::Exchanged { updates: vec![known; UPDATES_MAX], wanted, accused: vec![] }),
        at(11),
    );
    assert_eq!(drain(&mut state), []);
}

#[test]
fn a_fetch_answers_about_each_peer_once() {
    let mut state = member();
    let request = Request::Fetch { ring: RING, peers: vec![peer(2); UPDATES_MAX] };
    let Response::Updates { updates } = state.on_request(peer(3), request, at(9)) else { unreachable!() };
    assert_eq!(updates, [with_map(record(peer(2), 7, 7), map(Custody::Full))]);
}

#[test]
fn faults_beyond_a_bound_are_only_counted() {
    let mut state = member();
    for n in 0..2000 {
        state.on_gossip(peer(MALLORY), &gossip(&forged(peer(2), n)), at(9));
    }
    assert_eq!(state.counters().faults, 2000);
    assert_eq!(faults(&mut state).len(), henge_membership::limits::ACTIONS_MAX);
}

#[test]
fn a_stranger_learns_the_secret_only_with_the_parameters_of_the_ring() {
    // Who may connect and ask is decided elsewhere; here it has at least to mean this ring.
    let mut state = member();
    let join = Request::Join { params: params(), ring: None };
    let Response::Welcome { secret, updates, .. } = state.on_request(peer(3), join, at(9)) else {
        unreachable!()
    };
    assert_eq!((secret, updates.len()), (SECRET, 2));
    assert!(!state.view().contains(&peer(3)), "it is a member when it says so itself");
    assert_eq!(sends(&drain(&mut state)), []);
}
