//! One of everything that a quorum message can hold.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use bytes::Bytes;
use henge_quorum::{Request, Response, Want};
use henge_types::member::Signer;
use henge_types::{
    ActorId, Clock, Content, Custody, CustodyMap, Dot, Incarnation, Key, MemberRecord, MemberState,
    OperationId, Partition, PartitionCount, PeerId, Record, RingId, SignedMember, Suspect, VotersDigest,
    Weight, Write, Zone,
};
use libp2p_identity::{Keypair, PublicKey};

pub const RING: RingId = RingId([0xa5; 16]);
pub const VOTERS: VotersDigest = VotersDigest([0x0d; 16]);
pub const KEY: &[u8] = b"stone";
const NOW: u64 = 1_700_000_000_000;

pub struct Ed25519(pub Keypair);

impl Signer for Ed25519 {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        PublicKey::try_decode_protobuf(peer.as_ref().digest()).is_ok_and(|key| key.verify(message, signature))
    }
}

pub fn keys(seed: u8) -> Ed25519 {
    Ed25519(Keypair::ed25519_from_bytes([seed; 32]).unwrap())
}

pub fn peer(seed: u8) -> PeerId {
    keys(seed).0.public().to_peer_id()
}

/// A value that expires, beside a tombstone that another actor wrote at the same time.
pub fn record() -> Record {
    let write = |actor: u8, counter: u64, content: Content, expires_at: Option<u64>| Write {
        dot: Dot { actor: ActorId([actor; 16]), counter },
        supersede: Clock::new(),
        content,
        written_at: NOW + u64::from(actor),
        expires_at,
        operation: OperationId([actor + 0x10; 16]),
    };
    let mut record = Record::new();
    let value = Content::Value(Bytes::from_static(b"blue"));
    record.apply(&write(1, 1, value, Some(NOW + 60_000))).unwrap();
    record.apply(&write(2, 300, Content::Tombstone, None)).unwrap();
    record
}

/// Two members: one with everything that a record can say, one with as little as possible.
pub fn stale() -> Response {
    let count = PartitionCount::new(64).unwrap();
    let mut moving = CustodyMap::uniform(count, Custody::Full);
    moving.set(Partition(1), Custody::Part);
    moving.set(Partition(2), Custody::None);
    let nothing = CustodyMap::uniform(count, Custody::None);
    let record = |seed: u8, custody: &CustodyMap| MemberRecord {
        ring: RING,
        peer: peer(seed),
        incarnation: Incarnation(NOW),
        counter: 7,
        state: MemberState::Active,
        weight: Weight::default(),
        zone: None,
        addresses: Vec::new(),
        custody: custody.digest(),
        records: 0,
        wire: (1, 1),
        suspects: Vec::new(),
        evictions: 0,
    };
    let full = MemberRecord {
        state: MemberState::Leaving,
        weight: Weight::new(3).unwrap(),
        zone: Some(Zone::new("attic").unwrap()),
        addresses: vec!["/ip4/10.0.0.1/udp/4001/quic-v1".parse().unwrap()],
        records: 12,
        suspects: vec![Suspect { peer: peer(2), incarnation: Incarnation(NOW), counter: 7 }],
        ..record(1, &moving)
    };
    let sparse = record(2, &nothing);
    let sign = |seed, record| SignedMember::sign(record, &keys(seed)).unwrap();
    Response::Stale { members: vec![(sign(1, full), moving), (sign(2, sparse), nothing)] }
}

pub fn requests() -> Vec<Request> {
    let key = Key::new(KEY).unwrap();
    let (ring, voters) = (RING, VOTERS);
    vec![
        Request::Write { ring, voters, key: key.clone(), record: record(), strict: false },
        Request::Read { ring, voters, key: key.clone(), want: Want::Digest, strict: true },
        Request::Keep { ring, primary: peer(1), key: key.clone(), record: record() },
        Request::Hint { ring, key },
    ]
}

pub fn responses() -> Vec<Response> {
    let refused = Response::Refused(henge_quorum::Refusal::OtherRing { ring: RING });
    let hint = Response::Hint(Some(record()));
    vec![Response::Record(record()), Response::Digest(record().digest()), hint, stale(), refused]
}
