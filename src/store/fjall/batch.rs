//! One atomic batch: later operations see what earlier ones did before any of it is written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ::fjall::{Keyspace, Slice};
use bytes::Bytes;
use henge_types::tree::{ItemHash, LEAF_DEPTH, Node};
use henge_types::{ActorId, Key, Partition, PartitionCount, Position, Record, RecordDigest};

use super::hints::{HintChange, put_hints};
use super::leaves::{Leaves, put_leaves};
use super::value::{self, Head};
use super::{Fjall, Raw, place, quarantine};
use crate::store::change::{self, Change, Slot, Target};
use crate::store::hint::Quarantined;
use crate::store::{MetaKey, StoreError, StoreResult, WriteOp};

/// What a batch will write. `None` removes.
pub(super) struct Batch<'a> {
    pub(super) store: &'a Fjall,
    records: BTreeMap<Vec<u8>, Option<Slice>>,
    removed: u64,
    leaves: Leaves,
    damaged: BTreeMap<Vec<u8>, Option<Slice>>,
    pub(super) hints: BTreeMap<Key, HintChange>,
    pub(super) quarantined: Vec<Quarantined>,
    meta: BTreeMap<MetaKey, Bytes>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Fjall) -> Self {
        Self {
            store,
            records: BTreeMap::new(),
            removed: 0,
            leaves: Leaves::default(),
            damaged: BTreeMap::new(),
            hints: BTreeMap::new(),
            quarantined: Vec::new(),
            meta: BTreeMap::new(),
        }
    }

    /// Executes `op` on top of what the batch has done so far.
    pub(super) fn execute(&mut self, op: WriteOp) -> StoreResult {
        match Target::from(op) {
            Target::Meta(key, value) => {
                self.meta.insert(key, value);
                StoreResult::Saved
            }
            Target::Hint(key, primary, edit) => {
                self.execute_hint(key, primary, edit).unwrap_or_else(StoreResult::Failed)
            }
            Target::Record(key, edit) => {
                let place = place(&key);
                let changed = self.look(&place).map(|(slot, old)| (edit.apply(slot), old));
                changed
                    .and_then(|(change, old)| self.change(place, old, change))
                    .unwrap_or_else(StoreResult::Failed)
            }
            Target::Many(records) => self.merge_many(records).unwrap_or_else(StoreResult::Failed),
            Target::Collect { dead, until_unix_ms, forget } => {
                self.collect(&dead, until_unix_ms, forget).unwrap_or_else(StoreResult::Failed)
            }
            Target::Partition { count, partition, limit } => {
                self.drop_partition(count, partition, limit).unwrap_or_else(StoreResult::Failed)
            }
        }
    }

    fn merge_many(
        &mut self,
        records: Vec<(Key, Record, Option<ActorId>)>,
    ) -> Result<StoreResult, StoreError> {
        let mut merged = Vec::with_capacity(records.len());
        for (key, record, own) in records {
            let place = place(&key);
            let (slot, old) = self.look(&place)?;
            let (change, result) = change::merge_one_of_many(slot, record, own);
            self.change(place, old, change)?;
            merged.push(result);
        }
        Ok(StoreResult::MergedMany(merged))
    }

    fn collect(
        &mut self,
        dead: &[(Key, RecordDigest)],
        until_unix_ms: u64,
        forget: bool,
    ) -> Result<StoreResult, StoreError> {
        let mut collected = Vec::with_capacity(dead.len());
        for (key, digest) in dead {
            let place = place(key);
            let (slot, old) = self.look(&place)?;
            let (may_go, is_there) = change::may_go(&slot, *digest, until_unix_ms);
            if forget && may_go && is_there {
                self.change(place, old, Change::Remove)?;
            }
            collected.push(may_go);
        }
        Ok(StoreResult::Collected(collected))
    }

    fn drop_partition(
        &mut self,
        count: PartitionCount,
        partition: Partition,
        limit: usize,
    ) -> Result<StoreResult, StoreError> {
        let node = Node::of_partition(partition, count);
        let (records, more) = self.first_below(&self.store.records, &self.records, node, limit)?;
        for (place, value) in &records {
            match Head::read(value) {
                Ok(head) => self.remove(place.clone(), Some(head.hash(place))),
                Err(_) => {
                    self.remove(place.clone(), None);
                    self.leaves.sum_up(leaf_of(place));
                }
            }
        }
        let left = limit.saturating_sub(records.len());
        let (damaged, more_damaged) = self.first_below(&self.store.damaged, &self.damaged, node, left)?;
        self.damaged.extend(damaged.into_iter().map(|(place, _)| (place, None)));
        Ok(StoreResult::Dropped { records: records.len() as u64, more: more || more_damaged })
    }

    /// What is at the first places below `node` that hold anything, and whether there is more.
    fn first_below(
        &self,
        keyspace: &Keyspace,
        changes: &BTreeMap<Vec<u8>, Option<Slice>>,
        node: Node,
        limit: usize,
    ) -> Result<(Vec<Stored>, bool), StoreError> {
        let begin = node.first_position().0.to_be_bytes().to_vec();
        let below = |place: &[u8]| Position::of_hash(place) <= node.last_position();
        let set = changes.range(begin..).take_while(|(place, _)| below(place));
        let set = set.filter_map(|(place, value)| Some((place.clone(), value.clone()?)));
        let mut found: Vec<Stored> = set.take(limit.saturating_add(1)).collect();
        let whole = self.store.scan_in(keyspace, node, &mut |place, value| {
            if !changes.contains_key(place.as_ref()) {
                found.push((place.to_vec(), value));
            }
            found.len() <= limit
        })?;
        if found.is_empty() && !whole {
            return Err(self.store.unreadable());
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// What is at `place`. A record that cannot be read goes to quarantine with this batch.
    /// Tells the hash of its item too.
    pub(super) fn look(&mut self, place: &[u8]) -> Result<(Slot, Option<ItemHash>), StoreError> {
        let damaged = match self.damaged.get(place) {
            Some(mark) => mark.is_some(),
            None => self.store.is_damaged(place)?,
        };
        let bytes = match self.records.get(place) {
            Some(bytes) => bytes.clone(),
            None => match self.store.raw(place)? {
                Raw::Absent => None,
                Raw::Bytes(bytes) => Some(bytes),
                Raw::Unreadable { reason } => return Ok((self.quarantine(place, None, &reason), None)),
            },
        };
        match bytes.as_ref().map(|bytes| value::decode(bytes)).transpose() {
            Ok(record) => {
                let head = bytes.as_deref().map(Head::read).transpose()?;
                Ok((Slot { record, damaged }, head.map(|head| head.hash(place))))
            }
            Err(error) => Ok((self.quarantine(place, bytes.as_deref(), &error.to_string()), None)),
        }
    }

    /// How many records it removes.
    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    /// Writes everything at once; with nothing to write the disk is not touched.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let store = self.store;
        let marks: Vec<(Vec<u8>, bool)> =
            self.damaged.iter().map(|(place, mark)| (place.clone(), mark.is_some())).collect();
        let (mut more, mut fewer) = (0, 0);
        for (place, marked) in marks {
            match (store.is_damaged(&place)?, marked) {
                (false, true) => more += 1,
                (true, false) => fewer += 1,
                (true, true) | (false, false) => {}
            }
        }
        let mut batch = store.database.batch();
        let leaves = put_leaves(&mut batch, store, &self.leaves, &self.records)?;
        for (keyspace, changes) in [(&store.records, self.records), (&store.damaged, self.damaged)] {
            for (place, value) in changes {
                match value {
                    Some(value) => batch.insert(keyspace, place, value),
                    None => batch.remove(keyspace, place),
                }
            }
        }
        for (key, value) in self.meta {
            batch.insert(&store.meta, key.name(), value.as_ref());
        }
        put_hints(&mut batch, store, &self.hints, &self.quarantined)?;
        // A reader that finds the count raised early looks once more than it needs to.
        store.damaged_keys.fetch_add(more, Ordering::AcqRel);
        batch.commit().map_err(|e| store.fail(&e))?;
        let mut roots = store.roots();
        leaves.into_iter().for_each(|leaf| roots.forget(leaf));
        drop(roots);
        store.damaged_keys.fetch_sub(fewer, Ordering::AcqRel);
        store.quarantined.fetch_add(self.quarantined.len() as u64, Ordering::AcqRel);
        let mut totals = store.totals();
        self.hints.iter().for_each(|(key, change)| totals.change(&change.before, &change.after(key)));
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.damaged.is_empty() && self.hints.is_empty() && self.meta.is_empty()
    }

    fn change(
        &mut self,
        place: Vec<u8>,
        old: Option<ItemHash>,
        change: Change,
    ) -> Result<StoreResult, StoreError> {
        match change {
            Change::Keep(result) => Ok(result),
            Change::Put { record, reply } => {
                self.put(place, old, &record)?;
                Ok(reply.with(record))
            }
            Change::Heal(record) => {
                if let Some(record) = record {
                    self.put(place.clone(), old, &record)?;
                }
                self.leaves.sum_up(leaf_of(&place));
                self.damaged.insert(place, None);
                Ok(StoreResult::Repaired)
            }
            Change::Remove => {
                self.remove(place, old);
                Ok(StoreResult::Dropped { records: 1, more: false })
            }
        }
    }

    fn put(&mut self, place: Vec<u8>, old: Option<ItemHash>, record: &Record) -> Result<(), StoreError> {
        let head = Head::of(record);
        let bytes = value::encode(&head, record)?;
        if !self.store.space.admits(bytes.len()) {
            return Err(self.store.space.full());
        }
        self.leaves.change(leaf_of(&place), old, Some(head.hash(&place)));
        self.records.insert(place, Some(bytes.into()));
        Ok(())
    }

    fn remove(&mut self, place: Vec<u8>, old: Option<ItemHash>) {
        self.removed += 1;
        self.leaves.change(leaf_of(&place), old, None);
        self.records.insert(place, None);
    }

    fn quarantine(&mut self, place: &[u8], bytes: Option<&[u8]>, reason: &str) -> Slot {
        let key = place.get(8..).unwrap_or_default().escape_ascii();
        tracing::error!(%key, reason, "a record cannot be read: in quarantine until its replicas repair it");
        self.damaged.insert(place.to_vec(), Some(quarantine::entry(bytes).into()));
        // Hides what is on the disk, so that the rest of the store need not stumble over it again.
        self.records.insert(place.to_vec(), None);
        self.leaves.sum_up(leaf_of(place));
        Slot { record: None, damaged: true }
    }
}

/// A place, and what is stored there.
type Stored = (Vec<u8>, Slice);

fn leaf_of(place: &[u8]) -> Node {
    Node::around(Position::of_hash(place), LEAF_DEPTH)
}
