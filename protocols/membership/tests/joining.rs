//! How a peer comes into a ring, and who is refused with what words.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use common::{
    Cheap, RING, SECRET, at, config, count, drain, first, made_up, map, params, peer, record, sends, settle,
    start, tick, with_map,
};
use henge_membership::{
    Action, Failure, Fault, Phase, Refusal, Request, Reservation, Response, SavedMember, SavedView, Start,
    State, Token, Update,
};
use henge_types::{ClusterName, ClusterParams, Custody, Incarnation, RingId, RingSecret};

const OTHER: RingId = RingId([9; 16]);

fn token_of(actions: &[Action]) -> Token {
    actions.iter().find_map(|a| if let Action::Send { token, .. } = a { Some(*token) } else { None }).unwrap()
}

fn refusals(actions: &[Action]) -> Vec<Refusal> {
    actions
        .iter()
        .filter_map(|a| if let Action::Refused { refusal, .. } = a { Some(refusal.clone()) } else { None })
        .collect()
}

/// A newcomer that has asked `peer(1)`, and the token of that.
fn asking() -> (State, Token) {
    let mut state = start(2, Start::Join, at(0));
    assert!(state.handle_join(peer(1), at(0)));
    assert_eq!(drain(&mut state), []);
    state.handle_connected(peer(1), at(0));
    let actions = drain(&mut state);
    assert_eq!(sends(&actions), [(peer(1), &Request::Join { params: params(), ring: None })]);
    (state, token_of(&actions))
}

fn saved(members: Vec<Update>) -> SavedView {
    let members = members.into_iter().map(|known| SavedMember { known, electorate: 0 }).collect();
    SavedView { members, ..SavedView::empty(RING) }
}

fn restarted(ring: RingId) -> State {
    let how = Start::Restart {
        ring,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(5), upto: 100 },
        custody: map(Custody::Full),
        view: SavedView::empty(ring),
    };
    start(2, how, at(0))
}

#[test]
fn the_first_peer_has_everything_and_says_nothing_before_its_counters_are_saved() {
    let mut state = start(1, Start::Birth { ring: RING, secret: SECRET }, at(0));
    let reservation = Reservation { incarnation: Incarnation(1_000_000), upto: 4096 };
    assert_eq!(drain(&mut state), [Action::Reserve { reservation }]);
    assert!(state.view().is_empty());
    state.handle_reserved(reservation, at(3));
    let own = state.view().get(&peer(1)).unwrap();
    assert_eq!((own.record().incarnation, own.record().counter), (Incarnation(1_000_000), 0));
    assert_eq!(*own.custody(), map(Custody::Full));
    assert_eq!(state.phase(), Phase::Alone);
    assert!(matches!(
        drain(&mut state)[..],
        [Action::Changed { generation: 1, placed_generation: 1 }, Action::Persist { .. }]
    ));
}

#[test]
fn counters_stay_below_what_is_reserved() {
    let mut state = first(1, at(0));
    let mut asked = Vec::new();
    for _ in 0..10_000 {
        tick(&mut state);
        asked.extend(drain(&mut state).into_iter().filter_map(|a| match a {
            Action::Reserve { reservation } => Some(reservation),
            _ => None,
        }));
    }
    assert_eq!(asked.iter().map(|r| r.upto).collect::<Vec<_>>(), [8192], "asked once, in good time");
    assert_eq!(state.view().get(&peer(1)).unwrap().record().counter, 4095);
    state.handle_reserved(asked[0], at(10_000_000));
    assert_eq!(state.view().get(&peer(1)).unwrap().record().counter, 4096);
}

#[test]
fn a_restart_goes_on_behind_the_last_reservation_in_the_same_life() {
    let mut state = restarted(RING);
    assert_eq!(
        drain(&mut state),
        [Action::Reserve { reservation: Reservation { incarnation: Incarnation(5), upto: 4196 } }]
    );
    state.handle_reserved(Reservation { incarnation: Incarnation(5), upto: 4196 }, at(1));
    let own = state.view().get(&peer(2)).unwrap();
    assert_eq!((own.record().incarnation, own.record().counter), (Incarnation(5), 100));
    assert_eq!(*own.custody(), map(Custody::Full));
}

#[test]
fn a_saved_record_beyond_the_saved_counters_shows_that_they_were_rolled_back() {
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(5), upto: 100 },
        custody: map(Custody::Full),
        view: saved(vec![with_map(record(peer(2), 5, 100), map(Custody::Full))]),
    };
    let mut state = start(2, how, at(0));
    let actions = settle(&mut state, at(0));
    assert_eq!(actions[0], Action::Reborn { incarnation: Incarnation(1_000_000) });
    assert_eq!(state.view().update(&peer(2)).unwrap().custody, Some(map(Custody::None)));
}

#[test]
fn a_new_life_waits_for_counters_of_its_own() {
    let mut state = restarted(RING);
    let old = Reservation { incarnation: Incarnation(5), upto: 4196 };
    assert_eq!(drain(&mut state), [Action::Reserve { reservation: old }]);
    // Before that is saved, the ring shows a later life; and again after.
    state.on_updates(peer(1), vec![with_map(record(peer(2), 6, 0), map(Custody::Full))], at(1));
    let new = Reservation { incarnation: Incarnation(1_000_001), upto: 4196 };
    assert!(drain(&mut state).contains(&Action::Reserve { reservation: new }));
    state.handle_reserved(old, at(2));
    assert!(!state.view().contains(&peer(2)));
    state.handle_reserved(new, at(3));
    assert_eq!(state.view().get(&peer(2)).unwrap().record().incarnation, new.incarnation);

    state.on_updates(peer(1), vec![with_map(record(peer(2), 2_000_000, 0), map(Custody::Full))], at(60_000));
    assert!(!state.view().contains(&peer(2)), "what is left of the last block is not for this life");
}

#[test]
fn those_who_were_saved_are_no_news_at_a_restart() {
    let others = vec![with_map(record(peer(1), 5, 100), map(Custody::Full))];
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(5), upto: 100 },
        custody: map(Custody::Full),
        view: saved(others),
    };
    let mut state = start(2, how, at(0));
    let actions = settle(&mut state, at(0));
    assert!(state.view().contains(&peer(1)));
    assert!(!actions.contains(&Action::NewMember { peer: peer(1) }));
    state.handle_connected(peer(1), at(1));
    assert!(matches!(sends(&drain(&mut state))[..], [(_, Request::Exchange { .. })]));
}

#[test]
fn a_newcomer_tells_who_let_it_in_of_itself_in_a_ring_of_any_size() {
    let (mut state, token) = asking();
    let updates = (0..100).map(|n| with_map(record(made_up(n), 1, 1), map(Custody::None)));
    let host = with_map(record(peer(1), 1, 1), map(Custody::Full));
    let updates = updates.chain([host]).collect();
    state.on_response(
        token,
        Ok(Response::Welcome { ring: RING, secret: SECRET, params: params(), updates, accused: vec![] }),
        at(10),
    );
    let actions = settle(&mut state, at(10));
    assert!(sends(&actions).iter().any(|(to, r)| *to == peer(1) && matches!(r, Request::Push { .. })));
}

#[test]
fn a_welcome_makes_a_member_whose_life_is_later_than_its_last() {
    let (mut state, token) = asking();
    let last_life = with_map(record(peer(2), 2_000_000, 8), map(Custody::Full));
    let host = with_map(record(peer(1), 1, 1), map(Custody::Full));
    let welcome = Response::Welcome {
        ring: RING,
        secret: SECRET,
        params: params(),
        updates: vec![last_life, host.clone()],
        accused: vec![],
    };
    state.on_response(token, Ok(welcome), at(10));
    let actions = settle(&mut state, at(10));
    assert_eq!(actions[0], Action::Joined { ring: RING, secret: SECRET, params: params() });
    assert_eq!(actions[1], Action::NewMember { peer: peer(1) });
    assert_eq!(state.incarnation(), Incarnation(2_000_001), "the clock is behind the last life");
    let own = state.view().update(&peer(2)).unwrap();
    assert_eq!(own.custody, Some(map(Custody::None)));
    let push = Request::Push { ring: RING, updates: vec![own], accused: vec![] };
    let pushed = sends(&actions).into_iter().any(|(to, r)| to == peer(1) && *r == push);
    assert!(pushed, "{actions:?}");
    assert_eq!(state.phase(), Phase::Member);
    assert_eq!(state.view().update(&peer(1)), Some(host));
}

#[test]
fn a_join_is_tried_again_after_a_loss_but_not_at_once() {
    let (mut state, token) = asking();
    state.on_response(token, Err(Failure::Lost), at(10));
    assert_eq!(drain(&mut state), []);
    assert_eq!(state.poll_timeout(), Some(at(1010).monotonic));
    state.handle_timeout(at(1009));
    assert_eq!(drain(&mut state), []);
    state.handle_timeout(at(1010));
    assert_eq!(sends(&drain(&mut state)).len(), 1);
}

#[test]
fn a_peer_that_is_in_no_ring_refuses_everything() {
    let mut state = start(3, Start::Join, at(0));
    for request in [
        Request::Join { params: params(), ring: None },
        Request::Exchange { ring: RING, summary: vec![], evicted: vec![], pending: 0 },
        Request::Push {
            ring: RING,
            updates: vec![with_map(record(peer(1), 1, 1), map(Custody::None))],
            accused: vec![],
        },
        Request::Fetch { ring: RING, peers: vec![peer(3)] },
    ] {
        assert_eq!(state.on_request(peer(1), request, at(0)), Response::Refused(Refusal::NotMember));
    }
    assert!(state.view().is_empty());
    assert_eq!(state.counters().refused, 4);
}

#[test]
fn members_of_another_ring_are_refused_with_every_request() {
    let mut state = first(1, at(0));
    for request in [
        Request::Join { params: params(), ring: Some(OTHER) },
        Request::Exchange { ring: OTHER, summary: vec![], evicted: vec![], pending: 0 },
        Request::Push { ring: OTHER, updates: vec![], accused: vec![] },
        Request::Fetch { ring: OTHER, peers: vec![peer(1)] },
    ] {
        assert_eq!(
            state.on_request(peer(2), request, at(0)),
            Response::Refused(Refusal::OtherRing { ring: RING })
        );
    }
}

#[test]
fn newcomers_with_other_numbers_are_refused_with_those_of_the_ring() {
    let mut state = first(1, at(0));
    for other in [
        ClusterParams::new(5).unwrap().with_partitions(64).unwrap(),
        params().with_partitions(128).unwrap(),
        params().with_quorums(1, 3).unwrap(),
        params().with_tokens_per_weight(16).unwrap(),
    ] {
        let answer = state.on_request(peer(2), Request::Join { params: other, ring: None }, at(0));
        assert_eq!(answer, Response::Refused(Refusal::OtherParams { params: params() }));
    }
}

#[test]
fn a_final_refusal_is_reported_and_ends_the_asking() {
    for refusal in [Refusal::OtherRing { ring: OTHER }, Refusal::OtherParams { params: params() }] {
        let (mut state, token) = asking();
        state.on_response(token, Ok(Response::Refused(refusal.clone())), at(5));
        assert_eq!(drain(&mut state), [Action::Refused { peer: peer(1), refusal }]);
        assert_eq!(state.poll_timeout(), None);
    }
}

#[test]
fn a_peer_that_does_not_speak_the_protocol_has_another_cluster_name() {
    let (mut state, token) = asking();
    state.on_response(token, Err(Failure::Unsupported), at(5));
    let cluster = ClusterName::default();
    assert_eq!(
        drain(&mut state),
        [Action::Refused { peer: peer(1), refusal: Refusal::OtherCluster { cluster } }]
    );
}

#[test]
fn a_welcome_is_checked_by_the_one_who_gets_it() {
    let other_params = params().with_partitions(128).unwrap();
    let (mut state, token) = asking();
    let welcome = Response::Welcome {
        ring: RING,
        secret: SECRET,
        params: other_params,
        updates: vec![],
        accused: vec![],
    };
    state.on_response(token, Ok(welcome), at(5));
    assert_eq!(refusals(&drain(&mut state)), [Refusal::OtherParams { params: other_params }]);
    assert_eq!(state.phase(), Phase::Joining);

    // A member that is pointed at a peer of another ring, or of a false one.
    for (ring, secret) in [(OTHER, SECRET), (RING, RingSecret([0; 32]))] {
        let mut member = restarted(RING);
        settle(&mut member, at(0));
        member.handle_join(peer(1), at(0));
        member.handle_connected(peer(1), at(0));
        let actions = drain(&mut member);
        assert_eq!(sends(&actions), [(peer(1), &Request::Join { params: params(), ring: Some(RING) })]);
        let welcome = Response::Welcome { ring, secret, params: params(), updates: vec![], accused: vec![] };
        member.on_response(token_of(&actions), Ok(welcome), at(5));
        let said = drain(&mut member);
        if ring == OTHER {
            assert_eq!(refusals(&said), [Refusal::OtherRing { ring: OTHER }]);
        } else {
            assert_eq!(said, [Action::Fault { peer: peer(1), fault: Fault::OtherSecret }]);
        }
        assert_eq!((member.ring(), member.secret()), (Some(RING), Some(SECRET)));
    }
}

#[test]
fn the_words_of_a_refusal_say_what_to_do() {
    let texts = [
        (
            Refusal::OtherRing { ring: OTHER },
            "that peer belongs to another ring, 09090909090909090909090909090909, and rings never merge: join a peer \
             of your own ring, or start with an empty data directory to join that one",
        ),
        (
            Refusal::OtherParams { params: params() },
            "that ring was born with N=3 R=2 W=2 Q=64 T=256, and this peer was started with other numbers: start it \
             with the same",
        ),
        (
            Refusal::OtherCluster { cluster: ClusterName::new("garden").unwrap() },
            "that peer does not speak for a cluster named \"garden\": it has another cluster name, or is no henge \
             peer; give both the same cluster name",
        ),
        (
            Refusal::NotMember,
            "that peer is in no ring itself yet: join one that is, or start the first peer of the ring with nobody \
             to join",
        ),
        (
            Refusal::TooMany,
            "that peer does not read messages this long: the versions of the two differ too much",
        ),
    ];
    for (refusal, text) in texts {
        assert_eq!(refusal.to_string(), text);
    }
}

#[test]
#[should_panic(expected = "a custody map of 2 partitions in a cluster with N=3")]
fn a_custody_map_of_another_length_is_a_mistake_of_the_caller() {
    let two = henge_types::PartitionCount::new(2).unwrap();
    assert_ne!(two, count());
    let custody = henge_types::CustodyMap::uniform(two, Custody::None);
    let how = Start::Restart {
        ring: RING,
        secret: SECRET,
        reserved: Reservation { incarnation: Incarnation(1), upto: 0 },
        custody,
        view: SavedView::empty(RING),
    };
    let _ = State::new(config(1), how, Box::new(Cheap(peer(1))), at(0));
}
