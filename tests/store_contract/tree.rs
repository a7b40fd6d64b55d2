//! The hash tree follows the records, whatever happens to them.

use std::fs;
use std::sync::Arc;

use henge::store::fjall::{FORMAT, Fjall};
use henge::store::memory::Memory;
use henge::store::{Merged, ReadOp, Store, StoreResult, WriteOp};
use henge_types::codec::Stored;
use henge_types::tree::{LEAF_DEPTH, Node};
use henge_types::{Content, Key, Partition, PartitionCount, Record, Write};

use crate::common::{
    Bed, InMemory, OnDisk, assert_tree, blind, get, key, merge, one, open, place, record, wait_for, write_on,
};

fn beds() -> Vec<Box<dyn Bed>> {
    vec![Box::new(InMemory(Arc::new(Memory::new()))), Box::new(OnDisk::new())]
}

fn records(n: u64) -> Vec<(Key, Record)> {
    (0..n).map(|n| (key(format!("key {n}")), record([blind(1, n + 1, "v")]))).collect()
}

fn fill(store: &dyn Store, records: &[(Key, Record)]) {
    let merges = records.iter().map(|(key, record)| merge(key, record.clone())).collect();
    assert!(store.write(merges).iter().all(|r| matches!(r, StoreResult::Merged { changed: true, .. })));
}

#[test]
fn a_crash_takes_leaves_and_records_together() {
    for mut bed in beds() {
        fill(&*bed.store(), &records(50));
        bed.store().sync().unwrap();
        fill(&*bed.store(), &records(80)[50..]);
        bed.crash();
        let there = |(key, _): &(Key, Record)| matches!(get(&*bed.store(), key), StoreResult::Record(record) if !record.is_empty());
        let left: Vec<_> = records(80).into_iter().filter(there).collect();
        assert!(left.len() >= 50);
        assert_tree(&*bed.store(), &left);
    }
}

#[test]
fn a_partition_is_dropped_piece_by_piece() {
    for mut bed in beds() {
        let all = records(200);
        fill(&*bed.store(), &all);
        bed.damage(&all[0].0);
        let count = PartitionCount::new(4).unwrap();
        let partition = all[0].0.position().partition(count);
        assert_eq!(get(&*bed.store(), &all[0].0), StoreResult::Damaged);
        let left: Vec<_> =
            all.iter().filter(|(k, _)| k.position().partition(count) != partition).cloned().collect();
        let mut dropped = 0;
        for round in 0.. {
            assert!(round < 100, "it never ends");
            let op = WriteOp::DropPartition { count, partition, limit: 7 };
            let StoreResult::Dropped { records, more } = one(&*bed.store(), op) else { panic!() };
            assert!(records <= 7);
            dropped += records;
            if !more {
                break;
            }
        }
        assert_eq!(dropped as usize, all.len() - left.len() - 1);
        assert_eq!(get(&*bed.store(), &all[0].0), StoreResult::Record(Record::new()));
        assert_tree(&*bed.store(), &left);
        bed.reopen();
        assert_tree(&*bed.store(), &left);
        let ask = ReadOp::Occupied { count, partitions: vec![partition] };
        assert_eq!(bed.store().read(&ask), StoreResult::Occupied(Vec::new()));
    }
}

#[test]
fn a_record_is_forgotten_only_if_it_is_dead_long_enough_and_as_it_was_seen() {
    for mut bed in beds() {
        let all = records(3);
        fill(&*bed.store(), &all);
        let (at, seen) = &all[0];
        let deleted = |counter| {
            let write = write_on(seen.clock(), 2, counter, "");
            record([blind(1, 1, "v"), Write { content: Content::Tombstone, ..write }])
        };
        let (dead, later) = (deleted(5), deleted(9));
        let since = dead.dead_since().unwrap();
        let collect = |record: &Record, until_unix_ms, forget| {
            let dead = vec![(at.clone(), record.digest()), (key("nobody wrote it"), record.digest())];
            one(&*bed.store(), WriteOp::Collect { dead, until_unix_ms, forget })
        };
        let whether = |may_go| StoreResult::Collected(vec![may_go, true]);
        assert_eq!(collect(seen, u64::MAX, true), whether(false), "it lives");
        one(&*bed.store(), merge(at, dead.clone()));
        assert_eq!(collect(&later, since, true), whether(false), "it is another one");
        assert_eq!(collect(&dead, since - 1, true), whether(false), "it is too young");
        assert_eq!(collect(&dead, since, false), whether(true));
        let count = PartitionCount::new(4).unwrap();
        let ask = |until_unix_ms| {
            let partitions = count.all().collect();
            bed.store().read(&ReadOp::Dead { count, partitions, until_unix_ms, max: 10 })
        };
        assert_eq!(ask(since - 1), StoreResult::Dead(Vec::new()));
        assert_eq!(ask(since), StoreResult::Dead(vec![(at.clone(), dead.digest())]));
        assert_tree(&*bed.store(), &[(at.clone(), dead.clone()), all[1].clone(), all[2].clone()]);
        assert_eq!(collect(&dead, since, true), whether(true));
        assert_eq!(get(&*bed.store(), at), StoreResult::Record(Record::new()));
        assert_eq!(collect(&dead, since, true), whether(true), "it is gone");
        assert_tree(&*bed.store(), &all[1..]);
        // What cannot be read may be anything.
        one(&*bed.store(), merge(at, dead.clone()));
        bed.store().sync().unwrap();
        bed.damage(at);
        let dead = vec![(at.clone(), dead.digest())];
        let op = WriteOp::Collect { dead, until_unix_ms: since, forget: true };
        assert_eq!(one(&*bed.store(), op), StoreResult::Collected(vec![false]));
    }
}

#[test]
fn many_are_merged_at_once_and_each_tells_what_came_of_it() {
    for bed in beds() {
        let at = |n: u8| key([n]);
        let (old, new) = (record([blind(1, 1, "a")]), record([blind(1, 1, "a"), blind(1, 2, "b")]));
        fill(&*bed.store(), &[(at(0), old.clone()), (at(1), new.clone()), (at(2), new.clone())]);
        let records = vec![
            (at(0), new.clone(), None),
            (at(1), old.clone(), None),
            (at(2), new.clone(), None),
            (at(3), old.clone(), None),
        ];
        let merged = |changed, ahead| Ok(Merged { changed, rolled_back: false, damaged: false, ahead });
        assert_eq!(
            one(&*bed.store(), WriteOp::MergeMany { records }),
            StoreResult::MergedMany(vec![
                merged(true, false),
                merged(false, true),
                merged(false, false),
                merged(true, false)
            ])
        );
        let now = [(at(0), new.clone()), (at(1), new.clone()), (at(2), new), (at(3), old)];
        assert_tree(&*bed.store(), &now);
    }
}

#[test]
fn damaged_keys_are_in_no_node_and_their_partitions_are_named() {
    for mut bed in beds() {
        let all = records(30);
        fill(&*bed.store(), &all);
        let count = PartitionCount::new(64).unwrap();
        let partitions: Vec<Partition> = count.all().collect();
        let roots =
            |bed: &dyn Bed| bed.store().read(&ReadOp::Roots { count, partitions: partitions.clone() });
        let whole = roots(&*bed);
        bed.damage(&all[3].0);
        assert_eq!(get(&*bed.store(), &all[3].0), StoreResult::Damaged);
        let StoreResult::Summaries { damaged, summaries } = roots(&*bed) else { panic!() };
        assert_eq!(damaged, [all[3].0.position().partition(count)]);
        assert_eq!(summaries.iter().map(|s| s.items).sum::<u64>(), 29);
        let repair = WriteOp::Repair { key: all[3].0.clone(), record: all[3].1.clone() };
        assert_eq!(one(&*bed.store(), repair), StoreResult::Repaired);
        assert_eq!(roots(&*bed), whole);
        assert_tree(&*bed.store(), &all);
    }
}

#[test]
fn records_come_up_to_a_bound_and_at_least_one() {
    for bed in beds() {
        let all = records(10);
        fill(&*bed.store(), &all);
        let keys: Vec<Key> = all.iter().map(|(key, _)| key.clone()).collect();
        let some = |bytes_max| {
            let read = bed.store().read(&ReadOp::Records { keys: keys.clone(), bytes_max });
            let StoreResult::Records(records) = read else { panic!("{read:?}") };
            records
        };
        assert_eq!(some(0), [Some(all[0].1.clone())]);
        assert_eq!(some(1 << 20), all.iter().map(|(_, record)| Some(record.clone())).collect::<Vec<_>>());
        let few = some(700).len();
        assert!((2..10).contains(&few), "{few} records");
    }
}

#[test]
fn a_store_without_a_tree_builds_it_when_it_is_opened() {
    let mut bed = OnDisk::new();
    let all = records(300);
    fill(&*bed.store(), &all);
    // As the first format had it: no leaves, and records without a head.
    bed.raw(|database, keyspace| {
        let trees = database.keyspace("trees", Default::default).unwrap();
        trees.clear().unwrap();
        for (key, record) in &all[..200] {
            keyspace.insert(place(key), record.to_stored().unwrap()).unwrap();
        }
    });
    bed.close();
    let format = bed.directory.path().join("store/format");
    fs::write(&format, "1\n").unwrap();
    bed.store = Some(open(bed.directory.path()));
    assert_tree(&*bed.store(), &all);
    assert_eq!(fs::read_to_string(&format).unwrap(), format!("{FORMAT}\n"));
    assert_eq!(crate::common::record_of(&*bed.store(), &all[0].0), all[0].1);
    let more = (key("more"), record([blind(1, 1, "v")]));
    fill(&*bed.store(), std::slice::from_ref(&more));
    assert_tree(&*bed.store(), &[all, vec![more]].concat());
}

#[test]
fn a_leaf_that_cannot_be_read_is_summed_up() {
    let mut bed = OnDisk::new();
    let all = records(100);
    fill(&*bed.store(), &all);
    bed.raw(|database, _| {
        let trees = database.keyspace("trees", Default::default).unwrap();
        for (key, _) in &all[..50] {
            let leaf = Node::around(key.position(), LEAF_DEPTH).index() as u32;
            trees.insert(leaf.to_be_bytes(), [9; 5]).unwrap();
        }
    });
    assert_tree(&*bed.store(), &all);
    let other = record([blind(2, 7, "other")]);
    one(&*bed.store(), merge(&all[0].0, other.clone()));
    let mut now = all;
    now[0].1.merge(&other);
    assert_tree(&*bed.store(), &now);
}

/// Blocks of records that cannot be read: whoever stumbles over one makes its leaf right again.
#[test]
fn unreadable_blocks_leave_a_tree_of_what_can_be_read() {
    let mut bed = OnDisk::new();
    let all: Vec<_> = (0..300u64)
        .map(|n| (key(n.to_string()), record([blind(1, n + 1, crate::common::noise(n, 900))])))
        .collect();
    fill(&*bed.store(), &all);
    bed.fjall().flush().unwrap();
    bed.close();
    let files = crate::common::files_below(bed.directory.path());
    let table = files.into_iter().filter(|f| f.to_str().unwrap().contains("/tables/"));
    let table = table.max_by_key(|f| f.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    bytes[100_000] ^= 0x55;
    fs::write(&table, bytes).unwrap();
    bed.store = Some(Arc::new(Fjall::open(bed.directory.path()).unwrap()));
    let readable: Vec<_> = all
        .iter()
        .filter(|(key, _)| matches!(get(&*bed.store(), key), StoreResult::Record(r) if !r.is_empty()))
        .cloned()
        .collect();
    assert!((250..300).contains(&readable.len()), "{} can be read", readable.len());
    let one_partition = PartitionCount::new(1).unwrap();
    let roots = |bed: &OnDisk| {
        let read = ReadOp::Roots { count: one_partition, partitions: vec![Partition(0)] };
        let StoreResult::Summaries { summaries, .. } = bed.fjall().read(&read) else { panic!() };
        summaries[0]
    };
    assert_eq!(roots(&bed).items, readable.len() as u64);
    for (key, record) in &all {
        one(&*bed.store(), WriteOp::Repair { key: key.clone(), record: record.clone() });
    }
    assert_tree(&*bed.store(), &all);
    bed.reopen();
    assert_tree(&*bed.store(), &all);
}

#[test]
fn the_space_of_what_is_forgotten_is_free_in_the_end() {
    let bed = OnDisk::new();
    let store = bed.fjall();
    let noise = |n: u64| (0..12 << 10).map(|i: u64| ((i * i * (n + 1)) >> 5) as u8).collect::<Vec<u8>>();
    let all: Vec<(Key, Record)> =
        (0..5_000).map(|n| (key(format!("key {n}")), record([blind(1, n + 1, noise(n))]))).collect();
    all.chunks(100).for_each(|some| fill(&*store, some));
    store.flush().unwrap();
    let full = store.table_bytes();
    for some in all.chunks(100) {
        let delete = |(key, record): &(Key, Record)| {
            let write = Write { content: Content::Tombstone, ..write_on(record.clock(), 2, 9_000, "") };
            WriteOp::Update { key: key.clone(), write }
        };
        let digest = |result| match result {
            StoreResult::Updated { record, .. } => record.digest(),
            other => panic!("{other:?}"),
        };
        let deleted = store.write(some.iter().map(delete).collect());
        let keys = some.iter().map(|(key, _)| key.clone());
        let dead = keys.zip(deleted.into_iter().map(digest)).collect();
        let op = WriteOp::Collect { dead, until_unix_ms: u64::MAX, forget: true };
        assert_eq!(one(&*store, op), StoreResult::Collected(vec![true; 100]));
    }
    wait_for("the space is free", || (store.table_bytes() < full / 3).then_some(()));
}
