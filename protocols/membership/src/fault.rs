//! What a remote did wrong, and how often anything was refused.

use henge_types::{AccusationError, DecodeError, MemberError, PeerId, RingId};
use thiserror::Error;

/// What a remote did that an honest peer of this ring does not do. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A record of another ring, or a message for one.
    #[error("it speaks for the ring {ring}")]
    OtherRing {
        /// That ring.
        ring: RingId,
    },
    /// The same ring id, but another secret.
    #[error("it has another secret for the same ring")]
    OtherSecret,
    /// A record that nobody can have signed.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// An accusation that nobody can have signed.
    #[error(transparent)]
    Accusation(#[from] AccusationError),
    /// Accusations of another ring, another peer or another life than the record that they came with.
    #[error("accusations that are not against the record of {peer} that they came with")]
    Accused {
        /// Whose record.
        peer: PeerId,
    },
    /// The custody map is not the one that the record speaks of.
    #[error("a custody map that is not the one of the record of {peer}")]
    Custody {
        /// Whose record.
        peer: PeerId,
    },
    /// A message over a bound.
    #[error("{count} {what} in one message, at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there were.
        count: usize,
        /// How many may be there.
        max: usize,
    },
    /// A gossip payload that cannot be read.
    #[error("a gossip payload that cannot be read: {0}")]
    Undecodable(DecodeError),
    /// A response of another kind than its request.
    #[error("a response that does not answer its request")]
    WrongResponse,
    /// No room for another member. No fault of the sender: counted, not reported.
    #[error("the view is full: {peer} is left out")]
    ViewFull {
        /// The member left out.
        peer: PeerId,
    },
}

/// How often things happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Updates about a member that was unknown.
    pub new: u64,
    /// Updates that were newer than what was known.
    pub newer: u64,
    /// Updates that were known.
    pub same: u64,
    /// Updates older than what was known: replays, or news that came by a longer way.
    pub older: u64,
    /// Records of lives that an eviction had ended.
    pub evicted: u64,
    /// Evictions that became known.
    pub evictions: u64,
    /// Two different records with the same incarnation and counter, or a record of this peer
    /// that it did not write: two processes run with one identity, or a store was rolled back.
    pub conflicts: u64,
    /// Everything that became a [`Fault`], those left out of the actions included.
    pub faults: u64,
    /// Members left out because the view was full.
    pub view_full: u64,
    /// Requests that were answered with a refusal.
    pub refused: u64,
    /// Connected peers that were not looked after, because there were too many.
    pub links_full: u64,
}
