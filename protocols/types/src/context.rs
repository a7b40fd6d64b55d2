//! Contexts: the opaque causality token that a get returns and a put or delete takes.
//!
//! A token carries the clock that its reader saw, sealed by the members of the ring for one
//! key. A forged clock could claim writes that nobody made yet and swallow them when they come,
//! so the seal (HMAC-SHA-256, 128 bits, RFC 2104) is checked before a clock is believed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use crate::clock::Clock;
use crate::cluster::{RingId, RingSecret};
use crate::codec;
use crate::key::Key;
use crate::limits::CONTEXT_MAX_BYTES;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;

/// An opaque causality token. Prints as URL-safe base64.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Context(Bytes);

/// Why a token is refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Not a token at all, or cut.
    #[error("the context is no token that henge printed (cut, or mistyped?): get the key again")]
    Malformed,
    /// Written by another version.
    #[error("the context has format version {found}, this peer reads {VERSION}: get the key again")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Sealed in another ring.
    #[error("the context comes from another ring: get the key from this one")]
    OtherRing,
    /// Given out for another key.
    #[error("the context belongs to another key: use the one that a get of this key returned")]
    OtherKey,
    /// The seal does not fit.
    #[error("the context was not given out by this ring: get the key again")]
    Forged,
}

#[derive(Serialize, Deserialize)]
struct Body {
    ring: RingId,
    position: u64,
    clock: Clock,
}

impl Context {
    /// Seals `clock` as the context of `key` in `ring`.
    #[must_use]
    pub fn seal(ring: RingId, secret: &RingSecret, key: &Key, clock: &Clock) -> Self {
        let body = Body { ring, position: key.position().0, clock: clock.clone() };
        let mut bytes = vec![VERSION];
        // Encoding a clock into memory cannot fail; an empty body would open as `Malformed`.
        bytes.extend(codec::encode(&body).unwrap_or_default());
        let seal = mac(secret, key, &bytes).finalize().into_bytes();
        bytes.extend(seal.iter().take(SEAL_BYTES));
        Self(bytes.into())
    }

    /// The clock inside, if this ring sealed the token for `key`.
    ///
    /// # Errors
    /// [`ContextError`], which says what is wrong with it.
    pub fn open(&self, ring: RingId, secret: &RingSecret, key: &Key) -> Result<Clock, ContextError> {
        let cut = self.0.len().checked_sub(SEAL_BYTES).ok_or(ContextError::Malformed)?;
        let (sealed, seal) = self.0.split_at_checked(cut).ok_or(ContextError::Malformed)?;
        let (version, body) = sealed.split_first().ok_or(ContextError::Malformed)?;
        if *version != VERSION {
            return Err(ContextError::Version { found: *version });
        }
        let body: Body = codec::decode(body).map_err(|_| ContextError::Malformed)?;
        if body.ring != ring {
            return Err(ContextError::OtherRing);
        }
        if body.position != key.position().0 {
            return Err(ContextError::OtherKey);
        }
        mac(secret, key, sealed).verify_truncated_left(seal).map_err(|_| ContextError::Forged)?;
        Ok(body.clock)
    }

    /// The clock inside, as far as it can be read; its seal is not looked at. For whoever got the token from a
    /// peer that it trusts and wants to know what the get saw. A peer goes by [`Context::open`] alone.
    #[must_use]
    pub fn unsealed_clock(&self) -> Option<Clock> {
        let (_, body) = self.0.get(..self.0.len().checked_sub(SEAL_BYTES)?)?.split_first()?;
        codec::decode::<Body>(body).ok().map(|body| body.clock)
    }

    /// The raw bytes of the token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn mac(secret: &RingSecret, key: &Key, sealed: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros to the hash's block (RFC 2104 §2).
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(secret.0) {
        *to = from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(key.as_bytes());
    mac.update(sealed);
    mac
}

impl FromStr for Context {
    type Err = ContextError;

    fn from_str(token: &str) -> Result<Self, ContextError> {
        let token = token.trim();
        if token.len() > CONTEXT_MAX_BYTES.div_ceil(3) * 4 {
            return Err(ContextError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| ContextError::Malformed)?;
        if bytes.len() <= SEAL_BYTES || bytes.len() > CONTEXT_MAX_BYTES {
            return Err(ContextError::Malformed);
        }
        Ok(Self(bytes.into()))
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({self})")
    }
}
