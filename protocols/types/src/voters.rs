//! Voters: the owners of a partition, and whoever else still has custody of it.
//!
//! The two quorum rules here make every read quorum meet every write quorum at each moment of a
//! move, also while several moves overlap. They hold only among peers that see the same voters,
//! which is what [`VotersDigest`] is compared for.

use std::fmt;

use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cluster::{ClusterParams, RingId};
use crate::custody::Custody;
use crate::member::Incarnation;
use crate::position::Partition;

/// One voter of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voter {
    /// Who.
    pub peer: PeerId,
    /// In which life of its store.
    pub incarnation: Incarnation,
    /// Whether the placement gives it the partition.
    pub owner: bool,
    /// What it says that it has.
    pub custody: Custody,
}

/// The first 128 bits of a SHA-256 over the ring, the partition and its voters. Each request to
/// a replica carries it; a replica that sees other voters does not count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VotersDigest(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for VotersDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The voters of one partition as one peer sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voters {
    voters: Vec<Voter>,
    digest: VotersDigest,
}

/// What a strict read needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadNeed {
    /// How many answers.
    pub answers: usize,
    /// How many of them from full voters.
    pub full: usize,
}

impl Voters {
    /// The voters, owners first in preference order, each peer once.
    #[must_use]
    pub fn new(ring: RingId, partition: Partition, voters: Vec<Voter>) -> Self {
        let mut sorted: Vec<(Vec<u8>, &Voter)> = voters.iter().map(|v| (v.peer.to_bytes(), v)).collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut hash = Sha256::new();
        hash.update(ring.0);
        hash.update(partition.0.to_be_bytes());
        for (peer, voter) in sorted {
            hash.update(peer);
            hash.update(voter.incarnation.0.to_be_bytes());
            hash.update([u8::from(voter.owner), voter.custody as u8]);
        }
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self { voters, digest: VotersDigest(digest) }
    }

    /// The digest that requests carry.
    #[must_use]
    pub fn digest(&self) -> VotersDigest {
        self.digest
    }

    /// All voters, owners first in preference order.
    #[must_use]
    pub fn as_slice(&self) -> &[Voter] {
        &self.voters
    }

    /// How many voters there are: m.
    #[must_use]
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether nobody votes: no member is placed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// The voter `peer`, if it is one.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Voter> {
        self.voters.iter().find(|v| v.peer == *peer)
    }

    /// How many voters are full.
    #[must_use]
    pub fn full(&self) -> usize {
        self.voters.iter().filter(|v| v.custody == Custody::Full).count()
    }

    /// Acks that a strict write with quorum `w` needs, one of them from a full voter:
    /// max(min(W, m), m − (N − W)), and never none.
    ///
    /// `None` is the cluster's W, capped by m; a number asked for by a request is not capped, so
    /// that what cannot be kept is refused. A larger one than the cluster's leaves fewer voters
    /// out, so that a read with the smaller R that it allows still meets it; a smaller one is
    /// best effort while data moves.
    #[must_use]
    pub fn write_need(&self, params: &ClusterParams, w: Option<usize>) -> usize {
        let m = self.len();
        let left_out = |w| params.replicas().saturating_sub(w);
        let need = match w {
            None => params.write_quorum().min(m).max(m.saturating_sub(left_out(params.write_quorum()))),
            Some(w) if w < params.write_quorum() => w,
            Some(w) => w.max(m.saturating_sub(left_out(w))),
        };
        need.max(1)
    }

    /// What a strict read with quorum `r` needs: min(R, m) full voters, or, where there are
    /// fewer full ones, all voters and at least one full. Never none: nobody's silence is no
    /// answer. As for a write, a number asked for by a request is not capped by m.
    #[must_use]
    pub fn read_need(&self, params: &ClusterParams, r: Option<usize>) -> ReadNeed {
        let (m, full) = (self.len(), self.full());
        let r = r.unwrap_or_else(|| params.read_quorum().min(m)).max(1);
        if full >= r {
            ReadNeed { answers: r, full: r }
        } else {
            ReadNeed { answers: m.max(r), full: full.max(1) }
        }
    }

    /// From how many others a voter must have everything before it is full itself: a strict
    /// read of the whole partition with R = N − W + 1.
    #[must_use]
    pub fn acquire_need(&self, params: &ClusterParams, me: &PeerId) -> ReadNeed {
        let others = || self.voters.iter().filter(|v| v.peer != *me);
        let full = others().filter(|v| v.custody == Custody::Full).count();
        let need = params.replicas() - params.write_quorum() + 1;
        if full >= need {
            ReadNeed { answers: need, full: need }
        } else {
            ReadNeed { answers: others().count(), full }
        }
    }
}
