//! Who owns and who votes: the placement and the members' custody, put together per partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use henge_membership::{Member, View};
use henge_types::{
    ClusterParams, Custody, CustodyDigest, CustodyMap, Incarnation, MemberState, Partition, PeerId, RingId,
    Voter, Voters,
};

use crate::placement::{Placed, Placement};

/// The voters of each partition as the local view has them; computed when asked for, and kept
/// until something changes that they depend on.
#[derive(Debug)]
pub struct Ownership {
    ring: RingId,
    params: ClusterParams,
    placement: Placement,
    placed: Option<u64>,
    /// What the voters in the cache were computed from, and the generation of the view that it is of.
    known: BTreeMap<PeerId, Known>,
    generation: Option<u64>,
    // One entry for each partition.
    cache: Vec<Option<Arc<Voters>>>,
}

/// What voters depend on of a member.
#[derive(Debug)]
struct Known {
    incarnation: Incarnation,
    digest: CustodyDigest,
    custody: CustodyMap,
}

impl Ownership {
    /// For a ring whose members are not known yet.
    #[must_use]
    pub fn new(ring: RingId, params: ClusterParams) -> Self {
        Self {
            ring,
            params,
            placement: Placement::compute(&[], &params),
            placed: None,
            known: BTreeMap::new(),
            generation: None,
            cache: vec![None; params.partitions().len()],
        }
    }

    /// The parameters of the ring.
    #[must_use]
    pub fn params(&self) -> &ClusterParams {
        &self.params
    }

    /// Follows the view, which must always be the same one: computes the placement anew if the members that
    /// are placed changed, and forgets the voters of those partitions of which they may be others now.
    pub fn refresh(&mut self, view: &View) {
        if self.placed != Some(view.placed_generation()) {
            self.place(view);
            self.placed = Some(view.placed_generation());
        }
        if self.generation != Some(view.generation()) {
            self.follow_members(view);
            self.generation = Some(view.generation());
        }
    }

    /// The table of preference lists.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The voters of `partition`.
    pub fn voters(&mut self, view: &View, partition: Partition) -> Arc<Voters> {
        self.refresh(view);
        if let Some(Some(voters)) = self.cache.get(partition.index()) {
            return Arc::clone(voters);
        }
        let voters = Arc::new(self.compute(view, partition));
        if let Some(entry) = self.cache.get_mut(partition.index()) {
            *entry = Some(Arc::clone(&voters));
        }
        voters
    }

    fn place(&mut self, view: &View) {
        let placed: Vec<Placed> = view
            .iter()
            .map(|(_, m)| m.record())
            .filter(|r| r.state == MemberState::Active)
            .map(|r| Placed { peer: r.peer, weight: r.weight, zone: r.zone.clone() })
            .collect();
        let placement = Placement::compute(&placed, &self.params);
        for partition in self.params.partitions().all() {
            if !self.placement.owners(partition).eq(placement.owners(partition)) {
                self.forget(partition);
            }
        }
        self.placement = placement;
    }

    fn follow_members(&mut self, view: &View) {
        let gone = |peer: &&PeerId| !view.get(peer).is_some_and(Member::is_present);
        for peer in self.known.keys().filter(gone).copied().collect::<Vec<_>>() {
            if let Some(was) = self.known.remove(&peer) {
                self.forget_held(&was.custody);
            }
        }
        for (peer, member) in view.iter().filter(|(_, member)| member.is_present()) {
            let (incarnation, digest) = (member.record().incarnation, member.custody_digest());
            let was = self.known.get(peer);
            if was.is_some_and(|was| was.incarnation == incarnation && was.digest == digest) {
                continue;
            }
            let is = Known { incarnation, digest, custody: member.custody().clone() };
            let was = self.known.insert(*peer, is);
            match was.filter(|was| was.incarnation == incarnation) {
                Some(was) => member.custody().differences(&was.custody).for_each(|p| self.forget(p)),
                // Who owns a partition votes there, whatever it has.
                None => self.cache.fill(None),
            }
        }
    }

    fn forget_held(&mut self, custody: &CustodyMap) {
        let held = custody.iter().filter(|(_, custody)| *custody != Custody::None);
        held.for_each(|(partition, _)| self.forget(partition));
    }

    fn forget(&mut self, partition: Partition) {
        if let Some(entry) = self.cache.get_mut(partition.index()) {
            *entry = None;
        }
    }

    fn compute(&self, view: &View, partition: Partition) -> Voters {
        let mut voters: Vec<Voter> = Vec::with_capacity(self.params.replicas());
        let voter = |peer: &PeerId, owner: bool| {
            let member = view.get(peer).filter(|member| member.is_present())?;
            let (incarnation, custody) = (member.record().incarnation, member.custody().get(partition));
            (owner || custody != Custody::None).then_some(Voter { peer: *peer, incarnation, owner, custody })
        };
        voters.extend(self.placement.owners(partition).filter_map(|peer| voter(&peer, true)));
        let owners = voters.len();
        for (peer, _) in view.iter() {
            if !voters.iter().take(owners).any(|v| v.peer == *peer) {
                voters.extend(voter(peer, false));
            }
        }
        Voters::new(self.ring, partition, voters)
    }
}

#[cfg(test)]
mod tests;
