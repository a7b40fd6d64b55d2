//! The reading half of a substream: one buffer that holds whole frames, however the bytes arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::AsyncRead;

use crate::PeerFault;
use crate::frame::{self, Front, LENGTH_BYTES};
use crate::link::BATCH_BYTES;

/// An idle substream holds this much; a busy one grows to [`BATCH_BYTES`], and beyond only for a larger frame.
const SMALL_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    frame_limit: usize,
}

impl Reader {
    pub(crate) fn new(frame_limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, frame_limit }
    }

    /// The first frame in the buffer, as far as it is there.
    pub(crate) fn front(&self) -> Result<Front<'_>, PeerFault> {
        frame::parse(self.buffer.get(self.start..self.end).unwrap_or_default(), self.frame_limit)
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once. `Ok(0)` is the end of the substream.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = ready!(Pin::new(stream).poll_read(cx, space))?;
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Memory follows the bytes that came, never the length that a header announces.
    fn make_room(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BATCH_BYTES {
                self.buffer = vec![0; BATCH_BYTES];
            }
        }
        if self.start > 0 && self.buffer.len() - self.end < SMALL_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let most = BATCH_BYTES.max(LENGTH_BYTES + self.frame_limit);
            self.buffer.resize((self.buffer.len() * 2).clamp(SMALL_BYTES, most), 0);
        }
    }
}

#[cfg(test)]
mod tests;
