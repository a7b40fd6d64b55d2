//! Comparing whole partitions between peers.
//!
//! A peer that acquires a partition asks the voters that have it, under one digest of voters that
//! includes itself, what they hold. Where they hold nothing, there is nothing to move, and the
//! partition is acquired at once.
//!
//! | request | answer |
//! |---|---|
//! | [`Request::Compare`] | [`Response::Compared`], an [`Answer`] for each entry in order |
//!
//! Limits: [`ENTRIES_MAX`] partitions in a request.

use henge_types::{Partition, RingId, VotersDigest};
use serde::{Deserialize, Serialize};

/// The name of the protocol, between the cluster's name and the version.
pub const PROTOCOL: &str = "sync/1";

/// Most partitions in one [`Request::Compare`].
pub const ENTRIES_MAX: usize = 1 << 14;

/// Largest frame, in bytes.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

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
