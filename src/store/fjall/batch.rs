//! One atomic batch: later operations see what earlier ones did before any of it is written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ::fjall::Slice;
use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{Key, Record};

use super::hints::{HintChange, put_hints};
use super::{Fjall, Raw, place, quarantine};
use crate::store::change::{Change, Slot, Target};
use crate::store::hint::Quarantined;
use crate::store::{MetaKey, StoreError, StoreResult, WriteOp};

/// What a batch will write. `None` removes.
pub(super) struct Batch<'a> {
    pub(super) store: &'a Fjall,
    records: BTreeMap<Vec<u8>, Option<Slice>>,
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
                let changed = self.look(&place).map(|slot| edit.apply(slot));
                changed.and_then(|change| self.change(place, change)).unwrap_or_else(StoreResult::Failed)
            }
        }
    }

    /// What is at `place`. A record that cannot be read goes to quarantine with this batch.
    pub(super) fn look(&mut self, place: &[u8]) -> Result<Slot, StoreError> {
        let damaged = match self.damaged.get(place) {
            Some(mark) => mark.is_some(),
            None => self.store.is_damaged(place)?,
        };
        let bytes = match self.records.get(place) {
            Some(bytes) => bytes.clone(),
            None => match self.store.raw(place)? {
                Raw::Absent => None,
                Raw::Bytes(bytes) => Some(bytes),
                Raw::Unreadable { reason } => return Ok(self.quarantine(place, None, &reason)),
            },
        };
        match bytes.as_ref().map(|bytes| Record::from_stored(bytes)).transpose() {
            Ok(record) => Ok(Slot { record, damaged }),
            Err(error) => Ok(self.quarantine(place, bytes.as_deref(), &error.to_string())),
        }
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
        store.damaged_keys.fetch_sub(fewer, Ordering::AcqRel);
        store.quarantined.fetch_add(self.quarantined.len() as u64, Ordering::AcqRel);
        let mut totals = store.totals();
        self.hints.iter().for_each(|(key, change)| totals.change(&change.before, &change.after(key)));
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.damaged.is_empty() && self.hints.is_empty() && self.meta.is_empty()
    }

    fn change(&mut self, place: Vec<u8>, change: Change) -> Result<StoreResult, StoreError> {
        match change {
            Change::Keep(result) => Ok(result),
            Change::Put { record, reply } => {
                self.put(place, &record)?;
                Ok(reply.with(record))
            }
            Change::Heal(record) => {
                if let Some(record) = record {
                    self.put(place.clone(), &record)?;
                }
                self.damaged.insert(place, None);
                Ok(StoreResult::Repaired)
            }
        }
    }

    fn put(&mut self, place: Vec<u8>, record: &Record) -> Result<(), StoreError> {
        let bytes = record.to_stored()?;
        if !self.store.space.admits(bytes.len()) {
            return Err(self.store.space.full());
        }
        self.records.insert(place, Some(bytes.into()));
        Ok(())
    }

    fn quarantine(&mut self, place: &[u8], bytes: Option<&[u8]>, reason: &str) -> Slot {
        let key = place.get(8..).unwrap_or_default().escape_ascii();
        tracing::error!(%key, reason, "a record cannot be read: in quarantine until its replicas repair it");
        self.damaged.insert(place.to_vec(), Some(quarantine::entry(bytes).into()));
        // Hides what is on the disk, so that the rest of the store need not stumble over it again.
        self.records.insert(place.to_vec(), None);
        Slot { record: None, damaged: true }
    }
}
