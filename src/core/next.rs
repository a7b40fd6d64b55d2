//! What the core does when an effect comes back.

use henge_quorum::Want;
use henge_types::{Key, Partition, PeerId, VotersDigest};

use super::collecting::Collects;
use super::io::ChannelId;
use super::operations::Origin;
use super::syncing::{Asker, SyncId};
use super::weighing::Weighed;
use crate::store::Ticket;

/// Numbers the operations of clients and of the core itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OpId(pub(super) u64);

/// Which attempt of an operation an answer belongs to; answers to earlier ones are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attempt {
    pub(super) op: OpId,
    pub(super) number: u32,
}

/// When a store operation was executed.
#[derive(Debug)]
pub(super) enum AfterStore {
    /// The coordinator's own part of a read.
    OwnRead { attempt: Attempt },
    /// What the coordinator itself keeps of a key for others.
    KeptHere { attempt: Attempt },
    /// The coordinator's own part of a write.
    OwnWrite { attempt: Attempt },
    /// Another peer's read.
    Read { under: Under, key: Key, want: Want },
    /// Another peer's write.
    Write { under: Under, key: Key },
    /// Another peer reads what is kept of a key.
    Hint { channel: ChannelId, key: Key },
    /// Another peer's record, to be kept for a voter that is away.
    Keep { channel: ChannelId, key: Key, primary: PeerId },
    /// The same, and nobody waits for it.
    Kept { key: Key, primary: PeerId },
    /// A voter did not take an acknowledged write: what there is of it is to be kept for it.
    KeepLater { key: Key, primary: PeerId },
    /// Read repair of the local record, or nothing that anybody waits for.
    Repair { partition: Partition, key: Key },
    /// A damaged key got what the other replicas have.
    Undamage { key: Key },
    /// Another peer compares partitions.
    Compare { channel: ChannelId, entries: Vec<(Partition, VotersDigest)> },
    /// A session of range sync asked; `merged` are the keys of what was to be merged, and whether each was.
    Sync { asker: Asker, merged: Vec<(Key, bool)> },
    /// Which keys are damaged.
    DamagedKeys,
    /// Whether partitions that are being given up hold records.
    GiveUp,
    /// Whether partitions without custody hold records: what a crash left.
    Leftovers,
    /// A part of a partition without custody is gone.
    Freed { partition: Partition },
    /// What waits for whom.
    HintQueues,
    /// A part of a queue of hints.
    Hints { primary: PeerId },
    /// A hint that this peer is to have itself by now.
    OwnHint { primary: PeerId, key: Key },
    /// A hint that was handed over.
    HintDropped { primary: PeerId },
    /// A hint that is not handed over any more, found in a queue (`queued`) or otherwise.
    HintQuarantined { primary: PeerId, key: Key, queued: bool },
    /// One record of another peer's delivery of hints.
    Taken { channel: ChannelId, at: usize, partition: Partition, key: Key },
    /// Whether a hint is left, as of the write `after`.
    LastHints { after: Ticket },
    /// What is dead in some partitions.
    Dead,
    /// What may be forgotten, or is.
    Collected { asker: Collects, forget: bool },
    /// A piece of metadata is saved.
    Saved(Save),
    /// The weight is saved.
    Weight { origin: Origin, weighed: Weighed },
}

/// When a write is durable.
#[derive(Debug)]
pub(super) enum AfterSync {
    /// The coordinator's own ack.
    OwnWrite { op: OpId },
    /// What a save was for.
    Saved(Save),
    /// The weight that was asked for.
    Weight { origin: Origin, weighed: Weighed },
    /// A hint that this peer has itself now.
    OwnHint { primary: PeerId, key: Key },
    /// One record of another peer's delivery of hints.
    Taken { channel: ChannelId, at: usize },
    /// The ack of another peer's write.
    Write { under: Under },
    /// What a session of range sync merged, or read.
    Sync { asker: Asker, known: henge_sync::Known },
    /// The ack of a record that is kept for a voter that is away.
    Keep { channel: ChannelId },
    /// What may be forgotten, or is.
    Collected { asker: Collects, forget: bool, agreed: Vec<bool> },
}

/// Under what a replica was asked, and must still be when it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Under {
    pub(super) channel: ChannelId,
    pub(super) partition: Partition,
    pub(super) voters: VotersDigest,
    pub(super) strict: bool,
}

/// Which piece of metadata was saved, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Save {
    /// Counters: dots and member records are reserved up to here.
    Counters { dots: u64, records: Option<henge_membership::Reservation> },
    /// The identity of the ring: nobody waits, the reservation that follows is synced after it.
    Ring,
    /// Custody and actors, as of this change of them, with the stretches below this one.
    Custody { change: u64, stretches: u64 },
    /// The members known, as they were at this generation of the view.
    View { generation: u64 },
    /// The last save: everything before it is synced with it.
    Stop,
}

/// When a peer answered a request, or did not.
#[derive(Debug)]
pub(super) enum AfterRequest {
    /// A message of the membership protocol.
    Membership { token: henge_membership::Token },
    /// A read of an operation.
    Read { attempt: Attempt },
    /// What a stand-in keeps.
    Hint { attempt: Attempt },
    /// A write of an operation. `covered`: a hint is kept for that voter already.
    Write { attempt: Attempt, key: Key, covered: bool },
    /// A record of an operation, to be kept for `primary`.
    Keep { attempt: Attempt, key: Key, primary: PeerId },
    /// A read repair: nobody waits for it.
    Repair,
    /// An operation handed to a replica.
    Forward { attempt: Attempt },
    /// A comparison of partitions.
    Compare,
    /// A voter's word on records that are dead.
    Collect { partition: Partition },
    /// A request of a session of range sync.
    Session { id: SyncId },
    /// Hints for `primary`, brought to it or to the voters there are.
    Deliver { primary: PeerId, keys: Vec<Key> },
}

/// What a timer wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The time of an operation is over.
    Deadline(OpId),
    /// A read takes long: ask one more.
    Hedge(OpId, u32),
    /// An operation takes too long: do without those that do not answer.
    Late(OpId, u32),
    /// Plan an operation again.
    Replan(OpId, u32),
    /// Look at custody again.
    Rebalance,
    /// Compare what is held with another member.
    AntiEntropy,
    /// Look again at what a repair waits for.
    Repair,
    /// Look whether members are gone, this one included.
    Gone,
    /// Look for members to dial.
    Links,
    /// Save again what could not be saved.
    SaveAgain,
    /// Look for whom hints wait.
    LookForHints,
    /// Hand over more hints.
    DeliverHints,
    /// Look what is dead and may be forgotten.
    Collect,
}

impl AfterRequest {
    /// The attempt of an operation that waits for the answer.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Read { attempt }
            | Self::Hint { attempt }
            | Self::Write { attempt, .. }
            | Self::Keep { attempt, .. }
            | Self::Forward { attempt } => Some(*attempt),
            Self::Membership { .. }
            | Self::Repair
            | Self::Compare
            | Self::Collect { .. }
            | Self::Session { .. }
            | Self::Deliver { .. } => None,
        }
    }

    /// Whether a healthy peer answers it without waiting for others, so that silence says something.
    pub(super) fn is_quick(&self) -> bool {
        match self {
            Self::Membership { .. }
            | Self::Read { .. }
            | Self::Hint { .. }
            | Self::Write { .. }
            | Self::Keep { .. }
            | Self::Repair => true,
            Self::Forward { .. }
            | Self::Compare
            | Self::Collect { .. }
            | Self::Session { .. }
            | Self::Deliver { .. } => false,
        }
    }
}
