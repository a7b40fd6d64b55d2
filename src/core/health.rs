//! Whom to ask: who is up, who is late, who stands in.

use std::collections::BTreeSet;

use henge_types::{Custody, Partition, PeerId, Voters, Zone};

use super::Core;
use crate::coordinator::fallback;

/// What this peer thinks of another, for routing. Ownership never looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Answers as far as anybody knows.
    Up,
    /// Connected, and leaves requests unanswered.
    Late,
    /// Connected, and down in the eyes of the ring.
    Down,
    /// Not connected.
    Away,
}

impl Core {
    pub(super) fn health(&self, peer: &PeerId) -> Health {
        if *peer == self.me {
            Health::Up
        } else if !self.links.is_connected(peer) {
            Health::Away
        } else if self.membership.is_down(peer) {
            Health::Down
        } else if self.links.is_late(peer, self.now.monotonic) {
            Health::Late
        } else {
            Health::Up
        }
    }

    pub(super) fn is_healthy(&self, peer: &PeerId) -> bool {
        self.health(peer) == Health::Up
    }

    /// The voters that can be asked: this peer first, then the nearest, and last those that are
    /// late, who are told apart.
    pub(super) fn reachable(&self, voters: &Voters) -> (Vec<PeerId>, BTreeSet<PeerId>) {
        let mut order: Vec<PeerId> = voters
            .as_slice()
            .iter()
            .map(|v| v.peer)
            .filter(|p| *p != self.me && self.links.is_connected(p))
            .collect();
        self.links.sort_by_distance(&mut order);
        let late: BTreeSet<PeerId> = order.iter().filter(|p| !self.is_healthy(p)).copied().collect();
        order.sort_by_key(|p| late.contains(p));
        if voters.get(&self.me).is_some_and(|v| v.custody != Custody::None) {
            order.insert(0, self.me);
        }
        (order, late)
    }

    /// Who may stand in for voters of `partition` that are away, the best first: those that are late come last, where
    /// there is nobody else.
    pub(super) fn fallbacks(&mut self, partition: Partition, voters: &Voters) -> Vec<PeerId> {
        let view = self.membership.view();
        if let Some(member) = &mut self.member {
            member.ownership.refresh(view);
        }
        let Some(member) = &self.member else { return Vec::new() };
        let zone = |p: &PeerId| view.get(p).and_then(|m| m.record().zone.clone());
        let healthy = |p: &PeerId| self.is_healthy(p);
        let taken: Vec<Zone> =
            voters.as_slice().iter().filter(|v| healthy(&v.peer)).filter_map(|v| zone(&v.peer)).collect();
        let others = || member.ownership.placement().walk(partition).filter(|p| voters.get(p).is_none());
        let well = others().filter(healthy);
        let mut chosen = fallback::choose(well.map(|p| (p, zone(&p))), taken);
        let late = others().filter(|p| self.health(p) == Health::Late);
        chosen.extend(late.take(fallback::FALLBACKS_MAX.saturating_sub(chosen.len())));
        chosen
    }

    /// The same for whoever lost an answer: nobody as long as all voters are well.
    pub(super) fn fallbacks_if_needed(&mut self, partition: Partition, voters: &Voters) -> Vec<PeerId> {
        if voters.as_slice().iter().all(|v| self.is_healthy(&v.peer)) {
            return Vec::new();
        }
        self.fallbacks(partition, voters)
    }

    /// Whether this peer may answer strict requests: it has heard of late from more than half of
    /// the ring, so that it cannot have been evicted without knowing.
    pub(super) fn has_lease(&self) -> bool {
        self.membership.has_lease(self.now)
    }
}
