//! One of everything that a client message can hold.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use henge_client::{
    Accuser, Get, HintQueue, Hop, Located, LocatedVoter, Member, MemberPhase, Repair, RepairId, RepairMember,
    RepairState, Request, Response, Snapshot, SnapshotState, Status, Supersede, Value, WriteOptions,
};
use henge_types::{
    ActorId, Clock, ClusterParams, Context, Custody, Dot, Incarnation, Key, MemberState, OperationId,
    Partition, PartitionCount, PeerId, RingId, RingSecret, Zone,
};
use libp2p_identity::Keypair;

pub const RING: RingId = RingId([0xa5; 16]);
pub const PEER_SEED: u8 = 1;

pub fn peer(seed: u8) -> PeerId {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id()
}

pub fn key() -> Key {
    Key::new(&b"stone"[..]).unwrap()
}

/// The token of one write by one actor.
pub fn context() -> Context {
    let clock: Clock = [Dot { actor: ActorId([1; 16]), counter: 1 }].into_iter().collect();
    Context::seal(RING, &RingSecret([0x5e; 32]), &key(), &clock)
}

pub fn options() -> WriteOptions {
    WriteOptions {
        supersede: Supersede::Current,
        quorum: None,
        strict: false,
        operation: OperationId(std::array::from_fn(|at| at as u8)),
        retry: false,
        timeout_ms: 5_000,
        hop: Hop::Client,
    }
}

pub fn put() -> Request {
    Request::Put { key: key(), value: b"blue"[..].into(), ttl_ms: None, options: options() }
}

pub fn delete() -> Request {
    let options = WriteOptions { supersede: Supersede::Blind, retry: true, hop: Hop::Forwarded, ..options() };
    Request::Delete { key: key(), options }
}

pub fn get() -> Get {
    Get { key: key(), quorum: Some(1), strict: true, timeout_ms: 250 }
}

/// A member in each state and phase.
pub fn status() -> Status {
    let accuser = |seed| Accuser { peer: peer(seed), since_ms: 3200 };
    let member = |seed: u8, state, phase| Member {
        peer: peer(seed),
        incarnation: Incarnation(1_700_000_000_000),
        state,
        phase,
        weight: 1,
        zone: (seed == 1).then(|| Zone::new("attic").unwrap()),
        heartbeat_age_ms: 250,
        connected: true,
        partitions: 16_384,
        full: 16_000,
        part: 384,
        keys: 12,
        addresses: vec!["/ip4/10.0.0.1/udp/4001/quic-v1".parse().unwrap()],
        down: seed == 2,
        accusers: if seed == 2 { vec![accuser(1), accuser(3)] } else { Vec::new() },
    };
    Status {
        peer: peer(PEER_SEED),
        cluster: "henge".to_owned(),
        ring: Some(RING),
        params: Some(ClusterParams::default()),
        members: vec![
            member(1, MemberState::Active, MemberPhase::Settled),
            member(2, MemberState::Active, MemberPhase::Joining),
            member(3, MemberState::Active, MemberPhase::Moving),
            member(4, MemberState::Leaving, MemberPhase::Leaving),
            member(5, MemberState::Left, MemberPhase::Left),
        ],
        hints: vec![HintQueue { primary: peer(2), count: 1_234, bytes: 1_258_291, oldest_age_ms: 3_000 }],
        counters: vec![("read_repairs".to_owned(), 3)],
    }
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        directory: "/backup/1".to_owned(),
        taken_at: 1_700_000_000_000,
        records: 12,
        records_expected: 1_234,
        bytes: 1_258_291,
        damaged: 1,
        state: SnapshotState::Running,
    }
}

pub fn located() -> Located {
    let voter = |seed: u8, owner, custody, zone: Option<&str>| LocatedVoter {
        peer: peer(seed),
        owner,
        custody,
        zone: zone.map(|name| Zone::new(name).unwrap()),
    };
    let position = key().position();
    Located {
        position,
        partition: position.partition(PartitionCount::default()),
        voters: vec![
            voter(1, true, Custody::Full, Some("attic")),
            voter(2, true, Custody::Part, None),
            voter(3, false, Custody::None, None),
        ],
    }
}

/// A member in each state.
pub fn repair() -> Repair {
    let member =
        |seed, compared, state| RepairMember { peer: peer(seed), partitions: 16_384, compared, state };
    Repair {
        id: RepairId(0x0123_4567_89ab_cdef),
        partition: None,
        elapsed_ms: 1_250,
        members: vec![
            member(2, 16_384, RepairState::Through),
            member(3, 512, RepairState::Comparing),
            member(4, 0, RepairState::Waiting),
            member(5, 0, RepairState::Unreachable),
            member(6, 12, RepairState::Failed),
        ],
        keys_compared: 3_000,
        records_pulled: 7,
        bytes_pulled: 1_258_291,
        records_pushed: 1,
        bytes_pushed: 250,
        records_left: 0,
    }
}

pub fn responses() -> Vec<Response> {
    let value = Value { value: b"blue"[..].into(), written_at: 5, expires_at: Some(9) };
    vec![
        Response::Written { context: context(), acks: 2, hinted: 0 },
        Response::Found { context: context(), siblings: vec![value], answers: 2, hinted: 0 },
        Response::Status(status()),
        Response::Located(located()),
        Response::Repair(repair()),
        Response::Snapshot(Some(snapshot())),
        Response::Failed(henge_client::Failure::BadRequest { reason: "so".to_owned() }),
    ]
}

pub fn requests() -> Vec<Request> {
    vec![
        put(),
        delete(),
        Request::Locate { key: key() },
        Request::Get(get()),
        Request::Weight { weight: 64 },
        Request::Repair { partition: Some(Partition(9)) },
        Request::RepairProgress { id: repair().id },
    ]
}
