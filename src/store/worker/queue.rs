//! The bounded queue between the swarm's task, which never waits, and a store thread, which does.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounded in entries and in bytes. Pushing never blocks; taking does.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<(T, usize)>,
    bytes: usize,
    sleepers: usize,
    closed: bool,
}

/// What [`Queue::take`] found.
#[derive(Debug)]
pub(super) enum Taken<T> {
    /// At least one entry, in order.
    Some(Vec<T>),
    /// Nothing within the time.
    Timeout,
    /// Nothing, and nothing more to come.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let state = State { entries: VecDeque::new(), bytes: 0, sleepers: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), max_entries, max_bytes }
    }

    /// Adds an entry of about `bytes`. A full or closed queue gives it back. One entry always
    /// fits into an empty queue, however large.
    pub(super) fn push(&self, entry: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        let over = state.entries.len() >= self.max_entries || state.bytes + bytes > self.max_bytes;
        if state.closed || (over && !state.entries.is_empty()) {
            return Err(entry);
        }
        state.entries.push_back((entry, bytes));
        state.bytes += bytes;
        let wake = state.sleepers > 0;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for entries, up to `timeout`, and takes at most `max` of them.
    pub(super) fn take(&self, max: usize, timeout: Option<Duration>) -> Taken<T> {
        let mut state = self.lock();
        if state.entries.is_empty() && !state.closed {
            state.sleepers += 1;
            let idle = |state: &mut State<T>| state.entries.is_empty() && !state.closed;
            state = match timeout {
                None => self.filled.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let waited = self.filled.wait_timeout_while(state, limit, idle);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleepers -= 1;
        }
        if state.entries.is_empty() {
            return if state.closed { Taken::Closed } else { Taken::Timeout };
        }
        let count = max.min(state.entries.len());
        let (entries, bytes): (Vec<T>, Vec<usize>) = state.entries.drain(..count).unzip();
        state.bytes -= bytes.iter().sum::<usize>();
        let more = !state.entries.is_empty() && state.sleepers > 0;
        drop(state);
        if more {
            self.filled.notify_one();
        }
        Taken::Some(entries)
    }

    /// Takes no more entries; those within are still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
