//! The leaves of the hash tree that a batch changes: several writes to one leaf are one change.

use std::collections::BTreeMap;

use ::fjall::{OwnedWriteBatch, Slice};
use henge_types::Position;
use henge_types::tree::{ItemHash, Leaf, Node};

use super::value::Head;
use super::{Fjall, tree};
use crate::store::StoreError;

/// What a batch does to leaves.
#[derive(Default)]
pub(super) struct Leaves(BTreeMap<Node, LeafChange>);

enum LeafChange {
    /// Items came and went.
    By(Leaf),
    /// What was there is not known: it is summed up anew.
    SumUp,
}

impl Leaves {
    /// An item below `leaf` took the place of another.
    pub(super) fn change(&mut self, leaf: Node, old: Option<ItemHash>, new: Option<ItemHash>) {
        if let LeafChange::By(change) = self.0.entry(leaf).or_insert(LeafChange::By(Leaf::default())) {
            old.iter().for_each(|hash| change.remove(hash));
            new.iter().for_each(|hash| change.add(hash));
        }
    }

    /// Something below `leaf` cannot be read, or could not.
    pub(super) fn sum_up(&mut self, leaf: Node) {
        self.0.insert(leaf, LeafChange::SumUp);
    }
}

/// Adds what becomes of leaves to a batch that writes `records`, and tells which change.
pub(super) fn put_leaves(
    batch: &mut OwnedWriteBatch,
    store: &Fjall,
    leaves: &Leaves,
    records: &BTreeMap<Vec<u8>, Option<Slice>>,
) -> Result<Vec<Node>, StoreError> {
    let mut changed = Vec::new();
    for (leaf, change) in &leaves.0 {
        let known = match change {
            LeafChange::By(by) if by.is_empty() => continue,
            LeafChange::By(by) => store.stored_leaf(*leaf)?.map(|mut stored| {
                stored.join(by);
                stored
            }),
            LeafChange::SumUp => None,
        };
        let sum = known.map_or_else(|| sum_up(store, *leaf, records), Ok)?;
        let place = tree::leaf_place(*leaf);
        if sum.is_empty() {
            batch.remove(&store.trees, place);
        } else {
            batch.insert(&store.trees, place, tree::encode(&sum));
        }
        changed.push(*leaf);
    }
    Ok(changed)
}

/// The leaf over what is stored, and what `records` makes of it.
fn sum_up(store: &Fjall, leaf: Node, records: &BTreeMap<Vec<u8>, Option<Slice>>) -> Result<Leaf, StoreError> {
    let mut sum = Leaf::default();
    let mut count = |place: &[u8], value: &[u8]| {
        if let Ok(head) = Head::read(value) {
            sum.add(&head.hash(place));
        }
    };
    store.scan(leaf, &mut |place, value| {
        if !records.contains_key(place.as_ref()) {
            count(&place, &value);
        }
        true
    })?;
    let begin = leaf.first_position().0.to_be_bytes().to_vec();
    let below = |place: &[u8]| Position::of_hash(place) <= leaf.last_position();
    for (place, value) in records.range(begin..).take_while(|(place, _)| below(place)) {
        value.iter().for_each(|value| count(place, value));
    }
    Ok(sum)
}
