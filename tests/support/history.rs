//! What clients did and saw, on one clock, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use henge::error::RequestError;
use henge_client::Failure;

/// A key. Few enough that clients meet.
pub(crate) type Key = u32;

/// A value, which nobody else puts.
pub(crate) type Value = u64;

/// What a put supersedes.
#[derive(Debug, Clone)]
pub(crate) enum Over {
    /// Nothing.
    Blind,
    /// What a get returned.
    Seen(Vec<Value>),
    /// What its coordinator finds.
    Current,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put { value: Value, over: Over },
    Get,
}

/// One request and its answer: the siblings that a get returned, none for a put, or the kind of error.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) client: usize,
    pub(crate) key: Key,
    pub(crate) op: Op,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) result: Result<Vec<Value>, &'static str>,
}

impl Entry {
    fn took(&self) -> Duration {
        self.end - self.start
    }
}

/// Everything that clients did.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Vec<Entry>,
}

/// What a key holds, by its values.
pub(crate) type Contents = BTreeMap<Key, BTreeSet<Value>>;

impl History {
    pub(crate) fn record(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// How many requests were answered, and how many writes among them.
    pub(crate) fn answered(&self) -> (usize, usize) {
        let done = || self.entries.iter().filter(|entry| entry.result.is_ok());
        (done().count(), done().filter(|entry| matches!(entry.op, Op::Put { .. })).count())
    }

    /// Errors of requests that ended since then, by kind.
    pub(crate) fn errors_since(&self, since: Instant) -> BTreeMap<&'static str, usize> {
        let mut errors = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.end >= since) {
            if let Err(kind) = entry.result {
                *errors.entry(kind).or_default() += 1;
            }
        }
        errors
    }

    /// How long the gets took that began since then and were answered.
    pub(crate) fn gets_since(&self, since: Instant) -> Vec<Duration> {
        self.answered_since(since).filter(|entry| matches!(entry.op, Op::Get)).map(Entry::took).collect()
    }

    /// The same for all requests.
    pub(crate) fn answers_since(&self, since: Instant) -> Vec<Duration> {
        self.answered_since(since).map(Entry::took).collect()
    }

    fn answered_since(&self, since: Instant) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.start >= since && entry.result.is_ok())
    }

    /// For each client its longest time without an answer, from `since` until `until`.
    pub(crate) fn pauses(&self, since: Instant, until: Instant) -> BTreeMap<usize, Duration> {
        let mut last: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut pauses: BTreeMap<usize, Duration> = BTreeMap::new();
        let mut ends: Vec<(Instant, usize)> = self
            .entries
            .iter()
            .filter(|entry| entry.result.is_ok() && (since..=until).contains(&entry.end))
            .map(|entry| (entry.end, entry.client))
            .collect();
        let clients: BTreeSet<usize> = self.entries.iter().map(|entry| entry.client).collect();
        ends.extend(clients.into_iter().map(|client| (until, client)));
        ends.sort();
        for (end, client) in ends {
            let pause = end - last.insert(client, end).unwrap_or(since);
            let longest = pauses.entry(client).or_default();
            *longest = pause.max(*longest);
        }
        pauses
    }

    /// Fails the test if a get returned what nobody had begun to put.
    #[track_caller]
    pub(crate) fn assert_nothing_invented(&self, last: &Contents) {
        let puts: BTreeMap<Value, (Key, Instant)> =
            self.puts().map(|(entry, value, _)| (value, (entry.key, entry.start))).collect();
        for entry in self.entries.iter().filter(|entry| matches!(entry.op, Op::Get)) {
            for value in entry.result.iter().flatten() {
                let known = puts.get(value).is_some_and(|put| put.0 == entry.key && put.1 <= entry.end);
                assert!(known, "nobody had put {value} under key {} when it was read", entry.key);
            }
        }
        for (key, value) in last.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
        {
            assert!(puts.get(value).is_some_and(|put| put.0 == *key), "nobody put {value} under key {key}");
        }
    }

    /// The acknowledged writes that are gone: neither among the siblings of their key at the end, nor
    /// superseded, over any number of steps, by one that is.
    pub(crate) fn lost(&self, last: &Contents) -> Vec<(Key, Value)> {
        let mut lost = Vec::new();
        for (key, puts) in self.puts_by_key() {
            let remaining = last.get(&key).cloned().unwrap_or_default();
            let accounted = accounted_for(&puts, remaining);
            let acknowledged = puts.begun.iter().filter(|(entry, ..)| entry.result.is_ok());
            lost.extend(acknowledged.map(|put| (key, put.1)).filter(|(_, value)| !accounted.contains(value)));
        }
        lost
    }

    /// The acknowledged writes that a later get of their key did not see: neither among the siblings that
    /// it returned, nor superseded by one of them. Only strict requests promise that there is none.
    pub(crate) fn stale(&self) -> Vec<(Key, Value)> {
        let puts = self.puts_by_key();
        let mut stale = Vec::new();
        for get in self.entries.iter().filter(|entry| matches!(entry.op, Op::Get)) {
            let (Ok(seen), Some(puts)) = (&get.result, puts.get(&get.key)) else { continue };
            let accounted = accounted_for(puts, seen.iter().copied().collect());
            let before = puts.begun.iter().take_while(|(put, ..)| put.start < get.start);
            let before = before.filter(|(put, ..)| put.result.is_ok() && put.end < get.start);
            stale.extend(before.map(|put| (get.key, put.1)).filter(|(_, value)| !accounted.contains(value)));
        }
        stale
    }

    fn puts(&self) -> impl Iterator<Item = Put<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.op {
            Op::Put { value, over } => Some((entry, *value, over)),
            Op::Get => None,
        })
    }

    fn puts_by_key(&self) -> BTreeMap<Key, Puts<'_>> {
        let mut by_key: BTreeMap<Key, Puts<'_>> = BTreeMap::new();
        for put in self.puts() {
            let puts = by_key.entry(put.0.key).or_default();
            puts.begun.push(put);
            puts.by_value.insert(put.1, put);
        }
        by_key.values_mut().for_each(|puts| puts.begun.sort_by_key(|put| put.0.start));
        by_key
    }
}

type Put<'a> = (&'a Entry, Value, &'a Over);

/// The puts to one key.
#[derive(Default)]
struct Puts<'a> {
    by_value: BTreeMap<Value, Put<'a>>,
    /// In the order in which they began.
    begun: Vec<Put<'a>>,
}

/// All values that are there or may be superseded by one that is accounted for. A put that failed may
/// have been done all the same, and at any time after it was sent.
fn accounted_for(puts: &Puts<'_>, remaining: BTreeSet<Value>) -> BTreeSet<Value> {
    let mut accounted = remaining.clone();
    let mut open: Vec<Value> = remaining.into_iter().collect();
    // So many of those that began first are accounted for already.
    let mut first = 0;
    while let Some(value) = open.pop() {
        let Some((entry, _, over)) = puts.by_value.get(&value) else { continue };
        let superseded: Vec<Value> = match over {
            Over::Blind => Vec::new(),
            Over::Seen(seen) => seen.clone(),
            Over::Current => {
                let begun_before = |put: &Put<'_>| entry.result.is_err() || put.0.start < entry.end;
                let count = puts.begun.partition_point(begun_before).max(first);
                let more = puts.begun[first..count].iter().map(|put| put.1).collect();
                first = count;
                more
            }
        };
        open.extend(superseded.into_iter().filter(|value| accounted.insert(*value)));
    }
    accounted
}

/// The kind of an error, for counting.
pub(crate) fn kind(error: &RequestError) -> &'static str {
    match error {
        RequestError::Failed(failure) => match failure {
            Failure::Unavailable { .. } => "unavailable",
            Failure::Unknown { .. } => "unknown (peer)",
            Failure::TooManySiblings { .. } => "too many siblings",
            Failure::NotReady => "not ready",
            Failure::Overloaded => "overloaded",
            Failure::Store { .. } => "store",
            _ => "refused",
        },
        RequestError::Unreachable { .. } => "unreachable",
        RequestError::Unknown { .. } => "unknown (client)",
        RequestError::NoAnswer { .. } => "no answer",
        _ => "other",
    }
}
