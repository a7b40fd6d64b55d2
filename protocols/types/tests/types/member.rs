//! Member records: signed by their own peer, checked by anybody, bounded.

use bytes::Bytes;
use henge_types::limits::{ADDRESSES_MAX, SIGNATURE_MAX_BYTES, SUSPECTS_MAX, WEIGHT_MAX, ZONE_MAX_BYTES};
use henge_types::member::Signer;
use henge_types::{
    Incarnation, MemberError, MemberRecord, MemberState, Multiaddr, SignedMember, Suspect, Weight, Zone,
    codec,
};
use serde::{Deserialize, Serialize};

use crate::common::{Ed25519, keypair, member, peer};

/// The wire form of a signed member.
#[derive(Serialize, Deserialize)]
struct Wire {
    payload: Bytes,
    signature: Bytes,
}

const DOMAIN: &[u8] = b"henge-member-1:";

fn signer(seed: u8) -> Ed25519 {
    Ed25519(keypair(seed))
}

fn signed(seed: u8) -> SignedMember {
    SignedMember::sign(member(seed), &signer(seed)).unwrap()
}

/// What a relay makes of these parts.
fn received(payload: &[u8], signature: &[u8]) -> Result<SignedMember, codec::DecodeError> {
    let wire =
        Wire { payload: Bytes::copy_from_slice(payload), signature: Bytes::copy_from_slice(signature) };
    codec::decode(&codec::encode(&wire).unwrap())
}

fn parts(signed: &SignedMember) -> Wire {
    codec::decode(&codec::encode(signed).unwrap()).unwrap()
}

#[test]
fn a_relayed_record_is_verified_by_anybody() {
    let relayed: SignedMember = codec::decode(&codec::encode(&signed(1)).unwrap()).unwrap();
    assert_eq!(relayed, signed(1));
    assert_eq!(relayed.record(), &member(1));
    assert_eq!(relayed.verify(&signer(2)), Ok(()));
}

#[test]
fn a_record_signed_by_another_peer_is_refused() {
    let forged = SignedMember::sign(member(1), &signer(2)).unwrap();
    assert_eq!(forged.verify(&signer(1)), Err(MemberError::Signature { peer: peer(1) }));
}

#[test]
fn every_flipped_bit_is_refused() {
    let Wire { payload, signature } = parts(&signed(1));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        bytes
    };
    let believed = |payload: &[u8], signature: &[u8]| {
        received(payload, signature).is_ok_and(|signed| signed.verify(&signer(2)).is_ok())
    };
    assert!(believed(&payload, &signature));
    // A check of the signature costs a millisecond or so: every third bit, all bytes are met.
    for at in (0..payload.len() * 8).step_by(3) {
        assert!(!believed(&flipped(&payload, at), &signature), "bit {at} of the payload");
    }
    for at in (0..signature.len() * 8).step_by(3) {
        assert!(!believed(&payload, &flipped(&signature, at)), "bit {at} of the signature");
    }
    assert!(!believed(&payload, &[]));
}

#[test]
fn a_signature_made_for_something_else_is_no_member_record() {
    let payload = codec::encode(&member(1)).unwrap();
    let bare = signer(1).sign(&payload);
    assert!(received(&payload, &bare).unwrap().verify(&signer(1)).is_err());
    let proper = signer(1).sign(&[DOMAIN, &payload].concat());
    assert_eq!(received(&payload, &proper).unwrap(), signed(1));
}

#[test]
fn fields_of_a_newer_version_survive_relaying() {
    let mut payload = codec::encode(&member(1)).unwrap();
    assert_eq!(payload[0], 0xad, "a map of 13 fields");
    payload[0] += 1;
    payload.extend(codec::encode("mood").unwrap());
    payload.extend(codec::encode(&vec![Some("calm"), None]).unwrap());
    let signature = signer(1).sign(&[DOMAIN, &payload].concat());
    let relayed = received(&payload, &signature).unwrap();
    assert_eq!(relayed.record(), &member(1), "an older peer reads what it knows");
    let Wire { payload: again, signature } = parts(&relayed);
    assert_eq!(again, payload, "and passes on what it does not");
    assert_eq!(received(&again, &signature).unwrap().verify(&signer(2)), Ok(()));
}

#[test]
fn fields_that_older_versions_did_not_have_have_defaults() {
    #[derive(Serialize)]
    struct Older {
        ring: henge_types::RingId,
        peer: henge_types::PeerId,
        incarnation: Incarnation,
        counter: u64,
        state: MemberState,
        weight: Weight,
        addresses: Vec<Multiaddr>,
        custody: henge_types::CustodyDigest,
        wire: (u16, u16),
    }
    let MemberRecord { ring, peer, incarnation, counter, state, weight, addresses, custody, wire, .. } =
        member(1);
    let older = Older { ring, peer, incarnation, counter, state, weight, addresses, custody, wire };
    let read: MemberRecord = codec::decode(&codec::encode(&older).unwrap()).unwrap();
    assert_eq!(read, MemberRecord { zone: None, records: 0, suspects: vec![], evictions: 0, ..member(1) });
}

fn oversized(record: MemberRecord) {
    let payload = codec::encode(&record).unwrap();
    let error = SignedMember::sign(record, &signer(1)).unwrap_err();
    assert!(matches!(error, MemberError::Oversized { .. }), "{error}");
    assert!(received(&payload, &signer(1).sign(&payload)).is_err(), "a relayed one is refused too");
}

/// As many as asked for, in order, with the longest numbers.
fn suspects(count: usize) -> Vec<Suspect> {
    let longest = |n| Suspect { peer: peer(n), incarnation: Incarnation(u64::MAX), counter: u64::MAX };
    let mut all: Vec<_> = (0..=u8::MAX).take(count).map(longest).collect();
    all.sort_by_key(|suspect| suspect.peer);
    all
}

#[test]
fn suspects_rise_and_none_is_there_twice() {
    let rising = suspects(3);
    let falling: Vec<_> = rising.iter().rev().copied().collect();
    let twice = vec![rising[0], rising[0]];
    for suspects in [falling, twice] {
        let record = MemberRecord { suspects, ..member(1) };
        let payload = codec::encode(&record).unwrap();
        assert_eq!(SignedMember::sign(record, &signer(1)), Err(MemberError::Unordered));
        assert!(received(&payload, &[0; 64]).unwrap_err().to_string().contains("out of order"));
    }
    let record = MemberRecord { suspects: rising, ..member(1) };
    assert!(SignedMember::sign(record, &signer(1)).is_ok());
}

#[test]
fn what_is_too_large_is_neither_signed_nor_read() {
    let address =
        |length: usize| -> Multiaddr { format!("/dns4/{}/tcp/1", "a".repeat(length)).parse().unwrap() };
    oversized(MemberRecord { addresses: vec![address(9); ADDRESSES_MAX + 1], ..member(1) });
    oversized(MemberRecord { addresses: vec![address(300)], ..member(1) });
    oversized(MemberRecord { suspects: suspects(SUSPECTS_MAX + 1), ..member(1) });
    let most = MemberRecord {
        addresses: vec![address(240); ADDRESSES_MAX],
        zone: Some(Zone::new("z".repeat(ZONE_MAX_BYTES)).unwrap()),
        records: u64::MAX,
        suspects: suspects(SUSPECTS_MAX),
        evictions: u64::MAX,
        ..member(1)
    };
    assert!(SignedMember::sign(most, &signer(1)).is_ok(), "the most of everything fits");

    // Beyond the honest fields: a field that nobody knows, and a long signature.
    let mut payload = codec::encode(&member(1)).unwrap();
    payload[0] += 1;
    payload.extend(codec::encode("ballast").unwrap());
    payload.extend(codec::encode(&Bytes::from(vec![0; 9000])).unwrap());
    assert!(received(&payload, &[0; 64]).unwrap_err().to_string().contains("encoded size"));
    let payload = codec::encode(&member(1)).unwrap();
    assert!(received(&payload, &[0; SIGNATURE_MAX_BYTES]).is_ok());
    assert!(received(&payload, &[0; SIGNATURE_MAX_BYTES + 1]).is_err());
}

#[test]
fn weights_and_zones_have_ranges() {
    for weight in [0, WEIGHT_MAX + 1, u16::MAX] {
        assert_eq!(Weight::new(weight), Err(MemberError::Weight { weight }));
    }
    assert_eq!(Weight::new(WEIGHT_MAX).map(Weight::get), Ok(WEIGHT_MAX));
    assert_eq!(Weight::default().get(), 1);
    for name in ["", "a\nb", "\u{7f}", &"z".repeat(ZONE_MAX_BYTES + 1)] {
        assert!(Zone::new(name).is_err(), "{name:?}");
    }
    assert_eq!(Zone::new("Orkney – 3").unwrap().to_string(), "Orkney – 3");
}

#[test]
fn a_later_word_has_the_later_incarnation_then_state_then_the_higher_counter() {
    use MemberState::{Active, Leaving, Left};
    let word = |incarnation, state, counter| {
        let record = MemberRecord { incarnation: Incarnation(incarnation), state, counter, ..member(1) };
        SignedMember::sign(record, &signer(1)).unwrap()
    };
    let ordered = [
        word(1, Active, 1),
        word(1, Active, 2),
        word(1, Leaving, 0),
        word(1, Left, 0),
        word(2, Active, 0),
        word(2, Active, 9),
        word(3, Active, 1),
    ];
    for (at, later) in ordered.iter().enumerate() {
        assert!(!later.is_newer_than(later));
        for earlier in &ordered[..at] {
            assert!(later.is_newer_than(earlier) && !earlier.is_newer_than(later));
        }
    }
}
