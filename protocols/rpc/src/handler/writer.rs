//! The writing half of a substream: frames gathered into one buffer, one flush when there is nothing more to gather.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::AsyncWrite;

use crate::link::BATCH_BYTES;

/// After this much in one go, the other direction and the other tasks get their turn.
const TURN_BYTES: usize = 4 * BATCH_BYTES;

#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Writer {
    /// Whether all that was taken is also flushed.
    pub(crate) fn is_idle(&self) -> bool {
        self.written == self.buffer.len() && !self.unflushed
    }

    /// Writes what `refill` puts into the empty buffer until that is nothing, then flushes.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        mut refill: impl FnMut(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut turn_bytes = 0;
        loop {
            if self.written == self.buffer.len() {
                self.reset();
                if turn_bytes >= TURN_BYTES {
                    cx.waker().wake_by_ref();
                    break;
                }
                refill(&mut self.buffer);
                if self.buffer.is_empty() {
                    break;
                }
            }
            let rest = self.buffer.get(self.written..).unwrap_or_default();
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.unflushed = true;
                    turn_bytes += count;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.poll_flush(cx, stream)
    }

    /// Also after a write that found no room: what was written must not wait for the rest.
    fn poll_flush<S: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(result) = Pin::new(stream).poll_flush(cx)
        {
            result?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.written = 0;
        self.buffer.clear();
        // One large message should not hold its memory for the life of the connection.
        self.buffer.shrink_to(TURN_BYTES);
    }
}

#[cfg(test)]
mod tests;
