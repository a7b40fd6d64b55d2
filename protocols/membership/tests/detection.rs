//! Small networks of states: who is gone is found out, and nobody else is taken for gone.
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
use henge_membership::limits::PROBE_TARGETS;
use henge_types::PeerId;
use sha2::{Digest, Sha256};

const SOON: Duration = Duration::from_millis(60);
const FIVE: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

/// A network whose members have run for a while.
fn settled(size: u8, seed: u64) -> Net {
    let mut net = Net::joined(size, seed);
    assert!(net.run_until(MINUTE, |net| net.agrees(usize::from(size))));
    net.run_for(Duration::from_secs(8) + Duration::from_millis(seed * 137 % 1000));
    net
}

fn running(net: &Net) -> impl Iterator<Item = usize> {
    (0..net.nodes.len()).filter(|i| net.nodes[*i].state.is_some())
}

fn all_but<'a>(net: &'a Net, gone: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    running(net).filter(|i| !gone.contains(i))
}

/// Whether all others take exactly these for gone.
fn down_are(net: &Net, gone: &[usize]) -> bool {
    let is_right = |by: usize, of: usize| net.state(by).is_down(&net.id(of)) == gone.contains(&of);
    all_but(net, gone).all(|by| (0..net.nodes.len()).all(|of| is_right(by, of)))
}

fn suspects(net: &Net, by: usize) -> Vec<PeerId> {
    let state = net.state(by);
    let own = state.view().get(&net.id(by)).unwrap();
    own.record().suspects.iter().map(|suspect| suspect.peer).collect()
}

/// How long until all take `gone` for gone, and nobody else.
fn detected_within(net: &mut Net, gone: &[usize]) -> Duration {
    let before = net.now.monotonic;
    assert!(net.run_until(FIVE, |net| down_are(net, gone)), "not within five seconds");
    net.now.monotonic - before
}

#[test]
fn a_killed_peer_is_down_within_five_seconds() {
    for size in [2, 3, 10, 50] {
        let mut slowest = Duration::ZERO;
        for seed in 1..=3 {
            let mut net = settled(size, seed);
            net.crash(1);
            slowest = slowest.max(detected_within(&mut net, &[1]));
        }
        println!("killed, {size} peers: {slowest:?}");
    }
}

#[test]
fn a_peer_whose_machine_loses_power_is_down_within_five_seconds() {
    for size in [2, 3, 10, 50] {
        let mut slowest = Duration::ZERO;
        for seed in 1..=3 {
            let mut net = settled(size, seed);
            net.vanish(1);
            slowest = slowest.max(detected_within(&mut net, &[1]));
        }
        println!("without power, {size} peers: {slowest:?}");
    }
}

#[test]
fn a_restarted_peer_is_up_again_at_once() {
    let mut net = settled(5, 1);
    net.crash(1);
    detected_within(&mut net, &[1]);
    net.restart(1);
    assert!(net.run_until(SOON, |net| down_are(net, &[])));
}

#[test]
fn neighbours_that_die_together_are_all_found_out() {
    let mut net = settled(10, 1);
    (1..=5).for_each(|i| net.vanish(i));
    let gone = [1, 2, 3, 4, 5];
    assert!(net.run_until(Duration::from_secs(10), |net| down_are(net, &gone)));
}

#[test]
fn a_stopped_peer_that_goes_on_is_up_again_and_accuses_nobody() {
    for size in [2, 3, 10] {
        for seed in 1..=4 {
            let mut net = settled(size, seed);
            net.stop(1);
            assert!(net.run_until(FIVE, |net| {
                let id = net.id(1);
                all_but(net, &[1]).all(|by| net.state(by).is_down(&id))
            }));
            net.run_for(Duration::from_secs(30));
            net.cont(1);
            assert!(net.run_until(SOON, |net| down_are(net, &[])), "{size} peers, seed {seed}");
            for _ in 0..200 {
                net.run_for(Duration::from_millis(100));
                assert!(down_are(&net, &[]) && suspects(&net, 1).is_empty(), "{size} peers, seed {seed}");
            }
        }
    }
}

#[test]
fn one_that_cannot_reach_a_peer_accuses_it_alone() {
    // A large ring, where heartbeats are rare and do not clear the accusation at once.
    let mut net = settled(50, 1);
    let mut circle: Vec<usize> = (0..50).collect();
    circle.sort_by_key(|i| Sha256::digest(net.id(*i).to_bytes()));
    let (by, of) = (circle[20], circle[21]);
    net.cuts = [(by, of)].into();
    let mut accused = 0;
    for _ in 0..60 {
        net.run_for(Duration::from_millis(250));
        let accusers = net.state(circle[0]).accusers(&net.id(of));
        accused += usize::from(accusers.iter().any(|(accuser, _)| *accuser == net.id(by)));
        assert!(down_are(&net, &[]));
    }
    assert!(accused > 0, "it was noticed");
}

#[test]
fn a_ring_with_losses_and_a_slow_peer_takes_nobody_for_gone_in_an_hour() {
    let seeds = std::env::var("HENGE_TEST_SEEDS").map_or(1, |n| n.parse().unwrap());
    let rings = [(3, true), (5, true), (5, false), (10, true)];
    for (seed, (size, silent)) in (5..5 + seeds).flat_map(|seed| rings.map(|ring| (seed, ring))) {
        let mut net = settled(size, seed);
        net.loss_percent = 5;
        net.silent = silent;
        net.nodes[1].lag = Duration::from_millis(800);
        let before = net.downs;
        net.run_for(Duration::from_secs(3600));
        assert_eq!(net.downs, before, "{size} peers, silent: {silent}, seed {seed}");
    }
}

#[test]
fn a_peer_that_is_late_finds_out_who_is_gone_all_the_same() {
    let mut net = settled(3, 1);
    (0..3).for_each(|i| net.nodes[i].lag = Duration::from_millis(800));
    net.run_for(MINUTE);
    net.vanish(2);
    assert!(net.run_until(MINUTE, |net| down_are(net, &[2])));
}

#[test]
fn a_minority_loses_its_lease_and_gets_it_back() {
    let mut net = settled(5, 1);
    let lease = |net: &Net, i: usize| net.state(i).has_lease(net.now);
    assert!((0..5).all(|i| lease(&net, i)));
    net.part(&[0, 1], &[2, 3, 4]);
    net.run_for(MINUTE + Duration::from_secs(2));
    assert!((2..5).all(|i| lease(&net, i)), "three are more than half of five");
    assert!((0..2).all(|i| !lease(&net, i)), "two are not");
    net.cuts.clear();
    assert!(net.run_until(Duration::from_secs(3), |net| (0..5).all(|i| lease(net, i))));
}

#[test]
fn whoever_hears_the_others_but_is_not_heard_has_no_lease() {
    let mut net = settled(3, 1);
    net.cuts = [(0, 1), (0, 2)].into();
    let blind = |net: &Net| !net.state(0).has_lease(net.now) && net.state(1).is_down(&net.id(0));
    assert!(net.run_until(Duration::from_secs(10), blind));
}

#[test]
fn a_peer_that_slept_past_its_lease_has_to_hear_again() {
    for seed in 1..=12 {
        let mut net = settled(3, seed);
        net.stop(1);
        net.run_for(2 * MINUTE);
        assert!(!net.state(1).has_lease(net.now));
        net.part(&[1], &[0, 2]);
        net.cont(1);
        net.run_for(Duration::from_secs(5));
        assert!(!net.state(1).has_lease(net.now), "what waited in buffers is no news: seed {seed}");
        net.cuts.clear();
        assert!(net.run_until(Duration::from_secs(3), |net| net.state(1).has_lease(net.now)));
    }
}

#[test]
fn records_that_a_third_peer_tells_of_earn_no_lease() {
    // Two that were cut off from three: one restarts, and the other knows later records of the three.
    let mut net = settled(5, 1);
    net.part(&[0, 1], &[2, 3, 4]);
    net.run_for(2 * MINUTE);
    net.crash(1);
    net.restart(1);
    for _ in 0..50 {
        net.run_for(Duration::from_millis(100));
        assert!(!net.state(1).has_lease(net.now));
    }
}

#[test]
fn after_a_restart_of_all_the_lease_is_earned_within_seconds() {
    let mut net = settled(5, 1);
    (0..5).for_each(|i| net.crash(i));
    net.run_for(MINUTE);
    (0..5).for_each(|i| net.restart(i));
    assert!(net.run_until(Duration::from_secs(2), |net| (0..5).all(|i| net.state(i).has_lease(net.now))));
}

#[test]
fn the_traffic_of_a_peer_does_not_grow_with_the_ring() {
    for size in [3, 10, 50] {
        let mut net = settled(size, 1);
        let requests = |net: &Net| net.sent.values().sum::<usize>();
        let (asked, gossiped) = (requests(&net), net.gossiped);
        net.run_for(MINUTE);
        let per_peer = |count: usize| count as f64 / f64::from(size) / 60.0;
        let (asked, gossiped) = (per_peer(requests(&net) - asked), per_peer(net.gossiped - gossiped));
        println!("{size} peers: {asked:.2} requests/s and {gossiped:.1} gossip messages/s sent by each");
        assert!(asked < PROBE_TARGETS as f64 * 1.1 + 0.2, "{asked} requests per second at {size} peers");
    }
}
