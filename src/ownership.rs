//! Who owns and who votes: the placement and the members' custody, put together per partition.

use std::sync::Arc;

use henge_membership::View;
use henge_types::{ClusterParams, Custody, MemberState, Partition, PeerId, RingId, Voter, Voters};

use crate::placement::{Placed, Placement};

/// The voters of each partition as the local view has them; computed when asked for, and kept
/// until the view changes.
#[derive(Debug)]
pub struct Ownership {
    ring: RingId,
    params: ClusterParams,
    placement: Placement,
    placed: Option<u64>,
    // One entry for each partition: the generation of the view it was computed from.
    cache: Vec<Option<(u64, Arc<Voters>)>>,
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
            cache: vec![None; params.partitions().len()],
        }
    }

    /// The parameters of the ring.
    #[must_use]
    pub fn params(&self) -> &ClusterParams {
        &self.params
    }

    /// Follows the view: computes the placement anew if the members that are placed changed.
    pub fn refresh(&mut self, view: &View) {
        if self.placed == Some(view.placed_generation()) {
            return;
        }
        let placed: Vec<Placed> = view
            .iter()
            .map(|(_, m)| m.record())
            .filter(|r| r.state == MemberState::Active)
            .map(|r| Placed { peer: r.peer, weight: r.weight, zone: r.zone.clone() })
            .collect();
        self.placement = Placement::compute(&placed, &self.params);
        self.placed = Some(view.placed_generation());
        self.cache.fill(None);
    }

    /// The table of preference lists.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The voters of `partition`.
    pub fn voters(&mut self, view: &View, partition: Partition) -> Arc<Voters> {
        self.refresh(view);
        let generation = view.generation();
        if let Some(Some((at, voters))) = self.cache.get(partition.index())
            && *at == generation
        {
            return Arc::clone(voters);
        }
        let voters = Arc::new(self.compute(view, partition));
        if let Some(entry) = self.cache.get_mut(partition.index()) {
            *entry = Some((generation, Arc::clone(&voters)));
        }
        voters
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
