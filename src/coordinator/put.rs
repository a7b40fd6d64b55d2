//! One replication attempt of a put: the merged record goes to all voters, W durable acks decide, and
//! for each voter that is away a stand-in keeps a hint (Dynamo §4.6).

use std::collections::BTreeMap;

use henge_quorum::{Tally, Verdict};
use henge_types::{PeerId, Voters, VotersDigest};

/// One attempt to replicate a record under one set of voters. A value: no clock, no network.
///
/// Each voter that is lost or late is absent: the next healthy peer of the walk keeps a hint for it,
/// and its ack counts as the voter's would if the write is *sloppy*. In a *strict* write only voters
/// count, and hints are kept all the same.
#[derive(Debug)]
pub struct Replication {
    tally: Tally,
    voters: VotersDigest,
    needed: usize,
    sloppy: bool,
    absent: BTreeMap<PeerId, Vec<Hint>>,
    stale: bool,
}

/// Who keeps a hint for an absent voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hint {
    keeper: Keeper,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    /// Asked, and replaced as it took too long. It may keep the hint all the same.
    Late,
    Kept,
    Failed,
}

/// Who keeps a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// This peer stands in: it counts as the voter does.
    Peer(PeerId),
    /// The coordinator, as nobody else is left. It counts already, or never.
    Coordinator,
}

/// Have `keeper` keep a hint for `primary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The absent voter.
    pub primary: PeerId,
    /// Who keeps it.
    pub keeper: Keeper,
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
        /// How many of them stand in for a voter.
        hinted: usize,
    },
    /// Too few can acknowledge under these voters.
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
    pub fn start(voters: &Voters, acks: usize, sloppy: bool) -> Self {
        Self {
            tally: Tally::write(voters, acks),
            voters: voters.digest(),
            needed: acks,
            sloppy,
            absent: BTreeMap::new(),
            stale: false,
        }
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

    /// The voter `peer` sees other voters.
    pub fn on_stale(&mut self, peer: &PeerId) {
        self.stale = true;
        self.tally.add(peer, false);
    }

    /// The voter `peer` will never take this record: no hint helps.
    pub fn on_refused(&mut self, peer: &PeerId) {
        self.tally.add(peer, false);
    }

    /// The voter `peer` failed. Says who is to keep a hint for it, the first of `fallbacks` that
    /// keeps none yet.
    pub fn on_lost(&mut self, peer: PeerId, fallbacks: &[PeerId]) -> Option<Keep> {
        self.tally.add(&peer, false);
        self.on_absent(peer, fallbacks)
    }

    /// The voter `peer` does not answer in time; its ack still counts if it comes.
    pub fn on_absent(&mut self, peer: PeerId, fallbacks: &[PeerId]) -> Option<Keep> {
        if self.absent.contains_key(&peer) {
            return None;
        }
        Some(self.keep(peer, fallbacks))
    }

    /// The coordinator itself stands in for `primary`.
    pub fn stands_in(&mut self, coordinator: PeerId, primary: PeerId) {
        let hint = Hint { keeper: Keeper::Peer(coordinator), state: State::Asked };
        self.absent.entry(primary).or_default().push(hint);
    }

    /// The voters that neither answered nor are absent already.
    #[must_use]
    pub fn awaited(&self) -> Vec<PeerId> {
        self.tally.waiting().filter(|p| !self.absent.contains_key(p)).collect()
    }

    /// Nobody is waited for any longer but the coordinator: whoever was asked and has not answered, voters and
    /// keepers alike, is done without. Their answers still count if they come.
    pub fn on_late(&mut self, coordinator: PeerId, fallbacks: &[PeerId]) -> Vec<Keep> {
        let slow: Vec<(PeerId, PeerId)> = self
            .absent
            .iter()
            .flat_map(|(primary, hints)| hints.iter().map(|h| (*primary, *h)))
            .filter(|(_, hint)| hint.state == State::Asked)
            .filter_map(|(primary, hint)| match hint.keeper {
                Keeper::Peer(keeper) if keeper != coordinator => Some((primary, keeper)),
                Keeper::Peer(_) | Keeper::Coordinator => None,
            })
            .collect();
        let voters = self.awaited().into_iter().filter(|p| *p != coordinator);
        let mut keeps: Vec<Keep> = voters.filter_map(|p| self.on_absent(p, fallbacks)).collect();
        keeps.extend(
            slow.into_iter().filter_map(|(p, keeper)| self.replace(p, &keeper, State::Late, fallbacks)),
        );
        keeps
    }

    /// `keeper` keeps the hint for `primary` durably.
    pub fn on_kept(&mut self, primary: &PeerId, keeper: &PeerId) {
        let theirs = |h: &&mut Hint| h.keeper == Keeper::Peer(*keeper);
        if let Some(hint) = self.absent.get_mut(primary).and_then(|hints| hints.iter_mut().find(theirs)) {
            hint.state = State::Kept;
        }
    }

    /// `keeper` cannot keep it. Says who is to try next.
    pub fn on_not_kept(&mut self, primary: PeerId, keeper: &PeerId, fallbacks: &[PeerId]) -> Option<Keep> {
        self.replace(primary, keeper, State::Failed, fallbacks)
    }

    // Another one keeps the hint, unless `keeper` was replaced before.
    fn replace(
        &mut self,
        primary: PeerId,
        keeper: &PeerId,
        state: State,
        fallbacks: &[PeerId],
    ) -> Option<Keep> {
        let theirs = |h: &&mut Hint| h.keeper == Keeper::Peer(*keeper);
        let hint = self.absent.get_mut(&primary).and_then(|hints| hints.iter_mut().find(theirs))?;
        let before = std::mem::replace(&mut hint.state, state);
        (before == State::Asked).then(|| self.keep(primary, fallbacks))
    }

    fn keep(&mut self, primary: PeerId, fallbacks: &[PeerId]) -> Keep {
        let busy = |p: &PeerId| self.hints().any(|h| h.keeper == Keeper::Peer(*p));
        let free = fallbacks.iter().find(|p| !busy(p)).copied();
        let keeper = free.map_or(Keeper::Coordinator, Keeper::Peer);
        let state = if keeper == Keeper::Coordinator { State::Failed } else { State::Asked };
        self.absent.entry(primary).or_default().push(Hint { keeper, state });
        Keep { primary, keeper }
    }

    fn hints(&self) -> impl Iterator<Item = &Hint> {
        self.absent.values().flatten()
    }

    // Voters that acknowledge late count as themselves, and not once more through their stand-in.
    fn hinted(&self) -> usize {
        let stood_in = |(primary, hints): (&PeerId, &Vec<Hint>)| {
            !self.tally.counts(primary) && hints.iter().any(|h| h.state == State::Kept)
        };
        self.absent.iter().filter(|entry| stood_in(*entry)).count()
    }

    /// How many acks are needed and how many came.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let hinted = if self.sloppy { self.hinted() } else { 0 };
        (self.tally.needed(), self.tally.got() + hinted)
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let (needed, got) = self.count();
        let verdict = self.tally.verdict();
        let hinted = got - self.tally.got();
        if verdict == Verdict::Met || (hinted > 0 && got >= self.needed) {
            return Outcome::Done { acks: got, hinted };
        }
        let failed = matches!(verdict, Verdict::Failed { .. });
        if failed && self.stale {
            return Outcome::Failed { needed, got, stale: true };
        }
        // The others were sent the record too: hear them out, so that the reply tells how many
        // have it.
        let asked = self.sloppy && self.hints().any(|h| matches!(h.state, State::Asked | State::Late));
        if failed && !asked && self.tally.waiting().next().is_none() {
            return Outcome::Failed { needed, got, stale: false };
        }
        Outcome::Pending
    }
}

#[cfg(test)]
mod tests;
