//! What the two peers of a session say to each other.

use bytes::Bytes;
use henge_types::{Key, Partition, Record, RecordDigest, RingId, VotersDigest};
use serde::{Deserialize, Serialize};

/// From the peer that acquires, gives up, or looks whether it is in sync.
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
    /// Do you have just these records of one partition, or none, and may they be forgotten? Answered by
    /// [`Response::Collected`].
    Collect {
        /// The ring of the asking peer.
        ring: RingId,
        /// The partition.
        partition: Partition,
        /// Its voters as the asking peer sees them.
        voters: VotersDigest,
        /// The keys, with the digests of their records. At most [`DEAD_MAX`](crate::DEAD_MAX).
        dead: Vec<(Key, RecordDigest)>,
        /// All voters agreed: forget them.
        forget: bool,
    },
    /// Which of these groups of partitions are other for you? Answered by [`Response::Codes`].
    Groups {
        /// Under what is asked.
        head: Head,
        /// The partitions, rising: packed runs or a bitmap.
        partitions: Bytes,
        /// How many of them, in order, are one group; the last group may have fewer.
        size: u32,
        /// The hash of each group.
        hashes: Bytes,
    },
    /// Which children of these nodes are other for you? Answered by [`Response::Codes`].
    Nodes {
        /// Under what is asked.
        head: Head,
        /// The depth of the nodes.
        depth: u8,
        /// Their indices, rising, packed.
        nodes: Bytes,
        /// The hashes of all children of each.
        hashes: Bytes,
    },
    /// Which of these items do you not have, and which others have you? Answered by [`Response::Items`].
    Items {
        /// Under what is asked.
        head: Head,
        /// The depth of the nodes.
        depth: u8,
        /// Their indices, rising, packed.
        nodes: Bytes,
        /// How many items the asking peer has below each, packed.
        counts: Bytes,
        /// The hashes of these items.
        hashes: Bytes,
    },
    /// Send me the records below these nodes. Answered by [`Response::Records`].
    Fetch {
        /// Under what is asked.
        head: Head,
        /// The depth of the nodes.
        depth: u8,
        /// Their indices, rising, packed.
        nodes: Bytes,
    },
    /// Merge these records, and say so when they are durable. Answered by [`Response::Pushed`].
    Push {
        /// Under what is asked.
        head: Head,
        /// The records.
        records: Vec<(Key, Record)>,
    },
}

impl Request {
    /// The records that it carries.
    #[must_use]
    pub fn records(&self) -> &[(Key, Record)] {
        match self {
            Self::Push { records, .. } => records,
            Self::Compare { .. }
            | Self::Groups { .. }
            | Self::Nodes { .. }
            | Self::Items { .. }
            | Self::Fetch { .. }
            | Self::Collect { .. } => &[],
        }
    }
}

/// Under what a peer asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The ring of the asking peer.
    pub ring: RingId,
    /// Goes into every hash, so that a collision is none in the next session.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 8],
    /// Bytes of each hash.
    pub width: u8,
    /// Whether what is the same at both is to be durable there before the answer.
    pub durable: bool,
    /// The digests of the voters of each partition concerned, rising by partition, as the asking
    /// peer sees them; `None` where whoever has custody may answer.
    pub voters: Option<Bytes>,
}

/// From the other peer. `stale` are the partitions concerned for which this is no answer, packed: it
/// sees other voters, has no custody, or, under voters, has keys there that it cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// One answer for each entry, in order.
    Compared {
        /// The answers.
        answers: Vec<Answer>,
    },
    /// Whether each of the records may be forgotten, or is.
    Collected {
        /// One for each in order; none where this peer sees other voters, or may forget nothing there now.
        agreed: Vec<bool>,
    },
    /// How what was asked about stands.
    Codes {
        /// No answer for these.
        stale: Bytes,
        /// A code for each group or child, packed.
        codes: Bytes,
    },
    /// What differs below the nodes.
    Items {
        /// No answer for these.
        stale: Bytes,
        /// For each node in order: 1 more than the number of items that only this peer has, or 0
        /// where it has too many to tell; unless 0, a bit for each of the items asked about, set if it
        /// is not here, and for each other item its tag (4 bytes) and when its youngest sibling was
        /// written (6 bytes).
        found: Bytes,
    },
    /// What was asked for.
    Records {
        /// No answer for these.
        stale: Bytes,
        /// How many of the nodes this answers.
        covered: u32,
        /// All records below those that can be read, and perhaps some below the next.
        records: Vec<(Key, Record)>,
    },
    /// What was merged is durable.
    Pushed {
        /// No answer for these; nothing of them was merged.
        stale: Bytes,
        /// A code for each record, packed.
        codes: Bytes,
    },
    /// Not a member of that ring, over a bound, or the store failed.
    Refused,
}

impl Response {
    /// The records that it carries.
    #[must_use]
    pub fn records(&self) -> &[(Key, Record)] {
        match self {
            Self::Records { records, .. } => records,
            Self::Compared { .. }
            | Self::Codes { .. }
            | Self::Items { .. }
            | Self::Pushed { .. }
            | Self::Collected { .. }
            | Self::Refused => &[],
        }
    }
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

/// Codes of [`Response::Codes`].
pub(crate) mod code {
    pub(crate) const EQUAL: u8 = 0;
    pub(crate) const DIFFERS: u8 = 1;
    /// It differs, and there is nothing at all here.
    pub(crate) const EMPTY: u8 = 2;

    /// Of [`super::Response::Pushed`]: what is stored is what came.
    pub(crate) const STORED: u8 = 0;
    /// What is stored knows more.
    pub(crate) const AHEAD: u8 = 1;
    /// Over a bound.
    pub(crate) const REFUSED: u8 = 2;
}
