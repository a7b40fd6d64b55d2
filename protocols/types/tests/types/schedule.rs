//! Random schedules of several replicas of one key, beside a reference that keeps whole causal
//! histories: for each write the set of writes that its context had seen. What a record says in
//! a clock and a few dots, the reference says in sets.

use std::collections::{BTreeMap, BTreeSet};

use henge_types::codec::Stored;
use henge_types::{Applied, Clock, Content, Dot, Record, Write};
use proptest::prelude::*;

use crate::common::{NOW, dot, dots, operation, value};

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A client reads at a replica, and keeps the context.
    Read { at: usize },
    /// A put that supersedes what the newest read, an older one, or nothing saw.
    Put { at: usize, context: Context, delete: bool },
    /// A client tries an earlier put again, perhaps at another replica.
    Retry { write: usize, at: usize },
    /// A replica gets the record of another one.
    Merge { from: usize, to: usize },
    /// A replica loses its store, and goes on under a new actor.
    Lose { at: usize },
    /// Time passes, in seconds.
    Wait { seconds: u16 },
}

#[derive(Debug, Clone)]
pub(crate) enum Context {
    Newest,
    Older(usize),
    Blind,
}

pub(crate) const REPLICAS: usize = 4;

pub(crate) fn steps(most: usize, losses: bool) -> impl Strategy<Value = Vec<Step>> {
    let context = prop_oneof![
        3 => Just(Context::Newest),
        2 => (0..64_usize).prop_map(Context::Older),
        2 => Just(Context::Blind),
    ];
    let at = 0..REPLICAS;
    let step = prop_oneof![
        3 => at.clone().prop_map(|at| Step::Read { at }),
        6 => (at.clone(), context, prop::bool::weighted(0.2))
            .prop_map(|(at, context, delete)| Step::Put { at, context, delete }),
        1 => (0..64_usize, at.clone()).prop_map(|(write, at)| Step::Retry { write, at }),
        4 => (at.clone(), at.clone()).prop_map(|(from, to)| Step::Merge { from, to }),
        u32::from(losses) => at.prop_map(|at| Step::Lose { at }),
        1 => (0..400_u16).prop_map(|seconds| Step::Wait { seconds }),
    ];
    // A strategy of weight 0 is never drawn.
    prop::collection::vec(step, 1..most)
}

/// One write, as the reference knows it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) write: Write,
    /// The writes that its context had seen: those that it supersedes.
    pub(crate) saw: BTreeSet<Dot>,
}

#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) record: Record,
    actor: u8,
    counter: u64,
    /// The reference: every write that this replica has heard of, be it in a context only.
    pub(crate) known: BTreeSet<Dot>,
    /// Writes that were known here, and superseded.
    gone: BTreeSet<Dot>,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) writes: BTreeMap<Dot, Written>,
    order: Vec<Dot>,
    reads: Vec<(Clock, BTreeSet<Dot>)>,
    actors: u8,
    now: u64,
}

impl World {
    fn new() -> Self {
        let replica = |actor| Replica {
            record: Record::new(),
            actor,
            counter: 0,
            known: BTreeSet::new(),
            gone: BTreeSet::new(),
        };
        Self {
            // Actors in another order than replicas, so that neither order hides the other.
            replicas: (0..REPLICAS).map(|at| replica(200 - at as u8)).collect(),
            writes: BTreeMap::new(),
            order: Vec::new(),
            reads: Vec::new(),
            actors: 0,
            now: NOW,
        }
    }

    /// Plays a schedule. After each step `check` sees the world and the replica that acted.
    pub(crate) fn play(schedule: &[Step], mut check: impl FnMut(&mut Self, usize)) -> Self {
        let mut world = Self::new();
        for step in schedule {
            let at = world.step(step);
            check(&mut world, at);
        }
        world
    }

    fn step(&mut self, step: &Step) -> usize {
        match step {
            Step::Read { at } => {
                let replica = &self.replicas[*at];
                self.reads.push((replica.record.clock().clone(), replica.known.clone()));
                *at
            }
            Step::Put { at, context, delete } => {
                let (clock, saw) = match context {
                    Context::Blind => None,
                    Context::Newest => self.reads.last().cloned(),
                    Context::Older(read) => self.reads.get(read % self.reads.len().max(1)).cloned(),
                }
                .unwrap_or_default();
                let number = self.order.len() as u32;
                let content = if *delete { Content::Tombstone } else { value(&format!("value {number}")) };
                self.put(*at, clock, saw, number, content);
                *at
            }
            Step::Retry { write, at } => {
                let Some(dot) = self.order.get(write % self.order.len().max(1)).copied() else { return *at };
                let first = self.writes[&dot].clone();
                let number = u32::from_be_bytes(first.write.operation.0[12..].try_into().unwrap());
                self.put(*at, first.write.supersede, first.saw, number, first.write.content);
                *at
            }
            Step::Merge { from, to } => {
                // As on a wire: encoded and decoded.
                let stored = self.replicas[*from].record.to_stored().unwrap();
                let (record, known) =
                    (Record::from_stored(&stored).unwrap(), self.replicas[*from].known.clone());
                let to_replica = &mut self.replicas[*to];
                to_replica.record.merge(&record);
                to_replica.known.extend(known);
                *to
            }
            Step::Lose { at } => {
                self.actors += 1;
                let replica = &mut self.replicas[*at];
                *replica = Replica {
                    record: Record::new(),
                    actor: self.actors,
                    counter: replica.counter,
                    known: BTreeSet::new(),
                    gone: BTreeSet::new(),
                };
                *at
            }
            Step::Wait { seconds } => {
                self.now += u64::from(*seconds) * 1000;
                0
            }
        }
    }

    fn put(&mut self, at: usize, supersede: Clock, saw: BTreeSet<Dot>, number: u32, content: Content) {
        self.now += 1;
        let replica = &mut self.replicas[at];
        let dot = dot(replica.actor, replica.counter + 1);
        let operation = operation(number);
        let write = Write { dot, supersede, content, written_at: self.now, expires_at: None, operation };
        let before = replica.record.clone();
        match replica.record.apply(&write) {
            Ok(Applied::Repeated(first)) => {
                assert_eq!(replica.record, before, "a repeated write changed the record");
                assert_eq!(self.writes[&first].write.operation, operation);
                assert!(replica.known.contains(&first), "a write that this replica does not know");
            }
            Ok(Applied::Written) => {
                replica.counter += 1;
                replica.known.extend(&saw);
                replica.known.insert(dot);
                self.order.push(dot);
                self.writes.insert(dot, Written { write, saw });
            }
            Err(error) => panic!("an honest write was refused: {error}"),
        }
    }

    /// The siblings by whole histories: what is known, and seen by nothing that is known.
    pub(crate) fn reference(&self, known: &BTreeSet<Dot>) -> Vec<Dot> {
        let seen: BTreeSet<Dot> = known.iter().flat_map(|dot| self.writes[dot].saw.iter().copied()).collect();
        known.difference(&seen).copied().collect()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.replicas.iter().map(|replica| replica.record.clone()).collect()
    }

    /// Remembers what is superseded at a replica, and returns what came back there.
    pub(crate) fn came_back(&mut self, at: usize) -> Vec<Dot> {
        let replica = &mut self.replicas[at];
        let siblings = dots(&replica.record);
        let back = siblings.iter().filter(|dot| replica.gone.contains(dot)).copied().collect();
        replica.gone.extend(replica.known.iter().filter(|dot| !siblings.contains(dot)));
        back
    }
}
