//! The bodies: serde values as CBOR, encoded under the frame limit and decoded with bounded depth.

use cbor4ii::core::{dec, enc};
use cbor4ii::serde::{Deserializer, EncodeError, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use void::Void;

use crate::frame::{self, HEAD_BYTES, Kind};

/// How deep a body may nest. Each array, map, enum or option is one level; 128 levels stay within a small thread's stack.
const MAX_DEPTH: usize = 128;

/// Why a value does not become a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unencodable {
    /// The frame would have this length.
    TooLarge { bytes: usize },
    /// The value's own `Serialize` refused.
    Unserialisable,
}

/// Appends one whole frame to `buffer`. On an error `buffer` is as before, and never held more than the limit.
pub(crate) fn encode<T: Serialize>(
    buffer: &mut Vec<u8>,
    kind: Kind,
    id: u64,
    value: &T,
    limit: usize,
) -> Result<(), Unencodable> {
    let start = frame::begin(buffer, kind, id);
    let sink = Sink { buffer, room: limit.saturating_sub(HEAD_BYTES), written: 0 };
    let mut serializer = Serializer::new(sink);
    let result = value.serialize(&mut serializer);
    let bytes = serializer.into_inner().written + HEAD_BYTES;
    let error = match result {
        Ok(()) if bytes <= limit => {
            frame::finish(buffer, start);
            return Ok(());
        }
        Ok(()) => Unencodable::TooLarge { bytes },
        Err(error) => {
            log_refusal(&error);
            Unencodable::Unserialisable
        }
    };
    buffer.truncate(start);
    Err(error)
}

#[cold]
fn log_refusal(error: &EncodeError<Void>) {
    tracing::debug!(%error, "a message could not be serialised");
}

/// Reads a value that takes up the whole of `body`.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let mut deserializer = Deserializer::new(Source { body, depth_left: MAX_DEPTH });
    let value = T::deserialize(&mut deserializer)
        .inspect_err(|error| tracing::debug!(%error, bytes = body.len(), "a body could not be decoded"))
        .ok()?;
    deserializer.into_inner().body.is_empty().then_some(value)
}

/// Keeps what fits and counts the rest, so that a message over the limit is measured without being stored.
struct Sink<'a> {
    buffer: &'a mut Vec<u8>,
    room: usize,
    written: usize,
}

impl enc::Write for Sink<'_> {
    type Error = Void;

    #[inline]
    fn push(&mut self, input: &[u8]) -> Result<(), Void> {
        self.written = self.written.saturating_add(input.len());
        if self.written <= self.room {
            self.buffer.extend_from_slice(input);
        }
        Ok(())
    }
}

/// Declared lengths are only ever taken from what is there, so they allocate nothing by themselves.
struct Source<'de> {
    body: &'de [u8],
    depth_left: usize,
}

impl<'de> dec::Read<'de> for Source<'de> {
    type Error = Void;

    #[inline]
    fn fill<'short>(&'short mut self, want: usize) -> Result<dec::Reference<'de, 'short>, Void> {
        Ok(dec::Reference::Long(self.body.get(..want).unwrap_or(self.body)))
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.body = self.body.get(n..).unwrap_or_default();
    }

    #[inline]
    fn step_in(&mut self) -> bool {
        match self.depth_left.checked_sub(1) {
            Some(left) => {
                self.depth_left = left;
                true
            }
            None => false,
        }
    }

    #[inline]
    fn step_out(&mut self) {
        self.depth_left += 1;
    }
}

#[cfg(test)]
mod tests;
