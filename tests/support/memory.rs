//! A ring of one peer in memory, with the real records and contexts: what a scripted peer answers when all is well.

use std::collections::BTreeMap;

use henge_client::{
    Failure, Get, Located, LocatedVoter, Member, MemberPhase, Request, Response, Status, Supersede, Value,
    WriteOptions,
};
use henge_types::{
    ActorId, ClusterParams, Content, Context, Custody, Dot, Incarnation, Key, MemberState, PeerId, Record,
    RingId, RingSecret, Write,
};

const RING: RingId = RingId([1; 16]);
const SECRET: RingSecret = RingSecret([2; 32]);

/// The records of the one peer.
#[derive(Default)]
pub(crate) struct Memory {
    records: BTreeMap<Key, Record>,
    counter: u64,
}

impl Memory {
    /// What a peer with these records answers.
    pub(crate) fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Put { key, value, options, .. } => self.write(&key, Content::Value(value), &options),
            Request::Delete { key, options } => match self.get(&key) {
                not_found @ Response::NotFound { .. } => not_found,
                _ => self.write(&key, Content::Tombstone, &options),
            },
            Request::Get(Get { key, .. }) => self.get(&key),
            Request::Status => Response::Status(self.status()),
            Request::Leave
            | Request::Remove { .. }
            | Request::Weight { .. }
            | Request::Repair { .. }
            | Request::RepairProgress { .. }
            | Request::Snapshot { .. } => Response::Failed(Failure::NotReady),
            Request::Locate { key } => {
                let position = key.position();
                let partition = position.partition(ClusterParams::default().partitions());
                let voter = LocatedVoter { peer: peer(), owner: true, custody: Custody::Full, zone: None };
                Response::Located(Located { position, partition, voters: vec![voter] })
            }
        }
    }

    fn context(&self, key: &Key) -> Context {
        let clock = self.records.get(key).map(|record| record.clock().clone()).unwrap_or_default();
        Context::seal(RING, &SECRET, key, &clock)
    }

    fn get(&self, key: &Key) -> Response {
        let record = self.records.get(key).cloned().unwrap_or_default();
        let siblings: Vec<Value> = record
            .live(0)
            .map(|(sibling, value)| Value {
                value: value.clone(),
                written_at: sibling.written_at,
                expires_at: sibling.expires_at,
            })
            .collect();
        let context = self.context(key);
        if siblings.is_empty() {
            Response::NotFound { context, answers: 1, hinted: 0 }
        } else {
            Response::Found { context, siblings, answers: 1, hinted: 0 }
        }
    }

    fn write(&mut self, key: &Key, content: Content, options: &WriteOptions) -> Response {
        let record = self.records.entry(key.clone()).or_default();
        let supersede = match &options.supersede {
            Supersede::Current => record.clock().clone(),
            Supersede::Blind => Default::default(),
            Supersede::Context(context) => match context.open(RING, &SECRET, key) {
                Ok(clock) => clock,
                Err(error) => return Response::Failed(Failure::from(error)),
            },
        };
        self.counter += 1;
        let write = Write {
            dot: Dot { actor: ActorId([3; 16]), counter: self.counter },
            supersede,
            content,
            written_at: self.counter,
            expires_at: None,
            operation: options.operation,
        };
        record.apply(&write).unwrap();
        Response::Written { context: self.context(key), acks: 1, hinted: 0 }
    }

    fn status(&self) -> Status {
        let member = Member {
            peer: peer(),
            incarnation: Incarnation(1),
            state: MemberState::Active,
            phase: MemberPhase::Settled,
            weight: 1,
            zone: None,
            heartbeat_age_ms: 0,
            connected: true,
            partitions: 16_384,
            full: 16_384,
            part: 0,
            keys: self.records.len() as u64,
            addresses: vec!["/ip4/127.0.0.1/tcp/4001".parse().unwrap()],
            down: false,
            accusers: Vec::new(),
        };
        Status {
            peer: peer(),
            cluster: "henge".to_owned(),
            ring: Some(RING),
            params: Some(ClusterParams::default()),
            members: vec![member],
            hints: Vec::new(),
            counters: vec![("puts".to_owned(), self.counter)],
        }
    }
}

fn peer() -> PeerId {
    "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq".parse().unwrap()
}
