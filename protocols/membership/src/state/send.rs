//! What is said: the own record, and the requests that are due.

use std::collections::BTreeSet;

use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{Now, PeerId};

use super::links::Kind;
use super::{Action, State};
use crate::limits::{ACCUSED_MAX, DIRECT_MEMBERS_MAX, REQUEST_TIMEOUT, UPDATES_MAX};
use crate::message::{Gossip, Request, Update, encode_gossip, fitting};
use crate::view::Member;

impl State {
    /// Signs the own record anew and spreads it.
    pub(super) fn speak(&mut self, now: Now) {
        let first = !self.view.contains(&self.me);
        if self.sign(now) {
            self.spread(first);
        }
    }

    /// Signs the own record with the next counter and takes it into the view. Says whether a
    /// counter was there; a block is reserved long before the last one is used up.
    pub(super) fn sign(&mut self, now: Now) -> bool {
        let Some(ring) = self.view.ring() else { return false };
        let suspects = self.accusations();
        let signed = self.own.sign(ring, suspects, self.view.evictions_digest(), &*self.signer);
        if let Some(reservation) = self.own.next_reservation() {
            self.actions.push_back(Action::Reserve { reservation });
        }
        let said = signed.is_some();
        if let Some(own) = signed {
            self.timers.speak = None;
            let before = self.suspects_of(&self.me);
            self.view.declare(own, now);
            self.record_changed(self.me, &before, now);
        }
        said
    }

    // In a small ring each member is told at once, custody map included, because a join waits for
    // it; one push at a time to each, so that a burst of declarations becomes a few pushes. The
    // first record of a life goes to whoever is connected: gossip may know no newcomer yet.
    fn spread(&mut self, first: bool) {
        let small = self.view.present() <= DIRECT_MEMBERS_MAX;
        let linked = self.linked_members();
        if small || first {
            for peer in &linked {
                self.owe(*peer, self.me);
            }
        }
        let others = self.view.iter().filter(|(peer, member)| **peer != self.me && member.is_present());
        let all_linked = linked.len() >= others.count();
        if !small || !all_linked {
            self.publish_soon();
        }
    }

    /// `peer` is to be told all about `member`.
    pub(super) fn owe(&mut self, peer: PeerId, member: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.owed.insert(member);
            self.links.want(peer, Kind::Push);
        }
    }

    /// `peer` is to be told what there is against `accused`.
    pub(super) fn owe_accused(&mut self, peer: PeerId, accused: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.owed_accused.insert(accused);
            self.links.want(peer, Kind::Push);
        }
    }

    /// The connected peers that are members and have not left.
    pub(super) fn linked_members(&self) -> Vec<PeerId> {
        let present = |peer: &&PeerId| self.view.get(peer).is_some_and(Member::is_present);
        self.links.peers().filter(present).copied().collect()
    }

    pub(super) fn poll_changed(&mut self) -> Option<Action> {
        let generation = self.view.generation();
        (generation != self.announced).then(|| {
            self.announced = generation;
            Action::Changed { generation, placed_generation: self.view.placed_generation() }
        })
    }

    pub(super) fn poll_persist(&mut self) -> Option<Action> {
        if !std::mem::take(&mut self.persist_due) {
            return None;
        }
        let view = self.view.to_saved()?.to_stored().ok()?;
        Some(Action::Persist { view: view.into() })
    }

    pub(super) fn poll_publish(&mut self) -> Option<Action> {
        if !std::mem::take(&mut self.publish_due) {
            return None;
        }
        let own = self.view.get(&self.me)?.signed().clone();
        let payload: Bytes = encode_gossip(&Gossip::Member(own)).ok()?;
        Some(Action::Publish { payload })
    }

    pub(super) fn poll_send(&mut self) -> Option<Action> {
        while let Some((peer, kind, token)) = self.links.next_request() {
            if let Some(request) = self.request(peer, kind) {
                let timeout = match kind {
                    Kind::Probe => self.probe_timeout(),
                    Kind::Reprobe => self.probe_timeout() / 2,
                    Kind::Join | Kind::Push | Kind::Fetch | Kind::Exchange => REQUEST_TIMEOUT,
                };
                return Some(Action::Send { peer, token, timeout, request });
            }
            self.links.complete(token);
        }
        None
    }

    // Built when it is sent, so that it says what is true then.
    fn request(&mut self, peer: PeerId, kind: Kind) -> Option<Request> {
        if kind == Kind::Join {
            let asked = self.join_targets.contains(&peer);
            return asked.then(|| Request::Join { params: self.params, ring: self.view.ring() });
        }
        let ring = self.view.ring()?;
        if matches!(kind, Kind::Probe | Kind::Reprobe) {
            return self.probes(&peer).then_some(Request::Probe { ring });
        }
        let link = self.links.get_mut(&peer)?;
        match kind {
            Kind::Join | Kind::Probe | Kind::Reprobe => None,
            Kind::Push => {
                let owed = take_some(&mut link.owed, UPDATES_MAX);
                // Each may be a proof and accusations that wait.
                let owed_accused = take_some(&mut link.owed_accused, ACCUSED_MAX / 2);
                let updates: Vec<Update> =
                    owed.iter().filter_map(|member| self.view.update(member)).collect();
                let accused = fitting(owed_accused.iter().flat_map(|peer| self.view.accused(peer)));
                let news = !updates.is_empty() || !accused.is_empty();
                news.then_some(Request::Push { ring, updates, accused })
            }
            Kind::Fetch => {
                let peers = take_some(&mut link.fetch_of, UPDATES_MAX);
                link.fetching.clone_from(&peers);
                (!peers.is_empty()).then_some(Request::Fetch { ring, peers })
            }
            Kind::Exchange => Some(Request::Exchange {
                ring,
                summary: self.view.summary(),
                evicted: self.view.evictions().map(|(peer, e)| (*peer, e.incarnation())).collect(),
                pending: self.view.pending_digest(),
            }),
        }
    }
}

fn take_some(from: &mut BTreeSet<PeerId>, most: usize) -> Vec<PeerId> {
    std::iter::from_fn(|| from.pop_first()).take(most).collect()
}
