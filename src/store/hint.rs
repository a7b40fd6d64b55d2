//! Hints: what each operation does to the hint of one key, and what the queues hold in all. The
//! same for every store.
//!
//! One hint per key, however many primaries wait for it: so that all which this peer wrote as a
//! fallback under a key is in one record.

use std::collections::BTreeMap;

use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{Key, PeerId, Record, RecordDigest, Write, WriteError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StoreResult;
use super::change::{self, Change, Slot};

/// A record that waits for a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Its key.
    pub key: Key,
    /// The record.
    pub record: Record,
    /// Its digest: names this state of it in [`super::WriteOp::DropHint`].
    pub digest: RecordDigest,
    /// Since when it waits for this primary, in milliseconds of Unix time.
    pub since_unix_ms: u64,
}

/// What waits for one primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HintQueue {
    /// Who.
    pub primary: PeerId,
    /// How many records; never 0.
    pub count: u64,
    /// About how many bytes, keys included. A record that waits for several counts for each.
    pub bytes: u64,
    /// Since when the oldest waits, in milliseconds of Unix time, rounded down to a second.
    pub oldest_unix_ms: u64,
}

/// What a store keeps under a key: a record, and since when (Unix milliseconds) each primary waits
/// for it. There is always one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) primaries: BTreeMap<PeerId, u64>,
}

impl Stored for Entry {
    const VERSION: u8 = 1;
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.record, &self.primaries).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (record, primaries) = <(Record, BTreeMap<PeerId, u64>)>::deserialize(deserializer)?;
        if primaries.is_empty() {
            return Err(serde::de::Error::custom("a hint that waits for nobody"));
        }
        Ok(Self { record, primaries })
    }
}

/// A hint in the queue of one primary: what is needed to count it without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(super) struct Queued {
    pub(super) since_unix_ms: u64,
    pub(super) bytes: u64,
}

impl Stored for Queued {
    const VERSION: u8 = 1;
}

impl From<(u64, u64)> for Queued {
    fn from((since_unix_ms, bytes): (u64, u64)) -> Self {
        Self { since_unix_ms, bytes }
    }
}

impl From<Queued> for (u64, u64) {
    fn from(queued: Queued) -> Self {
        (queued.since_unix_ms, queued.bytes)
    }
}

/// A hint in quarantine: kept for people, never delivered by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "QuarantinedTuple", into = "QuarantinedTuple")]
pub(super) struct Quarantined {
    pub(super) primary: PeerId,
    pub(super) key: Key,
    pub(super) since_unix_ms: u64,
    /// The record; `None` for a hint that cannot be read.
    pub(super) record: Option<Record>,
    /// The bytes of such a hint, if they could be had.
    pub(super) damaged: Option<Bytes>,
}

type QuarantinedTuple = (PeerId, Key, u64, Option<Record>, Option<Bytes>);

impl From<QuarantinedTuple> for Quarantined {
    fn from((primary, key, since_unix_ms, record, damaged): QuarantinedTuple) -> Self {
        Self { primary, key, since_unix_ms, record, damaged }
    }
}

impl From<Quarantined> for QuarantinedTuple {
    fn from(q: Quarantined) -> Self {
        (q.primary, q.key, q.since_unix_ms, q.record, q.damaged)
    }
}

impl Stored for Quarantined {
    const VERSION: u8 = 1;
}

/// The queues that one key is in.
pub(super) type Places = BTreeMap<PeerId, Queued>;

impl Entry {
    pub(super) fn places(&self, key: &Key) -> Places {
        let bytes = (key.as_bytes().len() + self.record.size_bytes()) as u64;
        self.primaries
            .iter()
            .map(|(primary, since)| (*primary, Queued { since_unix_ms: *since, bytes }))
            .collect()
    }
}

/// What a store finds under a key.
#[derive(Debug)]
pub(super) enum Found {
    /// A hint, or none.
    Entry(Option<Entry>),
    /// One that cannot be read, as it would go into quarantine: once for each primary.
    Damaged(Vec<Quarantined>),
}

/// What to do with the hint of one key, for one primary.
#[derive(Debug)]
pub(super) enum Edit {
    Merge { record: Record, now_unix_ms: u64, max_bytes: u64 },
    Update { write: Write, max_bytes: u64 },
    Drop { digest: RecordDigest },
    Quarantine,
}

/// What an edit does.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing.
    Keep(StoreResult),
    /// Stores what is left, if anything, and puts something aside.
    Set {
        /// What is left.
        entry: Option<Entry>,
        /// What goes into quarantine.
        quarantined: Vec<Quarantined>,
        /// What to answer.
        result: StoreResult,
    },
}

impl Edit {
    /// What this does to what was `found` under `key`. `queued_bytes` tells how much waits for a
    /// peer.
    pub(super) fn apply(
        self,
        key: &Key,
        primary: PeerId,
        found: Found,
        queued_bytes: impl Fn(&PeerId) -> u64,
    ) -> Outcome {
        let entry = match found {
            Found::Entry(entry) => entry,
            Found::Damaged(quarantined) if matches!(self, Self::Quarantine) => {
                let result = StoreResult::HintDropped { dropped: true, gone: true };
                return Outcome::Set { entry: None, quarantined, result };
            }
            Found::Damaged(_) => return Outcome::Keep(StoreResult::Damaged),
        };
        let slot = Slot { record: entry.as_ref().map(|entry| entry.record.clone()), damaged: false };
        match self {
            Self::Merge { record, now_unix_ms, max_bytes } => {
                let change = change::merge(slot, record, None);
                keep(key, (primary, now_unix_ms), entry, change, max_bytes, queued_bytes)
            }
            Self::Update { write, max_bytes } => {
                let change = change::update(slot, &write);
                keep(key, (primary, write.written_at), entry, change, max_bytes, queued_bytes)
            }
            Self::Drop { digest } => {
                let same = |entry: &Entry| entry.record.digest() == digest;
                leave(primary, entry.filter(same)).map_or(Outcome::Keep(NOT_DROPPED), |(rest, _, _)| {
                    let result = StoreResult::HintDropped { dropped: true, gone: rest.is_none() };
                    Outcome::Set { entry: rest, quarantined: Vec::new(), result }
                })
            }
            Self::Quarantine => {
                leave(primary, entry).map_or(Outcome::Keep(NOT_DROPPED), |(rest, record, since_unix_ms)| {
                    let (key, record) = (key.clone(), Some(record));
                    let quarantined = Quarantined { primary, key, since_unix_ms, record, damaged: None };
                    let result = StoreResult::HintDropped { dropped: true, gone: rest.is_none() };
                    Outcome::Set { entry: rest, quarantined: vec![quarantined], result }
                })
            }
        }
    }
}

const NOT_DROPPED: StoreResult = StoreResult::HintDropped { dropped: false, gone: false };

/// Keeps the changed record for `primary` too, unless a queue would exceed its bound.
fn keep(
    key: &Key,
    (primary, since_unix_ms): (PeerId, u64),
    entry: Option<Entry>,
    change: Change,
    max_bytes: u64,
    queued_bytes: impl Fn(&PeerId) -> u64,
) -> Outcome {
    let before = entry.as_ref().map(|entry| entry.places(key)).unwrap_or_default();
    let (record, reply) = match change {
        Change::Put { record, reply } => (record, Ok(reply)),
        Change::Keep(result) => match (entry.as_ref(), &result) {
            // Known already, but it has to wait for one more.
            (Some(entry), StoreResult::Updated { .. } | StoreResult::Merged { .. })
                if !entry.primaries.contains_key(&primary) =>
            {
                (entry.record.clone(), Err(result))
            }
            (Some(_) | None, _) => return Outcome::Keep(result),
        },
        // Nobody repairs a hint, nor removes it like a record.
        Change::Heal(_) | Change::Remove => return Outcome::Keep(StoreResult::Repaired),
    };
    let mut primaries = entry.map(|entry| entry.primaries).unwrap_or_default();
    primaries.entry(primary).or_insert(since_unix_ms);
    let entry = Entry { record, primaries };
    for (peer, queued) in entry.places(key) {
        let was = before.get(&peer).map_or(0, |queued| queued.bytes);
        let bytes = queued_bytes(&peer).saturating_sub(was).saturating_add(queued.bytes);
        if bytes > max_bytes && queued.bytes > was {
            return Outcome::Keep(StoreResult::Refused(WriteError::HintsFull { max_bytes }));
        }
    }
    let result = match reply {
        Ok(reply) => reply.with(entry.record.clone()),
        Err(StoreResult::Merged { rolled_back, damaged, .. }) => {
            StoreResult::Merged { changed: true, rolled_back, damaged }
        }
        Err(result) => result,
    };
    Outcome::Set { entry: Some(entry), quarantined: Vec::new(), result }
}

/// Takes a hint out of the queue of `primary`: what is left, the record, and since when it waited.
fn leave(primary: PeerId, entry: Option<Entry>) -> Option<(Option<Entry>, Record, u64)> {
    let mut entry = entry?;
    let since_unix_ms = entry.primaries.remove(&primary)?;
    let record = entry.record.clone();
    Some((Some(entry).filter(|entry| !entry.primaries.is_empty()), record, since_unix_ms))
}

/// The answer to [`super::ReadOp::Hints`], as it grows.
#[derive(Debug)]
pub(super) struct List {
    primary: PeerId,
    hints: Vec<Hint>,
    bytes: usize,
    bytes_max: usize,
    count_max: usize,
    damaged: Vec<Key>,
}

impl List {
    pub(super) fn new(primary: PeerId, bytes_max: usize, count_max: usize) -> Self {
        Self { primary, hints: Vec::new(), bytes: 0, bytes_max, count_max, damaged: Vec::new() }
    }

    /// Adds what was found under `key`, if it waits for the primary. Says whether there was room.
    pub(super) fn push(&mut self, key: Key, found: Found) -> bool {
        let entry = match found {
            Found::Entry(entry) => entry,
            Found::Damaged(_) if self.damaged.len() >= self.count_max => return false,
            Found::Damaged(_) => {
                self.damaged.push(key);
                return true;
            }
        };
        let Some(entry) = entry else { return true };
        let Some(since_unix_ms) = entry.primaries.get(&self.primary).copied() else { return true };
        let bytes = self.bytes + key.as_bytes().len() + entry.record.size_bytes();
        let first = self.hints.is_empty();
        if !first && (self.hints.len() >= self.count_max || bytes > self.bytes_max) {
            return false;
        }
        self.bytes = bytes;
        let digest = entry.record.digest();
        self.hints.push(Hint { key, record: entry.record, digest, since_unix_ms });
        true
    }

    pub(super) fn finish(self, more: bool) -> StoreResult {
        StoreResult::Hints { hints: self.hints, more, damaged: self.damaged }
    }
}

/// What all queues hold. Bounded by the number of primaries, and for each by the seconds for which
/// a hint may wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    queues: BTreeMap<PeerId, Total>,
}

#[derive(Debug, Clone, Default)]
struct Total {
    count: u64,
    bytes: u64,
    /// How many wait since each second of Unix time.
    seconds: BTreeMap<u64, u64>,
}

impl Totals {
    pub(super) fn bytes(&self, primary: &PeerId) -> u64 {
        self.queues.get(primary).map_or(0, |total| total.bytes)
    }

    pub(super) fn primaries(&self) -> Vec<PeerId> {
        self.queues.keys().copied().collect()
    }

    pub(super) fn queues(&self) -> Vec<HintQueue> {
        let queue = |(primary, total): (&PeerId, &Total)| HintQueue {
            primary: *primary,
            count: total.count,
            bytes: total.bytes,
            oldest_unix_ms: total.seconds.keys().next().map_or(0, |second| second.saturating_mul(1000)),
        };
        self.queues.iter().map(queue).collect()
    }

    /// The hint of one key was in the queues `before`, and is in those of `after`.
    pub(super) fn change(&mut self, before: &Places, after: &Places) {
        after.iter().for_each(|(primary, queued)| self.add(*primary, *queued));
        before.iter().for_each(|(primary, queued)| self.remove(primary, *queued));
    }

    pub(super) fn add(&mut self, primary: PeerId, queued: Queued) {
        let total = self.queues.entry(primary).or_default();
        total.count += 1;
        total.bytes = total.bytes.saturating_add(queued.bytes);
        *total.seconds.entry(queued.since_unix_ms / 1000).or_default() += 1;
    }

    fn remove(&mut self, primary: &PeerId, queued: Queued) {
        let Some(total) = self.queues.get_mut(primary) else { return };
        total.count = total.count.saturating_sub(1);
        total.bytes = total.bytes.saturating_sub(queued.bytes);
        let second = queued.since_unix_ms / 1000;
        if let Some(count) = total.seconds.get_mut(&second) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                total.seconds.remove(&second);
            }
        }
        if total.count == 0 {
            self.queues.remove(primary);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use henge_types::{ActorId, Clock, Content, Dot, OperationId};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn what_is_stored_has_golden_bytes() {
        let primary = PeerId::from_bytes(&[0, 2, 7, 7]).unwrap();
        let key = Key::new(Bytes::from_static(b"stone")).unwrap();
        let mut record = Record::new();
        let dot = Dot { actor: ActorId([1; 16]), counter: 3 };
        let write = Write {
            dot,
            supersede: Clock::new(),
            content: Content::Value(Bytes::from_static(b"blue")),
            written_at: 9,
            expires_at: None,
            operation: OperationId([2; 16]),
        };
        record.apply(&write).unwrap();

        let entry = Entry { record: record.clone(), primaries: BTreeMap::from([(primary, 1000)]) };
        let stored = entry.to_stored().unwrap();
        assert_eq!(hex(&stored), GOLDEN_ENTRY);
        assert_eq!(Entry::from_stored(&stored).unwrap(), entry);
        let nobody = Entry { record: record.clone(), primaries: BTreeMap::new() };
        assert!(Entry::from_stored(&nobody.to_stored().unwrap()).is_err());

        let queued = Queued { since_unix_ms: 1000, bytes: 300 };
        let stored = queued.to_stored().unwrap();
        assert_eq!(hex(&stored), "01821903e819012c");
        assert_eq!(Queued::from_stored(&stored).unwrap(), queued);

        let damaged = Some(Bytes::from_static(b"?"));
        let quarantined = Quarantined { primary, key, since_unix_ms: 1000, record: None, damaged };
        let stored = quarantined.to_stored().unwrap();
        assert_eq!(hex(&stored), "0185440002070745".to_owned() + "73746f6e651903e8f6413f");
        assert_eq!(Quarantined::from_stored(&stored).unwrap(), quarantined);
        let whole = Quarantined { record: Some(record), damaged: None, ..quarantined };
        assert_eq!(Quarantined::from_stored(&whole.to_stored().unwrap()).unwrap(), whole);
    }

    const GOLDEN_ENTRY: &str = "01828381858250010101010101010101010101010101010344626c756509f6500202020202020202020202020202\
        02028182500101010101010101010101010101010103818350020202020202020202020202020202028250010101\
        010101010101010101010101010309a144000207071903e8";
}
