//! The network: how long a message takes from one peer to another, and whether it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::rng::Rng;
use crate::world::Pid;

/// How a network is while it is as it should be.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The shortest way of a message.
    pub latency: Duration,
    /// What may come on top; most messages take little of it.
    pub jitter: Duration,
    /// Messages lost, of a thousand.
    pub lost: u64,
    /// Messages that arrive twice, of a thousand.
    pub doubled: u64,
    /// Requests that may be under way from one peer to another.
    pub queue_max: usize,
}

impl Default for Profile {
    /// A data centre: fast, and nothing is lost.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100),
            jitter: Duration::from_micros(400),
            lost: 0,
            doubled: 0,
            queue_max: 1024,
        }
    }
}

/// The network as it is now.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    profile: Profile,
    // From whom to whom nothing passes.
    cuts: BTreeSet<(Pid, Pid)>,
    slow: BTreeMap<(Pid, Pid), Duration>,
    // Who is told nothing about the ring.
    deaf: BTreeSet<Pid>,
}

impl Network {
    /// A network that is well.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self {
            rng: Rng::new(seed, "network"),
            profile,
            cuts: BTreeSet::new(),
            slow: BTreeMap::new(),
            deaf: BTreeSet::new(),
        }
    }

    /// How it is.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// After how long each copy of a message arrives; none if it is lost.
    pub fn route(&mut self, from: Pid, to: Pid) -> Vec<Duration> {
        if from == to {
            return vec![Duration::from_micros(10)];
        }
        // Drawn before the cut is looked at, so that a cut changes no other message's fate.
        let lost = self.rng.chance(self.profile.lost);
        let doubled = self.rng.chance(self.profile.doubled);
        let (first, second) = (self.latency(from, to), self.latency(from, to));
        if lost || !self.passes(from, to) {
            return Vec::new();
        }
        if doubled { vec![first, second] } else { vec![first] }
    }

    fn latency(&mut self, from: Pid, to: Pid) -> Duration {
        let full = self.rng.time(Duration::ZERO, self.profile.jitter);
        let jitter = if self.rng.chance(900) { full / 8 } else { full };
        let slow = self.slow.get(&(from, to)).copied().unwrap_or_default();
        self.profile.latency + jitter + self.rng.time(slow / 2, slow)
    }

    /// Whether anything passes from one to the other.
    #[must_use]
    pub fn passes(&self, from: Pid, to: Pid) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Nothing passes any more from one to the other.
    pub fn cut(&mut self, from: Pid, to: Pid) {
        self.cuts.insert((from, to));
    }

    /// It passes again.
    pub fn mend(&mut self, from: Pid, to: Pid) {
        self.cuts.remove(&(from, to));
        self.slow.remove(&(from, to));
    }

    /// What passes takes about so much longer.
    pub fn slow_down(&mut self, from: Pid, to: Pid, by: Duration) {
        self.slow.insert((from, to), by);
    }

    /// Whether a peer is told nothing about the ring.
    #[must_use]
    pub fn is_deaf(&self, pid: Pid) -> bool {
        self.deaf.contains(&pid)
    }

    /// No gossip, request or answer of the membership protocol reaches a peer any more, or all do
    /// again. Everything else passes as before.
    pub fn deafen(&mut self, pid: Pid, deaf: bool) {
        if deaf {
            self.deaf.insert(pid);
        } else {
            self.deaf.remove(&pid);
        }
    }

    /// Everything passes, and nothing is lost or doubled any more.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.slow.clear();
        self.deaf.clear();
        self.profile.lost = 0;
        self.profile.doubled = 0;
    }
}
