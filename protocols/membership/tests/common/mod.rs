//! Peers with cheap signatures, and a network of them in memory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "each test file uses its part of this, and a failed test may panic"
)]

pub mod net;

use std::time::Duration;

use henge_membership::{
    Accused, Action, Config, Gossip, Relay, Request, Response, Start, State, Update, encode_gossip,
};
use henge_types::member::Signer;
use henge_types::{
    Accusation, Cause, ClusterName, ClusterParams, Custody, CustodyMap, Incarnation, MemberRecord,
    MemberState, Now, PartitionCount, PeerId, RingId, RingSecret, SignedAccusation, SignedMember, Weight,
};
use libp2p_identity::Keypair;
use sha2::{Digest, Sha256};

pub const RING: RingId = RingId([1; 16]);
pub const SECRET: RingSecret = RingSecret([2; 32]);
pub const PARTITIONS: u32 = 64;

pub fn peer(n: u8) -> PeerId {
    Keypair::ed25519_from_bytes([n; 32]).unwrap().public().to_peer_id()
}

/// A peer id that is the hash of its key, as RSA identities have.
pub fn hashed_peer() -> PeerId {
    let mut bytes = vec![0x12, 32];
    bytes.extend([7; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

/// Signs as `0`; checks any peer that signs like this.
pub struct Cheap(pub PeerId);

impl Signer for Cheap {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        seal(&self.0, message)
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        seal(peer, message) == signature
    }
}

fn seal(peer: &PeerId, message: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(peer.to_bytes()).chain_update(message).finalize()[..16].to_vec()
}

pub fn count() -> PartitionCount {
    PartitionCount::new(PARTITIONS).unwrap()
}

pub fn params() -> ClusterParams {
    ClusterParams::default().with_partitions(PARTITIONS).unwrap()
}

pub fn map(custody: Custody) -> CustodyMap {
    CustodyMap::uniform(count(), custody)
}

pub fn record(who: PeerId, incarnation: u64, counter: u64) -> MemberRecord {
    MemberRecord {
        ring: RING,
        peer: who,
        incarnation: Incarnation(incarnation),
        counter,
        state: MemberState::Active,
        weight: Weight::default(),
        zone: None,
        addresses: vec![],
        custody: map(Custody::None).digest(),
        records: 0,
        wire: (1, 1),
        suspects: vec![],
        evictions: 0,
    }
}

pub fn signed(record: MemberRecord) -> SignedMember {
    let signer = Cheap(record.peer);
    SignedMember::sign(record, &signer).unwrap()
}

/// An update without a custody map.
pub fn plain(record: MemberRecord) -> Update {
    Update { member: signed(record), custody: None }
}

/// An update with `custody` and the record that speaks of it.
pub fn with_map(mut record: MemberRecord, custody: CustodyMap) -> Update {
    record.custody = custody.digest();
    Update { member: signed(record), custody: Some(custody) }
}

pub fn at(millis: u64) -> Now {
    Now { monotonic: Duration::from_millis(millis), unix_ms: 1_000_000 + millis }
}

pub fn config(n: u8) -> Config {
    Config::new(peer(n), ClusterName::default(), params()).with_seed(u64::from(n))
}

pub fn start(n: u8, start: Start, now: Now) -> State {
    State::new(config(n), start, Box::new(Cheap(peer(n))), now)
}

pub fn drain(state: &mut State) -> Vec<Action> {
    std::iter::from_fn(|| state.poll_action()).collect()
}

/// Does what needs no network: counters are reserved at once. The other actions are returned.
pub fn settle(state: &mut State, now: Now) -> Vec<Action> {
    let mut rest = Vec::new();
    while let Some(action) = state.poll_action() {
        match action {
            Action::Reserve { reservation } => state.handle_reserved(reservation, now),
            other => rest.push(other),
        }
    }
    rest
}

/// The first peer of the ring [`RING`], which knows its own record.
pub fn first(n: u8, now: Now) -> State {
    let mut state = start(n, Start::Birth { ring: RING, secret: SECRET }, now);
    settle(&mut state, now);
    state
}

pub fn sends(actions: &[Action]) -> Vec<(PeerId, &Request)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { peer, request, .. } => Some((*peer, request)),
            _ => None,
        })
        .collect()
}

/// A peer id that nobody has a key for, but that [`Cheap`] signatures fit.
pub fn made_up(n: u32) -> PeerId {
    let mut bytes = vec![0x00, 36];
    bytes.extend([8, 1, 18, 32]);
    bytes.extend([0; 28]);
    bytes.extend(n.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// Fires the next timer; the moment at which it was due.
pub fn tick(state: &mut State) -> Now {
    let due = state.poll_timeout().unwrap();
    let now = Now { monotonic: due, unix_ms: 1_000_000 + u64::try_from(due.as_millis()).unwrap() };
    state.handle_timeout(now);
    now
}

/// What `accuser` says against the record of these numbers, one of an electorate of so many.
pub fn accusation(
    accuser: PeerId,
    (accused, incarnation, counter): (PeerId, u64, u64),
    cause: Cause,
    electorate: u16,
) -> SignedAccusation {
    let accusation = Accusation {
        ring: RING,
        accuser,
        accused,
        incarnation: Incarnation(incarnation),
        counter,
        cause,
        electorate,
        issued_unix_ms: 1_000_000,
    };
    SignedAccusation::sign(accusation, &Cheap(accuser)).unwrap()
}

/// A member and what is said against it.
pub fn accused(numbers: (PeerId, u64, u64), accusations: Vec<SignedAccusation>) -> Accused {
    Accused { member: signed(record(numbers.0, numbers.1, numbers.2)), accusations }
}

/// The member that is accused, in its first life and with its only record.
pub fn suspect() -> (PeerId, u64, u64) {
    (made_up(1), 1, 1)
}

/// Peer 1 in a ring with so many others, of which it knows the first record.
pub fn ring_of(others: u32) -> State {
    let mut state = first(1, at(0));
    let updates: Vec<Update> = (1..=others).map(|n| plain(record(made_up(n), 1, 1))).collect();
    updates.chunks(100).for_each(|some| state.on_updates(peer(2), some.to_vec(), at(0)));
    settle(&mut state, at(0));
    state
}

pub fn push(state: &mut State, accused: Vec<Accused>) -> Response {
    let from = made_up(2);
    state.on_request(from, Request::Push { ring: RING, updates: vec![], accused }, at(9))
}

pub fn gossip(state: &mut State, accusation: SignedAccusation) -> Relay {
    state.on_gossip(made_up(2), &encode_gossip(&Gossip::Accusation(accusation)).unwrap(), at(9))
}

pub fn removed(by: PeerId, of: (PeerId, u64, u64)) -> SignedAccusation {
    accusation(by, of, Cause::Removed, 0)
}

pub fn is_evicted(state: &State) -> bool {
    state.view().is_evicted(&made_up(1), Incarnation(1))
}
