//! A store in memory: the model of the contract, and the disk of a simulated peer.
//!
//! It is deterministic, and it knows what a crash would take: everything since the last
//! [`Store::sync`] can be undone, batch by batch, as a machine loses what its disk had not
//! written yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use henge_types::tree::Node;
use henge_types::{
    ActorId, Key, Partition, PartitionCount, PeerId, Position, Record, RecordDigest, WriteError,
};

use super::change::{self, Change, Edit, Slot, Target};
use super::hint::{self, Found, Outcome, Quarantined, Totals};
use super::roots::Roots;
use super::{Merged, MetaKey, ReadOp, Records, Store, StoreError, StoreResult, WriteOp};

mod tree;

/// Everything in one map. Clone it by [`Memory::durable`].
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Image,
    // What each batch since the last sync replaced, oldest first.
    unsynced: Vec<Vec<Undo>>,
    roots: Roots,
    fault: Option<StoreError>,
}

#[derive(Debug, Default, Clone)]
struct Image {
    records: BTreeMap<Place, Entry>,
    leaves: tree::Leaves,
    // Those whose partitions are to be forgotten as roots.
    changed: BTreeSet<Node>,
    damaged: BTreeSet<Place>,
    hints: BTreeMap<Place, Kept>,
    hint_queues: Totals,
    quarantine: Vec<Quarantined>,
    meta: BTreeMap<MetaKey, Bytes>,
}

type Place = (Position, Key);

/// What is under a key: a record, one that cannot be read any more, or both (merged since).
#[derive(Debug, Clone, Default)]
struct Entry {
    record: Option<Record>,
    digest: Option<RecordDigest>,
    damaged: bool,
}

/// A hint, and whether it cannot be read any more.
#[derive(Debug, Clone)]
struct Kept {
    hint: hint::Entry,
    damaged: bool,
}

#[derive(Debug)]
enum Undo {
    Record(Place, Option<Entry>),
    Hint(Place, Option<Kept>),
    Quarantined,
    Meta(MetaKey, Option<Bytes>),
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A second store with what this one has synced: what a copy of its disk would hold, for
    /// snapshots, and for restoring one.
    #[must_use]
    pub fn durable(&self) -> Self {
        let state = self.state();
        let mut image = state.now.clone();
        state.unsynced.iter().rev().for_each(|batch| image.revert(batch));
        Self { state: Mutex::new(State { now: image, ..State::default() }) }
    }

    /// How many batches a crash of the machine may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// The machine crashes: what was written since the last sync is lost, except for the first
    /// `kept` batches, which the disk had written by itself. A fault ends with the crash.
    pub fn crash(&self, kept: usize) {
        let state = &mut *self.state();
        while state.unsynced.len() > kept {
            if let Some(batch) = state.unsynced.pop() {
                state.now.revert(&batch);
            }
        }
        state.forget_changed();
        state.unsynced.clear();
        state.fault = None;
    }

    /// Makes the record of `key` unreadable, on the disk too; says whether there was one.
    pub fn damage(&self, key: &Key) -> bool {
        let state = &mut *self.state();
        let place = (key.position(), key.clone());
        let undone = state.unsynced.iter_mut().flatten().filter_map(|undo| match undo {
            Undo::Record(at, entry) if *at == place => entry.as_mut(),
            Undo::Record(..) | Undo::Hint(..) | Undo::Quarantined | Undo::Meta(..) => None,
        });
        undone.for_each(|entry| *entry = Entry::new(None, true));
        let found = state.now.records.contains_key(&place);
        if found {
            state.now.set_record(&place, Some(Entry::new(None, true)));
            state.forget_changed();
        }
        found
    }

    /// Makes the hint of `key` unreadable, on the disk too; says whether there was one.
    pub fn damage_hint(&self, key: &Key) -> bool {
        let state = &mut *self.state();
        let place = (key.position(), key.clone());
        let undone = state.unsynced.iter_mut().flatten().filter_map(|undo| match undo {
            Undo::Hint(at, kept) if *at == place => kept.as_mut(),
            Undo::Record(..) | Undo::Hint(..) | Undo::Quarantined | Undo::Meta(..) => None,
        });
        let now = state.now.hints.get_mut(&place);
        let found = now.is_some();
        now.into_iter().chain(undone).for_each(|kept| kept.damaged = true);
        found
    }

    /// From now on every write and sync fails with `error`; `None` ends that.
    pub fn fail_with(&self, error: Option<StoreError>) {
        self.state().fault = error;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn meta(&self, key: MetaKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().now.meta.get(&key).cloned())
    }

    fn read(&self, op: &ReadOp) -> StoreResult {
        let mut state = self.state();
        match op {
            ReadOp::Get { key } => match state.now.records.get(&(key.position(), key.clone())) {
                None => StoreResult::Record(Record::new()),
                Some(entry) if entry.damaged => StoreResult::Damaged,
                Some(entry) => StoreResult::Record(entry.record.clone().unwrap_or_default()),
            },
            ReadOp::Occupied { count, partitions } => {
                let holds = |p: &Partition| state.now.occupied(*p, *count);
                StoreResult::Occupied(partitions.iter().copied().filter(holds).collect())
            }
            ReadOp::Damaged { max } => {
                let keys = state.now.damaged.iter().take(*max).map(|(_, key)| key.clone());
                StoreResult::DamagedKeys(keys.collect())
            }
            ReadOp::Roots { count, partitions } => state.summaries_of_partitions(*count, partitions),
            ReadOp::Nodes { count, nodes } => state.now.summaries(*count, nodes),
            ReadOp::Items { count, nodes, items_max } => state.now.items(*count, nodes, *items_max),
            ReadOp::Records { keys, bytes_max } => state.now.records_of(keys, *bytes_max),
            ReadOp::Dead { count, partitions, until_unix_ms, max } => {
                state.now.dead(*count, partitions, *until_unix_ms, *max)
            }
            ReadOp::Hint { key } => match state.now.find_hint(key) {
                Found::Entry(entry) => StoreResult::Hint(entry.map(|entry| entry.record)),
                Found::Damaged(_) => StoreResult::Damaged,
            },
            ReadOp::Hints { primary, after, bytes_max, count_max } => {
                state.now.list_hints(*primary, after.as_ref(), (*bytes_max, *count_max))
            }
            ReadOp::HintQueues => StoreResult::HintQueues {
                queues: state.now.hint_queues.queues(),
                quarantined: state.now.quarantine.len() as u64,
            },
        }
    }

    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult> {
        let state = &mut *self.state();
        if let Some(error) = &state.fault {
            return ops.iter().map(|_| StoreResult::Failed(error.clone())).collect();
        }
        state.change(|now, undo| ops.into_iter().map(|op| now.execute(op, undo)).collect())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let state = &mut *self.state();
        if let Some(error) = &state.fault {
            return Err(error.clone());
        }
        state.unsynced.clear();
        Ok(())
    }

    fn records(&self) -> u64 {
        self.state().now.records.len() as u64
    }

    fn snapshot(&self) -> Records {
        let state = self.state();
        let told = |((_, key), entry): (&Place, &Entry)| {
            let record = entry.record.clone().map(|record| Ok((key.clone(), Some(record))));
            record.into_iter().chain(entry.damaged.then(|| Ok((key.clone(), None))))
        };
        let all: Vec<_> = state.now.records.iter().flat_map(told).collect();
        Box::new(all.into_iter())
    }
}

impl State {
    /// One batch.
    fn change<T>(&mut self, change: impl FnOnce(&mut Image, &mut Vec<Undo>) -> T) -> T {
        let mut undo = Vec::new();
        let result = change(&mut self.now, &mut undo);
        if !undo.is_empty() {
            self.unsynced.push(undo);
        }
        self.forget_changed();
        result
    }

    fn forget_changed(&mut self) {
        std::mem::take(&mut self.now.changed).into_iter().for_each(|leaf| self.roots.forget(leaf));
    }
}

impl Image {
    fn execute(&mut self, op: WriteOp, undo: &mut Vec<Undo>) -> StoreResult {
        let (key, edit): (Key, Edit) = match Target::from(op) {
            Target::Record(key, edit) => (key, edit),
            Target::Many(records) => return self.merge_many(records, undo),
            Target::Collect { dead, until_unix_ms, forget } => {
                return self.collect(dead, until_unix_ms, forget, undo);
            }
            Target::Partition { count, partition, limit } => {
                return self.drop_partition(Node::of_partition(partition, count), limit, undo);
            }
            Target::Hint(key, primary, edit) => return self.execute_hint(&key, primary, edit, undo),
            Target::Meta(key, value) => {
                undo.push(Undo::Meta(key, self.meta.insert(key, value)));
                return StoreResult::Saved;
            }
        };
        self.edit(key, undo, |slot| edit.apply(slot))
    }

    fn edit(&mut self, key: Key, undo: &mut Vec<Undo>, edit: impl FnOnce(Slot) -> Change) -> StoreResult {
        let place = (key.position(), key);
        let stored = self.records.get(&place).cloned().unwrap_or_default();
        let damaged = stored.damaged;
        let (entry, result) = match edit(Slot { record: stored.record.clone(), damaged }) {
            Change::Keep(result) => return result,
            Change::Put { record, reply } => {
                (Some(Entry::new(Some(record.clone()), damaged)), reply.with(record))
            }
            Change::Remove => (None, StoreResult::Dropped { records: 1, more: false }),
            Change::Heal(record) => {
                let record = record.or(stored.record);
                (record.map(|record| Entry::new(Some(record), false)), StoreResult::Repaired)
            }
        };
        let old = self.set_record(&place, entry);
        undo.push(Undo::Record(place, old));
        result
    }

    fn merge_many(
        &mut self,
        records: Vec<(Key, Record, Option<ActorId>)>,
        undo: &mut Vec<Undo>,
    ) -> StoreResult {
        let merge = |(key, record, own): (Key, Record, Option<ActorId>)| {
            let mut merged: Result<Merged, WriteError> =
                Ok(Merged { changed: false, rolled_back: false, damaged: false, ahead: false });
            self.edit(key, undo, |slot| {
                let (change, result) = change::merge_one_of_many(slot, record, own);
                merged = result;
                change
            });
            merged
        };
        StoreResult::MergedMany(records.into_iter().map(merge).collect())
    }

    fn collect(
        &mut self,
        dead: Vec<(Key, RecordDigest)>,
        until_unix_ms: u64,
        forget: bool,
        undo: &mut Vec<Undo>,
    ) -> StoreResult {
        let collect = |(key, digest): (Key, RecordDigest)| {
            let mut collected = false;
            self.edit(key, undo, |slot| {
                let (may_go, is_there) = change::may_go(&slot, digest, until_unix_ms);
                collected = may_go;
                let nothing = StoreResult::Dropped { records: 0, more: false };
                if forget && may_go && is_there { Change::Remove } else { Change::Keep(nothing) }
            });
            collected
        };
        StoreResult::Collected(dead.into_iter().map(collect).collect())
    }

    fn drop_partition(&mut self, node: Node, limit: usize, undo: &mut Vec<Undo>) -> StoreResult {
        let mut places: Vec<Place> =
            self.below(node).take(limit.saturating_add(1)).map(|(place, _)| place.clone()).collect();
        let more = places.len() > limit;
        places.truncate(limit);
        let mut records = 0;
        for place in places {
            let old = self.set_record(&place, None);
            records += u64::from(old.as_ref().is_some_and(|entry| entry.record.is_some()));
            undo.push(Undo::Record(place, old));
        }
        StoreResult::Dropped { records, more }
    }

    fn revert(&mut self, batch: &[Undo]) {
        for undo in batch.iter().rev() {
            match undo {
                Undo::Record(place, entry) => drop(self.set_record(place, entry.clone())),
                Undo::Hint(place, kept) => drop(self.set_hint(place, kept.clone())),
                Undo::Quarantined => drop(self.quarantine.pop()),
                Undo::Meta(key, Some(value)) => {
                    self.meta.insert(*key, value.clone());
                }
                Undo::Meta(key, None) => {
                    self.meta.remove(key);
                }
            }
        }
    }

    fn execute_hint(
        &mut self,
        key: &Key,
        primary: PeerId,
        edit: hint::Edit,
        undo: &mut Vec<Undo>,
    ) -> StoreResult {
        let found = self.find_hint(key);
        match edit.apply(key, primary, found, |peer| self.hint_queues.bytes(peer)) {
            Outcome::Keep(result) => result,
            Outcome::Set { entry, quarantined, result } => {
                for quarantined in quarantined {
                    self.quarantine.push(quarantined);
                    undo.push(Undo::Quarantined);
                }
                let place = (key.position(), key.clone());
                let old = self.set_hint(&place, entry.map(|hint| Kept { hint, damaged: false }));
                undo.push(Undo::Hint(place, old));
                result
            }
        }
    }

    fn find_hint(&self, key: &Key) -> Found {
        let Some(kept) = self.hints.get(&(key.position(), key.clone())) else { return Found::Entry(None) };
        if !kept.damaged {
            return Found::Entry(Some(kept.hint.clone()));
        }
        let quarantined = |(primary, since): (&PeerId, &u64)| Quarantined {
            primary: *primary,
            key: key.clone(),
            since_unix_ms: *since,
            record: None,
            damaged: None,
        };
        Found::Damaged(kept.hint.primaries.iter().map(quarantined).collect())
    }

    fn set_hint(&mut self, place: &Place, kept: Option<Kept>) -> Option<Kept> {
        let places = |kept: Option<&Kept>| kept.map(|kept| kept.hint.places(&place.1)).unwrap_or_default();
        let after = places(kept.as_ref());
        let old = match kept {
            Some(kept) => self.hints.insert(place.clone(), kept),
            None => self.hints.remove(place),
        };
        self.hint_queues.change(&places(old.as_ref()), &after);
        old
    }

    fn list_hints(
        &self,
        primary: PeerId,
        after: Option<&Key>,
        (bytes_max, count_max): (usize, usize),
    ) -> StoreResult {
        let begin = after.map_or(Bound::Unbounded, |key| Bound::Excluded((key.position(), key.clone())));
        let mine = |(place, kept): (&Place, &Kept)| {
            kept.hint.primaries.contains_key(&primary).then(|| place.1.clone())
        };
        let keys: Vec<Key> = self.hints.range((begin, Bound::Unbounded)).filter_map(mine).collect();
        let mut list = hint::List::new(primary, bytes_max, count_max);
        for key in keys {
            let found = self.find_hint(&key);
            if !list.push(key, found) {
                return list.finish(true);
            }
        }
        list.finish(false)
    }

    fn occupied(&self, partition: Partition, count: PartitionCount) -> bool {
        self.below(Node::of_partition(partition, count)).next().is_some()
    }
}
