//! What a peer is told at its start, checked once.

use henge_types::{ClusterName, ClusterParams, Multiaddr, Weight, Zone};

/// How one peer takes part. Fixed while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    cluster: ClusterName,
    params: Option<ClusterParams>,
    join: Vec<Multiaddr>,
    weight: Weight,
    zone: Option<Zone>,
}

impl Config {
    /// Takes part in the cluster named "henge", with weight 1 and no zone; a peer with an empty
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

    /// The share of the ring that this peer takes. Default 1.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// The failure domain of this peer. Default none.
    #[must_use]
    pub fn with_zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = zone;
        self
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
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// See [`Config::with_zone`].
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }
}
