//! Small networks in which members are evicted: never by a minority, and nobody is evicted in two lives.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::net::Net;
use henge_types::{Cause, Incarnation};

const MINUTE: Duration = Duration::from_secs(60);
const EVICT_AFTER: Duration = Duration::from_secs(20);

/// Runs on; whoever takes another for gone for long enough accuses it.
fn run(net: &mut Net, time: Duration) {
    let end = net.now.monotonic + time;
    while net.now.monotonic < end {
        net.run_for(Duration::from_secs(1));
        accuse(net);
    }
}

fn accuse(net: &mut Net) {
    for i in running(net) {
        let gone = |id: &_| net.state(i).gone_for(id, net.now).is_some_and(|time| time >= EVICT_AFTER);
        let ids: Vec<_> = net.state(i).view().iter().map(|(id, _)| *id).filter(gone).collect();
        for id in ids {
            net.with(i, |state, now| _ = state.accuse(id, Cause::Gone, now));
        }
    }
}

fn running(net: &Net) -> Vec<usize> {
    (0..net.nodes.len()).filter(|i| net.nodes[*i].state.is_some()).collect()
}

/// Who was evicted in the eyes of `by`, in which life.
fn evicted(net: &Net, by: usize) -> Vec<(usize, Incarnation)> {
    let index = |id| (0..net.nodes.len()).find(|i| net.id(*i) == id).unwrap();
    let mut all: Vec<_> = net.state(by).evictions().map(|(id, e)| (index(*id), e.incarnation())).collect();
    all.sort();
    all
}

/// All who run see one ring of so many, know the same evictions, and live lives that are not over.
fn is_whole(net: &Net, members: usize) -> bool {
    let all = running(net);
    let first = evicted(net, all[0]);
    let lives = |i: &usize| !net.state(*i).view().is_evicted(&net.id(*i), net.state(*i).incarnation());
    net.agrees(members) && all.iter().all(|i| evicted(net, *i) == first) && all.iter().all(lives)
}

/// A network whose members have run for a while.
fn settled(size: u8, seed: u64) -> Net {
    let mut net = Net::joined(size, seed);
    assert!(net.run_until(MINUTE, |net| net.agrees(usize::from(size))));
    net.run_for(Duration::from_secs(8));
    net
}

fn index_of_all(net: &Net) -> Vec<usize> {
    (0..net.nodes.len()).collect()
}

#[test]
fn a_minority_never_evicts_and_a_majority_does() {
    for seed in 0..6 {
        let mut net = settled(5, seed);
        net.part(&[0, 1], &[2, 3, 4]);
        run(&mut net, 5 * MINUTE);
        for i in [0, 1] {
            assert_eq!(evicted(&net, i), [], "two of five");
            assert!(!net.state(i).has_lease(net.now));
        }
        for i in [2, 3, 4] {
            assert_eq!(evicted(&net, i).iter().map(|(of, _)| *of).collect::<Vec<_>>(), [0, 1]);
            assert!(net.state(i).has_lease(net.now));
            assert_eq!(net.state(i).view().len(), 3);
        }
        net.cuts.clear();
        assert!(net.run_until(MINUTE, |net| is_whole(net, 5)), "seed {seed}");
        for i in index_of_all(&net) {
            assert_eq!(net.nodes[i].returned.len(), usize::from(i < 2), "who was evicted came back, once");
            assert_eq!(evicted(&net, i).len(), 2);
        }
        run(&mut net, 2 * MINUTE);
        assert!(is_whole(&net, 5) && index_of_all(&net).iter().all(|i| net.state(*i).has_lease(net.now)));
    }
}

#[test]
fn of_two_halves_neither_evicts() {
    for (size, one, other) in [(2, vec![0], vec![1]), (4, vec![0, 1], vec![2, 3])] {
        let mut net = settled(size, 1);
        net.part(&one, &other);
        run(&mut net, 5 * MINUTE);
        assert!(index_of_all(&net).iter().all(|i| evicted(&net, *i).is_empty()), "{size} peers");
        net.cuts.clear();
        assert!(net.run_until(MINUTE, |net| is_whole(net, usize::from(size))));
        assert!(net.nodes.iter().all(|node| node.returned.is_empty()));
    }
}

#[test]
fn a_minority_that_others_join_and_that_restarts_is_still_a_minority() {
    for seed in 0..4 {
        let mut net = Net::new(9, seed);
        (1..5).for_each(|i| net.join(i, 0));
        assert!(net.run_until(MINUTE, |net| net.agrees(6) || (0..5).all(|i| net.state(i).view().len() == 5)));
        net.run_for(Duration::from_secs(10));
        net.part(&[0, 1, 5, 6, 7, 8], &[2, 3, 4]);
        net.run_for(Duration::from_secs(10));
        (5..9).for_each(|i| net.join(i, 0));
        run(&mut net, MINUTE);
        // Now they are six, and some of them restart.
        assert_eq!(net.state(0).view().len(), 9);
        for i in [0, 5, 6, 7] {
            net.crash(i);
            net.restart(i);
        }
        run(&mut net, 4 * MINUTE);
        for i in [0, 1, 5, 6, 7, 8] {
            assert_eq!(evicted(&net, i), [], "seed {seed}: they are but two of the five that there were");
        }
        assert_eq!(evicted(&net, 2).len(), 2);
        net.cuts.clear();
        assert!(net.run_until(2 * MINUTE, |net| is_whole(net, 9)), "seed {seed}");
    }
}

#[test]
fn a_dead_peer_is_evicted_also_by_members_that_restarted() {
    let mut net = settled(4, 3);
    net.vanish(3);
    run(&mut net, Duration::from_secs(10));
    for i in 0..3 {
        net.crash(i);
        net.restart(i);
        run(&mut net, Duration::from_secs(5));
    }
    run(&mut net, MINUTE);
    assert!((0..3).all(|i| evicted(&net, i).len() == 1 && net.state(i).view().len() == 3));
    // It comes back with its old disk.
    let life = evicted(&net, 0)[0].1;
    net.restart(3);
    assert!(net.run_until(MINUTE, |net| is_whole(net, 4)));
    assert_eq!(net.nodes[3].returned.len(), 1);
    assert!(net.state(3).incarnation() > life);
}

#[test]
fn members_go_one_after_the_other_as_long_as_a_majority_of_the_rest_is_left() {
    let mut net = settled(5, 1);
    for gone in [4, 3] {
        net.vanish(gone);
        run(&mut net, MINUTE);
    }
    assert!((0..3).all(|i| net.state(i).view().len() == 3), "four of five, and three of four");
    net.vanish(2);
    run(&mut net, MINUTE);
    assert!((0..2).all(|i| net.state(i).view().len() == 2), "two of three");
    net.vanish(1);
    run(&mut net, 3 * MINUTE);
    assert_eq!(net.state(0).view().len(), 2, "one of two is no majority");
}

#[test]
fn what_an_operator_says_holds_at_once_everywhere() {
    for seed in 0..4 {
        let mut net = settled(5, seed);
        let id = net.id(4);
        net.vanish(4);
        net.with(0, |state, now| state.accuse(id, Cause::Removed, now).unwrap());
        let all_know = |net: &Net| (0..4).all(|i| evicted(net, i).len() == 1);
        assert!(net.run_until(Duration::from_millis(60), all_know), "seed {seed}");
        assert!((0..4).all(|i| !net.state(i).is_down(&id) && !net.state(i).view().contains(&id)));
    }
}

#[test]
fn two_operators_who_remove_each_others_peers_agree_in_the_end() {
    let mut net = settled(4, 2);
    net.part(&[0, 1], &[2, 3]);
    let (one, other) = (net.id(1), net.id(2));
    net.with(0, |state, now| state.accuse(other, Cause::Removed, now).unwrap());
    net.with(2, |state, now| state.accuse(one, Cause::Removed, now).unwrap());
    run(&mut net, 2 * MINUTE);
    net.cuts.clear();
    assert!(net.run_until(MINUTE, |net| is_whole(net, 4)));
    assert_eq!(evicted(&net, 0).len(), 2);
    // Who joins learns of both, though neither accuser is a member in the life in which it accused.
    net.crash(3);
    net.nodes[3].disk = common::net::Disk::default();
    net.restart(3);
    net.join(3, 0);
    assert!(net.run_until(MINUTE, |net| net.nodes[3].state.is_some() && is_whole(net, 4)));
}

#[test]
fn an_evicted_peer_that_does_not_know_has_no_lease() {
    for seed in 0..10 {
        let mut net = settled(5, seed);
        net.part(&[0, 1], &[2, 3, 4]);
        run(&mut net, 3 * MINUTE);
        // From now on gossip comes through to it, but what it asks does not.
        net.cuts.retain(|(from, _)| *from < 2);
        for _ in 0..300 {
            net.run_for(Duration::from_millis(10));
            let ended = net.state(2).view().is_evicted(&net.id(0), net.state(0).incarnation());
            assert!(!(ended && net.state(0).has_lease(net.now)), "seed {seed}");
        }
    }
}

#[test]
fn whatever_happens_views_converge_and_nobody_lives_on_in_a_life_that_is_over() {
    for seed in 0..20 {
        let mut net = Net::new(7, seed);
        net.loss_percent = 5;
        (1..5).for_each(|i| net.join(i, 0));
        let mut lives: Vec<BTreeSet<Incarnation>> = vec![BTreeSet::new(); 7];
        for _ in 0..40 {
            let i = (net.draw() % 7) as usize;
            match (net.draw() % 8, net.nodes[i].state.is_some()) {
                (0, true) => net.crash(i),
                (1, true) => net.vanish(i),
                (_, false) => {
                    net.restart(i);
                    net.join(i, (i + 1) % 7);
                }
                (2, true) => net.join(i, 0),
                (3, true) => {
                    let side: Vec<usize> = (0..7).filter(|_| net.draw().is_multiple_of(2)).collect();
                    let rest: Vec<usize> = (0..7).filter(|i| !side.contains(i)).collect();
                    net.part(&side, &rest);
                }
                (4, true) => net.cuts.clear(),
                (5, true) => {
                    let of = (net.draw() % 7) as usize;
                    let id = net.id(of);
                    if net.draw().is_multiple_of(3) {
                        net.with(i, |state, now| _ = state.accuse(id, Cause::Removed, now));
                    }
                }
                (_, true) => {}
            }
            let pause = Duration::from_secs(net.draw() % 40);
            run(&mut net, pause);
            for i in running(&net) {
                let state = net.state(i);
                lives[i].insert(state.incarnation());
                assert_eq!(
                    state.incarnation(),
                    *lives[i].last().unwrap(),
                    "a later life is never followed by an earlier"
                );
                assert!(!state.view().is_evicted(&net.id(i), state.incarnation()), "seed {seed}");
            }
        }
        net.cuts.clear();
        net.loss_percent = 0;
        for i in 0..7 {
            if net.nodes[i].state.is_none() {
                net.restart(i);
            }
        }
        (1..7).for_each(|i| net.join(i, 0));
        (0..7).for_each(|a| (0..7).for_each(|b| net.connect(a, b)));
        assert!(net.run_until(5 * MINUTE, |net| is_whole(net, 7)), "seed {seed}");
    }
}
