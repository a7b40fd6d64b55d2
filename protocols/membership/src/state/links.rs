//! The connected peers, and what is to be asked of each: never two requests of one kind at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_types::PeerId;

use super::Token;
use crate::limits::LINKS_MAX;

/// The kinds of requests, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Probe,
    /// A second probe while the first is not answered: either may be lost on its way.
    Reprobe,
    Join,
    Push,
    Fetch,
    Exchange,
}

#[derive(Debug, Default)]
struct Slot {
    wanted: bool,
    delayed: bool,
    busy: bool,
}

impl Slot {
    fn is_ready(&self) -> bool {
        self.wanted && !self.delayed && !self.busy
    }
}

/// One connected peer.
#[derive(Debug, Default)]
pub(super) struct Link {
    probe: Slot,
    reprobe: Slot,
    join: Slot,
    push: Slot,
    fetch: Slot,
    exchange: Slot,
    /// Of whom it has to be told.
    pub(super) owed: BTreeSet<PeerId>,
    /// Of the accusations against whom it has to be told.
    pub(super) owed_accused: BTreeSet<PeerId>,
    /// About whom it is to be asked.
    pub(super) fetch_of: BTreeSet<PeerId>,
    /// About whom it has been asked.
    pub(super) fetching: Vec<PeerId>,
}

impl Link {
    fn slot(&mut self, kind: Kind) -> &mut Slot {
        match kind {
            Kind::Probe => &mut self.probe,
            Kind::Reprobe => &mut self.reprobe,
            Kind::Join => &mut self.join,
            Kind::Push => &mut self.push,
            Kind::Fetch => &mut self.fetch,
            Kind::Exchange => &mut self.exchange,
        }
    }
}

/// All connected peers. Bounded by [`LINKS_MAX`], and by it everything else here: each link has
/// six slots, and each slot at most one entry in each index.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<PeerId, Link>,
    in_flight: BTreeMap<Token, (PeerId, Kind)>,
    ready: BTreeSet<(Kind, PeerId)>,
    delayed: BTreeSet<(Duration, PeerId, Kind)>,
    last_token: u64,
}

impl Links {
    /// Says whether there was room.
    pub(super) fn connect(&mut self, peer: PeerId) -> bool {
        if self.links.len() >= LINKS_MAX && !self.links.contains_key(&peer) {
            return false;
        }
        self.links.entry(peer).or_default();
        true
    }

    /// Answers that still come from it are not waited for any more.
    pub(super) fn disconnect(&mut self, peer: &PeerId) -> Option<Link> {
        self.in_flight.retain(|_, (of, _)| of != peer);
        self.ready.retain(|(_, of)| of != peer);
        self.delayed.retain(|(_, of, _)| of != peer);
        self.links.remove(peer)
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.links.contains_key(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Link> {
        self.links.get_mut(peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.links.keys()
    }

    /// A request of this kind is to be sent as soon as the last one is answered.
    pub(super) fn want(&mut self, peer: PeerId, kind: Kind) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let slot = link.slot(kind);
        slot.wanted = true;
        if slot.is_ready() {
            self.ready.insert((kind, peer));
        }
    }

    /// The same, but not before `at`.
    pub(super) fn want_at(&mut self, peer: PeerId, kind: Kind, at: Duration) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let slot = link.slot(kind);
        slot.wanted = true;
        if !slot.delayed {
            slot.delayed = true;
            self.ready.remove(&(kind, peer));
            self.delayed.insert((at, peer, kind));
        }
    }

    /// Lets those go whose time has come.
    pub(super) fn wake(&mut self, now: Duration) {
        while let Some((at, peer, kind)) = self.delayed.pop_first() {
            if at > now {
                self.delayed.insert((at, peer, kind));
                return;
            }
            if let Some(link) = self.links.get_mut(&peer) {
                link.slot(kind).delayed = false;
                self.make_ready(peer, kind);
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.delayed.first().map(|(at, _, _)| *at)
    }

    /// The most urgent request that can be sent now; it counts as sent.
    pub(super) fn next_request(&mut self) -> Option<(PeerId, Kind, Token)> {
        let (kind, peer) = self.ready.pop_first()?;
        let slot = self.links.get_mut(&peer)?.slot(kind);
        slot.wanted = false;
        slot.busy = true;
        self.last_token += 1;
        let token = Token(self.last_token);
        self.in_flight.insert(token, (peer, kind));
        Some((peer, kind, token))
    }

    /// The request is answered, or was not sent after all. What it was; none if nobody waits
    /// for it any more.
    pub(super) fn complete(&mut self, token: Token) -> Option<(PeerId, Kind)> {
        let (peer, kind) = self.in_flight.remove(&token)?;
        self.links.get_mut(&peer)?.slot(kind).busy = false;
        self.make_ready(peer, kind);
        Some((peer, kind))
    }

    fn make_ready(&mut self, peer: PeerId, kind: Kind) {
        if self.links.get_mut(&peer).is_some_and(|link| link.slot(kind).is_ready()) {
            self.ready.insert((kind, peer));
        }
    }
}
