//! Positions on the ring and its equal slices, the partitions.

use std::fmt;

use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cluster::ParamsError;
use crate::limits::PARTITIONS_MAX;

/// A place on the ring: 64 bits, big-endian, of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The first 64 bits, big-endian, of `hash`; missing bytes count as zero.
    #[must_use]
    pub fn of_hash(hash: &[u8]) -> Self {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(hash) {
            *to = *from;
        }
        Self(u64::from_be_bytes(first))
    }

    /// Token `index` of `peer`: SHA-256(peer id ‖ index as 32 bits big-endian).
    #[must_use]
    pub fn of_token(peer: &PeerId, index: u32) -> Self {
        let hash = Sha256::new().chain_update(peer.to_bytes()).chain_update(index.to_be_bytes()).finalize();
        Self::of_hash(hash.as_ref())
    }

    /// The partition that holds this position.
    #[must_use]
    pub fn partition(self, count: PartitionCount) -> Partition {
        let bits = count.bits();
        // A shift by 64 is no shift in Rust: one partition needs its own case.
        Partition(if bits == 0 { 0 } else { u32::try_from(self.0 >> (64 - bits)).unwrap_or(u32::MAX) })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One of Q equal slices of the position space, numbered from position 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl Partition {
    /// The number, for indexing tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Where the partition begins.
    #[must_use]
    pub fn first_position(self, count: PartitionCount) -> Position {
        let bits = count.bits();
        Position(if bits == 0 { 0 } else { u64::from(self.0) << (64 - bits) })
    }

    /// Where the partition ends, itself included.
    #[must_use]
    pub fn last_position(self, count: PartitionCount) -> Position {
        let width = u64::MAX.checked_shr(count.bits()).unwrap_or(0);
        Position(self.first_position(count).0 | width)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Q: how many partitions a ring has. A power of two, 1 to 2^16, fixed when the ring is born.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PartitionCount(u32);

impl PartitionCount {
    /// Checks that `count` is a power of two up to 2^16.
    ///
    /// # Errors
    /// [`ParamsError::Partitions`] otherwise.
    pub fn new(count: u32) -> Result<Self, ParamsError> {
        if count.is_power_of_two() && count <= PARTITIONS_MAX {
            Ok(Self(count))
        } else {
            Err(ParamsError::Partitions { count })
        }
    }

    /// Q itself.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// Q as a length.
    #[must_use]
    pub fn len(self) -> usize {
        self.0 as usize
    }

    /// Never: a ring has at least one partition.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// log2(Q).
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// All partitions in order.
    pub fn all(self) -> impl DoubleEndedIterator<Item = Partition> + ExactSizeIterator {
        (0..self.0).map(Partition)
    }

    /// Whether `partition` is one of this ring's.
    #[must_use]
    pub fn contains(self, partition: Partition) -> bool {
        partition.0 < self.0
    }
}

impl Default for PartitionCount {
    /// 2^14 (our choice: fine enough that 100 peers balance within 5 %).
    fn default() -> Self {
        Self(1 << 14)
    }
}

impl TryFrom<u32> for PartitionCount {
    type Error = ParamsError;

    fn try_from(count: u32) -> Result<Self, ParamsError> {
        Self::new(count)
    }
}

impl From<PartitionCount> for u32 {
    fn from(count: PartitionCount) -> Self {
        count.0
    }
}
