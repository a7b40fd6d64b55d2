//! The records of snapshots, brought into an empty store.

use henge_types::codec::Stored as _;
use henge_types::{Custody, CustodyMap, Key, Record};

use super::{Origin, Progress, Snapshot, SnapshotError};
use crate::store::{MetaKey, Store, StoreResult, WriteOp};

/// Records in one batch.
const BATCH_RECORDS: usize = 256;
/// Bytes of records in one batch, about.
const BATCH_BYTES: usize = 4 << 20;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the peer begins from.
    pub origin: Origin,
    /// How much; `damaged` counts entries that are not as they were written, or were refused: they are left out.
    pub progress: Progress,
}

/// Brings the records of `snapshots`, at least one and all of one ring, into the empty `store`, and remembers
/// there where they come from. `joins`: the peer is to join that ring, instead of beginning a new one.
///
/// # Errors
/// [`SnapshotError`]; the store has a part of the records then, and is to be thrown away.
pub fn restore(
    store: &dyn Store,
    snapshots: &[Snapshot],
    joins: bool,
    told: &mut dyn FnMut(Progress),
) -> Result<Restored, SnapshotError> {
    let mut origin = origin(snapshots, joins)?;
    let count = origin.params.partitions();
    let mut progress = Progress::default();
    for snapshot in snapshots {
        let before = progress.bytes;
        let mut batch = Batch::default();
        let mut entries = snapshot.entries()?;
        while let Some(entry) = entries.next() {
            let Some((key, record)) = entry? else {
                progress.damaged += 1;
                continue;
            };
            origin.custody.set(key.position().partition(count), Custody::Part);
            progress.records += 1;
            if batch.add(key, record) {
                progress.damaged += std::mem::take(&mut batch).write(store)?;
                progress.bytes = before + entries.bytes_read();
                told(progress);
            }
        }
        progress.damaged += batch.write(store)?;
        progress.bytes = before + entries.bytes_read();
    }
    told(progress);
    let save = WriteOp::Save { key: MetaKey::Origin, value: origin.to_stored()?.into() };
    execute(store, save)?;
    store.sync()?;
    Ok(Restored { origin, progress })
}

fn origin(snapshots: &[Snapshot], joins: bool) -> Result<Origin, SnapshotError> {
    let Some(first) = snapshots.first().map(Snapshot::about) else {
        return Err(SnapshotError::NoSnapshot { path: String::new() });
    };
    let mut taken_unix_ms = first.taken_unix_ms;
    for about in snapshots.iter().map(Snapshot::about) {
        if about.ring != first.ring {
            return Err(SnapshotError::SeveralRings { one: first.ring, other: about.ring });
        }
        taken_unix_ms = taken_unix_ms.min(about.taken_unix_ms);
    }
    let custody = CustodyMap::uniform(first.params.partitions(), Custody::None);
    Ok(Origin { ring: first.ring, params: first.params, taken_unix_ms, custody, joins })
}

#[derive(Default)]
struct Batch {
    records: Vec<(Key, Record, Option<henge_types::ActorId>)>,
    bytes: usize,
}

impl Batch {
    /// Says whether it is full.
    fn add(&mut self, key: Key, record: Record) -> bool {
        self.bytes += record.size_bytes();
        // The peer that wrote this is no more: nobody's writes are its own.
        self.records.push((key, record, None));
        self.records.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    /// Says how many records the store did not take: those that would be too large together, of several
    /// snapshots.
    fn write(self, store: &dyn Store) -> Result<u64, SnapshotError> {
        if self.records.is_empty() {
            return Ok(0);
        }
        execute(store, WriteOp::MergeMany { records: self.records })
    }
}

fn execute(store: &dyn Store, op: WriteOp) -> Result<u64, SnapshotError> {
    let mut refused = 0;
    for result in store.write(vec![op]) {
        if let StoreResult::Failed(error) = result {
            return Err(error.into());
        }
        if let StoreResult::MergedMany(merged) = result {
            refused += merged.iter().filter(|merged| merged.is_err()).count() as u64;
        }
    }
    Ok(refused)
}
