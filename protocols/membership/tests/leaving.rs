//! Active, leaving, left: one way, through restarts and losses; and who has left is left in peace.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::time::Duration;

use common::net::Net;
use common::{
    RING, SECRET, at, drain, first, made_up, map, params, peer, plain, record, sends, settle, start, tick,
};
use henge_membership::{
    Action, Declaration, Request, Reservation, Response, SavedMember, SavedView, Start, State, Update,
};
use henge_types::MemberState::{Active, Leaving, Left};
use henge_types::{Custody, Incarnation, MemberState, PeerId};

const SOON: Duration = Duration::from_millis(60);
const MINUTE: Duration = Duration::from_secs(60);

fn declare(state: MemberState) -> Declaration {
    Declaration::default().with_state(state)
}

fn in_state(who: PeerId, incarnation: u64, counter: u64, state: MemberState) -> Update {
    let mut record = record(who, incarnation, counter);
    record.state = state;
    plain(record)
}

fn own(state: &State) -> &henge_types::MemberRecord {
    state.view().get(&peer(1)).unwrap().record()
}

fn tell(state: &mut State, updates: Vec<Update>) {
    state.on_updates(made_up(1), updates, at(10));
}

#[test]
fn a_member_goes_one_way_in_one_life() {
    let mut state = first(1, at(0));
    for (said, is) in [(Leaving, Leaving), (Active, Leaving), (Left, Left), (Leaving, Left), (Active, Left)] {
        let before = own(&state).counter;
        state.declare(declare(said), at(1));
        assert_eq!(own(&state).state, is, "after {said:?}");
        assert_eq!(own(&state).counter > before, said == is, "what is no news is not said");
    }
}

#[test]
fn each_step_is_a_change_of_voters_and_the_first_one_of_placement() {
    let mut state = first(1, at(0));
    tell(&mut state, vec![plain(record(made_up(1), 1, 1))]);
    let mut before = (state.view().generation(), state.view().placed_generation());
    for (counter, step, placed) in [(2, Leaving, 1), (3, Left, 0)] {
        tell(&mut state, vec![in_state(made_up(1), 1, counter, step)]);
        let after = (state.view().generation(), state.view().placed_generation());
        assert_eq!(after, (before.0 + 1, before.1 + placed), "{step:?}");
        before = after;
    }
    assert_eq!((state.view().len(), state.view().present()), (2, 1));
}

#[test]
fn a_record_that_takes_leaving_back_is_an_old_one_in_whatever_order() {
    let updates = [
        in_state(made_up(1), 1, 9, Active),
        in_state(made_up(1), 1, 5, Leaving),
        in_state(made_up(1), 1, 3, Left),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut state = first(1, at(0));
        order.iter().for_each(|i| tell(&mut state, vec![updates[*i].clone()]));
        assert_eq!(state.view().get(&made_up(1)).unwrap().record().state, Left, "{order:?}");
    }
    let mut state = first(1, at(0));
    tell(&mut state, vec![updates[2].clone(), in_state(made_up(1), 2, 0, Active)]);
    assert_eq!(state.view().get(&made_up(1)).unwrap().record().state, Active, "in another life it may");
}

#[test]
fn who_has_left_has_no_address_and_is_neither_dialled_nor_asked() {
    let mut state = first(1, at(0));
    let address: henge_types::Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    state.declare(Declaration::default().with_addresses(vec![address.clone()]), at(1));
    state.declare(declare(Leaving), at(1));
    assert_eq!(own(&state).addresses, [address], "there is still something to fetch");
    state.declare(declare(Left), at(1));
    assert!(own(&state).addresses.is_empty());

    let mut state = first(1, at(0));
    tell(&mut state, vec![in_state(made_up(1), 1, 1, Left), plain(record(made_up(2), 1, 1))]);
    state.handle_connected(made_up(1), at(11));
    state.handle_connected(made_up(2), at(11));
    let mut met = vec![];
    while let Some(action) = state.poll_action() {
        match action {
            Action::NewMember { peer } => met.push(peer),
            Action::Send { peer, .. } => assert_eq!(peer, made_up(2)),
            _ => {}
        }
    }
    assert_eq!(met, [made_up(2)]);
    state.declare(Declaration::default().with_custody(map(Custody::Part)), at(12));
    while tick(&mut state).monotonic < MINUTE {
        assert!(sends(&settle(&mut state, at(0))).iter().all(|(to, _)| *to == made_up(2)));
    }
}

#[test]
fn a_newcomer_hears_of_those_who_left_only_after_all_others() {
    let mut state = first(1, at(0));
    tell(&mut state, (0..60).map(|n| in_state(made_up(n), 1, 1, Left)).collect());
    tell(&mut state, (60..159).map(|n| plain(record(made_up(n), 1, 1))).collect());
    let join = Request::Join { params: params(), ring: None };
    let Response::Welcome { updates, .. } = state.on_request(peer(9), join, at(20)) else { panic!() };
    let left = updates.iter().filter(|update| update.member.record().state == Left).count();
    assert_eq!((updates.len(), left), (128, 28), "itself, and 99 others");
}

#[test]
fn those_who_left_slow_nobody_down() {
    let mut state = first(1, at(0));
    for n in 0..199 {
        tell(&mut state, vec![in_state(made_up(n), 1, 1, if n < 100 { Left } else { Active })]);
    }
    assert_eq!(state.heartbeat_interval(), Duration::from_secs(5));
}

fn restarted(view: SavedView) -> State {
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(5), upto: 100 },
        custody: map(Custody::Full),
        view,
    };
    let mut state = start(1, how, at(0));
    settle(&mut state, at(0));
    state
}

#[test]
fn a_restart_goes_on_where_leaving_was() {
    for step in [Leaving, Left] {
        let known = in_state(peer(1), 5, 9, step);
        let members = vec![SavedMember { known, electorate: 0 }];
        let state = restarted(SavedView { members, ..SavedView::empty(RING) });
        assert_eq!(own(&state).state, step);
    }
}

#[test]
fn a_peer_that_lost_its_view_is_reminded_that_it_leaves() {
    let mut state = restarted(SavedView::empty(RING));
    assert_eq!(own(&state).state, Active);
    // The others do not believe that it is back, and offer what they know.
    let mut other = first(2, at(0));
    tell(&mut other, vec![in_state(peer(1), 5, 9, Leaving)]);
    tell(&mut other, vec![state.view().update(&peer(1)).unwrap()]);
    assert_eq!(other.view().get(&peer(1)).unwrap().record().state, Leaving);
    let summary = state.view().summary();
    let exchange = Request::Exchange { ring: RING, summary, evicted: vec![], pending: 0 };
    let Response::Exchanged { updates, .. } = other.on_request(peer(1), exchange, at(1)) else { panic!() };
    tell(&mut state, updates);
    assert_eq!(own(&state).state, Leaving);
    assert!(!drain(&mut state).iter().any(|action| matches!(action, Action::Reborn { .. })));
    tell(&mut other, vec![state.view().update(&peer(1)).unwrap()]);
    assert_eq!(other.view().get(&peer(1)).unwrap().record().counter, own(&state).counter);
}

#[test]
fn leaving_goes_through_a_crash_and_a_loss_and_stays_known() {
    for seed in 0..6 {
        let mut net = Net::joined(4, seed);
        net.loss_percent = 20;
        net.with(2, |state, now| state.declare(declare(Leaving), now));
        net.run_for(Duration::from_secs(2));
        net.crash(2);
        net.restart(2);
        net.with(2, |state, now| state.declare(declare(Left), now));
        let id = net.id(2);
        let known = |net: &Net| {
            let left = |i: usize| net.state(i).view().get(&id).unwrap().record().state == Left;
            (0..4).all(left)
        };
        assert!(net.run_until(MINUTE, known), "seed {seed}");
        net.crash(2);
        net.loss_percent = 0;
        net.run_for(MINUTE);
        assert!([0, 1, 3].iter().all(|i| !net.state(*i).is_down(&id) && net.state(*i).has_lease(net.now)));
        // All restart from disk, and one who joins hears of it.
        [0, 1, 3].iter().for_each(|i| net.crash(*i));
        [0, 1, 3].iter().for_each(|i| net.restart(*i));
        net.run_for(SOON);
        assert!([0, 1, 3].iter().all(|i| net.state(*i).view().get(&id).unwrap().record().state == Left));
    }
}

#[test]
fn who_leaves_is_in_no_electorate() {
    let mut state = first(1, at(0));
    tell(&mut state, vec![in_state(made_up(2), 1, 1, Leaving), plain(record(made_up(3), 1, 1))]);
    let hear = |state: &mut State, counter| {
        state.on_updates(made_up(4), vec![plain(record(made_up(4), 1, counter))], at(11));
        state.view().get(&made_up(4)).unwrap().electorate()
    };
    assert_eq!(hear(&mut state, 1), 3, "two others and itself, without the one that leaves");
    state.declare(declare(Leaving), at(12));
    assert_eq!(hear(&mut state, 2), 0, "nor can it accuse anybody of being gone after this");
}
