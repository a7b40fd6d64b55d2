//! Dots and clocks: which writes a record knows of.

use std::cmp::Ordering;
use std::fmt;

use libp2p_identity::PeerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::member::Incarnation;

/// A peer during one stretch in which it kept everything that it wrote to a partition.
///
/// The first 128 bits of SHA-256(peer id ‖ incarnation ‖ durable counter). A peer that may have
/// forgotten a write of its own goes on under a new actor, so that a clock entry never claims
/// what its actor did not know (Riak learnt this as "doomstones", riak_kv#1040).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl ActorId {
    /// The actor of `peer` in `incarnation` for the stretch numbered `stretch`.
    #[must_use]
    pub fn derive(peer: &PeerId, incarnation: Incarnation, stretch: u64) -> Self {
        let hash = Sha256::new()
            .chain_update(peer.to_bytes())
            .chain_update(incarnation.0.to_be_bytes())
            .chain_update(stretch.to_be_bytes())
            .finalize();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(hash) {
            *to = from;
        }
        Self(id)
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of one write: never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(ActorId, u64)", into = "(ActorId, u64)")]
pub struct Dot {
    /// Who wrote.
    pub actor: ActorId,
    /// Which of its writes; from 1.
    pub counter: u64,
}

impl From<(ActorId, u64)> for Dot {
    fn from((actor, counter): (ActorId, u64)) -> Self {
        Self { actor, counter }
    }
}

impl From<Dot> for (ActorId, u64) {
    fn from(dot: Dot) -> Self {
        (dot.actor, dot.counter)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A version vector: for each actor, up to which of its writes is known (Dynamo §4.4).
///
/// Ordered as knowledge: `a <= b` when b knows all that a knows; concurrent clocks are unordered.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Clock {
    // Sorted by actor, counters over 0: one clock has one form.
    entries: Vec<(ActorId, u64)>,
}

impl Clock {
    /// The clock that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter known of `actor`; 0 where nothing is.
    #[must_use]
    pub fn get(&self, actor: &ActorId) -> u64 {
        match self.find(actor) {
            Ok(at) => self.entries.get(at).map_or(0, |e| e.1),
            Err(_) => 0,
        }
    }

    /// Whether the write `dot` is known.
    #[must_use]
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.actor) >= dot.counter
    }

    /// Learns of `dot` and all earlier writes of its actor.
    pub fn advance(&mut self, dot: Dot) {
        if dot.counter == 0 {
            return;
        }
        match self.find(&dot.actor) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = entry.1.max(dot.counter);
                }
            }
            Err(at) => self.entries.insert(at, (dot.actor, dot.counter)),
        }
    }

    /// Learns all that `other` knows. Says whether any of it was new.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut learned = false;
        let mut missing = Vec::new();
        for (actor, counter) in &other.entries {
            match self.find(actor) {
                Ok(at) => {
                    if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.1 < *counter) {
                        entry.1 = *counter;
                        learned = true;
                    }
                }
                Err(_) => missing.push((*actor, *counter)),
            }
        }
        if !missing.is_empty() {
            // Two sorted runs: the stable sort joins them in linear time, where inserting one
            // by one would let a hostile clock cost the square of its length.
            self.entries.append(&mut missing);
            self.entries.sort_by_key(|entry| entry.0);
            learned = true;
        }
        learned
    }

    /// How many actors are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, by actor.
    pub fn iter(&self) -> impl Iterator<Item = Dot> {
        self.entries.iter().map(|(actor, counter)| Dot { actor: *actor, counter: *counter })
    }

    fn find(&self, actor: &ActorId) -> Result<usize, usize> {
        self.entries.binary_search_by(|(a, _)| a.cmp(actor))
    }

    fn knows_all_of(&self, other: &Self) -> bool {
        other.len() <= self.len() && other.iter().all(|dot| self.covers(&dot))
    }
}

impl PartialOrd for Clock {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.knows_all_of(other), other.knows_all_of(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl FromIterator<Dot> for Clock {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut entries: Vec<(ActorId, u64)> =
            dots.into_iter().filter(|dot| dot.counter > 0).map(Into::into).collect();
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.dedup_by_key(|entry| entry.0);
        entries.reverse();
        Self { entries }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<(ActorId, u64)>::deserialize(deserializer)?;
        let ordered = entries.is_sorted_by(|a, b| a.0 < b.0);
        if !ordered || entries.iter().any(|e| e.1 == 0) {
            return Err(serde::de::Error::custom("clock entries out of order or zero"));
        }
        Ok(Self { entries })
    }
}
