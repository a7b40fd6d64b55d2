//! The asking side of a session.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use henge_types::tree::{Item, Node, Summary};
use henge_types::{Key, Partition, PartitionCount, Record, RingId, VotersDigest};

use self::work::Work;
use crate::message::{Head, Request, Response};
use crate::outcome::{End, Outcome, Progress, Report};
use crate::question::{Known, Question};
use crate::{ENTRIES_MAX, EXACT_HASH_BYTES, Fault, HASH_BYTES, ITEMS_MAX, LEFT_MAX};

mod ask;
mod moving;
mod responses;
mod work;

/// Groups of partitions in the first request of a session without voters.
const GROUPS_FIRST: usize = 16;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both are to have what either has (anti-entropy).
    Both,
    /// This peer is to have what the other had when it first answered (acquiring).
    Pull,
    /// The other peer is to have what this one has, durably (giving up).
    Push,
}

/// Under what a session is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The ring.
    pub ring: RingId,
    /// How many partitions it has.
    pub count: PartitionCount,
    /// What the session is for.
    pub mode: Mode,
    /// Random, and another one for each session.
    pub salt: [u8; 8],
}

/// What a session wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the own store, and hand its answer to [`Session::on_known`].
    Ask(Question),
    /// Send this to the other peer, and hand its answer to [`Session::on_response`].
    Send(Request),
    /// It is over.
    Done(Report),
}

/// One session with one peer.
///
/// The calling contract: [`Session::start`] once; then carry out each [`Effect`] and hand in what came of
/// it, which gives the next, until [`Effect::Done`]. Nothing is under way twice. A session may be dropped
/// at any time: what was moved is in sync, and the next one goes on from there.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    voters: Option<BTreeMap<Partition, VotersDigest>>,
    /// The last first: so what is found is worked off before more is looked for.
    work: Vec<Work>,
    waiting: Waiting,
    tallies: BTreeMap<Partition, Tally>,
    stale: BTreeSet<Partition>,
    left: Vec<Key>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    pulled: u64,
    pushed: u64,
    left: u64,
}

/// What is awaited, and what it is for: the store first, then the other peer.
#[derive(Debug)]
enum Waiting {
    Nothing,
    Roots {
        partitions: Vec<Partition>,
        size: usize,
    },
    Groups {
        partitions: Vec<Partition>,
        size: usize,
        own: Vec<Summary>,
    },
    Children {
        nodes: Vec<Node>,
    },
    Nodes {
        nodes: Vec<Node>,
        own: Vec<(Node, u64)>,
    },
    Listing {
        nodes: Vec<Node>,
    },
    Items {
        nodes: Vec<Node>,
        own: Vec<Vec<Item>>,
    },
    /// The children of nodes that are too large to be sent at once.
    Parts {
        nodes: Vec<(Node, u64)>,
    },
    Keys {
        nodes: Vec<Node>,
    },
    Records {
        nodes: Vec<Node>,
        last: bool,
    },
    Merge {
        keys: Vec<Key>,
        bytes: Vec<u64>,
        rest: Work,
    },
    Reading {
        keys: Vec<Key>,
    },
    Pushed {
        records: Vec<(Key, u64)>,
        rest: Work,
    },
}

impl Session {
    /// A session about `partitions`. With their voters' digests, for [`Mode::Pull`] and [`Mode::Push`], the
    /// other peer answers only where it sees the same.
    #[must_use]
    pub fn new(
        terms: Terms,
        partitions: BTreeSet<Partition>,
        voters: Option<BTreeMap<Partition, VotersDigest>>,
    ) -> Self {
        let tallies: BTreeMap<Partition, Tally> = partitions.iter().map(|p| (*p, Tally::default())).collect();
        let partitions: Vec<Partition> = partitions.into_iter().collect();
        let mut size = 1;
        // A digest for each partition is dearer than its hash: then there is nothing to be saved.
        while voters.is_none() && partitions.len().div_ceil(size) > GROUPS_FIRST {
            size *= 4;
        }
        let all = partitions.chunks(ENTRIES_MAX).rev();
        let work = all.map(|some| Work::Groups { partitions: some.to_vec(), size }).collect();
        Self {
            terms,
            voters,
            work,
            waiting: Waiting::Nothing,
            tallies,
            stale: BTreeSet::new(),
            left: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// The first effect.
    pub fn start(&mut self) -> Effect {
        self.next()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// How many of its partitions are not compared to the end yet.
    #[must_use]
    pub fn partitions_left(&self) -> usize {
        self.unfinished().len()
    }

    /// The own store answered.
    pub fn on_known(&mut self, known: Known) -> Effect {
        self.handle_known(known).unwrap_or_else(|| self.end(End::Store))
    }

    /// The other peer answered, or did not (`None`).
    pub fn on_response(&mut self, response: Option<Response>) -> Effect {
        match response {
            None => self.end(End::Lost),
            Some(Response::Refused) => self.end(End::Refused),
            Some(response) => match self.handle_response(response) {
                Ok(effect) => effect,
                Err(fault) => self.end(End::Fault(fault)),
            },
        }
    }

    /// Takes up what is to be done next.
    fn next(&mut self) -> Effect {
        self.waiting = Waiting::Nothing;
        while let Some(work) = self.work.pop() {
            let (now, rest) = work.without(&self.stale, self.terms.count).split();
            self.later(rest);
            if !now.is_empty() {
                return self.begin(now);
            }
        }
        self.end(End::Complete)
    }

    fn later(&mut self, work: Work) {
        if !work.is_empty() {
            self.work.push(work);
        }
    }

    fn begin(&mut self, work: Work) -> Effect {
        let (waiting, question) = match work {
            Work::Groups { partitions, size } => {
                (Waiting::Roots { partitions: partitions.clone(), size }, Question::Roots(partitions))
            }
            Work::Expand(nodes) => {
                let children = nodes.iter().flat_map(|node| node.children()).collect();
                (Waiting::Children { nodes }, Question::Nodes(children))
            }
            Work::Compare(nodes) => (Waiting::Listing { nodes: nodes.clone() }, Question::Items(nodes)),
            Work::Send(nodes) => return self.begin_send(nodes),
            Work::Fetch { nodes, last } => return self.fetch(nodes, last),
            Work::Push(keys) => (Waiting::Reading { keys: keys.clone() }, Question::Records(keys)),
        };
        self.waiting = waiting;
        Effect::Ask(question)
    }

    fn handle_known(&mut self, known: Known) -> Option<Effect> {
        Some(match (std::mem::replace(&mut self.waiting, Waiting::Nothing), known) {
            (Waiting::Roots { partitions, size }, Known::Summaries { summaries, damaged }) => {
                self.own_damage(&damaged);
                self.ask_groups(partitions, size, summaries)
            }
            (Waiting::Children { nodes }, Known::Summaries { summaries, damaged }) => {
                self.own_damage(&damaged);
                self.ask_nodes(nodes, &summaries)
            }
            (Waiting::Listing { nodes }, Known::Items { items, damaged }) => {
                self.own_damage(&damaged);
                self.ask_items(nodes, items)
            }
            (Waiting::Parts { nodes }, Known::Summaries { summaries, .. }) => {
                let children = nodes.iter().flat_map(|(node, _)| node.children()).zip(summaries);
                let some = children.filter(|(_, s)| s.items > 0).map(|(node, s)| (node, s.items));
                self.later(Work::Send(some.collect()));
                self.next()
            }
            (Waiting::Keys { nodes }, Known::Items { items, damaged }) => {
                self.own_damage(&damaged);
                self.send_listed(nodes, items)
            }
            (Waiting::Merge { keys, bytes, rest }, Known::Merged(merged)) => {
                self.pulled(&keys, &bytes, &merged, rest)
            }
            (Waiting::Reading { keys }, Known::Records(records)) => self.push(keys, records),
            _ => return None,
        })
    }

    /// Keys of the own store that cannot be read cannot be given up.
    fn own_damage(&mut self, damaged: &[Partition]) {
        if self.terms.mode == Mode::Push {
            for partition in damaged {
                if let Some(tally) = self.tallies.get_mut(partition) {
                    tally.left = tally.left.max(1);
                }
            }
        }
    }

    fn leave(&mut self, key: &Key) {
        self.progress.records_left += 1;
        if let Some(tally) = self.tally(key) {
            tally.left += 1;
        }
        if self.left.len() < LEFT_MAX {
            self.left.push(key.clone());
        }
    }

    fn tally(&mut self, key: &Key) -> Option<&mut Tally> {
        self.tallies.get_mut(&key.position().partition(self.terms.count))
    }

    /// A step that needs no answer of the other peer, and leaves something undone in these partitions.
    fn leave_partitions(&mut self, nodes: &[Node]) {
        for node in nodes {
            let partition = node.first_position().partition(self.terms.count);
            if let Some(tally) = self.tallies.get_mut(&partition) {
                tally.left += 1;
            }
        }
    }

    fn end(&mut self, end: End) -> Effect {
        let unfinished = self.unfinished();
        self.work.clear();
        self.waiting = Waiting::Nothing;
        let outcome = |(partition, tally): (&Partition, &Tally)| {
            let outcome = if self.stale.contains(partition) {
                Outcome::Stale
            } else if end != End::Complete && unfinished.contains(partition) {
                Outcome::Unfinished
            } else if tally.left > 0 {
                Outcome::Left { records: tally.left }
            } else if tally.pulled + tally.pushed > 0 {
                Outcome::Moved { pulled: tally.pulled, pushed: tally.pushed }
            } else {
                Outcome::InSync
            };
            (*partition, outcome)
        };
        let outcomes = self.tallies.iter().map(outcome).collect();
        Effect::Done(Report { end, outcomes, left: std::mem::take(&mut self.left), progress: self.progress })
    }

    fn unfinished(&self) -> BTreeSet<Partition> {
        let count = self.terms.count;
        let mut unfinished = self.waiting.partitions(count);
        self.work.iter().for_each(|work| unfinished.extend(work.partitions(count)));
        unfinished
    }

    fn head(&self, partitions: &[Partition]) -> Head {
        let width = if self.terms.mode == Mode::Both { HASH_BYTES } else { EXACT_HASH_BYTES };
        let digest =
            |p: &Partition| self.voters.as_ref().and_then(|voters| voters.get(p)).map_or([0; 16], |v| v.0);
        let voters = self.voters.as_ref().map(|_| partitions.iter().flat_map(digest).collect::<Bytes>());
        let durable = self.terms.mode == Mode::Push;
        Head { ring: self.terms.ring, salt: self.terms.salt, width, durable, voters }
    }

    fn send(&mut self, waiting: Waiting, request: Request) -> Effect {
        self.progress.requests += 1;
        self.waiting = waiting;
        Effect::Send(request)
    }
}

impl Waiting {
    fn partitions(&self, count: PartitionCount) -> BTreeSet<Partition> {
        let of = |nodes: &[Node]| nodes.iter().map(|n| n.first_position().partition(count)).collect();
        let at = |key: &Key| key.position().partition(count);
        match self {
            Self::Nothing => BTreeSet::new(),
            Self::Roots { partitions, .. } | Self::Groups { partitions, .. } => {
                partitions.iter().copied().collect()
            }
            Self::Children { nodes }
            | Self::Nodes { nodes, .. }
            | Self::Listing { nodes }
            | Self::Items { nodes, .. }
            | Self::Keys { nodes }
            | Self::Records { nodes, .. } => of(nodes),
            Self::Parts { nodes } => nodes.iter().map(|(n, _)| n.first_position().partition(count)).collect(),
            Self::Merge { keys, rest, .. } => keys.iter().map(at).chain(rest.partitions(count)).collect(),
            Self::Reading { keys } => keys.iter().map(at).collect(),
            Self::Pushed { records, rest } => {
                records.iter().map(|(key, _)| at(key)).chain(rest.partitions(count)).collect()
            }
        }
    }
}

/// The encoded size of a record and its key, estimated from above, in bytes.
fn weight(key: &Key, record: &Record) -> u64 {
    (key.as_bytes().len() + record.size_bytes()) as u64
}
