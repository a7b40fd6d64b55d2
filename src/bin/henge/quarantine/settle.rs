//! What to put of one key, told by what the ring has of it.

use bytes::Bytes;
use henge_types::{Clock, Record, Sibling};

/// What becomes of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These values are to be put, each beside what is there.
    Put(Vec<Sibling>),
    /// The ring has a value.
    Present,
    /// The ring remembers that it was deleted, or had other values since.
    Deleted,
    /// There is no live value to put.
    Nothing,
}

/// What the ring has of a key.
#[derive(Debug, Clone, Default)]
pub(crate) struct There {
    pub(crate) values: Vec<Bytes>,
    /// All writes that it knows, those that were deleted included.
    pub(crate) clock: Clock,
}

/// What of `ours` is to be put. `all`: also beside values that are there.
///
/// A write that the ring knows is never put again: if it is not there, it was superseded or deleted. Without
/// `all`, nothing is put where the ring knows anything, except for the rest of the values of a key of which an
/// earlier import was cut off between two.
pub(crate) fn settle(ours: &Record, there: &There, all: bool, now_unix_ms: u64) -> Verdict {
    let live: Vec<&Sibling> = ours.live(now_unix_ms).map(|(sibling, _)| sibling).collect();
    if live.is_empty() {
        return Verdict::Nothing;
    }
    let has = |sibling: &Sibling, values: &[Bytes]| {
        sibling.live(now_unix_ms).is_some_and(|value| values.contains(value))
    };
    let ours_only =
        there.values.iter().all(|value| live.iter().any(|sibling| sibling.live(now_unix_ms) == Some(value)));
    let begun = live.len() > 1 && !there.values.is_empty() && ours_only;
    let missing = live.iter().filter(|s| !there.clock.covers(&s.dot) && !has(s, &there.values));
    let missing: Vec<Sibling> = missing.map(|sibling| (*sibling).clone()).collect();
    let may = all || begun || there.clock.is_empty();
    match (may && !missing.is_empty(), there.values.is_empty()) {
        (true, _) => Verdict::Put(missing),
        (false, false) => Verdict::Present,
        (false, true) => Verdict::Deleted,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

    use henge_types::{ActorId, Content, Dot, OperationId, Write};

    use super::*;

    fn dot(actor: u8, counter: u64) -> Dot {
        Dot { actor: ActorId([actor; 16]), counter }
    }

    /// Concurrent values, each by an actor of its own.
    fn ours(values: &[&'static str]) -> Record {
        let mut record = Record::new();
        for (value, actor) in values.iter().zip(1..) {
            let write = Write {
                dot: dot(actor, 1),
                supersede: Clock::new(),
                content: if value.is_empty() { Content::Tombstone } else { Content::Value((*value).into()) },
                written_at: 1,
                expires_at: (*value == "expired").then_some(5),
                operation: OperationId([actor; 16]),
            };
            record.apply(&write).unwrap();
        }
        record
    }

    fn there(values: &[&'static str], known: &[Dot]) -> There {
        let values = values.iter().map(|value| Bytes::from(*value)).collect();
        There { values, clock: known.iter().copied().collect() }
    }

    fn put(verdict: Verdict) -> Vec<Bytes> {
        let Verdict::Put(siblings) = verdict else { panic!("{verdict:?}") };
        siblings.iter().filter_map(|sibling| sibling.live(10).cloned()).collect()
    }

    fn judge(ours: &Record, there: &There, all: bool) -> Verdict {
        settle(ours, there, all, 10)
    }

    #[test]
    fn what_the_ring_knows_nothing_of_is_put() {
        assert_eq!(put(judge(&ours(&["a", "b"]), &there(&[], &[]), false)), ["a", "b"]);
    }

    #[test]
    fn tombstones_and_what_has_expired_are_no_values() {
        assert_eq!(judge(&ours(&["", "expired"]), &there(&[], &[]), true), Verdict::Nothing);
    }

    #[test]
    fn other_values_win_unless_all_are_wanted() {
        let other = there(&["b"], &[dot(9, 1)]);
        assert_eq!(judge(&ours(&["a"]), &other, false), Verdict::Present);
        assert_eq!(put(judge(&ours(&["a"]), &other, true)), ["a"]);
        assert_eq!(judge(&ours(&["b"]), &other, true), Verdict::Present, "the same value");
    }

    #[test]
    fn a_deletion_that_is_remembered_is_respected() {
        // One that knew the write, and one that did not.
        assert_eq!(judge(&ours(&["a"]), &there(&[], &[dot(1, 1), dot(9, 1)]), false), Verdict::Deleted);
        assert_eq!(judge(&ours(&["a"]), &there(&[], &[dot(9, 1)]), false), Verdict::Deleted);
        assert_eq!(judge(&ours(&["a"]), &there(&[], &[dot(1, 1), dot(9, 1)]), true), Verdict::Deleted);
        assert_eq!(put(judge(&ours(&["a"]), &there(&[], &[dot(9, 1)]), true)), ["a"]);
    }

    #[test]
    fn what_was_superseded_stays_so() {
        let newer = there(&["b"], &[dot(1, 1), dot(9, 1)]);
        assert_eq!(judge(&ours(&["a"]), &newer, true), Verdict::Present);
    }

    #[test]
    fn an_import_that_was_cut_off_between_two_values_goes_on() {
        assert_eq!(put(judge(&ours(&["a", "b"]), &there(&["a"], &[dot(9, 1)]), false)), ["b"]);
        assert_eq!(judge(&ours(&["a", "b"]), &there(&["a", "b"], &[dot(9, 2)]), false), Verdict::Present);
        assert_eq!(judge(&ours(&["a", "b"]), &there(&["c"], &[dot(9, 1)]), false), Verdict::Present);
    }
}
