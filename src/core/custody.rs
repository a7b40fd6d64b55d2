//! Custody carried out: what is planned is saved, then declared, then acted upon.

use henge_membership::Declaration;
use henge_sync as sync;
use henge_types::codec::Stored;
use henge_types::{Custody, Partition, PeerId};

use super::io::{Request, Response};
use super::next::{AfterRequest, AfterStore, Save, Timer};
use super::{Core, Phase};
use crate::event::Event;
use crate::store::{MetaKey, ReadOp, StoreResult, Ticket, WriteOp};
use std::time::Duration;

/// When to look at custody again after voters did not answer, or saw others.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Core {
    /// Looks at every partition: what to declare, whom to ask, what to give up.
    pub(super) fn rebalance(&mut self) {
        let (view, links, me) = (self.membership.view(), &self.links, self.me);
        let Some(member) = self.member.as_mut().filter(|m| !m.changing) else { return };
        // Before its own record is in its view, this peer is nobody's voter.
        if !view.contains(&me) || matches!(self.phase, Phase::Stopping | Phase::Poisoned) {
            return;
        }
        member.looked = Some(view.generation());
        let params = member.ring.params;
        let (ownership, rebalance) = (&mut member.ownership, &mut member.rebalance);
        let partitions = params.partitions().all().map(|p| (p, ownership.voters(view, p)));
        let plan = rebalance.plan(&me, &params, partitions, |peer| links.is_connected(peer));
        let mut changed = false;
        if !plan.part.is_empty() {
            member.stretches.begin(plan.part.iter().copied());
            changed = true;
        }
        for partition in &plan.part {
            member.stretches.custody.set(*partition, Custody::Part);
        }
        for (partition, _) in &plan.full {
            member.stretches.custody.set(*partition, Custody::Full);
            changed = true;
        }
        let closing = if member.closing.is_empty() { plan.give_up } else { Vec::new() };
        let ring = member.ring.ring;
        for (peer, entries) in plan.compare {
            let request = sync::Request::Compare { ring, entries };
            self.request(peer, Request::Sync(request), AfterRequest::Compare);
        }
        if changed {
            self.save_custody();
        }
        self.close(closing);
        self.tell_ready();
    }

    /// Saves the custody as it should be; once saved it is declared.
    pub(super) fn save_custody(&mut self) {
        let Some(member) = &mut self.member else { return };
        member.changing = true;
        if let Ok(value) = member.stretches.to_stored() {
            let op = WriteOp::Save { key: MetaKey::Custody, value: value.into() };
            self.write(op, AfterStore::Saved(Save::Custody));
        }
    }

    pub(super) fn on_custody_saved(&mut self) {
        let Some(member) = &mut self.member else { return };
        member.changing = false;
        let custody = member.stretches.custody.clone();
        // What was being given up and is now nobody's of this peer is no longer special.
        member.closing.retain(|p| custody.get(*p) != Custody::None);
        self.membership.declare(Declaration::default().with_custody(custody), self.now);
        self.wake_at(Duration::ZERO, Timer::Rebalance);
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
        self.wake_at(if stale { LOOK_AGAIN } else { Duration::ZERO }, Timer::Rebalance);
    }

    // Stops taking writes for partitions that are to be given up, and looks whether they are
    // empty once the last write that was on its way is executed.
    fn close(&mut self, partitions: Vec<Partition>) {
        let Some(member) = self.member.as_mut().filter(|_| !partitions.is_empty()) else { return };
        member.closing = partitions.into_iter().collect();
        member.closing_after = self.writes.last().copied().unwrap_or(Ticket(0));
        self.look_into_closing();
    }

    /// Whether the last write that was on its way is executed; then looks.
    pub(super) fn look_into_closing(&mut self) {
        let Some(member) = self.member.as_mut().filter(|m| !m.closing.is_empty()) else { return };
        let executed = self.writes.first().is_none_or(|oldest| *oldest > member.closing_after);
        if !executed || member.closing_after == LOOKED {
            return;
        }
        member.closing_after = LOOKED;
        let count = member.ring.params.partitions();
        let partitions = member.closing.iter().copied().collect();
        self.read(ReadOp::Occupied { count, partitions }, AfterStore::GiveUp);
    }

    /// Which of the partitions to be given up hold records: those stay, the others are nobody's
    /// of this peer from now on.
    pub(super) fn on_looked_into_closing(&mut self, result: StoreResult) {
        let Some(member) = &mut self.member else { return };
        let StoreResult::Occupied(occupied) = result else {
            member.closing.clear();
            return self.tell_ready();
        };
        for partition in &occupied {
            member.closing.remove(partition);
        }
        if member.closing.is_empty() {
            return self.tell_ready();
        }
        for partition in &member.closing {
            member.stretches.custody.set(*partition, Custody::None);
        }
        self.save_custody();
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
        let settled = !member.changing && member.closing.is_empty() && !member.rebalance.is_waiting();
        let view = self.membership.view();
        let others = view.iter().map(|(p, _)| p).filter(|p| **p != self.me);
        if self.phase == Phase::Serving && settled && self.links.were_tried(others) {
            self.phase = Phase::Ready;
            self.event(Event::Ready);
        }
    }
}

// No ticket: the look into the partitions that are closing is under way.
const LOOKED: Ticket = Ticket(u64::MAX);
