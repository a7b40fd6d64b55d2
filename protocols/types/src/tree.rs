//! The hash tree over all records that a store holds (Dynamo §4.7).
//!
//! Its leaves are the 2^20 equal slices of the position space. A leaf knows the sum, modulo 2^256,
//! of the hashes of its items, so that a write changes it without a look at the other items. A node above
//! it is the SHA-256 of its children, of which it has four (two, where a partition begins at an odd depth).
//! So each partition is one node, whatever their number, and equal sets of records have equal nodes.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::digest::RecordDigest;
use crate::key::Key;
use crate::position::{Partition, PartitionCount, Position};
use crate::record::Record;

/// The depth of the leaves: the first 20 bits of a position name its leaf.
pub const LEAF_DEPTH: u8 = 20;
/// The deepest node: one position. Below a leaf, nodes are summed up over their items.
pub const DEPTH_MAX: u8 = 64;

/// One slice of the position space: all positions that begin with the same `depth` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    depth: u8,
    index: u64,
}

impl Node {
    /// The node at `depth` whose positions begin with the bits of `index`; `None` where there is none.
    #[must_use]
    pub fn new(depth: u8, index: u64) -> Option<Self> {
        let exists = depth <= DEPTH_MAX && index.checked_shr(u32::from(depth)).unwrap_or(0) == 0;
        exists.then_some(Self { depth, index })
    }

    /// The node that is `partition`.
    #[must_use]
    pub fn of_partition(partition: Partition, count: PartitionCount) -> Self {
        Self::around(partition.first_position(count), u8::try_from(count.bits()).unwrap_or(DEPTH_MAX))
    }

    /// The node at `depth` (up to [`DEPTH_MAX`]) that holds `position`.
    #[must_use]
    pub fn around(position: Position, depth: u8) -> Self {
        let depth = depth.min(DEPTH_MAX);
        Self { depth, index: position.0.checked_shr(u32::from(DEPTH_MAX - depth)).unwrap_or(0) }
    }

    /// How many first bits its positions have in common.
    #[must_use]
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// Those bits, as a number.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// Its first position.
    #[must_use]
    pub fn first_position(self) -> Position {
        Position(self.index.checked_shl(u32::from(DEPTH_MAX - self.depth)).unwrap_or(0))
    }

    /// Its last position, itself included.
    #[must_use]
    pub fn last_position(self) -> Position {
        Position(self.first_position().0 | u64::MAX.checked_shr(u32::from(self.depth)).unwrap_or(0))
    }

    /// The depth of its children.
    #[must_use]
    pub fn children_depth(self) -> u8 {
        children_depth(self.depth)
    }

    /// Its children in order; none at [`DEPTH_MAX`].
    pub fn children(self) -> impl Iterator<Item = Self> + use<> {
        let depth = self.children_depth();
        let bits = depth - self.depth;
        let first = if bits == 0 { 0 } else { self.index << bits };
        (0..if bits == 0 { 0 } else { 1u64 << bits }).map(move |n| Self { depth, index: first | n })
    }
}

/// The depth of the children of a node at `depth`: even, and at most [`DEPTH_MAX`].
#[must_use]
pub fn children_depth(depth: u8) -> u8 {
    (depth + 2 - depth % 2).min(DEPTH_MAX)
}

/// SHA-256 of a key and the digest of its record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemHash(pub [u8; 32]);

impl fmt::Debug for ItemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What the tree knows of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// The digest of its record.
    pub digest: RecordDigest,
    /// When its youngest sibling was written ([`Record::newest_at`]).
    pub newest_at: u64,
}

impl Item {
    /// The item of `record` under `key`.
    #[must_use]
    pub fn of(key: &Key, record: &Record) -> Self {
        Self { key: key.clone(), digest: record.digest(), newest_at: record.newest_at() }
    }

    /// What its leaf sums up.
    #[must_use]
    pub fn hash(&self) -> ItemHash {
        item_hash(self.key.as_bytes(), &self.digest)
    }
}

/// The hash of the item of `key`.
#[must_use]
pub fn item_hash(key: &[u8], digest: &RecordDigest) -> ItemHash {
    ItemHash(Sha256::new().chain_update(key).chain_update(digest.0).finalize().into())
}

/// The items of one leaf, summed up. [`Leaf::default`] has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaf {
    // Little-endian: the least significant first.
    sum: [u64; 4],
    items: u64,
}

/// Bytes of a leaf's stored form: the sum, little-endian, and how many items, big-endian.
pub const LEAF_BYTES: usize = 40;

impl Leaf {
    /// Counts one item more.
    pub fn add(&mut self, hash: &ItemHash) {
        let mut carry = false;
        for (to, more) in self.sum.iter_mut().zip(limbs(hash)) {
            let (sum, first) = to.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*to, carry) = (sum, first || second);
        }
        self.items = self.items.wrapping_add(1);
    }

    /// Counts one item less.
    pub fn remove(&mut self, hash: &ItemHash) {
        let mut borrow = false;
        for (to, less) in self.sum.iter_mut().zip(limbs(hash)) {
            let (sum, first) = to.overflowing_sub(less);
            let (sum, second) = sum.overflowing_sub(u64::from(borrow));
            (*to, borrow) = (sum, first || second);
        }
        self.items = self.items.wrapping_sub(1);
    }

    /// Counts what `change`, begun as an empty leaf, counted and took away.
    pub fn join(&mut self, change: &Self) {
        let items = self.items.wrapping_add(change.items);
        let sum = change.sum.iter().flat_map(|limb| limb.to_le_bytes());
        let mut hash = ItemHash([0; 32]);
        for (to, from) in hash.0.iter_mut().zip(sum) {
            *to = from;
        }
        self.add(&hash);
        self.items = items;
    }

    /// Whether it is the leaf of no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The node that this leaf is.
    #[must_use]
    pub fn summary(&self) -> Summary {
        if self.is_empty() {
            return Summary::EMPTY;
        }
        let hash = Sha256::new().chain_update([0]).chain_update(self.to_bytes()).finalize().into();
        Summary { hash, items: self.items }
    }

    /// Its stored form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        let sum = self.sum.iter().flat_map(|limb| limb.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(sum.chain(self.items.to_be_bytes())) {
            *to = from;
        }
        bytes
    }

    /// Reads its stored form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LEAF_BYTES]) -> Self {
        let mut sum = [0; 4];
        let (limbs, items) = bytes.split_at(32);
        for (to, from) in sum.iter_mut().zip(limbs.as_chunks().0) {
            *to = u64::from_le_bytes(*from);
        }
        Self { sum, items: items.first_chunk().map_or(0, |items| u64::from_be_bytes(*items)) }
    }
}

fn limbs(hash: &ItemHash) -> impl Iterator<Item = u64> {
    hash.0.as_chunks().0.iter().map(|limb| u64::from_le_bytes(*limb))
}

/// What is below a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Equal for equal items only. All zero where there are none.
    pub hash: [u8; 32],
    /// How many items.
    pub items: u64,
}

impl Summary {
    /// Nothing.
    pub const EMPTY: Self = Self { hash: [0; 32], items: 0 };

    /// The node above `children`, which come in order: those that are not empty count, with
    /// their number.
    #[must_use]
    pub fn above(children: impl IntoIterator<Item = Self>) -> Self {
        let mut hash = Sha256::new().chain_update([1]);
        let (mut items, mut empty) = (0u64, true);
        for (number, child) in (0u8..).zip(children) {
            if child != Self::EMPTY {
                hash.update([number]);
                hash.update(child.hash);
                items = child.items.saturating_add(items);
                empty = false;
            }
        }
        if empty { Self::EMPTY } else { Self { hash: hash.finalize().into(), items } }
    }

    /// The node above `leaves`, which lie below it, in order, and are not empty.
    #[must_use]
    pub fn of_leaves(node: Node, leaves: &[(Node, Leaf)]) -> Self {
        if leaves.is_empty() {
            return Self::EMPTY;
        }
        if node.depth >= LEAF_DEPTH {
            return leaves.first().map_or(Self::EMPTY, |(_, leaf)| leaf.summary());
        }
        let mut rest = leaves;
        Self::above(node.children().map(|child| {
            let last = child.last_position();
            let (below, after) =
                rest.split_at(rest.partition_point(|(leaf, _)| leaf.first_position() <= last));
            rest = after;
            Self::of_leaves(child, below)
        }))
    }
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, "({} items)", self.items)
    }
}
