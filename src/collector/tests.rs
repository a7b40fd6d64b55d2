#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use henge_types::{Custody, Incarnation, RingId, Voter};

use super::*;

const AT: Partition = Partition(4);

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn voters(peers: &[u8]) -> Voters {
    let voter =
        |n: &u8| Voter { peer: peer(*n), incarnation: Incarnation(1), owner: true, custody: Custody::Full };
    Voters::new(RingId([1; 16]), AT, peers.iter().map(voter).collect())
}

fn dead(keys: &[&'static str]) -> Dead {
    keys.iter().map(|key| (Key::new(*key).unwrap(), RecordDigest([7; 32]))).collect()
}

/// Peer 1 collects two keys.
fn begun(peers: &[u8]) -> Collector {
    let mut collector = Collector::default();
    assert!(collector.begin(AT, peer(1), &voters(peers), dead(&["a", "b"])));
    collector
}

#[test]
fn what_all_agree_to_is_forgotten_by_the_others_and_then_here() {
    let mut collector = begun(&[1, 2, 3]);
    assert!(!collector.begin(AT, peer(1), &voters(&[1, 2, 3]), dead(&["c"])), "one at a time");
    assert_eq!(collector.on_answer(AT, peer(1), &[true, true]), Next::Wait);
    assert_eq!(collector.on_answer(AT, peer(2), &[false, true]), Next::Wait);
    assert_eq!(collector.on_answer(AT, peer(2), &[true, true]), Next::Wait, "the first word counts");
    assert_eq!(collector.on_answer(AT, peer(3), &[true, true]), Next::Forget(dead(&["b"])));
    assert_eq!(collector.on_answer(AT, peer(2), &[true]), Next::Wait);
    assert_eq!(collector.on_answer(AT, peer(3), &[true]), Next::ForgetHere(dead(&["b"])));
    assert_eq!(collector.voters(AT), None);
}

#[test]
fn where_one_does_not_answer_nothing_is_forgotten() {
    for failing in 1..4 {
        let mut collector = begun(&[1, 2, 3]);
        let next: Vec<Next> = (1..4)
            .map(|n| {
                let agreed: &[bool] = if n == failing { &[] } else { &[true, true] };
                collector.on_answer(AT, peer(n), agreed)
            })
            .collect();
        assert!(!next.iter().any(|next| matches!(next, Next::Forget(_) | Next::ForgetHere(_))), "{next:?}");
        assert_eq!(collector.voters(AT), None);
    }
}

#[test]
fn what_another_did_not_forget_stays_here_to_be_found_again() {
    let mut collector = begun(&[1, 2, 3]);
    for n in 1..4 {
        collector.on_answer(AT, peer(n), &[true, true]);
    }
    assert_eq!(collector.on_answer(AT, peer(2), &[true, false]), Next::Wait);
    assert_eq!(collector.on_answer(AT, peer(3), &[true, true]), Next::ForgetHere(dead(&["a"])));
}

#[test]
fn a_peer_alone_asks_itself() {
    let mut collector = begun(&[1]);
    assert_eq!(collector.on_answer(AT, peer(1), &[true, false]), Next::ForgetHere(dead(&["a"])));
}

#[test]
fn each_pass_comes_to_every_partition_once_at_its_pace() {
    let count = PartitionCount::new(64).unwrap();
    let (day, second) = (Duration::from_secs(24 * 3600), Duration::from_secs(1));
    for (grace, at_once, again) in [(10 * day, 1, day / 64), (second, 6, second), (80 * second, 6, second)] {
        let mut collector = Collector::default();
        let mut seen = Vec::new();
        while seen.len() < 64 {
            let (partitions, after) = collector.look(count, grace);
            assert_eq!(after, again);
            assert_eq!(partitions.len(), at_once);
            seen.extend(partitions);
        }
        seen.truncate(64);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(count.all()));
    }
}

#[test]
fn the_voters_of_a_partition_take_turns() {
    let all = voters(&[1, 2, 3]);
    let turns: BTreeSet<Option<PeerId>> = (0..3).map(|n| Collector::collects(Partition(n), &all)).collect();
    assert_eq!(turns.len(), 3);
    assert_eq!(Collector::collects(Partition(0), &voters(&[])), None);
}
