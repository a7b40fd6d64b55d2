//! Replication to three voters with W = 2, and who keeps hints for those that are away.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use henge_types::{Custody, Incarnation, Partition, RingId, Voter};

use super::*;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn start(sloppy: bool) -> Replication {
    let voter = |n| Voter { peer: peer(n), incarnation: Incarnation(1), owner: true, custody: Custody::Full };
    let voters = Voters::new(RingId([1; 16]), Partition(0), (1..4).map(voter).collect());
    Replication::start(&voters, 2, sloppy)
}

fn keep(primary: u8, keeper: u8) -> Option<Keep> {
    Some(Keep { primary: peer(primary), keeper: Keeper::Peer(peer(keeper)) })
}

#[test]
fn two_acks_of_voters_suffice() {
    let mut put = start(true);
    put.on_ack(&peer(1));
    assert_eq!(put.outcome(), Outcome::Pending);
    put.on_ack(&peer(3));
    assert_eq!(put.outcome(), Outcome::Done { acks: 2, hinted: 0 });
}

#[test]
fn a_stand_in_counts_for_the_voter_that_is_away_unless_the_write_is_strict() {
    for sloppy in [true, false] {
        let mut put = start(sloppy);
        let fallbacks = [peer(11), peer(12)];
        put.on_ack(&peer(1));
        assert_eq!(put.on_lost(peer(2), &fallbacks), keep(2, 11));
        assert_eq!(put.on_lost(peer(3), &fallbacks), keep(3, 12));
        put.on_kept(&peer(2), &peer(11));
        let failed = Outcome::Failed { needed: 2, got: 1, stale: false };
        let expected = if sloppy { Outcome::Done { acks: 2, hinted: 1 } } else { failed };
        assert_eq!(put.outcome(), expected);
    }
}

#[test]
fn a_keeper_that_fails_is_followed_by_the_next_and_in_the_end_by_the_coordinator() {
    let mut put = start(true);
    let fallbacks = [peer(11), peer(12)];
    put.on_ack(&peer(1));
    assert_eq!(put.on_lost(peer(2), &fallbacks), keep(2, 11));
    assert_eq!(put.on_lost(peer(3), &fallbacks), keep(3, 12));
    let myself = |n| Some(Keep { primary: peer(n), keeper: Keeper::Coordinator });
    assert_eq!(put.on_not_kept(peer(2), &peer(11), &fallbacks), myself(2));
    assert_eq!(put.outcome(), Outcome::Pending);
    assert_eq!(put.on_not_kept(peer(3), &peer(12), &fallbacks), myself(3));
    assert_eq!(put.outcome(), Outcome::Failed { needed: 2, got: 1, stale: false });
}

#[test]
fn a_late_voter_and_its_stand_in_count_once() {
    let mut put = start(true);
    put.on_ack(&peer(1));
    assert_eq!(put.awaited(), [peer(2), peer(3)]);
    assert_eq!(put.on_absent(peer(2), &[peer(11)]), keep(2, 11));
    assert_eq!(put.on_absent(peer(2), &[peer(11)]), None);
    assert_eq!(put.awaited(), [peer(3)]);
    put.on_kept(&peer(2), &peer(11));
    put.on_ack(&peer(2));
    assert_eq!(put.outcome(), Outcome::Done { acks: 2, hinted: 0 });
    assert_eq!(put.count(), (2, 2));
}

#[test]
fn keepers_that_take_too_long_are_replaced_and_still_count_when_they_answer() {
    let mut put = start(true);
    let fallbacks = [peer(11), peer(12), peer(13)];
    put.on_ack(&peer(1));
    assert_eq!(put.on_late(peer(1), &fallbacks), [keep(2, 11), keep(3, 12)].map(Option::unwrap));
    put.on_kept(&peer(3), &peer(12));
    assert_eq!(put.outcome(), Outcome::Done { acks: 2, hinted: 1 });
    // The one that keeps its hint is not asked again, nor are voters that somebody stands in for.
    assert_eq!(put.on_late(peer(1), &fallbacks), [keep(2, 13).unwrap()]);
    put.on_kept(&peer(2), &peer(11));
    assert_eq!(put.outcome(), Outcome::Done { acks: 3, hinted: 2 });
}

#[test]
fn a_put_does_not_fail_before_the_last_keeper_that_was_asked_has_answered() {
    let mut put = start(true);
    let fallbacks = [peer(11), peer(12)];
    put.on_ack(&peer(1));
    put.on_lost(peer(2), &fallbacks);
    put.on_lost(peer(3), &fallbacks);
    let myself = |n| Keep { primary: peer(n), keeper: Keeper::Coordinator };
    assert_eq!(put.on_late(peer(1), &fallbacks), [myself(2), myself(3)], "nobody else is left");
    assert_eq!(put.on_late(peer(1), &fallbacks), []);
    assert_eq!(put.on_not_kept(peer(3), &peer(12), &fallbacks), None);
    assert_eq!(put.outcome(), Outcome::Pending);
    put.on_kept(&peer(2), &peer(11));
    assert_eq!(put.outcome(), Outcome::Done { acks: 2, hinted: 1 });
}

#[test]
fn a_coordinator_that_is_no_voter_counts_for_one_that_is_away() {
    let mut put = start(true);
    put.stands_in(peer(21), peer(2));
    assert_eq!(put.on_lost(peer(2), &[]), None);
    assert_eq!(put.on_lost(peer(1), &[peer(21), peer(11)]), keep(1, 11));
    assert_eq!(put.on_lost(peer(3), &[peer(21), peer(11), peer(12)]), keep(3, 12));
    put.on_kept(&peer(2), &peer(21));
    assert_eq!(put.outcome(), Outcome::Pending);
    put.on_kept(&peer(1), &peer(11));
    assert_eq!(put.outcome(), Outcome::Done { acks: 2, hinted: 2 });
}

#[test]
fn a_voter_that_sees_other_voters_makes_the_attempt_stale() {
    let mut put = start(true);
    put.on_stale(&peer(1));
    put.on_ack(&peer(2));
    assert_eq!(put.outcome(), Outcome::Pending);
    put.on_lost(peer(3), &[]);
    assert_eq!(put.outcome(), Outcome::Failed { needed: 2, got: 1, stale: true });
}
