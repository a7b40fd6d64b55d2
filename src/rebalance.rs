//! Acquiring and giving up partitions (design: ownership and custody are two things).
//!
//! Acquiring is a strict read of a whole partition: an owner with part custody compares it with
//! other voters, N − W + 1 full ones, or all where there are fewer, all under one and the same
//! digest of voters that includes itself. Where they hold nothing there is nothing to move, and it
//! declares itself full at once. A voter that is no owner gives up what it holds no record of once
//! all owners are full.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use henge_sync::{Answer, ENTRIES_MAX};
use henge_types::{ClusterParams, Custody, Partition, PeerId, Voters, VotersDigest};

/// What was learnt of one partition under one set of voters.
#[derive(Debug)]
struct Attempt {
    voters: VotersDigest,
    answers: BTreeMap<PeerId, Answer>,
}

/// Acquisitions under way. Bounded by the number of partitions and voters.
#[derive(Debug, Default)]
pub struct Rebalance {
    attempts: BTreeMap<Partition, Attempt>,
    // One request at a time to each voter.
    asked: BTreeMap<PeerId, Vec<(Partition, VotersDigest)>>,
}

/// What to do about custody, as far as is known now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Owned, and nothing of it: declare part.
    pub part: Vec<Partition>,
    /// Everything of it is here, under these voters: declare full.
    pub full: Vec<(Partition, VotersDigest)>,
    /// Not owned, and all owners are full: give up, if no record is held.
    pub give_up: Vec<Partition>,
    /// Ask these voters about these partitions.
    pub compare: Vec<(PeerId, Vec<(Partition, VotersDigest)>)>,
}

impl Rebalance {
    /// What `me` should do about each of `partitions` with their voters. `reachable` tells whom
    /// it makes sense to ask.
    pub fn plan(
        &mut self,
        me: &PeerId,
        params: &ClusterParams,
        partitions: impl Iterator<Item = (Partition, std::sync::Arc<Voters>)>,
        reachable: impl Fn(&PeerId) -> bool,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut compare: BTreeMap<PeerId, Vec<(Partition, VotersDigest)>> = BTreeMap::new();
        for (partition, voters) in partitions {
            match voters.get(me).map(|v| (v.owner, v.custody)) {
                Some((true, Custody::None)) => plan.part.push(partition),
                Some((true, Custody::Part)) => {
                    let missing = self.missing(me, params, partition, &voters, &reachable);
                    if missing.is_empty() && self.complete(me, params, partition, &voters) {
                        plan.full.push((partition, voters.digest()));
                    }
                    for peer in missing {
                        compare.entry(peer).or_default().push((partition, voters.digest()));
                    }
                }
                Some((false, Custody::Part | Custody::Full)) if owners_are_full(&voters) => {
                    self.attempts.remove(&partition);
                    plan.give_up.push(partition);
                }
                Some((true, Custody::Full) | (false, _)) | None => {
                    self.attempts.remove(&partition);
                }
            }
        }
        for (peer, mut entries) in compare {
            if let Entry::Vacant(free) = self.asked.entry(peer) {
                entries.truncate(ENTRIES_MAX);
                free.insert(entries.clone());
                plan.compare.push((peer, entries));
            }
        }
        plan
    }

    /// `peer` answered what it was asked, or did not (`None`).
    pub fn on_compared(&mut self, peer: &PeerId, answers: Option<Vec<Answer>>) {
        let Some(entries) = self.asked.remove(peer) else { return };
        for ((partition, voters), answer) in entries.into_iter().zip(answers.into_iter().flatten()) {
            let attempt = self.attempts.get_mut(&partition).filter(|a| a.voters == voters);
            if let (Some(attempt), Answer::Empty | Answer::Occupied) = (attempt, answer) {
                attempt.answers.insert(*peer, answer);
            }
        }
    }

    /// Whether answers are awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    // Whom still to ask under the present voters. Empty also where nobody more can be asked.
    fn missing(
        &mut self,
        me: &PeerId,
        params: &ClusterParams,
        partition: Partition,
        voters: &Voters,
        reachable: &impl Fn(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let digest = voters.digest();
        let attempt = self
            .attempts
            .entry(partition)
            .and_modify(|a| {
                if a.voters != digest {
                    *a = Attempt { voters: digest, answers: BTreeMap::new() };
                }
            })
            .or_insert_with(|| Attempt { voters: digest, answers: BTreeMap::new() });
        if attempt.answers.values().any(|a| *a == Answer::Occupied) {
            return Vec::new();
        }
        let need = voters.acquire_need(params, me);
        let all = need.full < params.replicas() - params.write_quorum() + 1;
        let asked: Vec<&PeerId> = voters
            .as_slice()
            .iter()
            .filter(|v| v.peer != *me && (all || v.custody == Custody::Full))
            .map(|v| &v.peer)
            .collect();
        let have = asked.iter().filter(|p| attempt.answers.contains_key(**p)).count();
        let want = need.answers.saturating_sub(have);
        let fresh = |p: &&&PeerId| !attempt.answers.contains_key(**p) && reachable(p);
        asked.iter().filter(fresh).take(want).map(|p| **p).collect()
    }

    fn complete(&self, me: &PeerId, params: &ClusterParams, partition: Partition, voters: &Voters) -> bool {
        let Some(attempt) = self.attempts.get(&partition).filter(|a| a.voters == voters.digest()) else {
            return false;
        };
        let need = voters.acquire_need(params, me);
        let empty = |p: &PeerId| attempt.answers.get(p) == Some(&Answer::Empty);
        let answers = voters.as_slice().iter().filter(|v| empty(&v.peer)).count();
        let full = voters.as_slice().iter().filter(|v| empty(&v.peer) && v.custody == Custody::Full).count();
        answers >= need.answers && full >= need.full
    }
}

fn owners_are_full(voters: &Voters) -> bool {
    voters.as_slice().iter().filter(|v| v.owner).all(|v| v.custody == Custody::Full)
}
