//! When a peer speaks, and to whom.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::time::Duration;

use common::{
    RING, at, drain, first, made_up, map, peer, plain, record, sends, settle, signed, tick, with_map,
};
use henge_membership::{
    Action, Declaration, Failure, Gossip, Known, Request, Response, State, Token, Update, decode_gossip,
};
use henge_types::{Custody, Incarnation, MemberState, Now, PeerId};

fn ring_of(others: u32) -> State {
    let mut state = first(1, at(0));
    let records: Vec<_> = (1..=others).map(|n| plain(record(made_up(n), 1, 1))).collect();
    records.chunks(100).for_each(|some| state.on_updates(peer(2), some.to_vec(), at(0)));
    settle(&mut state, at(0));
    state
}

fn requests(actions: &[Action]) -> Vec<(PeerId, Token, Request)> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::Send { peer, token, request, .. } => Some((*peer, *token, request.clone())),
            _ => None,
        })
        .collect()
}

fn exchange(summary: Vec<Known>) -> Request {
    Request::Exchange { ring: RING, summary, evicted: vec![], pending: 0 }
}

fn exchanged(updates: Vec<Update>, wanted: Vec<PeerId>) -> Response {
    Response::Exchanged { updates, wanted, accused: vec![] }
}

fn push(update: Update) -> Request {
    Request::Push { ring: RING, updates: vec![update], accused: vec![] }
}

fn published(actions: &[Action]) -> usize {
    actions.iter().filter(|a| matches!(a, Action::Publish { .. })).count()
}

fn persisted(actions: &[Action]) -> usize {
    actions.iter().filter(|a| matches!(a, Action::Persist { .. })).count()
}

fn part(n: u32) -> Declaration {
    let mut custody = map(Custody::None);
    custody.set(henge_types::Partition(n), Custody::Part);
    Declaration::default().with_custody(custody)
}

#[test]
fn the_heartbeats_of_a_ring_together_keep_to_their_budget() {
    for (others, seconds) in [(0, 1.0), (19, 1.0), (99, 5.0), (999, 50.0)] {
        let mut state = ring_of(others);
        assert!((state.heartbeat_interval().as_secs_f64() - seconds).abs() < 0.001);
        let until = Duration::from_secs_f64(seconds * 50.0);
        let mut beats = 0;
        while tick(&mut state).monotonic < until {
            beats += published(&settle(&mut state, at(0)));
        }
        assert!((45..=55).contains(&beats), "{beats} beats of {} members in 50 intervals", others + 1);
    }
}

#[test]
fn a_heartbeat_is_a_higher_counter_in_a_signed_record() {
    let mut state = ring_of(1);
    let mut last = state.view().get(&peer(1)).unwrap().record().counter;
    state.declare(Declaration::default().with_records(42), at(0));
    assert_eq!(drain(&mut state), [], "a gauge alone is no news");
    for _ in 0..3 {
        tick(&mut state);
        let payload = drain(&mut state)
            .into_iter()
            .find_map(|a| if let Action::Publish { payload } = a { Some(payload) } else { None });
        let Some(payload) = payload else { continue };
        let Gossip::Member(said) = decode_gossip(&payload).unwrap() else { panic!("no record") };
        assert!(said.record().counter > last);
        assert_eq!(said.record().records, 42);
        last = said.record().counter;
    }
}

#[test]
fn after_a_pause_of_the_process_one_heartbeat_follows_and_not_all_that_were_missed() {
    let mut state = ring_of(1);
    let before = state.view().get(&peer(1)).unwrap().record().counter;
    state.handle_timeout(at(3_600_000));
    assert_eq!(state.view().get(&peer(1)).unwrap().record().counter, before + 1);
    assert!(state.poll_timeout().unwrap() > at(3_600_000).monotonic);
}

#[test]
fn a_wake_up_for_nothing_is_harmless() {
    let mut state = ring_of(3);
    let due = state.poll_timeout();
    state.handle_timeout(at(1));
    assert_eq!(drain(&mut state), []);
    assert_eq!(state.poll_timeout(), due);
}

#[test]
fn one_exchange_at_a_time_with_one_peer() {
    let mut state = ring_of(2);
    state.handle_connected(made_up(1), at(1));
    let sent = requests(&drain(&mut state));
    assert_eq!(sent[0].2, exchange(state.view().summary()));
    for _ in 0..5 {
        state.exchange_with(made_up(1));
        state.exchange_with(made_up(2));
    }
    assert_eq!(drain(&mut state), [], "one is in flight, and the other peer is not connected");
    let answer = exchanged(vec![], vec![peer(1)]);
    state.on_response(sent[0].1, Ok(answer), at(2));
    let next = requests(&drain(&mut state));
    let own = state.view().update(&peer(1)).unwrap();
    assert_eq!(next[0].2, push(own));
    assert!(matches!(next[1].2, Request::Exchange { .. }));
    assert_eq!(next.len(), 2);
}

#[test]
fn a_random_member_is_asked_for_its_view_every_ten_seconds() {
    let mut state = ring_of(3);
    (1..=3).for_each(|n| state.handle_connected(made_up(n), at(1)));
    let mut asked = std::collections::BTreeMap::<PeerId, usize>::new();
    let answer = |state: &mut State, now: Now, asked: &mut std::collections::BTreeMap<PeerId, usize>| {
        for (to, token, request) in requests(&settle(state, now)) {
            if matches!(request, Request::Probe { .. }) {
                let member = signed(record(to, 1, 1));
                state.on_response(token, Ok(Response::Alive { member }), now);
                continue;
            }
            // Silent members are accused, and the accused pushed to: not what is counted here.
            if !matches!(request, Request::Exchange { .. }) {
                state.on_response(token, Ok(Response::Pushed), now);
                continue;
            }
            *asked.entry(to).or_default() += 1;
            state.on_response(token, Ok(exchanged(vec![], vec![])), now);
        }
    };
    answer(&mut state, at(1), &mut asked);
    asked.clear();
    loop {
        let now = tick(&mut state);
        if now.monotonic > Duration::from_secs(300) {
            break;
        }
        answer(&mut state, now, &mut asked);
    }
    let all: usize = asked.values().sum();
    assert!((28..=32).contains(&all) && asked.len() == 3, "{asked:?}");
}

#[test]
fn in_a_small_ring_a_declaration_goes_straight_to_the_connected_members() {
    let mut state = ring_of(2);
    (1..=2).for_each(|n| state.handle_connected(made_up(n), at(1)));
    drain(&mut state);
    state.declare(part(1), at(2));
    state.declare(part(2), at(2));
    let actions = drain(&mut state);
    let own = state.view().update(&peer(1)).unwrap();
    assert_eq!(own.custody.as_ref(), Some(state.view().get(&peer(1)).unwrap().custody()));
    let push = push(own);
    let mut to = sends(&actions);
    to.sort_by_key(|(to, _)| *to);
    let mut wanted = [(made_up(1), &push), (made_up(2), &push)];
    wanted.sort_by_key(|(to, _)| *to);
    assert_eq!(to, wanted);
    assert_eq!(published(&actions), 0);

    // While that is under way, further ones wait, and go together.
    state.declare(part(3), at(3));
    state.declare(part(4), at(3));
    assert_eq!(sends(&drain(&mut state)), []);
    for (_, token, _) in requests(&actions) {
        state.on_response(token, Ok(Response::Pushed), at(4));
    }
    assert_eq!(sends(&drain(&mut state)).len(), 2);
}

#[test]
fn a_push_that_was_lost_is_repeated_with_the_newest_word() {
    let mut state = ring_of(1);
    state.handle_connected(made_up(1), at(1));
    drain(&mut state);
    state.declare(part(1), at(2));
    let sent = requests(&drain(&mut state));
    state.on_response(sent[0].1, Err(Failure::Lost), at(3));
    assert_eq!(sends(&drain(&mut state)), []);
    state.handle_timeout(at(1003));
    let repeated = |state: &mut State| {
        let own = state.view().update(&peer(1)).unwrap();
        let push = push(own);
        requests(&drain(state)).into_iter().find(|(to, _, r)| *to == made_up(1) && *r == push)
    };
    let (_, token, _) = repeated(&mut state).unwrap();
    state.on_response(token, Err(Failure::Lost), at(1010));
    state.declare(part(2), at(1020));
    assert_eq!(sends(&drain(&mut state)), []);
    state.handle_timeout(at(2010));
    assert!(repeated(&mut state).is_some());
}

#[test]
fn where_not_all_are_connected_declarations_are_published_at_once_but_not_often() {
    for others in [2, 100] {
        let mut state = ring_of(others);
        state.handle_connected(made_up(1), at(1));
        drain(&mut state);
        state.declare(part(1), at(2));
        let actions = drain(&mut state);
        assert_eq!(published(&actions), 1);
        assert_eq!(sends(&actions).len(), usize::from(others == 2), "no direct push in a large ring");
        for n in 2..20 {
            state.declare(part(n), at(2 + u64::from(n)));
            assert_eq!(published(&drain(&mut state)), 0);
        }
        assert!(state.poll_timeout().unwrap() <= at(1002).monotonic);
        state.handle_timeout(at(1002));
        assert_eq!(published(&drain(&mut state)), 1, "all of them together");
    }
}

#[test]
fn the_view_is_saved_at_once_and_then_once_in_a_while() {
    let mut state = ring_of(1);
    let mut saved = 0;
    for n in 1..=1000 {
        state.declare(part(n % 60), at(5000 + u64::from(n) * 10));
        state.handle_timeout(at(5000 + u64::from(n) * 10));
        saved += persisted(&settle(&mut state, at(5000)));
    }
    assert!((9..=11).contains(&saved), "{saved} times in 10 s");
    // What was last declared is saved, too.
    tick(&mut state);
    state.handle_timeout(at(17_000));
    assert_eq!(persisted(&settle(&mut state, at(17_000))), 1);
}

#[test]
fn a_custody_map_is_fetched_from_the_member_itself_and_else_from_another() {
    let mut state = ring_of(2);
    (1..=2).for_each(|n| state.handle_connected(made_up(n), at(1)));
    for (_, token, _) in requests(&drain(&mut state)) {
        state.on_response(token, Ok(exchanged(vec![], vec![])), at(1));
    }
    let full = with_map(record(made_up(1), 1, 2), map(Custody::Full));
    let mut heartbeat = full.clone();
    heartbeat.custody = None;
    state.on_updates(made_up(2), vec![heartbeat], at(10));
    assert_eq!(sends(&drain(&mut state)), [], "it may be under way");
    assert_eq!(state.poll_timeout(), Some(at(110).monotonic));
    state.handle_timeout(at(110));
    let fetch = Request::Fetch { ring: RING, peers: vec![made_up(1)] };
    let sent = requests(&drain(&mut state));
    assert_eq!((sent[0].0, &sent[0].2, sent.len()), (made_up(1), &fetch, 1));

    // It went away before it answered.
    state.handle_disconnected(made_up(1), at(120));
    state.handle_timeout(at(220));
    let sent = requests(&drain(&mut state));
    assert_eq!((sent[0].0, &sent[0].2), (made_up(2), &fetch));
    state.on_response(sent[0].1, Ok(Response::Updates { updates: vec![] }), at(230));
    state.handle_timeout(at(1229));
    assert!(!requests(&drain(&mut state)).iter().any(|(_, _, r)| *r == fetch), "not at once again");
    state.handle_timeout(at(1230));
    let sent = requests(&drain(&mut state)).into_iter().find(|(_, _, r)| *r == fetch).unwrap();
    state.on_response(sent.1, Ok(Response::Updates { updates: vec![full] }), at(1240));
    assert_eq!(*state.view().get(&made_up(1)).unwrap().custody(), map(Custody::Full));
    assert_eq!(state.view().needs_custody().count(), 0);
}

#[test]
fn a_change_of_state_is_in_the_view_when_declared_and_announced_once() {
    let mut state = ring_of(0);
    state.declare(Declaration::default().with_state(MemberState::Leaving), at(2));
    assert_eq!(state.view().get(&peer(1)).unwrap().record().state, MemberState::Leaving);
    let changed =
        |actions: Vec<Action>| actions.iter().filter(|a| matches!(a, Action::Changed { .. })).count();
    assert_eq!(changed(drain(&mut state)), 1);
    state.declare(Declaration::default().with_state(MemberState::Leaving), at(3));
    assert_eq!(drain(&mut state), []);
}

#[test]
fn a_heartbeat_spares_the_publication_that_was_waiting() {
    let mut state = ring_of(2);
    state.declare(part(1), at(600));
    assert_eq!(published(&drain(&mut state)), 1);
    state.declare(part(2), at(700));
    // The first heartbeat of a small ring is 0.9 to 1.1 s after the start.
    state.handle_timeout(at(1150));
    assert_eq!(published(&drain(&mut state)), 1);
    state.handle_timeout(at(1700));
    assert_eq!(published(&drain(&mut state)), 0);
}

#[test]
fn an_answer_to_a_connection_that_is_gone_is_not_waited_for() {
    let mut state = ring_of(1);
    state.handle_connected(made_up(1), at(1));
    let old = requests(&drain(&mut state));
    state.handle_disconnected(made_up(1), at(2));
    state.handle_connected(made_up(1), at(3));
    let new = requests(&drain(&mut state));
    let news = vec![plain(record(made_up(7), 1, 1))];
    let answer = exchanged(news, vec![]);
    state.on_response(old[0].1, Ok(answer.clone()), at(4));
    assert!(!state.view().contains(&made_up(7)));
    state.exchange_with(made_up(1));
    assert_eq!(drain(&mut state), [], "the one in flight is the new one");
    state.on_response(new[0].1, Ok(answer), at(5));
    assert!(state.view().contains(&made_up(7)));
}

#[test]
fn a_full_answer_with_news_is_followed_by_the_next_exchange_at_once() {
    let mut state = ring_of(1);
    state.handle_connected(made_up(1), at(1));
    let sent = requests(&drain(&mut state));
    let page = |from: u32, len: u32| (from..from + len).map(|n| plain(record(made_up(n), 1, 1))).collect();
    let answer = exchanged(page(100, 128), vec![]);
    state.on_response(sent[0].1, Ok(answer), at(2));
    let sent = requests(&drain(&mut state));
    assert_eq!(sent.len(), 1);
    let answer = exchanged(page(300, 5), vec![]);
    state.on_response(sent[0].1, Ok(answer), at(3));
    assert_eq!(requests(&drain(&mut state)), []);
    assert_eq!(state.view().len(), 2 + 128 + 5);
}

#[test]
fn an_exchange_brings_what_each_knows_better_and_no_map_twice() {
    let mut state = ring_of(0);
    let (full, part) = (map(Custody::Full), map(Custody::Part));
    let mut without_map = record(made_up(5), 1, 5);
    without_map.custody = full.digest();
    let mine = [
        with_map(record(made_up(1), 1, 5), full.clone()),
        with_map(record(made_up(2), 1, 5), full.clone()),
        with_map(record(made_up(3), 2, 5), full.clone()),
        with_map(record(made_up(4), 1, 5), full.clone()),
        plain(without_map),
        with_map(record(made_up(6), 1, 5), full.clone()),
        with_map(record(made_up(7), 1, 5), full.clone()),
    ];
    state.on_updates(peer(2), mine.to_vec(), at(0));
    let known = |n: u32, incarnation, counter, custody: &henge_types::CustodyMap| Known {
        peer: made_up(n),
        incarnation: Incarnation(incarnation),
        state: MemberState::Active,
        counter,
        custody: custody.digest(),
    };
    let own = state.view().summary().into_iter().find(|known| known.peer == peer(1)).unwrap();
    let summary = vec![
        own,
        known(1, 1, 5, &full), // the same
        known(2, 1, 4, &full), // older, with the map of the newest
        known(3, 1, 9, &full), // a life ago, whose map says nothing of this one
        known(4, 1, 5, &part), // the same, without the map
        known(5, 1, 5, &full), // the same, with the map that is missing here
        known(6, 1, 6, &full), // newer
        known(8, 1, 1, &full), // unknown here; 7 is unknown there
    ];
    let answer = state.on_request(made_up(1), exchange(summary), at(1));
    let Response::Exchanged { mut updates, mut wanted, .. } = answer else { unreachable!("{answer:?}") };
    updates.sort_by_key(|update| update.member.record().peer);
    wanted.sort();
    let bare = Update { custody: None, ..mine[1].clone() };
    let mut expected = vec![bare, mine[2].clone(), mine[3].clone(), mine[6].clone()];
    expected.sort_by_key(|update| update.member.record().peer);
    assert_eq!(updates, expected);
    let mut missing = [made_up(5), made_up(6), made_up(8)];
    missing.sort();
    assert_eq!(wanted, missing);
}
