//! Answers to what others ask.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use henge_types::{Now, PeerId};

use super::State;
use crate::limits::UPDATES_MAX;
use crate::message::{Known, Refusal, Request, Response, Update};
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
            Request::Exchange { summary, .. } => self.exchange(&summary),
            Request::Push { updates, .. } => {
                self.merge_all(from, updates, now);
                Response::Pushed
            }
            Request::Fetch { peers, .. } => {
                // Each once, however often it is asked about: a map is much longer than a name.
                let peers: BTreeSet<PeerId> = peers.into_iter().collect();
                let updates = peers.iter().filter_map(|peer| self.view.update(peer)).collect();
                Response::Updates { updates }
            }
            Request::Probe { .. } => match self.view.get(&self.me) {
                Some(own) => Response::Alive { member: own.signed().clone() },
                None => Response::Refused(Refusal::NotMember),
            },
        }
    }

    // The newcomer's own record first, if it has been here before: its next incarnation has to
    // be a later one.
    fn welcome(&mut self, newcomer: PeerId) -> Response {
        let (Some(ring), Some(secret)) = (self.view.ring(), self.secret) else {
            return Response::Refused(Refusal::NotMember);
        };
        let first = [newcomer, self.me];
        let others = self.members_from_anywhere();
        let updates = first
            .iter()
            .chain(others.iter().filter(|peer| !first.contains(peer)))
            .filter_map(|peer| self.view.update(peer))
            .take(UPDATES_MAX)
            .collect();
        Response::Welcome { ring, secret, params: self.params, updates }
    }

    fn exchange(&mut self, summary: &[Known]) -> Response {
        let theirs: BTreeMap<PeerId, &Known> = summary.iter().map(|known| (known.peer, known)).collect();
        let updates = self
            .members_from_anywhere()
            .iter()
            .filter_map(|peer| self.news(peer, theirs.get(peer).copied()))
            .take(UPDATES_MAX)
            .collect();
        let wanted = theirs
            .values()
            .filter(|known| self.wants(known))
            .map(|known| known.peer)
            .take(UPDATES_MAX)
            .collect();
        Response::Exchanged { updates, wanted }
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
            return !self.own.may_have_signed(theirs.incarnation, theirs.counter);
        }
        match self.view.get(&theirs.peer) {
            None => holds_key(&theirs.peer) && !self.view.is_full(),
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
    let record = mine.record();
    (record.incarnation, record.counter).cmp(&(theirs.incarnation, theirs.counter))
}
