//! One read attempt: R voters, one full record, digests from the rest (Dynamo §5).

use std::collections::BTreeMap;

use henge_quorum::{Tally, Verdict, Want};
use henge_types::voters::ReadNeed;
use henge_types::{Custody, PeerId, Record, RecordDigest, Voters};

/// One attempt to read a key under one set of voters.
///
/// Send what [`Get::start`], [`Get::on_answer`], [`Get::on_lost`] and [`Get::on_hedge`] say, feed
/// the answers back, and look at [`Get::outcome`] after each. A value: no clock, no network.
#[derive(Debug)]
pub struct Get {
    tally: Tally,
    // Not asked yet, best first, with whether they are full.
    candidates: Vec<(PeerId, bool)>,
    answers: BTreeMap<PeerId, Answer>,
    asked: BTreeMap<PeerId, Want>,
    stale: bool,
    // A record that counted cannot be had any more.
    broken: bool,
}

/// What one voter said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The digest of its record.
    pub digest: RecordDigest,
    /// The record, where it was asked for.
    pub record: Option<Record>,
}

impl From<Record> for Answer {
    fn from(record: Record) -> Self {
        Self { digest: record.digest(), record: Some(record) }
    }
}

impl From<RecordDigest> for Answer {
    fn from(digest: RecordDigest) -> Self {
        Self { digest, record: None }
    }
}

/// Ask this voter for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whom.
    pub peer: PeerId,
    /// For what.
    pub want: Want,
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answers are missing.
    Pending,
    /// Enough voters answered.
    Done {
        /// What they have, merged.
        record: Record,
        /// Those of them that have less than that.
        behind: Vec<PeerId>,
    },
    /// Too few voters can answer under these voters.
    Failed {
        /// How many answers were needed.
        needed: usize,
        /// How many came.
        got: usize,
        /// Whether some voter sees other voters, so that a new attempt may do better.
        stale: bool,
    },
}

impl Get {
    /// Reads from `voters`, as many as `need` says, those first in `order` first. Whoever is not in
    /// `order` cannot be reached and is lost to this attempt.
    #[must_use]
    pub fn start(voters: &Voters, need: ReadNeed, order: &[PeerId]) -> (Self, Vec<Ask>) {
        let mut tally = Tally::read(voters, need);
        let full = |peer: &PeerId| voters.get(peer).is_some_and(|v| v.custody == Custody::Full);
        let candidates: Vec<_> =
            order.iter().filter(|p| voters.get(p).is_some()).map(|p| (*p, full(p))).collect();
        for voter in voters.as_slice() {
            if !order.contains(&voter.peer) {
                tally.add(&voter.peer, false);
            }
        }
        let mut get = Self {
            tally,
            candidates,
            answers: BTreeMap::new(),
            asked: BTreeMap::new(),
            stale: false,
            broken: false,
        };
        let asks = get.ask_missing();
        (get, asks)
    }

    /// `peer` answered under the same voters.
    pub fn on_answer(&mut self, peer: PeerId, answer: impl Into<Answer>) -> Vec<Ask> {
        if self.asked.contains_key(&peer) {
            self.answers.insert(peer, answer.into());
            self.tally.add(&peer, true);
        }
        self.ask_for_records()
    }

    /// `peer` failed, or sees other voters (`stale`).
    pub fn on_lost(&mut self, peer: PeerId, stale: bool) -> Vec<Ask> {
        self.stale |= stale;
        // A voter whose digest counted and whose record cannot be had any more: what it knows is
        // missing, and with it this attempt.
        if self.answers.remove(&peer).is_some() {
            self.broken = true;
            return Vec::new();
        }
        self.asked.remove(&peer);
        self.tally.add(&peer, false);
        self.ask_missing()
    }

    /// The answers take longer than usual: asks one more voter.
    pub fn on_hedge(&mut self) -> Vec<Ask> {
        if self.tally.verdict() != Verdict::Pending {
            return Vec::new();
        }
        self.next_candidate(false).into_iter().collect()
    }

    /// How many answers are needed and how many came.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.tally.needed(), self.tally.got())
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.broken {
            let (needed, got) = (self.tally.needed(), self.answers.len());
            return Outcome::Failed { needed, got, stale: true };
        }
        match self.tally.verdict() {
            Verdict::Pending => Outcome::Pending,
            // Hear out those who were asked, so that the reply tells how many there are; unless
            // another attempt is due anyway.
            Verdict::Failed { .. } if !self.stale && self.awaits_answers() => Outcome::Pending,
            Verdict::Failed { needed, got } => Outcome::Failed { needed, got, stale: self.stale },
            Verdict::Met if self.without_record().next().is_some() => Outcome::Pending,
            Verdict::Met => self.merged(),
        }
    }

    fn awaits_answers(&self) -> bool {
        self.tally.waiting().any(|p| self.asked.contains_key(&p))
    }

    fn merged(&self) -> Outcome {
        let mut records = self.answers.values().filter_map(|a| a.record.as_ref().map(|r| (a.digest, r)));
        let (mut digest, first) = records.next().unzip();
        let mut record = first.cloned().unwrap_or_default();
        for (other, one) in records {
            if digest != Some(other) {
                record.merge(one);
                digest = None;
            }
        }
        let digest = digest.unwrap_or_else(|| record.digest());
        let behind = self.answers.iter().filter(|(_, a)| a.digest != digest).map(|(p, _)| *p).collect();
        Outcome::Done { record, behind }
    }

    fn ask_missing(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        loop {
            let missing = self.tally.missing();
            let under_way: Vec<PeerId> =
                self.tally.waiting().filter(|p| self.asked.contains_key(p)).collect();
            let full_under_way = under_way.iter().filter(|p| self.tally.is_full(p)).count();
            let need_full = missing.full > full_under_way;
            if !need_full && missing.answers <= under_way.len() {
                return asks;
            }
            match self.next_candidate(need_full) {
                Some(ask) => asks.push(ask),
                None => return asks,
            }
        }
    }

    fn next_candidate(&mut self, only_full: bool) -> Option<Ask> {
        let at = self.candidates.iter().position(|(_, full)| *full || !only_full)?;
        let (peer, _) = self.candidates.remove(at);
        // One record is enough as long as the digests agree.
        let have = self.asked.values().any(|w| *w == Want::Record);
        let want = if have { Want::Digest } else { Want::Record };
        self.asked.insert(peer, want);
        Some(Ask { peer, want })
    }

    // Once enough voters answered, whoever has a digest that no record explains must send it.
    fn ask_for_records(&mut self) -> Vec<Ask> {
        if self.tally.verdict() != Verdict::Met {
            return Vec::new();
        }
        let peers: Vec<PeerId> = self.without_record().collect();
        let mut asks = Vec::new();
        for peer in peers {
            if self.asked.get(&peer) == Some(&Want::Digest) {
                self.asked.insert(peer, Want::Record);
                asks.push(Ask { peer, want: Want::Record });
            }
        }
        asks
    }

    fn without_record(&self) -> impl Iterator<Item = PeerId> {
        let explained =
            |d: &RecordDigest| self.answers.values().any(|a| a.record.is_some() && a.digest == *d);
        self.answers.iter().filter(move |(_, a)| !explained(&a.digest)).map(|(peer, _)| *peer)
    }
}
