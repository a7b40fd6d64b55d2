//! Accusations: signed by their author, checked by anybody, bounded.

use bytes::Bytes;
use henge_types::limits::{ACCUSATION_MAX_BYTES, MEMBERS_MAX, SIGNATURE_MAX_BYTES};
use henge_types::member::Signer;
use henge_types::{Accusation, AccusationError, Cause, Incarnation, SignedAccusation, codec};
use serde::{Deserialize, Serialize};

use crate::common::{Ed25519, accusation, keypair, peer};

/// The wire form of a signed accusation.
#[derive(Serialize, Deserialize)]
struct Wire {
    payload: Bytes,
    signature: Bytes,
}

const DOMAIN: &[u8] = b"henge-accusation-1:";

fn signer(seed: u8) -> Ed25519 {
    Ed25519(keypair(seed))
}

/// What a relay makes of these parts.
fn received(payload: &[u8], signature: &[u8]) -> Result<SignedAccusation, codec::DecodeError> {
    let wire =
        Wire { payload: Bytes::copy_from_slice(payload), signature: Bytes::copy_from_slice(signature) };
    codec::decode(&codec::encode(&wire).unwrap())
}

#[test]
fn a_relayed_accusation_is_verified_by_anybody() {
    for cause in [Cause::Removed, Cause::Gone] {
        let signed = SignedAccusation::sign(accusation(cause), &signer(1)).unwrap();
        let relayed: SignedAccusation = codec::decode(&codec::encode(&signed).unwrap()).unwrap();
        assert_eq!(relayed.accusation(), &accusation(cause));
        assert_eq!(relayed.verify(&signer(3)), Ok(()));
    }
}

#[test]
fn an_accusation_in_the_name_of_another_is_refused() {
    let forged = SignedAccusation::sign(accusation(Cause::Removed), &signer(3)).unwrap();
    assert_eq!(forged.verify(&signer(1)), Err(AccusationError::Signature { accuser: peer(1) }));
}

#[test]
fn every_flipped_bit_is_refused() {
    let payload = codec::encode(&accusation(Cause::Gone)).unwrap();
    let signature = signer(1).sign(&[DOMAIN, &payload].concat());
    let believed = |payload: &[u8], signature: &[u8]| {
        received(payload, signature).is_ok_and(|signed| signed.verify(&signer(2)).is_ok())
    };
    assert!(believed(&payload, &signature));
    for at in (0..payload.len() * 8).step_by(3) {
        let mut flipped = payload.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(!believed(&flipped, &signature), "bit {at}");
    }
}

#[test]
fn a_signature_made_for_something_else_is_no_accusation() {
    let payload = codec::encode(&accusation(Cause::Gone)).unwrap();
    for domain in [&b""[..], b"henge-member-1:"] {
        let other = signer(1).sign(&[domain, &payload].concat());
        assert!(received(&payload, &other).unwrap().verify(&signer(1)).is_err());
    }
}

#[test]
fn what_cannot_be_meant_is_neither_signed_nor_read() {
    let word = accusation(Cause::Gone);
    let many = u16::try_from(MEMBERS_MAX + 1).unwrap();
    for (bad, error) in [
        (Accusation { accused: peer(1), ..word }, AccusationError::Oneself { peer: peer(1) }),
        (Accusation { electorate: 0, ..word }, AccusationError::NoWitness { accuser: peer(1) }),
        (Accusation { electorate: many, ..word }, AccusationError::Oversized { what: "electorate" }),
    ] {
        assert_eq!(SignedAccusation::sign(bad, &signer(1)), Err(error));
        assert!(received(&codec::encode(&bad).unwrap(), &[0; 64]).is_err(), "{bad:?}");
    }
    let nobody = Accusation { electorate: 0, cause: Cause::Removed, ..word };
    assert!(SignedAccusation::sign(nobody, &signer(1)).is_ok(), "an operator needs no electorate");
}

#[test]
fn the_longest_accusation_fits_and_a_longer_one_is_refused() {
    let most = Accusation {
        incarnation: Incarnation(u64::MAX),
        counter: u64::MAX,
        cause: Cause::Removed,
        electorate: u16::try_from(MEMBERS_MAX).unwrap(),
        issued_unix_ms: u64::MAX,
        ..accusation(Cause::Gone)
    };
    assert!(SignedAccusation::sign(most, &signer(1)).is_ok());
    let mut payload = codec::encode(&most).unwrap();
    payload[0] += 1;
    payload.extend(codec::encode("ballast").unwrap());
    payload.extend(codec::encode(&Bytes::from(vec![0; ACCUSATION_MAX_BYTES])).unwrap());
    assert!(received(&payload, &[0; 64]).unwrap_err().to_string().contains("encoded size"));
    let payload = codec::encode(&most).unwrap();
    assert!(received(&payload, &[0; SIGNATURE_MAX_BYTES]).is_ok());
    assert!(received(&payload, &[0; SIGNATURE_MAX_BYTES + 1]).is_err());
}
