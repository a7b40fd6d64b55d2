//! The answering side: one request, a question or two to the store, one answer. Nothing is kept between requests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use henge_types::tree::{DEPTH_MAX, Item, Node, Summary};
use henge_types::{Key, Partition, PartitionCount, VotersDigest};

use crate::hash::tag;
use crate::message::{Head, Request, Response, code};
use crate::pack::{
    pack_codes, pack_partitions, push_number, unpack_numbers, unpack_partitions, unpack_rising,
};
use crate::question::{Known, Merged, Question};
use crate::{ENTRIES_MAX, EXACT_HASH_BYTES, Fault, ITEMS_MAX, NODES_MAX};

/// Whether this peer answers for a partition: it has custody and, where a digest is given, sees these voters.
pub type Accepts<'a> = &'a dyn Fn(Partition, Option<VotersDigest>) -> bool;

/// One request that is being answered.
///
/// Ask the store what [`Responder::begin`] and each [`Step::Ask`] says, and hand in its answer, until
/// there is a response. Whether a partition is answered for is asked at the end, when everything is known,
/// and for records that are to be merged at the beginning too.
#[derive(Debug)]
pub struct Responder {
    count: PartitionCount,
    head: Head,
    stage: Stage,
    concerned: Vec<(Partition, Option<VotersDigest>)>,
    damaged: BTreeSet<Partition>,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Ask the store.
    Ask(Responder, Question),
    /// Send this.
    Respond(Response),
}

#[derive(Debug)]
enum Stage {
    /// Which of these groups (how many of the summaries each) have other hashes?
    Compare {
        groups: Vec<usize>,
        hashes: Vec<u8>,
    },
    Items {
        depth: u8,
        counts: Vec<usize>,
        hashes: Vec<u8>,
    },
    /// Which keys are below each node?
    Find,
    /// How many keys each node has, and their records.
    Read {
        below: Vec<usize>,
        keys: Vec<Key>,
    },
    /// Which of the records were merged.
    Merge {
        taken: Vec<bool>,
    },
    /// It only has to be durable.
    Answer(Response),
}

impl Responder {
    /// Begins to answer. `count` is how many partitions the ring has; whether the asking peer is a member of
    /// it is for the caller to look.
    ///
    /// # Errors
    /// What is wrong with the request: answer [`Response::Refused`].
    pub fn begin(
        request: Request,
        count: PartitionCount,
        accepts: Accepts<'_>,
    ) -> Result<(Self, Question), Fault> {
        match request {
            Request::Compare { .. } | Request::Collect { .. } => Err(Fault::Unexpected),
            Request::Groups { head, partitions, size, hashes } => {
                let partitions = unpack_partitions(&partitions, count)?;
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size == 0 || partitions.len() > ENTRIES_MAX {
                    return Err(Fault::Malformed);
                }
                let groups = partitions.chunks(size).map(<[Partition]>::len).collect();
                let stage = Stage::compare(&head, groups, &hashes)?;
                Self::asking(count, head, stage, partitions.clone(), Question::Roots(partitions))
            }
            Request::Nodes { head, depth, nodes, hashes } => {
                let nodes = unpack_nodes(depth, &nodes, count)?;
                let children: Vec<Node> = nodes.iter().flat_map(|node| node.children()).collect();
                let stage = Stage::compare(&head, vec![1; children.len()], &hashes)?;
                Self::asking(count, head, stage, partitions_of(&nodes, count), Question::Nodes(children))
            }
            Request::Items { head, depth, nodes, counts, hashes } => {
                let nodes = unpack_nodes(depth, &nodes, count)?;
                let counts = unpack_numbers(&counts, nodes.len())?;
                let counts: Vec<usize> = counts.into_iter().filter_map(|n| usize::try_from(n).ok()).collect();
                let items = counts.iter().try_fold(0usize, |all, n| all.checked_add(*n));
                let items = items.filter(|items| *items <= ITEMS_MAX).ok_or(Fault::Malformed)?;
                check_hashes(&head, items, &hashes)?;
                let stage = Stage::Items { depth, counts, hashes: hashes.to_vec() };
                Self::asking(count, head, stage, partitions_of(&nodes, count), Question::Items(nodes))
            }
            Request::Fetch { head, depth, nodes } => {
                let nodes = unpack_nodes(depth, &nodes, count)?;
                Self::asking(count, head, Stage::Find, partitions_of(&nodes, count), Question::Items(nodes))
            }
            Request::Push { head, mut records } => {
                let at = |key: &Key| key.position().partition(count);
                let places: Vec<Partition> = records.iter().map(|(key, _)| at(key)).collect();
                let concerned: BTreeSet<Partition> = places.iter().copied().collect();
                let concerned = with_voters(&head, concerned.into_iter().collect())?;
                let voters: BTreeMap<Partition, Option<VotersDigest>> = concerned.iter().copied().collect();
                let takes = |p: &Partition| voters.get(p).is_some_and(|voters| accepts(*p, *voters));
                let taken: Vec<bool> = places.iter().map(takes).collect();
                let mut each = taken.iter();
                records.retain(|_| each.next().is_some_and(|taken| *taken));
                let stage = Stage::Merge { taken };
                Ok((
                    Self { count, head, stage, concerned, damaged: BTreeSet::new() },
                    Question::Merge(records),
                ))
            }
        }
    }

    /// The store answered.
    #[must_use]
    pub fn on_known(mut self, known: Known, accepts: Accepts<'_>) -> Step {
        match (std::mem::replace(&mut self.stage, Stage::Answer(Response::Refused)), known) {
            (Stage::Compare { groups, hashes }, Known::Summaries { summaries, damaged }) => {
                self.damaged.extend(damaged);
                let codes = self.compare(&groups, &hashes, &summaries);
                let response = Response::Codes { stale: Bytes::new(), codes: pack_codes(&codes) };
                self.answer(response, accepts)
            }
            (Stage::Items { depth, counts, hashes }, Known::Items { items, damaged }) => {
                self.damaged.extend(damaged);
                let found = self.find(depth, &counts, &hashes, &items).into();
                self.answer(Response::Items { stale: Bytes::new(), found }, accepts)
            }
            (Stage::Find, Known::Items { items, damaged }) => {
                self.damaged.extend(damaged);
                // Nodes after one with too many are not covered.
                let items = items.into_iter().map_while(|items| items);
                let items: Vec<Vec<Item>> = items.collect();
                let below = items.iter().map(Vec::len).collect();
                let keys: Vec<Key> = items.into_iter().flatten().map(|item| item.key).collect();
                self.stage = Stage::Read { below, keys: keys.clone() };
                if keys.is_empty() {
                    return self.on_known(Known::Records(Vec::new()), accepts);
                }
                Step::Ask(self, Question::Records(keys))
            }
            (Stage::Read { below, keys }, Known::Records(records)) => {
                let mut left = records.len();
                let whole = |count: &&usize| {
                    let whole = **count <= left;
                    left = left.saturating_sub(**count);
                    whole
                };
                let covered = below.iter().take_while(whole).count();
                let unreadable = keys.iter().zip(&records).filter(|(_, record)| record.is_none());
                self.damaged.extend(unreadable.map(|(key, _)| key.position().partition(self.count)));
                let some = keys.into_iter().zip(records).filter_map(|(key, record)| Some((key, record?)));
                let records = some.filter(|(_, record)| !record.is_empty()).collect();
                let covered = u32::try_from(covered).unwrap_or(u32::MAX);
                Step::Respond(Response::Records { stale: self.stale(accepts), covered, records })
            }
            (Stage::Merge { taken }, Known::Merged(merged)) => {
                let mut merged = merged.into_iter();
                let code = |taken: bool| match taken.then(|| merged.next()).flatten() {
                    Some(Merged::Same) => code::STORED,
                    Some(Merged::Ahead) => code::AHEAD,
                    Some(Merged::Refused) | None => code::REFUSED,
                };
                let codes: Vec<u8> = taken.into_iter().map(code).collect();
                Step::Respond(Response::Pushed { stale: self.stale(accepts), codes: pack_codes(&codes) })
            }
            (Stage::Answer(response), Known::Merged(_)) => Step::Respond(self.again(response, accepts)),
            _ => Step::Respond(Response::Refused),
        }
    }

    fn asking(
        count: PartitionCount,
        head: Head,
        stage: Stage,
        concerned: Vec<Partition>,
        question: Question,
    ) -> Result<(Self, Question), Fault> {
        let concerned = with_voters(&head, concerned)?;
        Ok((Self { count, head, stage, concerned, damaged: BTreeSet::new() }, question))
    }

    /// What is equal may be on no disk yet: who gives up its own copy has to wait for that.
    fn answer(mut self, response: Response, accepts: Accepts<'_>) -> Step {
        if !self.head.durable {
            return Step::Respond(self.again(response, accepts));
        }
        self.stage = Stage::Answer(response);
        Step::Ask(self, Question::Merge(Vec::new()))
    }

    /// The response, with those partitions stale that are so now.
    fn again(&self, response: Response, accepts: Accepts<'_>) -> Response {
        match response {
            Response::Codes { codes, .. } => Response::Codes { stale: self.stale(accepts), codes },
            Response::Items { found, .. } => Response::Items { stale: self.stale(accepts), found },
            response @ (Response::Compared { .. }
            | Response::Collected { .. }
            | Response::Records { .. }
            | Response::Pushed { .. }
            | Response::Refused) => response,
        }
    }

    fn stale(&self, accepts: Accepts<'_>) -> Bytes {
        let answers = |(partition, voters): &&(Partition, Option<VotersDigest>)| {
            // Who reads a partition under its voters relies on its being all there.
            let whole = voters.is_none() || !self.damaged.contains(partition);
            whole && accepts(*partition, *voters)
        };
        let stale: Vec<Partition> = self.concerned.iter().filter(|c| !answers(c)).map(|(p, _)| *p).collect();
        pack_partitions(&stale)
    }

    fn compare(&self, groups: &[usize], hashes: &[u8], mut summaries: &[Summary]) -> Vec<u8> {
        let theirs = hashes.chunks(usize::from(self.head.width));
        let compare = |(size, theirs): (&usize, &[u8])| {
            let (group, rest) = summaries.split_at_checked(*size).unwrap_or((summaries, &[]));
            summaries = rest;
            let mut own = Vec::new();
            self.head.push_summaries(&mut own, group);
            let empty = group.iter().all(|summary| *summary == Summary::EMPTY);
            match (own == theirs, empty) {
                (true, _) => code::EQUAL,
                (false, true) => code::EMPTY,
                (false, false) => code::DIFFERS,
            }
        };
        groups.iter().zip(theirs).map(compare).collect()
    }

    fn find(&self, depth: u8, counts: &[usize], hashes: &[u8], items: &[Option<Vec<Item>>]) -> Vec<u8> {
        let mut theirs = hashes.chunks(usize::from(self.head.width));
        let mut found = Vec::new();
        for (count, items) in counts.iter().zip(items) {
            let theirs: Vec<&[u8]> = theirs.by_ref().take(*count).collect();
            let Some(items) = items else {
                push_number(&mut found, 0);
                continue;
            };
            let hash = |item: &Item| {
                let mut hash = Vec::new();
                self.head.push_item(&mut hash, &item.hash());
                hash
            };
            let own: Vec<(Vec<u8>, &Item)> = items.iter().map(|item| (hash(item), item)).collect();
            let asked: BTreeSet<&[u8]> = theirs.iter().copied().collect();
            let here: BTreeSet<&[u8]> = own.iter().map(|(hash, _)| hash.as_slice()).collect();
            let others: Vec<&Item> = own
                .iter()
                .filter(|(hash, _)| !asked.contains(hash.as_slice()))
                .map(|(_, item)| *item)
                .collect();
            push_number(&mut found, others.len() as u64 + 1);
            let missing = |eight: &[&[u8]]| {
                eight.iter().rev().fold(0u8, |byte, hash| byte << 1 | u8::from(!here.contains(hash)))
            };
            found.extend(theirs.chunks(8).map(missing));
            for item in others {
                found.extend(tag(item.key.position(), depth).to_be_bytes());
                found.extend(item.newest_at.to_be_bytes().into_iter().skip(2));
            }
        }
        found
    }
}

impl Stage {
    fn compare(head: &Head, groups: Vec<usize>, hashes: &[u8]) -> Result<Self, Fault> {
        check_hashes(head, groups.len(), hashes)?;
        Ok(Self::Compare { groups, hashes: hashes.to_vec() })
    }
}

fn check_hashes(head: &Head, count: usize, hashes: &[u8]) -> Result<(), Fault> {
    let fits =
        (1..=EXACT_HASH_BYTES).contains(&head.width) && hashes.len() == count * usize::from(head.width);
    if fits { Ok(()) } else { Err(Fault::Malformed) }
}

/// The nodes, none above a partition.
fn unpack_nodes(depth: u8, nodes: &[u8], count: PartitionCount) -> Result<Vec<Node>, Fault> {
    if u32::from(depth) < count.bits() || depth > DEPTH_MAX {
        return Err(Fault::Malformed);
    }
    let nodes = unpack_rising(nodes, NODES_MAX)?;
    nodes.into_iter().map(|index| Node::new(depth, index).ok_or(Fault::Malformed)).collect()
}

/// The partitions of rising nodes, each once.
pub(crate) fn partitions_of(nodes: &[Node], count: PartitionCount) -> Vec<Partition> {
    let mut partitions: Vec<Partition> = nodes.iter().map(|n| n.first_position().partition(count)).collect();
    partitions.dedup();
    partitions
}

fn with_voters(
    head: &Head,
    partitions: Vec<Partition>,
) -> Result<Vec<(Partition, Option<VotersDigest>)>, Fault> {
    let Some(voters) = &head.voters else { return Ok(partitions.into_iter().map(|p| (p, None)).collect()) };
    let (digests, rest) = voters.as_chunks::<16>();
    if digests.len() != partitions.len() || !rest.is_empty() {
        return Err(Fault::Malformed);
    }
    Ok(partitions.into_iter().zip(digests).map(|(p, digest)| (p, Some(VotersDigest(*digest)))).collect())
}
