//! Comparing whole partitions between peers.
//!
//! A peer that acquires a partition asks the voters that have it, under one digest of voters that
//! includes itself, what they hold. Where they hold nothing, there is nothing to move, and the
//! partition is acquired at once.
//!
//! | request | answer |
//! |---|---|
//! | [`Request::Compare`] | [`Response::Compared`], an [`Answer`] for each entry in order; [`Response::Refused`] |
//!
//! A voter looks at the digest of voters when it answers, not when it is asked. Like all that is asked of
//! a replica, it is [`Answer::Stale`] under other voters.
//!
//! Limits: [`ENTRIES_MAX`] partitions in a request, [`FRAME_MAX_BYTES`] in a frame. Bytes:
//! `protocols/henge.cddl`.

use henge_types::{Partition, RingId, VotersDigest};
use serde::{Deserialize, Serialize};

/// The protocol and its version: what follows the cluster in `/henge/<cluster>/sync/1`.
pub const PROTOCOL: &str = "sync/1";

/// Most partitions in one [`Request::Compare`].
pub const ENTRIES_MAX: usize = 1 << 14;

/// Largest frame, in bytes: a request with [`ENTRIES_MAX`] entries, and as much again.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

// A pair of a partition (up to 5 bytes) and a digest (17); an answer takes up to 9.
const _: () = assert!(2 * ENTRIES_MAX * 23 < FRAME_MAX_BYTES);

/// From the peer that acquires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What do you hold of these partitions?
    Compare {
        /// The ring of the asking peer.
        ring: RingId,
        /// The partitions, each with the voters as the asking peer sees them.
        entries: Vec<(Partition, VotersDigest)>,
    },
}

/// From a voter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// One answer for each entry, in order.
    Compared {
        /// The answers.
        answers: Vec<Answer>,
    },
    /// Not a member of that ring, over a bound, or the store failed.
    Refused,
}

/// What a voter holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It sees other voters, or has no custody: no answer.
    Stale,
    /// No record at all.
    Empty,
    /// Records.
    Occupied,
}
