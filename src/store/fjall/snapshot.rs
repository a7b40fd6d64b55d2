//! What the store holds at one instant, for a backup; and what it keeps for people.

use std::path::{Path, PathBuf};

use ::fjall::{Guard, Iter, Keyspace, Readable as _, Slice, Snapshot};
use henge_types::codec::Stored;
use henge_types::{Key, Record};

use super::tree::key_of;
use super::{Fjall, error, value};
use crate::store::hint::{Entry, Quarantined};
use crate::store::{Records, StoreError};

/// What lies beside the records, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Waits for a peer that was away.
    Hint {
        /// The key.
        key: Key,
        /// What is kept of it; `None` where that cannot be read.
        record: Option<Record>,
    },
    /// Waited in vain, or could not be read: in quarantine.
    Quarantined {
        /// The key.
        key: Key,
        /// What was kept of it; `None` where that cannot be read.
        record: Option<Record>,
    },
}

impl Fjall {
    /// The hints that wait and those in quarantine, one after the other.
    pub fn kept(&self) -> impl Iterator<Item = Result<Kept, StoreError>> + '_ {
        let hint = |guard: Guard| {
            let (place, bytes) = guard.into_inner().map_err(|e| self.error(&e))?;
            let record = Entry::from_stored(&bytes).ok().map(|entry| entry.record);
            Ok(key_of(&place).map(|key| Kept::Hint { key, record }))
        };
        let quarantined = |guard: Guard| {
            let (_, bytes) = guard.into_inner().map_err(|e| self.error(&e))?;
            let entry = Quarantined::from_stored(&bytes).ok();
            Ok(entry.map(|entry| Kept::Quarantined { key: entry.key, record: entry.record }))
        };
        let hints = self.hints.iter().map(hint);
        hints.chain(self.quarantine.iter().map(quarantined)).filter_map(Result::transpose)
    }
}

/// All records of this instant; first which keys are damaged.
pub(super) fn records(store: &Fjall) -> Records {
    let snapshot = store.database.snapshot();
    let scan = |keyspace: &Keyspace| Scan::new(&snapshot, keyspace, store.directory.path());
    let damaged = scan(&store.damaged).map(|entry| Ok((entry?.0, None)));
    let records = scan(&store.records).map(|entry| entry.map(|(place, bytes)| (place, Some(bytes))));
    Box::new(damaged.chain(records).filter_map(|entry| {
        let read = |(place, bytes): (Slice, Option<Slice>)| {
            Some((key_of(&place)?, bytes.and_then(|bytes| value::decode(&bytes).ok())))
        };
        entry.map(read).transpose()
    }))
}

/// All entries of one keyspace at one instant. Where blocks cannot be read it is what lies before the
/// first and after the last of them, and then an error.
struct Scan {
    path: PathBuf,
    // Keeps what it shows from being freed, as its iterators do.
    snapshot: Snapshot,
    keyspace: Keyspace,
    forward: Option<Iter>,
    /// Set where something could not be read.
    backward: Option<Iter>,
    /// The last that was told on the way forward.
    reached: Option<Slice>,
}

impl Scan {
    fn new(snapshot: &Snapshot, keyspace: &Keyspace, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            snapshot: snapshot.clone(),
            keyspace: keyspace.clone(),
            forward: Some(snapshot.iter(keyspace)),
            backward: None,
            reached: None,
        }
    }

    fn next_forward(&mut self) -> Option<Result<(Slice, Slice), StoreError>> {
        let Some(guard) = self.forward.as_mut()?.next() else {
            self.forward = None;
            return None;
        };
        match guard.into_inner() {
            Ok((place, value)) => {
                self.reached = Some(place.clone());
                Some(Ok((place, value)))
            }
            Err(e) if error::is_damage(&e) => {
                self.forward = None;
                self.backward = Some(self.snapshot.iter(&self.keyspace));
                None
            }
            Err(e) => {
                self.forward = None;
                Some(Err(error::store_error(&self.path, &e)))
            }
        }
    }

    fn next_backward(&mut self) -> Option<Result<(Slice, Slice), StoreError>> {
        let entry = self.backward.as_mut()?.next_back().map(Guard::into_inner);
        let again = |place: &Slice| self.reached.as_ref().is_some_and(|reached| place <= reached);
        match entry {
            Some(Ok((place, value))) if !again(&place) => Some(Ok((place, value))),
            Some(_) | None => {
                self.backward = None;
                Some(Err(error::unreadable(&self.path)))
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Slice, Slice), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_forward().or_else(|| self.next_backward())
    }
}
