//! What a fallback and a voter say to each other.

use std::fmt;
use std::marker::PhantomData;

use henge_types::{Key, Record, RingId};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::DELIVER_MAX;

/// From the peer that has hints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Merge these records into yours.
    Deliver {
        /// The ring that the sender is a member of.
        ring: RingId,
        /// Keys and records, up to [`DELIVER_MAX`]; more cannot be read.
        #[serde(deserialize_with = "few")]
        records: Vec<(Key, Record)>,
    },
}

/// From a voter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// What became of each record, in order. What was merged is durable.
    Delivered {
        /// One for each record.
        #[serde(deserialize_with = "few")]
        results: Vec<Outcome>,
    },
    /// Nothing was merged.
    Refused(Refusal),
}

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is merged and durable.
    Merged,
    /// The receiver has no custody of its partition.
    NotVoter,
    /// The merged record would be too large.
    TooLarge,
    /// The receiver's store failed.
    Failed,
}

/// Why a delivery was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The receiver is not a member yet, or no more.
    #[error("it is no member of the ring")]
    NotMember,
    /// It is a member of another ring.
    #[error("it is a member of another ring, {ring}")]
    OtherRing {
        /// Its ring.
        ring: RingId,
    },
    /// It has too much to do.
    #[error("it has too many requests under way")]
    Overloaded,
}

// A record of four bytes takes some hundred in memory: the bound has to hold while it is read.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "up to {DELIVER_MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut few = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if few.len() == DELIVER_MAX {
                    return Err(A::Error::custom("too many entries"));
                }
                few.push(entry);
            }
            Ok(few)
        }
    }

    deserializer.deserialize_seq(Few(PhantomData))
}
