//! What the clients did and what they were told: all that the checker judges by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use henge_types::{Key, OperationId};

/// Numbers the operations of all clients, from 1.
pub type OpNumber = u64;

/// What a write supersedes, as far as its client can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supersedes {
    /// Nothing.
    Nothing,
    /// What a get returned, with the context of which it was made.
    Seen(BTreeSet<OpNumber>),
    /// What its coordinator found, when it looked.
    Current,
    /// Whatever had been written before this moment: the context of another write's ack.
    Before(Duration),
}

/// A put or delete.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which.
    pub number: OpNumber,
    /// To where.
    pub key: Key,
    /// Its name over all tries.
    pub operation: OperationId,
    /// The value; none for a delete.
    pub value: Option<Bytes>,
    /// What it supersedes.
    pub supersedes: Supersedes,
    /// Whether only voters may count.
    pub strict: bool,
    /// W.
    pub quorum: usize,
    /// When the client asked first.
    pub invoked: Duration,
    /// When it was acknowledged.
    pub acked: Option<Duration>,
    /// When it was refused for good: nothing may ever be seen of it.
    pub refused: bool,
}

/// A get that was answered.
#[derive(Debug, Clone)]
pub struct Read {
    /// Of what.
    pub key: Key,
    /// Whether only voters may count.
    pub strict: bool,
    /// R.
    pub quorum: usize,
    /// When the client asked.
    pub invoked: Duration,
    /// When the answer came.
    pub answered: Duration,
    /// The values.
    pub values: Vec<Bytes>,
}

/// All writes so far, by key.
#[derive(Debug, Default)]
pub struct History {
    writes: BTreeMap<Key, BTreeMap<OpNumber, Write>>,
    by_operation: BTreeMap<OperationId, (Key, OpNumber)>,
    last: OpNumber,
    /// How many gets were answered.
    pub reads: u64,
    /// How many gets failed.
    pub reads_failed: u64,
}

impl History {
    /// The number of the next operation.
    pub fn number(&mut self) -> OpNumber {
        self.last += 1;
        self.last
    }

    /// A client asks for a write.
    pub fn begin(&mut self, write: Write) {
        self.by_operation.insert(write.operation, (write.key.clone(), write.number));
        self.writes.entry(write.key.clone()).or_default().insert(write.number, write);
    }

    /// The write was acknowledged.
    pub fn acked(&mut self, key: &Key, number: OpNumber, at: Duration) {
        if let Some(write) = self.get_mut(key, number) {
            write.acked = Some(at);
        }
    }

    /// The write was refused, and will never be done.
    pub fn refused(&mut self, key: &Key, number: OpNumber) {
        if let Some(write) = self.get_mut(key, number) {
            write.refused = true;
        }
    }

    fn get_mut(&mut self, key: &Key, number: OpNumber) -> Option<&mut Write> {
        self.writes.get_mut(key)?.get_mut(&number)
    }

    /// The writes to `key`, in the order in which they were begun.
    pub fn of(&self, key: &Key) -> impl Iterator<Item = &Write> {
        self.writes.get(key).into_iter().flat_map(BTreeMap::values)
    }

    /// One write.
    #[must_use]
    pub fn get(&self, key: &Key, number: OpNumber) -> Option<&Write> {
        self.writes.get(key)?.get(&number)
    }

    /// How many writes were begun, and how many acknowledged.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let all = || self.writes.values().flat_map(BTreeMap::values);
        (all().count() as u64, all().filter(|w| w.acked.is_some()).count() as u64)
    }

    /// The keys written, or tried to.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.writes.keys()
    }
}

/// The value of the operation `number`: its number, and padding that depends on it.
#[must_use]
pub fn value(number: OpNumber, padding: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + padding, number.to_le_bytes().first().copied().unwrap_or(0));
    bytes.into()
}

/// Which operation wrote `value`.
#[must_use]
pub fn number_of(value: &[u8]) -> Option<OpNumber> {
    let (number, _) = value.split_first_chunk::<8>()?;
    Some(OpNumber::from_be_bytes(*number))
}

/// The name of the operation `number`.
#[must_use]
pub fn operation(number: OpNumber) -> OperationId {
    let mut id = [0; 16];
    id.iter_mut().zip(number.to_be_bytes().iter().skip(4)).for_each(|(to, from)| *to = *from);
    OperationId(id)
}
