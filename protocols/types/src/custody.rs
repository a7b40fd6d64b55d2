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

/// The custody of one peer for every partition.
///
/// A map of one custody throughout, a newcomer's or one of a small ring, takes as little memory as
/// it takes bytes on the wire: a message cannot blow up while it is read. Any other takes two bits
/// for each partition.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct CustodyMap {
    count: u32,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Uniform(Custody),
    // Four to a byte, the first in the lowest bits; the last byte is filled with zeros.
    Packed(Vec<u8>),
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
        Self { count: count.get(), form: Form::Uniform(custody) }
    }

    /// How many partitions it speaks of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it speaks of no partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the peer has of `partition`; [`Custody::None`] beyond the map.
    #[must_use]
    pub fn get(&self, partition: Partition) -> Custody {
        if partition.0 >= self.count {
            return Custody::None;
        }
        match &self.form {
            Form::Uniform(custody) => *custody,
            Form::Packed(bytes) => {
                let byte = bytes.get(partition.index() / 4).copied().unwrap_or_default();
                // Packed bytes hold no unknown custody: they were checked when they were read.
                custody_of((byte >> shift(partition)) & 3).unwrap_or_default()
            }
        }
    }

    /// Sets what the peer has of `partition`. Beyond the map nothing happens.
    pub fn set(&mut self, partition: Partition, custody: Custody) {
        if partition.0 >= self.count || self.get(partition) == custody {
            return;
        }
        if let Form::Uniform(_) = self.form {
            self.form = Form::Packed(self.packed());
        }
        if let Form::Packed(bytes) = &mut self.form
            && let Some(byte) = bytes.get_mut(partition.index() / 4)
        {
            *byte = *byte & !(3 << shift(partition)) | (custody as u8) << shift(partition);
        }
    }

    /// All partitions with what the peer has of them.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Custody)> {
        (0..self.count).map(Partition).map(|p| (p, self.get(p)))
    }

    /// The partitions of this map of which the other one says something else.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = Partition> {
        let fours = (0..self.count).step_by(4).filter(|first| {
            let byte = |map: &Self| map.byte(*first as usize / 4);
            self.count != other.count || byte(self) != byte(other)
        });
        let end = self.count;
        fours
            .flat_map(move |first| (first..end.min(first + 4)).map(Partition))
            .filter(|partition| self.get(*partition) != other.get(*partition))
    }

    /// How many partitions the peer has in this way.
    #[must_use]
    pub fn count(&self, custody: Custody) -> usize {
        match &self.form {
            Form::Uniform(all) if *all == custody => self.len(),
            Form::Uniform(_) => 0,
            Form::Packed(_) => self.iter().filter(|(_, c)| *c == custody).count(),
        }
    }

    /// The digest that heartbeats carry.
    #[must_use]
    pub fn digest(&self) -> CustodyDigest {
        let hash = Sha256::new()
            .chain_update(u64::from(self.count).to_be_bytes())
            .chain_update(self.packed())
            .finalize();
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(hash) {
            *to = from;
        }
        CustodyDigest(digest)
    }

    // Four entries; those beyond the end of a uniform map are no zeros.
    fn byte(&self, index: usize) -> Option<u8> {
        match &self.form {
            Form::Uniform(custody) => Some(*custody as u8 * 0b0101_0101),
            Form::Packed(bytes) => bytes.get(index).copied(),
        }
    }

    fn packed(&self) -> Vec<u8> {
        let custody = match &self.form {
            Form::Packed(bytes) => return bytes.clone(),
            Form::Uniform(custody) => *custody as u8,
        };
        let mut bytes = vec![custody * 0b0101_0101; self.len().div_ceil(4)];
        if let (Some(last), filled @ 1..=3) = (bytes.last_mut(), self.len() % 4) {
            *last &= (1 << (2 * filled)) - 1;
        }
        bytes
    }

    // The custody of every partition, if it is one.
    fn everywhere(&self) -> Option<Custody> {
        match &self.form {
            Form::Uniform(custody) => Some(*custody),
            Form::Packed(_) => {
                let first = self.get(Partition(0));
                (!self.is_empty() && self.iter().all(|(_, c)| c == first)).then_some(first)
            }
        }
    }
}

fn shift(partition: Partition) -> u32 {
    2 * (partition.0 % 4)
}

impl PartialEq for CustodyMap {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
            && match (&self.form, &other.form) {
                (Form::Uniform(a), Form::Uniform(b)) => a == b,
                (Form::Packed(a), Form::Packed(b)) => a == b,
                (Form::Uniform(_), Form::Packed(_)) | (Form::Packed(_), Form::Uniform(_)) => {
                    self.everywhere() == other.everywhere()
                }
            }
    }
}

impl Eq for CustodyMap {}

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
        let uniform = map.everywhere();
        let kind = if uniform.is_some() { UNIFORM } else { PACKED };
        let mut bytes = vec![kind];
        bytes.extend(map.count.to_be_bytes());
        match uniform {
            Some(custody) => bytes.push(custody as u8),
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
        let form = match (kind, body) {
            (UNIFORM, [custody]) => Form::Uniform(custody_of(*custody)?),
            (PACKED, body) if body.len() == count.len().div_ceil(4) => {
                // 3 is no custody: no byte has both bits of a pair, and what fills the last is 0.
                let unknown = body.iter().any(|byte| byte & (byte >> 1) & 0b0101_0101 != 0);
                let filling =
                    body.last().is_some_and(|last| count.len() < 4 && last >> (2 * count.len()) != 0);
                if unknown || filling {
                    return Err("custody map with an unknown custody");
                }
                Form::Packed(body.to_vec())
            }
            _ => return Err("custody map of unknown kind or wrong length"),
        };
        Ok(Self { count: count.get(), form })
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
