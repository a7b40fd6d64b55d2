//! Stores that do something else than they are asked.

use bytes::Bytes;
use henge::store::memory::Memory;
use henge::store::{MetaKey, ReadOp, Records, Store, StoreError, StoreResult, WriteOp};
use henge_types::{Clock, Content, Dot, Key, OperationId, Record, Sibling, codec};

use crate::disk::{Image, Kept};
use crate::seam::Seam;
use crate::world::Pid;

/// A store that changes each write first. It may look at what it has.
pub(super) struct Bend(pub(super) fn(&Memory, WriteOp) -> WriteOp);

impl Seam for Bend {
    fn image(&self, _: Pid) -> Box<dyn Image> {
        Box::new(Bent { inner: Memory::new(), bend: self.0, occupied: true })
    }
}

/// A store that has nothing in any partition, if asked for occupied ones.
pub(super) struct NothingThere;

impl Seam for NothingThere {
    fn image(&self, _: Pid) -> Box<dyn Image> {
        Box::new(Bent { inner: Memory::new(), bend: |_, op| op, occupied: false })
    }
}

/// A store whose writes count as durable at once.
pub(super) struct NoSync;

impl Seam for NoSync {
    fn stored(&self, _: &WriteOp, result: StoreResult, _: bool) -> (StoreResult, bool) {
        (result, true)
    }
}

struct Bent {
    inner: Memory,
    bend: fn(&Memory, WriteOp) -> WriteOp,
    occupied: bool,
}

impl Store for Bent {
    fn meta(&self, key: MetaKey) -> Result<Option<Bytes>, StoreError> {
        self.inner.meta(key)
    }

    fn read(&self, op: &ReadOp) -> StoreResult {
        match self.inner.read(op) {
            StoreResult::Occupied(_) if !self.occupied => StoreResult::Occupied(Vec::new()),
            result => result,
        }
    }

    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult> {
        // One by one: a bend looks at what the one before left.
        ops.into_iter().flat_map(|op| self.inner.write(vec![(self.bend)(&self.inner, op)])).collect()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn records(&self) -> u64 {
        self.inner.records()
    }

    fn snapshot(&self) -> Records {
        self.inner.snapshot()
    }
}

impl Image for Bent {
    fn crash(&self, kept: usize) {
        self.inner.crash(kept);
    }

    fn unsynced(&self) -> usize {
        self.inner.unsynced()
    }

    fn damage(&self, key: &Key) -> bool {
        self.inner.damage(key)
    }

    fn fail_with(&self, error: Option<StoreError>) {
        self.inner.fail_with(error);
    }

    fn kept(&self, key: &Key) -> Kept {
        self.inner.kept(key)
    }
}

// A record taken apart: siblings, clock, remembered operations.
type Parts = (Vec<Sibling>, Clock, Vec<(OperationId, Dot, u64)>);

fn apart(record: &Record) -> Parts {
    codec::encode(record).and_then(|bytes| codec::decode(&bytes)).unwrap_or_default()
}

fn together(parts: &Parts) -> Record {
    codec::encode(parts).and_then(|bytes| codec::decode(&bytes)).unwrap_or_default()
}

fn stored(store: &Memory, key: &Key) -> Record {
    match store.read(&ReadOp::Get { key: key.clone() }) {
        StoreResult::Record(record) => record,
        _ => Record::new(),
    }
}

pub(super) fn drop_sibling(_: &Memory, op: WriteOp) -> WriteOp {
    match op {
        WriteOp::Merge { key, record, own } if record.siblings().len() > 1 => {
            let mut parts = apart(&record);
            parts.0.truncate(1);
            WriteOp::Merge { key, record: together(&parts), own }
        }
        op => op,
    }
}

pub(super) fn overwrite(store: &Memory, op: WriteOp) -> WriteOp {
    match op {
        WriteOp::Merge { key, record, own } => {
            let mut parts = apart(&record);
            parts.1.join(stored(store, &key).clock());
            WriteOp::Merge { key, record: together(&parts), own }
        }
        op => op,
    }
}

pub(super) fn supersede_all(store: &Memory, op: WriteOp) -> WriteOp {
    match op {
        WriteOp::Update { key, mut write } => {
            write.supersede.join(stored(store, &key).clock());
            WriteOp::Update { key, write }
        }
        op => op,
    }
}

pub(super) fn ignore_delete(_: &Memory, op: WriteOp) -> WriteOp {
    match op {
        WriteOp::Update { key, mut write } if write.content == Content::Tombstone => {
            write.supersede = Clock::new();
            WriteOp::Update { key, write }
        }
        op => op,
    }
}

pub(super) fn forget_operation(_: &Memory, op: WriteOp) -> WriteOp {
    match op {
        WriteOp::Update { key, mut write } => {
            let counter = write.dot.counter.to_be_bytes();
            write.operation.0.iter_mut().skip(8).zip(counter).for_each(|(to, from)| *to = from);
            WriteOp::Update { key, write }
        }
        op => op,
    }
}
