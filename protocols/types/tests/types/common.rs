//! What the tests have in common: short names for writes, and members that really sign.

use bytes::Bytes;
use henge_types::member::Signer;
use henge_types::{
    Accusation, ActorId, Applied, Cause, Clock, Content, CustodyDigest, Dot, Incarnation, MemberRecord,
    MemberState, OperationId, PeerId, Record, RingId, Suspect, Weight, Write, WriteError,
};
use libp2p_identity::{Keypair, PublicKey};

/// A moment of Unix time, in milliseconds, that the tests take for now.
pub(crate) const NOW: u64 = 1_700_000_000_000;

pub(crate) fn actor(number: u8) -> ActorId {
    ActorId([number; 16])
}

pub(crate) fn dot(number: u8, counter: u64) -> Dot {
    Dot { actor: actor(number), counter }
}

pub(crate) fn clock<const N: usize>(entries: [(u8, u64); N]) -> Clock {
    entries.into_iter().map(|(number, counter)| dot(number, counter)).collect()
}

pub(crate) fn operation(number: u32) -> OperationId {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    OperationId(id)
}

pub(crate) fn value(text: &str) -> Content {
    Content::Value(Bytes::copy_from_slice(text.as_bytes()))
}

/// The put of a value named after its operation.
pub(crate) fn write(dot: Dot, supersede: &Clock, number: u32) -> Write {
    Write {
        dot,
        supersede: supersede.clone(),
        content: value(&format!("value {number}")),
        written_at: NOW + u64::from(number),
        expires_at: None,
        operation: operation(number),
    }
}

/// Applies a put that must succeed.
pub(crate) fn put(record: &mut Record, dot: Dot, supersede: &Clock, number: u32) {
    assert_eq!(record.apply(&write(dot, supersede, number)), Ok(Applied::Written));
}

/// Applies a put that must fail, and checks that it left nothing behind.
pub(crate) fn refused(record: &mut Record, write: &Write) -> WriteError {
    let before = record.clone();
    let error = record.apply(write).expect_err("the write must be refused");
    assert_eq!(*record, before, "a refused write changed the record");
    error
}

pub(crate) fn merged(a: &Record, b: &Record) -> Record {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

pub(crate) fn dots(record: &Record) -> Vec<Dot> {
    record.siblings().iter().map(|sibling| sibling.dot).collect()
}

/// An identity that is the same in every run.
pub(crate) fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

pub(crate) fn peer(seed: u8) -> PeerId {
    keypair(seed).public().to_peer_id()
}

pub(crate) const RING: RingId = RingId([0xa5; 16]);

/// Signs with a real key pair, and checks against the key inside a peer id.
pub(crate) struct Ed25519(pub(crate) Keypair);

impl Signer for Ed25519 {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        PublicKey::try_decode_protobuf(peer.as_ref().digest()).is_ok_and(|key| key.verify(message, signature))
    }
}

/// Peer 1 accuses peer 2.
pub(crate) fn accusation(cause: Cause) -> Accusation {
    Accusation {
        ring: RING,
        accuser: peer(1),
        accused: peer(2),
        incarnation: Incarnation(NOW),
        counter: 300,
        cause,
        electorate: 5,
        issued_unix_ms: NOW,
    }
}

pub(crate) fn member(seed: u8) -> MemberRecord {
    MemberRecord {
        ring: RING,
        peer: peer(seed),
        incarnation: Incarnation(NOW),
        counter: 7,
        state: MemberState::Active,
        weight: Weight::new(2).unwrap(),
        zone: Some(henge_types::Zone::new("house").unwrap()),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()],
        custody: CustodyDigest([3; 16]),
        records: 12,
        wire: (1, 1),
        suspects: vec![Suspect { peer: peer(200), incarnation: Incarnation(9), counter: 4096 }],
        evictions: 0x0102_0304,
    }
}
