//! Digests of records: what replicas compare before they send a value.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::Record;

/// SHA-256 of a record's siblings and clock. The remembered operation ids are left out: they
/// are a help for retries, and replicas may remember different ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordDigest(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl RecordDigest {
    pub(crate) fn of(record: &Record) -> Self {
        let mut hash = Sha256::new();
        hash.update((record.siblings().len() as u64).to_be_bytes());
        for sibling in record.siblings() {
            sibling.feed(&mut |bytes| hash.update(bytes));
        }
        for dot in record.clock().iter() {
            hash.update(dot.actor.0);
            hash.update(dot.counter.to_be_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}
