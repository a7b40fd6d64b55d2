//! The thread that reads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc::Sender;

use super::queue::{Queue, Taken};
use super::{Done, READS_MAX};
use crate::store::{ReadOp, Store, StoreError, StoreResult, Ticket};

/// Answers until the queue is closed and empty.
pub(super) fn run(store: &dyn Store, queue: &Queue<(Ticket, ReadOp)>, results: &Sender<Vec<Done>>) {
    while let Taken::Some(reads) = queue.take(READS_MAX, None) {
        let answer = |(ticket, op): (Ticket, ReadOp)| {
            let result = catch_unwind(AssertUnwindSafe(|| store.read(&op)));
            let result = result.unwrap_or_else(|_| {
                StoreResult::Failed(StoreError::Poisoned { reason: "a read panicked".to_owned() })
            });
            Done::Stored { ticket, result, durable: true }
        };
        // Nobody listens any more when the worker is being dropped.
        let _ = results.blocking_send(reads.into_iter().map(answer).collect());
    }
}
