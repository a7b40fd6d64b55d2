//! What a session has still to do.

use std::collections::BTreeSet;

use henge_types::tree::Node;
use henge_types::{Key, Partition, PartitionCount};

use crate::{ENTRIES_MAX, NODES_MAX};

/// One kind of step, and what it is for. Taken in slices ([`Work::split`]).
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Compare these partitions, so many of them together.
    Groups { partitions: Vec<Partition>, size: usize },
    /// These nodes, rising, differ: compare their children.
    Expand(Vec<Node>),
    /// They differ and have few items: compare those.
    Compare(Vec<Node>),
    /// There is nothing below them there. With the number of own items.
    Send(Vec<(Node, u64)>),
    /// Ask for what is below these nodes. `last`: what comes is not sent back, whatever came of merging it.
    Fetch { nodes: Vec<Node>, last: bool },
    /// Send the records of these keys.
    Push(Vec<Key>),
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Groups { partitions, .. } => partitions.is_empty(),
            Self::Expand(nodes) | Self::Compare(nodes) | Self::Fetch { nodes, .. } => nodes.is_empty(),
            Self::Send(nodes) => nodes.is_empty(),
            Self::Push(keys) => keys.is_empty(),
        }
    }

    /// Leaves out what concerns these partitions.
    pub(super) fn without(mut self, out: &BTreeSet<Partition>, count: PartitionCount) -> Self {
        let node = |node: &Node| !out.contains(&node.first_position().partition(count));
        match &mut self {
            Self::Groups { partitions, .. } => partitions.retain(|p| !out.contains(p)),
            Self::Expand(nodes) | Self::Compare(nodes) | Self::Fetch { nodes, .. } => nodes.retain(node),
            Self::Send(nodes) => nodes.retain(|(n, _)| node(n)),
            Self::Push(keys) => keys.retain(|key| !out.contains(&key.position().partition(count))),
        }
        self
    }

    /// The partitions concerned.
    pub(super) fn partitions(&self, count: PartitionCount) -> BTreeSet<Partition> {
        let of = |node: &Node| node.first_position().partition(count);
        match self {
            Self::Groups { partitions, .. } => partitions.iter().copied().collect(),
            Self::Expand(nodes) | Self::Compare(nodes) | Self::Fetch { nodes, .. } => {
                nodes.iter().map(of).collect()
            }
            Self::Send(nodes) => nodes.iter().map(|(node, _)| of(node)).collect(),
            Self::Push(keys) => keys.iter().map(|key| key.position().partition(count)).collect(),
        }
    }

    /// As much of it as goes into one request, and the rest.
    pub(super) fn split(mut self) -> (Self, Self) {
        let max = NODES_MAX;
        let rest = match &mut self {
            Self::Groups { partitions, size } => {
                let rest = partitions.split_off(ENTRIES_MAX.min(partitions.len()));
                Self::Groups { partitions: rest, size: *size }
            }
            Self::Expand(nodes) => Self::Expand(nodes.split_off(max.min(nodes.len()))),
            Self::Compare(nodes) => Self::Compare(nodes.split_off(max.min(nodes.len()))),
            Self::Fetch { nodes, last } => {
                // All of one request are at one depth.
                let depth = nodes.first().map(|node| node.depth());
                let same = nodes.iter().take_while(|node| Some(node.depth()) == depth).count();
                Self::Fetch { nodes: nodes.split_off(max.min(same)), last: *last }
            }
            Self::Send(nodes) => Self::Send(nodes.split_off(max.min(nodes.len()))),
            Self::Push(keys) => Self::Push(keys.split_off(max.min(keys.len()))),
        };
        (self, rest)
    }
}
