//! What each operation does to one key, told as a value: the same for every store.

use bytes::Bytes;
use henge_types::limits::RECORD_MAX_BYTES;
use henge_types::{
    ActorId, Applied, Key, Partition, PartitionCount, PeerId, Record, RecordDigest, Write, WriteError,
};

use super::{Merged, MetaKey, StoreResult, WriteOp, hint};

/// Largest record that a merge may leave, in bytes by [`Record::size_bytes`].
///
/// A put is held to [`RECORD_MAX_BYTES`]; replicas that each took one within it must still be able
/// to merge (our choice: two of them).
pub const MERGED_MAX_BYTES: usize = 2 * RECORD_MAX_BYTES;

/// A [`WriteOp`], sorted by what it changes.
#[derive(Debug)]
pub(super) enum Target {
    Record(Key, Edit),
    Many(Vec<(Key, Record, Option<ActorId>)>),
    Collect { dead: Vec<(Key, RecordDigest)>, until_unix_ms: u64, forget: bool },
    Partition { count: PartitionCount, partition: Partition, limit: usize },
    Hint(Key, PeerId, hint::Edit),
    Meta(MetaKey, Bytes),
}

impl From<WriteOp> for Target {
    fn from(op: WriteOp) -> Self {
        match op {
            WriteOp::Update { key, write } => Self::Record(key, Edit::Update(write)),
            WriteOp::Merge { key, record, own } => Self::Record(key, Edit::Merge(record, own)),
            WriteOp::MergeMany { records } => Self::Many(records),
            WriteOp::Collect { dead, until_unix_ms, forget } => Self::Collect { dead, until_unix_ms, forget },
            WriteOp::DropPartition { count, partition, limit } => Self::Partition { count, partition, limit },
            WriteOp::Repair { key, record } => Self::Record(key, Edit::Repair(record)),
            WriteOp::MergeHint { key, primary, record, now_unix_ms, max_bytes } => {
                Self::Hint(key, primary, hint::Edit::Merge { record, now_unix_ms, max_bytes })
            }
            WriteOp::UpdateHint { key, primary, write, max_bytes } => {
                Self::Hint(key, primary, hint::Edit::Update { write, max_bytes })
            }
            WriteOp::DropHint { key, primary, digest } => {
                Self::Hint(key, primary, hint::Edit::Drop { digest })
            }
            WriteOp::QuarantineHint { key, primary } => Self::Hint(key, primary, hint::Edit::Quarantine),
            WriteOp::Save { key, value } => Self::Meta(key, value),
        }
    }
}

/// What to do with one key.
#[derive(Debug)]
pub(super) enum Edit {
    Update(Write),
    Merge(Record, Option<ActorId>),
    Repair(Record),
}

impl Edit {
    /// What this does to a key that has `slot`.
    pub(super) fn apply(self, slot: Slot) -> Change {
        match self {
            Self::Update(write) => update(slot, &write),
            Self::Merge(record, own) => merge(slot, record, own),
            Self::Repair(record) => repair(slot, record),
        }
    }
}

/// What a store has under a key.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The record, if there is one that can be read.
    pub(super) record: Option<Record>,
    /// Whether there was one that cannot.
    pub(super) damaged: bool,
}

/// What an operation does to its key.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing.
    Keep(StoreResult),
    /// Stores `record`.
    Put {
        /// The record to store; never an empty one.
        record: Record,
        /// What to answer once it is encoded.
        reply: Reply,
    },
    /// Removes the record.
    Remove,
    /// Ends the damage, and stores the record, unless that is what was stored already.
    Heal(Option<Record>),
}

/// The answer to a change, without the record, so that the record is encoded before it moves out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    Updated(Applied),
    Merged { rolled_back: bool, damaged: bool },
}

impl Reply {
    pub(super) fn with(self, record: Record) -> StoreResult {
        match self {
            Self::Updated(applied) => StoreResult::Updated { applied, record },
            Self::Merged { rolled_back, damaged } => {
                StoreResult::Merged { changed: true, rolled_back, damaged }
            }
        }
    }
}

pub(super) fn update(slot: Slot, write: &Write) -> Change {
    if slot.damaged {
        return Change::Keep(StoreResult::Damaged);
    }
    let mut record = slot.record.unwrap_or_default();
    match record.apply(write) {
        Ok(applied @ Applied::Written) => Change::Put { record, reply: Reply::Updated(applied) },
        Ok(applied @ Applied::Repeated(_)) => Change::Keep(StoreResult::Updated { applied, record }),
        Err(error) => Change::Keep(StoreResult::Refused(error)),
    }
}

pub(super) fn merge(slot: Slot, incoming: Record, own: Option<ActorId>) -> Change {
    let damaged = slot.damaged;
    let known = |actor: &ActorId| slot.record.as_ref().map_or(0, |r| r.clock().get(actor));
    let rolled_back = own.is_some_and(|own| incoming.clock().get(&own) > known(&own));
    match join(slot.record, incoming) {
        Ok(Some(record)) => Change::Put { record, reply: Reply::Merged { rolled_back, damaged } },
        Ok(None) => Change::Keep(StoreResult::Merged { changed: false, rolled_back, damaged }),
        Err(error) => Change::Keep(StoreResult::Refused(error)),
    }
}

/// What merging one of many records does, and what to answer once it is done.
pub(super) fn merge_one_of_many(
    slot: Slot,
    incoming: Record,
    own: Option<ActorId>,
) -> (Change, Result<Merged, WriteError>) {
    let ahead = slot.record.as_ref().is_some_and(|stored| incoming.clone().merge(stored));
    let change = merge(slot, incoming, own);
    let merged = match &change {
        Change::Put { reply: Reply::Merged { rolled_back, damaged }, .. } => {
            Ok(Merged { changed: true, rolled_back: *rolled_back, damaged: *damaged, ahead })
        }
        Change::Keep(StoreResult::Merged { rolled_back, damaged, .. }) => {
            Ok(Merged { changed: false, rolled_back: *rolled_back, damaged: *damaged, ahead })
        }
        Change::Keep(StoreResult::Refused(error)) => Err(*error),
        Change::Put { .. } | Change::Keep(_) | Change::Remove | Change::Heal(_) => {
            Ok(Merged { changed: false, rolled_back: false, damaged: true, ahead })
        }
    };
    (change, merged)
}

/// Whether the record of a key may be forgotten, or there is none, and whether there is one.
pub(super) fn may_go(slot: &Slot, digest: RecordDigest, until_unix_ms: u64) -> (bool, bool) {
    let dead = |record: &Record| {
        record.digest() == digest && record.dead_since().is_some_and(|since| since <= until_unix_ms)
    };
    (!slot.damaged && slot.record.as_ref().is_none_or(dead), slot.record.is_some())
}

fn repair(slot: Slot, incoming: Record) -> Change {
    match join(slot.record, incoming) {
        Ok(None) if !slot.damaged => Change::Keep(StoreResult::Repaired),
        Ok(record) => Change::Heal(record),
        Err(error) => Change::Keep(StoreResult::Refused(error)),
    }
}

/// The merged record, unless the store has it already.
fn join(stored: Option<Record>, incoming: Record) -> Result<Option<Record>, WriteError> {
    let record = match stored {
        None if incoming.is_empty() => return Ok(None),
        None => incoming,
        Some(mut stored) => {
            if !stored.merge(&incoming) {
                return Ok(None);
            }
            stored
        }
    };
    match record.size_bytes() {
        0..=MERGED_MAX_BYTES => Ok(Some(record)),
        bytes => Err(WriteError::TooLarge { bytes }),
    }
}
