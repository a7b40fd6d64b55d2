//! Answers to what others ask.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use henge_types::{Incarnation, Now, PeerId};

use super::State;
use crate::limits::UPDATES_MAX;
use crate::message::{Known, Refusal, Request, Response, Update, fitting};
use crate::view::{Member, holds_key};

impl State {
    /// `from` asks; the answer goes back to it.
    pub fn on_request(&mut self, from: PeerId, request: Request, now: Now) -> Response {
        let response = match self.refusal(from, &request) {
            None => self.answer(from, request, now),
            Some(refusal) => {
                self.counters.refused += 1;
                Response::Refused(refusal)
            }
        };
        self.settle(now);
        response
    }

    fn refusal(&mut self, from: PeerId, request: &Request) -> Option<Refusal> {
        if let Err(fault) = request.check_bounds() {
            self.fault(from, fault);
            return Some(Refusal::TooMany);
        }
        let Some(mine) = self.view.ring() else { return Some(Refusal::NotMember) };
        if request.ring().is_some_and(|ring| ring != mine) {
            return Some(Refusal::OtherRing { ring: mine });
        }
        match request {
            Request::Join { params, .. } if *params != self.params => {
                Some(Refusal::OtherParams { params: self.params })
            }
            Request::Join { .. }
            | Request::Exchange { .. }
            | Request::Push { .. }
            | Request::Fetch { .. }
            | Request::Probe { .. } => None,
        }
    }

    fn answer(&mut self, from: PeerId, request: Request, now: Now) -> Response {
        match request {
            Request::Join { .. } => self.welcome(from),
            Request::Exchange { summary, evicted, pending, .. } => self.exchange(&summary, &evicted, pending),
            Request::Push { updates, accused, .. } => {
                self.merge_all(from, updates, now);
                self.judge_all(from, accused, now);
                // The newest record of who asks may be of a life that is over.
                self.tell_evicted(&from);
                Response::Pushed
            }
            Request::Fetch { peers, .. } => {
                // Each once, however often it is asked about: a map is much longer than a name.
                let peers: BTreeSet<PeerId> = peers.into_iter().collect();
                let updates = peers.iter().filter_map(|peer| self.view.update(peer)).collect();
                Response::Updates { updates }
            }
            Request::Probe { .. } => {
                self.tell_evicted(&from);
                match self.view.get(&self.me) {
                    Some(own) => Response::Alive { member: own.signed().clone() },
                    None => Response::Refused(Refusal::NotMember),
                }
            }
        }
    }

    // The newcomer's own record first, if it has been here before: its next incarnation has to
    // be a later one.
    fn welcome(&mut self, newcomer: PeerId) -> Response {
        let (Some(ring), Some(secret)) = (self.view.ring(), self.secret) else {
            return Response::Refused(Refusal::NotMember);
        };
        let first = [newcomer, self.me];
        let mut others = self.members_from_anywhere();
        // Who has left is no contact: a newcomer hears of it last.
        others.sort_by_key(|peer| !self.view.get(peer).is_some_and(Member::is_present));
        let updates = first
            .iter()
            .chain(others.iter().filter(|peer| !first.contains(peer)))
            .filter_map(|peer| self.view.update(peer))
            .take(UPDATES_MAX)
            .collect();
        let evicted = self.view.evictions().map(|(peer, _)| peer).filter(|peer| **peer != newcomer);
        let accused =
            fitting([&newcomer].into_iter().chain(evicted).flat_map(|peer| self.view.accused(peer)));
        Response::Welcome { ring, secret, params: self.params, updates, accused }
    }

    fn exchange(&mut self, summary: &[Known], evicted: &[(PeerId, Incarnation)], pending: u64) -> Response {
        let theirs: BTreeMap<PeerId, &Known> = summary.iter().map(|known| (known.peer, known)).collect();
        let evicted: BTreeMap<PeerId, Incarnation> = evicted.iter().copied().collect();
        let ended = |peer: &PeerId, incarnation| evicted.get(peer).is_some_and(|last| incarnation <= *last);
        let unknown = self.view.evictions().filter(|(peer, mine)| !ended(peer, mine.incarnation()));
        let waiting = self.view.pending().filter(|_| pending != self.view.pending_digest());
        let against = unknown.map(|(peer, _)| peer).chain(waiting).collect::<BTreeSet<_>>();
        let accused = fitting(against.into_iter().flat_map(|peer| self.view.accused(peer)));
        let updates = self
            .members_from_anywhere()
            .iter()
            .filter_map(|peer| self.news(peer, theirs.get(peer).copied()))
            .take(UPDATES_MAX)
            .collect();
        let unheard =
            evicted.iter().filter(|(peer, last)| !self.view.is_evicted(peer, **last)).map(|(p, _)| *p);
        let newer = theirs.values().filter(|known| self.wants(known)).map(|known| known.peer);
        let wanted = unheard.chain(newer).take(UPDATES_MAX).collect();
        Response::Exchanged { updates, wanted, accused }
    }

    // What they do not know of `peer`.
    fn news(&self, peer: &PeerId, theirs: Option<&Known>) -> Option<Update> {
        let mine = self.view.get(peer)?;
        let Some(theirs) = theirs else { return self.view.update(peer) };
        let has_map =
            theirs.custody == mine.record().custody && theirs.incarnation == mine.record().incarnation;
        match age(mine, theirs) {
            Ordering::Greater if has_map => Some(Update { member: mine.signed().clone(), custody: None }),
            Ordering::Greater => self.view.update(peer),
            Ordering::Equal if !has_map && mine.custody_is_current() => self.view.update(peer),
            Ordering::Equal | Ordering::Less => None,
        }
    }

    fn wants(&self, theirs: &Known) -> bool {
        if theirs.peer == self.me {
            return !self.own.may_have_signed(theirs.incarnation, theirs.counter)
                || self.own.forgot_to_leave(theirs.incarnation, theirs.state);
        }
        if self.view.is_evicted(&theirs.peer, theirs.incarnation) {
            return false;
        }
        match self.view.get(&theirs.peer) {
            None => holds_key(&theirs.peer) && self.view.has_room_for(&theirs.peer),
            Some(mine) => match age(mine, theirs) {
                Ordering::Less => true,
                Ordering::Equal => !mine.custody_is_current() && theirs.custody == mine.record().custody,
                Ordering::Greater => false,
            },
        }
    }

    // All members, from a random one on: where not all fit, it is not always the same ones that do.
    fn members_from_anywhere(&mut self) -> Vec<PeerId> {
        let mut members: Vec<PeerId> = self.view.iter().map(|(peer, _)| *peer).collect();
        let first = self.rng.below(members.len());
        members.rotate_left(first);
        members
    }
}

fn age(mine: &Member, theirs: &Known) -> Ordering {
    mine.record().age().cmp(&(theirs.incarnation, theirs.state, theirs.counter))
}
