//! The contract, told once and run against every store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use henge::store::memory::Memory;
use henge::store::{MERGED_MAX_BYTES, MetaKey, ReadOp, Records, StoreResult, WriteOp};
use henge_types::limits::VALUE_MAX_BYTES;
use henge_types::{Applied, Content, Key, Partition, PartitionCount, Record, Write, WriteError};

use crate::common::{
    Bed, InMemory, OnDisk, actor, blind, get, key, merge, merged, one, record, record_of, update, values,
    write_on,
};

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
    an_absent_key_reads_as_the_empty_record,
    an_update_is_read_back_and_survives_a_reopen,
    a_repeated_operation_changes_nothing,
    a_refused_update_changes_nothing,
    a_merge_stores_keeps_and_joins,
    a_merge_of_what_is_known_is_no_change,
    a_merge_with_a_newer_dot_of_our_own_says_rolled_back,
    a_merge_over_the_hard_bound_is_refused,
    a_batch_sees_its_own_earlier_operations,
    metadata_is_kept_by_key_and_the_last_of_a_batch_wins,
    occupied_names_the_partitions_with_records,
    a_damaged_key_says_so_until_it_is_repaired,
    a_merge_into_a_damaged_key_is_kept_and_says_so,
    a_repair_of_a_whole_key_merges,
    an_empty_repair_makes_a_damaged_key_absent,
    a_snapshot_shows_one_instant,
    a_snapshot_names_what_is_damaged,
);

fn an_absent_key_reads_as_the_empty_record(bed: &mut impl Bed) {
    let store = bed.store();
    assert_eq!(get(&*store, &key("a")), StoreResult::Record(Record::new()));
    assert_eq!(store.records(), 0);
    assert_eq!(one(&*store, merge(&key("a"), Record::new())), merged(false));
    assert_eq!(store.records(), 0);
}

fn an_update_is_read_back_and_survives_a_reopen(bed: &mut impl Bed) {
    let expected = record([blind(1, 1, "x")]);
    let result = one(&*bed.store(), update(&key("a"), blind(1, 1, "x")));
    assert_eq!(result, StoreResult::Updated { applied: Applied::Written, record: expected.clone() });
    assert_eq!(record_of(&*bed.store(), &key("a")), expected);
    bed.reopen();
    assert_eq!(record_of(&*bed.store(), &key("a")), expected);
    assert_eq!(bed.store().records(), 1);
}

fn a_repeated_operation_changes_nothing(bed: &mut impl Bed) {
    let store = bed.store();
    let first = blind(1, 1, "x");
    one(&*store, update(&key("a"), first.clone()));
    let mut again = blind(1, 2, "x");
    again.operation = first.operation;
    let expected = StoreResult::Updated { applied: Applied::Repeated(first.dot), record: record([first]) };
    assert_eq!(one(&*store, update(&key("a"), again)), expected);
}

fn a_refused_update_changes_nothing(bed: &mut impl Bed) {
    let store = bed.store();
    one(&*store, update(&key("a"), blind(1, 2, "x")));
    let refused = one(&*store, update(&key("a"), blind(1, 1, "older dot")));
    assert_eq!(refused, StoreResult::Refused(WriteError::RolledBack));
    assert_eq!(record_of(&*store, &key("a")), record([blind(1, 2, "x")]));
}

fn a_merge_stores_keeps_and_joins(bed: &mut impl Bed) {
    let store = bed.store();
    let (one_side, other_side) = (record([blind(1, 1, "x")]), record([blind(2, 1, "y")]));
    assert_eq!(one(&*store, merge(&key("a"), one_side)), merged(true));
    assert_eq!(one(&*store, merge(&key("a"), other_side)), merged(true));
    assert_eq!(values(&record_of(&*store, &key("a"))), ["x", "y"]);
    let above = record([blind(1, 1, "x"), blind(2, 1, "y")]);
    let newer = record([blind(1, 1, "x"), blind(2, 1, "y"), write_on(above.clock(), 3, 1, "z")]);
    assert_eq!(one(&*store, merge(&key("a"), newer)), merged(true));
    assert_eq!(values(&record_of(&*store, &key("a"))), ["z"]);
}

fn a_merge_of_what_is_known_is_no_change(bed: &mut impl Bed) {
    let store = bed.store();
    let older = record([blind(1, 1, "x")]);
    let newer = record([blind(1, 1, "x"), write_on(older.clock(), 2, 1, "y")]);
    one(&*store, merge(&key("a"), newer.clone()));
    assert_eq!(one(&*store, merge(&key("a"), newer.clone())), merged(false));
    assert_eq!(one(&*store, merge(&key("a"), older)), merged(false));
    assert_eq!(record_of(&*store, &key("a")), newer);
}

fn a_merge_with_a_newer_dot_of_our_own_says_rolled_back(bed: &mut impl Bed) {
    let store = bed.store();
    let merge_as = |own: u8, record: Record| {
        one(&*store, WriteOp::Merge { key: key("a"), record, own: Some(actor(own)) })
    };
    let says = |changed, rolled_back| StoreResult::Merged { changed, rolled_back, damaged: false };
    let first = record([blind(1, 1, "x")]);
    assert_eq!(merge_as(2, first.clone()), says(true, false));
    assert_eq!(merge_as(1, first.clone()), says(false, false));
    let newer = record([blind(1, 1, "x"), write_on(first.clock(), 1, 2, "y")]);
    assert_eq!(merge_as(1, newer), says(true, true));
}

fn a_merge_over_the_hard_bound_is_refused(bed: &mut impl Bed) {
    let store = bed.store();
    let value = Bytes::from(vec![7; VALUE_MAX_BYTES]);
    let three = |who: u8| record((1..=3).map(|n| blind(who, n, value.clone())));
    assert_eq!(one(&*store, merge(&key("a"), three(1))), merged(true));
    assert_eq!(one(&*store, merge(&key("a"), three(2))), merged(true));
    let refused = one(&*store, merge(&key("a"), three(3)));
    let StoreResult::Refused(WriteError::TooLarge { bytes }) = refused else { panic!("{refused:?}") };
    assert!(bytes > MERGED_MAX_BYTES);
    assert_eq!(record_of(&*store, &key("a")).siblings().len(), 6);
}

fn a_batch_sees_its_own_earlier_operations(bed: &mut impl Bed) {
    let store = bed.store();
    let first = record([blind(1, 1, "x")]);
    let results = store.write(vec![
        update(&key("a"), blind(1, 1, "x")),
        update(&key("b"), blind(1, 2, "other")),
        update(&key("a"), write_on(first.clock(), 1, 3, "y")),
        merge(&key("a"), first.clone()),
        update(&key("a"), blind(1, 2, "late")),
    ]);
    let last = record([blind(1, 1, "x"), write_on(first.clock(), 1, 3, "y")]);
    let updated =
        |record: &Record| StoreResult::Updated { applied: Applied::Written, record: record.clone() };
    let expected = [
        updated(&first),
        updated(&record([blind(1, 2, "other")])),
        updated(&last),
        merged(false),
        StoreResult::Refused(WriteError::RolledBack),
    ];
    assert_eq!(results, expected);
    drop(store);
    bed.reopen();
    assert_eq!(record_of(&*bed.store(), &key("a")), last);
}

fn metadata_is_kept_by_key_and_the_last_of_a_batch_wins(bed: &mut impl Bed) {
    let save = |key, value| WriteOp::Save { key, value: Bytes::from_static(value) };
    let store = bed.store();
    assert_eq!(store.meta(MetaKey::Ring), Ok(None));
    let results = store.write(vec![
        save(MetaKey::Ring, b"\x01ring"),
        save(MetaKey::Counters, b"\x01old"),
        save(MetaKey::Counters, b"\x01new"),
    ]);
    assert_eq!(results, vec![StoreResult::Saved; 3]);
    drop(store);
    bed.reopen();
    let meta = |key| bed.store().meta(key).unwrap();
    assert_eq!(meta(MetaKey::Ring).as_deref(), Some(&b"\x01ring"[..]));
    assert_eq!(meta(MetaKey::Counters).as_deref(), Some(&b"\x01new"[..]));
    assert_eq!(meta(MetaKey::View), None);
}

fn occupied_names_the_partitions_with_records(bed: &mut impl Bed) {
    let count = PartitionCount::new(64).unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("key {n}")).collect();
    for name in &names {
        one(&*bed.store(), merge(&key(name), record([blind(1, 1, "x")])));
    }
    bed.damage(&key(&names[3]));
    let store = bed.store();
    assert_eq!(get(&*store, &key(&names[3])), StoreResult::Damaged);
    let holds = |p: &Partition| names.iter().any(|name| key(name).position().partition(count) == *p);
    let ask = |partitions: Vec<Partition>| store.read(&ReadOp::Occupied { count, partitions });
    assert_eq!(ask(count.all().collect()), StoreResult::Occupied(count.all().filter(holds).collect()));
    let some: Vec<Partition> = count.all().rev().step_by(3).collect();
    assert_eq!(ask(some.clone()), StoreResult::Occupied(some.into_iter().filter(holds).collect()));
    assert_eq!(ask(vec![]), StoreResult::Occupied(vec![]));
    let whole = PartitionCount::new(1).unwrap();
    let all = store.read(&ReadOp::Occupied { count: whole, partitions: vec![Partition(0)] });
    assert_eq!(all, StoreResult::Occupied(vec![Partition(0)]));
}

fn a_damaged_key_says_so_until_it_is_repaired(bed: &mut impl Bed) {
    let stored = record([blind(1, 1, "x")]);
    one(&*bed.store(), merge(&key("a"), stored.clone()));
    one(&*bed.store(), merge(&key("b"), stored.clone()));
    bed.damage(&key("a"));
    for _ in 0..2 {
        let store = bed.store();
        assert_eq!(get(&*store, &key("a")), StoreResult::Damaged);
        assert_eq!(one(&*store, update(&key("a"), blind(1, 2, "y"))), StoreResult::Damaged);
        assert_eq!(record_of(&*store, &key("b")), stored);
        drop(store);
        bed.reopen();
    }
    let repair = WriteOp::Repair { key: key("a"), record: stored.clone() };
    assert_eq!(one(&*bed.store(), repair), StoreResult::Repaired);
    assert_eq!(record_of(&*bed.store(), &key("a")), stored);
    bed.reopen();
    assert_eq!(record_of(&*bed.store(), &key("a")), stored);
}

fn a_merge_into_a_damaged_key_is_kept_and_says_so(bed: &mut impl Bed) {
    one(&*bed.store(), merge(&key("a"), record([blind(1, 1, "lost")])));
    bed.damage(&key("a"));
    let store = bed.store();
    let says = |changed| StoreResult::Merged { changed, rolled_back: false, damaged: true };
    assert_eq!(one(&*store, merge(&key("a"), record([blind(2, 1, "y")]))), says(true));
    assert_eq!(one(&*store, merge(&key("a"), record([blind(2, 1, "y")]))), says(false));
    assert_eq!(get(&*store, &key("a")), StoreResult::Damaged);
    let repair = WriteOp::Repair { key: key("a"), record: record([blind(1, 1, "lost")]) };
    assert_eq!(one(&*store, repair), StoreResult::Repaired);
    assert_eq!(values(&record_of(&*store, &key("a"))), ["lost", "y"]);
    assert_eq!(one(&*store, merge(&key("a"), record([blind(2, 1, "y")]))), merged(false));
}

fn a_repair_of_a_whole_key_merges(bed: &mut impl Bed) {
    let store = bed.store();
    one(&*store, merge(&key("a"), record([blind(1, 1, "x")])));
    for _ in 0..2 {
        let repair = WriteOp::Repair { key: key("a"), record: record([blind(2, 1, "y")]) };
        assert_eq!(one(&*store, repair), StoreResult::Repaired);
        assert_eq!(values(&record_of(&*store, &key("a"))), ["x", "y"]);
    }
}

fn an_empty_repair_makes_a_damaged_key_absent(bed: &mut impl Bed) {
    one(&*bed.store(), merge(&key("a"), record([blind(1, 1, "x")])));
    bed.damage(&key("a"));
    let store = bed.store();
    let repair = WriteOp::Repair { key: key("a"), record: Record::new() };
    assert_eq!(one(&*store, repair), StoreResult::Repaired);
    assert_eq!(record_of(&*store, &key("a")), Record::new());
    let count = PartitionCount::default();
    let partitions = vec![key("a").position().partition(count)];
    assert_eq!(store.read(&ReadOp::Occupied { count, partitions }), StoreResult::Occupied(vec![]));
}

#[test]
fn a_crash_takes_what_memory_had_not_synced() {
    let store = Arc::new(Memory::new());
    let bed = InMemory(store.clone());
    let put = |n: u64| one(&*bed.store(), update(&key("a"), blind(1, n, n.to_string())));
    put(1);
    bed.store().sync().unwrap();
    (2..=4).for_each(|n| drop(put(n)));
    assert_eq!(store.unsynced(), 3);
    assert_eq!(values(&record_of(&store.durable(), &key("a"))), ["1"]);
    store.crash(1);
    assert_eq!(values(&record_of(&*store, &key("a"))), ["1", "2"]);
    put(3);
    store.crash(0);
    assert_eq!(values(&record_of(&*store, &key("a"))), ["1", "2"]);
}

/// What a snapshot has, by key.
fn all(records: Records) -> BTreeMap<Key, Option<Record>> {
    records.map(Result::unwrap).collect()
}

fn a_snapshot_shows_one_instant(bed: &mut impl Bed) {
    let store = bed.store();
    let put = |name: &str, n: u64| one(&*store, update(&key(name), blind(1, n, "x")));
    let keys: Vec<String> = (0..200).map(|n| format!("key {n}")).collect();
    for (name, n) in keys.iter().zip(1..) {
        put(name, n);
    }
    let deleted = key(&keys[5]);
    let write = write_on(record_of(&*store, &deleted).clock(), 1, 500, "");
    one(&*store, update(&deleted, Write { content: Content::Tombstone, ..write }));
    let expected: BTreeMap<Key, Option<Record>> =
        keys.iter().map(|name| (key(name), Some(record_of(&*store, &key(name))))).collect();
    let snapshot = store.snapshot();
    // Changed, removed and added while it is read.
    put(&keys[3], 1_000);
    put("later", 1_001);
    let dead = vec![(deleted.clone(), record_of(&*store, &deleted).digest())];
    one(&*store, WriteOp::Collect { dead, until_unix_ms: u64::MAX, forget: true });
    store.sync().unwrap();
    assert_eq!(all(snapshot), expected);
    let now = all(store.snapshot());
    assert_eq!(now.len(), expected.len());
    assert!(now.contains_key(&key("later")) && !now.contains_key(&deleted));
}

fn a_snapshot_names_what_is_damaged(bed: &mut impl Bed) {
    for (name, n) in [("a", 1), ("b", 2)] {
        one(&*bed.store(), update(&key(name), blind(1, n, "x")));
    }
    bed.store().sync().unwrap();
    bed.damage(&key("a"));
    let whole = record_of(&*bed.store(), &key("b"));
    let expected = BTreeMap::from([(key("a"), None), (key("b"), Some(whole))]);
    assert_eq!(all(bed.store().snapshot()), expected, "before it was noticed");
    get(&*bed.store(), &key("a"));
    assert_eq!(all(bed.store().snapshot()), expected, "and after");
}
