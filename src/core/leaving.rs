//! Members that go: this one by itself, others because somebody says so or they are gone too long.

use std::time::Duration;

use henge_client::{Failure, Response};
use henge_membership::Declaration;
use henge_types::{Cause, Custody, MemberState, PeerId};

use super::Core;
use super::next::{AfterStore, Timer};
use crate::event::Event;
use crate::store::{ReadOp, StoreResult, Ticket};

/// How often members that are gone are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how many heartbeats one that has left stays to say so.
const GOODBYE_HEARTBEATS: u32 = 3;

impl Core {
    pub(super) fn own_state(&self) -> Option<MemberState> {
        self.membership.view().get(&self.me).map(|member| member.record().state)
    }

    /// The operator wants this peer to leave: it is placed no more, gives up all that it has, and
    /// then has left. To say it twice changes nothing; a restart goes on with it.
    pub(super) fn leave(&mut self) -> Response {
        let others = |(peer, m): &(&PeerId, &henge_membership::Member)| {
            **peer != self.me && m.record().state == MemberState::Active
        };
        if !self.serves() {
            return Response::Failed(Failure::NotReady);
        }
        if self.membership.view().iter().filter(others).count() == 0 {
            let reason = "there is no other member to take the data over".to_owned();
            return Response::Failed(Failure::BadRequest { reason });
        }
        if self.own_state() == Some(MemberState::Active) {
            let leaving = Declaration::default().with_state(MemberState::Leaving);
            self.membership.declare(leaving, self.now);
        }
        self.wake_at(LOOK_EVERY, Timer::Gone);
        Response::Accepted
    }

    /// Whether this peer is about to have left, or has: it has given up all that it had, and begins nothing.
    pub(super) fn is_parting(&self) -> bool {
        match self.own_state() {
            // Only then a look through all partitions: each request of a client asks.
            Some(MemberState::Leaving) => self.has_nothing(),
            Some(MemberState::Left) => true,
            Some(MemberState::Active) | None => false,
        }
    }

    fn has_nothing(&self) -> bool {
        let Some(member) = self.member.as_ref().filter(|m| !m.changing) else { return false };
        let freed = member.leftovers.as_ref().is_some_and(std::collections::BTreeSet::is_empty);
        freed && member.stretches.custody.iter().all(|(_, custody)| custody == Custody::None)
    }

    // One that is leaving has left once it has nothing any more, hints included: it looks for those once
    // nothing is under way that could leave one.
    fn finish_leaving(&mut self) {
        if self.is_parting() && self.operations.is_empty() && self.writes.is_empty() {
            let after = self.last_write;
            self.read(ReadOp::HintQueues, AfterStore::LastHints { after });
        }
    }

    /// What waits here, after the last write that could have left something.
    pub(super) fn on_last_hints(&mut self, after: Ticket, result: &StoreResult) {
        let none = matches!(result, StoreResult::HintQueues { queues, .. } if queues.is_empty());
        let leaving = self.own_state() == Some(MemberState::Leaving) && self.is_parting();
        if none && leaving && self.operations.is_empty() && self.last_write == after {
            let left = Declaration::default().with_state(MemberState::Left);
            self.membership.declare(left, self.now);
        }
    }

    /// An operator says that `peer` will not come back.
    ///
    /// Without `force` it must have been down for the lease, after which it answers nothing strict even if
    /// it lives, and enough others must have all of its data.
    pub(super) fn remove(&mut self, peer: PeerId, force: bool) -> Response {
        let refuse = |reason: String| Response::Failed(Failure::BadRequest { reason });
        if !self.serves() {
            return Response::Failed(Failure::NotReady);
        }
        if !force {
            let lease = self.membership.lease();
            let gone = self.membership.gone_for(&peer, self.now);
            if gone.is_none_or(|gone| gone < lease) {
                let gone =
                    gone.map_or("is not down".to_owned(), |g| format!("is down for {} s", g.as_secs()));
                return refuse(format!(
                    "{peer} {gone}: it may be removed once it is down for {} s, or by force",
                    lease.as_secs()
                ));
            }
            if !self.bears_the_loss_of(&peer) {
                return refuse(format!(
                    "without {peer} some data would have too few whole copies; use force"
                ));
            }
        }
        match self.membership.accuse(peer, Cause::Removed, self.now) {
            Ok(()) => Response::Accepted,
            Err(why) => refuse(format!("{peer} cannot be removed: {why}")),
        }
    }

    // Whether N − W + 1 voters of each of its partitions stay that have all of it.
    fn bears_the_loss_of(&mut self, peer: &PeerId) -> bool {
        let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return false };
        let need = params.replicas() - params.write_quorum() + 1;
        params.partitions().all().all(|partition| {
            let Some(voters) = self.voters(partition) else { return false };
            let others = voters.as_slice().iter().filter(|v| v.peer != *peer);
            voters.get(peer).is_none() || others.filter(|v| v.custody == Custody::Full).count() >= need
        })
    }

    /// Looks whether this peer has left, and whether others are gone for too long.
    pub(super) fn look_at_gone(&mut self) {
        self.wake_at(LOOK_EVERY, Timer::Gone);
        if !self.serves() {
            return;
        }
        match self.own_state() {
            Some(MemberState::Leaving) => self.finish_leaving(),
            Some(MemberState::Left) if self.view_is_saved() => self.say_goodbye(),
            Some(MemberState::Active | MemberState::Left) | None => {}
        }
        let Some(after) = self.config.evict_after() else { return };
        // Below the lease an evicted peer could still answer strictly.
        let after = after.max(self.membership.lease() * 2);
        let members: Vec<PeerId> = self.membership.view().iter().map(|(peer, _)| *peer).collect();
        for peer in members {
            let gone = self.membership.gone_for(&peer, self.now).is_some_and(|gone| gone >= after);
            if !gone || !self.bears_the_loss_of(&peer) {
                continue;
            }
            if let Err(why) = self.membership.accuse(peer, Cause::Gone, self.now) {
                tracing::debug!(%peer, %why, "a member that is gone cannot be accused");
            }
        }
    }

    // One that ends before the others have heard of it stays a member that is leaving for ever: it
    // waits until more than half of them could hear it for some heartbeats.
    fn say_goodbye(&mut self) {
        let view = self.membership.view();
        let others: Vec<PeerId> =
            view.iter().filter(|(p, m)| **p != self.me && m.is_present()).map(|(p, _)| *p).collect();
        let near = others.iter().filter(|peer| self.is_healthy(peer)).count();
        if near * 2 <= others.len() && !others.is_empty() {
            self.heard_since = None;
            return;
        }
        let since = *self.heard_since.get_or_insert(self.now.monotonic);
        let heard = self.now.monotonic.saturating_sub(since)
            >= GOODBYE_HEARTBEATS * self.membership.heartbeat_interval();
        if heard && !std::mem::replace(&mut self.told_left, true) {
            self.event(Event::Left);
        }
    }
}
