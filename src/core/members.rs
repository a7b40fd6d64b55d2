//! Who is in the ring: what the membership asks for, and the connections to its members.

use henge_membership::{Action, Declaration, Refusal, Update};
use henge_types::codec::Stored;
use henge_types::{CustodyMap, Multiaddr, Partition, PeerId, SignedMember};
use std::time::Duration;

use super::io::{Output, Request, RequestFailure, Response};
use super::next::{AfterRequest, AfterStore, Save, Timer};
use super::{Core, Phase};
use crate::event::Event;
use crate::links::Target;
use crate::store::{MetaKey, WriteOp};

/// How soon after a change of the view custody is looked at: changes come in bursts.
const LOOK_AFTER: Duration = Duration::from_millis(5);
/// How often to look for members to dial.
const DIAL_EVERY: Duration = Duration::from_millis(250);

impl Core {
    /// Carries out what the membership asks for, and follows the view.
    pub(super) fn settle(&mut self) {
        while let Some(action) = self.membership.poll_action() {
            // One that was evicted for good says nothing more: nobody is to count on its next life.
            if !self.expelled {
                self.act(action);
            }
        }
        self.look_into_closing();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { peer, token, timeout, request } => {
                let next = AfterRequest::Membership { token };
                self.request_within(peer, Request::Membership(request), next, timeout);
            }
            Action::Publish { payload } => self.outputs.push_back(Output::Publish { data: payload }),
            // Its bytes are those of the present view, which is read again when it is saved.
            Action::Persist { .. } => self.save_view(),
            Action::Reserve { reservation } => {
                self.records = Some(reservation);
                self.save_counters(self.dots.asked(), false);
            }
            Action::Joined { ring, secret, params } => self.on_joined(ring, secret, params),
            Action::Reborn { incarnation } => {
                tracing::warn!(%incarnation, "the ring knows a later life of this peer than its store does");
                self.on_reborn();
            }
            Action::Evicted { incarnation, at_unix_ms } => {
                tracing::warn!(%incarnation, at_unix_ms, "this peer was evicted, and comes back");
                let away = Duration::from_millis(self.now.unix_ms.saturating_sub(at_unix_ms));
                if away < self.config.gc_grace() {
                    self.on_reborn();
                } else {
                    // What was deleted meanwhile is forgotten by now: this would bring it back.
                    self.phase = Phase::Stopping;
                    self.expelled = true;
                    self.event(Event::EvictedForGood);
                }
            }
            Action::Changed { generation, .. } => {
                tracing::trace!(generation, "the view changed");
                self.save_view();
                self.rebalance_after(LOOK_AFTER);
                self.replan_waiting();
            }
            Action::Health { peer, down } => {
                self.event(if down { Event::PeerDown { peer } } else { Event::PeerUp { peer } });
                if !down {
                    self.handoff.delivery.on_reachable(&peer, self.now.monotonic);
                    self.deliver_hints();
                }
                self.replan_waiting();
            }
            Action::NewMember { peer } => {
                if peer != self.me {
                    self.event(Event::MemberMet { peer });
                    self.dial();
                }
            }
            Action::Refused { peer, refusal } => self.on_refused(peer, refusal),
            Action::Fault { peer, fault } => self.fault(peer, fault.to_string()),
            // The enum may grow with the membership protocol.
            action => tracing::debug!(?action, "unknown action"),
        }
    }

    /// Saves the view, one save at a time.
    pub(super) fn save_view(&mut self) {
        let view = self.membership.view();
        self.saved_view.again = self.saved_view.saving;
        // After a clean stop nothing is written any more.
        if self.saved_view.saving || matches!(self.phase, Phase::Stopping | Phase::Poisoned) {
            return;
        }
        let generation = view.generation();
        if let Some(Ok(value)) = view.to_saved().map(|view| view.to_stored()) {
            self.saved_view.saving = true;
            let op = WriteOp::Save { key: MetaKey::View, value: value.into() };
            self.write(op, AfterStore::Saved(Save::View { generation }));
        }
    }

    pub(super) fn on_view_saved(&mut self, generation: u64) {
        self.saved_view.generation = generation;
        self.saved_view.saving = false;
        if self.saved_view.again {
            self.save_view();
        }
        self.replan_waiting();
    }

    /// Whether a crash would leave this peer with the members that it knows now.
    pub(super) fn view_is_saved(&self) -> bool {
        self.saved_view.generation == self.membership.view().generation()
    }

    /// Whether a crash would leave this peer with the voters of `partition` that it goes by now. One that
    /// answered under voters that it may forget could come back, take itself for a quorum, and miss what
    /// the others acknowledged.
    pub(super) fn voters_are_saved(&mut self, partition: Partition) -> bool {
        let (view, saved) = (self.membership.view(), self.saved_view.generation);
        self.member.as_mut().is_some_and(|m| m.ownership.since(view, partition) <= saved)
    }

    fn on_refused(&mut self, peer: PeerId, refusal: Refusal) {
        if let (Refusal::OtherParams { params }, None, None) = (&refusal, &self.member, self.config.params())
        {
            return self.adopt(*params);
        }
        let for_good = self.member.is_none() && refusal.is_final();
        self.event(Event::Refused { peer, refusal });
        if for_good && self.refused.insert(peer) {
            let refused = |(_, found): &(Multiaddr, Option<PeerId>)| {
                found.is_some_and(|peer| self.refused.contains(&peer))
            };
            if self.join.iter().all(refused) {
                self.event(Event::CannotJoin);
            }
        }
    }

    pub(super) fn fault(&mut self, peer: PeerId, reason: String) {
        self.stats.faults += 1;
        self.event(Event::PeerFault { peer, reason });
    }

    pub(super) fn on_connected(&mut self, peer: PeerId) {
        self.links.on_connected(peer);
        self.membership.handle_connected(peer, self.now);
        self.handoff.delivery.on_reachable(&peer, self.now.monotonic);
        self.deliver_hints();
        self.sync_soon(peer);
        self.rebalance_after(LOOK_AFTER);
    }

    /// Somebody is at an address to join through.
    pub(super) fn on_dialed(&mut self, peer: PeerId, address: &Multiaddr) {
        self.links.forget(&Target::Address(address.clone()));
        for (_, found) in self.join.iter_mut().filter(|(target, _)| target == address) {
            *found = Some(peer);
        }
        self.membership.handle_join(peer, self.now);
        self.forget_joined();
    }

    // A member has joined wherever it was answered; members are dialled by their records.
    pub(super) fn forget_joined(&mut self) {
        if self.member.is_some() {
            self.join.retain(|(_, found)| found.is_none());
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: &PeerId) {
        self.links.on_disconnected(peer);
        self.membership.handle_disconnected(*peer, self.now);
        self.dial();
    }

    /// One of several connections to `peer` broke. If its process ended, the others are as dead, and over QUIC
    /// nothing says so: it is asked something, and not counted on before it answers.
    pub(super) fn on_connection_broken(&mut self, peer: PeerId) {
        self.links.on_doubt(peer);
        self.membership.exchange_with(peer);
        self.on_doubt(peer);
    }

    /// The answer to a request of the membership protocol.
    pub(super) fn on_membership_response(
        &mut self,
        peer: PeerId,
        token: henge_membership::Token,
        result: Result<Response, RequestFailure>,
    ) {
        let result = match result {
            Ok(Response::Membership(response)) => Ok(response),
            Ok(_) => Err(henge_membership::Failure::Lost),
            Err(failure) => {
                if self.member.is_none() {
                    self.event(Event::JoinFailed { peer, failure: failure.clone() });
                }
                Err(if failure == RequestFailure::Unsupported {
                    henge_membership::Failure::Unsupported
                } else {
                    henge_membership::Failure::Lost
                })
            }
        };
        self.membership.on_response(token, result, self.now);
    }

    pub(super) fn on_dial_failed(
        &mut self,
        peer: Option<PeerId>,
        address: Option<Multiaddr>,
        reason: String,
    ) {
        let now = self.now.monotonic;
        if let Some(peer) = peer {
            self.links.on_dial_failed(&Target::Member(peer), now);
        }
        if let Some(address) = address {
            self.links.on_dial_failed(&Target::Address(address.clone()), now);
            if self.member.is_none() {
                self.event(Event::JoinUnreachable { address: Some(address), reason });
            }
        }
        self.rebalance_after(LOOK_AFTER);
    }

    /// Dials the members that are not connected, and the addresses to join through.
    pub(super) fn dial(&mut self) {
        if self.phase == Phase::Stopping {
            return;
        }
        let view = self.membership.view();
        let me = self.me;
        let there = |m: &henge_membership::Member| m.is_present() && !m.record().addresses.is_empty();
        let members = view.iter().filter(|(p, m)| **p != me && there(m));
        let links = &self.links;
        let unanswered = self.join.iter().filter(|(_, peer)| !peer.is_some_and(|p| links.is_connected(&p)));
        let targets: Vec<Target> = members
            .map(|(p, _)| Target::Member(*p))
            .chain(unanswered.map(|(address, _)| Target::Address(address.clone())))
            .collect();
        let due = self.links.due(targets.into_iter(), self.now.monotonic);
        for target in due {
            let output = match target {
                Target::Member(peer) => {
                    let record = self.membership.view().get(&peer).map(henge_membership::Member::record);
                    let addresses = record.map(|r| r.addresses.clone()).unwrap_or_default();
                    Output::Dial { peer, addresses }
                }
                Target::Address(address) => Output::DialAddress { address },
            };
            self.outputs.push_back(output);
        }
        self.wake_at(DIAL_EVERY, Timer::Links);
    }

    pub(super) fn on_addresses(&mut self, addresses: Vec<Multiaddr>) {
        self.addresses.clone_from(&addresses);
        self.membership.declare(Declaration::default().with_addresses(addresses), self.now);
    }

    pub(super) fn on_records(&mut self, records: u64) {
        self.membership.declare(Declaration::default().with_records(records), self.now);
    }

    /// The member records and custody by which this peer sees the voters of `partition`.
    pub(super) fn voters_members(&mut self, partition: Partition) -> Vec<(SignedMember, CustodyMap)> {
        let Some(voters) = self.voters(partition) else { return Vec::new() };
        let view = self.membership.view();
        let member = |v: &henge_types::Voter| {
            let member = view.get(&v.peer).filter(|m| m.custody_is_current())?;
            Some((member.signed().clone(), member.custody().clone()))
        };
        voters.as_slice().iter().filter_map(member).take(henge_quorum::STALE_MEMBERS_MAX).collect()
    }

    /// `peer` sees other voters, by these member records: learns what is new in them, and tells it what
    /// it does not know.
    pub(super) fn learn(&mut self, peer: PeerId, members: Vec<(SignedMember, CustodyMap)>) {
        let updates =
            members.into_iter().map(|(member, custody)| Update { member, custody: Some(custody) }).collect();
        self.membership.on_updates(peer, updates, self.now);
        self.membership.exchange_with(peer);
        self.settle();
    }
}
