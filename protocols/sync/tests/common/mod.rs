//! A store in a map, and two of them in a session with each message encoded and decoded.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use henge_sync::{
    BATCH_BYTES, Effect, ITEMS_MAX, Known, Merged, Mode, Question, Report, Request, Responder, Response,
    Session, Step, Terms,
};
use henge_types::tree::{Item, LEAF_DEPTH, Leaf, Node, Summary};
use henge_types::{
    ActorId, Clock, Content, Dot, Key, OperationId, Partition, PartitionCount, Position, Record,
    RecordDigest, RingId, VotersDigest, Write, codec,
};

pub(crate) const RING: RingId = RingId([0xa5; 16]);

#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) records: BTreeMap<Key, Record>,
    pub(crate) damaged: BTreeSet<Key>,
    /// Merged, and on no disk yet.
    pub(crate) unsynced: BTreeSet<Key>,
    pub(crate) merges: u64,
}

impl Store {
    /// What it holds, without the operations that it remembers.
    pub(crate) fn digests(&self) -> BTreeMap<Key, RecordDigest> {
        self.records.iter().map(|(key, record)| (key.clone(), record.digest())).collect()
    }

    pub(crate) fn merge(&mut self, key: &Key, record: &Record) -> Merged {
        self.merges += 1;
        if self.records.entry(key.clone()).or_default().merge(record) {
            self.unsynced.insert(key.clone());
        }
        if record.clone().merge(&self.records[key]) { Merged::Ahead } else { Merged::Same }
    }

    /// Everything, in the order of positions.
    fn index(&self) -> Vec<(Position, &Key, &Record)> {
        let mut index: Vec<_> = self.records.iter().map(|(key, r)| (key.position(), key, r)).collect();
        index.sort_unstable_by_key(|(position, _, _)| *position);
        index
    }

    pub(crate) fn answer(&mut self, question: Question, count: PartitionCount) -> Known {
        let damaged: BTreeSet<Partition> =
            self.damaged.iter().map(|k| k.position().partition(count)).collect();
        let damaged: Vec<Partition> = damaged.into_iter().collect();
        let index = self.index();
        match question {
            Question::Roots(partitions) => {
                let node = |p: &Partition| summary(Node::of_partition(*p, count), &index);
                Known::Summaries { summaries: partitions.iter().map(node).collect(), damaged }
            }
            Question::Nodes(nodes) => {
                Known::Summaries { summaries: nodes.iter().map(|n| summary(*n, &index)).collect(), damaged }
            }
            Question::Items(nodes) => {
                let mut left = ITEMS_MAX;
                let list = |node: &Node| {
                    let below = below(*node, &index);
                    let fits = below.len() <= left;
                    left -= if fits { below.len() } else { 0 };
                    fits.then(|| below.iter().map(|(_, key, record)| Item::of(key, record)).collect())
                };
                Known::Items { items: nodes.iter().map(list).collect(), damaged }
            }
            Question::Records(keys) => {
                let (mut bytes, mut records) = (0, Vec::new());
                for key in &keys {
                    let record = self.records.get(key).cloned().unwrap_or_default();
                    bytes += record.size_bytes();
                    if bytes > BATCH_BYTES && !records.is_empty() {
                        break;
                    }
                    records.push((!self.damaged.contains(key)).then_some(record));
                }
                Known::Records(records)
            }
            Question::Merge(records) => {
                let merged = records.iter().map(|(key, record)| self.merge(key, record)).collect();
                self.unsynced.clear();
                Known::Merged(merged)
            }
        }
    }
}

type Index<'a> = [(Position, &'a Key, &'a Record)];

fn below<'a, 'b>(node: Node, index: &'b Index<'a>) -> &'b Index<'a> {
    let from = index.partition_point(|(position, _, _)| *position < node.first_position());
    let to = index.partition_point(|(position, _, _)| *position <= node.last_position());
    &index[from..to]
}

fn summary(node: Node, index: &Index<'_>) -> Summary {
    let mut leaves: BTreeMap<Node, Leaf> = BTreeMap::new();
    for (position, key, record) in below(node, index) {
        let leaf = Node::around(*position, LEAF_DEPTH.max(node.depth()));
        leaves.entry(leaf).or_default().add(&Item::of(key, record).hash());
    }
    Summary::of_leaves(node, &leaves.into_iter().collect::<Vec<_>>())
}

pub(crate) fn key(n: u64) -> Key {
    Key::new(Bytes::from(format!("key/{n}"))).unwrap()
}

/// A record with one write by each of these.
pub(crate) fn record(writes: &[(u8, u64)]) -> Record {
    let mut record = Record::new();
    for (who, counter) in writes {
        let mut operation = [*who; 16];
        operation[..8].copy_from_slice(&counter.to_be_bytes());
        let write = Write {
            // An actor of its own: any of them may be anywhere.
            dot: Dot { actor: ActorId(operation), counter: 1 },
            supersede: Clock::new(),
            content: Content::Value(Bytes::from(vec![*who; 100])),
            written_at: 1_700_000_000_000 + counter,
            expires_at: None,
            operation: OperationId(operation),
        };
        record.apply(&write).unwrap();
    }
    record
}

pub(crate) fn terms(count: u32, mode: Mode, salt: u64) -> Terms {
    Terms { ring: RING, count: PartitionCount::new(count).unwrap(), mode, salt: salt.to_be_bytes() }
}

pub(crate) fn all(count: u32) -> BTreeSet<Partition> {
    (0..count).map(Partition).collect()
}

/// Bytes and messages of a session.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// What a world may do between two effects, and to what travels.
pub(crate) trait World {
    fn between(&mut self, _here: &mut Store, _there: &mut Store) {}
    fn response(&mut self, _request: &Request, response: Response) -> Option<Response> {
        Some(response)
    }
    fn accepts(&self, _: Partition, _: Option<VotersDigest>) -> bool {
        true
    }
}

pub(crate) struct Calm;
impl World for Calm {}

pub(crate) fn respond(
    request: Request,
    there: &mut Store,
    count: PartitionCount,
    world: &dyn World,
) -> Response {
    let accepts = |p: Partition, voters: Option<VotersDigest>| world.accepts(p, voters);
    let Ok((mut responder, mut question)) = Responder::begin(request, count, &accepts) else {
        return Response::Refused;
    };
    loop {
        match responder.on_known(there.answer(question, count), &accepts) {
            Step::Ask(next, ask) => (responder, question) = (next, ask),
            Step::Respond(response) => return response,
        }
    }
}

/// Holds a session to its end.
pub(crate) fn run(
    mut session: Session,
    count: u32,
    here: &mut Store,
    there: &mut Store,
    world: &mut dyn World,
) -> (Report, Traffic) {
    let count = PartitionCount::new(count).unwrap();
    let mut traffic = Traffic::default();
    let mut effect = session.start();
    for _ in 0..100_000 {
        world.between(here, there);
        effect = match effect {
            Effect::Ask(question) => session.on_known(here.answer(question, count)),
            Effect::Send(request) => {
                let bytes = codec::encode(&request).unwrap();
                assert!(bytes.len() < henge_sync::FRAME_MAX_BYTES);
                traffic.bytes += bytes.len() as u64;
                let request: Request = codec::decode(&bytes).unwrap();
                let response = respond(request.clone(), there, count, world);
                let bytes = codec::encode(&response).unwrap();
                traffic.bytes += bytes.len() as u64;
                traffic.messages += 2;
                session.on_response(world.response(&request, codec::decode(&bytes).unwrap()))
            }
            Effect::Done(report) => return (report, traffic),
        };
    }
    panic!("the session never ends");
}
