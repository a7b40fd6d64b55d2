//! Custody: what a peer says itself that it has of each partition.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::position::{Partition, PartitionCount};

/// What a peer has of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Custody {
    /// Nothing: it stores and answers nothing of the partition.
    #[default]
    None,
    /// What was written since it became an owner.
    Part,
    /// Everything.
    Full,
}

/// The custody of one peer for every partition: two bits each.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct CustodyMap {
    entries: Vec<Custody>,
}

/// The first 128 bits of the SHA-256 of a custody map. Heartbeats carry it; the map is fetched
/// when the digest is new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CustodyDigest(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for CustodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl CustodyMap {
    /// The map that says `custody` of every partition.
    #[must_use]
    pub fn uniform(count: PartitionCount, custody: Custody) -> Self {
        Self { entries: vec![custody; count.len()] }
    }

    /// How many partitions it speaks of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it speaks of no partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the peer has of `partition`; [`Custody::None`] beyond the map.
    #[must_use]
    pub fn get(&self, partition: Partition) -> Custody {
        self.entries.get(partition.index()).copied().unwrap_or_default()
    }

    /// Sets what the peer has of `partition`. Beyond the map nothing happens.
    pub fn set(&mut self, partition: Partition, custody: Custody) {
        if let Some(entry) = self.entries.get_mut(partition.index()) {
            *entry = custody;
        }
    }

    /// All partitions with what the peer has of them.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Custody)> {
        (0..).map(Partition).zip(self.entries.iter().copied())
    }

    /// How many partitions the peer has in this way.
    #[must_use]
    pub fn count(&self, custody: Custody) -> usize {
        self.entries.iter().filter(|c| **c == custody).count()
    }

    /// The digest that heartbeats carry.
    #[must_use]
    pub fn digest(&self) -> CustodyDigest {
        let hash = Sha256::new()
            .chain_update((self.entries.len() as u64).to_be_bytes())
            .chain_update(self.packed())
            .finalize();
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(hash) {
            *to = from;
        }
        CustodyDigest(digest)
    }

    // Four to a byte, the first in the lowest bits; the last byte is filled with zeros.
    fn packed(&self) -> Vec<u8> {
        self.entries
            .chunks(4)
            .map(|four| four.iter().rev().fold(0, |byte, c| (byte << 2) | *c as u8))
            .collect()
    }
}

impl fmt::Debug for CustodyMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, full) = (self.count(Custody::Part), self.count(Custody::Full));
        write!(f, "CustodyMap({full} full, {part} part of {})", self.len())
    }
}

const UNIFORM: u8 = 0;
const PACKED: u8 = 1;

// `kind ‖ length (32 bits, big-endian) ‖ one custody byte (uniform) or the packed entries`: a
// newcomer's map and a small ring's map are one custody throughout, and then six bytes.
impl From<CustodyMap> for Bytes {
    fn from(map: CustodyMap) -> Self {
        let uniform = map.entries.first().filter(|first| map.entries.iter().all(|c| c == *first));
        let kind = if uniform.is_some() { UNIFORM } else { PACKED };
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(map.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        match uniform {
            Some(custody) => bytes.push(*custody as u8),
            None => bytes.extend(map.packed()),
        }
        bytes.into()
    }
}

impl TryFrom<Bytes> for CustodyMap {
    type Error = &'static str;

    fn try_from(bytes: Bytes) -> Result<Self, &'static str> {
        let (head, body) = bytes.split_at_checked(5).ok_or("custody map cut short")?;
        let &[kind, a, b, c, d] = head else { return Err("custody map cut short") };
        let count = PartitionCount::new(u32::from_be_bytes([a, b, c, d]))
            .map_err(|_| "custody map of no valid length")?;
        let entries: Vec<Custody> = match (kind, body) {
            (UNIFORM, [custody]) => vec![custody_of(*custody)?; count.len()],
            (PACKED, body) if body.len() == count.len().div_ceil(4) => {
                let two_bits = |byte: &u8| [0, 2, 4, 6].map(|shift| (byte >> shift) & 3);
                body.iter().flat_map(two_bits).take(count.len()).map(custody_of).collect::<Result<_, _>>()?
            }
            _ => return Err("custody map of unknown kind or wrong length"),
        };
        Ok(Self { entries })
    }
}

fn custody_of(byte: u8) -> Result<Custody, &'static str> {
    match byte {
        0 => Ok(Custody::None),
        1 => Ok(Custody::Part),
        2 => Ok(Custody::Full),
        _ => Err("custody map with an unknown custody"),
    }
}
