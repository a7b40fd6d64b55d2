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
    /// What is known of the members, and the generation of the view that it is of.
    known: BTreeMap<PeerId, Known>,
    evictions: u64,
    generation: Option<u64>,
    // One entry for each partition.
    cache: Vec<Entry>,
}

/// The voters of one partition.
#[derive(Debug, Clone, Default)]
struct Entry {
    voters: Option<Arc<Voters>>,
    /// The generation of the view since which they are the same.
    since: u64,
}

/// What voters depend on of a member.
#[derive(Debug)]
struct Known {
    incarnation: Incarnation,
    digest: CustodyDigest,
    custody: CustodyMap,
}

/// Partitions that may have other voters now.
#[derive(Debug)]
struct Others {
    all: bool,
    some: Vec<Partition>,
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
            evictions: 0,
            generation: None,
            cache: vec![Entry::default(); params.partitions().len()],
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
        let generation = view.generation();
        if self.generation == Some(generation) {
            return;
        }
        let mut others = Others { all: self.generation.is_none(), some: Vec::new() };
        if self.placed != Some(view.placed_generation()) {
            self.place(view, &mut others);
            self.placed = Some(view.placed_generation());
        }
        self.follow_members(view, &mut others);
        // Whoever goes by an eviction has to remember it, whatever it changes.
        others.all |= std::mem::replace(&mut self.evictions, view.evictions_digest()) != self.evictions;
        self.forget(&others, generation);
        self.generation = Some(generation);
    }

    /// The table of preference lists.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The voters of `partition`.
    pub fn voters(&mut self, view: &View, partition: Partition) -> Arc<Voters> {
        self.refresh(view);
        if let Some(Entry { voters: Some(voters), .. }) = self.cache.get(partition.index()) {
            return Arc::clone(voters);
        }
        let voters = Arc::new(self.compute(view, partition));
        if let Some(entry) = self.cache.get_mut(partition.index()) {
            entry.voters = Some(Arc::clone(&voters));
        }
        voters
    }

    /// The generation of the view since which the voters of `partition` are the same, or a later one.
    pub fn since(&mut self, view: &View, partition: Partition) -> u64 {
        self.refresh(view);
        self.cache.get(partition.index()).map_or(view.generation(), |entry| entry.since)
    }

    fn place(&mut self, view: &View, others: &mut Others) {
        let placed: Vec<Placed> = view
            .iter()
            .map(|(_, m)| m.record())
            .filter(|r| r.state == MemberState::Active)
            .map(|r| Placed { peer: r.peer, weight: r.weight, zone: r.zone.clone() })
            .collect();
        let placement = Placement::compute(&placed, &self.params);
        let moved = |p: &Partition| !self.placement.owners(*p).eq(placement.owners(*p));
        others.some.extend(self.params.partitions().all().filter(moved));
        self.placement = placement;
    }

    fn follow_members(&mut self, view: &View, others: &mut Others) {
        let gone = |peer: &&PeerId| !view.get(peer).is_some_and(Member::is_present);
        for peer in self.known.keys().filter(gone).copied().collect::<Vec<_>>() {
            // It is placed no more.
            let held = self.known.remove(&peer).into_iter().flat_map(|was| was.held());
            others.some.extend(held);
        }
        for (peer, member) in view.iter().filter(|(_, member)| member.is_present()) {
            let (incarnation, digest) = (member.record().incarnation, member.custody_digest());
            let was = self.known.get(peer);
            if was.is_some_and(|was| was.incarnation == incarnation && was.digest == digest) {
                continue;
            }
            let is = Known { incarnation, digest, custody: member.custody().clone() };
            match self.known.insert(*peer, is).filter(|was| was.incarnation == incarnation) {
                Some(was) => others.some.extend(member.custody().differences(&was.custody)),
                // Who owns a partition votes there, whatever it has.
                None => others.all = true,
            }
        }
    }

    fn forget(&mut self, others: &Others, generation: u64) {
        let anew = Entry { voters: None, since: generation };
        if others.all {
            self.cache.fill(anew);
            return;
        }
        for partition in &others.some {
            if let Some(entry) = self.cache.get_mut(partition.index()) {
                *entry = anew.clone();
            }
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

impl Known {
    fn held(&self) -> Vec<Partition> {
        self.custody.iter().filter(|(_, custody)| *custody != Custody::None).map(|(p, _)| p).collect()
    }
}

#[cfg(test)]
mod tests;
