//! What is looked at: a store, or a snapshot.

use std::ops::ControlFlow;
use std::path::Path;

use henge::snapshot::{Snapshot, SnapshotError};
use henge::store::fjall::{Fjall, Kept};
use henge::store::{ReadOp, Store, StoreError, StoreResult};
use henge_types::{Key, Record};

use crate::exit::CliError;

/// An opened source, and what its keys must begin with.
pub(crate) struct Source {
    from: From,
    prefix: Vec<u8>,
}

enum From {
    Store(Box<Fjall>),
    Snapshot(Snapshot),
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the records.
    Record,
    /// Waits for another peer.
    Hint,
    /// A hint that waited in vain.
    Quarantine,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    Whole(Place, Key, Record),
    /// Something that cannot be read.
    Damaged,
}

impl Source {
    pub(crate) fn open(directory: &Path, prefix: Vec<u8>) -> Result<Self, CliError> {
        let failed = |error: &dyn std::error::Error| CliError::Failed(error.to_string());
        let from = match Snapshot::open(directory) {
            Ok(snapshot) => From::Snapshot(snapshot),
            Err(SnapshotError::NoSnapshot { .. }) => {
                let store = directory.join("store");
                if !store.is_dir() {
                    let shown = directory.display();
                    return Err(CliError::Usage(format!(
                        "{shown} is neither the data directory of a peer nor a complete snapshot"
                    )));
                }
                From::Store(Box::new(Fjall::open(&store).map_err(|error| failed(&error))?))
            }
            Err(error) => return Err(failed(&error)),
        };
        Ok(Self { from, prefix })
    }

    /// About how much there is.
    pub(crate) fn records(&self) -> u64 {
        match &self.from {
            From::Store(store) => store.records(),
            From::Snapshot(snapshot) => snapshot.about().records,
        }
    }

    /// Tells what there is, hints first, until `each` has enough. What fails halfway has told what could be read.
    pub(crate) fn tell(&self, each: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), CliError> {
        let failed = |error: &dyn std::error::Error| CliError::Failed(error.to_string());
        match &self.from {
            From::Store(store) => self.tell_store(store, each).map_err(|error| failed(&error)),
            From::Snapshot(snapshot) => {
                for entry in snapshot.entries().map_err(|error| failed(&error))? {
                    let entry = entry.map_err(|error| failed(&error))?;
                    let found = entry.map(|(key, record)| (Place::Record, key, Some(record)));
                    if self.pass(found, each).is_break() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn tell_store(
        &self,
        store: &Fjall,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for kept in store.kept() {
            let found = match kept? {
                Kept::Hint { key, record } => (Place::Hint, key, record),
                Kept::Quarantined { key, record } => (Place::Quarantine, key, record),
            };
            if self.pass(Some(found), each).is_break() {
                return Ok(());
            }
        }
        for entry in store.snapshot() {
            let (key, record) = entry?;
            if self.pass(Some((Place::Record, key, record)), each).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn pass(
        &self,
        found: Option<(Place, Key, Option<Record>)>,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match found {
            Some((_, key, _)) if !key.as_bytes().starts_with(&self.prefix) => ControlFlow::Continue(()),
            Some((place, key, Some(record))) => each(Found::Whole(place, key, record)),
            Some((_, _, None)) | None => each(Found::Damaged),
        }
    }

    /// All that there is of `key`: a hint does not know what its peer has among its records.
    pub(crate) fn joined(&self, place: Place, key: &Key, mut found: Record) -> Record {
        if let (From::Store(store), Place::Hint | Place::Quarantine) = (&self.from, place)
            && let StoreResult::Record(record) = store.read(&ReadOp::Get { key: key.clone() })
        {
            found.merge(&record);
        }
        found
    }
}
