//! Hints: records that wait for peers that are down (Dynamo §4.6). For every store.

use std::sync::Arc;

use henge::store::memory::Memory;
use henge::store::{Hint, HintQueue, ReadOp, Store, StoreResult, WriteOp};
use henge_types::{Applied, Key, PeerId, Record, Write, WriteError};

use crate::common::{Bed, InMemory, OnDisk, blind, key, merged, one, record, values, write_on};

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&mut super::InMemory(super::Arc::new(super::Memory::new()))); })+
        }
        mod fjall {
            $(#[test] fn $name() { super::$name(&mut super::OnDisk::new()); })+
        }
    };
}

contract!(
    a_hint_is_no_record,
    one_hint_waits_for_several_primaries_and_survives_a_reopen,
    a_fallback_writes_into_the_hint_and_a_repeated_write_can_wait_for_one_more,
    a_queue_is_read_in_order_and_in_parts,
    a_newer_hint_is_not_dropped_by_an_older_digest,
    the_last_primary_takes_the_hint_with_it,
    a_full_queue_refuses_and_changes_nothing,
    a_batch_counts_its_own_hints,
    a_hint_in_quarantine_waits_for_nobody,
    a_damaged_hint_says_so_until_it_is_in_quarantine,
    synced_hints_outlive_a_crash,
);

const MAX_BYTES: u64 = 1 << 20;
const NOW: u64 = 1_700_000_000_000;

pub(crate) fn primary(n: u8) -> PeerId {
    // An identity multihash.
    PeerId::from_bytes(&[&[0, 4][..], &[n; 4]].concat()).unwrap()
}

fn merge_within(key: &Key, n: u8, record: Record, max_bytes: u64) -> WriteOp {
    WriteOp::MergeHint { key: key.clone(), primary: primary(n), record, now_unix_ms: NOW, max_bytes }
}

fn merge(key: &Key, n: u8, record: Record) -> WriteOp {
    merge_within(key, n, record, MAX_BYTES)
}

fn update(key: &Key, n: u8, write: Write) -> WriteOp {
    WriteOp::UpdateHint { key: key.clone(), primary: primary(n), write, max_bytes: MAX_BYTES }
}

fn drop_hint(key: &Key, n: u8, record: &Record) -> WriteOp {
    WriteOp::DropHint { key: key.clone(), primary: primary(n), digest: record.digest() }
}

fn quarantine(key: &Key, n: u8) -> WriteOp {
    WriteOp::QuarantineHint { key: key.clone(), primary: primary(n) }
}

fn dropped(gone: bool) -> StoreResult {
    StoreResult::HintDropped { dropped: true, gone }
}

const KEPT: StoreResult = StoreResult::HintDropped { dropped: false, gone: false };

fn hint(store: &dyn Store, key: &Key) -> StoreResult {
    store.read(&ReadOp::Hint { key: key.clone() })
}

fn some(record: &Record) -> StoreResult {
    StoreResult::Hint(Some(record.clone()))
}

/// The hints for a primary: all of them, and how many were damaged.
fn hints(store: &dyn Store, n: u8) -> (Vec<Hint>, Vec<Key>) {
    part(store, n, None, usize::MAX, usize::MAX, false)
}

fn part(
    store: &dyn Store,
    n: u8,
    after: Option<&Key>,
    bytes_max: usize,
    count_max: usize,
    expect_more: bool,
) -> (Vec<Hint>, Vec<Key>) {
    let op = ReadOp::Hints { primary: primary(n), after: after.cloned(), bytes_max, count_max };
    let StoreResult::Hints { hints, more, damaged } = store.read(&op) else { panic!("no hints") };
    assert_eq!(more, expect_more);
    (hints, damaged)
}

fn keys(store: &dyn Store, n: u8) -> Vec<Key> {
    hints(store, n).0.into_iter().map(|hint| hint.key).collect()
}

fn queues(store: &dyn Store) -> (Vec<HintQueue>, u64) {
    let result = store.read(&ReadOp::HintQueues);
    let StoreResult::HintQueues { queues, quarantined } = result else { panic!("{result:?}") };
    (queues, quarantined)
}

fn queue(n: u8, held: &[(&Key, &Record)], oldest_unix_ms: u64) -> HintQueue {
    let bytes = held.iter().map(|(key, record)| (key.as_bytes().len() + record.size_bytes()) as u64).sum();
    HintQueue { primary: primary(n), count: held.len() as u64, bytes, oldest_unix_ms }
}

fn a_hint_is_no_record(bed: &mut impl Bed) {
    let store = bed.store();
    let x = record([blind(1, 1, "x")]);
    assert_eq!(hint(&*store, &key("a")), StoreResult::Hint(None));
    assert_eq!(one(&*store, merge(&key("a"), 1, Record::new())), merged(false));
    assert_eq!(hint(&*store, &key("a")), StoreResult::Hint(None));
    assert_eq!(one(&*store, merge(&key("a"), 1, x.clone())), merged(true));
    assert_eq!(hint(&*store, &key("a")), some(&x));
    assert_eq!(crate::common::record_of(&*store, &key("a")), Record::new());
    assert_eq!(store.records(), 0);
}

fn one_hint_waits_for_several_primaries_and_survives_a_reopen(bed: &mut impl Bed) {
    let (a, x, y) = (key("a"), record([blind(1, 1, "x")]), record([blind(2, 1, "y")]));
    let mut both = x.clone();
    both.merge(&y);
    assert_eq!(one(&*bed.store(), merge(&a, 1, x.clone())), merged(true));
    assert_eq!(one(&*bed.store(), merge(&a, 1, x.clone())), merged(false));
    assert_eq!(one(&*bed.store(), merge(&a, 2, x)), merged(true), "it waits for one more");
    assert_eq!(one(&*bed.store(), merge(&a, 2, y)), merged(true));
    for _ in 0..2 {
        let store = bed.store();
        assert_eq!(hint(&*store, &a), some(&both));
        let expected =
            Hint { key: a.clone(), record: both.clone(), digest: both.digest(), since_unix_ms: NOW };
        assert_eq!(hints(&*store, 1), (vec![expected.clone()], vec![]));
        assert_eq!(hints(&*store, 2), (vec![expected], vec![]));
        assert_eq!(hints(&*store, 3), (vec![], vec![]));
        let held = [(&a, &both)];
        assert_eq!(queues(&*store), (vec![queue(1, &held, NOW), queue(2, &held, NOW)], 0));
        drop(store);
        bed.reopen();
    }
}

fn a_fallback_writes_into_the_hint_and_a_repeated_write_can_wait_for_one_more(bed: &mut impl Bed) {
    let store = bed.store();
    let a = key("a");
    let write = blind(1, 1, "x");
    let x = record([write.clone()]);
    let result = |applied| StoreResult::Updated { applied, record: x.clone() };
    assert_eq!(one(&*store, update(&a, 1, write.clone())), result(Applied::Written));
    assert_eq!(one(&*store, update(&a, 2, write.clone())), result(Applied::Repeated(write.dot)));
    assert_eq!(one(&*store, update(&a, 2, write.clone())), result(Applied::Repeated(write.dot)));
    assert_eq!(hints(&*store, 2).0[0].since_unix_ms, write.written_at);
    let older = one(&*store, update(&a, 3, write_on(x.clock(), 1, 1, "older dot")));
    assert!(matches!(older, StoreResult::Updated { applied: Applied::Repeated(_), .. }), "{older:?}");
    let mut other = blind(1, 1, "z");
    other.operation.0 = [7; 16];
    assert_eq!(one(&*store, update(&a, 4, other)), StoreResult::Refused(WriteError::RolledBack));
    assert_eq!(keys(&*store, 4), []);
}

fn a_queue_is_read_in_order_and_in_parts(bed: &mut impl Bed) {
    let store = bed.store();
    let names: Vec<Key> = (0..20).map(|n| key(format!("key {n}"))).collect();
    let x = record([blind(1, 1, vec![7; 1000])]);
    for (n, name) in names.iter().enumerate() {
        one(&*store, merge(name, 1 + u8::from(n % 4 == 0), x.clone()));
    }
    let mut mine: Vec<Key> =
        names.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, k)| k.clone()).collect();
    mine.sort_by_key(|key| (key.position(), key.clone()));
    assert_eq!(keys(&*store, 1), mine);
    assert_eq!(keys(&*store, 2).len(), 5);
    let names = |hints: Vec<Hint>| hints.into_iter().map(|hint| hint.key).collect::<Vec<_>>();
    assert_eq!(names(part(&*store, 1, None, usize::MAX, 4, true).0), mine[..4]);
    assert_eq!(names(part(&*store, 1, Some(&mine[3]), usize::MAX, 11, false).0), mine[4..]);
    assert_eq!(names(part(&*store, 1, Some(&mine[14]), usize::MAX, 1, false).0), []);
    let two = 2 * (x.size_bytes() + 6);
    assert_eq!(names(part(&*store, 1, None, two, 100, true).0), mine[..2]);
    assert_eq!(names(part(&*store, 1, None, 1, 100, true).0), mine[..1], "the first comes, however large");
    // The key to go on after may be gone.
    one(&*store, drop_hint(&mine[3], 1, &x));
    assert_eq!(names(part(&*store, 1, Some(&mine[3]), usize::MAX, 1, true).0), mine[4..5]);
}

fn a_newer_hint_is_not_dropped_by_an_older_digest(bed: &mut impl Bed) {
    let store = bed.store();
    let a = key("a");
    let x = record([blind(1, 1, "x")]);
    one(&*store, merge(&a, 1, x.clone()));
    one(&*store, merge(&a, 1, record([blind(2, 1, "y")])));
    assert_eq!(one(&*store, drop_hint(&a, 1, &x)), KEPT);
    assert_eq!(one(&*store, drop_hint(&key("b"), 1, &x)), KEPT);
    let StoreResult::Hint(Some(both)) = hint(&*store, &a) else { panic!("gone") };
    assert_eq!(values(&both), ["x", "y"]);
    assert_eq!(one(&*store, drop_hint(&a, 2, &both)), KEPT, "it waits for another one");
    assert_eq!(one(&*store, drop_hint(&a, 1, &both)), dropped(true));
    assert_eq!(hint(&*store, &a), StoreResult::Hint(None));
}

fn the_last_primary_takes_the_hint_with_it(bed: &mut impl Bed) {
    let (a, x) = (key("a"), record([blind(1, 1, "x")]));
    one(&*bed.store(), merge(&a, 1, x.clone()));
    one(&*bed.store(), merge(&a, 2, x.clone()));
    assert_eq!(one(&*bed.store(), drop_hint(&a, 1, &x)), dropped(false));
    assert_eq!(hint(&*bed.store(), &a), some(&x));
    assert_eq!(queues(&*bed.store()), (vec![queue(2, &[(&a, &x)], NOW)], 0));
    bed.reopen();
    assert_eq!(keys(&*bed.store(), 1), []);
    assert_eq!(one(&*bed.store(), drop_hint(&a, 2, &x)), dropped(true));
    for _ in 0..2 {
        assert_eq!(hint(&*bed.store(), &a), StoreResult::Hint(None));
        assert_eq!(keys(&*bed.store(), 2), []);
        assert_eq!(queues(&*bed.store()), (vec![], 0));
        bed.reopen();
    }
}

fn a_full_queue_refuses_and_changes_nothing(bed: &mut impl Bed) {
    let store = bed.store();
    let x = record([blind(1, 1, vec![1; 400])]);
    let max_bytes = 1000;
    let full = StoreResult::Refused(WriteError::HintsFull { max_bytes });
    assert_eq!(one(&*store, merge_within(&key("a"), 1, x.clone(), max_bytes)), merged(true));
    assert_eq!(one(&*store, merge_within(&key("b"), 1, x.clone(), max_bytes)), full);
    let write = WriteOp::UpdateHint {
        key: key("b"),
        primary: primary(1),
        write: blind(1, 2, vec![1; 500]),
        max_bytes,
    };
    assert_eq!(one(&*store, write), full);
    assert_eq!(hint(&*store, &key("b")), StoreResult::Hint(None));
    assert_eq!(one(&*store, merge_within(&key("b"), 2, x.clone(), max_bytes)), merged(true), "of another");
    // What grows for one grows for all that it waits for.
    assert_eq!(one(&*store, merge_within(&key("a"), 3, x.clone(), max_bytes)), merged(true));
    assert_eq!(one(&*store, merge_within(&key("c"), 3, record([blind(1, 3, "c")]), max_bytes)), merged(true));
    let more = record([blind(2, 1, vec![2; 300])]);
    assert_eq!(one(&*store, merge_within(&key("a"), 1, more, max_bytes)), full);
    assert_eq!(hint(&*store, &key("a")), some(&x));
    // What is known already needs no room, and what gets smaller makes some.
    assert_eq!(one(&*store, merge_within(&key("a"), 1, x.clone(), 1)), merged(false));
    let smaller = record([blind(1, 1, vec![1; 400]), write_on(x.clock(), 2, 1, "")]);
    assert_eq!(one(&*store, merge_within(&key("a"), 1, smaller.clone(), 1)), merged(true));
    assert_eq!(hint(&*store, &key("a")), some(&smaller));
}

fn a_batch_counts_its_own_hints(bed: &mut impl Bed) {
    let x = record([blind(1, 1, vec![1; 400])]);
    let within = |name: &str| merge_within(&key(name), 1, x.clone(), 1200);
    let full = StoreResult::Refused(WriteError::HintsFull { max_bytes: 1200 });
    let results = bed.store().write(vec![
        within("a"),
        within("b"),
        within("c"),
        drop_hint(&key("a"), 1, &x),
        within("c"),
        drop_hint(&key("a"), 1, &x),
    ]);
    assert_eq!(results, [merged(true), merged(true), full, dropped(true), merged(true), KEPT]);
    for _ in 0..2 {
        assert_eq!(keys(&*bed.store(), 1).len(), 2);
        assert_eq!(queues(&*bed.store()).0, [queue(1, &[(&key("b"), &x), (&key("c"), &x)], NOW)]);
        bed.reopen();
    }
}

fn a_hint_in_quarantine_waits_for_nobody(bed: &mut impl Bed) {
    let (a, x) = (key("a"), record([blind(1, 1, "x")]));
    for expected in [1, 2] {
        let store = bed.store();
        one(&*store, merge(&a, 1, x.clone()));
        one(&*store, merge(&a, 2, x.clone()));
        assert_eq!(one(&*store, quarantine(&a, 1)), dropped(false));
        assert_eq!(one(&*store, quarantine(&a, 1)), KEPT);
        assert_eq!((keys(&*store, 1), keys(&*store, 2)), (vec![], vec![a.clone()]));
        drop(store);
        bed.reopen();
        assert_eq!(queues(&*bed.store()), (vec![queue(2, &[(&a, &x)], NOW)], expected));
    }
    assert_eq!(one(&*bed.store(), quarantine(&a, 2)), dropped(true));
    assert_eq!(queues(&*bed.store()), (vec![], 3));
}

fn a_damaged_hint_says_so_until_it_is_in_quarantine(bed: &mut impl Bed) {
    let x = record([blind(1, 1, "x")]);
    let names: Vec<Key> = (0..3).map(|n| key(format!("key {n}"))).collect();
    for name in &names {
        one(&*bed.store(), merge(name, 1, x.clone()));
        one(&*bed.store(), merge(name, 2, x.clone()));
    }
    let damaged = &names[0];
    bed.damage_hint(damaged);
    for _ in 0..2 {
        let store = bed.store();
        assert_eq!(hint(&*store, damaged), StoreResult::Damaged);
        assert_eq!(one(&*store, update(damaged, 1, blind(1, 2, "y"))), StoreResult::Damaged);
        assert_eq!(one(&*store, merge(damaged, 3, x.clone())), StoreResult::Damaged);
        assert_eq!(one(&*store, drop_hint(damaged, 1, &x)), StoreResult::Damaged);
        let (left, found) = hints(&*store, 1);
        assert_eq!((left.len(), found), (2, vec![damaged.clone()]));
        assert_eq!(queues(&*store).1, 0);
        drop(store);
        bed.reopen();
    }
    assert_eq!(one(&*bed.store(), quarantine(damaged, 2)), dropped(true));
    for _ in 0..2 {
        let store = bed.store();
        assert_eq!(hint(&*store, damaged), StoreResult::Hint(None));
        let held = [(&names[1], &x), (&names[2], &x)];
        assert_eq!(queues(&*store), (vec![queue(1, &held, NOW), queue(2, &held, NOW)], 2));
        assert_eq!(hints(&*store, 1).1, []);
        drop(store);
        bed.reopen();
    }
    assert_eq!(one(&*bed.store(), merge(damaged, 3, x.clone())), merged(true));
    assert_eq!(hint(&*bed.store(), damaged), some(&x));
}

fn synced_hints_outlive_a_crash(bed: &mut impl Bed) {
    let (a, x) = (key("a"), record([blind(1, 1, "x")]));
    one(&*bed.store(), merge(&a, 1, x.clone()));
    bed.store().sync().unwrap();
    bed.crash();
    assert_eq!(hint(&*bed.store(), &a), some(&x));
    assert_eq!(queues(&*bed.store()), (vec![queue(1, &[(&a, &x)], NOW)], 0));
}

#[test]
fn a_crash_of_memory_brings_back_what_was_dropped_and_takes_what_was_not_synced() {
    let store = Memory::new();
    let (a, b, x) = (key("a"), key("b"), record([blind(1, 1, "x")]));
    one(&store, merge(&a, 1, x.clone()));
    one(&store, merge(&b, 1, x.clone()));
    store.sync().unwrap();
    let before = queues(&store);
    one(&store, drop_hint(&a, 1, &x));
    one(&store, quarantine(&b, 1));
    one(&store, merge(&key("c"), 2, x.clone()));
    assert_eq!(queues(&store).0, [queue(2, &[(&key("c"), &x)], NOW)]);
    assert_eq!(queues(&store.durable()), before);
    store.crash(0);
    assert_eq!(queues(&store), before);
    assert_eq!(keys(&store, 1).len(), 2);
}
