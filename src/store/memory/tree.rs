//! The hash tree of a store in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use henge_types::tree::{Item, ItemHash, LEAF_DEPTH, Leaf, Node, Summary, item_hash};
use henge_types::{Key, Partition, PartitionCount, Position, Record};

use super::{Entry, Image, Place, State};
use crate::store::StoreResult;

/// The leaves that are not empty.
pub(super) type Leaves = BTreeMap<Node, Leaf>;

impl Entry {
    pub(super) fn new(record: Option<Record>, damaged: bool) -> Self {
        let digest = record.as_ref().map(Record::digest);
        Self { record, digest, damaged }
    }

    fn hash(&self, key: &Key) -> Option<ItemHash> {
        self.digest.as_ref().map(|digest| item_hash(key.as_bytes(), digest))
    }
}

impl State {
    pub(super) fn summaries_of_partitions(
        &mut self,
        count: PartitionCount,
        asked: &[Partition],
    ) -> StoreResult {
        let (now, roots) = (&self.now, &mut self.roots);
        let root = |partition: &Partition| {
            roots.look(count, *partition).unwrap_or_else(|reading| {
                let summary = now.summary(Node::of_partition(*partition, count));
                roots.learn(*partition, reading, summary);
                summary
            })
        };
        let summaries = asked.iter().map(root).collect();
        StoreResult::Summaries { summaries, damaged: now.damaged_among(count, asked.iter().copied()) }
    }
}

impl Image {
    /// Everything that is stored of a record passes through here, so that its leaf follows.
    pub(super) fn set_record(&mut self, place: &Place, entry: Option<Entry>) -> Option<Entry> {
        let leaf = Node::around(place.0, LEAF_DEPTH);
        let new = entry.as_ref().and_then(|entry| entry.hash(&place.1));
        let old = match entry {
            Some(entry) => self.records.insert(place.clone(), entry),
            None => self.records.remove(place),
        };
        let sum = self.leaves.entry(leaf).or_default();
        old.as_ref().and_then(|entry| entry.hash(&place.1)).iter().for_each(|hash| sum.remove(hash));
        new.iter().for_each(|hash| sum.add(hash));
        if sum.is_empty() {
            self.leaves.remove(&leaf);
        }
        let damaged = self.records.get(place).is_some_and(|entry| entry.damaged);
        if damaged {
            self.damaged.insert(place.clone())
        } else {
            self.damaged.remove(place)
        };
        self.changed.insert(leaf);
        old
    }

    pub(super) fn summaries(&self, count: PartitionCount, nodes: &[Node]) -> StoreResult {
        let summaries = nodes.iter().map(|node| self.summary(*node)).collect();
        let concerned = nodes.iter().map(|node| node.first_position().partition(count));
        StoreResult::Summaries { summaries, damaged: self.damaged_among(count, concerned) }
    }

    pub(super) fn items(&self, count: PartitionCount, nodes: &[Node], items_max: usize) -> StoreResult {
        let mut left = items_max;
        let list = |node: &Node| {
            let items: Vec<Item> = self.items_below(*node).take(left.saturating_add(1)).collect();
            let fits = items.len() <= left;
            left = left.saturating_sub(if fits { items.len() } else { 0 });
            fits.then_some(items)
        };
        let items = nodes.iter().map(list).collect();
        let concerned = nodes.iter().map(|node| node.first_position().partition(count));
        StoreResult::Items { items, damaged: self.damaged_among(count, concerned) }
    }

    pub(super) fn records_of(&self, keys: &[Key], bytes_max: usize) -> StoreResult {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let record = match self.records.get(&(key.position(), key.clone())) {
                Some(entry) if entry.damaged => None,
                Some(entry) => Some(entry.record.clone().unwrap_or_default()),
                None => Some(Record::new()),
            };
            bytes += key.as_bytes().len() + record.as_ref().map_or(0, Record::size_bytes);
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        StoreResult::Records(records)
    }

    pub(super) fn dead(
        &self,
        count: PartitionCount,
        partitions: &[Partition],
        until_unix_ms: u64,
        max: usize,
    ) -> StoreResult {
        let dead = |(place, entry): (&Place, &Entry)| {
            let record = entry.record.as_ref().filter(|_| !entry.damaged)?;
            let old = record.dead_since().is_some_and(|since| since <= until_unix_ms);
            old.then(|| (place.1.clone(), record.digest()))
        };
        let below = partitions.iter().flat_map(|p| self.below(Node::of_partition(*p, count)));
        StoreResult::Dead(below.filter_map(dead).take(max).collect())
    }

    /// Whatever is stored below `node`, in order.
    pub(super) fn below(&self, node: Node) -> impl Iterator<Item = (&Place, &Entry)> {
        // No key sorts before a position and nothing: one byte is the shortest, and 0 the least.
        let least = Key::new(Bytes::from_static(&[0])).ok();
        let last: Position = node.last_position();
        let from = least.map(|least| self.records.range((node.first_position(), least)..));
        from.into_iter().flatten().take_while(move |((position, _), _)| *position <= last)
    }

    fn summary(&self, node: Node) -> Summary {
        if node.depth() > LEAF_DEPTH {
            let mut leaf = Leaf::default();
            self.items_below(node).for_each(|item| leaf.add(&item.hash()));
            return leaf.summary();
        }
        let first = Node::around(node.first_position(), LEAF_DEPTH);
        let last = Node::around(node.last_position(), LEAF_DEPTH);
        let leaves: Vec<(Node, Leaf)> =
            self.leaves.range(first..=last).map(|(n, leaf)| (*n, *leaf)).collect();
        Summary::of_leaves(node, &leaves)
    }

    fn items_below(&self, node: Node) -> impl Iterator<Item = Item> {
        self.below(node).filter_map(|((_, key), entry)| {
            let (digest, record) = (entry.digest?, entry.record.as_ref()?);
            Some(Item { key: key.clone(), digest, newest_at: record.newest_at() })
        })
    }

    fn damaged_among(
        &self,
        count: PartitionCount,
        concerned: impl Iterator<Item = Partition>,
    ) -> Vec<Partition> {
        if self.damaged.is_empty() {
            return Vec::new();
        }
        let damaged: BTreeSet<Partition> = self.damaged.iter().map(|(p, _)| p.partition(count)).collect();
        let concerned: BTreeSet<Partition> = concerned.collect();
        damaged.intersection(&concerned).copied().collect()
    }
}
