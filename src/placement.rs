//! The placement: which peers own which partition.
//!
//! Dynamo §6.2, strategy 3: the ring is cut into Q equal partitions, and the owners of each are the
//! first N distinct peers clockwise from its first position. Where it differs from the paper:
//!
//! - *Loads are bounded* (consistent hashing with bounded loads: Mirrokni, Thorup, Zadimoghaddam 2016,
//!   arXiv:1608.01350): a peer that owns ceil(1.05 · Q · N · w/Σw) partitions is passed over, and so is one
//!   whose choice would leave later partitions with nobody below the bound. Partitions are visited
//!   in the order of their own hash, so that none of the ring's regions is favoured.
//! - *Zones are spread over* before loads are balanced: the owners of a partition are of min(N, zones) zones.
//!   A peer without a zone is a zone of its own: a ring without zones simply walks, and naming the
//!   zone of one peer after the other moves data bit by bit. (Were they all of one unnamed zone, the
//!   first peer with a name would have to own every partition.)
//! - *Shares stay possible*: a peer too heavy to get its share gets all Q partitions, a zone too large or too
//!   small gets each partition once, and the others divide what is left by weight.
//!
//! Everything is integer arithmetic on SHA-256 and on sorted peers: the same members give the
//! same table on every machine.

use std::collections::BTreeMap;
use std::fmt;

use henge_types::{ClusterParams, Partition, PeerId, Weight, Zone};
use sha2::{Digest, Sha256};

use crate::ring::Ring;
use assign::Assigner;

mod assign;
mod shares;

/// A peer to be placed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Who.
    pub peer: PeerId,
    /// Its share of the ring.
    pub weight: Weight,
    /// Its failure domain; without one it is a domain of its own.
    pub zone: Option<Zone>,
}

/// The table partition → preference list, a pure function of the placed peers and the parameters
/// of the cluster.
///
/// With the default parameters a table for 100 peers takes about 400 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement {
    params: ClusterParams,
    /// Sorted; everything else names a peer by its number in here.
    peers: Vec<PeerId>,
    loads: Vec<u32>,
    ring: Ring,
    /// Owners per partition: N, or all peers where they are fewer.
    replicas: usize,
    /// The preference lists of all partitions, one after the other.
    owners: Vec<u32>,
}

impl Placement {
    /// The placement of `peers`, in any order. Of several entries for one peer the one with the largest
    /// weight counts, then the one with the last zone.
    ///
    /// Takes time in proportion to the tokens (256 per unit of weight by default).
    #[must_use]
    pub fn compute(peers: &[Placed], params: &ClusterParams) -> Self {
        let mut peers: Vec<&Placed> = peers.iter().collect();
        peers.sort_unstable_by(|a, b| b.cmp(a));
        peers.dedup_by_key(|p| p.peer);
        peers.reverse();
        let replicas = params.replicas().min(peers.len());
        let ring = Ring::new(peers.iter().map(|p| (&p.peer, p.weight)), params);
        let mut placement = Self {
            params: *params,
            loads: vec![0; peers.len()],
            owners: vec![0; params.partitions().len() * replicas],
            peers: peers.iter().map(|p| p.peer).collect(),
            ring,
            replicas,
        };
        if replicas > 0 {
            placement.assign(&peers);
        }
        placement
    }

    /// The placement of nobody.
    #[must_use]
    pub fn empty(params: &ClusterParams) -> Self {
        Self::compute(&[], params)
    }

    fn assign(&mut self, peers: &[&Placed]) {
        let partitions = self.params.partitions().get();
        let zones = Zones::of(peers);
        let weights: Vec<u64> = peers.iter().map(|p| u64::from(p.weight.get())).collect();
        let bounds = shares::bounds(&weights, &zones, partitions, self.replicas);
        let mut assigner = Assigner::new(&bounds, &zones, partitions, self.replicas);
        for (partition, left) in visiting_order(&self.params).into_iter().zip((1..=partitions).rev()) {
            let first = partition.index() * self.replicas;
            if let Some(owners) = self.owners.get_mut(first..first + self.replicas) {
                assigner.assign(self.ring.tokens_from(partition), left, owners);
            }
        }
        self.loads = assigner.loads().collect();
    }

    /// The parameters it was computed with.
    #[must_use]
    pub fn params(&self) -> &ClusterParams {
        &self.params
    }

    /// The placed peers, sorted by peer id.
    #[must_use]
    pub fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    /// Whether `peer` is placed.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.number(peer).is_some()
    }

    /// The preference list of `partition`: min(N, peers) distinct peers in ring order. Nobody for a
    /// partition that the ring does not have.
    pub fn owners(&self, partition: Partition) -> impl ExactSizeIterator<Item = PeerId> + '_ {
        self.owner_numbers(partition).iter().map(|number| self.peer(*number))
    }

    /// Whether `peer` owns `partition`.
    #[must_use]
    pub fn is_owner(&self, partition: Partition, peer: &PeerId) -> bool {
        self.number(peer).is_some_and(|number| self.owner_numbers(partition).contains(&number))
    }

    /// Every placed peer once, in ring order from the first position of `partition`: where fallbacks
    /// are looked for. Nobody for a partition that the ring does not have.
    pub fn walk(&self, partition: Partition) -> impl Iterator<Item = PeerId> + '_ {
        self.ring.walk(partition).map(|number| self.peer(number))
    }

    /// How many partitions `peer` owns.
    #[must_use]
    pub fn owned(&self, peer: &PeerId) -> usize {
        self.number(peer).and_then(|n| self.loads.get(n as usize)).map_or(0, |load| *load as usize)
    }

    /// The partitions that `peer` owns, in order.
    pub fn owned_partitions(&self, peer: &PeerId) -> impl Iterator<Item = Partition> + '_ {
        let number = self.number(peer);
        let all = self.params.partitions().all();
        all.filter(move |p| number.is_some_and(|number| self.owner_numbers(*p).contains(&number)))
    }

    fn owner_numbers(&self, partition: Partition) -> &[u32] {
        let first = partition.index().saturating_mul(self.replicas);
        self.owners.get(first..first.saturating_add(self.replicas)).unwrap_or(&[])
    }

    fn number(&self, peer: &PeerId) -> Option<u32> {
        self.peers.binary_search(peer).ok().and_then(|index| u32::try_from(index).ok())
    }

    #[expect(clippy::indexing_slicing, reason = "the table and the ring hold numbers of `peers` only")]
    fn peer(&self, number: u32) -> PeerId {
        self.peers[number as usize]
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placement({} peers, {})", self.peers.len(), self.params)
    }
}

/// The zones of the placed peers, numbered.
struct Zones {
    /// By the number of the peer.
    of: Vec<u32>,
    count: usize,
}

impl Zones {
    fn of(peers: &[&Placed]) -> Self {
        let mut named: BTreeMap<&Zone, u32> = BTreeMap::new();
        let mut count = 0;
        let mut of = Vec::with_capacity(peers.len());
        for peer in peers {
            let known = peer.zone.as_ref().map(|zone| *named.entry(zone).or_insert(count));
            let number = known.unwrap_or(count);
            count = count.max(number + 1);
            of.push(number);
        }
        Self { of, count: count as usize }
    }
}

/// All partitions in the order of the SHA-256 of their numbers (32 bits big-endian).
fn visiting_order(params: &ClusterParams) -> Vec<Partition> {
    let hash = |p: Partition| -> [u8; 32] { Sha256::digest(p.0.to_be_bytes()).into() };
    let mut order: Vec<([u8; 32], Partition)> = params.partitions().all().map(|p| (hash(p), p)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, partition)| partition).collect()
}

#[cfg(test)]
mod tests;
