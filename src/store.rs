//! The store of one peer: what it must do, whoever does it.
//!
//! [`memory`] keeps everything in a map and is the model; [`fjall`] is the LSM store on disk; both
//! pass the same contract tests. [`worker`] takes store calls off the swarm's task and shares one
//! fsync among the writes that wait together.
//!
//! A store is written by one thread at a time and read by any. Read-modify-write is one
//! operation, atomic per key: two merges never race.

use bytes::Bytes;
use henge_types::tree::{Item, Node, Summary};
use henge_types::{
    ActorId, Applied, DecodeError, Key, Partition, PartitionCount, PeerId, Record, RecordDigest, Write,
    WriteError,
};
use thiserror::Error;

mod change;
pub mod fjall;
mod hint;
pub mod memory;
mod roots;
pub(crate) mod space;
pub mod worker;

pub use change::MERGED_MAX_BYTES;
pub use hint::{Hint, HintQueue};

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
    /// Keys whose records cannot be read, as far as that was noticed.
    Damaged {
        /// How many to tell of at most.
        max: usize,
    },
    /// The nodes that these partitions are in the hash tree over all records. Known without a look
    /// at the disk where nothing changed since they were last asked for.
    Roots {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The partitions.
        partitions: Vec<Partition>,
    },
    /// These nodes of the hash tree, at any depth.
    Nodes {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// Keys and digests of the records below these nodes.
    Items {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The nodes.
        nodes: Vec<Node>,
        /// How many items to tell of in all.
        items_max: usize,
    },
    /// The records of these keys, or of the first of them.
    Records {
        /// The keys.
        keys: Vec<Key>,
        /// About how many bytes of keys and records. The first comes, however large.
        bytes_max: usize,
    },
    /// Keys of these partitions whose records are dead since then or longer ([`Record::dead_since`]).
    Dead {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The partitions.
        partitions: Vec<Partition>,
        /// Since when, in milliseconds of Unix time.
        until_unix_ms: u64,
        /// How many keys to tell of at most.
        max: usize,
    },
    /// The hint of a key, whoever it waits for.
    Hint {
        /// The key.
        key: Key,
    },
    /// A part of the queue of `primary`, in the order (position, key).
    Hints {
        /// For whom they wait.
        primary: PeerId,
        /// The key after which to begin; `None` begins at the front.
        after: Option<Key>,
        /// About how many bytes of keys and records. The first comes, however large.
        bytes_max: usize,
        /// How many hints.
        count_max: usize,
    },
    /// What waits for each primary.
    HintQueues,
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
    /// Merges many records that came from another peer, each as [`WriteOp::Merge`] does.
    MergeMany {
        /// Each with its key, and the actor under which this peer writes its partition now.
        records: Vec<(Key, Record, Option<ActorId>)>,
    },
    /// Looks which of these keys have just that record, dead since then or longer, or none; with `forget` those
    /// records go. What a crash brings back may be collected again: nobody waits for the sync of it.
    Collect {
        /// The keys, with the digests of the records that may go.
        dead: Vec<(Key, RecordDigest)>,
        /// Since when they must be dead, in milliseconds of Unix time.
        until_unix_ms: u64,
        /// Whether to remove them.
        forget: bool,
    },
    /// Removes a part of what is held of a partition, damaged keys too. To be repeated while
    /// the answer says that there is more.
    DropPartition {
        /// How many partitions the ring has.
        count: PartitionCount,
        /// The partition.
        partition: Partition,
        /// How many records to remove at most, 1 or more.
        limit: usize,
    },
    /// Merges what the other replicas have of a damaged key; the key is whole again.
    Repair {
        /// The key.
        key: Key,
        /// What they have.
        record: Record,
    },
    /// Merges a record into the hint of `key`, which waits for `primary` from now on too.
    MergeHint {
        /// The key.
        key: Key,
        /// The voter that cannot be reached.
        primary: PeerId,
        /// The record to merge.
        record: Record,
        /// The time, in milliseconds of Unix time.
        now_unix_ms: u64,
        /// How many bytes may wait for one primary. What would exceed it is refused.
        max_bytes: u64,
    },
    /// Applies a put or delete of this peer's own, as a fallback, to the hint of `key`
    /// ([`Record::apply`]), which waits for `primary` from now on too.
    UpdateHint {
        /// The key.
        key: Key,
        /// The voter that cannot be reached.
        primary: PeerId,
        /// The write; its time is that of the hint.
        write: Write,
        /// As in [`WriteOp::MergeHint`].
        max_bytes: u64,
    },
    /// The hint of `key` waits for `primary` no more, if it is still what was delivered. Nobody
    /// waits for the sync of it: what a crash brings back is delivered again.
    DropHint {
        /// The key.
        key: Key,
        /// Who has it now.
        primary: PeerId,
        /// The digest of the record that was delivered.
        digest: RecordDigest,
    },
    /// The hint of `key` waits for `primary` no more, but lies in quarantine. One that cannot be
    /// read waits for nobody any more.
    ///
    /// A damaged hint goes there by this operation only, and answers [`StoreResult::Damaged`] before:
    /// so whoever asks for it can first take another actor than the one whose writes are lost.
    QuarantineHint {
        /// The key.
        key: Key,
        /// For whom it waited.
        primary: PeerId,
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
    /// The weight of this peer, and what its last start was given.
    Weight,
    /// What the program around the core wants to remember (the addresses it listened on).
    Node,
    /// The snapshot that the records were restored from, before this peer was a member.
    Origin,
}

impl MetaKey {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Ring, Self::Counters, Self::Custody, Self::View, Self::Weight, Self::Node, Self::Origin];

    /// The name under which it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Counters => "counters",
            Self::Custody => "custody",
            Self::View => "view",
            Self::Weight => "weight",
            Self::Node => "node",
            Self::Origin => "origin",
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
    /// To [`ReadOp::Damaged`].
    DamagedKeys(Vec<Key>),
    /// To [`ReadOp::Roots`] and [`ReadOp::Nodes`].
    Summaries {
        /// One for each partition or node, in order.
        summaries: Vec<Summary>,
        /// Which of the partitions concerned have damaged keys: those are in no summary.
        damaged: Vec<Partition>,
    },
    /// To [`ReadOp::Items`].
    Items {
        /// Those below each node, in order; `None` where they would be too many in all.
        items: Vec<Option<Vec<Item>>>,
        /// As in [`StoreResult::Summaries`].
        damaged: Vec<Partition>,
    },
    /// To [`ReadOp::Records`]: the records of the first of the keys, at least of one; `None`
    /// where a key is damaged.
    Records(Vec<Option<Record>>),
    /// To [`ReadOp::Dead`]: keys with the digests of their records.
    Dead(Vec<(Key, RecordDigest)>),
    /// To [`ReadOp::Hint`]: `None` where no hint is kept for the key.
    Hint(Option<Record>),
    /// To [`ReadOp::Hints`].
    Hints {
        /// The hints.
        hints: Vec<Hint>,
        /// Whether there are others after the last of them.
        more: bool,
        /// Those on the way that cannot be read.
        damaged: Vec<Key>,
    },
    /// To [`ReadOp::HintQueues`].
    HintQueues {
        /// Those that are not empty, by primary.
        queues: Vec<HintQueue>,
        /// How many hints lie in quarantine.
        quarantined: u64,
    },
    /// To [`WriteOp::Update`] or [`WriteOp::UpdateHint`]: what was done, and the record as it is now.
    Updated {
        /// What was done.
        applied: Applied,
        /// The record with the write.
        record: Record,
    },
    /// To the writes that update or merge: a bound forbids it; nothing changed.
    Refused(WriteError),
    /// To [`WriteOp::Merge`] or [`WriteOp::MergeHint`].
    Merged {
        /// Whether the record changed, or a hint waits for one primary more.
        changed: bool,
        /// Whether the merged record knows a write of this peer's own that its store had not.
        rolled_back: bool,
        /// Whether the key is damaged, so that what is stored may not be all that was.
        damaged: bool,
    },
    /// To [`WriteOp::MergeMany`]: one for each record, in order.
    MergedMany(Vec<Result<Merged, WriteError>>),
    /// To [`WriteOp::Collect`]: for each key in order whether it may go, or is gone.
    Collected(Vec<bool>),
    /// To [`WriteOp::DropPartition`].
    Dropped {
        /// How many records were removed.
        records: u64,
        /// Whether more of the partition is held.
        more: bool,
    },
    /// To [`WriteOp::DropHint`] or [`WriteOp::QuarantineHint`].
    HintDropped {
        /// Whether the hint left the queue of that primary.
        dropped: bool,
        /// Whether it waited for nobody else: this peer may have forgotten writes that it did as a
        /// fallback.
        gone: bool,
    },
    /// To [`WriteOp::Repair`].
    Repaired,
    /// To [`WriteOp::Save`].
    Saved,
    /// The stored record cannot be read. Its bytes are in quarantine, and the key answers so until
    /// it is repaired; a hint until it is put into quarantine.
    Damaged,
    /// The store failed; nothing changed, or (for a write) it may have.
    Failed(StoreError),
}

impl StoreResult {
    /// Whether the store holds something that it did not hold before, so that a sync is worth its while.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            // A write that is repeated may have made a hint wait for one primary more.
            Self::Updated { .. }
            | Self::Merged { changed: true, .. }
            | Self::Dropped { records: 1.., .. }
            | Self::Repaired
            | Self::Saved => true,
            Self::MergedMany(merged) => merged.iter().any(|m| matches!(m, Ok(m) if m.changed)),
            // What was dropped and comes back in a crash is delivered, or collected, again.
            Self::HintDropped { .. }
            | Self::Collected(_)
            | Self::Dead(_)
            | Self::Merged { changed: false, .. }
            | Self::Dropped { records: 0, .. }
            | Self::Record(_)
            | Self::Records(_)
            | Self::Summaries { .. }
            | Self::Items { .. }
            | Self::Hint(_)
            | Self::Hints { .. }
            | Self::HintQueues { .. }
            | Self::Occupied(_)
            | Self::DamagedKeys(_)
            | Self::Refused(_)
            | Self::Damaged
            | Self::Failed(_) => false,
        }
    }
}

/// What came of one record of a [`WriteOp::MergeMany`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// As in [`StoreResult::Merged`].
    pub changed: bool,
    /// As in [`StoreResult::Merged`].
    pub rolled_back: bool,
    /// As in [`StoreResult::Merged`].
    pub damaged: bool,
    /// Whether what is stored now knows more than the record that came.
    pub ahead: bool,
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

    /// All records as they are now: what is written later does not show in them. Taking them costs
    /// little; while they are held, nothing that they show is freed.
    fn snapshot(&self) -> Records;
}

/// All records of one instant, each with its key, in no particular order; `None` for one that cannot be
/// read. An error is the last item: nothing more can be had, though there may be more.
pub type Records = Box<dyn Iterator<Item = Result<(Key, Option<Record>), StoreError>> + Send>;
