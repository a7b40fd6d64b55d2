//! What became of the requests that were sent.

use henge_types::{ClusterParams, Incarnation, Now, PeerId, RingId, RingSecret, SignedMember};

use super::links::{Kind, Link};
use super::{Action, Failure, State, Token};
use crate::fault::Fault;
use crate::limits::{ACCUSED_MAX, RETRY, UPDATES_MAX};
use crate::message::{Accused, Refusal, Response, Update};
use crate::view::Merged;

impl State {
    /// The outcome of the request with this token. One that is not waited for any more is ignored.
    pub fn on_response(&mut self, token: Token, result: Result<Response, Failure>, now: Now) {
        if let Some((peer, kind)) = self.links.complete(token) {
            match result {
                Ok(response) => self.on_answer(peer, kind, response, now),
                Err(failure) => self.on_failure(peer, kind, failure, now),
            }
            if kind == Kind::Fetch {
                self.fetched(peer, now);
            }
        }
        self.settle(now);
    }

    fn on_answer(&mut self, peer: PeerId, kind: Kind, response: Response, now: Now) {
        if let Err(fault) = response.check_bounds() {
            self.fault(peer, fault);
            return self.on_failure(peer, kind, Failure::Lost, now);
        }
        match (kind, response) {
            (Kind::Join, Response::Welcome { ring, secret, params, updates, accused }) => {
                self.on_welcome(peer, (ring, secret, params), updates, accused, now);
            }
            (Kind::Push, Response::Pushed) => self.push_rest(peer),
            (Kind::Fetch, Response::Updates { updates }) => {
                self.merge_all(peer, updates, now);
            }
            (Kind::Exchange, Response::Exchanged { updates, wanted, accused }) => {
                self.on_exchanged(peer, updates, &wanted, accused, now);
            }
            (Kind::Probe | Kind::Reprobe, Response::Alive { member }) => self.on_alive(peer, member, now),
            // It runs, but not as the member that was meant.
            (Kind::Probe | Kind::Reprobe, Response::Refused(_)) => {
                self.on_failure(peer, kind, Failure::Lost, now)
            }
            (_, Response::Refused(refusal)) => self.on_refused(peer, kind, refusal, now),
            (
                _,
                Response::Welcome { .. }
                | Response::Exchanged { .. }
                | Response::Pushed
                | Response::Alive { .. }
                | Response::Updates { .. },
            ) => {
                self.fault(peer, Fault::WrongResponse);
                self.on_failure(peer, kind, Failure::Lost, now);
            }
        }
    }

    fn on_failure(&mut self, peer: PeerId, kind: Kind, failure: Failure, now: Now) {
        let retry_at = now.monotonic + RETRY;
        match (kind, failure) {
            (Kind::Probe, _) => self.on_probe_lost(peer, now),
            (Kind::Reprobe, _) => {}
            (Kind::Join, Failure::Unsupported) => {
                self.on_refused(peer, kind, Refusal::OtherCluster { cluster: self.cluster.clone() }, now);
            }
            (Kind::Join, Failure::Lost) => self.links.want_at(peer, Kind::Join, retry_at),
            (Kind::Push, Failure::Lost) => {
                if let Some(link) = self.links.get_mut(&peer) {
                    // Of what else was in it, the next exchange tells.
                    link.owed.insert(self.me);
                }
                self.links.want_at(peer, Kind::Push, retry_at);
            }
            // Fetches are planned anew, exchanges come back by themselves.
            (Kind::Push, Failure::Unsupported) | (Kind::Fetch | Kind::Exchange, _) => {}
        }
    }

    fn on_alive(&mut self, peer: PeerId, member: SignedMember, now: Now) {
        let itself = member.record().peer == peer;
        match self.merge_one(Update { member, custody: None }, now) {
            Ok(Merged::Evicted) => self.tell_evicted(&peer),
            Ok(_) if itself => {
                self.note_fresh(&peer, now);
                self.on_probe_answered(peer, now);
            }
            Ok(_) => self.fault(peer, Fault::WrongResponse),
            Err(fault) => self.fault(peer, fault),
        }
    }

    fn on_refused(&mut self, peer: PeerId, kind: Kind, refusal: Refusal, now: Now) {
        if kind == Kind::Join {
            if refusal.is_final() {
                self.join_targets.remove(&peer);
            } else {
                self.links.want_at(peer, Kind::Join, now.monotonic + RETRY);
            }
        }
        self.actions.push_back(Action::Refused { peer, refusal });
    }

    fn on_welcome(
        &mut self,
        peer: PeerId,
        (ring, secret, params): (RingId, RingSecret, ClusterParams),
        updates: Vec<Update>,
        accused: Vec<Accused>,
        now: Now,
    ) {
        if params != self.params {
            return self.on_refused(peer, Kind::Join, Refusal::OtherParams { params }, now);
        }
        match self.view.ring() {
            Some(mine) if mine != ring => {
                return self.on_refused(peer, Kind::Join, Refusal::OtherRing { ring }, now);
            }
            Some(_) if self.secret != Some(secret) => {
                self.join_targets.remove(&peer);
                return self.fault(peer, Fault::OtherSecret);
            }
            Some(_) => {
                self.merge_all(peer, updates, now);
            }
            None => self.join(peer, (ring, secret), updates, &accused, now),
        }
        self.judge_all(peer, accused, now);
        self.join_targets.remove(&peer);
        self.exchange_with(peer);
    }

    fn join(
        &mut self,
        peer: PeerId,
        (ring, secret): (RingId, RingSecret),
        updates: Vec<Update>,
        accused: &[Accused],
        now: Now,
    ) {
        self.enter(ring, secret);
        self.actions.push_back(Action::Joined { ring, secret, params: self.params });
        self.begin_life(self.last_life(&updates, accused), now);
        self.merge_all(peer, updates, now);
        self.start_timers(now);
        self.speak(now);
    }

    // The last incarnation of this peer that the ring knows: it was a member before its store was
    // lost.
    fn last_life(&self, updates: &[Update], accused: &[Accused]) -> Incarnation {
        let known = updates.iter().map(|update| &update.member).chain(accused.iter().map(|one| &one.member));
        let own = known.filter(|member| member.record().peer == self.me);
        own.filter(|member| member.verify(&*self.signer).is_ok())
            .map(|member| member.record().incarnation)
            .max()
            .unwrap_or_default()
    }

    fn on_exchanged(
        &mut self,
        peer: PeerId,
        updates: Vec<Update>,
        wanted: &[PeerId],
        accused: Vec<Accused>,
        now: Now,
    ) {
        let full =
            updates.len() == UPDATES_MAX || wanted.len() == UPDATES_MAX || accused.len() == ACCUSED_MAX;
        let news = self.merge_all(peer, updates, now) + self.judge_all(peer, accused, now);
        for member in wanted.iter().filter(|member| self.view.knows(member)).copied().collect::<Vec<_>>() {
            self.owe(peer, member);
            self.owe_accused(peer, member);
        }
        // There is more; without progress, there is no use in asking for it at once.
        if full && news > 0 {
            self.exchange_with(peer);
        }
    }

    fn push_rest(&mut self, peer: PeerId) {
        let owes = |link: &mut Link| !link.owed.is_empty() || !link.owed_accused.is_empty();
        if self.links.get_mut(&peer).is_some_and(owes) {
            self.links.want(peer, Kind::Push);
        }
    }
}
