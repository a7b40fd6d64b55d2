//! Which address to try next, and when to give up. A value: no clock, no network.

use std::time::Duration;

use henge_types::{Multiaddr, PeerId};
use libp2p::multiaddr::Protocol;

use super::error::{Attempt, AttemptError};

/// Times that all addresses are tried for one lost connection, with a pause in between.
const ROUNDS_MAX: u32 = 3;

/// The pause after the first round; each further one is four times as long.
const PAUSE: Duration = Duration::from_millis(150);

/// The addresses of a client: those that it was given, in a circle, and behind them those that it learnt.
#[derive(Debug)]
pub(super) struct Route {
    given: Vec<Place>,
    learnt: Vec<Place>,
    current: Place,
    /// Who was lost last: a peer that hangs does so at all its addresses, so these are tried last.
    lost: Option<PeerId>,
    attempts: Vec<Attempt>,
    rounds: u32,
    rounds_max: u32,
}

#[derive(Debug, Clone)]
struct Place {
    address: Multiaddr,
    /// Who is there: as the address says, or as was found.
    peer: Option<PeerId>,
}

/// What to do after an address has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Dial the current address.
    Dial,
    /// The same, after a while.
    Pause(Duration),
    /// All addresses failed, often enough.
    GiveUp(Vec<Attempt>),
}

impl Route {
    /// At first every address is tried once.
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        let mut given: Vec<Place> = Vec::new();
        for address in addresses {
            if given.iter().all(|place| place.address != address) {
                given.push(Place::new(address));
            }
        }
        let current = given.first().cloned().unwrap_or_else(|| Place::new(Multiaddr::empty()));
        Self {
            given,
            learnt: Vec::new(),
            current,
            lost: None,
            attempts: Vec::new(),
            rounds: 0,
            rounds_max: 1,
        }
    }

    /// The address in use, or to be dialled now.
    pub(super) fn current(&self) -> Multiaddr {
        self.current.address.clone()
    }

    /// All addresses, those that were given first.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.places().map(|place| place.address.clone()).collect()
    }

    /// Whether there is an address of another peer, as far as is known, to go to.
    pub(super) fn has_others(&self) -> bool {
        self.places().any(|place| {
            place.address != self.current.address && (place.peer.is_none() || place.peer != self.current.peer)
        })
    }

    /// Whether another address, not tried yet, waits behind the current one for a connection that was lost.
    pub(super) fn is_urgent(&self) -> bool {
        self.rounds_max > 1 && self.rounds == 0 && self.has_others()
    }

    /// The peer at the current address answered.
    pub(super) fn on_connected(&mut self, peer: PeerId) {
        self.attempts.clear();
        self.rounds = 0;
        self.rounds_max = ROUNDS_MAX;
        self.current.peer = Some(peer);
        let current = &self.current;
        for place in self.given.iter_mut().filter(|place| place.address == current.address) {
            place.peer = Some(peer);
        }
    }

    /// Takes the addresses of other members, instead of those learnt before.
    pub(super) fn learn(&mut self, addresses: Vec<Multiaddr>) {
        let new = addresses.into_iter().filter(|new| self.given.iter().all(|place| place.address != *new));
        self.learnt = new.map(Place::new).collect();
    }

    /// The connection in use was lost, or its peer is of no use: the next address is the best guess.
    pub(super) fn on_lost(&mut self) {
        self.lost = self.current.peer;
        self.advance();
    }

    /// The current address is of no use.
    pub(super) fn on_failed(&mut self, error: AttemptError) -> Next {
        self.attempts.push(Attempt { address: self.current(), error });
        if self.advance() {
            return Next::Dial;
        }
        let attempts = std::mem::take(&mut self.attempts);
        self.advance();
        self.rounds += 1;
        if self.rounds >= self.rounds_max {
            self.rounds = 0;
            return Next::GiveUp(attempts);
        }
        Next::Pause(PAUSE * 4u32.pow(self.rounds - 1))
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.given.iter().chain(&self.learnt)
    }

    /// Goes to the best address that was not tried in this round, if there is one.
    fn advance(&mut self) -> bool {
        let count = self.given.len().max(1);
        let at = self.given.iter().position(|place| place.address == self.current.address);
        let after_current = at.map_or(0, |at| at + 1);
        let order = (0..count).map(|step| (after_current + step) % count);
        let in_order = order.filter_map(|index| self.given.get(index)).chain(&self.learnt);
        let untried =
            in_order.filter(|place| self.attempts.iter().all(|attempt| attempt.address != place.address));
        let best = untried.min_by_key(|place| place.peer.is_some() && place.peer == self.lost);
        let Some(best) = best.cloned() else { return false };
        self.current = best;
        true
    }
}

impl Place {
    fn new(address: Multiaddr) -> Self {
        let peer = peer_of(&address);
        Self { address, peer }
    }
}

/// The peer that an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests;
