//! The store of one peer: what it must do, whoever does it.
//!
//! [`memory`] keeps everything in a map and is the model; [`fjall`] is the LSM store on disk; both
//! pass the same contract tests. [`worker`] takes store calls off the swarm's task and shares one
//! fsync among the writes that wait together.
//!
//! A store is written by one thread at a time and read by any. Read-modify-write is one
//! operation, atomic per key: two merges never race.

use bytes::Bytes;
use henge_types::{ActorId, Applied, DecodeError, Key, Partition, PartitionCount, Record, Write, WriteError};
use thiserror::Error;

mod change;
pub mod fjall;
pub mod memory;
pub mod worker;

pub use change::MERGED_MAX_BYTES;

/// Numbers the operations that the core gave to its store, in order. Writes are executed in
/// that order; reads may overtake writes that are not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the core asks of its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOp {
    /// Changes nothing.
    Read(ReadOp),
    /// Changes one thing, atomically.
    Write(WriteOp),
}

/// A question to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOp {
    /// The record of a key; the empty record where there is none.
    Get {
        /// The key.
        key: Key,
    },
    /// Which of these partitions hold any record (a damaged one counts).
    Occupied {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The partitions asked about.
        partitions: Vec<Partition>,
    },
}

/// A change to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOp {
    /// Applies a put or delete of this peer's own to the record of `key` ([`Record::apply`]).
    Update {
        /// The key.
        key: Key,
        /// The write.
        write: Write,
    },
    /// Merges a record that came from another peer ([`Record::merge`]).
    Merge {
        /// The key.
        key: Key,
        /// The record to merge.
        record: Record,
        /// The actor under which this peer writes the partition now: a record that knows more
        /// of it than the store does shows that the store was rolled back.
        own: Option<ActorId>,
    },
    /// Merges what the other replicas have of a damaged key; the key is whole again.
    Repair {
        /// The key.
        key: Key,
        /// What they have.
        record: Record,
    },
    /// Saves one piece of metadata. Always synced before it is reported, whatever the durability.
    Save {
        /// Which.
        key: MetaKey,
        /// Its stored form, which starts with a version byte.
        value: Bytes,
    },
}

/// The pieces of metadata that a peer keeps beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    /// Ring id, secret, parameters, and the peer's incarnation.
    Ring,
    /// The reserved blocks of counters, and whether the last stop was clean.
    Counters,
    /// The custody map and the actor of each partition.
    Custody,
    /// The members known.
    View,
    /// What the program around the core wants to remember (the addresses it listened on).
    Node,
}

impl MetaKey {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ring, Self::Counters, Self::Custody, Self::View, Self::Node];

    /// The name under which it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Counters => "counters",
            Self::Custody => "custody",
            Self::View => "view",
            Self::Node => "node",
        }
    }
}

/// What the store answers to a [`StoreOp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreResult {
    /// To [`ReadOp::Get`].
    Record(Record),
    /// To [`ReadOp::Occupied`]: those of the partitions that hold a record.
    Occupied(Vec<Partition>),
    /// To [`WriteOp::Update`]: what was done, and the record as it is now.
    Updated {
        /// What was done.
        applied: Applied,
        /// The record with the write.
        record: Record,
    },
    /// To [`WriteOp::Update`] or [`WriteOp::Merge`]: a bound forbids it; nothing changed.
    Refused(WriteError),
    /// To [`WriteOp::Merge`].
    Merged {
        /// Whether the record changed.
        changed: bool,
        /// Whether the merged record knows a write of this peer's own that its store had not.
        rolled_back: bool,
        /// Whether the key is damaged, so that what is stored may not be all that was.
        damaged: bool,
    },
    /// To [`WriteOp::Repair`].
    Repaired,
    /// To [`WriteOp::Save`].
    Saved,
    /// The stored record cannot be read. Its bytes are in quarantine, and the key answers so until
    /// it is repaired.
    Damaged,
    /// The store failed; nothing changed, or (for a write) it may have.
    Failed(StoreError),
}

/// Why the store cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory.
    #[error(
        "the data directory {path} is in use by another process: stop it first, or use another directory"
    )]
    InUse {
        /// The directory.
        path: String,
    },
    /// The directory was written by a newer henge.
    #[error(
        "the data directory {path} has format {found}, this henge reads up to {newest}: use the newer henge"
    )]
    NewerFormat {
        /// The directory.
        path: String,
        /// The format found.
        found: u8,
        /// The newest format known.
        newest: u8,
    },
    /// The operating system refused.
    #[error("the data directory {path} cannot be used: {reason}")]
    Io {
        /// The directory or file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// There is no room left.
    #[error("the disk of {path} is full: free some space; nothing acknowledged is lost")]
    Full {
        /// The directory.
        path: String,
    },
    /// Files of the store do not fit together or fail their checksums.
    #[error("the store in {path} is damaged: {reason}")]
    Corrupt {
        /// The directory or file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A flush failed: what is on disk is unknown, so nothing is acknowledged any more.
    #[error(
        "the store cannot be written since a flush failed ({reason}): restart the peer once the disk is well"
    )]
    Poisoned {
        /// What the flush said.
        reason: String,
    },
    /// A stored format could not be read or written.
    #[error("stored data cannot be read: {0}")]
    Decode(#[from] DecodeError),
}

/// What a store must do.
///
/// `write` is called by one thread at a time; the other methods by any. Every method blocks.
pub trait Store: Send + Sync + 'static {
    /// One saved piece of metadata.
    ///
    /// # Errors
    /// [`StoreError`].
    fn meta(&self, key: MetaKey) -> Result<Option<Bytes>, StoreError>;

    /// Answers a question. Sees all writes whose [`Store::write`] has returned, and may see those
    /// of one that is under way.
    fn read(&self, op: &ReadOp) -> StoreResult;

    /// Executes `ops` in order, as one atomic batch: after a crash all or none of it is there.
    /// A later operation of the batch sees what an earlier one did. Not durable until
    /// [`Store::sync`] returns, but it outlives the end of the process.
    ///
    /// One result for each operation, in order. When the batch as a whole fails, each is
    /// [`StoreResult::Failed`].
    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult>;

    /// Makes everything written so far outlive a crash of the machine.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]: nothing may be acknowledged from then on.
    fn sync(&self) -> Result<(), StoreError>;

    /// About how many records there are. For people, not for decisions.
    fn records(&self) -> u64;
}
