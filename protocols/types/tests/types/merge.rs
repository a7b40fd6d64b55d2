//! The laws of merging, over records that replicas can really reach.

use std::collections::BTreeSet;

use henge_types::codec::{Stored, decode, encode};
use henge_types::{Clock, Content, Dot, Record, Sibling};
use proptest::prelude::*;

use crate::common::{NOW, clock, dot, dots, merged, operation, put, write};
use crate::schedule::{Step, World, steps};

/// Three records out of one schedule: the last state of a replica, or one on the way.
fn three_records(schedule: &[Step], picks: [usize; 3]) -> [Record; 3] {
    let mut states = vec![Record::new()];
    World::play(schedule, |world, at| states.push(world.replicas[at].record.clone()));
    picks.map(|pick| states[pick % states.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn merge_is_commutative_associative_and_idempotent(
        schedule in steps(80, true), picks in any::<[usize; 3]>(),
    ) {
        let [a, b, c] = three_records(&schedule, picks);
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        let ab = merged(&a, &b);
        prop_assert_eq!(merged(&ab, &a), ab.clone());
        prop_assert_eq!(merged(&Record::new(), &a), a);
    }

    #[test]
    fn merge_says_truly_whether_something_changed(
        schedule in steps(60, true), picks in any::<[usize; 3]>(),
    ) {
        let [mut a, b, _] = three_records(&schedule, picks);
        let before = a.digest();
        prop_assert_eq!(a.merge(&b), a.digest() != before);
        prop_assert!(!a.merge(&b), "merged twice");
    }

    #[test]
    fn replicas_that_exchange_everything_in_any_order_converge(
        schedule in steps(60, true),
        order in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let records = World::play(&schedule, |_, _| {}).records();
        let forwards = records.iter().fold(Record::new(), |all, record| merged(&all, record));
        let shuffled = order.iter().fold(Record::new(), |all, at| merged(&all, &records[*at]));
        prop_assert_eq!(&forwards, &shuffled);
        prop_assert_eq!(forwards.digest(), shuffled.digest());
        for record in &records {
            prop_assert_eq!(&merged(record, &forwards), &forwards);
        }
    }

    #[test]
    fn siblings_are_what_whole_causal_histories_say(schedule in steps(60, true)) {
        World::play(&schedule, |world, at| {
            let replica = &world.replicas[at];
            assert_eq!(dots(&replica.record), world.reference(&replica.known));
            for sibling in replica.record.siblings() {
                assert_eq!(sibling.content, world.writes[&sibling.dot].write.content);
            }
            let known: BTreeSet<_> = world.writes.keys().copied().filter(|d| replica.record.clock().covers(d)).collect();
            assert_eq!(known, replica.known, "the clock claims other writes than the replica knows");
        });
    }

    #[test]
    fn a_concurrent_write_is_never_dropped(schedule in steps(60, false)) {
        let world = World::play(&schedule, |_, _| {});
        let all = world.records().iter().fold(Record::new(), |all, record| merged(&all, record));
        for (dot, written) in &world.writes {
            let seen = world.writes.values().any(|later| later.saw.contains(dot));
            let kept = all.siblings().iter().find(|sibling| sibling.dot == *dot);
            prop_assert_eq!(kept.is_some(), !seen);
            prop_assert!(kept.is_none_or(|sibling| sibling.content == written.write.content));
        }
    }

    #[test]
    fn a_superseded_sibling_never_comes_back(schedule in steps(80, true)) {
        World::play(&schedule, |world, at| assert_eq!(world.came_back(at), []));
    }

    #[test]
    fn the_estimated_size_bounds_the_stored_one(schedule in steps(60, true)) {
        World::play(&schedule, |world, at| {
            let record = &world.replicas[at].record;
            assert!(record.to_stored().unwrap().len() <= record.size_bytes());
        });
    }
}

/// Any record that decodes: most of these no honest replica reaches.
fn any_records() -> impl Strategy<Value = Record> {
    let sibling = (0..4_u8, 1..4_u64, 0..3_u32, any::<bool>());
    let parts = (prop::collection::vec(sibling, 0..6), prop::collection::vec((0..4_u8, 1..4_u64), 0..4));
    parts.prop_map(|(siblings, more)| {
        let mut siblings: Vec<_> = siblings
            .into_iter()
            .map(|(actor, counter, number, deleted)| Sibling {
                dot: dot(actor, counter),
                content: if deleted { Content::Tombstone } else { Content::Value(vec![7].into()) },
                written_at: NOW,
                expires_at: None,
                operation: operation(number),
            })
            .collect();
        siblings.sort();
        siblings.dedup_by_key(|sibling| sibling.dot);
        let more = more.into_iter().map(|(actor, counter)| dot(actor, counter));
        let clock: Clock = siblings.iter().map(|sibling| sibling.dot).chain(more).collect();
        let mut operations: Vec<_> = siblings.iter().map(|s| (s.operation, s.dot, NOW)).collect();
        operations.sort_by(|a, b| b.cmp(a));
        decode(&encode(&(siblings, clock, operations)).unwrap()).unwrap()
    })
}

proptest! {
    #[test]
    fn the_laws_hold_even_for_records_that_no_replica_reaches(
        a in any_records(), b in any_records(), c in any_records(),
    ) {
        let ab = merged(&a, &b);
        prop_assert_eq!(&ab, &merged(&b, &a));
        prop_assert_eq!(merged(&ab, &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(a.clone().merge(&b), ab.digest() != a.digest());
        let known = |dot: &Dot| ab.clock().covers(dot);
        prop_assert!(ab.siblings().iter().all(|sibling| known(&sibling.dot)));
    }
}

#[test]
fn a_record_that_supersedes_ours_replaces_it() {
    let mut ours = Record::new();
    put(&mut ours, dot(1, 1), &clock([]), 1);
    let mut newer = ours.clone();
    put(&mut newer, dot(2, 1), &clock([(1, 1)]), 2);
    assert!(ours.merge(&newer));
    assert_eq!(ours, newer);
    assert!(!ours.merge(&newer));
}

#[test]
fn a_record_that_ours_supersedes_changes_nothing() {
    let mut old = Record::new();
    put(&mut old, dot(1, 1), &clock([]), 1);
    let mut ours = old.clone();
    put(&mut ours, dot(2, 1), &clock([(1, 1)]), 2);
    let before = ours.clone();
    assert!(!ours.merge(&old));
    assert_eq!(ours, before);
}

#[test]
fn two_writes_under_one_dot_settle_on_the_same_one_everywhere() {
    // Only a broken or hostile peer does this; replicas must agree nevertheless.
    let [mut a, mut b] = [Record::new(), Record::new()];
    a.apply(&write(dot(1, 1), &clock([]), 1)).unwrap();
    b.apply(&write(dot(1, 1), &clock([]), 2)).unwrap();
    assert_eq!(merged(&a, &b), merged(&b, &a));
}

#[test]
fn operations_beyond_the_memory_keep_merging_associative() {
    // 20 writes each: any two merge into more than are remembered.
    let record = |number: u8| {
        let mut record = Record::new();
        for n in 1..=20_u32 {
            let seen = record.clock().clone();
            put(&mut record, dot(number, u64::from(n)), &seen, n * 3 + u32::from(number) % 3);
        }
        record
    };
    let [a, b, c] = [1, 2, 3].map(record);
    assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    assert_eq!(merged(&a, &b), merged(&b, &a));
    let all = merged(&merged(&a, &b), &c);
    assert_eq!(merged(&all, &all), all);
}
