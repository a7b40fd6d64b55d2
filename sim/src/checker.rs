//! The judge: an independent model of what a key may hold, built from what clients did.
//!
//! It knows no clocks, dots or merges. A write supersedes what its client had seen, and nothing
//! else; from that follows what a get must return, and what it must not.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use henge_types::{ClusterParams, Key};

use crate::facts::Facts;
use crate::history::{History, OpNumber, Read, Supersedes, Write, number_of};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which kind.
    pub kind: Kind,
    /// With which key, if with one.
    pub key: Option<Key>,
    /// In words.
    pub what: String,
}

/// Which promise was broken (the numbers are those of the invariants in ARCHITECTURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 1, 3 and 5: an acknowledged write is missing, and nothing that supersedes it is there.
    Lost,
    /// 4: a value that nobody put there.
    Invented,
    /// 4: a value that an acknowledged write superseded is back.
    Resurrected,
    /// 2: the voters of a key do not come to the same record.
    Diverged,
    /// After healing the peers do not settle: not ready, not connected, not of one mind.
    Unsettled,
    /// Work is left over that nobody will ever finish.
    Leftover,
    /// 6: peers with the same members see other voters.
    Placement,
    /// A record lies where nobody is responsible for it.
    Limbo,
    /// 8: a stranger was served.
    Admitted,
    /// The core broke its contract with what is around it, or its codecs.
    Contract,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        if let Some(key) = &self.key {
            write!(f, " of {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Violation {}

/// Judges by a history and by what was seen at the seams.
#[derive(Debug)]
pub struct Checker<'a> {
    /// What the clients know.
    pub history: &'a History,
    /// What they cannot know.
    pub facts: &'a Facts,
    /// Of the ring.
    pub params: &'a ClusterParams,
}

impl Checker<'_> {
    /// Whether a get may return what it did.
    ///
    /// Of any get: each value was put, and none lies beside another that superseded it. Of a strict
    /// one also: each strict write that was acknowledged before the get began is there or
    /// superseded, and what it superseded is not back. A sloppy get may return any older state, and
    /// nobody is promised yet to see a sloppy write.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn judge(&self, read: &Read) -> Result<(), Violation> {
        let found = self.genuine(&read.key, &read.values, read.answered)?;
        self.coherent(&read.key, &found)?;
        if !read.strict {
            return Ok(());
        }
        let bound = |w: &&Write| {
            let meets = read.quorum + w.quorum > self.params.replicas();
            // A W below the cluster's own is best effort while data moves.
            let kept = w.strict && w.quorum >= self.params.write_quorum();
            let kept = kept && !self.facts.is_adrift(&w.operation);
            meets && kept && w.acked.is_some_and(|at| at < read.invoked)
        };
        self.complete(&read.key, &found, bound, read.answered)
    }

    /// Whether a key may hold this in the end, when its voters agree: each acknowledged write, sloppy
    /// ones too, is there or superseded, and what it superseded is not back. From then on any get
    /// must return this.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn judge_final(&self, key: &Key, values: &[Bytes], now: Duration) -> Result<(), Violation> {
        let found = self.genuine(key, values, now)?;
        self.coherent(key, &found)?;
        self.complete(key, &found, |w| w.acked.is_some(), now)
    }

    // No invented value: each was put, to this key, before the answer came, and is there once.
    fn genuine(&self, key: &Key, values: &[Bytes], at: Duration) -> Result<BTreeSet<OpNumber>, Violation> {
        let invented = |what: String| Violation { kind: Kind::Invented, key: Some(key.clone()), what };
        let mut found = BTreeSet::new();
        for value in values {
            let number = number_of(value).ok_or_else(|| invented(format!("{value:?}")))?;
            let write = self.history.get(key, number);
            let write = write.ok_or_else(|| invented(format!("operation {number} is not of this key")))?;
            if write.value.as_ref() != Some(value) {
                return Err(invented(format!("operation {number} did not put {} bytes", value.len())));
            }
            if write.refused || write.invoked > at {
                return Err(invented(format!("operation {number} was refused, or is yet to come")));
            }
            if !found.insert(number) {
                return Err(invented(format!("operation {number} is there twice")));
            }
        }
        Ok(found)
    }

    // No value beside one that superseded it: whatever replica or stand-in knows the later one knows
    // that the earlier one is gone, acknowledged or not.
    fn coherent(&self, key: &Key, found: &BTreeSet<OpNumber>) -> Result<(), Violation> {
        for write in found.iter().filter_map(|number| self.history.get(key, *number)) {
            let Supersedes::Seen(seen) = &write.supersedes else { continue };
            // A write that two coordinators took for a new one has two dots, and a reader may have
            // seen one.
            let once = |old: &OpNumber| {
                self.history.get(key, *old).is_some_and(|w| self.facts.times_applied(key, &w.operation) == 1)
            };
            if let Some(old) = seen.intersection(found).find(|old| **old != write.number && once(old)) {
                let what = format!(
                    "operation {old} is there beside operation {}, which superseded it",
                    write.number
                );
                return Err(Violation { kind: Kind::Resurrected, key: Some(key.clone()), what });
            }
        }
        Ok(())
    }

    // Nothing lost, nothing back: among the writes that `bound` this answer.
    fn complete(
        &self,
        key: &Key,
        found: &BTreeSet<OpNumber>,
        bound: impl Fn(&&Write) -> bool,
        at: Duration,
    ) -> Result<(), Violation> {
        let explained = self.explained(key, found, at);
        for write in self.history.of(key).filter(&bound) {
            if self.facts.is_lost(&write.operation) {
                continue;
            }
            if write.value.is_some() && !found.contains(&write.number) && !explained.contains(&write.number) {
                let what = format!(
                    "operation {} was acknowledged at {:?}, and is neither there nor superseded by what is: {found:?}",
                    write.number,
                    write.acked.unwrap_or_default()
                );
                return Err(Violation { kind: Kind::Lost, key: Some(key.clone()), what });
            }
            if let Some(old) = found.iter().find(|number| self.surely_supersedes(key, write, **number)) {
                let what = format!(
                    "operation {old} was superseded by operation {}, acknowledged at {:?}, and is back",
                    write.number,
                    write.acked.unwrap_or_default()
                );
                return Err(Violation { kind: Kind::Resurrected, key: Some(key.clone()), what });
            }
        }
        Ok(())
    }

    // All writes whose absence follows from what was found: superseded, directly or through
    // others, by a value that is there, by a tombstone that may be, or by what was destroyed.
    fn explained(&self, key: &Key, found: &BTreeSet<OpNumber>, at: Duration) -> BTreeSet<OpNumber> {
        let mut explained = BTreeSet::new();
        let mut before = Duration::ZERO;
        let mut queue: VecDeque<&Write> = self
            .history
            .of(key)
            .filter(|w| w.invoked <= at && !w.refused)
            .filter(|w| w.value.is_none() || found.contains(&w.number) || self.facts.is_lost(&w.operation))
            .collect();
        while let Some(write) = queue.pop_front() {
            let until = match &write.supersedes {
                Supersedes::Nothing => Duration::ZERO,
                Supersedes::Current => write.acked.unwrap_or(Duration::MAX),
                Supersedes::Before(until) => *until,
                Supersedes::Seen(seen) => {
                    for number in seen.iter().filter(|n| explained.insert(**n)).collect::<Vec<_>>() {
                        queue.extend(self.history.get(key, *number));
                    }
                    Duration::ZERO
                }
            };
            if until > before {
                let older = self.history.of(key).filter(|w| w.invoked < until && w.number != write.number);
                for other in older {
                    if explained.insert(other.number) {
                        queue.push_back(other);
                    }
                }
                before = until;
            }
        }
        explained
    }

    fn surely_supersedes(&self, key: &Key, write: &Write, old: OpNumber) -> bool {
        let Some(other) = self.history.get(key, old).filter(|o| o.number != write.number) else {
            return false;
        };
        // A retry that two coordinators took for a new write left two, of which a reader may
        // have seen one.
        if self.facts.times_applied(key, &other.operation) > 1 {
            return false;
        }
        match &write.supersedes {
            Supersedes::Seen(seen) => seen.contains(&old),
            // What a sloppy write looks at first may be behind.
            Supersedes::Current => {
                let kept = write.strict && other.strict && other.quorum >= self.params.write_quorum();
                kept && other.acked.is_some_and(|at| at < write.invoked)
                    && !self.facts.is_lost(&other.operation)
            }
            Supersedes::Nothing | Supersedes::Before(_) => false,
        }
    }
}
