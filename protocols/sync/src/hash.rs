//! Salted hashes, cut short.

use henge_types::Position;
use henge_types::tree::{DEPTH_MAX, ItemHash, Node, Summary};
use sha2::{Digest, Sha256};

use crate::message::Head;

/// Bits of a position that name an item below its node.
const TAG_BITS: u8 = 32;

impl Head {
    /// Appends the hash of a group of partitions, or of one node.
    pub(crate) fn push_summaries(&self, to: &mut Vec<u8>, summaries: &[Summary]) {
        let mut hash = Sha256::new().chain_update(self.salt);
        summaries.iter().for_each(|summary| hash.update(summary.hash));
        self.push(to, hash);
    }

    /// Appends the hash of an item.
    pub(crate) fn push_item(&self, to: &mut Vec<u8>, item: &ItemHash) {
        self.push(to, Sha256::new().chain_update(self.salt).chain_update(item.0));
    }

    fn push(&self, to: &mut Vec<u8>, hash: Sha256) {
        to.extend(hash.finalize().into_iter().take(usize::from(self.width)));
    }
}

/// The node below which the items with a tag are, below a node at `depth`.
pub(crate) fn tagged_depth(depth: u8) -> u8 {
    depth.saturating_add(TAG_BITS).min(DEPTH_MAX)
}

/// The bits of `position` after those that it has in common with its node at `depth`.
pub(crate) fn tag(position: Position, depth: u8) -> u32 {
    let below = Node::around(position, tagged_depth(depth)).index();
    let bits = tagged_depth(depth) - depth.min(DEPTH_MAX);
    u32::try_from(below & ((1u64 << bits) - 1)).unwrap_or(u32::MAX)
}

/// The node with `tag` below the node `index` at `depth`.
pub(crate) fn tagged(depth: u8, index: u64, tag: u32) -> Option<Node> {
    let bits = u32::from(tagged_depth(depth) - depth.min(DEPTH_MAX));
    let inside = u64::from(tag) >> bits == 0;
    let index = if bits == 0 { index } else { index.checked_shl(bits)? | u64::from(tag) };
    Node::new(tagged_depth(depth), index).filter(|_| inside)
}
