//! The store's worker, and what waits until it has room.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::store::worker::{Done, Worker};
use crate::store::{StoreOp, Ticket};

/// Gives store operations to the worker in order, and keeps those that it has no room for.
///
/// Bounded by the behaviour: while anything is kept back here, it takes no requests that cause
/// more ([`Disk::is_behind`]), so that what is kept comes from a few inputs of the core.
#[derive(Debug)]
pub(super) struct Disk {
    worker: Worker,
    reads: VecDeque<(Ticket, StoreOp)>,
    writes: VecDeque<(Ticket, StoreOp)>,
}

impl Disk {
    pub(super) fn new(worker: Worker) -> Self {
        Self { worker, reads: VecDeque::new(), writes: VecDeque::new() }
    }

    /// Whether the worker has more than it can take.
    pub(super) fn is_behind(&self) -> bool {
        !self.reads.is_empty() || !self.writes.is_empty()
    }

    pub(super) fn submit(&mut self, ticket: Ticket, op: StoreOp) {
        let kept = match op {
            StoreOp::Read(_) => &mut self.reads,
            StoreOp::Write(_) => &mut self.writes,
        };
        if !kept.is_empty() {
            kept.push_back((ticket, op));
        } else if let Err(op) = self.worker.try_submit(ticket, op) {
            kept.push_back((ticket, op));
        }
    }

    /// What the store has done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Done>> {
        let polled = self.worker.poll(cx);
        if polled.is_ready() {
            submit_kept(&self.worker, &mut self.reads);
            submit_kept(&self.worker, &mut self.writes);
        }
        polled
    }
}

fn submit_kept(worker: &Worker, kept: &mut VecDeque<(Ticket, StoreOp)>) {
    while let Some((ticket, op)) = kept.pop_front() {
        if let Err(op) = worker.try_submit(ticket, op) {
            kept.push_front((ticket, op));
            return;
        }
    }
}
