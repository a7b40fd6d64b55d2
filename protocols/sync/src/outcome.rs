//! What came of a session.

use std::collections::BTreeMap;
use std::ops::Add;

use henge_types::{Key, Partition};

use crate::Fault;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Requests sent.
    pub requests: u64,
    /// Own items in what was compared to a verdict, mostly by hashes over many of them.
    pub items_covered: u64,
    /// Items whose hashes were sent.
    pub items_compared: u64,
    /// Records that came here.
    pub records_pulled: u64,
    /// Their encoded size with their keys, estimated from above, in bytes.
    pub bytes_pulled: u64,
    /// Records that are durable there.
    pub records_pushed: u64,
    /// As for those that came.
    pub bytes_pushed: u64,
    /// Records that could not be moved.
    pub records_left: u64,
}

impl Add for Progress {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            items_covered: self.items_covered + other.items_covered,
            items_compared: self.items_compared + other.items_compared,
            records_pulled: self.records_pulled + other.records_pulled,
            bytes_pulled: self.bytes_pulled + other.bytes_pulled,
            records_pushed: self.records_pushed + other.records_pushed,
            bytes_pushed: self.bytes_pushed + other.bytes_pushed,
            records_left: self.records_left + other.records_left,
        }
    }
}

/// How one partition stands after a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing had to be moved.
    InSync,
    /// What differed was moved.
    Moved {
        /// Records that came here.
        pulled: u64,
        /// Records that went there.
        pushed: u64,
    },
    /// Some records could not be moved: damaged, or over a bound. [`Report::left`] names them.
    Left {
        /// How many, at least.
        records: u64,
    },
    /// The other peer sees other voters, has no custody, or (under voters) cannot read all of it.
    Stale,
    /// The session ended before.
    Unfinished,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is through.
    Complete,
    /// The other peer refused.
    Refused,
    /// A request got no answer.
    Lost,
    /// The own store failed.
    Store,
    /// The other peer broke the protocol.
    Fault(Fault),
}

/// What came of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Why it ended.
    pub end: End,
    /// One for each partition.
    pub outcomes: BTreeMap<Partition, Outcome>,
    /// Keys whose records could not be moved, [`crate::LEFT_MAX`] of them at most.
    pub left: Vec<Key>,
    /// What was done.
    pub progress: Progress,
}
