//! One replication attempt of a put: the merged record goes to all voters, W durable acks decide.

use henge_quorum::{Tally, Verdict};
use henge_types::{PeerId, Voters, VotersDigest};

/// One attempt to replicate a record under one set of voters. A value: no clock, no network.
#[derive(Debug)]
pub struct Replication {
    tally: Tally,
    voters: VotersDigest,
    stale: bool,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acks are missing.
    Pending,
    /// The write is acknowledged.
    Done {
        /// By how many.
        acks: usize,
    },
    /// Too few voters can acknowledge under these voters.
    Failed {
        /// How many acks were needed.
        needed: usize,
        /// How many came.
        got: usize,
        /// Whether some voter sees other voters, so that a new attempt may do better.
        stale: bool,
    },
}

impl Replication {
    /// To `voters`, of which `acks` must acknowledge. The caller sends to all of them.
    #[must_use]
    pub fn start(voters: &Voters, acks: usize) -> Self {
        Self { tally: Tally::write(voters, acks), voters: voters.digest(), stale: false }
    }

    /// The voters that this attempt goes by.
    #[must_use]
    pub fn voters(&self) -> VotersDigest {
        self.voters
    }

    /// `peer` has it durably, and sees the same voters.
    pub fn on_ack(&mut self, peer: &PeerId) {
        self.tally.add(peer, true);
    }

    /// `peer` failed, or sees other voters (`stale`).
    pub fn on_lost(&mut self, peer: &PeerId, stale: bool) {
        self.stale |= stale;
        self.tally.add(peer, false);
    }

    /// How many acks are needed and how many came.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.tally.needed(), self.tally.got())
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.tally.verdict() {
            Verdict::Pending => Outcome::Pending,
            Verdict::Met => Outcome::Done { acks: self.tally.got() },
            // The others were sent the record too: hear them out, so that the reply tells how many
            // have it; unless another attempt is due anyway.
            Verdict::Failed { .. } if !self.stale && self.tally.waiting().next().is_some() => {
                Outcome::Pending
            }
            Verdict::Failed { needed, got } => Outcome::Failed { needed, got, stale: self.stale },
        }
    }
}
