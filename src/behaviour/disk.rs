//! The store's worker, and what waits until it has room.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::store::worker::{Done, Worker};
use crate::store::{StoreOp, Ticket};

/// Gives store operations to the worker in order, a burst at a time, and keeps those that it has
/// no room for.
///
/// Bounded by the behaviour: while the worker has no room ([`Disk::is_behind`]) it takes no
/// requests that cause more, so that what is kept here comes from one turn of the core.
#[derive(Debug)]
pub(super) struct Disk {
    worker: Worker,
    reads: VecDeque<(Ticket, StoreOp)>,
    writes: VecDeque<(Ticket, StoreOp)>,
    behind: bool,
}

impl Disk {
    pub(super) fn new(worker: Worker) -> Self {
        Self { worker, reads: VecDeque::new(), writes: VecDeque::new(), behind: false }
    }

    /// Whether the worker has more than it can take.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// For the next [`Disk::flush`].
    pub(super) fn submit(&mut self, ticket: Ticket, op: StoreOp) {
        match op {
            StoreOp::Read(_) => self.reads.push_back((ticket, op)),
            StoreOp::Write(_) => self.writes.push_back((ticket, op)),
        }
    }

    /// Hands over what was submitted. All at once: a thread that is woken for each operation
    /// spends more time on waking up than on the operation.
    pub(super) fn flush(&mut self) {
        let reads = flush(&self.worker, &mut self.reads);
        let writes = flush(&self.worker, &mut self.writes);
        self.behind = !(reads && writes);
    }

    /// What the store has done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Done>> {
        let polled = self.worker.poll(cx);
        if self.behind && polled.is_ready() {
            self.flush();
        }
        polled
    }
}

/// Whether there was room for all.
fn flush(worker: &Worker, kept: &mut VecDeque<(Ticket, StoreOp)>) -> bool {
    while let Some((ticket, op)) = kept.pop_front() {
        if let Err(op) = worker.try_submit(ticket, op) {
            kept.push_front((ticket, op));
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::Disk;
    use crate::store::memory::Memory;
    use crate::store::worker::{Done, Durability, Worker};
    use crate::store::{MetaKey, StoreError, StoreOp, Ticket, WriteOp};

    #[tokio::test]
    async fn more_than_the_worker_takes_is_kept_and_done_in_order() -> Result<(), StoreError> {
        const OPS: u64 = 10_000;
        let mut disk = Disk::new(Worker::spawn(Arc::new(Memory::new()), Durability::Os)?);
        for ticket in 0..OPS {
            let value = Bytes::from_static(b"value");
            disk.submit(Ticket(ticket), StoreOp::Write(WriteOp::Save { key: MetaKey::Node, value }));
        }
        disk.flush();
        assert!(disk.is_behind());
        let mut done = Vec::new();
        while done.len() < OPS as usize {
            for what in poll_fn(|cx| disk.poll(cx)).await {
                if let Done::Stored { ticket, .. } = what {
                    done.push(ticket.0);
                }
            }
        }
        assert_eq!(done, (0..OPS).collect::<Vec<_>>());
        assert!(!disk.is_behind());
        Ok(())
    }
}
