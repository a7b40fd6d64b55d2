//! Peers that leave, are removed or evicted, and come back, under load.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use common::{pass, ring, until};
use henge::config::Config;
use henge_client::{Request, Response};
use henge_sim::nemesis::{Fault, Planned};
use henge_sim::scenario::{LEASE_MIN, Scenario};
use henge_sim::world::{Crash, Pid, World};

const SEEDS: std::ops::Range<u64> = 1..4;

fn holds(scenario: &Scenario) {
    let report = scenario.run();
    assert_eq!(report.violation.map(|v| v.to_string()), None, "seed {}", scenario.seed);
    assert!(report.acked > 0, "seed {}: nothing was written", scenario.seed);
}

fn at(secs: u64, lasts: u64, fault: Fault) -> Planned {
    Planned { at: Duration::from_secs(secs), lasts: Duration::from_secs(lasts), fault }
}

#[test]
fn a_peer_leaves_under_load() {
    for seed in SEEDS {
        let leave = at(6, 0, Fault::Leave { pid: 1 });
        holds(&Scenario::new(seed).with_peers(4).with_faults(vec![leave]));
    }
}

/// One that has left is not dialled: who waited for that was never ready (found by seed 1).
#[test]
fn a_peer_that_restarts_after_another_has_left_is_ready() {
    let faults = vec![at(5, 0, Fault::Leave { pid: 1 }), at(14, 2, Fault::Stop { pid: 2 })];
    holds(&Scenario::new(1).with_peers(4).with_faults(faults));
}

#[test]
fn two_peers_leave_at_once() {
    for seed in SEEDS {
        let both = vec![at(6, 0, Fault::Leave { pid: 0 }), at(6, 0, Fault::Leave { pid: 3 })];
        holds(&Scenario::new(seed).with_peers(5).with_faults(both));
    }
}

#[test]
fn a_dead_peer_is_removed_under_load() {
    for (seed, force) in SEEDS.zip([false, true, false]) {
        let remove = at(6, 600, Fault::Remove { by: 0, pid: 2, force, returns: false });
        let scenario = Scenario { lease: Some(LEASE_MIN), ..Scenario::new(seed).with_peers(5) };
        holds(&scenario.with_faults(vec![remove]).lasting(Duration::from_secs(30)));
    }
}

#[test]
fn a_removed_peer_comes_back_under_load() {
    for (seed, force) in SEEDS.zip([false, true, true]) {
        let remove = at(6, 15, Fault::Remove { by: 0, pid: 2, force, returns: true });
        let scenario = Scenario { lease: Some(LEASE_MIN), ..Scenario::new(seed).with_peers(5) };
        holds(&scenario.with_faults(vec![remove]).lasting(Duration::from_secs(35)));
    }
}

#[test]
fn a_ring_that_was_cut_for_longer_than_an_eviction_takes_is_one_again() {
    for seed in SEEDS {
        let cut = at(6, 30, Fault::Partition { side: 0b0_0011 });
        let scenario = Scenario::new(seed).with_peers(5).with_evictions();
        holds(&scenario.with_faults(vec![cut]).lasting(Duration::from_secs(50)));
    }
}

#[test]
fn a_peer_changes_its_weight() {
    for seed in SEEDS {
        let reweigh = at(6, 2, Fault::Reweigh { pid: 1, weight: 3 });
        holds(&Scenario::new(seed).with_peers(5).with_faults(vec![reweigh]));
    }
}

// How many members a peer knows, and how many partitions they have in part.
fn knows(world: &mut World, pid: Pid) -> (usize, u32) {
    let Some(Response::Status(status)) = world.ask(pid, &Request::Status) else { return (0, 0) };
    let count = if world.is_ready(pid) { status.members.len() } else { 0 };
    (count, status.members.iter().map(|m| m.part).sum())
}

/// The side that is more than half evicts the other, which evicts nobody.
#[test]
fn a_minority_never_evicts() {
    let config = Config::new().with_lease(LEASE_MIN).with_evict_after(Some(LEASE_MIN * 2));
    let mut world = ring(5, 5, &config);
    for (from, to) in (0..2).flat_map(|a| (2..5).map(move |b| (a, b))) {
        world.cut(from, to);
        world.cut(to, from);
    }
    pass(&mut world, Duration::from_secs(60));
    let few: Vec<usize> = (0..2).map(|pid| knows(&mut world, pid).0).collect();
    assert_eq!(few, [5, 5], "what the minority knows");
    let many: Vec<usize> = (2..5).map(|pid| knows(&mut world, pid).0).collect();
    assert!(many.iter().all(|count| *count < 5), "the majority evicts: {many:?}");
    for (from, to) in (0..2).flat_map(|a| (2..5).map(move |b| (a, b))) {
        world.mend(from, to);
        world.mend(to, from);
    }
    until(&mut world, "one ring again", |world| (0..5).all(|pid| knows(world, pid) == (5, 0)));
}

/// Nor is it a member again in the eyes of the others, who would give it what it does not take.
#[test]
fn one_that_was_removed_for_longer_than_deletes_are_remembered_does_not_come_back() {
    let grace = Duration::from_secs(20);
    let mut world = ring(6, 4, &Config::new().with_gc_grace(grace));
    world.crash(3, Crash::Process);
    let peer = world.id(3).unwrap();
    assert_eq!(world.ask(0, &Request::Remove { peer, force: true }), Some(Response::Accepted));
    until(&mut world, "all know of three", |world| (0..3).all(|pid| knows(world, pid).0 == 3));
    pass(&mut world, grace + Duration::from_secs(10));
    world.start(3);
    until(&mut world, "it learns that it is too late", |world| world.is_evicted_for_good(3));
    assert_eq!((0..3).map(|pid| knows(&mut world, pid).0).collect::<Vec<_>>(), [3, 3, 3]);
}
