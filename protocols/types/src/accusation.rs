//! Accusations: signed words of one member against a life of another. Enough of them evict it.

use std::fmt;

use bytes::Bytes;
use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::RingId;
use crate::codec;
use crate::limits::{ACCUSATION_MAX_BYTES, MEMBERS_MAX, SIGNATURE_MAX_BYTES};
use crate::member::{Incarnation, SignedRepr, Signer};

/// Why a member is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// An operator asked the accuser for it. One such accusation is enough.
    Removed,
    /// The accuser has heard nothing of it for too long. More than half of the electorate have to say so
    /// of the same record.
    Gone,
}

/// What one member says against a life of another. It says nothing of the lives that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accusation {
    /// The ring that both are members of.
    pub ring: RingId,
    /// Who accuses.
    pub accuser: PeerId,
    /// Who is accused.
    pub accused: PeerId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The counter in the last record of it that the accuser knows.
    pub counter: u64,
    /// Why.
    pub cause: Cause,
    /// How many members were active when the accuser last heard of the accused, both included; 0 if the
    /// accuser was none of them, which cannot accuse anybody of being gone.
    pub electorate: u16,
    /// When this was said, by the clock of the accuser.
    pub issued_unix_ms: u64,
}

/// Why something is no accusation. The peer that sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccusationError {
    /// Over a bound.
    #[error("accusation over a bound: {what}")]
    Oversized {
        /// Which bound.
        what: &'static str,
    },
    /// Nobody accuses itself.
    #[error("{peer} accuses itself")]
    Oneself {
        /// Who.
        peer: PeerId,
    },
    /// Whoever was no active member when the accused was last heard of cannot tell that it is gone.
    #[error("{accuser} takes a member for gone that it never heard of as a member itself")]
    NoWitness {
        /// Who accuses.
        accuser: PeerId,
    },
    /// Not CBOR, or not of the shape.
    #[error("accusation that cannot be read: {0}")]
    Undecodable(codec::DecodeError),
    /// The signature does not fit the peer id of the accuser.
    #[error("accusation by {accuser} with a wrong signature")]
    Signature {
        /// Who it claims to be from.
        accuser: PeerId,
    },
}

/// An accusation with the signature of the accuser over exactly these bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignedRepr", into = "SignedRepr")]
pub struct SignedAccusation {
    accusation: Accusation,
    payload: Bytes,
    signature: Bytes,
}

const DOMAIN: &[u8] = b"henge-accusation-1:";

impl SignedAccusation {
    /// Signs `accusation`.
    ///
    /// # Errors
    /// [`AccusationError`], but for a wrong signature.
    pub fn sign(accusation: Accusation, signer: &dyn Signer) -> Result<Self, AccusationError> {
        let payload: Bytes = codec::encode(&accusation).map_err(AccusationError::Undecodable)?.into();
        let signature: Bytes = signer.sign(&message(&payload)).into();
        check(&accusation, &payload, &signature)?;
        Ok(Self { accusation, payload, signature })
    }

    /// Checks the signature against the peer id of the accuser.
    ///
    /// # Errors
    /// [`AccusationError::Signature`].
    pub fn verify(&self, signer: &dyn Signer) -> Result<(), AccusationError> {
        let accuser = self.accusation.accuser;
        if signer.verify(&accuser, &message(&self.payload), &self.signature) {
            Ok(())
        } else {
            Err(AccusationError::Signature { accuser })
        }
    }

    /// What the accuser says.
    #[must_use]
    pub fn accusation(&self) -> &Accusation {
        &self.accusation
    }
}

impl fmt::Debug for SignedAccusation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accusation { accuser, accused, incarnation, counter, cause, electorate, .. } = &self.accusation;
        write!(
            f,
            "SignedAccusation({accuser} of {electorate}: {accused} {incarnation}/{counter} is {cause:?})"
        )
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

fn check(accusation: &Accusation, payload: &[u8], signature: &[u8]) -> Result<(), AccusationError> {
    if payload.len() > ACCUSATION_MAX_BYTES {
        return Err(AccusationError::Oversized { what: "encoded size" });
    }
    if signature.len() > SIGNATURE_MAX_BYTES {
        return Err(AccusationError::Oversized { what: "signature" });
    }
    if usize::from(accusation.electorate) > MEMBERS_MAX {
        return Err(AccusationError::Oversized { what: "electorate" });
    }
    if accusation.accuser == accusation.accused {
        return Err(AccusationError::Oneself { peer: accusation.accused });
    }
    if accusation.cause == Cause::Gone && accusation.electorate == 0 {
        return Err(AccusationError::NoWitness { accuser: accusation.accuser });
    }
    Ok(())
}

impl TryFrom<SignedRepr> for SignedAccusation {
    type Error = AccusationError;

    fn try_from(repr: SignedRepr) -> Result<Self, AccusationError> {
        let SignedRepr { payload, signature } = repr;
        if payload.len() > ACCUSATION_MAX_BYTES {
            return Err(AccusationError::Oversized { what: "encoded size" });
        }
        let accusation: Accusation = codec::decode(&payload).map_err(AccusationError::Undecodable)?;
        check(&accusation, &payload, &signature)?;
        Ok(Self { accusation, payload, signature })
    }
}

impl From<SignedAccusation> for SignedRepr {
    fn from(signed: SignedAccusation) -> Self {
        Self { payload: signed.payload, signature: signed.signature }
    }
}
