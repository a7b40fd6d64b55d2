//! Runs store calls on threads of their own, so that no disk ever holds up the swarm's task.
//!
//! One writer executes writes in ticket order and shares one fsync among those that wait together
//! (group commit). Readers answer beside it: a read does not wait for an fsync, nor for a write
//! that is queued.
//!
//! [`Worker::try_submit`] never blocks; [`Worker::poll`] hands out what happened, in batches. The
//! calling contract: after a submission was refused, poll until something comes, then submit
//! again. A refusal means that operations are queued, so something does come.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use henge_types::Content;
use tokio::sync::mpsc;

use self::queue::Queue;
use super::{ReadOp, Store, StoreError, StoreOp, StoreResult, Ticket, WriteOp};

mod queue;
mod reader;
mod writer;

/// Operations of each kind (reads, writes) that may wait.
const QUEUE_MAX_OPS: usize = 1024;
/// Bytes of records and values that waiting writes may hold.
const QUEUE_MAX_BYTES: usize = 32 << 20;
/// Writes that share one batch and one fsync. Above it the fsync is a small part of the cost.
const GROUP_MAX: usize = 256;
/// Reads that one reader takes at once: few, as all are answered when the last is done.
const READS_MAX: usize = 16;
/// Batches of results that may wait to be polled. Then the threads wait too.
const RESULTS_MAX: usize = 64;
/// How many threads read: with 64 gets under way two answered twice as many as one (measured on
/// two cores), and one never waits behind another's disk.
const READERS: usize = 2;
/// How long a write may stay unsynced under [`Durability::Interval`].
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// When a write counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once an fsync covers it.
    #[default]
    Fsync,
    /// At once; an fsync follows within 100 ms. A crash of the machine may lose that much.
    Interval,
    /// At once; the operating system writes it out when it likes. A crash of the process alone
    /// loses nothing.
    Os,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was executed.
    Stored {
        /// Which.
        ticket: Ticket,
        /// Its result.
        result: StoreResult,
        /// Whether the result may be relied on already. Otherwise a [`Done::Durable`] with this
        /// ticket or a later one follows, or [`Done::Poisoned`]. [`WriteOp::Save`] is never
        /// durable at once; a result that changed nothing depends on no fsync of its own.
        durable: bool,
    },
    /// All writes up to this ticket are durable.
    Durable {
        /// The last of them.
        through: Ticket,
    },
    /// The store failed for good: what was not reported durable may be lost, and every further
    /// operation fails. Said once.
    Poisoned(StoreError),
}

/// The threads of one store. Dropping it executes and syncs what was submitted, but nobody hears
/// of it: [`Worker::close`] does the same and tells.
pub struct Worker {
    writes: Arc<Queue<(Ticket, WriteOp)>>,
    reads: Arc<Queue<(Ticket, ReadOp)>>,
    results: mpsc::Receiver<Vec<Done>>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the system gives no thread.
    pub fn spawn(store: Arc<dyn Store>, durability: Durability) -> Result<Self, StoreError> {
        let (sender, results) = mpsc::channel(RESULTS_MAX);
        let mut worker = Self {
            writes: Arc::new(Queue::new(QUEUE_MAX_OPS, QUEUE_MAX_BYTES)),
            reads: Arc::new(Queue::new(QUEUE_MAX_OPS, QUEUE_MAX_BYTES)),
            results,
            threads: Vec::with_capacity(READERS + 1),
        };
        for _ in 0..READERS {
            let (store, reads, sender) = (Arc::clone(&store), Arc::clone(&worker.reads), sender.clone());
            worker.start("henge-read", move || reader::run(&*store, &reads, &sender))?;
        }
        let writes = Arc::clone(&worker.writes);
        worker
            .start("henge-write", move || writer::Writer::new(&*store, &sender, durability).run(&writes))?;
        Ok(worker)
    }

    /// Gives an operation to its thread. Tickets of writes must rise.
    ///
    /// # Errors
    /// The operation itself, when as many as may are waiting: poll first (see the module).
    #[expect(clippy::result_large_err, reason = "the caller keeps what is refused, and submits it again")]
    pub fn try_submit(&self, ticket: Ticket, op: StoreOp) -> Result<(), StoreOp> {
        match op {
            StoreOp::Read(op) => self.reads.push((ticket, op), 0).map_err(|(_, op)| StoreOp::Read(op)),
            StoreOp::Write(op) => {
                let bytes = write_bytes(&op);
                self.writes.push((ticket, op), bytes).map_err(|(_, op)| StoreOp::Write(op))
            }
        }
    }

    /// Hands out the next batch of what happened, or wakes the task when there is one.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Done>> {
        match self.results.poll_recv(cx) {
            Poll::Ready(Some(batch)) => Poll::Ready(batch),
            // The threads live as long as this does.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Executes and syncs what was submitted, ends the threads, and returns all that was not
    /// polled yet. The store itself closes when its last `Arc` is dropped.
    pub async fn close(mut self) -> Vec<Done> {
        self.close_queues();
        let mut rest = Vec::new();
        while let Some(batch) = self.results.recv().await {
            rest.extend(batch);
        }
        rest
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let failed = |e: io::Error| StoreError::Io { path: name.to_owned(), reason: e.to_string() };
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)?);
        Ok(())
    }

    fn close_queues(&self) {
        self.writes.close();
        self.reads.close();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close_queues();
        // Otherwise a thread could wait for ever to hand over a result.
        self.results.close();
        for thread in self.threads.drain(..) {
            // A panic has been printed where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

fn write_bytes(op: &WriteOp) -> usize {
    match op {
        WriteOp::Update { write, .. } | WriteOp::UpdateHint { write, .. } => match &write.content {
            Content::Value(bytes) => bytes.len(),
            Content::Tombstone => 0,
        },
        WriteOp::Merge { record, .. }
        | WriteOp::Repair { record, .. }
        | WriteOp::MergeHint { record, .. } => record.size_bytes(),
        WriteOp::MergeMany { records } => records.iter().map(|(_, record, _)| record.size_bytes()).sum(),
        WriteOp::Collect { .. }
        | WriteOp::DropPartition { .. }
        | WriteOp::DropHint { .. }
        | WriteOp::QuarantineHint { .. } => 0,
        WriteOp::Save { value, .. } => value.len(),
    }
}
