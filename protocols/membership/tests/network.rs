//! Small networks of states: all views converge, whatever is lost, and no number is used twice.
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
use common::{map, peer};
use henge_membership::{Declaration, Phase, Reservation};
use henge_types::{Custody, MemberState, Partition};

const SOON: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(120);

#[test]
fn peers_that_join_through_one_know_each_other_within_milliseconds() {
    for size in [2, 3, 10] {
        let mut net = Net::new(size, 1);
        (1..usize::from(size)).for_each(|i| net.join(i, 0));
        assert!(net.run_until(SOON, |net| net.agrees(usize::from(size))), "{size} peers");
    }
}

#[test]
fn views_converge_through_loss() {
    for seed in 0..12 {
        let mut net = Net::new(3 + (seed % 8) as u8, seed);
        net.loss_percent = 30;
        let size = net.nodes.len();
        (1..size).for_each(|i| net.join(i, 0));
        assert!(net.run_until(LONG, |net| net.agrees(size)), "seed {seed}");
    }
}

#[test]
fn a_custody_change_reaches_a_small_ring_within_milliseconds() {
    let mut net = Net::joined(5, 1);
    let mut custody = map(Custody::None);
    custody.set(Partition(3), Custody::Part);
    net.with(2, |state, now| state.declare(Declaration::default().with_custody(custody.clone()), now));
    let id = net.id(2);
    let all_know = |net: &Net| (0..5).all(|i| *net.state(i).view().get(&id).unwrap().custody() == custody);
    assert!(net.run_until(SOON, all_know));
}

#[test]
fn a_burst_of_declarations_becomes_a_few_pushes() {
    let mut net = Net::joined(3, 1);
    let before = net.sent["push"];
    let mut custody = map(Custody::None);
    for partition in 0..64 {
        custody.set(Partition(partition), Custody::Full);
        net.with(1, |state, now| state.declare(Declaration::default().with_custody(custody.clone()), now));
        net.run_for(Duration::from_micros(100));
    }
    assert!(net.run_until(SOON, |net| net.agrees(3)));
    assert!(net.sent["push"] - before <= 10, "{} pushes", net.sent["push"] - before);
}

#[test]
fn members_that_are_not_connected_to_each_other_learn_of_custody_by_gossip_and_fetch() {
    let mut net = Net::new(4, 1);
    net.dials = false;
    (1..4).for_each(|i| net.join(i, 0));
    net.run_for(Duration::from_secs(15));
    net.with(3, |state, now| state.declare(Declaration::default().with_custody(map(Custody::Part)), now));
    assert!(net.run_until(Duration::from_secs(3), |net| net.agrees(4)));
    assert!(net.sent["fetch"] > 0);
}

#[test]
fn a_state_once_declared_outlives_a_crash() {
    let mut net = Net::joined(3, 1);
    net.with(2, |state, now| state.declare(Declaration::default().with_state(MemberState::Leaving), now));
    net.run_for(Duration::from_secs(2));
    net.crash(2);
    net.restart(2);
    assert!(net.run_until(SOON, |net| net.agrees(3)));
    assert_eq!(net.state(0).view().get(&peer(3)).unwrap().record().state, MemberState::Leaving);
}

#[test]
fn a_restart_keeps_the_incarnation_and_a_lost_disk_ends_it() {
    let mut net = Net::joined(3, 1);
    let life = net.state(2).incarnation();
    net.crash(2);
    net.restart(2);
    assert!(net.run_until(SOON, |net| net.agrees(3)));
    assert_eq!(net.state(2).incarnation(), life);

    net.crash(2);
    net.nodes[2].disk = common::net::Disk::default();
    net.restart(2);
    net.join(2, 0);
    assert!(net.run_until(SOON, |net| net.agrees(3) && net.nodes[2].state.is_some()));
    assert!(net.state(2).incarnation() > life);
    assert!(net.nodes[2].reborn.is_empty(), "the welcome told of the last life");
    assert_eq!(net.state(0).view().get(&peer(3)).unwrap().custody().count(Custody::None), 64);
}

#[test]
fn a_store_that_was_rolled_back_is_found_out() {
    let mut net = Net::joined(3, 1);
    net.with(2, |state, now| state.declare(Declaration::default().with_custody(map(Custody::Full)), now));
    let life = net.state(2).incarnation();
    net.crash(2);
    // A backup from before the first record that the ring knows.
    net.nodes[2].custody = map(Custody::Full);
    net.nodes[2].disk.reserved = Some(Reservation { incarnation: life, upto: 1 });
    net.nodes[2].disk.view = None;
    net.restart(2);
    assert!(net.run_until(SOON, |net| !net.nodes[2].reborn.is_empty() && net.agrees(3)));
    assert!(net.state(2).incarnation() > life);
    let seen = net.state(0).view().get(&peer(3)).unwrap();
    assert_eq!(seen.custody().count(Custody::None), 64, "what it had before is not to be trusted");
    assert_eq!(net.nodes[2].reborn.len(), 1);
}

#[test]
fn numbers_never_repeat_and_views_converge_through_crashes_and_loss() {
    for seed in 0..15 {
        let mut net = Net::new(5, seed);
        net.loss_percent = 20;
        (1..5).for_each(|i| net.join(i, 0));
        for _ in 0..25 {
            let i = (net.draw() % 5) as usize;
            match (net.draw() % 3, net.nodes[i].state.is_some()) {
                (0, true) => net.crash(i),
                (_, true) => {
                    let custody =
                        map(if net.draw().is_multiple_of(2) { Custody::Part } else { Custody::Full });
                    net.nodes[i].custody = custody.clone();
                    net.with(i, |state, now| {
                        state.declare(Declaration::default().with_custody(custody), now)
                    });
                }
                (_, false) => {
                    net.restart(i);
                    net.join(i, (i + 1) % 5);
                }
            }
            let pause = Duration::from_millis(net.draw() % 400);
            net.run_for(pause);
        }
        net.loss_percent = 0;
        for i in (0..5).filter(|i| net.nodes[*i].state.is_none()).collect::<Vec<_>>() {
            net.restart(i);
        }
        for i in 1..5 {
            net.join(i, 0);
        }
        assert!(net.run_until(LONG, |net| net.agrees(5)), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = Net::new(6, 7);
        net.loss_percent = 20;
        (1..6).for_each(|i| net.join(i, 0));
        net.run_for(Duration::from_secs(30));
        (0..6).map(|i| net.state(i).view().summary()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn heartbeats_keep_to_the_budget_of_the_ring_and_change_no_generation() {
    let mut net = Net::joined(4, 1);
    net.run_for(Duration::from_secs(1));
    let (generation, persisted) = (net.state(0).view().generation(), net.nodes[0].persisted);
    let counter = |net: &Net| net.state(0).view().get(&peer(2)).unwrap().record().counter;
    let before = counter(&net);
    net.run_for(Duration::from_secs(60));
    assert!((54..=67).contains(&(counter(&net) - before)), "{} in 60 s", counter(&net) - before);
    assert_eq!(net.state(0).view().generation(), generation);
    assert_eq!(net.nodes[0].persisted, persisted);
}

#[test]
fn two_newcomers_that_ask_only_each_other_are_told_what_to_do() {
    let mut net = Net::new(3, 1);
    net.join(1, 2);
    net.join(2, 1);
    net.run_for(Duration::from_secs(3));
    assert_eq!(net.state(1).phase(), Phase::Joining);
    assert!(net.nodes[1].refused[0].contains("start the first peer of the ring with nobody to join"));
    // Once one of them is in a ring, the other follows.
    net.join(1, 0);
    assert!(net.run_until(Duration::from_secs(3), |net| net.agrees(3)));
}
