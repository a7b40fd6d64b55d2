//! The bytes of every message and of everything saved. A change here is a change of protocol: old
//! peers and old data directories have to be thought of.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use std::fmt::Debug;

use common::{RING, SECRET, map, params, peer, record};
use henge_membership::{
    Accused, Gossip, Known, Refusal, Request, Reservation, Response, SavedMember, SavedView, State, Update,
    decode_gossip, encode_gossip,
};
use henge_types::codec::{self, Stored};
use henge_types::member::Signer;
use henge_types::{
    Accusation, Cause, ClusterName, Custody, Incarnation, MemberState, Partition, PeerId, SignedAccusation,
    SignedMember, Suspect, Weight, Zone,
};
use libp2p_identity::{Keypair, PublicKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One line for each: its name, and its bytes in hex.
const GOLDEN: &str = include_str!("golden.txt");

struct Ed25519(Keypair);

impl Signer for Ed25519 {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        PublicKey::try_decode_protobuf(peer.as_ref().digest()).is_ok_and(|key| key.verify(message, signature))
    }
}

fn key(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

fn keys() -> Ed25519 {
    Ed25519(key(1))
}

fn updates() -> Vec<Update> {
    let mut custody = map(Custody::Full);
    custody.set(Partition(1), Custody::Part);
    let mut full = record(peer(1), 1_700_000_000_000, 4096);
    full.state = MemberState::Leaving;
    full.weight = Weight::new(3).unwrap();
    full.zone = Some(Zone::new("attic").unwrap());
    full.addresses =
        vec!["/ip4/10.0.0.1/udp/4001/quic-v1".parse().unwrap(), "/dns/a.example/tcp/4001".parse().unwrap()];
    full.custody = custody.digest();
    full.records = 12;
    full.suspects = vec![Suspect { peer: peer(2), incarnation: Incarnation(9), counter: 300 }];
    full.evictions = 0x0102_0304_0506_0708;
    let sparse = record(peer(1), 1, 0);
    let sign = |record| SignedMember::sign(record, &keys()).unwrap();
    vec![
        Update { member: sign(full), custody: Some(custody) },
        Update { member: sign(sparse), custody: None },
    ]
}

fn accusation(cause: Cause) -> SignedAccusation {
    let accusation = Accusation {
        ring: RING,
        accuser: peer(1),
        accused: peer(2),
        incarnation: Incarnation(9),
        counter: 300,
        cause,
        electorate: 3,
        issued_unix_ms: 1_700_000_000_000,
    };
    SignedAccusation::sign(accusation, &keys()).unwrap()
}

fn accused() -> Vec<Accused> {
    let member = SignedMember::sign(record(peer(2), 9, 300), &Ed25519(key(2))).unwrap();
    let accusations = vec![accusation(Cause::Removed), accusation(Cause::Gone)];
    vec![Accused { member, accusations }]
}

fn check(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert_eq!(line, Some(hex.as_str()), "\n{name} {hex}");
}

fn check_cbor<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = codec::encode(value).unwrap();
    assert_eq!(codec::decode::<T>(&bytes).unwrap(), *value);
    check(name, &bytes);
}

#[test]
fn requests() {
    let known = Known {
        peer: peer(1),
        incarnation: Incarnation(9),
        state: MemberState::Left,
        counter: 300,
        custody: map(Custody::None).digest(),
    };
    check_cbor("request.join.newcomer", &Request::Join { params: params(), ring: None });
    check_cbor("request.join.member", &Request::Join { params: params(), ring: Some(RING) });
    check_cbor(
        "request.exchange",
        &Request::Exchange {
            ring: RING,
            summary: vec![known],
            evicted: vec![(peer(2), Incarnation(9))],
            pending: 7,
        },
    );
    check_cbor("request.push", &Request::Push { ring: RING, updates: updates(), accused: accused() });
    check_cbor("request.fetch", &Request::Fetch { ring: RING, peers: vec![peer(1), peer(2)] });
    check_cbor("request.probe", &Request::Probe { ring: RING });
}

#[test]
fn responses() {
    let updates = updates();
    check_cbor(
        "response.welcome",
        &Response::Welcome {
            ring: RING,
            secret: SECRET,
            params: params(),
            updates: updates.clone(),
            accused: accused(),
        },
    );
    check_cbor(
        "response.exchanged",
        &Response::Exchanged { updates: updates.clone(), wanted: vec![peer(2)], accused: accused() },
    );
    check_cbor("response.pushed", &Response::Pushed);
    check_cbor("response.alive", &Response::Alive { member: updates[0].member.clone() });
    check_cbor("response.updates", &Response::Updates { updates });
}

#[test]
fn refusals() {
    let cluster = ClusterName::default();
    check_cbor("refused.other_ring", &Response::Refused(Refusal::OtherRing { ring: RING }));
    check_cbor("refused.other_params", &Response::Refused(Refusal::OtherParams { params: params() }));
    check_cbor("refused.other_cluster", &Response::Refused(Refusal::OtherCluster { cluster }));
    check_cbor("refused.not_member", &Response::Refused(Refusal::NotMember));
    check_cbor("refused.too_many", &Response::Refused(Refusal::TooMany));
}

#[test]
fn gossip() {
    let member = updates().remove(0).member;
    let removed = accusation(Cause::Removed);
    assert_eq!((member.verify(&keys()), removed.verify(&keys())), (Ok(()), Ok(())));
    let said =
        [("gossip.member", Gossip::Member(member)), ("gossip.accusation", Gossip::Accusation(removed))];
    for (name, gossip) in said {
        let payload = encode_gossip(&gossip).unwrap();
        check(name, &payload);
        assert_eq!(decode_gossip(&payload).unwrap(), gossip);
    }
}

#[test]
fn saved() {
    // An eviction as a member comes to know and save it.
    let (ring, secret) = (RING, SECRET);
    let mut state = common::start(1, henge_membership::Start::Birth { ring, secret }, common::at(0));
    let Some(henge_membership::Action::Reserve { reservation }) = state.poll_action() else { panic!() };
    state.handle_reserved(reservation, common::at(0));
    tell_of_eviction(&mut state);
    let evictions = state.view().to_saved().unwrap().evictions;
    assert_eq!(evictions.len(), 1);
    let saved = |(known, electorate)| SavedMember { known, electorate };
    let members = updates().into_iter().zip([3, 0]).map(saved).collect();
    let view = SavedView { ring: RING, members, evictions };
    let bytes = view.to_stored().unwrap();
    assert_eq!(SavedView::from_stored(&bytes).unwrap(), view);
    check("saved.view", &bytes);
    check_cbor("saved.reservation", &Reservation { incarnation: Incarnation(9), upto: 4096 });
}

fn tell_of_eviction(state: &mut State) {
    let accusation = Accusation { accuser: peer(3), ..*accusation(Cause::Removed).accusation() };
    let signed = SignedAccusation::sign(accusation, &common::Cheap(peer(3))).unwrap();
    let accused = Accused { member: common::signed(record(peer(2), 9, 300)), accusations: vec![signed] };
    let updates = vec![common::plain(record(peer(3), 1, 1))];
    state.on_request(peer(3), Request::Push { ring: RING, updates, accused: vec![accused] }, common::at(5));
}
