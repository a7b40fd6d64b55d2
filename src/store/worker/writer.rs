//! The thread that writes: groups, syncs, and says what is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::queue::{Queue, Taken};
use super::{Done, Durability, GROUP_MAX, SYNC_INTERVAL};
use crate::store::{Store, StoreError, StoreResult, Ticket, WriteOp};

pub(super) struct Writer<'a> {
    store: &'a dyn Store,
    results: &'a Sender<Vec<Done>>,
    durability: Durability,
    /// Since when something waits for the next sync of [`Durability::Interval`].
    unsynced_since: Option<Instant>,
    poisoned: Option<StoreError>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a dyn Store, results: &'a Sender<Vec<Done>>, durability: Durability) -> Self {
        Self { store, results, durability, unsynced_since: None, poisoned: None }
    }

    /// Executes until the queue is closed and empty, and then syncs.
    pub(super) fn run(mut self, queue: &Queue<(Ticket, WriteOp)>) {
        loop {
            match queue.take(GROUP_MAX, self.until_sync()) {
                Taken::Some(group) => self.execute(group),
                Taken::Timeout => {}
                Taken::Closed => break,
            }
            if self.until_sync() == Some(Duration::ZERO) {
                self.sync();
            }
        }
        self.sync();
    }

    fn execute(&mut self, group: Vec<(Ticket, WriteOp)>) {
        let (tickets, ops): (Vec<Ticket>, Vec<WriteOp>) = group.into_iter().unzip();
        let results = self.write(ops);
        let failure = results.iter().find_map(fatal).cloned();
        let mut dirty = false;
        let mut waits = None;
        let mut batch = Vec::with_capacity(tickets.len() + 1);
        for (ticket, result) in tickets.into_iter().zip(results) {
            let save = matches!(result, StoreResult::Saved);
            dirty |= result.is_change();
            let durable = !(save || (dirty && self.durability == Durability::Fsync));
            if !durable {
                waits = Some(ticket);
            }
            batch.push(Done::Stored { ticket, result, durable });
        }
        self.send(batch);
        if let Some(error) = failure {
            self.poison(error);
        }
        if dirty && self.durability == Durability::Interval && self.unsynced_since.is_none() {
            self.unsynced_since = Some(now());
        }
        if let Some(through) = waits
            && self.sync()
        {
            self.send(vec![Done::Durable { through }]);
        }
    }

    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult> {
        let count = ops.len();
        let failed = |error: &StoreError| vec![StoreResult::Failed(error.clone()); count];
        if let Some(error) = &self.poisoned {
            return failed(error);
        }
        let written = catch_unwind(AssertUnwindSafe(|| self.store.write(ops)));
        written.unwrap_or_else(|_| failed(&StoreError::Poisoned { reason: "a write panicked".to_owned() }))
    }

    /// Whether all that was written is durable now.
    fn sync(&mut self) -> bool {
        self.unsynced_since = None;
        if self.poisoned.is_some() {
            return false;
        }
        let synced = catch_unwind(AssertUnwindSafe(|| self.store.sync()));
        match synced {
            Ok(Ok(())) => true,
            Ok(Err(error)) => self.poison(error),
            Err(_) => self.poison(StoreError::Poisoned { reason: "a flush panicked".to_owned() }),
        }
    }

    fn poison(&mut self, error: StoreError) -> bool {
        if self.poisoned.is_none() {
            self.poisoned = Some(error.clone());
            self.send(vec![Done::Poisoned(error)]);
        }
        false
    }

    fn send(&self, batch: Vec<Done>) {
        // Nobody listens any more when the worker is being dropped; the writes still count.
        let _ = self.results.blocking_send(batch);
    }

    fn until_sync(&self) -> Option<Duration> {
        let since = self.unsynced_since?;
        Some((since + SYNC_INTERVAL).saturating_duration_since(now()))
    }
}

/// The error after which nothing can be written any more, if this result is one.
fn fatal(result: &StoreResult) -> Option<&StoreError> {
    if let StoreResult::Failed(error @ StoreError::Poisoned { .. }) = result { Some(error) } else { None }
}

#[expect(clippy::disallowed_methods, reason = "the interval of fsyncs is real time, on a real disk")]
fn now() -> Instant {
    Instant::now()
}
