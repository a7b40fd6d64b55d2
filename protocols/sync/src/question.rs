//! What either side asks of its own store.

use henge_types::tree::{Item, Node, Summary};
use henge_types::{Key, Partition, Record};

/// A question to the peer's own store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The nodes that these partitions are. Answered by [`Known::Summaries`].
    Roots(Vec<Partition>),
    /// These nodes. Answered by [`Known::Summaries`].
    Nodes(Vec<Node>),
    /// The items below these nodes, [`crate::ITEMS_MAX`] in all. Answered by [`Known::Items`].
    Items(Vec<Node>),
    /// The records of the first of these keys, about [`crate::BATCH_BYTES`]. Answered by [`Known::Records`].
    Records(Vec<Key>),
    /// Merge these records, and answer when that, and all that was read before, is durable (even
    /// where there is nothing to merge). Answered by [`Known::Merged`].
    Merge(Vec<(Key, Record)>),
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// One for each partition or node, in order.
    Summaries {
        /// The nodes.
        summaries: Vec<Summary>,
        /// The partitions concerned that have keys which cannot be read.
        damaged: Vec<Partition>,
    },
    /// Those below each node, in order; `None` where there are too many.
    Items {
        /// The items.
        items: Vec<Option<Vec<Item>>>,
        /// The partitions concerned that have keys which cannot be read.
        damaged: Vec<Partition>,
    },
    /// The records of the first of the keys, at least of one; `None` where it cannot be read, the empty
    /// record where there is none.
    Records(Vec<Option<Record>>),
    /// One for each record, in order.
    Merged(Vec<Merged>),
    /// The store failed.
    Failed,
}

/// What came of merging one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// What is stored now is what came.
    Same,
    /// What is stored knows more.
    Ahead,
    /// It is over a bound: what is stored does not know all that came.
    Refused,
}
