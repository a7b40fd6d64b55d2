//! What coordinator and replica say to each other.

use std::fmt;

use henge_types::{CustodyMap, Key, PeerId, Record, RecordDigest, RingId, SignedMember, VotersDigest};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::STALE_MEMBERS_MAX;

/// From the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Merge this record into yours.
    Write {
        /// The ring that the coordinator is a member of.
        ring: RingId,
        /// The voters of the key's partition as the coordinator sees them.
        voters: VotersDigest,
        /// The key.
        key: Key,
        /// What the coordinator has of it.
        record: Record,
        /// Whether only a voter that holds its lease may acknowledge.
        strict: bool,
    },
    /// Say what you have.
    Read {
        /// The ring that the coordinator is a member of.
        ring: RingId,
        /// The voters of the key's partition as the coordinator sees them.
        voters: VotersDigest,
        /// The key.
        key: Key,
        /// The record or its digest.
        want: Want,
        /// Whether only a voter that holds its lease may answer.
        strict: bool,
    },
    /// Keep this record for a voter that is away, and hand it over when it is back. The answer is
    /// [`Response::Written`].
    Keep {
        /// The ring that the coordinator is a member of.
        ring: RingId,
        /// The voter that you stand in for.
        primary: PeerId,
        /// The key.
        key: Key,
        /// What the coordinator has of it.
        record: Record,
    },
    /// Say what you keep of this key for voters that are away. The answer is [`Response::Hint`].
    Hint {
        /// The ring that the coordinator is a member of.
        ring: RingId,
        /// The key.
        key: Key,
    },
}

/// What a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// The whole record.
    Record,
    /// Its digest: enough where the coordinator has the record from another replica.
    Digest,
}

/// From the replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The write is merged and durable.
    Written,
    /// The record; empty where there is none.
    Record(Record),
    /// Its digest.
    Digest(RecordDigest),
    /// What a stand-in keeps; none where it has no hint of the key.
    Hint(Option<Record>),
    /// The replica sees other voters; a write was merged if it has custody.
    Stale {
        /// Its voters' member records, with the custody maps that it holds of them: up to
        /// [`STALE_MEMBERS_MAX`], more cannot be read.
        #[serde(deserialize_with = "few_members")]
        members: Vec<(SignedMember, CustodyMap)>,
    },
    /// The replica does not answer for the key.
    Refused(Refusal),
}

/// Why a replica does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// It is a member of another ring.
    #[error("it is a member of another ring, {ring}")]
    OtherRing {
        /// Its ring.
        ring: RingId,
    },
    /// It is not a member yet, or no more.
    #[error("it is no member of the ring")]
    NotMember,
    /// Its record of the key cannot be read and is being repaired.
    #[error("its record of the key is damaged and being repaired")]
    Damaged,
    /// The merged record would be too large.
    #[error("the merged record would be too large")]
    TooLarge,
    /// Its store failed.
    #[error("its store failed")]
    Store,
    /// It keeps as much for this voter as it may: one more hint would be the only copy.
    #[error("it keeps as much for the absent voter as it may")]
    HintsFull,
    /// Too few members have spoken to it of late: it may have been evicted, and answers no strict
    /// request.
    #[error("it has no lease: too few members have spoken to it of late")]
    NoLease,
    /// It has too much to do.
    #[error("it has too many requests under way")]
    Overloaded,
}

// A custody map of 64 KiB takes six bytes of a message: the bound has to hold while it is read.
fn few_members<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(SignedMember, CustodyMap)>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<(SignedMember, CustodyMap)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "up to {STALE_MEMBERS_MAX} members")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = entries.next_element()? {
                if members.len() == STALE_MEMBERS_MAX {
                    return Err(A::Error::custom("too many members"));
                }
                members.push(member);
            }
            Ok(members)
        }
    }

    d.deserialize_seq(Few)
}
