//! Delivery of hints (Dynamo §4.6): whose turn it is, where it goes on, and how fast.
//!
//! Each primary has a queue in the store. A pass goes through it in batches, one at a time for each
//! primary; a pass that finds nothing ends the queue. What could not be handed over stays, and the
//! next pass comes after a pause. All primaries share one rate, so that a peer that comes back gets
//! what it missed beside the traffic of clients.

use std::collections::BTreeMap;
use std::time::Duration;

use henge_types::{Key, PeerId};

/// Bytes of one batch, by the size of its records. A record larger than that comes alone.
pub const BATCH_MAX_BYTES: usize = 256 << 10;
/// Hints of one batch.
pub const BATCH_MAX: usize = henge_handoff::DELIVER_MAX;
/// The pause after a pass that handed over less than all; it doubles from one to the next.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Which queues are being delivered. Bounded by the primaries that have any.
///
/// # Calling contract
///
/// - Tell of queues by [`Delivery::on_queue`], and ask [`Delivery::due`] what to read, now and
///   whenever [`Delivery::next_due`] is reached.
/// - Each read gets one [`Delivery::on_read`] or [`Delivery::on_read_failed`], and each hint that a
///   read found one [`Delivery::on_settled`].
#[derive(Debug)]
pub struct Delivery {
    queues: BTreeMap<PeerId, Queue>,
    bytes_per_second: u64,
    /// When what was read before has had its time.
    free_at: Duration,
}

#[derive(Debug)]
struct Queue {
    /// The last key of the pass so far.
    after: Option<Key>,
    /// The worst that happened in the pass.
    worst: Settled,
    /// What is under way; nothing is read meanwhile.
    batch: Option<Batch>,
    not_before: Duration,
    pause: Duration,
}

/// A batch under way.
#[derive(Debug, Default)]
struct Batch {
    /// Hints that are not settled yet.
    waiting: usize,
    more: bool,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose queue.
    pub primary: PeerId,
    /// The key to go on after.
    pub after: Option<Key>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How many hints; each is to be settled.
    pub hints: usize,
    /// How many bytes they have.
    pub bytes: usize,
    /// The last of their keys.
    pub last: Option<Key>,
    /// Whether there are others after them.
    pub more: bool,
}

/// What became of a hint, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settled {
    /// It waits no more.
    Done,
    /// It was not taken. Others of the same queue may be.
    Kept,
    /// Nobody answered, or the store failed: others would fare no better.
    Failed,
}

impl Queue {
    fn new(now: Duration) -> Self {
        Self { after: None, worst: Settled::Done, batch: None, not_before: now, pause: PAUSE_MIN }
    }

    fn end_batch(&mut self, more: bool, now: Duration) {
        self.batch = None;
        self.not_before = now;
        if more && self.worst < Settled::Failed {
            return;
        }
        self.after = None;
        if self.worst == Settled::Done {
            self.pause = PAUSE_MIN;
        } else {
            self.not_before = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.worst = Settled::Done;
    }
}

impl Delivery {
    /// Delivers up to `bytes_per_second`, over all primaries; 0 is taken for 1.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { queues: BTreeMap::new(), bytes_per_second: bytes_per_second.max(1), free_at: Duration::ZERO }
    }

    /// Something waits for `primary`.
    pub fn on_queue(&mut self, primary: PeerId, now: Duration) {
        self.queues.entry(primary).or_insert_with(|| Queue::new(now));
    }

    /// `primary` is there again: its pause is over.
    pub fn on_reachable(&mut self, primary: &PeerId, now: Duration) {
        if let Some(queue) = self.queues.get_mut(primary) {
            queue.not_before = queue.not_before.min(now);
            queue.pause = PAUSE_MIN;
        }
    }

    /// For whom something waits.
    pub fn primaries(&self) -> impl Iterator<Item = &PeerId> {
        self.queues.keys()
    }

    /// Whether anything is being handed over.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.queues.values().any(|queue| queue.batch.is_some())
    }

    /// What to read now; `ready` tells for whom it makes sense.
    pub fn due(&mut self, now: Duration, ready: impl Fn(&PeerId) -> bool) -> Vec<Read> {
        if self.free_at > now {
            return Vec::new();
        }
        let mut reads = Vec::new();
        for (primary, queue) in &mut self.queues {
            if queue.batch.is_none() && queue.not_before <= now && ready(primary) {
                queue.batch = Some(Batch::default());
                reads.push(Read { primary: *primary, after: queue.after.clone() });
            }
        }
        reads
    }

    /// When [`Delivery::due`] may have something for those that are `ready`.
    pub fn next_due(&self, ready: impl Fn(&PeerId) -> bool) -> Option<Duration> {
        let idle = |(primary, queue): &(&PeerId, &Queue)| queue.batch.is_none() && ready(primary);
        self.queues.iter().filter(idle).map(|(_, queue)| queue.not_before.max(self.free_at)).min()
    }

    /// A read found this much.
    pub fn on_read(&mut self, primary: &PeerId, found: Found, now: Duration) {
        let Some(queue) = self.queues.get_mut(primary) else { return };
        if found.hints == 0 && !found.more && queue.after.is_none() {
            self.queues.remove(primary);
            return;
        }
        queue.after = found.last.or(queue.after.take());
        if found.hints == 0 {
            return queue.end_batch(found.more, now);
        }
        queue.batch = Some(Batch { waiting: found.hints, more: found.more });
        let bytes = u64::try_from(found.bytes).unwrap_or(u64::MAX);
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second);
        self.free_at = self.free_at.max(now) + takes;
    }

    /// A read failed.
    pub fn on_read_failed(&mut self, primary: &PeerId, now: Duration) {
        if let Some(queue) = self.queues.get_mut(primary) {
            queue.worst = Settled::Failed;
            queue.end_batch(false, now);
        }
    }

    /// One hint of the batch of `primary` is settled.
    pub fn on_settled(&mut self, primary: &PeerId, settled: Settled, now: Duration) {
        let Some(queue) = self.queues.get_mut(primary) else { return };
        let Some(batch) = &mut queue.batch else { return };
        queue.worst = queue.worst.max(settled);
        batch.waiting = batch.waiting.saturating_sub(1);
        if batch.waiting == 0 {
            let more = batch.more;
            queue.end_batch(more, now);
        }
    }
}

#[cfg(test)]
mod tests;
