//! Records that travel.

use std::collections::BTreeSet;

use henge_types::tree::Node;
use henge_types::{Key, Partition, Record};

use super::ask::pack_nodes;
use super::{Effect, Fault, Mode, Session, Waiting, Work, weight};
use crate::message::{Request, code};
use crate::pack::unpack_codes;
use crate::question::{Merged, Question};
use crate::responder::partitions_of;

/// The depth at which a single key is asked for: no two keys of a ring are likely to share as many bits.
const KEY_DEPTH: u8 = 52;

impl Session {
    pub(super) fn fetch(&mut self, nodes: Vec<Node>, last: bool) -> Effect {
        let head = self.head(&partitions_of(&nodes, self.terms.count));
        let (depth, packed) = pack_nodes(&nodes);
        self.send(Waiting::Records { nodes, last }, Request::Fetch { head, depth, nodes: packed })
    }

    pub(super) fn on_records(
        &mut self,
        mut nodes: Vec<Node>,
        last: bool,
        covered: u32,
        mut records: Vec<(Key, Record)>,
    ) -> Result<Effect, Fault> {
        let covered = usize::try_from(covered).unwrap_or(usize::MAX);
        if covered > nodes.len() {
            return Err(Fault::Malformed);
        }
        let depth = nodes.first().map_or(0, |node| node.depth());
        let asked = |key: &Key| nodes.binary_search(&Node::around(key.position(), depth)).is_ok();
        if !records.iter().all(|(key, _)| asked(key)) {
            return Err(Fault::Unasked);
        }
        // A partition that has become stale is not to be relied on, but what came can be merged.
        let mut rest = nodes.split_off(covered);
        if covered == 0 && !rest.is_empty() {
            // More below one node than fits into an answer: it would not fit the next time either.
            let whole = rest.remove(0);
            if !self.stale.contains(&whole.first_position().partition(self.terms.count)) {
                self.leave_partitions(&[whole]);
            }
        }
        records.retain(|(_, record)| !record.is_empty());
        let keys: Vec<Key> = records.iter().map(|(key, _)| key.clone()).collect();
        let bytes = records.iter().map(|(key, record)| weight(key, record)).collect();
        self.waiting = Waiting::Merge { keys, bytes, rest: Work::Fetch { nodes: rest, last } };
        Ok(Effect::Ask(Question::Merge(records)))
    }

    pub(super) fn pulled(&mut self, keys: &[Key], bytes: &[u64], merged: &[Merged], rest: Work) -> Effect {
        let last = matches!(rest, Work::Fetch { last: true, .. });
        let mut back = Vec::new();
        for ((key, bytes), merged) in keys.iter().zip(bytes).zip(merged) {
            if *merged == Merged::Refused {
                self.leave(key);
                continue;
            }
            self.progress.records_pulled += 1;
            self.progress.bytes_pulled += bytes;
            if let Some(tally) = self.tally(key) {
                tally.pulled += 1;
            }
            if *merged == Merged::Ahead && self.terms.mode == Mode::Both && !last {
                back.push(key.clone());
            }
        }
        self.later(rest);
        self.later(Work::Push(back));
        self.next()
    }

    /// Sends what the store has now.
    pub(super) fn push(&mut self, mut keys: Vec<Key>, records: Vec<Option<Record>>) -> Effect {
        let rest = keys.split_off(records.len().min(keys.len()));
        let mut sent = Vec::new();
        for (key, record) in keys.into_iter().zip(records) {
            match record {
                None => self.leave(&key),
                // It was collected meanwhile.
                Some(record) if record.is_empty() => {}
                Some(record) => sent.push((key, record)),
            }
        }
        if sent.is_empty() {
            self.later(Work::Push(rest));
            return self.next();
        }
        let at = |(key, _): &(Key, Record)| key.position().partition(self.terms.count);
        let partitions: BTreeSet<Partition> = sent.iter().map(at).collect();
        let head = self.head(&partitions.into_iter().collect::<Vec<_>>());
        let records = sent.iter().map(|(key, record)| (key.clone(), weight(key, record))).collect();
        self.send(Waiting::Pushed { records, rest: Work::Push(rest) }, Request::Push { head, records: sent })
    }

    pub(super) fn on_pushed(
        &mut self,
        records: Vec<(Key, u64)>,
        rest: Work,
        codes: &[u8],
    ) -> Result<Effect, Fault> {
        let codes = unpack_codes(codes, records.len())?;
        let mut ahead = Vec::new();
        for ((key, bytes), code) in records.into_iter().zip(codes) {
            let partition = key.position().partition(self.terms.count);
            match code {
                code::STORED | code::AHEAD => {
                    self.progress.records_pushed += 1;
                    self.progress.bytes_pushed += bytes;
                    if let Some(tally) = self.tally(&key) {
                        tally.pushed += 1;
                    }
                    if code == code::AHEAD && self.pulls() {
                        ahead.push(Node::around(key.position(), KEY_DEPTH));
                    }
                }
                _ if self.stale.contains(&partition) => {}
                _ => self.leave(&key),
            }
        }
        ahead.sort_unstable();
        ahead.dedup();
        self.later(rest);
        self.later(Work::Fetch { nodes: ahead, last: true });
        Ok(self.next())
    }
}
