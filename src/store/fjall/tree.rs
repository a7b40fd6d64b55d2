//! The hash tree: its leaves are stored, and what is above or below them is summed up when it is asked for.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use ::fjall::{Keyspace, Slice};
use bytes::Bytes;
use henge_types::tree::{Item, LEAF_BYTES, LEAF_DEPTH, Leaf, Node, Summary};
use henge_types::{Key, Partition, PartitionCount, Position};

use super::value::{self, Head};
use super::{Fjall, error};
use crate::store::roots::Roots;
use crate::store::{StoreError, StoreResult};

/// The version of a leaf's stored form: this byte, then [`Leaf::to_bytes`].
const VERSION: u8 = 1;
/// Leaves above which a node is put together from its children: bounds what is in memory at a time.
const LEAVES_MAX: u64 = 1 << 10;
/// Leaves in one batch while the tree of an older store is built.
const BUILD_BATCH: usize = 1 << 12;

impl Fjall {
    pub(super) fn summaries_of_partitions(&self, count: PartitionCount, asked: &[Partition]) -> StoreResult {
        let root = |partition: &Partition| {
            let known = self.roots().look(count, *partition);
            known.or_else(|reading| {
                let summary = self.summary(Node::of_partition(*partition, count))?;
                self.roots().learn(*partition, reading, summary);
                Ok(summary)
            })
        };
        let summaries = asked.iter().map(root).collect();
        self.with_damaged(summaries, count, asked.iter().copied(), |summaries, damaged| {
            StoreResult::Summaries { summaries, damaged }
        })
    }

    pub(super) fn summaries(&self, count: PartitionCount, nodes: &[Node]) -> StoreResult {
        let summaries = nodes.iter().map(|node| self.summary(*node)).collect();
        let concerned = nodes.iter().map(|node| node.first_position().partition(count));
        self.with_damaged(summaries, count, concerned, |summaries, damaged| StoreResult::Summaries {
            summaries,
            damaged,
        })
    }

    pub(super) fn items(&self, count: PartitionCount, nodes: &[Node], items_max: usize) -> StoreResult {
        let mut left = items_max;
        let list = |node: &Node| {
            let mut items = Vec::new();
            self.scan(*node, &mut |place, value| {
                // What cannot be read is no item.
                if let (Some(key), Ok(head)) = (key_of(&place), Head::read(&value)) {
                    items.push(head.item(key));
                }
                items.len() <= left
            })?;
            let fits = items.len() <= left;
            left = left.saturating_sub(if fits { items.len() } else { 0 });
            Ok(fits.then_some(items))
        };
        let items: Result<Vec<Option<Vec<Item>>>, StoreError> = nodes.iter().map(list).collect();
        let concerned = nodes.iter().map(|node| node.first_position().partition(count));
        self.with_damaged(items, count, concerned, |items, damaged| StoreResult::Items { items, damaged })
    }

    pub(super) fn records_of(&self, keys: &[Key], bytes_max: usize) -> StoreResult {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let record = match self.read_record(key) {
                Ok(record) => record,
                Err(error) => return StoreResult::Failed(error),
            };
            bytes += key.as_bytes().len() + record.as_ref().map_or(0, henge_types::Record::size_bytes);
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        StoreResult::Records(records)
    }

    /// Keys whose records are dead since `until_unix_ms` or longer. Those that cannot be read are none.
    pub(super) fn dead(
        &self,
        count: PartitionCount,
        partitions: &[Partition],
        until_unix_ms: u64,
        max: usize,
    ) -> Result<StoreResult, StoreError> {
        let mut dead = Vec::new();
        for partition in partitions {
            self.scan(Node::of_partition(*partition, count), &mut |place, value| {
                // Most records are too young, which their heads tell.
                let old = Head::read(&value).is_ok_and(|head| head.newest_at <= until_unix_ms);
                if let Some(record) = old.then(|| value::decode(&value).ok()).flatten()
                    && record.dead_since().is_some_and(|since| since <= until_unix_ms)
                {
                    dead.push((place, record.digest()));
                }
                dead.len() < max
            })?;
        }
        let mut whole = Vec::with_capacity(dead.len());
        for (place, digest) in dead {
            if let Some(key) = key_of(&place).filter(|_| !self.is_damaged(&place).unwrap_or(true)) {
                whole.push((key, digest));
            }
        }
        Ok(StoreResult::Dead(whole))
    }

    pub(super) fn roots(&self) -> MutexGuard<'_, Roots> {
        // Nothing in there can panic halfway through a change.
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leaf as it is stored; `None` where that cannot be read.
    pub(super) fn stored_leaf(&self, leaf: Node) -> Result<Option<Leaf>, StoreError> {
        match self.trees.get(leaf_place(leaf)) {
            Ok(None) => Ok(Some(Leaf::default())),
            Ok(Some(bytes)) => Ok(decode(&bytes)),
            Err(e) if error::is_damage(&e) => Ok(None),
            Err(e) => Err(self.error(&e)),
        }
    }

    pub(super) fn unreadable(&self) -> StoreError {
        error::unreadable(self.directory.path())
    }

    /// Builds the leaves of a store that has none.
    pub(super) fn build_tree(&self) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        let (mut at, mut leaf, mut waiting) = (None::<Node>, Leaf::default(), 0);
        let mut failed = Ok(());
        for partition in PartitionCount::default().all() {
            let node = Node::of_partition(partition, PartitionCount::default());
            self.scan(node, &mut |place, value| {
                let Ok(head) = Head::read(&value) else { return true };
                let here = Node::around(Position::of_hash(&place), LEAF_DEPTH);
                if at != Some(here) {
                    if let Some(done) = at.replace(here) {
                        batch.insert(&self.trees, leaf_place(done), encode(&leaf).to_vec());
                        waiting += 1;
                    }
                    leaf = Leaf::default();
                }
                leaf.add(&head.hash(&place));
                if waiting >= BUILD_BATCH {
                    waiting = 0;
                    let full = std::mem::replace(&mut batch, self.database.batch());
                    failed = full.commit().map_err(|e| self.fail(&e));
                }
                failed.is_ok()
            })?;
            failed.clone()?;
        }
        if let Some(done) = at {
            batch.insert(&self.trees, leaf_place(done), encode(&leaf).to_vec());
        }
        batch.commit().map_err(|e| self.fail(&e))
    }

    /// Looks at what is below `node`, mostly in order, until `each` says `false`. Where blocks
    /// cannot be read it is what lies before the first and after the last of them, and the answer
    /// is `false`.
    pub(super) fn scan(
        &self,
        node: Node,
        each: &mut dyn FnMut(Slice, Slice) -> bool,
    ) -> Result<bool, StoreError> {
        self.scan_in(&self.records, node, each)
    }

    pub(super) fn scan_in(
        &self,
        keyspace: &Keyspace,
        node: Node,
        each: &mut dyn FnMut(Slice, Slice) -> bool,
    ) -> Result<bool, StoreError> {
        let begin = node.first_position().0.to_be_bytes();
        let end = node.last_position().0.checked_add(1).map(u64::to_be_bytes);
        let bounds = (
            Bound::Included(begin.as_slice()),
            end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_slice())),
        );
        let mut reached = None;
        let mut damage = false;
        for guard in keyspace.range::<&[u8], _>(bounds) {
            match guard.into_inner() {
                Ok((place, value)) => {
                    reached = Some(place.clone());
                    if !each(place, value) {
                        return Ok(true);
                    }
                }
                Err(e) if error::is_damage(&e) => {
                    damage = true;
                    break;
                }
                Err(e) => return Err(self.error(&e)),
            }
        }
        let mut back = keyspace.range::<&[u8], _>(bounds);
        while let Some(guard) = damage.then(|| back.next_back()).flatten() {
            match guard.into_inner() {
                Ok((place, _)) if Some(&place) == reached.as_ref() => break,
                Ok((place, value)) if each(place.clone(), value.clone()) => {}
                Err(e) if !error::is_damage(&e) => return Err(self.error(&e)),
                Ok(_) | Err(_) => break,
            }
        }
        Ok(!damage)
    }

    fn summary(&self, node: Node) -> Result<Summary, StoreError> {
        if node.depth() > LEAF_DEPTH {
            return self.sum(node).map(|leaf| leaf.summary());
        }
        if 1u64 << (LEAF_DEPTH - node.depth()) > LEAVES_MAX {
            let children: Result<Vec<Summary>, _> =
                node.children().map(|child| self.summary(child)).collect();
            return Ok(Summary::above(children?));
        }
        Ok(Summary::of_leaves(node, &self.leaves(node)?))
    }

    /// The leaves below `node` that are not empty.
    fn leaves(&self, node: Node) -> Result<Vec<(Node, Leaf)>, StoreError> {
        let first = Node::around(node.first_position(), LEAF_DEPTH);
        let last = Node::around(node.last_position(), LEAF_DEPTH);
        if first == last {
            let leaf = self.stored_leaf(first)?.map_or_else(|| self.sum(first), Ok)?;
            return Ok(if leaf.is_empty() { Vec::new() } else { vec![(first, leaf)] });
        }
        let mut leaves = Vec::new();
        for guard in self.trees.range(leaf_place(first)..=leaf_place(last)) {
            match guard.into_inner() {
                Ok((place, value)) => {
                    let found = leaf_at(&place).zip(decode(&value));
                    match found {
                        Some(found) => leaves.push(found),
                        None => return self.leaves_one_by_one(first, last),
                    }
                }
                Err(e) if error::is_damage(&e) => return self.leaves_one_by_one(first, last),
                Err(e) => return Err(self.error(&e)),
            }
        }
        Ok(leaves)
    }

    /// The same where some of them cannot be read: those are summed up.
    fn leaves_one_by_one(&self, first: Node, last: Node) -> Result<Vec<(Node, Leaf)>, StoreError> {
        let mut leaves = Vec::new();
        for leaf in (first.index()..=last.index()).filter_map(|index| Node::new(LEAF_DEPTH, index)) {
            let found = self.stored_leaf(leaf)?.map_or_else(|| self.sum(leaf), Ok)?;
            if !found.is_empty() {
                leaves.push((leaf, found));
            }
        }
        Ok(leaves)
    }

    /// Sums up the records below `node`.
    fn sum(&self, node: Node) -> Result<Leaf, StoreError> {
        let mut leaf = Leaf::default();
        self.scan(node, &mut |place, value| {
            if let Ok(head) = Head::read(&value) {
                leaf.add(&head.hash(&place));
            }
            true
        })?;
        Ok(leaf)
    }

    fn with_damaged<T>(
        &self,
        found: Result<T, StoreError>,
        count: PartitionCount,
        concerned: impl Iterator<Item = Partition>,
        result: impl FnOnce(T, Vec<Partition>) -> StoreResult,
    ) -> StoreResult {
        let concerned: BTreeSet<Partition> = if self.damaged_keys.load(Ordering::Acquire) == 0 {
            BTreeSet::new()
        } else {
            concerned.collect()
        };
        match (found, self.damaged_among(count, concerned)) {
            (Ok(found), Ok(damaged)) => result(found, damaged),
            (Err(error), _) | (_, Err(error)) => StoreResult::Failed(error),
        }
    }

    /// Up to `max` keys that cannot be read.
    pub(super) fn damaged_keys(&self, max: usize) -> StoreResult {
        if self.damaged_keys.load(Ordering::Acquire) == 0 {
            return StoreResult::DamagedKeys(Vec::new());
        }
        let keys = self.damaged.iter().take(max).map(|entry| entry.key());
        match keys.collect::<Result<Vec<_>, _>>() {
            Ok(places) => StoreResult::DamagedKeys(places.iter().filter_map(|p| key_of(p)).collect()),
            Err(e) => StoreResult::Failed(self.error(&e)),
        }
    }

    fn damaged_among(
        &self,
        count: PartitionCount,
        concerned: BTreeSet<Partition>,
    ) -> Result<Vec<Partition>, StoreError> {
        let asked: Vec<Partition> = concerned.into_iter().collect();
        self.occupied_in(&[&self.damaged], count, &asked).map(|found| found.into_iter().collect())
    }
}

/// The place of a leaf in `trees`: its index (4 bytes, big-endian).
pub(super) fn leaf_place(leaf: Node) -> [u8; 4] {
    u32::try_from(leaf.index()).unwrap_or(u32::MAX).to_be_bytes()
}

fn leaf_at(place: &[u8]) -> Option<Node> {
    Node::new(LEAF_DEPTH, u64::from(u32::from_be_bytes(place.try_into().ok()?)))
}

pub(super) fn encode(leaf: &Leaf) -> [u8; LEAF_BYTES + 1] {
    let mut bytes = [VERSION; LEAF_BYTES + 1];
    for (to, from) in bytes.iter_mut().skip(1).zip(leaf.to_bytes()) {
        *to = from;
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Leaf> {
    let (version, leaf) = bytes.split_first()?;
    (*version == VERSION).then_some(())?;
    leaf.try_into().ok().map(Leaf::from_bytes)
}

pub(super) fn key_of(place: &[u8]) -> Option<Key> {
    Key::new(Bytes::copy_from_slice(place.get(8..)?)).ok()
}
