//! What the simulator once found, each under its name. Written down as scenarios, so that they stay
//! what they are when the way changes in which seeds become scenarios.
#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

use henge_sim::nemesis::{Fault, Planned};
use henge_sim::scenario::Scenario;
use henge_sim::world::Crash;

fn holds(scenario: &Scenario) {
    let report = scenario.run();
    assert_eq!(report.violation.map(|v| v.to_string()), None, "seed {}", scenario.seed);
}

fn at(millis: u64, fault: Fault) -> Planned {
    Planned { at: Duration::from_millis(millis), lasts: Duration::from_millis(800), fault }
}

/// Peers that took over the parameters of their ring forgot where they can be dialled, and never
/// found each other (found by seed 15).
#[test]
fn newcomers_without_parameters_of_their_own_find_each_other() {
    for seed in 1..4 {
        holds(&Scenario::new(seed).with_peers(9).lasting(Duration::from_secs(5)));
    }
}

/// A peer that is no owner any more of partitions that hold records never told that it was ready
/// (found by seed 10).
#[test]
fn a_peer_that_can_give_up_nothing_is_ready() {
    let joins = (0..5).map(|n| at(4_000 + 700 * n, Fault::Join));
    let crash = at(9_000, Fault::Crash { pid: 1, crash: Crash::Machine });
    holds(&Scenario::new(10).with_peers(4).with_faults(joins.chain([crash]).collect()));
}

/// What was saved counted before it was durable.
#[test]
fn a_ring_survives_that_the_power_fails_while_it_is_born() {
    for seed in 1..6 {
        let blackouts = (0..6).map(|n| at(5 + 330 * n * seed, Fault::Blackout)).collect();
        let scenario = Scenario::new(seed).with_faults(blackouts).lasting(Duration::from_secs(12));
        holds(&scenario);
    }
}

/// A peer that saved its view of the ring a second late forgot, when its machine crashed, the
/// voters that came in between; alone with its old view it then answered strict reads.
#[test]
fn a_peer_does_not_forget_the_voters_that_it_answered_with() {
    holds(&Scenario::from_seed(544));
}

/// A peer that saved its view after it had saved that it stopped cleanly: the two met the next start.
#[test]
fn after_a_clean_stop_nothing_is_written() {
    holds(&Scenario::from_seed(113));
}

/// A peer that gives a partition up and coordinated a write of it between its look whether it is empty
/// and the end of its custody.
#[test]
fn nothing_is_written_to_a_partition_that_is_being_given_up() {
    holds(&Scenario::from_seed(1492));
}

/// A peer that crashed while it was let in, with its counters saved and its view not yet: it came back
/// as the only member of the ring.
#[test]
fn a_peer_that_was_not_let_in_to_the_end_asks_again() {
    holds(&Scenario::from_seed(3404));
}
