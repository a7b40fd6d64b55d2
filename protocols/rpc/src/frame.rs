//! The frame: what goes over the wire, without the bodies. Pure: bytes in, bytes out.

use crate::PeerFault;

/// Bytes of the length prefix.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Bytes of kind and id, which the length counts.
pub(crate) const HEAD_BYTES: usize = 9;

/// What a frame is. The byte on the wire is part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Failure,
}

impl Kind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Response => 1,
            Self::Failure => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Request),
            1 => Some(Self::Response),
            2 => Some(Self::Failure),
            _ => None,
        }
    }

    /// The fault of a remote that sends this kind where it has no place.
    pub(crate) const fn unexpected(self) -> PeerFault {
        PeerFault::UnexpectedKind { kind: self.to_byte() }
    }
}

/// One whole frame inside a read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) body: &'a [u8],
}

/// What the front of a read buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front<'a> {
    /// A frame, which ends after `bytes`.
    Whole { frame: Frame<'a>, bytes: usize },
    /// The beginning of a frame that has `bytes` in all, as far as is known.
    Partial { bytes: usize },
}

/// Reads the front of `buffer`. A length over `limit` is a fault before a byte of the body is waited for.
pub(crate) fn parse(buffer: &[u8], limit: usize) -> Result<Front<'_>, PeerFault> {
    let Some((length, rest)) = buffer.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(Front::Partial { bytes: LENGTH_BYTES });
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limit {
        return Err(PeerFault::Oversize { bytes: length, limit });
    }
    if length < HEAD_BYTES {
        return Err(PeerFault::Undersize { bytes: length });
    }
    // The kind is checked as soon as it is there: garbage should not be waited for.
    let kind = match rest.first() {
        Some(&byte) => Kind::from_byte(byte).ok_or(PeerFault::UnexpectedKind { kind: byte })?,
        None => return Ok(Front::Partial { bytes: LENGTH_BYTES + length }),
    };
    let whole = rest.get(1..length).and_then(|tail| tail.split_first_chunk::<8>());
    Ok(match whole {
        Some((id, body)) => Front::Whole {
            frame: Frame { kind, id: u64::from_be_bytes(*id), body },
            bytes: LENGTH_BYTES + length,
        },
        None => Front::Partial { bytes: LENGTH_BYTES + length },
    })
}

/// Begins a frame at the end of `buffer`; the body follows, then [`finish`] with the returned position.
pub(crate) fn begin(buffer: &mut Vec<u8>, kind: Kind, id: u64) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; LENGTH_BYTES]);
    buffer.push(kind.to_byte());
    buffer.extend_from_slice(&id.to_be_bytes());
    start
}

/// Writes the length of the frame that began at `start` and ends with `buffer`. The caller has checked the limit.
pub(crate) fn finish(buffer: &mut [u8], start: usize) {
    let length = buffer.len().saturating_sub(start + LENGTH_BYTES);
    debug_assert!(u32::try_from(length).is_ok(), "the limit fits into the prefix");
    if let Some(prefix) = buffer.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<LENGTH_BYTES>()) {
        *prefix = (length as u32).to_be_bytes();
    }
}

/// Why the responder gives no response, as its requester learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    UndecodableRequest,
    ResponseTooLarge { bytes: u64, limit: u64 },
    Refused,
    Overloaded,
}

impl Failure {
    /// Appends the whole frame.
    pub(crate) fn write(self, buffer: &mut Vec<u8>, id: u64) {
        let start = begin(buffer, Kind::Failure, id);
        match self {
            Self::UndecodableRequest => buffer.push(0),
            Self::ResponseTooLarge { bytes, limit } => {
                buffer.push(1);
                buffer.extend_from_slice(&bytes.to_be_bytes());
                buffer.extend_from_slice(&limit.to_be_bytes());
            }
            Self::Refused => buffer.push(2),
            Self::Overloaded => buffer.push(3),
        }
        finish(buffer, start);
    }

    /// Reads the body of a failure frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, PeerFault> {
        match *body {
            [0] => Ok(Self::UndecodableRequest),
            [1, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] => Ok(Self::ResponseTooLarge {
                bytes: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                limit: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            }),
            [2] => Ok(Self::Refused),
            [3] => Ok(Self::Overloaded),
            _ => Err(PeerFault::UnknownFailure),
        }
    }
}

#[cfg(test)]
mod tests;
