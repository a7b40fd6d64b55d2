//! CBOR (RFC 8949) by serde: strict on the way in, versioned where it is stored.
//!
//! Structures are maps with text keys (unknown keys are ignored, so a field may be added), except
//! the small and frequent ones (dots, clocks, records), which are arrays. See
//! `protocols/README.md` for the CDDL of every message.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::REASON_MAX_BYTES;

/// Why bytes are not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not well-formed CBOR of the expected shape.
    #[error("not a valid encoding: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// A complete value is followed by more bytes.
    #[error("{bytes} bytes too many after a complete value")]
    Trailing {
        /// How many bytes are left over.
        bytes: usize,
    },
    /// There is no version byte.
    #[error("empty where a version byte was expected")]
    Empty,
    /// Written by a newer henge.
    #[error("format version {found}, but this henge reads up to {newest}: use the newer henge that wrote it")]
    Newer {
        /// The version found.
        found: u8,
        /// The newest version that is understood.
        newest: u8,
    },
}

/// Encodes `value`. Encoding into memory fails only for a value that serde itself refuses.
///
/// # Errors
/// [`DecodeError::Malformed`] with serde's reason; none of henge's own types cause it.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, DecodeError> {
    encode_after(Vec::with_capacity(128), value)
}

/// Decodes exactly one value from `bytes`. Nesting is bounded (256), and no length in the
/// input is trusted for an allocation.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::Trailing`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = cbor4ii::core::utils::SliceReader::new(bytes);
    let value =
        T::deserialize(&mut cbor4ii::serde::Deserializer::new(&mut reader)).map_err(|e| malformed(&e))?;
    let left = cbor4ii::core::dec::Read::fill(&mut reader, usize::MAX).map_or(0, |rest| rest.as_ref().len());
    if left > 0 {
        return Err(DecodeError::Trailing { bytes: left });
    }
    Ok(value)
}

/// A format that is stored: a version byte, then CBOR.
pub trait Stored: Serialize + DeserializeOwned {
    /// The version that is written. Older ones are migrated by [`Stored::migrate`].
    const VERSION: u8;

    /// Reads an older version; the default knows none.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` (without the version byte) are not of that version.
    fn migrate(version: u8, _bytes: &[u8]) -> Result<Self, DecodeError> {
        Err(DecodeError::Malformed { reason: format!("unknown format version {version}") })
    }

    /// The stored form of this value.
    ///
    /// # Errors
    /// As for [`encode`].
    fn to_stored(&self) -> Result<Vec<u8>, DecodeError> {
        encode_after(vec![Self::VERSION], self)
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] for a version this build does not know, else as [`decode`].
    fn from_stored(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            None => Err(DecodeError::Empty),
            Some((version, rest)) if *version == Self::VERSION => decode(rest),
            Some((version, _)) if *version > Self::VERSION => {
                Err(DecodeError::Newer { found: *version, newest: Self::VERSION })
            }
            Some((version, rest)) => Self::migrate(*version, rest),
        }
    }
}

/// `head`, and then `value` encoded.
///
/// # Errors
/// As for [`encode`].
pub fn encode_after<T: Serialize + ?Sized>(head: Vec<u8>, value: &T) -> Result<Vec<u8>, DecodeError> {
    let mut writer = cbor4ii::core::utils::BufWriter::new(head);
    value.serialize(&mut cbor4ii::serde::Serializer::new(&mut writer)).map_err(|e| malformed(&e))?;
    Ok(writer.into_inner())
}

// A reason may quote what a remote sent: it is cut before it reaches a log.
fn malformed(error: &dyn std::fmt::Display) -> DecodeError {
    let mut reason = error.to_string();
    let cut = (0..=REASON_MAX_BYTES).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    reason.truncate(cut);
    DecodeError::Malformed { reason }
}
