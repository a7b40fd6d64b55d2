//! Requests to one peer that are encoded and not yet sent: one ring of bytes, so that a request costs no allocation.

use std::collections::VecDeque;

/// What a waiting request counts beside its frame: bookkeeping, so that tiny requests are bounded too.
pub const QUEUED_REQUEST_BYTES: usize = 256;

/// Above this, the memory of an emptied queue is given back.
const KEPT_BYTES: usize = 256 << 10;

/// Frames in the order of their ids. Removal from the middle leaves a gap that is squeezed out later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: VecDeque<u8>,
    frames: VecDeque<Waiting>,
    live: usize,
    live_bytes: usize,
    taken: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    bytes: usize,
    live: bool,
}

impl Queue {
    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// What counts towards the bound.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.live_bytes + self.live * QUEUED_REQUEST_BYTES
    }

    /// The greatest id that ever left by [`Queue::take`] or [`Queue::clear`]: all that wait have greater ones.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Appends a frame. Ids must rise.
    pub(crate) fn push(&mut self, id: u64, frame: &[u8]) {
        debug_assert!(self.frames.back().is_none_or(|last| last.id < id) && self.taken < id, "ids rise");
        self.bytes.extend(frame);
        self.frames.push_back(Waiting { id, bytes: frame.len(), live: true });
        self.live += 1;
        self.live_bytes += frame.len();
    }

    /// Moves up to `frames` frames to the end of `out`, until `out` has `enough_bytes`. Returns how many.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>, frames: usize, enough_bytes: usize) -> usize {
        let before = out.len();
        let (mut count, mut run_bytes) = (0, 0);
        while count < frames && out.len() + run_bytes < enough_bytes {
            let Some(front) = self.frames.pop_front() else { break };
            if front.live {
                count += 1;
                run_bytes += front.bytes;
                self.taken = front.id;
            } else {
                self.move_front(out, run_bytes);
                run_bytes = 0;
                self.bytes.drain(..front.bytes);
            }
        }
        self.move_front(out, run_bytes);
        self.live -= count;
        self.live_bytes -= out.len() - before;
        count
    }

    /// Removes the frame with this id. Returns whether it waited.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Ok(index) = self.frames.binary_search_by_key(&id, |frame| frame.id) else { return false };
        let Some(frame) = self.frames.get_mut(index).filter(|frame| frame.live) else { return false };
        frame.live = false;
        self.live -= 1;
        self.live_bytes -= frame.bytes;
        if self.live == 0 {
            self.reset();
        } else if self.bytes.len() > 2 * self.live_bytes + KEPT_BYTES
            || self.frames.len() > 2 * self.live + 1024
        {
            self.squeeze();
        }
        true
    }

    /// Drops all that waits.
    pub(crate) fn clear(&mut self) {
        if let Some(last) = self.frames.back() {
            self.taken = last.id;
        }
        self.live = 0;
        self.live_bytes = 0;
        self.reset();
    }

    fn reset(&mut self) {
        self.frames.clear();
        self.bytes.clear();
        self.frames.shrink_to(1024);
        self.bytes.shrink_to(KEPT_BYTES);
    }

    fn squeeze(&mut self) {
        let mut bytes = Vec::with_capacity(self.live_bytes);
        for frame in &self.frames {
            if frame.live {
                append_front(&self.bytes, &mut bytes, frame.bytes);
            }
            self.bytes.drain(..frame.bytes);
        }
        self.bytes = bytes.into();
        self.frames.retain(|frame| frame.live);
    }

    fn move_front(&mut self, out: &mut Vec<u8>, count: usize) {
        append_front(&self.bytes, out, count);
        self.bytes.drain(..count);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }
}

fn append_front(ring: &VecDeque<u8>, out: &mut Vec<u8>, count: usize) {
    let (first, second) = ring.as_slices();
    match first.get(..count) {
        Some(front) => out.extend_from_slice(front),
        None => {
            out.extend_from_slice(first);
            out.extend_from_slice(second.get(..count - first.len()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
