//! Which address to try next, and when to give up. A value: no clock, no network.

use std::time::Duration;

use henge_types::Multiaddr;

use super::error::{Attempt, AttemptError};

/// Times that all addresses are tried for one lost connection, with a pause in between.
const ROUNDS_MAX: u32 = 3;

/// The pause after the first round; each further one is four times as long.
const PAUSE: Duration = Duration::from_millis(150);

/// The addresses of a client, in a circle.
#[derive(Debug)]
pub(super) struct Route {
    addresses: Vec<Multiaddr>,
    current: usize,
    attempts: Vec<Attempt>,
    rounds: u32,
    rounds_max: u32,
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
        Self { addresses, current: 0, attempts: Vec::new(), rounds: 0, rounds_max: 1 }
    }

    /// The address in use, or to be dialled now.
    pub(super) fn current(&self) -> Multiaddr {
        self.addresses.get(self.current).cloned().unwrap_or_else(Multiaddr::empty)
    }

    /// Whether there is another address to go to.
    pub(super) fn has_others(&self) -> bool {
        self.addresses.len() > 1
    }

    /// The peer at the current address answered.
    pub(super) fn on_connected(&mut self) {
        self.attempts.clear();
        self.rounds = 0;
        self.rounds_max = ROUNDS_MAX;
    }

    /// The connection in use was lost: the next address is the best guess.
    pub(super) fn on_lost(&mut self) {
        self.advance();
    }

    /// The current address is of no use.
    pub(super) fn on_failed(&mut self, error: AttemptError) -> Next {
        self.attempts.push(Attempt { address: self.current(), error });
        self.advance();
        if self.attempts.len() < self.addresses.len() {
            return Next::Dial;
        }
        let attempts = std::mem::take(&mut self.attempts);
        self.rounds += 1;
        if self.rounds >= self.rounds_max {
            self.rounds = 0;
            return Next::GiveUp(attempts);
        }
        Next::Pause(PAUSE * 4u32.pow(self.rounds - 1))
    }

    fn advance(&mut self) {
        self.current = (self.current + 1) % self.addresses.len().max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(count: u16) -> Route {
        Route::new((1..=count).map(address).collect())
    }

    fn address(port: u16) -> Multiaddr {
        Multiaddr::empty().with(libp2p::multiaddr::Protocol::Tcp(port))
    }

    fn refused() -> AttemptError {
        AttemptError::Unreachable { reason: "refused".to_owned() }
    }

    #[test]
    fn at_first_each_address_is_tried_once_and_all_failures_are_named() {
        let mut route = route(2);
        assert_eq!(route.current(), address(1));
        assert_eq!(route.on_failed(refused()), Next::Dial);
        assert_eq!(route.current(), address(2));
        let Next::GiveUp(attempts) = route.on_failed(refused()) else { panic!("one round only") };
        let tried: Vec<_> = attempts.into_iter().map(|attempt| attempt.address).collect();
        assert_eq!(tried, [address(1), address(2)]);
    }

    #[test]
    fn a_lost_connection_moves_on_and_is_tried_for_three_rounds() {
        let mut route = route(2);
        route.on_connected();
        route.on_lost();
        assert_eq!(route.current(), address(2));
        assert_eq!(route.on_failed(refused()), Next::Dial);
        assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
        assert_eq!(route.on_failed(refused()), Next::Dial);
        assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE * 4));
        assert_eq!(route.on_failed(refused()), Next::Dial);
        assert!(matches!(route.on_failed(refused()), Next::GiveUp(_)));
    }

    #[test]
    fn a_connection_in_between_starts_the_rounds_anew() {
        let mut route = route(1);
        route.on_connected();
        assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
        route.on_connected();
        assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
    }
}
