//! Where the records of a store come from, for the peer that starts with them.

use std::time::Duration;

use henge_types::codec::Stored;
use henge_types::{ClusterParams, CustodyMap, RingId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The snapshots that a store was restored from. It means something until the peer is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The ring that they are of.
    pub ring: RingId,
    /// Its parameters.
    pub params: ClusterParams,
    /// When the oldest of them was taken, in milliseconds of Unix time.
    pub taken_unix_ms: u64,
    /// Which partitions have records: *part*, the others *none*.
    pub custody: CustodyMap,
    /// Whether it is to join that ring, and not to begin a new one.
    pub joins: bool,
}

impl Stored for Origin {
    const VERSION: u8 = 1;
}

/// Why a ring cannot take records in as they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// What was deleted since may be forgotten by now, and would come back.
    #[error(
        "the snapshot is {} h old, and the ring remembers what was deleted for {} h only, of which half must be \
         left: deleted keys could come back. Join with an empty directory, and import what is missing: henge quarantine SNAPSHOT --import",
        age.as_secs() / 3600, grace.as_secs() / 3600
    )]
    TooOld {
        /// How old it is.
        age: Duration,
        /// For how long tombstones are kept.
        grace: Duration,
    },
    /// Its clocks say nothing about the records of another ring.
    #[error(
        "the snapshot is of ring {snapshot}, and this is ring {joined}. Join with an empty directory, and import \
         what is missing: henge quarantine SNAPSHOT --import"
    )]
    OtherRing {
        /// The ring of the snapshot.
        snapshot: RingId,
        /// The ring that was joined.
        joined: RingId,
    },
}

impl Origin {
    /// Whether this may go into ring `joined`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, joined: RingId, now_unix_ms: u64, grace: Duration) -> Result<(), Refusal> {
        if self.ring != joined {
            return Err(Refusal::OtherRing { snapshot: self.ring, joined });
        }
        check_age(self.taken_unix_ms, now_unix_ms, grace)
    }
}

/// Whether what was taken then may go back to its ring, which remembers for `grace` what was deleted. Half of that must
/// be left, as for hints: the peer that it was taken of may have been behind, and clocks differ.
///
/// # Errors
/// [`Refusal::TooOld`].
pub(crate) fn check_age(taken_unix_ms: u64, now_unix_ms: u64, grace: Duration) -> Result<(), Refusal> {
    // What lies ahead, by another clock, has no age.
    let age = Duration::from_millis(now_unix_ms.saturating_sub(taken_unix_ms));
    if age < grace / 2 { Ok(()) } else { Err(Refusal::TooOld { age, grace }) }
}
