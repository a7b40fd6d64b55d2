//! The stored form of a record: a version byte, its digest, when its youngest sibling was written (8 bytes,
//! big-endian), and then the record as CBOR. So the hash tree is served without decoding values.
//! Version 1 had the record alone.

use henge_types::codec::{self, Stored};
use henge_types::tree::{Item, ItemHash, item_hash};
use henge_types::{DecodeError, Key, Record, RecordDigest};

const VERSION: u8 = 2;
const DIGEST_BYTES: usize = 32;

/// What stands before the record itself.
pub(super) struct Head {
    pub(super) digest: RecordDigest,
    pub(super) newest_at: u64,
}

impl Head {
    pub(super) fn of(record: &Record) -> Self {
        Self { digest: record.digest(), newest_at: record.newest_at() }
    }

    /// The head of stored bytes, as far as they can be read.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        match split(bytes)? {
            Some((head, _)) => Ok(head),
            None => Record::from_stored(bytes).map(|record| Self::of(&record)),
        }
    }

    pub(super) fn item(self, key: Key) -> Item {
        Item { key, digest: self.digest, newest_at: self.newest_at }
    }

    /// The hash of the item at `place`.
    pub(super) fn hash(&self, place: &[u8]) -> ItemHash {
        item_hash(place.get(8..).unwrap_or_default(), &self.digest)
    }
}

pub(super) fn encode(head: &Head, record: &Record) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(64 + record.size_bytes());
    bytes.push(VERSION);
    bytes.extend_from_slice(&head.digest.0);
    bytes.extend_from_slice(&head.newest_at.to_be_bytes());
    codec::encode_after(bytes, record)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    match split(bytes)? {
        Some((_, record)) => codec::decode(record),
        None => Record::from_stored(bytes),
    }
}

/// The parts of the present version; `None` for version 1.
fn split(bytes: &[u8]) -> Result<Option<(Head, &[u8])>, DecodeError> {
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version == Record::VERSION {
        return Ok(None);
    }
    if *version > VERSION {
        return Err(DecodeError::Newer { found: *version, newest: VERSION });
    }
    let head = rest.split_first_chunk::<DIGEST_BYTES>();
    let head = head.and_then(|(digest, rest)| Some((digest, rest.split_first_chunk::<8>()?)));
    match head {
        Some((digest, (newest_at, record))) => {
            let newest_at = u64::from_be_bytes(*newest_at);
            Ok(Some((Head { digest: RecordDigest(*digest), newest_at }, record)))
        }
        None => Err(DecodeError::Malformed { reason: "cut short before the record".to_owned() }),
    }
}
