//! The store on disk does what the one in memory does, whatever the operations.

use std::sync::Arc;

use bytes::Bytes;
use henge::store::memory::Memory;
use henge::store::{MetaKey, ReadOp, Store, StoreResult, WriteOp};
use henge_types::tree::Node;
use henge_types::{Applied, Content, Partition, PartitionCount, Record, Write};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::{Bed, InMemory, OnDisk, actor, assert_tree, blind, get, key, write_on};
use crate::hints::primary as peer;

/// The first three are below one leaf of the hash tree.
const KEYS: [&str; 5] = ["a", "1038977", "1358480", "d", "e"];

#[derive(Debug, Clone)]
enum Step {
    /// One batch.
    Write(Vec<Op>),
    Reopen,
    Flush,
    Damage(usize),
    DamageHint(usize),
}

#[derive(Debug, Clone)]
enum Op {
    /// A write of this peer's own, with or without the context of what is stored.
    Update {
        at: usize,
        blind: bool,
        length: usize,
    },
    /// A retry of an earlier write.
    Repeat {
        at: usize,
        which: Index,
    },
    /// What another replica made of an earlier state.
    Merge {
        at: usize,
        which: Index,
        who: u8,
        own: bool,
    },
    Repair {
        at: usize,
        which: Index,
    },
    /// Something about the hint of a key, for one of the primaries.
    Hint {
        at: usize,
        primary: u8,
        which: Index,
        kind: Kind,
    },
    /// What another replica made of several.
    MergeMany {
        from: usize,
        which: Index,
        who: u8,
    },
    /// With the digest that is stored, or another one; of what is dead since some time.
    Collect {
        at: usize,
        right: bool,
        until: u64,
        forget: bool,
    },
    /// The partition of a key, of 16 or of one.
    DropPartition {
        at: usize,
        one: bool,
    },
    Save {
        at: usize,
        length: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Merge,
    Update,
    Drop,
    /// With the digest of another record.
    DropOther,
    Quarantine,
}

/// Some of the hints below exceed it.
const HINTS_MAX_BYTES: u64 = 4_000;

fn op() -> impl Strategy<Value = Op> {
    let at = 0..KEYS.len();
    prop_oneof![
        4 => (at.clone(), any::<bool>(), 0..3000usize)
            .prop_map(|(at, blind, length)| Op::Update { at, blind, length }),
        1 => (at.clone(), any::<Index>()).prop_map(|(at, which)| Op::Repeat { at, which }),
        4 => (at.clone(), any::<Index>(), 2..5u8, any::<bool>())
            .prop_map(|(at, which, who, own)| Op::Merge { at, which, who, own }),
        1 => (at.clone(), any::<Index>()).prop_map(|(at, which)| Op::Repair { at, which }),
        5 => (at.clone(), 1..4u8, any::<Index>(), kind())
            .prop_map(|(at, primary, which, kind)| Op::Hint { at, primary, which, kind }),
        2 => (at.clone(), any::<Index>(), 2..5u8)
            .prop_map(|(from, which, who)| Op::MergeMany { from, which, who }),
        2 => (at.clone(), any::<bool>(), 0..200u64, any::<bool>())
            .prop_map(|(at, right, until, forget)| Op::Collect { at, right, until, forget }),
        1 => (at, any::<bool>()).prop_map(|(at, one)| Op::DropPartition { at, one }),
        1 => (0..MetaKey::ALL.len(), 0..100usize).prop_map(|(at, length)| Op::Save { at, length }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Merge),
        3 => Just(Kind::Update),
        2 => Just(Kind::Drop),
        1 => Just(Kind::DropOther),
        1 => Just(Kind::Quarantine),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(op(), 1..8).prop_map(Step::Write),
        1 => Just(Step::Reopen),
        1 => Just(Step::Flush),
        1 => (0..KEYS.len()).prop_map(Step::Damage),
        1 => (0..KEYS.len()).prop_map(Step::DamageHint),
    ]
}

/// Turns steps into operations: remembers the records and writes that there have been.
#[derive(Default)]
struct History {
    counter: u64,
    records: Vec<Record>,
    writes: Vec<Write>,
}

impl History {
    fn op(&mut self, op: &Op, memory: &Memory) -> WriteOp {
        self.counter += 1;
        let value = |length: usize| Bytes::from(vec![b'v'; length]);
        match op {
            Op::Update { at, blind: true, length } => {
                self.update(*at, blind(1, self.counter, value(*length)))
            }
            Op::Update { at, blind: false, length } => {
                let stored = get(memory, &key(KEYS[*at]));
                let seen = if let StoreResult::Record(record) = stored { record } else { Record::new() };
                let mut write = write_on(seen.clock(), 1, self.counter, value(*length));
                if length.is_multiple_of(2) {
                    write.content = Content::Tombstone;
                }
                self.update(*at, write)
            }
            Op::Repeat { at, which } if !self.writes.is_empty() => {
                WriteOp::Update { key: key(KEYS[*at]), write: which.get(&self.writes).clone() }
            }
            Op::Repeat { at, .. } => self.update(*at, blind(1, self.counter, value(1))),
            Op::Merge { at, which, who, own } => {
                let mut record = self.record(which);
                let write = write_on(&record.clock().clone(), *who, self.counter, value(10));
                assert_eq!(record.apply(&write), Ok(Applied::Written));
                self.records.push(record.clone());
                WriteOp::Merge { key: key(KEYS[*at]), record, own: own.then(|| actor(1)) }
            }
            Op::Repair { at, which } => WriteOp::Repair { key: key(KEYS[*at]), record: self.record(which) },
            Op::Hint { at, primary, which, kind } => self.hint(*at, *primary, which, *kind, memory),
            Op::MergeMany { from, which, who } => {
                let mut record = self.record(which);
                let write = write_on(&record.clock().clone(), *who, self.counter, value(10));
                assert_eq!(record.apply(&write), Ok(Applied::Written));
                self.records.push(record.clone());
                let merge = |name: &&str| (key(name), record.clone(), None);
                WriteOp::MergeMany { records: KEYS[*from..].iter().map(merge).collect() }
            }
            Op::Collect { at, right, until, forget } => {
                let stored = |name: &&str| match get(memory, &key(name)) {
                    StoreResult::Record(record) if *right => (key(name), record.digest()),
                    _ => (key(name), Record::new().digest()),
                };
                let dead = KEYS[*at..].iter().map(stored).collect();
                WriteOp::Collect { dead, until_unix_ms: 1_700_000_000_000 + until, forget: *forget }
            }
            Op::DropPartition { at, one } => {
                let count = PartitionCount::new(if *one { 1 } else { 16 }).unwrap();
                let partition = key(KEYS[*at]).position().partition(count);
                WriteOp::DropPartition { count, partition, limit: 100 }
            }
            Op::Save { at, length } => WriteOp::Save { key: MetaKey::ALL[*at], value: value(*length) },
        }
    }

    fn hint(&self, at: usize, primary: u8, which: &Index, kind: Kind, memory: &Memory) -> WriteOp {
        let (key, primary, max_bytes) = (key(KEYS[at]), peer(primary), HINTS_MAX_BYTES);
        let kept = memory.read(&ReadOp::Hint { key: key.clone() });
        let kept = if let StoreResult::Hint(Some(record)) = kept { record } else { Record::new() };
        match kind {
            Kind::Merge => {
                let (record, now_unix_ms) = (self.record(which), self.counter * 700);
                WriteOp::MergeHint { key, primary, record, now_unix_ms, max_bytes }
            }
            Kind::Update => {
                let write = write_on(kept.clock(), 5, self.counter, "as a fallback");
                WriteOp::UpdateHint { key, primary, write, max_bytes }
            }
            Kind::Drop => WriteOp::DropHint { key, primary, digest: kept.digest() },
            Kind::DropOther => WriteOp::DropHint { key, primary, digest: self.record(which).digest() },
            Kind::Quarantine => WriteOp::QuarantineHint { key, primary },
        }
    }

    fn update(&mut self, at: usize, write: Write) -> WriteOp {
        self.writes.push(write.clone());
        WriteOp::Update { key: key(KEYS[at]), write }
    }

    fn record(&self, which: &Index) -> Record {
        if self.records.is_empty() { Record::new() } else { which.get(&self.records).clone() }
    }
}

/// Whether what is damaged counts as dropped depends on whether anybody had found out.
fn uncounted(mut results: Vec<StoreResult>) -> Vec<StoreResult> {
    for result in &mut results {
        if let StoreResult::Dropped { records, .. } = result {
            *records = 0;
        }
    }
    results
}

fn assert_same(memory: &dyn Store, disk: &dyn Store) {
    let count = PartitionCount::new(16).unwrap();
    for until in [0, 40, u64::MAX] {
        let until_unix_ms = until.saturating_add(1_700_000_000_000);
        let ask = ReadOp::Dead { count, partitions: count.all().collect(), until_unix_ms, max: 100 };
        assert_eq!(memory.read(&ask), disk.read(&ask), "what is dead");
    }
    for name in KEYS {
        assert_eq!(get(memory, &key(name)), get(disk, &key(name)), "{name}");
    }
    for name in KEYS {
        let ask = ReadOp::Hint { key: key(name) };
        assert_eq!(memory.read(&ask), disk.read(&ask), "the hint of {name}");
    }
    for (primary, count_max) in [(1, 2), (2, 100), (3, 100)] {
        let (primary, after) = (peer(primary), Some(key(KEYS[usize::from(primary)])));
        for after in [None, after] {
            let ask = ReadOp::Hints { primary, after, bytes_max: 3_000, count_max };
            assert_eq!(memory.read(&ask), disk.read(&ask), "{ask:?}");
        }
    }
    assert_eq!(memory.read(&ReadOp::HintQueues), disk.read(&ReadOp::HintQueues));
    for name in MetaKey::ALL {
        assert_eq!(memory.meta(name), disk.meta(name));
    }
    let count = PartitionCount::new(16).unwrap();
    let ask = ReadOp::Occupied { count, partitions: count.all().collect() };
    assert_eq!(memory.read(&ask), disk.read(&ask));
    let mut records = Vec::new();
    for name in KEYS {
        if let StoreResult::Record(record) = get(memory, &key(name))
            && !record.is_empty()
        {
            records.push((key(name), record));
        }
    }
    // What was merged into a damaged key counts, and cannot be read by its key.
    if !matches!(memory.read(&ask_roots()), StoreResult::Summaries { damaged, .. } if !damaged.is_empty()) {
        assert_tree(memory, &records);
        assert_tree(disk, &records);
    }
    for read in tree_reads() {
        assert_eq!(memory.read(&read), disk.read(&read));
    }
}

fn ask_roots() -> ReadOp {
    let count = PartitionCount::new(1 << 14).unwrap();
    ReadOp::Roots {
        count,
        partitions: KEYS.iter().map(|name| key(name).position().partition(count)).collect(),
    }
}

fn tree_reads() -> Vec<ReadOp> {
    let one = PartitionCount::new(1).unwrap();
    let nodes = |depth| KEYS.iter().map(|name| Node::around(key(name).position(), depth)).collect();
    let mut reads = vec![ask_roots(), ReadOp::Roots { count: one, partitions: vec![Partition(0)] }];
    for depth in [0, 3, 18, 20, 22, 40, 64] {
        reads.push(ReadOp::Nodes { count: one, nodes: nodes(depth) });
        reads.push(ReadOp::Items { count: one, nodes: nodes(depth), items_max: 4 });
    }
    reads
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_equals_the_model(steps in prop::collection::vec(step(), 1..25)) {
        let mut memory = InMemory(Arc::new(Memory::new()));
        let mut disk = OnDisk::new();
        let mut history = History::default();
        for step in &steps {
            match step {
                Step::Write(ops) => {
                    let ops: Vec<WriteOp> = ops.iter().map(|op| history.op(op, &memory.0)).collect();
                    let results = memory.0.write(ops.clone());
                    prop_assert_eq!(uncounted(results.clone()), uncounted(disk.fjall().write(ops)));
                    for result in results {
                        if let StoreResult::Updated { record, .. } = result {
                            history.records.push(record);
                        }
                    }
                }
                Step::Reopen => {
                    memory.reopen();
                    disk.reopen();
                }
                Step::Flush => disk.fjall().flush().unwrap(),
                Step::DamageHint(at) => {
                    let key = key(KEYS[*at]);
                    let hint = memory.0.read(&ReadOp::Hint { key: key.clone() });
                    if matches!(hint, StoreResult::Hint(Some(_))) {
                        memory.damage_hint(&key);
                        disk.damage_hint(&key);
                    }
                }
                Step::Damage(at) => {
                    let key = key(KEYS[*at]);
                    if matches!(get(&*memory.0, &key), StoreResult::Record(record) if !record.is_empty()) {
                        memory.damage(&key);
                        disk.damage(&key);
                    }
                }
            }
            assert_same(&*memory.0, &*disk.fjall());
        }
    }
}
