//! A store in memory: the model of the contract, and the disk of a simulated peer.
//!
//! It is deterministic, and it knows what a crash would take: everything since the last
//! [`Store::sync`] can be undone, batch by batch, as a machine loses what its disk had not
//! written yet.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use henge_types::{Key, Partition, PartitionCount, PeerId, Position, Record};

use super::change::{Change, Slot, Target};
use super::hint::{self, Found, Outcome, Quarantined, Totals};
use super::{MetaKey, ReadOp, Store, StoreError, StoreResult, WriteOp};

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
    fault: Option<StoreError>,
}

#[derive(Debug, Default, Clone)]
struct Image {
    records: BTreeMap<Place, Entry>,
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
        let now = state.now.records.get_mut(&place);
        let found = now.is_some();
        for entry in now.into_iter().chain(undone) {
            *entry = Entry { record: None, damaged: true };
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
        let state = self.state();
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
        let mut undo = Vec::new();
        let results = ops.into_iter().map(|op| state.now.execute(op, &mut undo)).collect();
        if !undo.is_empty() {
            state.unsynced.push(undo);
        }
        results
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
}

impl Image {
    fn execute(&mut self, op: WriteOp, undo: &mut Vec<Undo>) -> StoreResult {
        let (key, edit) = match Target::from(op) {
            Target::Record(key, edit) => (key, edit),
            Target::Hint(key, primary, edit) => return self.execute_hint(&key, primary, edit, undo),
            Target::Meta(key, value) => {
                undo.push(Undo::Meta(key, self.meta.insert(key, value)));
                return StoreResult::Saved;
            }
        };
        let place = (key.position(), key);
        let old = self.records.get(&place).cloned();
        let slot = old
            .clone()
            .map_or_else(Slot::default, |entry| Slot { record: entry.record, damaged: entry.damaged });
        let damaged = slot.damaged;
        let (entry, result) = match edit.apply(slot) {
            Change::Keep(result) => return result,
            Change::Put { record, reply } => {
                (Some(Entry { record: Some(record.clone()), damaged }), reply.with(record))
            }
            Change::Heal(None) => {
                let record = old.as_ref().and_then(|entry| entry.record.clone());
                (record.map(|record| Entry { record: Some(record), damaged: false }), StoreResult::Repaired)
            }
            Change::Heal(record) => (Some(Entry { record, damaged: false }), StoreResult::Repaired),
        };
        match entry {
            Some(entry) => self.records.insert(place.clone(), entry),
            None => self.records.remove(&place),
        };
        undo.push(Undo::Record(place, old));
        result
    }

    fn revert(&mut self, batch: &[Undo]) {
        for undo in batch.iter().rev() {
            match undo {
                Undo::Record(place, Some(entry)) => {
                    self.records.insert(place.clone(), entry.clone());
                }
                Undo::Record(place, None) => {
                    self.records.remove(place);
                }
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
        // No key sorts before a position and nothing: one byte is the shortest, and 0 the least.
        let Ok(least) = Key::new(Bytes::from_static(&[0])) else { return false };
        let last = partition.last_position(count);
        let from = (partition.first_position(count), least);
        self.records.range(from..).next().is_some_and(|((position, _), _)| *position <= last)
    }
}
