//! Acquiring and giving up partitions: ownership and custody are two things (Dynamo §4.9).
//!
//! Acquiring is a strict read of a whole partition: an owner with part custody compares it with other
//! voters, N − W + 1 full ones, or all where there are fewer, all under one and the same digest of
//! voters that includes itself. What they hold it pulls from each of them, still under that digest; then
//! it declares itself full.
//!
//! Giving up is a write of everything: a voter that is no owner waits until all owners are full, and looks
//! whether it holds anything at all. What it holds it pushes to every owner, first while it goes on taking
//! writes, and once more when it takes none; then it has custody of nothing.

use std::collections::{BTreeMap, BTreeSet};

use henge_sync::{Answer, ENTRIES_MAX, Outcome};
use henge_types::{ClusterParams, Custody, Partition, PeerId, Voters, VotersDigest};

/// Partitions in one session: a newcomer serves each as soon as it is full for it.
const SESSION_PARTITIONS: usize = 512;
/// Partitions that are closed at a time because they are pushed: they take no writes meanwhile.
const CLOSED_MAX: usize = 256;

/// What was learnt of one partition that is acquired, under one set of voters.
#[derive(Debug)]
struct Acquiring {
    voters: VotersDigest,
    heard: BTreeMap<PeerId, Heard>,
}

/// What a voter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Something that is not here yet.
    Occupied,
    /// Nothing that is not here.
    Covered,
}

/// How far the giving up of a partition is, under one set of voters.
#[derive(Debug)]
struct Giving {
    voters: VotersDigest,
    stage: Stage,
    /// The owners that have everything, as of this stage.
    pushed: BTreeSet<PeerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It may hold nothing: close it and look.
    Look,
    /// It holds records, and takes writes.
    Open,
    /// It takes none.
    Closed,
}

/// Moves under way. Bounded by the number of partitions and voters.
#[derive(Debug, Default)]
pub struct Rebalance {
    acquiring: BTreeMap<Partition, Acquiring>,
    giving: BTreeMap<Partition, Giving>,
    // One comparison at a time with each voter.
    asked: BTreeMap<PeerId, Entries>,
}

/// Partitions, each with the digest of its voters as this peer sees them.
pub type Entries = Vec<(Partition, VotersDigest)>;

/// What to do about custody, as far as is known now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Owned, and nothing of it: declare part.
    pub part: Vec<Partition>,
    /// Everything of it is here: declare full.
    pub full: Vec<Partition>,
    /// Take no writes any more for these, and look what they hold.
    pub close: Vec<Partition>,
    /// Take writes again for these: their owners are not full any more, or it owns them itself.
    pub reopen: Vec<Partition>,
    /// All owners have everything, and no write is taken: nothing is had of these any more.
    pub none: Vec<Partition>,
    /// Ask these voters whether they hold anything.
    pub compare: BTreeMap<PeerId, Entries>,
    /// Pull from these voters.
    pub pull: BTreeMap<PeerId, Entries>,
    /// Push to these owners what takes writes.
    pub push_open: BTreeMap<PeerId, Entries>,
    /// Push to these owners what takes none.
    pub push_closed: BTreeMap<PeerId, Entries>,
}

/// What a plan is made for.
#[derive(Debug)]
pub struct Around<'a> {
    /// Who plans.
    pub me: PeerId,
    /// Of the ring.
    pub params: &'a ClusterParams,
    /// Partitions that take no writes.
    pub closing: &'a BTreeSet<Partition>,
    /// Partitions without custody in which something is left, that must go first.
    pub leftovers: &'a BTreeSet<Partition>,
    /// Partitions that are being pulled from somebody.
    pub pulled: &'a BTreeSet<Partition>,
}

impl Rebalance {
    /// What to do about each of `partitions` with their voters. `reachable` tells whom it makes sense
    /// to ask.
    pub fn plan(
        &mut self,
        around: &Around<'_>,
        partitions: impl Iterator<Item = (Partition, std::sync::Arc<Voters>)>,
        reachable: impl Fn(&PeerId) -> bool,
    ) -> Plan {
        let mut plan = Plan::default();
        for (partition, voters) in partitions {
            let own = voters.get(&around.me).map(|v| (v.owner, v.custody));
            if own.is_none_or(|own| own != (true, Custody::Part)) {
                self.acquiring.remove(&partition);
            }
            match own {
                Some((true, Custody::None)) if !around.leftovers.contains(&partition) => {
                    plan.part.push(partition);
                }
                Some((true, Custody::Part)) => {
                    self.plan_acquiring(around, partition, &voters, &reachable, &mut plan);
                }
                Some((false, Custody::Part | Custody::Full)) if owners_are_full(&voters) => {
                    self.plan_giving(around, partition, &voters, &reachable, &mut plan);
                    continue;
                }
                Some((true, Custody::None | Custody::Full) | (false, _)) | None => {}
            }
            self.giving.remove(&partition);
            if around.closing.contains(&partition) {
                plan.reopen.push(partition);
            }
        }
        plan.compare.retain(|peer, _| !self.asked.contains_key(peer));
        for (peer, entries) in &mut plan.compare {
            entries.truncate(ENTRIES_MAX);
            self.asked.insert(*peer, entries.clone());
        }
        self.limit_closing(around, &mut plan.close);
        plan
    }

    // Those that may be empty are closed all at once; those that must be pushed a few at a time.
    fn limit_closing(&self, around: &Around<'_>, close: &mut Vec<Partition>) {
        let looks = |p: &Partition| self.giving.get(p).is_some_and(|g| g.stage == Stage::Look);
        if close.iter().any(looks) {
            close.retain(looks);
        } else {
            close.truncate(CLOSED_MAX.saturating_sub(around.closing.len()));
        }
    }

    fn plan_acquiring(
        &mut self,
        around: &Around<'_>,
        partition: Partition,
        voters: &Voters,
        reachable: &impl Fn(&PeerId) -> bool,
        plan: &mut Plan,
    ) {
        let digest = voters.digest();
        let anew = || Acquiring { voters: digest, heard: BTreeMap::new() };
        let acquiring = self.acquiring.entry(partition).or_insert_with(anew);
        if acquiring.voters != digest {
            *acquiring = anew();
        }
        let need = voters.acquire_need(around.params, &around.me);
        let all = need.full < around.params.replicas() - around.params.write_quorum() + 1;
        let asked: Vec<&henge_types::Voter> = voters
            .as_slice()
            .iter()
            .filter(|v| v.peer != around.me && (all || v.custody == Custody::Full))
            .collect();
        let covered = |v: &&&henge_types::Voter| acquiring.heard.get(&v.peer) == Some(&Heard::Covered);
        let answers = asked.iter().filter(covered).count();
        let full = asked.iter().filter(covered).filter(|v| v.custody == Custody::Full).count();
        if answers >= need.answers && full >= need.full {
            plan.full.push(partition);
            return;
        }
        let want = need.answers.saturating_sub(answers);
        // From one after the other: two at once would bring the same records.
        let mut pulls = around.pulled.contains(&partition);
        for voter in asked.iter().filter(|v| !covered(v) && reachable(&v.peer)).take(want) {
            let to = match acquiring.heard.get(&voter.peer) {
                None => &mut plan.compare,
                Some(_) if std::mem::replace(&mut pulls, true) => continue,
                Some(_) => &mut plan.pull,
            };
            to.entry(voter.peer).or_default().push((partition, digest));
        }
    }

    fn plan_giving(
        &mut self,
        around: &Around<'_>,
        partition: Partition,
        voters: &Voters,
        reachable: &impl Fn(&PeerId) -> bool,
        plan: &mut Plan,
    ) {
        let digest = voters.digest();
        let anew = || Giving { voters: digest, stage: Stage::Look, pushed: BTreeSet::new() };
        let giving = self.giving.entry(partition).or_insert_with(anew);
        if giving.voters != digest {
            giving.voters = digest;
            giving.pushed.clear();
        }
        let closing = around.closing.contains(&partition);
        let owners = || voters.as_slice().iter().filter(|v| v.owner).map(|v| v.peer);
        let all_have_it = owners().all(|owner| giving.pushed.contains(&owner));
        // One that is closed acknowledges nothing, and a strict write can do without one voter only.
        let others = voters.as_slice().iter().filter(|v| !v.owner && v.peer != around.me);
        let my_turn = others.filter(|v| reachable(&v.peer)).all(|v| v.peer > around.me);
        match giving.stage {
            Stage::Look if closing => {}
            Stage::Look => plan.close.push(partition),
            Stage::Open if all_have_it && !my_turn => {}
            Stage::Open if all_have_it => plan.close.push(partition),
            Stage::Closed if all_have_it => plan.none.push(partition),
            Stage::Open | Stage::Closed => {
                let to =
                    if giving.stage == Stage::Open { &mut plan.push_open } else { &mut plan.push_closed };
                let missing = owners().filter(|owner| !giving.pushed.contains(owner) && reachable(owner));
                for owner in missing {
                    to.entry(owner).or_default().push((partition, digest));
                }
            }
        }
    }

    /// `peer` told what it holds, or did not (`None`).
    pub fn on_compared(&mut self, peer: &PeerId, answers: Option<Vec<Answer>>) {
        let Some(entries) = self.asked.remove(peer) else { return };
        for ((partition, voters), answer) in entries.into_iter().zip(answers.into_iter().flatten()) {
            let heard = match answer {
                Answer::Stale => continue,
                Answer::Empty => Heard::Covered,
                Answer::Occupied => Heard::Occupied,
            };
            self.hear(partition, voters, *peer, heard);
        }
    }

    /// A session in which was pulled from `peer` is over.
    pub fn on_pulled(&mut self, peer: PeerId, entries: &Entries, outcomes: &BTreeMap<Partition, Outcome>) {
        for (partition, voters) in entries {
            if has_all(outcomes.get(partition)) {
                self.hear(*partition, *voters, peer, Heard::Covered);
            }
        }
    }

    fn hear(&mut self, partition: Partition, voters: VotersDigest, peer: PeerId, heard: Heard) {
        if let Some(acquiring) = self.acquiring.get_mut(&partition).filter(|a| a.voters == voters) {
            acquiring.heard.insert(peer, heard);
        }
    }

    /// A session in which was pushed to the owner `peer` is over; `closed` when the partitions took no
    /// writes in all that time. Those of them that could not be pushed are to take writes again: they are
    /// returned.
    pub fn on_pushed(
        &mut self,
        peer: PeerId,
        entries: &Entries,
        outcomes: &BTreeMap<Partition, Outcome>,
        closed: bool,
    ) -> Vec<Partition> {
        let mut reopened = Vec::new();
        for (partition, voters) in entries {
            let Some(giving) = self.giving.get_mut(partition) else { continue };
            // What was pushed before it was closed does not tell of what came in between.
            if (giving.stage == Stage::Closed) != closed {
                continue;
            }
            if giving.voters == *voters && has_all(outcomes.get(partition)) {
                giving.pushed.insert(peer);
            } else if closed {
                giving.stage = Stage::Open;
                giving.pushed.clear();
                reopened.push(*partition);
            }
        }
        reopened
    }

    /// `partition` takes no writes any more, and holds records. Says whether it is to be pushed as it is; else it
    /// is to take writes again until its owners have most of it.
    pub fn on_occupied(&mut self, partition: Partition) -> bool {
        let Some(giving) = self.giving.get_mut(&partition) else { return false };
        giving.pushed.clear();
        match giving.stage {
            Stage::Look => {
                giving.stage = Stage::Open;
                false
            }
            Stage::Open | Stage::Closed => {
                giving.stage = Stage::Closed;
                true
            }
        }
    }

    /// Whether answers are awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// How many partitions are being acquired, and how many given up.
    #[must_use]
    pub fn under_way(&self) -> (usize, usize) {
        (self.acquiring.len(), self.giving.len())
    }
}

/// The next of what waits for one peer.
#[must_use]
pub fn slice(entries: &Entries) -> Entries {
    entries.iter().take(SESSION_PARTITIONS).copied().collect()
}

fn has_all(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Outcome::InSync | Outcome::Moved { .. }))
}

fn owners_are_full(voters: &Voters) -> bool {
    // Where nobody is placed, nobody could take it over.
    let mut owners = voters.as_slice().iter().filter(|v| v.owner).peekable();
    owners.peek().is_some() && owners.all(|v| v.custody == Custody::Full)
}

#[cfg(test)]
mod tests;
