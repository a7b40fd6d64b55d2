//! Who this peer writes as: durable counters, and an actor for each partition.
//!
//! Two rules keep dots honest. *A dot is never reused*: counters come from one counter per store,
//! reserved in blocks whose reservation is synced before the block is used. *A dot never claims
//! what its actor did not know*: a partition gets a new actor whenever this peer may not have
//! all that it wrote there before.

use bytes::Bytes;
use henge_membership::Reservation;
use henge_types::codec::Stored;
use henge_types::{ActorId, CustodyMap, DecodeError, Dot, Incarnation, Partition, PartitionCount, PeerId};
use serde::{Deserialize, Serialize};

/// Dots that one reservation covers. A crash wastes at most this many numbers.
const DOTS_PER_BLOCK: u64 = 1 << 16;

/// What is saved of the counters: up to where each is reserved, and how the last stop was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Dots below this may have been given.
    pub dots: u64,
    /// Member records below this may have been signed.
    pub records: Option<Reservation>,
    /// Whether everything written was synced before the last stop.
    pub clean: bool,
}

impl Stored for Counters {
    const VERSION: u8 = 1;
}

/// What is saved of the custody: the map, and the stretch of each partition's actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretches {
    /// What this peer has of each partition.
    pub custody: CustodyMap,
    /// For each partition the number of the stretch that its actor is derived from.
    pub stretches: Vec<u64>,
    /// The stretch of standing in for others, in whatever partition.
    pub fallback: u64,
    /// The number of the next stretch.
    pub next: u64,
}

impl Stored for Stretches {
    const VERSION: u8 = 1;
}

impl Stretches {
    /// Nothing of any partition.
    #[must_use]
    pub fn new(count: PartitionCount) -> Self {
        Self {
            custody: CustodyMap::uniform(count, henge_types::Custody::None),
            stretches: vec![0; count.len()],
            fallback: 0,
            next: 1,
        }
    }

    /// Begins a new stretch for these partitions: they get a new actor.
    pub fn begin(&mut self, partitions: impl IntoIterator<Item = Partition>) {
        let stretch = self.next;
        self.next += 1;
        for partition in partitions {
            if let Some(entry) = self.stretches.get_mut(partition.index()) {
                *entry = stretch;
            }
        }
    }

    /// Begins a new stretch of standing in for others.
    pub fn begin_fallback(&mut self) {
        self.fallback = self.next;
        self.next += 1;
    }

    /// The actor that this peer is where it stands in for a voter. One for all partitions: what it
    /// wrote under a key is in the one hint of that key.
    #[must_use]
    pub fn fallback_actor(&self, me: &PeerId, incarnation: Incarnation) -> ActorId {
        ActorId::derive(me, incarnation, self.fallback)
    }

    /// The actor that this peer is for `partition`.
    #[must_use]
    pub fn actor(&self, me: &PeerId, incarnation: Incarnation, partition: Partition) -> ActorId {
        ActorId::derive(me, incarnation, self.stretch(partition))
    }

    /// The stretch that the actor of `partition` is derived from.
    #[must_use]
    pub fn stretch(&self, partition: Partition) -> u64 {
        self.stretches.get(partition.index()).copied().unwrap_or(0)
    }
}

/// Gives out dots from a reserved block.
#[derive(Debug)]
pub struct DotCounter {
    next: u64,
    // Synced: numbers below may be used.
    reserved: u64,
    // Asked for, not synced yet.
    asked: u64,
}

impl DotCounter {
    /// Goes on after what was reserved before. Nothing may be used until a reservation is synced.
    #[must_use]
    pub fn new(saved: u64) -> Self {
        let next = saved.max(1);
        Self { next, reserved: next, asked: next }
    }

    /// The next dot of `actor`; `None` while the reservation is not synced.
    pub fn take(&mut self, actor: ActorId) -> Option<Dot> {
        (self.next < self.reserved).then(|| {
            let counter = self.next;
            self.next += 1;
            Dot { actor, counter }
        })
    }

    /// Up to where to reserve, if it is time to: half a block ahead, so that nobody waits for it.
    pub fn reservation(&mut self) -> Option<u64> {
        if self.asked > self.next + DOTS_PER_BLOCK / 2 {
            return None;
        }
        self.asked = self.next + DOTS_PER_BLOCK;
        Some(self.asked)
    }

    /// What is or will be reserved, for a save that has another reason.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// A reservation is synced.
    pub fn on_reserved(&mut self, upto: u64) {
        self.reserved = self.reserved.max(upto);
    }
}

/// Reads a saved piece, if there is one.
///
/// # Errors
/// [`DecodeError`].
pub fn load<T: Stored>(saved: Option<&Bytes>) -> Result<Option<T>, DecodeError> {
    saved.map(|bytes| T::from_stored(bytes)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn what_is_saved_has_golden_bytes() {
        let records = Some(Reservation { incarnation: Incarnation(7), upto: 1024 });
        let counters = Counters { dots: 65_537, records, clean: true };
        let stored = counters.to_stored().unwrap();
        assert_eq!(
            hex(&stored),
            "01a364646f74731a00010001677265636f726473a26b696e6361726e6174696f6e07647570746f19040065636c65616ef5"
        );
        assert_eq!(Counters::from_stored(&stored).unwrap(), counters);

        let count = PartitionCount::new(4).unwrap();
        let mut stretches = Stretches::new(count);
        stretches.begin([Partition(1), Partition(3)]);
        stretches.custody.set(Partition(1), henge_types::Custody::Part);
        let stored = stretches.to_stored().unwrap();
        assert_eq!(
            hex(&stored),
            "01a467637573746f6479460100000004046973747265746368657384000100016866616c6c6261636b00646e65787402"
        );
        assert_eq!(Stretches::from_stored(&stored).unwrap(), stretches);
    }

    #[test]
    fn no_dot_is_given_before_its_block_is_reserved_nor_twice_over_restarts() {
        let actor = ActorId([1; 16]);
        let mut dots = DotCounter::new(0);
        assert_eq!(dots.take(actor), None);
        let upto = dots.reservation().unwrap();
        assert_eq!(dots.take(actor), None, "asked for is not reserved");
        dots.on_reserved(upto);
        let first = dots.take(actor).unwrap();
        assert_eq!(first.counter, 1);
        assert_eq!(dots.reservation(), None, "half a block is left");

        let mut restarted = DotCounter::new(upto);
        let upto = restarted.reservation().unwrap();
        restarted.on_reserved(upto);
        assert!(restarted.take(actor).unwrap().counter > first.counter);
    }

    #[test]
    fn a_new_stretch_is_a_new_actor_for_its_partitions_only() {
        let me = PeerId::from_bytes(&[0, 1, 7]).unwrap();
        let mut stretches = Stretches::new(PartitionCount::new(4).unwrap());
        let actor = |s: &Stretches, p| s.actor(&me, Incarnation(1), Partition(p));
        let before = [actor(&stretches, 0), actor(&stretches, 1)];
        stretches.begin([Partition(1)]);
        assert_eq!(actor(&stretches, 0), before[0]);
        assert_ne!(actor(&stretches, 1), before[1]);
    }
}
