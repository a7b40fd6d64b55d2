//! Questions to the other peer: what differs.

use henge_types::Partition;
use henge_types::tree::{Item, Node, Summary};

use super::{Effect, Mode, Session, Waiting, Work};
use crate::message::Request;
use crate::pack::{pack_numbers, pack_partitions, pack_rising};
use crate::question::Question;
use crate::responder::partitions_of;
use crate::{ITEMS_MAX, NODES_MAX};

impl Session {
    pub(super) fn ask_groups(
        &mut self,
        partitions: Vec<Partition>,
        size: usize,
        own: Vec<Summary>,
    ) -> Effect {
        let head = self.head(&partitions);
        let mut hashes = Vec::new();
        own.chunks(size).for_each(|group| head.push_summaries(&mut hashes, group));
        let request = Request::Groups {
            partitions: pack_partitions(&partitions),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            hashes: hashes.into(),
            head,
        };
        self.send(Waiting::Groups { partitions, size, own }, request)
    }

    pub(super) fn ask_nodes(&mut self, nodes: Vec<Node>, own: &[Summary]) -> Effect {
        let head = self.head(&partitions_of(&nodes, self.terms.count));
        let mut hashes = Vec::new();
        own.iter().for_each(|child| head.push_summaries(&mut hashes, std::slice::from_ref(child)));
        let children = nodes.iter().flat_map(|node| node.children());
        let own = children.zip(own.iter().map(|summary| summary.items)).collect();
        let (depth, packed) = pack_nodes(&nodes);
        let request = Request::Nodes { head, depth, nodes: packed, hashes: hashes.into() };
        self.send(Waiting::Nodes { nodes, own }, request)
    }

    /// Nodes that have got too many items meanwhile are looked at more closely.
    pub(super) fn ask_items(&mut self, nodes: Vec<Node>, items: Vec<Option<Vec<Item>>>) -> Effect {
        let (mut few, mut own, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for (node, items) in nodes.into_iter().zip(items) {
            match items {
                Some(items) => {
                    few.push(node);
                    own.push(items);
                }
                None => many.push(node),
            }
        }
        self.expand(many);
        if few.is_empty() {
            return self.next();
        }
        let head = self.head(&partitions_of(&few, self.terms.count));
        let mut hashes = Vec::new();
        own.iter().flatten().for_each(|item| head.push_item(&mut hashes, &item.hash()));
        self.progress.items_compared += own.iter().map(|items| items.len() as u64).sum::<u64>();
        let (depth, nodes) = pack_nodes(&few);
        let counts = pack_numbers(own.iter().map(|items| items.len() as u64));
        let request = Request::Items { head, depth, nodes, counts, hashes: hashes.into() };
        self.send(Waiting::Items { nodes: few, own }, request)
    }

    /// Nodes that differ and are too large to compare item by item. What is below one position is not
    /// divided any further.
    pub(super) fn expand(&mut self, nodes: Vec<Node>) {
        let (inner, ends): (Vec<Node>, Vec<Node>) =
            nodes.into_iter().partition(|node| node.children_depth() > node.depth());
        self.leave_partitions(&ends);
        self.later(Work::Expand(inner));
    }

    /// Sends all that is below these nodes, of which the other peer has nothing.
    pub(super) fn begin_send(&mut self, nodes: Vec<(Node, u64)>) -> Effect {
        let divides = |node: &Node| node.children_depth() > node.depth();
        let many = |(node, items): &(Node, u64)| *items > ITEMS_MAX as u64 && divides(node);
        let large = nodes.iter().take_while(|n| many(n)).count().min(NODES_MAX / 4);
        if large > 0 {
            let mut nodes = nodes;
            let rest = nodes.split_off(large);
            self.later(Work::Send(rest));
            let children = nodes.iter().flat_map(|(node, _)| node.children()).collect();
            self.waiting = Waiting::Parts { nodes };
            return Effect::Ask(Question::Nodes(children));
        }
        // As many as can be listed at once, and at least one.
        let mut sum = 0u64;
        let fits = |n: &&(Node, u64)| {
            sum = sum.saturating_add(n.1);
            !many(n) && sum <= ITEMS_MAX as u64
        };
        let listed = nodes.iter().take_while(fits).count().max(1);
        let mut nodes = nodes;
        let rest = nodes.split_off(listed);
        self.later(Work::Send(rest));
        let nodes: Vec<Node> = nodes.into_iter().map(|(node, _)| node).collect();
        self.waiting = Waiting::Keys { nodes: nodes.clone() };
        Effect::Ask(Question::Items(nodes))
    }

    pub(super) fn send_listed(&mut self, nodes: Vec<Node>, items: Vec<Option<Vec<Item>>>) -> Effect {
        let mut keys = Vec::new();
        let mut many = Vec::new();
        for (node, items) in nodes.into_iter().zip(items) {
            match items {
                Some(items) => keys.extend(items.into_iter().map(|item| item.key)),
                None => many.push(node),
            }
        }
        self.expand(many);
        self.later(Work::Push(keys));
        self.next()
    }

    /// Whether this session brings records here.
    pub(super) fn pulls(&self) -> bool {
        matches!(self.terms.mode, Mode::Both | Mode::Pull)
    }

    /// Whether this session sends records there.
    pub(super) fn pushes(&self) -> bool {
        matches!(self.terms.mode, Mode::Both | Mode::Push)
    }
}

/// The depth that rising nodes have in common, and their indices.
pub(super) fn pack_nodes(nodes: &[Node]) -> (u8, bytes::Bytes) {
    let depth = nodes.first().map_or(0, |node| node.depth());
    (depth, pack_rising(nodes.iter().map(|node| node.index())))
}
