//! Records: all that is stored under a key, as a dotted causal container.
//!
//! A record holds siblings, each named by the dot of the write that made it, and one clock that
//! says which writes are known. A write that the clock covers and that is no sibling has been
//! superseded. So [`Record::merge`] needs no history: it is commutative, associative and
//! idempotent, and never drops a concurrent write (Dynamo §4.4; dotted version vectors,
//! Preguiça et al. 2010, arXiv:1011.5808).

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::clock::{Clock, Dot};
use crate::codec::Stored;
use crate::digest::RecordDigest;
use crate::limits::{CLOCK_MAX, OPERATION_TTL_MS, OPERATIONS_MAX, RECORD_MAX_BYTES, SIBLINGS_MAX};

/// Names one put or delete of a client, whatever the number of tries. Random, 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What a write leaves under the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// The key was deleted.
    Tombstone,
    /// The bytes that were put.
    Value(Bytes),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tombstone => f.write_str("Tombstone"),
            Self::Value(bytes) => write!(f, "Value({} bytes)", bytes.len()),
        }
    }
}

/// One value, or tombstone, that no other known write has superseded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sibling {
    /// The write that made it.
    pub dot: Dot,
    /// What was written.
    pub content: Content,
    /// When the coordinator took it, in milliseconds of Unix time.
    pub written_at: u64,
    /// From when on it reads as a tombstone, in milliseconds of Unix time.
    pub expires_at: Option<u64>,
    /// The operation that made it.
    pub operation: OperationId,
}

impl Sibling {
    /// The value, unless this is a tombstone or has expired at `unix_ms`.
    #[must_use]
    pub fn live(&self, unix_ms: u64) -> Option<&Bytes> {
        match &self.content {
            Content::Value(bytes) if self.expires_at.is_none_or(|at| at > unix_ms) => Some(bytes),
            Content::Value(_) | Content::Tombstone => None,
        }
    }

    /// Feeds an unambiguous form to a hash: fixed widths, and a length before the bytes.
    pub(crate) fn feed(&self, update: &mut dyn FnMut(&[u8])) {
        update(&self.dot.actor.0);
        update(&self.dot.counter.to_be_bytes());
        match &self.content {
            Content::Tombstone => update(&[0]),
            Content::Value(bytes) => {
                update(&[1]);
                update(&(bytes.len() as u64).to_be_bytes());
                update(bytes);
            }
        }
        update(&self.written_at.to_be_bytes());
        update(&[u8::from(self.expires_at.is_some())]);
        update(&self.expires_at.unwrap_or(0).to_be_bytes());
        update(&self.operation.0);
    }
}

/// One put or delete, ready to be applied to a record by one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its name.
    pub dot: Dot,
    /// What it supersedes: every sibling whose dot this clock covers.
    pub supersede: Clock,
    /// What it writes.
    pub content: Content,
    /// The coordinator's time, in milliseconds of Unix time.
    pub written_at: u64,
    /// When the value expires, in milliseconds of Unix time.
    pub expires_at: Option<u64>,
    /// The client's operation.
    pub operation: OperationId,
}

/// What [`Record::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The write is now a sibling.
    Written,
    /// The operation had been applied before, as this dot; nothing changed.
    Repeated(Dot),
}

/// Why a write was refused. The record is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key would have too many concurrent values.
    #[error(
        "the key has {siblings} siblings already (limit {SIBLINGS_MAX}): get it, and put with the context of that get"
    )]
    TooManySiblings {
        /// How many there are.
        siblings: usize,
    },
    /// Too many actors have written the key.
    #[error("the key's clock has {entries} entries already (limit {CLOCK_MAX})")]
    ClockFull {
        /// How many there are.
        entries: usize,
    },
    /// The record would exceed 4 MiB.
    #[error(
        "the key's siblings would take {bytes} bytes together (limit {RECORD_MAX_BYTES}): get it, and put with the context of that get"
    )]
    TooLarge {
        /// Its encoded size with the write, estimated from above.
        bytes: usize,
    },
    /// As much as may wait for a peer that is down waits for it already.
    #[error("the hints for a peer that is down would take more than {max_bytes} bytes")]
    HintsFull {
        /// How much may wait for one peer, in bytes.
        max_bytes: u64,
    },
    /// A clock knows a newer write of this actor than this store does: the store was rolled back.
    #[error("a write of this peer's own is missing from its store")]
    RolledBack,
}

/// An operation that the record remembers: its id, its dot, when it was written. Ordered by age,
/// and totally, so that merging in any order keeps the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(OperationId, Dot, u64)", into = "(OperationId, Dot, u64)")]
struct Operation {
    written_at: u64,
    id: OperationId,
    dot: Dot,
}

impl From<(OperationId, Dot, u64)> for Operation {
    fn from((id, dot, written_at): (OperationId, Dot, u64)) -> Self {
        Self { id, dot, written_at }
    }
}

impl From<Operation> for (OperationId, Dot, u64) {
    fn from(o: Operation) -> Self {
        (o.id, o.dot, o.written_at)
    }
}

/// All that is stored under a key: siblings, the clock, and the last operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    // Sorted by dot; every dot is covered by the clock.
    siblings: Vec<Sibling>,
    clock: Clock,
    // Newest first, each once; every dot is covered by the clock.
    operations: Vec<Operation>,
}

impl Record {
    /// The record of a key that nobody wrote.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The siblings, by dot.
    #[must_use]
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// Which writes are known.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether nothing is known of the key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clock.is_empty()
    }

    /// The siblings that are values at `unix_ms`, one per operation: a retry that two
    /// coordinators took for a new write shows once.
    pub fn live(&self, unix_ms: u64) -> impl Iterator<Item = (&Sibling, &Bytes)> {
        let several = self.siblings.len() > 1;
        let mut seen = BTreeSet::new();
        self.siblings
            .iter()
            .filter_map(move |s| s.live(unix_ms).map(|bytes| (s, bytes)))
            .filter(move |(s, _)| !several || seen.insert(s.operation))
    }

    /// The digest of siblings and clock.
    #[must_use]
    pub fn digest(&self) -> RecordDigest {
        RecordDigest::of(self)
    }

    /// When its youngest sibling was written, in milliseconds of Unix time; 0 where there is none.
    #[must_use]
    pub fn newest_at(&self) -> u64 {
        self.siblings.iter().map(|s| s.written_at).max().unwrap_or(0)
    }

    /// Since when nothing of this lives, in milliseconds of Unix time: every sibling is a tombstone, or has expired,
    /// and no operation is remembered that came later. `None` while a value does not expire.
    #[must_use]
    pub fn dead_since(&self) -> Option<u64> {
        let operations = self.operations.iter().map(|o| Some(o.written_at));
        let siblings = self.siblings.iter().map(|s| match s.content {
            Content::Tombstone => Some(s.written_at),
            Content::Value(_) => s.expires_at.map(|at| at.max(s.written_at)),
        });
        operations.chain(siblings).try_fold(0, |since, at| Some(since.max(at?)))
    }

    /// The dot under which `operation` was applied, if it is remembered. What is a sibling is, however
    /// long ago that was.
    #[must_use]
    pub fn find_operation(&self, operation: &OperationId) -> Option<Dot> {
        let remembered = self.operations.iter().find(|o| o.id == *operation).map(|o| o.dot);
        remembered.or_else(|| self.siblings.iter().find(|s| s.operation == *operation).map(|s| s.dot))
    }

    /// Applies `write`: drops the siblings that it supersedes, adds its own, joins the clocks.
    /// An operation applied before changes nothing.
    ///
    /// # Errors
    /// [`WriteError`]; the record is then unchanged.
    pub fn apply(&mut self, write: &Write) -> Result<Applied, WriteError> {
        if let Some(dot) = self.find_operation(&write.operation) {
            return Ok(Applied::Repeated(dot));
        }
        let own = self.clock.get(&write.dot.actor);
        if own >= write.dot.counter || write.supersede.get(&write.dot.actor) > own {
            return Err(WriteError::RolledBack);
        }
        self.check_bounds(write)?;
        self.siblings.retain(|s| !write.supersede.covers(&s.dot));
        self.clock.join(&write.supersede);
        self.clock.advance(write.dot);
        let sibling = Sibling {
            dot: write.dot,
            content: write.content.clone(),
            written_at: write.written_at,
            expires_at: write.expires_at,
            operation: write.operation,
        };
        let at = self.siblings.partition_point(|s| s.dot < write.dot);
        self.siblings.insert(at, sibling);
        // What lies further ahead comes from a broken clock, and would never grow old.
        self.operations.retain(|o| o.written_at.abs_diff(write.written_at) < OPERATION_TTL_MS);
        // A coordinator whose clock is behind would forget its own writes first.
        let newest = self.operations.first().map_or(0, |o| o.written_at.saturating_add(1));
        let written_at = newest.max(write.written_at);
        self.remember(&[Operation { written_at, id: write.operation, dot: write.dot }]);
        Ok(Applied::Written)
    }

    /// Learns all that `other` knows: a sibling stays if both have it, or if the other's clock
    /// does not cover it. Says whether anything but the remembered operations changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.siblings.len();
        let (mine, theirs) = (&self.clock, &other.clock);
        self.siblings.retain(|s| !theirs.covers(&s.dot) || other.sibling(&s.dot).is_some());
        let mut changed = self.siblings.len() != before;
        let mut missing = Vec::new();
        for sibling in &other.siblings {
            match self.siblings.binary_search_by(|s| s.dot.cmp(&sibling.dot)) {
                // One dot names one write, so these are equal; were they not, all replicas
                // must still settle on the same one.
                Ok(at) => {
                    if let Some(own) = self.siblings.get_mut(at).filter(|own| **own < *sibling) {
                        *own = sibling.clone();
                        changed = true;
                    }
                }
                Err(_) if mine.covers(&sibling.dot) => {}
                Err(_) => missing.push(sibling.clone()),
            }
        }
        if !missing.is_empty() {
            // Two sorted runs, which the stable sort joins in linear time.
            self.siblings.append(&mut missing);
            self.siblings.sort_by_key(|s| s.dot);
        }
        changed |= self.clock.join(theirs);
        self.remember(&other.operations);
        changed
    }

    /// An upper bound of the encoded size, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let siblings: usize =
            self.siblings.iter().map(|s| SIBLING_OVERHEAD_BYTES + content_bytes(&s.content)).sum();
        let clock = self.clock.len() * ENTRY_BYTES;
        16 + siblings + clock + self.operations.len() * OPERATION_BYTES
    }

    fn sibling(&self, dot: &Dot) -> Option<&Sibling> {
        self.siblings.binary_search_by(|s| s.dot.cmp(dot)).ok().and_then(|at| self.siblings.get(at))
    }

    fn check_bounds(&self, write: &Write) -> Result<(), WriteError> {
        let left = || self.siblings.iter().filter(|s| !write.supersede.covers(&s.dot));
        let siblings = left().count();
        if siblings >= SIBLINGS_MAX {
            return Err(WriteError::TooManySiblings { siblings });
        }
        let entries = self.clock.len();
        let joined = || {
            let mut clock = self.clock.clone();
            clock.join(&write.supersede);
            clock.advance(write.dot);
            clock.len()
        };
        if entries >= CLOCK_MAX || (entries + write.supersede.len() >= CLOCK_MAX && joined() > CLOCK_MAX) {
            return Err(WriteError::ClockFull { entries });
        }
        let contents: usize =
            left().map(|s| content_bytes(&s.content)).sum::<usize>() + content_bytes(&write.content);
        let bytes = contents
            + (siblings + 1) * SIBLING_OVERHEAD_BYTES
            + (entries + write.supersede.len() + 1) * ENTRY_BYTES
            + (OPERATIONS_MAX + 1) * OPERATION_BYTES;
        if bytes > RECORD_MAX_BYTES {
            return Err(WriteError::TooLarge { bytes });
        }
        Ok(())
    }

    /// `more` is newest first, as are the operations.
    fn remember(&mut self, more: &[Operation]) {
        let mut at = 0;
        for operation in more {
            while self.operations.get(at).is_some_and(|o| o > operation) {
                at += 1;
            }
            if at >= OPERATIONS_MAX {
                break;
            }
            if self.operations.get(at) != Some(operation) {
                self.operations.insert(at, *operation);
                self.operations.truncate(OPERATIONS_MAX);
            }
        }
    }
}

const SIBLING_OVERHEAD_BYTES: usize = 80;
const ENTRY_BYTES: usize = 28;
const OPERATION_BYTES: usize = 56;

fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Tombstone => 0,
        Content::Value(bytes) => bytes.len(),
    }
}

impl Stored for Record {
    const VERSION: u8 = 1;
}

impl Serialize for Sibling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = match &self.content {
            Content::Tombstone => None,
            Content::Value(bytes) => Some(bytes),
        };
        (self.dot, content, self.written_at, self.expires_at, self.operation).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sibling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (dot, content, written_at, expires_at, operation) =
            <(Dot, Option<Bytes>, u64, Option<u64>, OperationId)>::deserialize(deserializer)?;
        let content = content.map_or(Content::Tombstone, Content::Value);
        Ok(Self { dot, content, written_at, expires_at, operation })
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.siblings, &self.clock, &self.operations).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (siblings, clock, operations) =
            <(Vec<Sibling>, Clock, Vec<Operation>)>::deserialize(deserializer)?;
        let ordered = siblings.is_sorted_by(|a, b| a.dot < b.dot);
        let known = |dot: &Dot| dot.counter > 0 && clock.covers(dot);
        if !ordered || !siblings.iter().all(|s| known(&s.dot)) {
            return Err(serde::de::Error::custom("siblings out of order, or not covered by the clock"));
        }
        if operations.len() > OPERATIONS_MAX || !operations.is_sorted_by(|a, b| a > b) {
            return Err(serde::de::Error::custom("remembered operations out of order, or too many"));
        }
        // One that the clock does not cover would answer a put that nobody has with `Repeated`.
        if !operations.iter().all(|o| known(&o.dot)) {
            return Err(serde::de::Error::custom("remembered operations not covered by the clock"));
        }
        Ok(Self { siblings, clock, operations })
    }
}
