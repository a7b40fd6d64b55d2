//! What all peers of one ring agree on: its name, its id, its secret, its parameters.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{CLUSTER_NAME_MAX_BYTES, PARTITIONS_MAX, REPLICAS_MAX};
use crate::position::PartitionCount;

/// The name of a cluster: 1 to 64 of `a-z A-Z 0-9 . _ -`. It is part of every protocol name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks length and characters.
    ///
    /// # Errors
    /// [`ParamsError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, ParamsError> {
        let name = name.into();
        let fits = (1..=CLUSTER_NAME_MAX_BYTES).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            Ok(Self(name))
        } else {
            Err(ParamsError::Name { name })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self("henge".to_owned())
    }
}

impl TryFrom<String> for ClusterName {
    type Error = ParamsError;

    fn try_from(name: String) -> Result<Self, ParamsError> {
        Self::new(name)
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The random id of one ring, made at its birth. Peers of another ring are refused by it,
/// whatever the cluster's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingId({self})")
    }
}

/// The key with which the members of a ring seal contexts, made at its birth. Members hand it to
/// members over encrypted connections; clients never see it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingSecret(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Debug for RingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingSecret(..)")
    }
}

/// What is fixed when a ring is born. Peers that disagree refuse each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ParamsRepr", into = "ParamsRepr")]
pub struct ClusterParams {
    partitions: PartitionCount,
    replicas: u8,
    read_quorum: u8,
    write_quorum: u8,
    tokens_per_weight: u16,
}

/// Why parameters make no ring.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The name does not fit.
    #[error("cluster name {name:?}: use 1 to {CLUSTER_NAME_MAX_BYTES} of a-z A-Z 0-9 . _ -")]
    Name {
        /// The name given.
        name: String,
    },
    /// Q is no power of two, or too large.
    #[error("{count} partitions: use a power of two from 1 to {PARTITIONS_MAX}")]
    Partitions {
        /// The number given.
        count: u32,
    },
    /// N is out of range.
    #[error("{replicas} replicas: use 1 to {REPLICAS_MAX}")]
    Replicas {
        /// The number given.
        replicas: u8,
    },
    /// R or W is out of range.
    #[error("a quorum of {quorum} with {replicas} replicas: use 1 to {replicas}")]
    Quorum {
        /// The quorum given.
        quorum: u8,
        /// N.
        replicas: u8,
    },
    /// A peer needs tokens.
    #[error("{tokens} tokens per unit of weight: use 1 to 1024")]
    Tokens {
        /// The number given.
        tokens: u16,
    },
}

impl ClusterParams {
    /// N copies of every record, majority quorums, 2^14 partitions, 256 tokens per unit of weight.
    ///
    /// # Errors
    /// [`ParamsError::Replicas`] when `replicas` is 0 or over 16.
    pub fn new(replicas: u8) -> Result<Self, ParamsError> {
        let majority = replicas / 2 + 1;
        Self { replicas, read_quorum: majority, write_quorum: majority, ..Self::default() }.checked()
    }

    /// The same with Q partitions (default 2^14).
    ///
    /// # Errors
    /// [`ParamsError::Partitions`].
    pub fn with_partitions(self, count: u32) -> Result<Self, ParamsError> {
        Ok(Self { partitions: PartitionCount::new(count)?, ..self })
    }

    /// The same with other default quorums (default: majorities).
    ///
    /// # Errors
    /// [`ParamsError::Quorum`] unless both are 1 to N.
    pub fn with_quorums(self, read: u8, write: u8) -> Result<Self, ParamsError> {
        Self { read_quorum: read, write_quorum: write, ..self }.checked()
    }

    /// The same with another number of tokens per unit of weight (default 256).
    ///
    /// # Errors
    /// [`ParamsError::Tokens`] unless 1 to 1,024.
    pub fn with_tokens_per_weight(self, tokens: u16) -> Result<Self, ParamsError> {
        Self { tokens_per_weight: tokens, ..self }.checked()
    }

    fn checked(self) -> Result<Self, ParamsError> {
        let n = self.replicas;
        if n == 0 || n > REPLICAS_MAX {
            return Err(ParamsError::Replicas { replicas: n });
        }
        if let Some(quorum) = [self.read_quorum, self.write_quorum].into_iter().find(|q| *q == 0 || *q > n) {
            return Err(ParamsError::Quorum { quorum, replicas: n });
        }
        if self.tokens_per_weight == 0 || self.tokens_per_weight > 1024 {
            return Err(ParamsError::Tokens { tokens: self.tokens_per_weight });
        }
        Ok(self)
    }

    /// Q.
    #[must_use]
    pub fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    /// N, the owners of each partition.
    #[must_use]
    pub fn replicas(&self) -> usize {
        usize::from(self.replicas)
    }

    /// R where a request names none.
    #[must_use]
    pub fn read_quorum(&self) -> usize {
        usize::from(self.read_quorum)
    }

    /// W where a request names none; the rule of voters is built on it (N − W).
    #[must_use]
    pub fn write_quorum(&self) -> usize {
        usize::from(self.write_quorum)
    }

    /// Tokens that a peer holds for each unit of weight.
    #[must_use]
    pub fn tokens_per_weight(&self) -> u16 {
        self.tokens_per_weight
    }
}

impl Default for ClusterParams {
    /// N = 3, R = 2, W = 2 (Dynamo §6: the common configuration), Q = 2^14, 256 tokens.
    fn default() -> Self {
        Self {
            partitions: PartitionCount::default(),
            replicas: 3,
            read_quorum: 2,
            write_quorum: 2,
            tokens_per_weight: 256,
        }
    }
}

impl fmt::Display for ClusterParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "N={} R={} W={} Q={} T={}",
            self.replicas,
            self.read_quorum,
            self.write_quorum,
            self.partitions.get(),
            self.tokens_per_weight
        )
    }
}

#[derive(Serialize, Deserialize)]
struct ParamsRepr {
    partitions: u32,
    replicas: u8,
    read_quorum: u8,
    write_quorum: u8,
    tokens_per_weight: u16,
}

impl TryFrom<ParamsRepr> for ClusterParams {
    type Error = ParamsError;

    fn try_from(repr: ParamsRepr) -> Result<Self, ParamsError> {
        Self::new(repr.replicas)?
            .with_partitions(repr.partitions)?
            .with_quorums(repr.read_quorum, repr.write_quorum)?
            .with_tokens_per_weight(repr.tokens_per_weight)
    }
}

impl From<ClusterParams> for ParamsRepr {
    fn from(params: ClusterParams) -> Self {
        Self {
            partitions: params.partitions.get(),
            replicas: params.replicas,
            read_quorum: params.read_quorum,
            write_quorum: params.write_quorum,
            tokens_per_weight: params.tokens_per_weight,
        }
    }
}
