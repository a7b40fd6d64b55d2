//! What a change of a ring has to move, by the placement, and what its peers moved.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use henge::placement::{Placed, Placement};
use henge_types::{ClusterParams, Key, Partition, Weight};
use serde_json::Value;

use super::load::Load;
use super::now;
use super::process::Peer;

/// The peers of a ring by their names.
type Peers = BTreeMap<&'static str, Peer>;

/// How many keys each partition has, and how far the peers of the ring are.
pub(crate) struct Ledger {
    keys: Vec<u64>,
    placement: Placement,
    received: BTreeMap<&'static str, Traffic>,
    since: Instant,
}

/// What came to one peer, or to several, by range sync.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    records: u64,
    bytes: u64,
}

/// One change of a ring, from the last entry to this one.
#[derive(Debug)]
pub(crate) struct Entry {
    took: Duration,
    received: Traffic,
    /// Records that owners had to get.
    due: u64,
    /// The keys of the fullest owner, in relation to the mean.
    balance: f64,
    noticed: Noticed,
    /// Of the largest peer, in memory.
    resident_kib: u64,
}

/// What clients noticed in some time.
#[derive(Debug)]
pub(crate) struct Noticed {
    errors: BTreeMap<&'static str, usize>,
    longest_pause: Duration,
    /// Of all answers.
    p50: Duration,
    p99: Duration,
}

impl Noticed {
    pub(crate) fn since(since: Instant, load: &Load) -> Self {
        let until = now();
        load.with_history(|history| {
            let mut took = history.answers_since(since);
            took.sort_unstable();
            let at = |percent: usize| took[(took.len() - 1) * percent / 100];
            let pauses = history.pauses(since, until);
            Self {
                errors: history.errors_since(since),
                longest_pause: pauses.into_values().max().unwrap_or_default(),
                p50: at(50),
                p99: at(99),
            }
        })
    }
}

impl Ledger {
    /// A settled ring that holds `keys`.
    pub(crate) fn open(peers: &Peers, keys: impl Iterator<Item = String>) -> Self {
        let count = ClusterParams::default().partitions();
        let mut by_partition = vec![0; count.len()];
        for key in keys {
            by_partition[Key::new(key).unwrap().position().partition(count).index()] += 1;
        }
        let (placement, received) = (placement(peers), received(peers));
        Self { keys: by_partition, placement, received, since: now() }
    }

    /// The time of the next change begins.
    pub(crate) fn begin(&mut self, peers: &Peers) {
        self.received = received(peers);
        self.since = now();
    }

    /// A settled ring, after a change of it.
    pub(crate) fn enter(&mut self, peers: &Peers, load: &Load) -> Entry {
        let until = now();
        let (placement, received) = (placement(peers), received(peers));
        let was = std::mem::replace(&mut self.placement, placement);
        let came = |(name, is): (&&'static str, &Traffic)| {
            let was = self.received.get(name).copied().unwrap_or_default();
            Traffic { records: is.records - was.records, bytes: is.bytes - was.bytes }
        };
        let add =
            |a: Traffic, b: Traffic| Traffic { records: a.records + b.records, bytes: a.bytes + b.bytes };
        Entry {
            took: until - self.since,
            received: received.iter().map(came).fold(Traffic::default(), add),
            due: self.due(&was),
            balance: self.balance(),
            noticed: Noticed::since(self.since, load),
            resident_kib: peers.values().map(resident_kib).max().unwrap_or_default(),
        }
    }

    /// Records of partitions that have owners now who were none before.
    fn due(&self, was: &Placement) -> u64 {
        let all = self.placement.params().partitions().all();
        let gained = |p: Partition| self.placement.owners(p).filter(|peer| !was.is_owner(p, peer)).count();
        all.map(|partition| self.keys[partition.index()] * gained(partition) as u64).sum()
    }

    /// All peers have the same weight here.
    fn balance(&self) -> f64 {
        let keys = |partition: Partition| self.keys[partition.index()];
        let owned = |peer| self.placement.owned_partitions(peer).map(keys).sum::<u64>() as f64;
        let owned: Vec<f64> = self.placement.peers().iter().map(owned).collect();
        owned.iter().copied().fold(0.0, f64::max) * owned.len() as f64 / owned.iter().sum::<f64>()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { records, bytes } = self.received;
        let ratio = records as f64 / self.due.max(1) as f64;
        write!(
            f,
            "{:.1} s; moved {records} records, {:.1} MB, ",
            self.took.as_secs_f64(),
            bytes as f64 / 1e6
        )?;
        write!(f, "of {} that the placement moves: {ratio:.3}; ", self.due)?;
        write!(f, "fullest owner {:.3} of the mean; {}; ", self.balance, self.noticed)?;
        write!(f, "largest peer {} MiB; load {}", self.resident_kib / 1024, load_average())
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |took: Duration| took.as_secs_f64() * 1e3;
        let (p50, p99, pause) = (ms(self.p50), ms(self.p99), ms(self.longest_pause));
        write!(f, "errors {:?}, p50 {p50:.1} ms, p99 {p99:.0} ms, longest pause {pause:.0} ms", self.errors)
    }
}

fn placement(peers: &Peers) -> Placement {
    let status = peers.values().next().unwrap().status();
    let members = status["members"].as_array().unwrap().iter().filter(|member| member["phase"] == "settled");
    let placed = |member: &Value| {
        let peer = member["peer"].as_str().unwrap().parse().unwrap();
        Placed { peer, weight: Weight::default(), zone: None }
    };
    Placement::compute(&members.map(placed).collect::<Vec<_>>(), &ClusterParams::default())
}

fn received(peers: &Peers) -> BTreeMap<&'static str, Traffic> {
    let of = |(name, peer): (&&'static str, &Peer)| {
        let status = peer.status();
        let counter = |name: &str| status["counters"][name].as_u64().unwrap();
        (*name, Traffic { records: counter("sync_records_received"), bytes: counter("sync_bytes_received") })
    };
    peers.iter().map(of).collect()
}

/// Nothing where the system does not tell.
fn resident_kib(peer: &Peer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// How many processes want to run on this machine, on the average of the last minute.
pub(crate) fn load_average() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split_whitespace().next().unwrap_or("unknown").to_owned()
}
