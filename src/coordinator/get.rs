//! One read attempt: R voters, one full record, digests from the rest (Dynamo §5), and stand-ins for
//! the voters that are away (§4.6).

use std::collections::{BTreeMap, BTreeSet};

use henge_quorum::{Tally, Verdict, Want};
use henge_types::voters::ReadNeed;
use henge_types::{Content, Custody, PeerId, Record, RecordDigest, Voters};

/// One attempt to read a key under one set of voters.
///
/// Send what [`Get::start`] and each `on_…` say, feed the answers back, and look at
/// [`Get::outcome`] after each. A value: no clock, no network.
///
/// A *strict* attempt hears voters only. A *sloppy* one asks, for each voter that is lost or late,
/// the next healthy peer of the walk whether it keeps a hint of the key: one that does counts as a
/// voter does. Where voters are away and everybody else who may know the key was heard, what they know is
/// the answer, also if they are fewer than R: with a voter gone, the peer beside it that never saw the key could
/// only add its silence.
#[derive(Debug)]
pub struct Get {
    tally: Tally,
    rule: Rule,
    // Not asked yet, best first, with whether they are full.
    candidates: Vec<(PeerId, bool)>,
    answers: BTreeMap<PeerId, Answer>,
    asked: BTreeMap<PeerId, Want>,
    // Voters that take too long: their answers still count, but nobody waits for them.
    late: BTreeSet<PeerId>,
    // Voters that are lost to this attempt.
    lost: usize,
    stand_ins: BTreeMap<PeerId, StandIn>,
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

/// When a read is content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// With enough voters.
    Strict,
    /// With enough voters and stand-ins; or with all that can be heard, a full voter among them.
    Sloppy,
    /// The same, whoever can be heard: a sloppy put follows, and what it does not see becomes a
    /// sibling.
    BeforePut,
}

#[derive(Debug)]
enum StandIn {
    Asked,
    /// Asked, and not waited for; what it says still counts.
    Late,
    Keeps(Record),
    KeepsNothing,
    Failed,
}

/// Ask this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A voter, for its record or its digest.
    Voter {
        /// Whom.
        peer: PeerId,
        /// For what.
        want: Want,
    },
    /// A stand-in, for the hint that it may keep.
    Hint {
        /// Whom.
        peer: PeerId,
    },
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answers are missing.
    Pending,
    /// Enough was heard.
    Done {
        /// What they have, merged.
        record: Record,
        /// The voters that answered and have less than that.
        behind: Vec<PeerId>,
        /// How many answers count.
        answers: usize,
        /// How many of them are of stand-ins.
        hinted: usize,
    },
    /// Too few can answer under these voters.
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
    /// Reads from `voters`, as many as `need` says, those first in `order` first; those in `late` are not
    /// waited for. Whoever is not in `order` cannot be reached and is lost to this attempt.
    /// `fallbacks` may stand in, the best first; none where the read is strict.
    #[must_use]
    pub fn start(
        voters: &Voters,
        need: ReadNeed,
        order: &[PeerId],
        late: BTreeSet<PeerId>,
        rule: Rule,
        fallbacks: &[PeerId],
    ) -> (Self, Vec<Ask>) {
        let mut tally = Tally::read(voters, need);
        let full = |peer: &PeerId| voters.get(peer).is_some_and(|v| v.custody == Custody::Full);
        let candidates: Vec<_> =
            order.iter().filter(|p| voters.get(p).is_some()).map(|p| (*p, full(p))).collect();
        let mut lost = 0;
        for voter in voters.as_slice() {
            if !order.contains(&voter.peer) {
                tally.add(&voter.peer, false);
                lost += 1;
            }
        }
        let mut get = Self {
            tally,
            rule,
            candidates,
            answers: BTreeMap::new(),
            asked: BTreeMap::new(),
            late,
            lost,
            stand_ins: BTreeMap::new(),
            stale: false,
            broken: false,
        };
        let asks = get.ask_missing(fallbacks);
        (get, asks)
    }

    /// `peer` answered under the same voters.
    pub fn on_answer(&mut self, peer: PeerId, answer: impl Into<Answer>) -> Vec<Ask> {
        if self.asked.contains_key(&peer) {
            self.answers.insert(peer, answer.into());
            self.tally.add(&peer, true);
            self.late.remove(&peer);
        }
        self.ask_for_records()
    }

    /// `peer` failed, or sees other voters (`stale`).
    pub fn on_lost(&mut self, peer: PeerId, stale: bool, fallbacks: &[PeerId]) -> Vec<Ask> {
        self.stale |= stale;
        // A voter whose digest counted and whose record cannot be had any more: what it knows is
        // missing, and with it this attempt.
        if self.answers.remove(&peer).is_some() {
            self.broken = true;
            return Vec::new();
        }
        if self.asked.remove(&peer).is_some() {
            self.tally.add(&peer, false);
            self.late.remove(&peer);
            self.lost += 1;
        }
        self.ask_missing(fallbacks)
    }

    /// A stand-in told what it keeps of the key, or failed.
    pub fn on_hint(
        &mut self,
        peer: PeerId,
        hint: Result<Option<Record>, ()>,
        fallbacks: &[PeerId],
    ) -> Vec<Ask> {
        let Some(stand_in) = self.stand_ins.get_mut(&peer) else { return Vec::new() };
        *stand_in = match hint {
            Ok(Some(record)) => StandIn::Keeps(record),
            Ok(None) => StandIn::KeepsNothing,
            Err(()) => StandIn::Failed,
        };
        self.ask_missing(fallbacks)
    }

    /// The answers take longer than usual: asks one more voter.
    pub fn on_hedge(&mut self) -> Vec<Ask> {
        if self.tally.verdict() != Verdict::Pending {
            return Vec::new();
        }
        self.next_candidate(false).into_iter().collect()
    }

    /// The answers take too long: asks others in the place of those that are waited for. Nobody waits for those in
    /// `late` either, if they are asked now.
    pub fn on_late(&mut self, late: BTreeSet<PeerId>, fallbacks: &[PeerId]) -> Vec<Ask> {
        let slow: Vec<PeerId> =
            self.tally.waiting().filter(|p| self.asked.contains_key(p) || late.contains(p)).collect();
        self.late.extend(slow);
        for stand_in in self.stand_ins.values_mut() {
            if matches!(stand_in, StandIn::Asked) {
                *stand_in = StandIn::Late;
            }
        }
        self.ask_missing(fallbacks)
    }

    /// How many answers are needed and how many came.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.tally.needed(), self.tally.got() + self.hints().count())
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let (needed, got) = self.count();
        if self.broken {
            return Outcome::Failed { needed, got, stale: true };
        }
        let verdict = self.tally.verdict();
        let failed = matches!(verdict, Verdict::Failed { .. });
        if self.stale && (failed || (verdict == Verdict::Pending && !self.is_awaited())) {
            return Outcome::Failed { needed, got, stale: true };
        }
        if self.is_heard() {
            return if self.without_record().next().is_some() { Outcome::Pending } else { self.merged() };
        }
        // Hear out those who were asked, so that the reply tells how many there are.
        let may_come = self.tally.waiting().any(|p| self.asked.contains_key(&p))
            || self.stand_ins.values().any(|s| matches!(s, StandIn::Late));
        let sloppy = self.rule != Rule::Strict;
        let all_of_them = if sloppy { !self.is_awaited() && !may_come } else { failed && !may_come };
        if all_of_them { Outcome::Failed { needed, got, stale: false } } else { Outcome::Pending }
    }

    // Whether enough was heard, whatever may still come.
    fn is_heard(&self) -> bool {
        if self.tally.verdict() == Verdict::Met {
            return true;
        }
        if self.rule == Rule::Strict || self.stale {
            return false;
        }
        let (needed, got) = self.count();
        // Where no full voter was heard, the absence of a value means nothing.
        let full = self.answers.keys().any(|p| self.tally.is_full(p));
        let value = self.hints().any(|r| r.siblings().iter().any(|s| s.content != Content::Tombstone));
        let enough = full || self.rule == Rule::BeforePut;
        // More answers than there are voters are never enough; fewer are where voters are away.
        let away = self.lost > 0 || !self.late.is_empty();
        (got >= needed && (enough || value)) || (enough && away && !self.is_awaited())
    }

    // Whether an answer is waited for that is not late.
    fn is_awaited(&self) -> bool {
        self.on_time().next().is_some() || self.stand_ins.values().any(|s| matches!(s, StandIn::Asked))
    }

    fn on_time(&self) -> impl Iterator<Item = PeerId> {
        self.tally.waiting().filter(|p| self.asked.contains_key(p) && !self.late.contains(p))
    }

    fn hints(&self) -> impl Iterator<Item = &Record> {
        self.stand_ins
            .values()
            .filter_map(|s| if let StandIn::Keeps(record) = s { Some(record) } else { None })
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
        for hint in self.hints() {
            record.merge(hint);
            digest = None;
        }
        let digest = digest.unwrap_or_else(|| record.digest());
        let behind = self.answers.iter().filter(|(_, a)| a.digest != digest).map(|(p, _)| *p).collect();
        let hinted = self.hints().count();
        Outcome::Done { record, behind, answers: self.answers.len() + hinted, hinted }
    }

    fn ask_missing(&mut self, fallbacks: &[PeerId]) -> Vec<Ask> {
        let mut asks = Vec::new();
        while let Some(only_full) = self.lacks() {
            match self.next_candidate(only_full) {
                Some(ask) => asks.push(ask),
                None => break,
            }
        }
        asks.extend(self.ask_stand_ins(fallbacks));
        asks.extend(self.ask_for_records());
        asks
    }

    // Whether voters must be asked beside those that are waited for, and whether full ones.
    fn lacks(&self) -> Option<bool> {
        let missing = self.tally.missing();
        let on_time = self.on_time().count();
        let full_on_time = self.on_time().filter(|p| self.tally.is_full(p)).count();
        let need_full = missing.full > full_on_time;
        (need_full || missing.answers > on_time).then_some(need_full)
    }

    // One for each voter that is away, and only where the others do not suffice.
    fn ask_stand_ins(&mut self, fallbacks: &[PeerId]) -> Vec<Ask> {
        let mut asks = Vec::new();
        if self.rule == Rule::Strict || self.lacks().is_none() {
            return asks;
        }
        let slow = self.tally.waiting().filter(|p| self.late.contains(p)).count();
        for peer in fallbacks {
            let idle = |s: &&StandIn| matches!(s, StandIn::Failed | StandIn::Late);
            let in_use = self.stand_ins.values().filter(|s| !idle(s)).count();
            if in_use >= self.lost + slow {
                break;
            }
            if !self.stand_ins.contains_key(peer) {
                self.stand_ins.insert(*peer, StandIn::Asked);
                asks.push(Ask::Hint { peer: *peer });
            }
        }
        asks
    }

    fn next_candidate(&mut self, only_full: bool) -> Option<Ask> {
        let at = self.candidates.iter().position(|(_, full)| *full || !only_full)?;
        let (peer, _) = self.candidates.remove(at);
        // One record is enough as long as the digests agree.
        let have = self.asked.iter().any(|(p, w)| *w == Want::Record && !self.late.contains(p));
        let want = if have { Want::Digest } else { Want::Record };
        self.asked.insert(peer, want);
        Some(Ask::Voter { peer, want })
    }

    // Once enough was heard, whoever has a digest that no record explains must send it.
    fn ask_for_records(&mut self) -> Vec<Ask> {
        if !self.is_heard() {
            return Vec::new();
        }
        let peers: Vec<PeerId> = self.without_record().collect();
        let mut asks = Vec::new();
        for peer in peers {
            if self.asked.get(&peer) == Some(&Want::Digest) {
                self.asked.insert(peer, Want::Record);
                asks.push(Ask::Voter { peer, want: Want::Record });
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

#[cfg(test)]
mod tests;
