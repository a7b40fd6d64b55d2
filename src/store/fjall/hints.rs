//! Hints: their queues, and their part of a batch.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use ::fjall::OwnedWriteBatch;
use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{Key, PeerId};

use super::batch::Batch;
use super::{Fjall, Raw, error, place};
use crate::store::hint::{Edit, Entry, Found, List, Outcome, Places, Quarantined, Queued, Totals};
use crate::store::{StoreError, StoreResult};

/// What a batch does to the hint of one key.
pub(super) struct HintChange {
    /// The queues that it is in on the disk.
    pub(super) before: Places,
    /// What it becomes.
    entry: Option<Entry>,
}

impl HintChange {
    /// The queues that it will be in.
    pub(super) fn after(&self, key: &Key) -> Places {
        self.entry.as_ref().map(|entry| entry.places(key)).unwrap_or_default()
    }
}

impl Fjall {
    /// Learns what was left of the last run.
    pub(super) fn count_hints(&self) -> Result<(), StoreError> {
        let mut totals = self.totals();
        for guard in self.hint_queues.iter() {
            let (at, value) = match guard.into_inner() {
                Ok(entry) => entry,
                Err(e) if error::is_damage(&e) => {
                    tracing::error!(error = %e, "a part of the queues of hints cannot be read");
                    break;
                }
                Err(e) => return Err(self.error(&e)),
            };
            match (primary_of(&at), Queued::from_stored(&value)) {
                (Some(primary), Ok(queued)) => totals.add(primary, queued),
                (None, _) | (_, Err(_)) => tracing::error!("an entry in a queue of hints cannot be read"),
            }
        }
        let last = self.quarantine.last_key_value().map(|last| last.key()).transpose();
        let last = last.map_err(|e| self.error(&e))?;
        let next = last.and_then(|at| Some(u64::from_be_bytes(at.as_ref().try_into().ok()?) + 1));
        self.quarantined.store(next.unwrap_or(0), Ordering::Release);
        Ok(())
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        // Nothing in there can panic halfway through a change.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hint(&self, key: &Key) -> StoreResult {
        match self.find_hint(key).map(|(found, _)| found) {
            Ok(Found::Entry(entry)) => StoreResult::Hint(entry.map(|entry| entry.record)),
            Ok(Found::Damaged(_)) => StoreResult::Damaged,
            Err(error) => StoreResult::Failed(error),
        }
    }

    pub(super) fn list_hints(
        &self,
        primary: PeerId,
        after: Option<&Key>,
        (bytes_max, count_max): (usize, usize),
    ) -> StoreResult {
        let prefix = prefix(&primary);
        let begin = match after {
            None => Bound::Included(prefix.clone()),
            Some(key) => Bound::Excluded(queue_place(&primary, &place(key))),
        };
        let mut list = List::new(primary, bytes_max, count_max);
        for guard in self.hint_queues.range((begin, Bound::Unbounded)) {
            let at = match guard.key() {
                Ok(at) => at,
                Err(e) => return StoreResult::Failed(self.error(&e)),
            };
            // The prefix, the position, then the key.
            let Some(place) = at.strip_prefix(prefix.as_slice()) else { break };
            let key = place.get(8..).map(Bytes::copy_from_slice).and_then(|key| Key::new(key).ok());
            let Some(key) = key else { continue };
            match self.find_hint(&key) {
                Ok((found, _)) => {
                    if !list.push(key, found) {
                        return list.finish(true);
                    }
                }
                Err(error) => return StoreResult::Failed(error),
            }
        }
        list.finish(false)
    }

    /// What is stored, and the queues that it is in.
    fn find_hint(&self, key: &Key) -> Result<(Found, Places), StoreError> {
        let bytes = match self.raw_in(&self.hints, &place(key))? {
            Raw::Absent => return Ok((Found::Entry(None), Places::new())),
            Raw::Unreadable { .. } => None,
            Raw::Bytes(bytes) => match Entry::from_stored(&bytes) {
                Ok(entry) => {
                    let places = entry.places(key);
                    return Ok((Found::Entry(Some(entry)), places));
                }
                Err(_) => Some(Bytes::copy_from_slice(&bytes)),
            },
        };
        // It does not say for whom it waits, but the queues do.
        let mut places = Places::new();
        let primaries = self.totals().primaries();
        for primary in primaries {
            let queued = self.hint_queues.get(queue_place(&primary, &place(key)));
            let queued = queued.map_err(|e| self.error(&e))?.map(|value| Queued::from_stored(&value));
            if let Some(Ok(queued)) = queued {
                places.insert(primary, queued);
            }
        }
        let quarantined = |(primary, queued): (&PeerId, &Queued)| Quarantined {
            primary: *primary,
            key: key.clone(),
            since_unix_ms: queued.since_unix_ms,
            record: None,
            damaged: bytes.clone(),
        };
        Ok((Found::Damaged(places.iter().map(quarantined).collect()), places))
    }
}

impl Batch<'_> {
    pub(super) fn execute_hint(
        &mut self,
        key: Key,
        primary: PeerId,
        edit: Edit,
    ) -> Result<StoreResult, StoreError> {
        let (found, before) = match self.hints.get(&key) {
            Some(change) => (Found::Entry(change.entry.clone()), change.before.clone()),
            None => self.store.find_hint(&key)?,
        };
        match edit.apply(&key, primary, found, |peer| self.queued_bytes(peer)) {
            Outcome::Keep(result) => Ok(result),
            Outcome::Set { entry, quarantined, result } => {
                let bytes = entry.as_ref().map_or(0, |entry| entry.record.size_bytes());
                let grows = matches!(result, StoreResult::Updated { .. } | StoreResult::Merged { .. });
                if grows && !self.store.space.admits(bytes) {
                    return Err(self.store.space.full());
                }
                self.quarantined.extend(quarantined);
                self.hints.insert(key, HintChange { before, entry });
                Ok(result)
            }
        }
    }

    /// How much will wait for `primary` after what the batch has done so far.
    fn queued_bytes(&self, primary: &PeerId) -> u64 {
        let bytes = |places: &Places| places.get(primary).map_or(0, |queued| queued.bytes);
        let change = |total: u64, (key, change): (&Key, &HintChange)| {
            total.saturating_add(bytes(&change.after(key))).saturating_sub(bytes(&change.before))
        };
        self.hints.iter().fold(self.store.totals().bytes(primary), change)
    }
}

/// Adds what becomes of hints to a batch.
pub(super) fn put_hints(
    batch: &mut OwnedWriteBatch,
    store: &Fjall,
    hints: &BTreeMap<Key, HintChange>,
    quarantined: &[Quarantined],
) -> Result<(), StoreError> {
    for (key, change) in hints {
        let (place, after) = (place(key), change.after(key));
        match &change.entry {
            Some(entry) => batch.insert(&store.hints, place.as_slice(), entry.to_stored()?),
            None => batch.remove(&store.hints, place.as_slice()),
        }
        for primary in change.before.keys().filter(|primary| !after.contains_key(primary)) {
            batch.remove(&store.hint_queues, queue_place(primary, &place));
        }
        for (primary, queued) in after.iter().filter(|(p, queued)| change.before.get(p) != Some(queued)) {
            batch.insert(&store.hint_queues, queue_place(primary, &place), queued.to_stored()?);
        }
    }
    for (number, entry) in (store.quarantined.load(Ordering::Acquire)..).zip(quarantined) {
        batch.insert(&store.quarantine, number.to_be_bytes(), entry.to_stored()?);
    }
    Ok(())
}

/// What the places of one queue begin with.
fn prefix(primary: &PeerId) -> Vec<u8> {
    let bytes = primary.to_bytes();
    // The longest peer id has 42 bytes.
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[length][..], &bytes].concat()
}

fn queue_place(primary: &PeerId, place: &[u8]) -> Vec<u8> {
    let mut at = prefix(primary);
    at.extend_from_slice(place);
    at
}

fn primary_of(at: &[u8]) -> Option<PeerId> {
    let (length, rest) = at.split_first()?;
    PeerId::from_bytes(rest.get(..usize::from(*length))?).ok()
}
