//! The quorum tally: who answered, and whether that is enough.

use henge_types::voters::ReadNeed;
use henge_types::{Custody, PeerId, Voters};

/// Counts the answers of one attempt under one set of voters. A value: no clock, no network.
///
/// Call [`Tally::add`] once for each voter that answered or failed; [`Tally::verdict`] tells at
/// any time. Further answers of the same voter, and answers of strangers, change nothing; a verdict
/// other than `Pending` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    ballots: Vec<Ballot>,
    answers: usize,
    full: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ballot {
    peer: PeerId,
    full: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Counted,
    Lost,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Neither met nor lost yet.
    Pending,
    /// Enough voters answered.
    Met,
    /// Too many voters are lost to this attempt.
    Failed {
        /// How many answers are needed: always more than came.
        needed: usize,
        /// How many came.
        got: usize,
    },
}

impl Tally {
    /// A write by `voters` that needs `acks` of them, one from a full voter.
    #[must_use]
    pub fn write(voters: &Voters, acks: usize) -> Self {
        Self::new(voters, ReadNeed { answers: acks, full: 1 })
    }

    /// A read by `voters` that needs this of them.
    #[must_use]
    pub fn read(voters: &Voters, need: ReadNeed) -> Self {
        Self::new(voters, need)
    }

    fn new(voters: &Voters, need: ReadNeed) -> Self {
        let ballot = |v: &henge_types::Voter| Ballot {
            peer: v.peer,
            full: v.custody == Custody::Full,
            state: State::Waiting,
        };
        Self {
            ballots: voters.as_slice().iter().map(ballot).collect(),
            answers: need.answers,
            full: need.full,
        }
    }

    /// Notes that `peer` answered under the same voters (`counts`), or that it did not and is lost
    /// to this attempt: failed, stale, refused.
    pub fn add(&mut self, peer: &PeerId, counts: bool) {
        let waiting = self.ballots.iter_mut().find(|b| b.peer == *peer && b.state == State::Waiting);
        if let Some(ballot) = waiting {
            ballot.state = if counts { State::Counted } else { State::Lost };
        }
    }

    /// Whether the quorum is met, or can no longer be.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let got = self.count(State::Counted, false);
        let full = self.count(State::Counted, true);
        if got >= self.answers && full >= self.full {
            return Verdict::Met;
        }
        let possible = got + self.count(State::Waiting, false);
        let possible_full = full + self.count(State::Waiting, true);
        if possible < self.answers || possible_full < self.full {
            return Verdict::Failed { needed: self.needed(), got };
        }
        Verdict::Pending
    }

    /// How many answers count so far.
    #[must_use]
    pub fn got(&self) -> usize {
        self.count(State::Counted, false)
    }

    /// How many answers are needed. More than at first where those that came lack full voters:
    /// each of these is needed on top of what is there.
    #[must_use]
    pub fn needed(&self) -> usize {
        match self.missing().full {
            0 => self.answers,
            full => self.answers.max(self.got() + full),
        }
    }

    /// The voters that neither answered nor failed.
    pub fn waiting(&self) -> impl Iterator<Item = PeerId> {
        self.ballots.iter().filter(|b| b.state == State::Waiting).map(|b| b.peer)
    }

    /// Whether `peer` answered and counts.
    #[must_use]
    pub fn counts(&self, peer: &PeerId) -> bool {
        self.ballots.iter().any(|b| b.peer == *peer && b.state == State::Counted)
    }

    /// Whether `peer` is a full voter.
    #[must_use]
    pub fn is_full(&self, peer: &PeerId) -> bool {
        self.ballots.iter().any(|b| b.peer == *peer && b.full)
    }

    /// How many more answers are missing, at the least, and how many of them from full voters.
    #[must_use]
    pub fn missing(&self) -> ReadNeed {
        let full = self.full.saturating_sub(self.count(State::Counted, true));
        ReadNeed { answers: self.answers.saturating_sub(self.got()).max(full), full }
    }

    fn count(&self, state: State, only_full: bool) -> usize {
        self.ballots.iter().filter(|b| b.state == state && (b.full || !only_full)).count()
    }
}
