//! What a peer is started with.

use std::time::Duration;

use henge_types::{
    ClusterName, ClusterParams, CustodyMap, Multiaddr, PeerId, RingId, RingSecret, Weight, Zone,
};

use super::own::Reservation;
use crate::limits::LEASE_MIN;
use crate::view::SavedView;

/// Who this peer is and what it was started with.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) me: PeerId,
    pub(super) cluster: ClusterName,
    pub(super) params: ClusterParams,
    pub(super) weight: Weight,
    pub(super) zone: Option<Zone>,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) wire: (u16, u16),
    pub(super) seed: u64,
    pub(super) lease: Duration,
}

impl Config {
    /// The peer `me` of a cluster with this name and these parameters: weight 1, no zone, no
    /// address yet, protocol version 1.
    #[must_use]
    pub fn new(me: PeerId, cluster: ClusterName, params: ClusterParams) -> Self {
        Self {
            me,
            cluster,
            params,
            weight: Weight::default(),
            zone: None,
            addresses: Vec::new(),
            wire: (1, 1),
            seed: 0,
            lease: LEASE_MIN,
        }
    }

    /// Its share of the ring (default 1).
    #[must_use]
    pub fn with_weight(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }

    /// Its failure domain (default none).
    #[must_use]
    pub fn with_zone(self, zone: Option<Zone>) -> Self {
        Self { zone, ..self }
    }

    /// Where it can be dialled (default nowhere; usually declared later).
    #[must_use]
    pub fn with_addresses(self, addresses: Vec<Multiaddr>) -> Self {
        Self { addresses, ..self }
    }

    /// The oldest and the newest protocol version that it speaks (default 1 and 1).
    #[must_use]
    pub fn with_wire(self, oldest: u16, newest: u16) -> Self {
        Self { wire: (oldest, newest), ..self }
    }

    /// Seeds jitter and the choice of whom to exchange views with (default 0). Peers of one ring
    /// should have different ones.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// How long a heartbeat of the others counts for [`State::has_lease`](super::State::has_lease)
    /// (default [`LEASE_MIN`]); in large rings it is at least four heartbeat intervals. Has to be
    /// shorter than what an eviction takes.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }
}

/// How a peer begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// A ring is born: an empty data directory and nobody to join. The first peer of a ring has
    /// custody of everything.
    Birth {
        /// Its id, drawn at random by the caller.
        ring: RingId,
        /// Its secret, drawn at random by the caller.
        secret: RingSecret,
    },
    /// An empty data directory and somebody to join: nothing is known and nothing is had.
    Join,
    /// A member goes on from what it saved. A peer that has no reservation saved never spoke, and
    /// starts as if nothing were saved.
    Restart {
        /// Its ring.
        ring: RingId,
        /// The ring's secret.
        secret: RingSecret,
        /// The last reservation that was saved.
        reserved: Reservation,
        /// What it has of each partition, from its store.
        custody: CustodyMap,
        /// The view as it was saved. Empty if that was lost: the records come again from any member.
        view: SavedView,
    },
}
