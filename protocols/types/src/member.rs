//! Member records: what a peer says of itself, signed, so that anybody may relay it.

use std::fmt;
use std::num::NonZeroU16;

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::RingId;
use crate::codec;
use crate::custody::CustodyDigest;
use crate::limits::{
    ADDRESS_MAX_BYTES, ADDRESSES_MAX, MEMBER_RECORD_MAX_BYTES, SIGNATURE_MAX_BYTES, SUSPECTS_MAX, WEIGHT_MAX,
    ZONE_MAX_BYTES,
};

/// Numbers the lives of a peer's store: a new one only when the store was lost or wiped, or on
/// the return from an eviction. max(Unix milliseconds, last known + 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What share of the ring a peer takes: 1 to 64; 256 tokens each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(NonZeroU16);

impl Weight {
    /// Checks the range.
    ///
    /// # Errors
    /// [`MemberError::Weight`] unless `weight` is 1 to 64.
    pub fn new(weight: u16) -> Result<Self, MemberError> {
        NonZeroU16::new(weight)
            .filter(|w| w.get() <= WEIGHT_MAX)
            .map(Self)
            .ok_or(MemberError::Weight { weight })
    }

    /// The weight.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU16::MIN)
    }
}

impl TryFrom<u16> for Weight {
    type Error = MemberError;

    fn try_from(weight: u16) -> Result<Self, MemberError> {
        Self::new(weight)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.get()
    }
}

/// The failure domain of a peer (a data centre, a house): 1 to 64 bytes of printable text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

impl Zone {
    /// Checks length and characters.
    ///
    /// # Errors
    /// [`MemberError::Zone`] when it is empty, over 64 bytes, or has control characters.
    pub fn new(name: impl Into<String>) -> Result<Self, MemberError> {
        let name = name.into();
        if name.is_empty() || name.len() > ZONE_MAX_BYTES || name.chars().any(char::is_control) {
            return Err(MemberError::Zone { name });
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Zone {
    type Error = MemberError;

    fn try_from(name: String) -> Result<Self, MemberError> {
        Self::new(name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a member wants to be in the ring, in the order in which it goes through this: never back within one
/// incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It is placed: partitions are assigned to it.
    Active,
    /// It is no longer placed, and gives its partitions up.
    Leaving,
    /// It has given everything up, and is nobody's contact any more.
    Left,
}

/// What a peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The ring it is a member of.
    pub ring: RingId,
    /// Who it is.
    pub peer: PeerId,
    /// Which life of its store.
    pub incarnation: Incarnation,
    /// The heartbeat: every record has a higher one than the last.
    pub counter: u64,
    /// What it wants to be.
    pub state: MemberState,
    /// Its share of the ring.
    pub weight: Weight,
    /// Its failure domain.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// Where it can be dialled, without the `/p2p` part.
    pub addresses: Vec<Multiaddr>,
    /// The digest of its custody map.
    pub custody: CustodyDigest,
    /// How many records it stores, about: for people, not for decisions.
    #[serde(default)]
    pub records: u64,
    /// The oldest and the newest version of henge's protocols that it speaks.
    pub wire: (u16, u16),
    /// Whom it takes to be gone: up to [`SUSPECTS_MAX`], rising by peer id, each once.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// A digest of the evictions that it knows of; 0 for none. Who sees another one here than its own may
    /// have been evicted without knowing.
    #[serde(default)]
    pub evictions: u64,
}

impl MemberRecord {
    /// What orders the records of one peer: the greatest is its last word. The state comes before the
    /// counter, so that nobody comes back from leaving in the same life, even if it forgot that it left.
    #[must_use]
    pub fn age(&self) -> (Incarnation, MemberState, u64) {
        (self.incarnation, self.state, self.counter)
    }
}

/// A suspicion: its author hears nothing of a peer, and this is the last record of it that it knows.
/// It says nothing of a peer that has signed a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(PeerId, Incarnation, u64)", into = "(PeerId, Incarnation, u64)")]
pub struct Suspect {
    /// Who is suspected.
    pub peer: PeerId,
    /// The incarnation in its last record.
    pub incarnation: Incarnation,
    /// The counter in its last record.
    pub counter: u64,
}

impl From<(PeerId, Incarnation, u64)> for Suspect {
    fn from((peer, incarnation, counter): (PeerId, Incarnation, u64)) -> Self {
        Self { peer, incarnation, counter }
    }
}

impl From<Suspect> for (PeerId, Incarnation, u64) {
    fn from(suspect: Suspect) -> Self {
        (suspect.peer, suspect.incarnation, suspect.counter)
    }
}

/// Why something is no member record. The peer that sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Out of range.
    #[error("weight {weight}: use 1 to {WEIGHT_MAX}")]
    Weight {
        /// The weight given.
        weight: u16,
    },
    /// Does not fit.
    #[error("zone {name:?}: use 1 to {ZONE_MAX_BYTES} bytes of printable text")]
    Zone {
        /// The name given.
        name: String,
    },
    /// Over a bound.
    #[error("member record over a bound: {what}")]
    Oversized {
        /// Which bound.
        what: &'static str,
    },
    /// Suspects that do not rise by peer id.
    #[error("member record with suspects out of order, or one of them twice")]
    Unordered,
    /// Not CBOR, or not of the shape.
    #[error("member record that cannot be read: {0}")]
    Undecodable(codec::DecodeError),
    /// The signature does not fit the peer id.
    #[error("member record of {peer} with a wrong signature")]
    Signature {
        /// Who it claims to be from.
        peer: PeerId,
    },
    /// The peer id holds no key, so nothing it signs can be checked.
    #[error("peer id {peer} does not hold its public key: use an Ed25519 identity")]
    HashedKey {
        /// The peer id.
        peer: PeerId,
    },
}

/// How member records and accusations are signed and checked. Passed in, so that the core stays free of keys
/// and a simulator can use cheap ones.
pub trait Signer: Send {
    /// Signs `message` as the local peer.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
    /// Whether `signature` over `message` is by `peer`.
    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool;
}

/// A member record with the signature of its peer over exactly these bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignedRepr", into = "SignedRepr")]
pub struct SignedMember {
    record: MemberRecord,
    payload: Bytes,
    signature: Bytes,
}

// Signatures of other protocols by the same key cannot be replayed as member records.
const DOMAIN: &[u8] = b"henge-member-1:";

impl SignedMember {
    /// Signs `record`.
    ///
    /// # Errors
    /// [`MemberError::Oversized`] when it has too many or too long addresses, or too many suspects;
    /// [`MemberError::Unordered`].
    pub fn sign(record: MemberRecord, signer: &dyn Signer) -> Result<Self, MemberError> {
        let payload: Bytes = codec::encode(&record).map_err(MemberError::Undecodable)?.into();
        check_lists(&record)?;
        let signature: Bytes = signer.sign(&message(&payload)).into();
        check_sizes(&payload, &signature)?;
        Ok(Self { record, payload, signature })
    }

    /// Checks the signature against the peer id inside.
    ///
    /// # Errors
    /// [`MemberError::Signature`].
    pub fn verify(&self, signer: &dyn Signer) -> Result<(), MemberError> {
        if signer.verify(&self.record.peer, &message(&self.payload), &self.signature) {
            Ok(())
        } else {
            Err(MemberError::Signature { peer: self.record.peer })
        }
    }

    /// What the peer says.
    #[must_use]
    pub fn record(&self) -> &MemberRecord {
        &self.record
    }

    /// Whether this is a later word of the same peer than `other`: see [`MemberRecord::age`].
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.record.age() > other.record.age()
    }
}

impl fmt::Debug for SignedMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.record;
        write!(
            f,
            "SignedMember({} {}/{} {:?} custody {:?})",
            r.peer, r.incarnation, r.counter, r.state, r.custody
        )
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

fn check_sizes(payload: &[u8], signature: &[u8]) -> Result<(), MemberError> {
    if payload.len() > MEMBER_RECORD_MAX_BYTES {
        return Err(MemberError::Oversized { what: "encoded size" });
    }
    if signature.len() > SIGNATURE_MAX_BYTES {
        return Err(MemberError::Oversized { what: "signature" });
    }
    Ok(())
}

fn check_lists(record: &MemberRecord) -> Result<(), MemberError> {
    if record.addresses.len() > ADDRESSES_MAX {
        return Err(MemberError::Oversized { what: "number of addresses" });
    }
    if record.addresses.iter().any(|a| a.len() > ADDRESS_MAX_BYTES) {
        return Err(MemberError::Oversized { what: "length of an address" });
    }
    if record.suspects.len() > SUSPECTS_MAX {
        return Err(MemberError::Oversized { what: "number of suspects" });
    }
    if !record.suspects.is_sorted_by(|a, b| a.peer < b.peer) {
        return Err(MemberError::Unordered);
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SignedRepr {
    pub(crate) payload: Bytes,
    pub(crate) signature: Bytes,
}

impl TryFrom<SignedRepr> for SignedMember {
    type Error = MemberError;

    fn try_from(repr: SignedRepr) -> Result<Self, MemberError> {
        check_sizes(&repr.payload, &repr.signature)?;
        let record: MemberRecord = codec::decode(&repr.payload).map_err(MemberError::Undecodable)?;
        check_lists(&record)?;
        Ok(Self { record, payload: repr.payload, signature: repr.signature })
    }
}

impl From<SignedMember> for SignedRepr {
    fn from(signed: SignedMember) -> Self {
        Self { payload: signed.payload, signature: signed.signature }
    }
}
