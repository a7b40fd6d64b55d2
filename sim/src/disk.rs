//! The disk of one peer: it takes time, loses in a crash what was not synced, fills up, rots.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use henge::core::Saved;
use henge::store::memory::Memory;
use henge::store::worker::Durability;
use henge::store::{MetaKey, ReadOp, Store, StoreError, StoreResult, Ticket, WriteOp};
use henge_types::{Dot, Key, Record};

use crate::rng::Rng;

/// A store that can be crashed and damaged: what a simulated disk is made of.
pub trait Image: Store {
    /// The machine crashes; the first `kept` unsynced batches were written by themselves.
    fn crash(&self, kept: usize);
    /// Batches that a crash may lose.
    fn unsynced(&self) -> usize;
    /// Makes a record unreadable.
    fn damage(&self, key: &Key) -> bool;
    /// Every write and sync fails from now on, or no more.
    fn fail_with(&self, error: Option<StoreError>);
    /// What there is of `key`, and what a crash would leave of it, what is kept of it for others included.
    fn kept(&self, key: &Key) -> Kept;
}

impl Image for Memory {
    fn crash(&self, kept: usize) {
        Self::crash(self, kept);
    }

    fn unsynced(&self) -> usize {
        Self::unsynced(self)
    }

    fn damage(&self, key: &Key) -> bool {
        Self::damage(self, key)
    }

    fn fail_with(&self, error: Option<StoreError>) {
        Self::fail_with(self, error);
    }

    fn kept(&self, key: &Key) -> Kept {
        Kept([all_of(self, key), all_of(&Self::durable(self), key)])
    }
}

fn all_of(store: &dyn Store, key: &Key) -> Found {
    let result = store.read(&ReadOp::Get { key: key.clone() });
    let record = if let StoreResult::Record(record) = result { record } else { Record::new() };
    let hint = store.read(&ReadOp::Hint { key: key.clone() });
    let hint = if let StoreResult::Hint(Some(hint)) = hint { hint } else { Record::new() };
    Found { record, hint }
}

/// What a disk has of a key now, and would have after a crash.
#[derive(Debug)]
pub struct Kept([Found; 2]);

#[derive(Debug)]
struct Found {
    record: Record,
    hint: Record,
}

impl Kept {
    /// Whether it has this write, come what may.
    #[must_use]
    pub fn covers(&self, dot: &Dot) -> bool {
        self.0.iter().all(|found| found.record.clock().covers(dot) || found.hint.clock().covers(dot))
    }

    /// Whether it has it as its own, and not only for another peer.
    #[must_use]
    pub fn owns(&self, dot: &Dot) -> bool {
        self.0.iter().all(|found| found.record.clock().covers(dot))
    }
}

/// How fast a disk is, and what it promises.
#[derive(Debug, Clone)]
pub struct Profile {
    /// When a write counts as durable.
    pub durability: Durability,
    /// The longest that a read, or executing a batch of writes, takes.
    pub access: Duration,
    /// The longest that a sync takes.
    pub sync: Duration,
    /// Writes that may share one batch.
    pub group_max: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            access: Duration::from_micros(100),
            sync: Duration::from_millis(2),
            group_max: 16,
        }
    }
}

/// The disk of one peer, with the queue of its writer.
pub struct Disk {
    store: Box<dyn Image>,
    profile: Profile,
    rng: Rng,
    queue: VecDeque<(Ticket, WriteOp)>,
    writing: bool,
    /// Further time that each access takes at the moment.
    slow: Duration,
    /// Under [`Durability::Interval`]: whether a sync is due at the next tick.
    dirty: bool,
    poisoned: Option<StoreError>,
}

/// What a batch of writes came to.
#[derive(Debug)]
pub struct Written {
    /// For each write its ticket, what was asked, its result, and whether that is durable.
    pub results: Vec<(Ticket, WriteOp, StoreResult, bool)>,
    /// A sync must follow, after which all up to this ticket is durable.
    pub sync: Option<Ticket>,
}

impl Disk {
    /// A disk that holds `store`.
    #[must_use]
    pub fn new(store: Box<dyn Image>, profile: Profile, rng: Rng) -> Self {
        Self {
            store,
            profile,
            rng,
            queue: VecDeque::new(),
            writing: false,
            slow: Duration::ZERO,
            dirty: false,
            poisoned: None,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn image(&self) -> &dyn Image {
        &*self.store
    }

    /// The record of `key` as it can be read; `None` where it is damaged.
    #[must_use]
    pub fn record(&self, key: &Key) -> Option<Record> {
        match self.store.read(&ReadOp::Get { key: key.clone() }) {
            StoreResult::Record(record) => Some(record),
            _ => None,
        }
    }

    /// All metadata, as a peer finds it at its start.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let meta = |key: MetaKey| -> Option<(MetaKey, Bytes)> {
            self.store.meta(key).ok().flatten().map(|value| (key, value))
        };
        MetaKey::ALL.into_iter().filter_map(meta).collect()
    }

    /// How long the next access takes.
    pub fn access_time(&mut self) -> Duration {
        let own = self.rng.time(self.profile.access / 4, self.profile.access);
        own + self.rng.time(self.slow / 2, self.slow)
    }

    /// How long the next sync takes.
    pub fn sync_time(&mut self) -> Duration {
        let own = self.rng.time(self.profile.sync / 4, self.profile.sync);
        own + self.rng.time(self.slow / 2, self.slow * 2)
    }

    /// Each access takes up to `by` longer.
    pub fn slow_down(&mut self, by: Duration) {
        self.slow = by;
    }

    /// Puts a write in the queue. Says whether the writer was idle and is to begin.
    pub fn queue(&mut self, ticket: Ticket, op: WriteOp) -> bool {
        self.queue.push_back((ticket, op));
        !std::mem::replace(&mut self.writing, true)
    }

    /// Executes what waits together, as one batch.
    pub fn write(&mut self) -> Written {
        let most = self.rng.between(1, self.profile.group_max.max(1) as u64);
        let count = usize::try_from(most).unwrap_or(1).min(self.queue.len());
        let (tickets, ops): (Vec<Ticket>, Vec<WriteOp>) = self.queue.drain(..count).unzip();
        let results = match &self.poisoned {
            Some(error) => ops.iter().map(|_| StoreResult::Failed(error.clone())).collect(),
            None => self.store.write(ops.clone()),
        };
        let mut written = Written { results: Vec::with_capacity(count), sync: None };
        let mut dirty = false;
        for ((ticket, op), result) in tickets.into_iter().zip(ops).zip(results) {
            let save = result == StoreResult::Saved;
            dirty |= result.is_change();
            let durable = !(save || (dirty && self.profile.durability == Durability::Fsync));
            if !durable {
                written.sync = Some(ticket);
            }
            written.results.push((ticket, op, result, durable));
        }
        self.dirty |= dirty;
        written
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// What the disk said; it is poisoned from then on.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.dirty = false;
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        self.store.sync().map_err(|error| {
            let poisoned = StoreError::Poisoned { reason: error.to_string() };
            self.poisoned = Some(poisoned.clone());
            poisoned
        })
    }

    /// Whether a sync of the interval is due.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// When a write counts as durable here.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.profile.durability
    }

    /// The writer is done with a batch. Says whether more waits.
    pub fn rest(&mut self) -> bool {
        self.writing = !self.queue.is_empty();
        self.writing
    }

    /// The process ends: what was not executed is gone.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.writing = false;
        self.poisoned = None;
        self.store.fail_with(None);
    }

    /// The machine crashes.
    pub fn crash(&mut self) {
        self.stop();
        let unsynced = self.store.unsynced() as u64;
        let kept = usize::try_from(self.rng.between(0, unsynced)).unwrap_or(0);
        self.store.crash(kept);
        self.dirty = false;
    }

    /// The disk is another one, empty, but for its metadata if `keep_meta`.
    pub fn replace(&mut self, store: Box<dyn Image>, keep_meta: bool) {
        self.stop();
        self.dirty = false;
        if keep_meta {
            let saves = self.saved().into_iter().map(|(key, value)| WriteOp::Save { key, value });
            let _ = store.write(saves.collect());
            let _ = store.sync();
        }
        self.store = store;
    }

    /// Answers a read.
    #[must_use]
    pub fn read(&self, op: &ReadOp) -> StoreResult {
        self.store.read(op)
    }

    /// Whether a sync failed since the process began.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// How much is queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("queue", &self.queue.len()).finish_non_exhaustive()
    }
}
