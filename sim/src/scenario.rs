//! One run, described: how large, how loaded, what goes wrong. Drawn from a seed, or written down.

use std::time::Duration;

use henge::store::worker::Durability;
use henge_types::ClusterParams;

use crate::client::Workload;
use crate::mutations::Mutation;
use crate::nemesis::{Fault, Menu, Planned};
use crate::rng::Rng;
use crate::simulation::{Report, Simulation};
use crate::trace::Watch;
use crate::{disk, network};

/// The shortest lease of a small ring: four heartbeats.
pub const LEASE_MIN: Duration = Duration::from_secs(4);

/// A run that can be made again.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Peers from the beginning.
    pub peers: usize,
    /// Over how many zones the peers are spread, by turns; 0 for none.
    pub zones: usize,
    /// The parameters of the ring.
    pub params: ClusterParams,
    /// What clients do.
    pub workload: Workload,
    /// How long clients work and things go wrong.
    pub duration: Duration,
    /// The network at its best.
    pub network: network::Profile,
    /// The disks.
    pub disk: disk::Profile,
    /// Largest drift of a clock, in millionths.
    pub drift_ppm: u64,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// How long a peer that is cut off still answers strictly; the default of henge if none.
    pub lease: Option<Duration>,
    /// After how long a member that is down is evicted, if ever.
    pub evict_after: Option<Duration>,
    /// For how long deleted records are kept; the default of henge if none.
    pub gc_grace: Option<Duration>,
    /// A deliberate bug.
    pub mutation: Option<Mutation>,
}

impl Scenario {
    /// A quiet ring of three: nothing goes wrong.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            peers: 3,
            zones: 0,
            params: small(3, 2, 2),
            workload: Workload::default(),
            duration: Duration::from_secs(20),
            network: network::Profile::default(),
            disk: disk::Profile::default(),
            drift_ppm: 100,
            faults: Vec::new(),
            lease: None,
            evict_after: None,
            gc_grace: None,
            mutation: None,
        }
    }

    /// All that a seed can say.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut Rng::new(seed, "scenario");
        let mut scenario = Self::new(seed);
        scenario.peers = match rng.below(1000) {
            0..=599 => 3 + rng.index(3),
            600..=969 => 3 + rng.index(8),
            970..=994 => 10 + rng.index(15),
            _ => 25 + rng.index(76),
        };
        scenario.params = match rng.below(10) {
            0..=6 => small(3, 2, 2),
            7 => small(3, 1, 3),
            8 => small(5, 3, 3),
            _ => small(2, 1, 2),
        };
        scenario.duration = Duration::from_secs(rng.between(5, 40));
        scenario.workload = Workload {
            clients: 1 + rng.index(8),
            keys: 1 + rng.index(12),
            hot: rng.below(600),
            pause: rng.time(Duration::from_millis(20), Duration::from_millis(1500)),
            timeout: rng.time(Duration::from_millis(300), Duration::from_secs(4)),
            padding: if rng.chance(50) { 4000 } else { 40 },
            quorums: rng.below(500),
            strict: 600,
        };
        scenario.network = network(rng);
        scenario.disk = disk(rng);
        scenario.drift_ppm = rng.below(5000);
        let large = scenario.peers > 24;
        if large {
            scenario.duration = scenario.duration.min(Duration::from_secs(15));
        }
        let count = if rng.chance(100) { 0 } else { rng.index(if large { 8 } else { 25 }) };
        let mut menu = Menu::default();
        if scenario.disk.durability != Durability::Fsync {
            // What a crash of the machine may lose is then acknowledged already.
            menu.machine = 0;
            menu.blackout = 0;
        }
        scenario.faults = menu.plan(rng, count, scenario.duration, scenario.peers, scenario.workload.keys);
        scenario.zones = if rng.chance(250) { 2 + rng.index(3) } else { 0 };
        // The shortest that the membership allows is four heartbeats, and an eviction takes two leases.
        scenario.lease = rng.chance(400).then_some(LEASE_MIN);
        let evicts = scenario.lease.is_some() && rng.chance(600);
        scenario.evict_after = evicts.then_some(LEASE_MIN * 2);
        if rng.chance(300) {
            scenario = scenario.collecting(rng.time(Duration::from_secs(8), Duration::from_secs(25)));
        }
        scenario
    }

    /// Deleted records are forgotten after so long, and nobody is away for long enough to miss that but who is
    /// evicted; clocks differ by little against it.
    #[must_use]
    pub fn collecting(mut self, grace: Duration) -> Self {
        self.gc_grace = Some(grace);
        let skew = i64::try_from(grace.as_millis() / 16).unwrap_or(i64::MAX).max(1);
        for planned in &mut self.faults {
            planned.lasts = planned.lasts.min(grace / 4);
            if let Fault::Jump { by_ms, .. } = &mut planned.fault {
                *by_ms %= skew;
            }
        }
        self
    }

    /// With so many peers from the beginning.
    #[must_use]
    pub fn with_peers(self, peers: usize) -> Self {
        Self { peers, ..self }
    }

    /// With the peers spread over so many zones, by turns.
    #[must_use]
    pub fn with_zones(self, zones: usize) -> Self {
        Self { zones, ..self }
    }

    /// With other clients.
    #[must_use]
    pub fn with_workload(self, workload: Workload) -> Self {
        Self { workload, ..self }
    }

    /// Clients work, and things go wrong, for so long.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// With members evicted as soon as can be.
    #[must_use]
    pub fn with_evictions(self) -> Self {
        Self { lease: Some(LEASE_MIN), evict_after: Some(LEASE_MIN * 2), ..self }
    }

    /// With exactly these faults.
    #[must_use]
    pub fn with_faults(self, faults: Vec<Planned>) -> Self {
        Self { faults, ..self }
    }

    /// With `count` faults drawn from `menu`.
    #[must_use]
    pub fn with_menu(mut self, menu: &Menu, count: usize) -> Self {
        let rng = &mut Rng::new(self.seed, "faults");
        self.faults = menu.plan(rng, count, self.duration, self.peers, self.workload.keys);
        self
    }

    /// With only those of its faults that have these numbers.
    #[must_use]
    pub fn keeping(&self, kept: &[usize]) -> Self {
        let faults = kept.iter().filter_map(|at| self.faults.get(*at).cloned()).collect();
        Self { faults, ..self.clone() }
    }

    /// With a deliberate bug.
    #[must_use]
    pub fn with_mutation(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }

    /// Runs it to its end, or to the first violation.
    #[must_use]
    pub fn run(&self) -> Report {
        Simulation::new(self, None).run()
    }

    /// The same, writing down what happens to `key`.
    #[must_use]
    pub fn run_watched(&self, key: Option<String>) -> Report {
        Simulation::new(self, Some(Watch::key(key))).run()
    }
}

/// Q = 64 and few tokens keep a ring cheap.
fn small(n: u8, r: u8, w: u8) -> ClusterParams {
    let params = ClusterParams::new(n)
        .and_then(|p| p.with_partitions(64))
        .and_then(|p| p.with_quorums(r, w))
        .and_then(|p| p.with_tokens_per_weight(16));
    params.unwrap_or_default()
}

fn network(rng: &mut Rng) -> network::Profile {
    let latency = rng.time(Duration::from_micros(50), Duration::from_millis(20));
    let lossy = rng.chance(400);
    network::Profile {
        latency,
        jitter: latency * u32::try_from(rng.between(0, 10)).unwrap_or(1),
        lost: if lossy { rng.below(50) } else { 0 },
        doubled: if lossy { rng.below(50) } else { 0 },
        queue_max: if rng.chance(50) { 8 } else { 1024 },
    }
}

fn disk(rng: &mut Rng) -> disk::Profile {
    disk::Profile {
        durability: match rng.below(10) {
            0 => Durability::Interval,
            1 => Durability::Os,
            _ => Durability::Fsync,
        },
        access: rng.time(Duration::from_micros(20), Duration::from_millis(2)),
        sync: rng.time(Duration::from_micros(100), Duration::from_millis(20)),
        group_max: 1 + rng.index(32),
    }
}
