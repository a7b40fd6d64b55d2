//! The file `records`: a version byte, entries, and an end.
//!
//! An entry is its length in bytes (4, big-endian), its checksum (XXH3, 8 bytes, big-endian), and then key
//! and record as CBOR. A length of 0 is the end: a file that was cut off has none.

use std::io::{self, Read};

use henge_types::limits::KEY_MAX_BYTES;
use henge_types::{DecodeError, Key, Record, codec};
use xxhash_rust::xxh3::xxh3_64;

use crate::store::MERGED_MAX_BYTES;

pub(super) const VERSION: u8 = 1;
/// The largest entry: what a merge may leave, its key, and the heads of both.
const ENTRY_MAX_BYTES: usize = MERGED_MAX_BYTES + KEY_MAX_BYTES + 64;
const END: [u8; 4] = [0; 4];

/// What comes next in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Entry(Box<(Key, Record)>),
    /// An entry that is not as it was written; others may follow.
    Damaged,
    End,
    /// Nothing that follows can be read.
    Broken,
}

pub(super) fn put(file: &mut Vec<u8>, key: &Key, record: &Record) -> Result<(), DecodeError> {
    let body = codec::encode(&(key, record))?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= ENTRY_MAX_BYTES);
    let length = length.ok_or_else(|| DecodeError::Malformed { reason: "too large".to_owned() })?;
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(&xxh3_64(&body).to_be_bytes());
    file.extend_from_slice(&body);
    Ok(())
}

pub(super) fn put_end(file: &mut Vec<u8>) {
    file.extend_from_slice(&END);
}

/// Reads the next entry; tells how many bytes it took.
pub(super) fn take(file: &mut impl Read) -> io::Result<(Next, u64)> {
    let mut length = END;
    file.read_exact(&mut length)?;
    if length == END {
        let more = file.read(&mut [0])?;
        return Ok((if more == 0 { Next::End } else { Next::Broken }, 4));
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > ENTRY_MAX_BYTES {
        return Ok((Next::Broken, 4));
    }
    let mut checksum = [0; 8];
    file.read_exact(&mut checksum)?;
    let mut body = vec![0; length];
    file.read_exact(&mut body)?;
    let whole = xxh3_64(&body) == u64::from_be_bytes(checksum);
    let entry = whole.then(|| codec::decode::<(Key, Record)>(&body).ok()).flatten();
    let next = entry.map_or(Next::Damaged, |entry| Next::Entry(Box::new(entry)));
    Ok((next, 12 + length as u64))
}
