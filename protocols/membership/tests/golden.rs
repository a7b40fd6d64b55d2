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
    Known, Refusal, Request, Reservation, Response, SavedView, Update, decode_gossip, encode_gossip,
};
use henge_types::codec::{self, Stored};
use henge_types::member::Signer;
use henge_types::{
    ClusterName, Custody, Incarnation, MemberState, Partition, PeerId, SignedMember, Suspect, Weight, Zone,
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

fn keys() -> Ed25519 {
    Ed25519(Keypair::ed25519_from_bytes([1; 32]).unwrap())
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
    let sparse = record(peer(1), 1, 0);
    let sign = |record| SignedMember::sign(record, &keys()).unwrap();
    vec![
        Update { member: sign(full), custody: Some(custody) },
        Update { member: sign(sparse), custody: None },
    ]
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
        counter: 300,
        custody: map(Custody::None).digest(),
    };
    check_cbor("request.join.newcomer", &Request::Join { params: params(), ring: None });
    check_cbor("request.join.member", &Request::Join { params: params(), ring: Some(RING) });
    check_cbor("request.exchange", &Request::Exchange { ring: RING, summary: vec![known] });
    check_cbor("request.push", &Request::Push { ring: RING, updates: updates() });
    check_cbor("request.fetch", &Request::Fetch { ring: RING, peers: vec![peer(1), peer(2)] });
    check_cbor("request.probe", &Request::Probe { ring: RING });
}

#[test]
fn responses() {
    let updates = updates();
    check_cbor(
        "response.welcome",
        &Response::Welcome { ring: RING, secret: SECRET, params: params(), updates: updates.clone() },
    );
    check_cbor(
        "response.exchanged",
        &Response::Exchanged { updates: updates.clone(), wanted: vec![peer(2)] },
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
    let payload = encode_gossip(&member).unwrap();
    check("gossip", &payload);
    let read = decode_gossip(&payload).unwrap();
    assert_eq!(read, member);
    assert_eq!(read.verify(&keys()), Ok(()));
}

#[test]
fn saved() {
    let view = SavedView { ring: RING, members: updates() };
    let bytes = view.to_stored().unwrap();
    assert_eq!(SavedView::from_stored(&bytes).unwrap(), view);
    check("saved.view", &bytes);
    check_cbor("saved.reservation", &Reservation { incarnation: Incarnation(9), upto: 4096 });
}
