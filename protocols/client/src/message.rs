//! What a client and a peer say to each other.

use bytes::Bytes;
use henge_types::limits::{KEY_MAX_BYTES, SIBLINGS_MAX, VALUE_MAX_BYTES};
use henge_types::{Context, ContextError, Key, OperationId, Partition, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::repair::{Repair, RepairId};
use crate::status::{Located, Snapshot, Status};

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Write a value.
    Put {
        /// The key.
        key: Key,
        /// The value, up to 1 MiB.
        value: Bytes,
        /// When it expires, in milliseconds from when the coordinator takes it; 0 is refused.
        ttl_ms: Option<u64>,
        /// How.
        options: WriteOptions,
    },
    /// Write a tombstone.
    Delete {
        /// The key.
        key: Key,
        /// How.
        options: WriteOptions,
    },
    /// Read the siblings.
    Get(Get),
    /// Tell who is in the ring.
    Status,
    /// Leave the ring: give up all that you have, and then be no member any more.
    Leave,
    /// Evict a member that will not come back.
    Remove {
        /// Who.
        peer: PeerId,
        /// Even if it is not down for the lease, or its data would have too few copies.
        force: bool,
    },
    /// Take another share of the ring.
    Weight {
        /// 1 to 64.
        weight: u16,
    },
    /// Compare what you have with all others that have it too, now. One that is under way goes on, and is
    /// what the answer tells of.
    Repair {
        /// Only this partition.
        partition: Option<Partition>,
    },
    /// Tell how far a repair is.
    RepairProgress {
        /// Which.
        id: RepairId,
    },
    /// Tell how far the snapshot is that is being taken, or what became of the last one; take one first,
    /// if it says so.
    Snapshot {
        /// What to begin; the same again while it is taken changes nothing.
        begin: Option<BeginSnapshot>,
    },
    /// Tell where a key lives.
    Locate {
        /// The key.
        key: Key,
    },
}

/// Which snapshot to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginSnapshot {
    /// Where on the host of the peer: an absolute path, up to 4,096 bytes, that does not exist or is an
    /// empty directory.
    pub directory: String,
    /// How many bytes to write in a second, 1 or more.
    pub bytes_per_second: u64,
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The key.
    pub key: Key,
    /// R; the cluster's where none is given.
    pub quorum: Option<u8>,
    /// Count voters only, no stand-ins.
    pub strict: bool,
    /// How long it may take, in milliseconds, 1 to 60,000.
    pub timeout_ms: u32,
}

/// How a put or delete is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOptions {
    /// What it supersedes.
    pub supersede: Supersede,
    /// W; the cluster's where none is given.
    pub quorum: Option<u8>,
    /// Count voters only, no stand-ins.
    pub strict: bool,
    /// Names the operation over all its tries: random, chosen by the client.
    pub operation: OperationId,
    /// Whether an earlier try of this operation may have reached a peer.
    pub retry: bool,
    /// How long it may take, in milliseconds, 1 to 60,000.
    pub timeout_ms: u32,
    /// Whether a client or a peer sends it.
    pub hop: Hop,
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// A client: the peer forwards it if it is no replica of the key.
    Client,
    /// A peer that is no replica: it is not forwarded again.
    Forwarded,
    /// A peer that reaches no replica: whoever gets it stands in for one, and does not forward it.
    StandIn,
}

/// What a put or delete supersedes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supersede {
    /// What the reader saw who got this context.
    Context(Context),
    /// What a quorum has now; the coordinator reads it first.
    Current,
    /// Nothing: it becomes one more sibling.
    Blind,
}

/// From the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The write is acknowledged.
    Written {
        /// The context of what the key holds now, as the coordinator knows it: also of siblings
        /// that the writer did not see, if there are any.
        context: Context,
        /// How many replicas had it durably when this was sent.
        acks: u32,
        /// How many of them stood in for a voter.
        hinted: u32,
    },
    /// The key's values.
    Found {
        /// To put over all of them.
        context: Context,
        /// One, or several that were written concurrently.
        siblings: Vec<Value>,
        /// How many replicas and stand-ins this rests on.
        answers: u32,
        /// How many of them stood in for a voter.
        hinted: u32,
    },
    /// No value.
    NotFound {
        /// To put over the tombstones that there may be.
        context: Context,
        /// How many replicas and stand-ins this rests on.
        answers: u32,
        /// How many of them stood in for a voter.
        hinted: u32,
    },
    /// Who is in the ring.
    Status(Status),
    /// Where a key lives.
    Located(Located),
    /// How far a repair is.
    Repair(Repair),
    /// How far the snapshot is; `None` if none was taken since the peer started.
    Snapshot(Option<Snapshot>),
    /// It is begun; the status tells how far it is.
    Accepted,
    /// Not done.
    Failed(Failure),
}

/// One sibling of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The bytes that were put.
    pub value: Bytes,
    /// When, in milliseconds of Unix time, by the coordinator's clock.
    pub written_at: u64,
    /// When it expires, in milliseconds of Unix time.
    pub expires_at: Option<u64>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// Too few replicas could answer. Nothing was promised, yet some replica may hold a write.
    #[error("unavailable: {needed} replicas needed, {got} answered; try again, or ask for a smaller quorum")]
    Unavailable {
        /// How many answers were needed.
        needed: u32,
        /// How many came.
        got: u32,
    },
    /// The time ran out after a write was sent.
    #[error(
        "outcome unknown: the time ran out after the write was sent ({got} of {needed} replicas answered); it may appear later, and the same operation may be tried again"
    )]
    Unknown {
        /// How many acks were needed.
        needed: u32,
        /// How many came.
        got: u32,
    },
    /// The value is over 1 MiB.
    #[error("the value has {bytes} bytes: a value has up to {VALUE_MAX_BYTES} bytes")]
    ValueTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The key's siblings would be over 4 MiB together.
    #[error(
        "the key's siblings would take {bytes} bytes together: get it, and put with the context of that get"
    )]
    RecordTooLarge {
        /// The size it would have.
        bytes: u64,
    },
    /// The key has too many siblings, or too long a clock.
    #[error(
        "the key has {siblings} concurrent values already (limit {SIBLINGS_MAX}): get it, and put with the context of that get"
    )]
    TooManySiblings {
        /// How many there are.
        siblings: u64,
    },
    /// Too many actors wrote the key.
    #[error(
        "the key's clock has {entries} entries already: delete the key, and put it anew once the tombstone is collected"
    )]
    ClockFull {
        /// How many there are.
        entries: u64,
    },
    /// The context is not one of this ring and key.
    #[error("{0}")]
    BadContext(BadContext),
    /// A number in the request is out of range.
    #[error("bad request: {reason}")]
    BadRequest {
        /// Which, and what it may be.
        reason: String,
    },
    /// The peer has not joined a ring yet.
    #[error("the peer has not joined its ring yet: try again in a moment")]
    NotReady,
    /// The peer has too many requests under way.
    #[error("the peer has too many requests under way: try again in a moment")]
    Overloaded,
    /// The peer's store failed.
    #[error("the peer's store failed: {reason}")]
    Store {
        /// What it said.
        reason: String,
    },
    /// Asked of a peer by a peer that took it for a replica.
    #[error("the peer is no replica of the key")]
    NotReplica,
}

/// Why a context is refused, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BadContext {
    /// See [`ContextError::Malformed`].
    #[error("{}", ContextError::Malformed)]
    Malformed,
    /// See [`ContextError::OtherRing`].
    #[error("{}", ContextError::OtherRing)]
    OtherRing,
    /// See [`ContextError::OtherKey`].
    #[error("{}", ContextError::OtherKey)]
    OtherKey,
    /// See [`ContextError::Forged`].
    #[error("{}", ContextError::Forged)]
    Forged,
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        Self::BadContext(match error {
            ContextError::OtherRing => BadContext::OtherRing,
            ContextError::OtherKey => BadContext::OtherKey,
            ContextError::Forged => BadContext::Forged,
            // `ContextError` may grow; whatever it is, the token cannot be used.
            ContextError::Malformed | ContextError::Version { .. } | _ => BadContext::Malformed,
        })
    }
}

const _: () = assert!(KEY_MAX_BYTES + VALUE_MAX_BYTES < crate::FRAME_MAX_BYTES);
