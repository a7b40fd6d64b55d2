//! Custody carried out: what is planned is saved, then declared, then acted upon.

use henge_membership::Declaration;
use henge_sync as sync;
use henge_sync::Mode;
use henge_types::codec::Stored;
use henge_types::{Custody, Partition, PeerId};

use super::boot::Standing;
use super::io::{Request, Response};
use super::next::{AfterRequest, AfterStore, Save, Timer};
use super::syncing::Purpose;
use super::{Core, Phase};
use crate::event::Event;
use crate::rebalance::{Around, Plan, slice};
use crate::store::{MetaKey, ReadOp, StoreResult, Ticket, WriteOp};
use std::collections::BTreeSet;
use std::time::Duration;

/// Records that one write removes of a partition that was given up.
const FREED_AT_ONCE: usize = 256;

/// When to look at custody again after voters did not answer, or saw others.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks, for each partition: a look costs some 0.2 µs each, and shall take a tenth of the
/// time at most.
const LOOK_PACE: Duration = Duration::from_micros(2);
/// Looks that may follow each other at once: a join takes some.
const LOOKS_IN_A_ROW: u8 = 12;
/// How soon custody may change again after it was saved: what changes meanwhile shares a save.
const CHANGE_EVERY: Duration = Duration::from_millis(20);
/// How often to look at custody while something is on the move.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Looks at custody after this time, or later: a look goes through all partitions, so that after
    /// some of them in a row it waits for further changes, the longer the more partitions there are.
    pub(super) fn rebalance_after(&mut self, after: Duration) {
        let next = (self.rebalanced + self.look_pace()).saturating_sub(self.now.monotonic);
        let wait = if self.looks > 0 { Duration::ZERO } else { next };
        self.wake_at(after.max(wait), Timer::Rebalance);
    }

    fn look_pace(&self) -> Duration {
        let partitions = self.member.as_ref().map_or(1, |m| m.ring.params.partitions().len());
        LOOK_PACE * u32::try_from(partitions).unwrap_or(u32::MAX)
    }

    fn count_look(&mut self) {
        let earned = self.now.monotonic.saturating_sub(self.rebalanced).as_nanos()
            / self.look_pace().as_nanos().max(1);
        let looks = self.looks.saturating_add(u8::try_from(earned).unwrap_or(u8::MAX));
        self.looks = looks.min(LOOKS_IN_A_ROW).saturating_sub(1);
        self.rebalanced = self.now.monotonic;
    }

    /// Looks at every partition: what to declare, whom to ask, what to give up.
    pub(super) fn rebalance(&mut self) {
        let (view, me) = (self.membership.view(), self.me);
        let healthy: BTreeSet<PeerId> =
            view.iter().map(|(p, _)| *p).filter(|p| *p != me && self.is_healthy(p)).collect();
        let Some(member) = self.member.as_mut().filter(|m| !m.changing) else { return };
        // Before its own record is in its view, this peer is nobody's voter.
        if !view.contains(&me) || matches!(self.phase, Phase::Stopping | Phase::Poisoned) {
            return;
        }
        let Some(leftovers) = &member.leftovers else { return self.look_for_leftovers() };
        let params = member.ring.params;
        let (ownership, rebalance) = (&mut member.ownership, &mut member.rebalance);
        let partitions = params.partitions().all().map(|p| (p, ownership.voters(view, p)));
        let pulled = &self.syncs.pulled();
        let around = Around { me, params: &params, closing: &member.closing, leftovers, pulled };
        let plan = rebalance.plan(&around, partitions, |peer| healthy.contains(peer));
        for partition in &plan.reopen {
            member.closing.remove(partition);
        }
        self.count_look();
        self.declare_custody(&plan);
        if let Some(ring) = self.ring() {
            for (peer, entries) in plan.compare {
                let request = sync::Request::Compare { ring, entries };
                self.request(peer, Request::Sync(request), AfterRequest::Compare);
            }
        }
        let give_up = |entries, closed| (Mode::Push, Purpose::GiveUp { entries, closed });
        let closed = plan.push_closed.iter().map(|(peer, e)| (*peer, give_up(slice(e), true)));
        let pulls = plan.pull.iter().map(|(peer, e)| (*peer, (Mode::Pull, Purpose::Acquire(slice(e)))));
        let open = plan.push_open.iter().map(|(peer, e)| (*peer, give_up(slice(e), false)));
        for (peer, (mode, purpose)) in closed.chain(pulls).chain(open).collect::<Vec<_>>() {
            self.begin_session(peer, mode, purpose);
        }
        self.close(plan.close);
        // Somebody may be late, or busy with another session.
        if self.member.as_ref().is_some_and(|m| m.rebalance.under_way() != (0, 0)) {
            self.rebalance_after(LOOK_EVERY);
        }
        self.tell_ready();
    }

    // What the plan says of this peer's own custody.
    fn declare_custody(&mut self, plan: &Plan) {
        let Some(member) = &mut self.member else { return };
        if plan.part.is_empty() && plan.full.is_empty() && plan.none.is_empty() {
            return;
        }
        if !plan.part.is_empty() {
            member.stretches.begin(plan.part.iter().copied());
        }
        let part = plan.part.iter().map(|p| (p, Custody::Part));
        let full = plan.full.iter().map(|p| (p, Custody::Full));
        let none = plan.none.iter().map(|p| (p, Custody::None));
        for (partition, custody) in part.chain(full).chain(none) {
            member.stretches.custody.set(*partition, custody);
        }
        member.leftovers.get_or_insert_default().extend(&plan.none);
        self.save_custody();
    }

    /// Saves the custody as it should be; once saved it is declared.
    pub(super) fn save_custody(&mut self) {
        let Some(member) = &mut self.member else { return };
        member.changing = true;
        member.changes += 1;
        let (change, stretches) = (member.changes, member.stretches.next);
        if let Ok(value) = member.stretches.to_stored() {
            let op = WriteOp::Save { key: MetaKey::Custody, value: value.into() };
            self.write(op, AfterStore::Saved(Save::Custody { change, stretches }));
        }
    }

    pub(super) fn on_custody_saved(&mut self, change: u64, stretches: u64) {
        let Some(member) = &mut self.member else { return };
        member.saved_stretches = member.saved_stretches.max(stretches);
        // An earlier save says nothing of what changed since.
        if member.changes != change {
            return self.replan_waiting();
        }
        member.changing = false;
        let custody = member.stretches.custody.clone();
        // What was being given up and is now nobody's of this peer is no longer special.
        member.closing.retain(|p| custody.get(*p) != Custody::None);
        self.membership.declare(Declaration::default().with_custody(custody), self.now);
        // Writes wait for their actor to be saved: they go first.
        self.replan_waiting();
        self.rebalance_after(CHANGE_EVERY);
        self.free_leftovers();
    }

    /// `peer` told what it holds, or did not.
    pub(super) fn on_compare_answer(
        &mut self,
        peer: PeerId,
        result: Result<Response, super::RequestFailure>,
    ) {
        let answers = match result {
            Ok(Response::Sync(sync::Response::Compared { answers })) => Some(answers),
            Ok(_) | Err(_) => None,
        };
        let stale = answers.as_ref().is_none_or(|a| a.contains(&sync::Answer::Stale));
        if stale {
            self.membership.exchange_with(peer);
        }
        if let Some(member) = &mut self.member {
            member.rebalance.on_compared(&peer, answers);
        }
        self.look_at_custody_again(!stale);
    }

    /// Something was learnt about partitions on the move, or could not be.
    pub(super) fn look_at_custody_again(&mut self, learnt: bool) {
        self.rebalance_after(if learnt { Duration::ZERO } else { LOOK_AGAIN });
    }

    // Stops taking writes for partitions that are to be given up, and looks whether they are
    // empty once the last write that was on its way is executed.
    fn close(&mut self, partitions: Vec<Partition>) {
        let free = |m: &&mut Standing| m.looking.is_empty() && !partitions.is_empty();
        let Some(member) = self.member.as_mut().filter(free) else { return };
        member.closing.extend(&partitions);
        member.looking = partitions.into_iter().collect();
        member.closing_after = self.writes.last().copied().unwrap_or(Ticket(0));
        self.look_into_closing();
    }

    /// Whether the last write that was on its way is executed; then looks.
    pub(super) fn look_into_closing(&mut self) {
        let Some(member) = self.member.as_mut().filter(|m| !m.looking.is_empty()) else { return };
        let executed = self.writes.first().is_none_or(|oldest| *oldest > member.closing_after);
        if !executed || member.closing_after == LOOKED {
            return;
        }
        member.closing_after = LOOKED;
        let count = member.ring.params.partitions();
        let partitions = member.looking.iter().copied().collect();
        self.read(ReadOp::Occupied { count, partitions }, AfterStore::GiveUp);
    }

    /// Which of the partitions to be given up hold records: those go to their owners first, the
    /// others are nobody's of this peer from now on.
    pub(super) fn on_looked_into_closing(&mut self, result: StoreResult) {
        let Some(member) = &mut self.member else { return };
        let looked = std::mem::take(&mut member.looking);
        // Where the store failed, any may hold something.
        let occupied: BTreeSet<Partition> = if let StoreResult::Occupied(occupied) = result {
            occupied.into_iter().collect()
        } else {
            looked.clone()
        };
        let mut empty = false;
        for partition in looked {
            // One that takes writes again by now may hold something since the look.
            if !member.closing.contains(&partition) {
                continue;
            } else if !occupied.contains(&partition) {
                member.stretches.custody.set(partition, Custody::None);
                empty = true;
            } else if !member.rebalance.on_occupied(partition) {
                member.closing.remove(&partition);
            }
        }
        if empty {
            self.save_custody();
        }
        self.look_at_custody_again(true);
    }

    // What a crash left of partitions that were given up, before anything is acquired.
    fn look_for_leftovers(&mut self) {
        let Some(member) = self.member.as_mut().filter(|m| !m.freeing) else { return };
        member.freeing = true;
        let count = member.ring.params.partitions();
        let none = member.stretches.custody.iter().filter(|(_, custody)| *custody == Custody::None);
        let partitions = none.map(|(partition, _)| partition).collect();
        self.read(ReadOp::Occupied { count, partitions }, AfterStore::Leftovers);
    }

    pub(super) fn on_leftovers(&mut self, result: StoreResult) {
        let Some(member) = &mut self.member else { return };
        member.freeing = false;
        if let StoreResult::Occupied(occupied) = result {
            member.leftovers = Some(occupied.into_iter().collect());
        }
        let known = member.leftovers.is_some();
        self.look_at_custody_again(known);
        self.free_leftovers();
    }

    // Frees the space of what was given up, piece by piece. Only what is saved as nobody's goes.
    fn free_leftovers(&mut self) {
        let Some(member) = self.member.as_mut().filter(|m| !m.freeing && !m.changing) else { return };
        let Some(partition) = member.leftovers.as_ref().and_then(|l| l.first().copied()) else { return };
        member.freeing = true;
        let count = member.ring.params.partitions();
        let op = WriteOp::DropPartition { count, partition, limit: FREED_AT_ONCE };
        self.write(op, AfterStore::Freed { partition });
    }

    pub(super) fn on_freed(&mut self, partition: Partition, result: StoreResult) {
        let Some(member) = &mut self.member else { return };
        member.freeing = false;
        if let StoreResult::Dropped { more, .. } = result {
            if let Some(leftovers) = member.leftovers.as_mut().filter(|_| !more) {
                leftovers.remove(&partition);
                // One that was given up is waited for only if it is to be acquired again.
                if self.owns(partition) {
                    self.look_at_custody_again(true);
                }
            }
            self.free_leftovers();
        } else if let StoreResult::Failed(error) = result {
            // The disk may be well again when custody changes next.
            self.on_store_failed(error);
        }
    }

    fn owns(&mut self, partition: Partition) -> bool {
        let me = self.me;
        self.voters(partition).is_some_and(|v| v.get(&me).is_some_and(|v| v.owner))
    }

    pub(super) fn is_closing(&self, partition: Partition) -> bool {
        self.member.as_ref().is_some_and(|m| m.closing.contains(&partition))
    }

    /// This peer may have forgotten writes of its own in `partition`: from now on it is another
    /// actor there.
    pub(super) fn renew_actor(&mut self, partition: Partition) {
        if let Some(member) = &mut self.member {
            self.stats.actors_renewed += 1;
            member.stretches.begin([partition]);
            self.save_custody();
        }
    }

    /// The ring knows a later life of this peer than its store does. What its store has it has in
    /// part, at most, and writes as another actor.
    pub(super) fn on_reborn(&mut self) {
        let Some(member) = &mut self.member else { return };
        let partitions: Vec<Partition> =
            member.stretches.custody.iter().filter(|(_, c)| *c != Custody::None).map(|(p, _)| p).collect();
        member.stretches.begin(partitions.iter().copied());
        for partition in partitions {
            member.stretches.custody.set(partition, Custody::Part);
        }
        self.save_custody();
    }

    // Ready: a member whose connections were tried, and that has acquired what it can at once.
    fn tell_ready(&mut self) {
        let Some(member) = &self.member else { return };
        let known = member.leftovers.is_some() && member.looking.is_empty();
        let settled = known && !member.changing && !member.rebalance.is_waiting();
        let view = self.membership.view();
        // Those who left are not dialled any more.
        let others = view.iter().filter(|(p, m)| **p != self.me && m.is_present()).map(|(p, _)| p);
        if self.phase == Phase::Serving && settled && self.links.were_tried(others) {
            self.phase = Phase::Ready;
            self.event(Event::Ready);
        }
    }
}

// No ticket: the look into the partitions that are closing is under way.
const LOOKED: Ticket = Ticket(u64::MAX);
