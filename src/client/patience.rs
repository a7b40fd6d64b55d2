//! How long a silent peer is waited for. A value: no clock, no network.

use std::time::Duration;

/// A peer with requests that has said nothing for so long is asked whether it is still there, if there is
/// another to go to. A live peer answers that at once, however long its quorums take.
pub(super) const SILENCE: Duration = Duration::from_millis(250);

/// The least that it has for the answer: a busy machine may leave a process out for as long.
const PROBE_MIN: Duration = Duration::from_millis(250);

/// The most that it has, unless its round trips are known to take longer.
const PROBE_MAX: Duration = Duration::from_secs(4);

/// How many round trips the answer to a probe may take. More than one: it waits behind what was sent before.
const PROBE_ROUND_TRIPS: u32 = 4;

/// The least that an address has, while others wait to be tried, until the peer there has answered.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// How many round trips a connection may take: TCP, Noise, Yamux, the protocol and the probe take six.
const ATTEMPT_ROUND_TRIPS: u32 = 12;

/// What is known of the network, and how much of the silence was no silence after all.
#[derive(Debug, Default)]
pub(super) struct Patience {
    round_trip: Option<Duration>,
    doublings: u32,
}

impl Patience {
    /// A probe was answered after so long.
    pub(super) fn on_round_trip(&mut self, took: Duration) {
        // Smoothed as TCP does it.
        self.round_trip = Some(self.round_trip.map_or(took, |smoothed| (smoothed * 7 + took) / 8));
    }

    /// A request was answered.
    pub(super) fn on_answer(&mut self) {
        self.doublings = 0;
    }

    /// A peer was left because of its silence. If all are silent, it is the network or this program
    /// that is slow, and going round faster than that helps nobody.
    pub(super) fn on_silence(&mut self) {
        self.doublings += 1;
    }

    /// How long the answer to a probe may take: 250 ms or more.
    pub(super) fn probe(&self) -> Duration {
        let by_network = self.round_trips(PROBE_ROUND_TRIPS);
        let doubled = PROBE_MIN * 2u32.saturating_pow(self.doublings.min(8));
        doubled.min(PROBE_MAX).max(by_network)
    }

    /// How long an address may take while others wait to be tried: 1 s or more.
    pub(super) fn attempt(&self) -> Duration {
        ATTEMPT_MIN.max(self.round_trips(ATTEMPT_ROUND_TRIPS))
    }

    fn round_trips(&self, count: u32) -> Duration {
        self.round_trip.unwrap_or_default() * count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_far_peer_has_longer() {
        let mut patience = Patience::default();
        assert_eq!((patience.probe(), patience.attempt()), (ms(250), ms(1_000)));
        patience.on_round_trip(ms(200));
        assert_eq!((patience.probe(), patience.attempt()), (ms(800), ms(2_400)));
        patience.on_round_trip(ms(1_000));
        assert_eq!(patience.probe(), ms(1_200));
    }

    #[test]
    fn when_every_peer_is_silent_each_has_longer_until_one_answers() {
        let mut patience = Patience::default();
        let mut given = Vec::new();
        for _ in 0..6 {
            given.push(patience.probe());
            patience.on_silence();
        }
        assert_eq!(given, [250, 500, 1_000, 2_000, 4_000, 4_000].map(ms));
        patience.on_answer();
        assert_eq!(patience.probe(), ms(250));
    }
}
