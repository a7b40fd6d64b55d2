//! What the other peer says about what differs.

use std::collections::BTreeMap;

use henge_types::Partition;
use henge_types::tree::{Item, Node, Summary};

use super::{Effect, Fault, ITEMS_MAX, Mode, Session, Waiting, Work};
use crate::FEW_ITEMS;
use crate::hash::{tag, tagged};
use crate::message::{Response, code};
use crate::pack::{take, take_number, unpack_codes, unpack_partitions};

/// Differing groups up to which the next ones are a sixteenth of their size, not a quarter: fewer
/// round trips where there is little to find.
const FEW_GROUPS: usize = 8;

/// An item that only the other peer has.
struct Other {
    tag: u32,
    newest_at: u64,
}

impl Session {
    pub(super) fn handle_response(&mut self, response: Response) -> Result<Effect, Fault> {
        let stale = match &response {
            Response::Codes { stale, .. }
            | Response::Items { stale, .. }
            | Response::Records { stale, .. }
            | Response::Pushed { stale, .. } => unpack_partitions(stale, self.terms.count)?,
            Response::Compared { .. } | Response::Collected { .. } | Response::Refused => {
                return Err(Fault::Unexpected);
            }
        };
        self.stale.extend(stale.into_iter().filter(|p| self.tallies.contains_key(p)));
        // What is found to be malformed leaves behind what was awaited.
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        let undone = waiting.partitions(self.terms.count);
        let handled = match (waiting, response) {
            (Waiting::Groups { partitions, size, own }, Response::Codes { codes, .. }) => {
                self.on_groups(partitions, size, &own, &codes)
            }
            (Waiting::Nodes { own, .. }, Response::Codes { codes, .. }) => self.on_nodes(own, &codes),
            (Waiting::Items { nodes, own }, Response::Items { found, .. }) => {
                self.on_items(&nodes, own, &found)
            }
            (Waiting::Records { nodes, last }, Response::Records { covered, records, .. }) => {
                self.on_records(nodes, last, covered, records)
            }
            (Waiting::Pushed { records, rest }, Response::Pushed { codes, .. }) => {
                self.on_pushed(records, rest, &codes)
            }
            _ => Err(Fault::Unexpected),
        };
        if handled.is_err() {
            self.work.push(Work::Groups { partitions: undone.into_iter().collect(), size: 1 });
        }
        handled
    }

    fn on_groups(
        &mut self,
        partitions: Vec<Partition>,
        size: usize,
        own: &[Summary],
        codes: &[u8],
    ) -> Result<Effect, Fault> {
        let codes = unpack_codes(codes, partitions.len().div_ceil(size))?;
        let verdicts = own.chunks(size).zip(&codes).filter(|(_, code)| size == 1 || **code == code::EQUAL);
        let covered = verdicts.flat_map(|(group, _)| group).map(|summary| summary.items).sum::<u64>();
        self.progress.items_covered += covered;
        if size == 1 {
            let node = |p: &Partition| Node::of_partition(*p, self.terms.count);
            let nodes = partitions.iter().map(node).zip(own.iter().map(|summary| summary.items)).collect();
            self.sort(nodes, &codes);
            return Ok(self.next());
        }
        let groups = partitions.chunks(size).zip(&codes).filter(|(_, code)| **code != code::EQUAL);
        let (mut differ, mut partitions) = (0, Vec::new());
        for (group, _) in groups {
            differ += 1;
            partitions.extend_from_slice(group);
        }
        let size = if differ <= FEW_GROUPS { size / 16 } else { size / 4 };
        self.later(Work::Groups { partitions, size: size.max(1) });
        Ok(self.next())
    }

    fn on_nodes(&mut self, own: Vec<(Node, u64)>, codes: &[u8]) -> Result<Effect, Fault> {
        let codes = unpack_codes(codes, own.len())?;
        self.sort(own, &codes);
        Ok(self.next())
    }

    /// What to do about nodes with so many own items, now that it is known how they compare.
    fn sort(&mut self, nodes: Vec<(Node, u64)>, codes: &[u8]) {
        let (mut inner, mut few, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for ((node, items), code) in nodes.into_iter().zip(codes) {
            match *code {
                code::EQUAL => {}
                code::EMPTY if !self.pushes() => {}
                code::EMPTY => absent.push((node, items)),
                _ if items == 0 && self.terms.mode == Mode::Push => {}
                _ if items <= FEW_ITEMS || node.children_depth() == node.depth() => few.push(node),
                _ => inner.push(node),
            }
        }
        self.expand(inner);
        self.later(Work::Compare(few));
        self.later(Work::Send(absent));
    }

    fn on_items(&mut self, nodes: &[Node], own: Vec<Vec<Item>>, mut found: &[u8]) -> Result<Effect, Fault> {
        let (mut fetch, mut push, mut many) = (Vec::new(), Vec::new(), Vec::new());
        let mut told = 0;
        for (node, own) in nodes.iter().zip(own) {
            let Some(count) = take_number(&mut found)?.checked_sub(1) else {
                many.push(*node);
                continue;
            };
            told += usize::try_from(count).unwrap_or(usize::MAX).min(ITEMS_MAX + 1);
            if told > ITEMS_MAX {
                return Err(Fault::Malformed);
            }
            let missing = take(&mut found, own.len().div_ceil(8))?;
            let bits = missing.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
            let unmatched = own.into_iter().zip(bits).filter(|(_, missing)| *missing).map(|(item, _)| item);
            let others: Result<Vec<Other>, Fault> = (0..count).map(|_| take_other(&mut found)).collect();
            let nodes = self.decide(*node, unmatched.collect(), &others?, &mut push);
            fetch.extend(nodes.ok_or(Fault::Malformed)?);
        }
        if !found.is_empty() {
            return Err(Fault::Malformed);
        }
        self.expand(many);
        fetch.sort_unstable();
        fetch.dedup();
        self.later(Work::Push(push));
        self.later(Work::Fetch { nodes: fetch, last: false });
        Ok(self.next())
    }

    /// Where both have other versions of a key, the younger one travels first: the side that merges
    /// it mostly has nothing to add.
    fn decide(
        &self,
        node: Node,
        unmatched: Vec<Item>,
        others: &[Other],
        push: &mut Vec<henge_types::Key>,
    ) -> Option<Vec<Node>> {
        let mut fetch = Vec::new();
        let mut there: BTreeMap<u32, u64> = BTreeMap::new();
        for other in others {
            let newest_at = there.entry(other.tag).or_default();
            *newest_at = other.newest_at.max(*newest_at);
        }
        let here: BTreeMap<u32, u64> =
            unmatched.iter().map(|i| (tag(i.key.position(), node.depth()), i.newest_at)).collect();
        for (tag, newest_at) in &there {
            let wanted = match (self.terms.mode, here.get(tag)) {
                (Mode::Pull, _) | (Mode::Both, None) => true,
                (Mode::Push, _) => false,
                (Mode::Both, Some(own)) => newest_at > own,
            };
            if wanted {
                fetch.push(tagged(node.depth(), node.index(), *tag)?);
            }
        }
        for item in unmatched {
            let newer_there =
                there.get(&tag(item.key.position(), node.depth())).is_some_and(|at| *at > item.newest_at);
            match self.terms.mode {
                Mode::Pull => {}
                Mode::Both if newer_there => {}
                Mode::Both | Mode::Push => push.push(item.key),
            }
        }
        Some(fetch)
    }
}

fn take_other(bytes: &mut &[u8]) -> Result<Other, Fault> {
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let tag = u32::try_from(number(take(bytes, 4)?)).map_err(|_| Fault::Malformed)?;
    Ok(Other { tag, newest_at: number(take(bytes, 6)?) })
}
