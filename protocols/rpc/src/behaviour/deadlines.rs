//! When requests time out: one ordered set and one timer for all of them.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_timer::Delay;

use crate::{RequestId, clock};

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeSet<(Instant, RequestId)>,
    timer: Option<Timer>,
}

/// Setting a timer costs a system call, so it is only ever set earlier. It may fire for a request that is long done.
#[derive(Debug)]
struct Timer {
    due: Instant,
    delay: Delay,
}

impl Deadlines {
    /// Returns whether the timer has to be set anew, which [`Deadlines::poll_expired`] does.
    pub(crate) fn insert(&mut self, deadline: Instant, id: RequestId) -> bool {
        self.set.insert((deadline, id));
        self.timer.as_ref().is_none_or(|timer| deadline < timer.due)
    }

    pub(crate) fn remove(&mut self, deadline: Instant, id: RequestId) {
        self.set.remove(&(deadline, id));
    }

    /// Takes out the next request that is due.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<RequestId> {
        loop {
            let Some(&(first, id)) = self.set.first() else { return Poll::Pending };
            if let Some(timer) = &mut self.timer
                && timer.due <= first
            {
                match Pin::new(&mut timer.delay).poll(cx) {
                    Poll::Ready(()) => self.timer = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let now = clock::now();
            if first <= now {
                self.set.pop_first();
                return Poll::Ready(id);
            }
            self.timer = Some(Timer { due: first, delay: Delay::new(first - now) });
        }
    }
}
