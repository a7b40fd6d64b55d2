//! Forgetting what is deleted: tombstones, expired values and clocks without any.
//!
//! A replica that forgets a tombstone while another still has what it deleted brings that back. So a record goes
//! only when it has been dead for longer than anything older may still be under way (hints, evicted peers and
//! snapshots are let in for less), and all voters of its partition, which all own it and are full, have
//! just that record, durably, or none. One of them asks the others; when all agree they forget it, and
//! last of all the one who asked: what one of the others missed to forget is found again by it.
//!
//! A voter that forgot first may get the record back by range sync before the others have forgotten it. Nothing
//! is wrong with that: it is collected once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_types::{Key, Partition, PartitionCount, PeerId, RecordDigest, Voters, VotersDigest};

/// Partitions that are collected at a time.
const UNDER_WAY_MAX: usize = 256;
/// A pass through all partitions takes this part of the time for which deleted records are kept, …
const PASSES_IN_GRACE: u32 = 8;
/// … but not less than this, as it costs a scan, …
const PASS_MIN: Duration = Duration::from_secs(10);
/// … and not more.
const PASS_MAX: Duration = Duration::from_secs(24 * 3600);
/// The least time between two looks.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// Keys with the digests of the records that may go.
pub type Dead = Vec<(Key, RecordDigest)>;

/// One partition whose dead records are to be forgotten, under one set of voters.
#[derive(Debug)]
struct Collection {
    voters: VotersDigest,
    others: Vec<PeerId>,
    dead: Dead,
    agreed: Vec<bool>,
    /// Who has not answered.
    waiting: BTreeSet<PeerId>,
    forgetting: bool,
}

impl Collection {
    /// Those to which all agreed, in the order of the question.
    fn agreed(&mut self) -> Dead {
        let mut agreed = std::mem::take(&mut self.agreed).into_iter();
        self.dead.retain(|_| agreed.next().unwrap_or(false));
        self.agreed = vec![true; self.dead.len()];
        self.dead.clone()
    }
}

/// What to do next about one partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for others.
    Wait,
    /// All agreed to these: have the others forget them.
    Forget(Dead),
    /// All others have forgotten these: forget them too.
    ForgetHere(Dead),
    /// It is over: nothing is left of which all agree, or somebody did not answer.
    Over,
}

/// All that one peer collects, and where it looks next.
#[derive(Debug, Default)]
pub struct Collector {
    next: u32,
    under_way: BTreeMap<Partition, Collection>,
}

impl Collector {
    /// The partitions to look at now, and when to look again. `grace` is for how long deleted records are kept.
    pub fn look(&mut self, count: PartitionCount, grace: Duration) -> (Vec<Partition>, Duration) {
        let all = u32::try_from(count.len()).unwrap_or(u32::MAX).max(1);
        let pass = (grace / PASSES_IN_GRACE).clamp(PASS_MIN, PASS_MAX);
        let again = (pass / all).max(LOOK_MIN);
        let share = u128::from(all) * again.as_millis() / pass.as_millis().max(1);
        let partitions = u32::try_from(share).unwrap_or(all).clamp(1, all);
        if self.is_full() {
            return (Vec::new(), again);
        }
        let at = (0..partitions).map(|n| Partition((self.next % all + n) % all));
        let looked = at.filter(|p| !self.under_way.contains_key(p)).collect();
        self.next = (self.next % all + partitions) % all;
        (looked, again)
    }

    /// Whether as many partitions are collected as may be at a time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= UNDER_WAY_MAX
    }

    /// Not all that is dead in `partition` could be begun with: it comes next again.
    pub fn look_again(&mut self, partition: Partition) {
        self.next = partition.0;
    }

    /// Who of `voters` collects `partition`: one for each, in turn.
    #[must_use]
    pub fn collects(partition: Partition, voters: &Voters) -> Option<PeerId> {
        let turn = usize::try_from(partition.0).unwrap_or(0).checked_rem(voters.as_slice().len())?;
        voters.as_slice().get(turn).map(|v| v.peer)
    }

    /// `dead` is to be collected by `me`: all of `voters`, this peer included, are asked. Says whether that is begun.
    pub fn begin(&mut self, partition: Partition, me: PeerId, voters: &Voters, dead: Dead) -> bool {
        let free = !self.is_full() && !self.under_way.contains_key(&partition);
        if free {
            let all = voters.as_slice().iter().map(|v| v.peer);
            let collection = Collection {
                voters: voters.digest(),
                others: all.clone().filter(|p| *p != me).collect(),
                agreed: vec![true; dead.len()],
                dead,
                waiting: all.collect(),
                forgetting: false,
            };
            self.under_way.insert(partition, collection);
        }
        free
    }

    /// The voters under which `partition` is collected.
    #[must_use]
    pub fn voters(&self, partition: Partition) -> Option<VotersDigest> {
        self.under_way.get(&partition).map(|c| c.voters)
    }

    /// Nothing more is to be collected of `partition` now.
    pub fn abandon(&mut self, partition: Partition) {
        self.under_way.remove(&partition);
    }

    /// `peer`, which may be this one, told which of the records it agrees to forget, or has forgotten.
    pub fn on_answer(&mut self, partition: Partition, peer: PeerId, agreed: &[bool]) -> Next {
        let Some(collection) = self.under_way.get_mut(&partition) else { return Next::Wait };
        if !collection.waiting.remove(&peer) {
            return Next::Wait;
        }
        if agreed.len() == collection.dead.len() {
            for (all, one) in collection.agreed.iter_mut().zip(agreed) {
                *all &= one;
            }
            if !collection.waiting.is_empty() {
                return Next::Wait;
            }
            let dead = collection.agreed();
            if !dead.is_empty() && !collection.forgetting && !collection.others.is_empty() {
                collection.forgetting = true;
                collection.waiting = collection.others.iter().copied().collect();
                return Next::Forget(dead);
            }
            if !dead.is_empty() {
                self.under_way.remove(&partition);
                return Next::ForgetHere(dead);
            }
        }
        self.under_way.remove(&partition);
        Next::Over
    }
}

#[cfg(test)]
mod tests;
