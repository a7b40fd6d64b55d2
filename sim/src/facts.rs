//! What is seen at the seams while a run goes on, and what no client could know: which operation
//! was applied under which dots, and which writes went down with the stores that had them.

use std::collections::{BTreeMap, BTreeSet};

use henge_types::{Clock, Dot, Key, OperationId, Record, RecordDigest};

use crate::disk::Kept;

/// What was seen.
#[derive(Debug, Default)]
pub struct Facts {
    applied: BTreeMap<Key, BTreeMap<OperationId, BTreeSet<Dot>>>,
    dots: BTreeMap<Dot, (Key, OperationId)>,
    lost: BTreeSet<OperationId>,
    adrift: BTreeSet<OperationId>,
    dead: BTreeMap<Key, (RecordDigest, Clock)>,
    forgotten: BTreeMap<Key, Clock>,
}

impl Facts {
    /// A store applied `operation` to `key` as `dot`.
    ///
    /// # Errors
    /// When that dot names another write already.
    pub fn on_applied(&mut self, key: &Key, operation: OperationId, dot: Dot) -> Result<(), String> {
        let applied = self.applied.entry(key.clone()).or_default();
        applied.entry(operation).or_default().insert(dot);
        match self.dots.insert(dot, (key.clone(), operation)) {
            Some(other) if other != (key.clone(), operation) => Err(format!(
                "dot {dot} names two writes: {operation:?} of {key} and {:?} of {}",
                other.1, other.0
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Under how many dots `operation` was applied.
    #[must_use]
    pub fn times_applied(&self, key: &Key, operation: &OperationId) -> usize {
        self.applied.get(key).and_then(|a| a.get(operation)).map_or(0, BTreeSet::len)
    }

    /// A store has `record`, which may be forgotten.
    pub fn on_dead(&mut self, key: &Key, record: &Record) {
        self.dead.insert(key.clone(), (record.digest(), record.clock().clone()));
    }

    /// A store forgot a dead record: from then on nobody needs to know what it knew, and yet that is not lost.
    pub fn on_forgotten(&mut self, key: &Key, digest: RecordDigest) {
        if let Some((_, clock)) = self.dead.get(key).filter(|(dead, _)| *dead == digest) {
            self.forgotten.entry(key.clone()).or_default().join(clock);
        }
    }

    /// A store, or a record in it, is destroyed. `survives` gives what each store that is left has of
    /// a key, and would have of it after a crash.
    pub fn on_destroyed(&mut self, only: Option<&Key>, survives: impl Fn(&Key) -> Vec<Kept>) {
        for (key, operations) in &self.applied {
            if only.is_some_and(|only| only != key) {
                continue;
            }
            let left = survives(key);
            let forgotten = self.forgotten.get(key);
            for (operation, dots) in operations {
                let past = |dot| forgotten.is_some_and(|clock| clock.covers(dot));
                if !dots.iter().any(|dot| past(dot) || left.iter().any(|kept| kept.owns(dot))) {
                    self.adrift.insert(*operation);
                }
                if !dots.iter().any(|dot| past(dot) || left.iter().any(|kept| kept.covers(dot))) {
                    self.lost.insert(*operation);
                }
            }
        }
    }

    /// Whether stores were destroyed until `operation` was left in hints alone, if anywhere: no strict get has to
    /// find it before those are handed over.
    #[must_use]
    pub fn is_adrift(&self, operation: &OperationId) -> bool {
        self.adrift.contains(operation)
    }

    /// Whether every store that had what `operation` wrote was destroyed.
    #[must_use]
    pub fn is_lost(&self, operation: &OperationId) -> bool {
        self.lost.contains(operation)
    }

    /// The keys that were written.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.applied.keys()
    }

    /// The operations applied to `key`, with their dots.
    pub fn applied(&self, key: &Key) -> impl Iterator<Item = (&OperationId, &BTreeSet<Dot>)> {
        self.applied.get(key).into_iter().flatten()
    }
}
