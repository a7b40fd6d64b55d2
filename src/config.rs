//! What a peer is told at its start, checked once.

use std::time::Duration;

use henge_membership::limits::LEASE_MIN;
use henge_types::{ClusterName, ClusterParams, Multiaddr, Weight, Zone};

/// What may wait for one peer that is down (our choice: some days of a quiet ring, some minutes of
/// a busy one; beyond, its writes need other peers).
pub const HINTS_MAX_BYTES: u64 = 1 << 30;
/// How fast hints are handed over (our choice: beside them a disk or a link of 1 Gbit/s has room).
const HANDOFF_BYTES_PER_SECOND: u64 = 16 << 20;
/// How long tombstones are kept at least (as in Cassandra: ten days).
pub const GC_GRACE: Duration = Duration::from_secs(10 * 24 * 3600);

/// How often another member is compared with (our choice: a ring of ten is through in 100 s).
pub const SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// How one peer takes part. Fixed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    cluster: ClusterName,
    params: Option<ClusterParams>,
    join: Vec<Multiaddr>,
    weight: Option<Weight>,
    zone: Option<Zone>,
    hints_max_bytes: u64,
    handoff_bytes_per_second: u64,
    gc_grace: Duration,
    sync_interval: Option<Duration>,
    evict_after: Option<Duration>,
    lease: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterName::default(),
            params: None,
            join: Vec::new(),
            weight: None,
            zone: None,
            hints_max_bytes: HINTS_MAX_BYTES,
            handoff_bytes_per_second: HANDOFF_BYTES_PER_SECOND,
            gc_grace: GC_GRACE,
            sync_interval: Some(SYNC_INTERVAL),
            evict_after: None,
            lease: LEASE_MIN,
        }
    }
}

impl Config {
    /// Takes part in the cluster named "henge", with no zone; a peer with an empty
    /// store and nobody to join starts a new ring.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of the cluster. It is part of every protocol name.
    #[must_use]
    pub fn with_cluster(mut self, cluster: ClusterName) -> Self {
        self.cluster = cluster;
        self
    }

    /// Insists on these parameters. Default: those of the ring that is joined; a ring that is
    /// born here has N = 3.
    #[must_use]
    pub fn with_params(mut self, params: ClusterParams) -> Self {
        self.params = Some(params);
        self
    }

    /// Addresses of peers to join through. Members met before need not be named.
    #[must_use]
    pub fn with_join(mut self, join: Vec<Multiaddr>) -> Self {
        self.join = join;
        self
    }

    /// The share of the ring that this peer takes. Where it is the same as at the last start, what an
    /// operator said since (`henge_client::Request::Weight`) holds. Default: that of the last run, at first 1.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = Some(weight);
        self
    }

    /// The failure domain of this peer. Default none.
    #[must_use]
    pub fn with_zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = zone;
        self
    }

    /// How many bytes may wait for one peer that is down. Default 1 GiB.
    #[must_use]
    pub fn with_hints_max_bytes(mut self, bytes: u64) -> Self {
        self.hints_max_bytes = bytes;
        self
    }

    /// How many bytes of hints to hand over in a second, to all peers together. Default 16 MiB.
    #[must_use]
    pub fn with_handoff_bytes_per_second(mut self, bytes: u64) -> Self {
        self.handoff_bytes_per_second = bytes;
        self
    }

    /// How long what was deleted is remembered at least; all members should say the same. A hint
    /// that is older than half of it is not handed over any more. Default 10 days.
    #[must_use]
    pub fn with_gc_grace(mut self, grace: Duration) -> Self {
        self.gc_grace = grace;
        self
    }

    /// How often it compares what it holds with the next other member. Default 10 s: a round trip
    /// where both have the same. None: only when an operator asks (`henge_client::Request::Repair`), also with
    /// members that were away.
    #[must_use]
    pub fn with_sync_interval(mut self, interval: Option<Duration>) -> Self {
        self.sync_interval = interval;
        self
    }

    /// See [`Config::with_sync_interval`].
    #[must_use]
    pub fn sync_interval(&self) -> Option<Duration> {
        self.sync_interval
    }

    /// For how long a member must be down, in the eyes of more than half of the ring, before it is
    /// evicted; twice the lease at least. Default never: its data is then moved only when an operator
    /// removes it.
    #[must_use]
    pub fn with_evict_after(mut self, after: Option<Duration>) -> Self {
        self.evict_after = after;
        self
    }

    /// See [`Config::with_evict_after`].
    #[must_use]
    pub fn evict_after(&self) -> Option<Duration> {
        self.evict_after
    }

    /// How long a peer that hears nothing of more than half of the ring still answers strictly. Nobody
    /// is evicted before twice as long, so all members should say the same. Default 60 s; in a large
    /// ring it is four heartbeat intervals at least.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// See [`Config::with_lease`].
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// See [`Config::with_cluster`].
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// See [`Config::with_params`].
    #[must_use]
    pub fn params(&self) -> Option<ClusterParams> {
        self.params
    }

    /// See [`Config::with_join`].
    #[must_use]
    pub fn join(&self) -> &[Multiaddr] {
        &self.join
    }

    /// See [`Config::with_weight`].
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        self.weight
    }

    /// See [`Config::with_zone`].
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// See [`Config::with_hints_max_bytes`].
    #[must_use]
    pub fn hints_max_bytes(&self) -> u64 {
        self.hints_max_bytes
    }

    /// See [`Config::with_handoff_bytes_per_second`].
    #[must_use]
    pub fn handoff_bytes_per_second(&self) -> u64 {
        self.handoff_bytes_per_second
    }

    /// See [`Config::with_gc_grace`].
    #[must_use]
    pub fn gc_grace(&self) -> Duration {
        self.gc_grace
    }

    /// How long a hint is handed over, in milliseconds: a tombstone in it is still remembered by all
    /// who might not have it then.
    #[must_use]
    pub fn hint_ttl_ms(&self) -> u64 {
        u64::try_from(self.gc_grace.as_millis() / 2).unwrap_or(u64::MAX)
    }
}
