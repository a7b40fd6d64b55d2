//! Keys.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::limits::KEY_MAX_BYTES;
use crate::position::Position;

/// A key: 1 to 1,024 arbitrary bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Key(Bytes);

/// Why bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key has at least one byte.
    #[error("the key is empty: a key has 1 to {KEY_MAX_BYTES} bytes")]
    Empty,
    /// A key has at most [`KEY_MAX_BYTES`] bytes.
    #[error("the key has {bytes} bytes: a key has 1 to {KEY_MAX_BYTES} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Key {
    /// Checks the length of `bytes`.
    ///
    /// # Errors
    /// [`KeyError`] when there are none, or over 1,024.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(KeyError::Empty),
            1..=KEY_MAX_BYTES => Ok(Self(bytes)),
            bytes => Err(KeyError::TooLong { bytes }),
        }
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where the key lies on the ring: the first 64 bits of its SHA-256.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of_hash(Sha256::digest(&self.0).as_ref())
    }
}

impl TryFrom<Bytes> for Key {
    type Error = KeyError;

    fn try_from(bytes: Bytes) -> Result<Self, KeyError> {
        Self::new(bytes)
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
