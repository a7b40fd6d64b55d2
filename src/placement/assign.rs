//! The walk with bounded loads: one partition after the other, without running into a corner.
//!
//! Passing over full peers is not enough: were a peer that has to own nearly every partition
//! passed by too often at first, the last partitions would find nobody but full peers. So the
//! assigner counts what the partitions to come need. A *unit* is what a partition takes at most
//! once: a zone where there are more zones than N, else a peer. With `left` partitions to go,
//! a table within the bounds exists if and only if
//!
//! - Σ over units of min(room, left) is at least N · left; the surplus is called *slack*;
//! - where zones are few, each has room for `left` (every partition takes a peer of each).
//!
//! A unit that has room for all partitions left is *needed* from then on. Slack shrinks by one for each
//! needed unit that a partition does not take. So a peer of another unit is passed over
//! when taking it would leave out more needed units than there is slack. While there is slack this
//! is the plain walk; it runs out only where peers or zones are close to owning every partition.

use std::collections::BinaryHeap;

use super::Zones;

#[derive(Clone, Copy)]
struct Peer {
    load: u32,
    bound: u32,
    zone: u32,
}

#[derive(Clone, Copy)]
struct Zone {
    /// How many more partitions its peers may own, all together.
    room: u32,
    /// The last visit, by the number of partitions left, that took a peer of it.
    taken: u32,
    /// Whether one of its peers is needed.
    needed: bool,
}

pub(super) struct Assigner {
    peers: Vec<Peer>,
    zones: Vec<Zone>,
    /// Whether a unit is a zone: there are more of them than replicas.
    apart: bool,
    /// By unit: whether it has room for every partition left. It keeps that until the end.
    needed: Vec<bool>,
    needed_count: u64,
    /// Zones that have to be covered, and not by a needed peer.
    plain_zones: u64,
    /// Units that are not needed yet, by the room they had when last looked at: they cannot
    /// become needed before no more partitions than that are left.
    due: BinaryHeap<(u32, u32)>,
    slack: u64,
    /// Peers to be taken on top of one of each zone.
    fills: usize,
}

/// One partition being assigned.
struct Visit<'a> {
    /// Partitions left, this one included.
    left: u32,
    owners: &'a mut [u32],
    taken: usize,
    fills: usize,
    /// Needed units not taken yet.
    out: u64,
    /// Zones to cover, not taken yet, that have no needed peer.
    plain_zones: u64,
}

impl Assigner {
    /// `replicas` is N, or the number of peers where they are fewer.
    pub(super) fn new(bounds: &[u32], zones: &Zones, partitions: u32, replicas: usize) -> Self {
        let peers: Vec<Peer> = bounds
            .iter()
            .zip(&zones.of)
            .map(|(bound, zone)| Peer { load: 0, bound: *bound, zone: *zone })
            .collect();
        let mut rooms = vec![Zone { room: 0, taken: 0, needed: false }; zones.count];
        for peer in &peers {
            if let Some(zone) = rooms.get_mut(peer.zone as usize) {
                zone.room += peer.bound;
            }
        }
        let apart = zones.count > replicas;
        let units: Vec<u32> = if apart { rooms.iter().map(|z| z.room).collect() } else { bounds.to_vec() };
        let supply: u64 = units.iter().map(|room| u64::from(*room.min(&partitions))).sum();
        Self {
            needed: vec![false; units.len()],
            needed_count: 0,
            plain_zones: if apart { 0 } else { rooms.len() as u64 },
            due: units.into_iter().zip(0..).collect(),
            slack: supply.saturating_sub(u64::from(partitions) * replicas as u64),
            fills: replicas.saturating_sub(zones.count),
            peers,
            zones: rooms,
            apart,
        }
    }

    /// How many partitions each peer owns by now.
    pub(super) fn loads(&self) -> impl Iterator<Item = u32> {
        self.peers.iter().map(|p| p.load)
    }

    /// Fills `owners` with peers of `walk`, in its order. `left` is Q at the first call and one
    /// less at each next.
    pub(super) fn assign(&mut self, walk: impl Iterator<Item = u32> + Clone, left: u32, owners: &mut [u32]) {
        self.find_needed(left);
        let (fills, out, plain_zones) = (self.fills, self.needed_count, self.plain_zones);
        let mut visit = Visit { left, owners, taken: 0, fills, out, plain_zones };
        for peer in walk.clone() {
            if visit.taken == visit.owners.len() {
                break;
            }
            if self.admits(&visit, peer) {
                self.take(&mut visit, peer);
            }
        }
        if visit.taken < visit.owners.len() {
            self.overflow(&mut visit, walk);
        }
        self.slack = self.slack.saturating_sub(visit.out);
    }

    fn find_needed(&mut self, left: u32) {
        while self.due.peek().is_some_and(|(room, _)| *room >= left) {
            let Some((_, unit)) = self.due.pop() else { return };
            let room = self.unit_room(unit);
            if room < left {
                self.due.push((room, unit));
                continue;
            }
            if let Some(needed) = self.needed.get_mut(unit as usize) {
                *needed = true;
                self.needed_count += 1;
            }
            let zone = if self.apart { Some(unit) } else { self.peers.get(unit as usize).map(|p| p.zone) };
            if let Some(zone) = zone.and_then(|z| self.zones.get_mut(z as usize))
                && !std::mem::replace(&mut zone.needed, true)
            {
                self.plain_zones = self.plain_zones.saturating_sub(1);
            }
        }
    }

    fn unit_room(&self, unit: u32) -> u32 {
        if self.apart {
            self.zones.get(unit as usize).map_or(0, |z| z.room)
        } else {
            self.peers.get(unit as usize).map_or(0, |p| p.bound.saturating_sub(p.load))
        }
    }

    fn is_needed(&self, number: u32, zone: u32) -> bool {
        let unit = if self.apart { zone } else { number };
        self.needed.get(unit as usize).copied().unwrap_or(false)
    }

    /// Whether `visit` may take this peer.
    fn admits(&self, visit: &Visit<'_>, number: u32) -> bool {
        let Some(peer) = self.peers.get(number as usize) else { return false };
        let Some(zone) = self.zones.get(peer.zone as usize) else { return false };
        // A second peer of a zone: only as a fill, and only if the zone can still give one to
        // each partition to come.
        if zone.taken == visit.left && (visit.fills == 0 || zone.room < visit.left) {
            return false;
        }
        if peer.load >= peer.bound || visit.has(number) {
            return false;
        }
        if self.is_needed(number, peer.zone) {
            return true;
        }
        let covers = zone.taken != visit.left && !zone.needed;
        let plain_zones = visit.plain_zones.saturating_sub(u64::from(covers));
        let after = (visit.owners.len() - visit.taken - 1) as u64;
        visit.out + plain_zones <= self.slack + after
    }

    fn take(&mut self, visit: &mut Visit<'_>, number: u32) {
        let Some(peer) = self.peers.get_mut(number as usize) else { return };
        let Some(zone) = self.zones.get_mut(peer.zone as usize) else { return };
        let zone_number = peer.zone;
        peer.load += 1;
        zone.room = zone.room.saturating_sub(1);
        if zone.taken == visit.left {
            visit.fills = visit.fills.saturating_sub(1);
        } else if !zone.needed {
            visit.plain_zones = visit.plain_zones.saturating_sub(1);
        }
        zone.taken = visit.left;
        if let Some(owner) = visit.owners.get_mut(visit.taken) {
            *owner = number;
            visit.taken += 1;
        }
        if self.is_needed(number, zone_number) {
            visit.out = visit.out.saturating_sub(1);
        }
    }

    /// Completes a walk that ended short with the least loaded peers above their bound, of new
    /// zones first. The bounds that `shares` gives never let it come to this; a table has to be
    /// whole under any others too.
    fn overflow(&mut self, visit: &mut Visit<'_>, walk: impl Iterator<Item = u32>) {
        while visit.taken < visit.owners.len() {
            let rank = |(number, peer): (u32, &Peer)| {
                let zone_taken = self.zones.get(peer.zone as usize).is_some_and(|z| z.taken == visit.left);
                let relative = (u64::from(peer.load) << 32) / u64::from(peer.bound.max(1));
                (zone_taken, relative, number)
            };
            let free = (0..).zip(&self.peers).filter(|(number, _)| !visit.has(*number));
            let Some((_, _, number)) = free.map(rank).min() else { return };
            self.take(visit, number);
        }
        let mut ordered = Vec::with_capacity(visit.taken);
        for number in walk {
            if visit.has(number) && !ordered.contains(&number) {
                ordered.push(number);
            }
        }
        visit.owners.copy_from_slice(&ordered);
    }
}

impl Visit<'_> {
    fn has(&self, number: u32) -> bool {
        self.owners.iter().take(self.taken).any(|owner| *owner == number)
    }
}
