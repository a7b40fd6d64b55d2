//! What a peer tells about its ring.

use henge_types::{
    ClusterParams, Custody, Incarnation, MemberState, Multiaddr, Partition, PeerId, Position, RingId, Zone,
};
use serde::{Deserialize, Serialize};

/// Accusers named for each member: in a large ring, all come to accuse one that is gone.
pub const ACCUSERS_MAX: usize = 16;

/// The ring as one peer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The peer that tells.
    pub peer: PeerId,
    /// The cluster's name.
    pub cluster: String,
    /// Its ring; none while it has not joined.
    pub ring: Option<RingId>,
    /// The parameters of the ring.
    pub params: Option<ClusterParams>,
    /// All members that it knows, by peer id.
    pub members: Vec<Member>,
    /// Records that this peer keeps for others while they are down, by peer; as they were within the
    /// last second or so.
    pub hints: Vec<HintQueue>,
    /// What happened at this peer since its start: a name, and how often.
    pub counters: Vec<(String, u64)>,
}

/// What waits at a peer for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintQueue {
    /// For whom.
    pub primary: PeerId,
    /// How many records.
    pub count: u64,
    /// About how many bytes.
    pub bytes: u64,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_age_ms: u64,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// In which life of its store.
    pub incarnation: Incarnation,
    /// What it wants to be.
    pub state: MemberState,
    /// How far it is.
    pub phase: MemberPhase,
    /// Its share of the ring.
    pub weight: u16,
    /// Its failure domain.
    pub zone: Option<Zone>,
    /// Since when its last heartbeat is known, in milliseconds; 0 for the peer that tells.
    pub heartbeat_age_ms: u64,
    /// Whether the peer that tells has a connection to it.
    pub connected: bool,
    /// How many partitions the placement gives it.
    pub partitions: u32,
    /// How many partitions it has in full.
    pub full: u32,
    /// How many partitions it has in part.
    pub part: u32,
    /// About how many records it stores.
    pub keys: u64,
    /// Where it can be dialled.
    pub addresses: Vec<Multiaddr>,
    /// Whether it is taken to be gone, because enough members accuse it.
    pub down: bool,
    /// The members that say they hear nothing of it, up to [`ACCUSERS_MAX`], the longest known first.
    /// Fewer than it takes do not make it [`Member::down`].
    pub accusers: Vec<Accuser>,
}

/// A member that says it hears nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuser {
    /// Who says so.
    pub peer: PeerId,
    /// Since when the peer that tells knows of it, in milliseconds.
    pub since_ms: u64,
}

/// How far a member is with what it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberPhase {
    /// Full for all that it owns, and nothing besides.
    Settled,
    /// Not full for all that it owns.
    Joining,
    /// Full for all that it owns, and still has what it no longer owns.
    Moving,
    /// Gives up what it has.
    Leaving,
    /// Has given everything up.
    Left,
}

/// A snapshot that a peer takes or took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where, on the host of the peer.
    pub directory: String,
    /// Of when, in milliseconds of Unix time.
    pub taken_at: u64,
    /// Records written so far.
    pub records: u64,
    /// About how many there will be.
    pub records_expected: u64,
    /// Bytes written so far.
    pub bytes: u64,
    /// Keys that cannot be read, and are left out.
    pub damaged: u64,
    /// How far it is.
    pub state: SnapshotState,
}

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// It is being written.
    Running,
    /// It is complete, and outlives a crash.
    Done,
    /// It was given up, and what was written is removed.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Where a key lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The key's position.
    pub position: Position,
    /// Its partition.
    pub partition: Partition,
    /// The partition's voters: the preference list in order, then whoever still has custody.
    pub voters: Vec<LocatedVoter>,
}

/// One voter of a key's partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedVoter {
    /// Who.
    pub peer: PeerId,
    /// Whether the placement gives it the partition.
    pub owner: bool,
    /// What it has of it.
    pub custody: Custody,
    /// Its failure domain.
    pub zone: Option<Zone>,
}
