//! The remotes: each in a slot that the ids of its requests name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::config::Config;
use crate::link::{Link, Rest};

/// One remote.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) link: Arc<Link>,
    /// Requests without an outcome, with their deadlines.
    pub(crate) pending: BTreeMap<u64, Instant>,
    pub(crate) dial: Dial,
    /// Dials in a row after connections that died before they carried a request.
    pub(crate) redials: u8,
    /// The last request taken when the last of these died.
    pub(crate) taken_before: u64,
}

/// Whether a connection is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    None,
    /// This behaviour dials.
    Ours(ConnectionId),
    /// Somebody else was dialing already.
    Foreign,
}

/// Bounded by the connections of the swarm and by what this program itself has asked for.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    slots: Vec<Option<Peer>>,
    free: Vec<u32>,
    by_id: HashMap<PeerId, u32>,
    /// Without a connection, yet the program still holds requests of theirs, which count.
    lingering: Vec<u32>,
}

impl Peers {
    pub(crate) fn slot(&self, id: &PeerId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn get(&self, id: &PeerId) -> Option<&Peer> {
        self.slots.get(self.slot(id)? as usize)?.as_ref()
    }

    pub(crate) fn in_slot(&mut self, slot: u32) -> Option<&mut Peer> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slot of a remote, a new one if it was unknown.
    pub(crate) fn enter(&mut self, id: &PeerId, config: &Arc<Config>) -> u32 {
        if let Some(slot) = self.slot(id) {
            return slot;
        }
        let peer = Some(Peer {
            id: *id,
            link: Arc::new(Link::new(*id, config.clone())),
            pending: BTreeMap::new(),
            dial: Dial::None,
            redials: 0,
            taken_before: 0,
        });
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = peer;
                }
                slot
            }
            None => {
                self.slots.push(peer);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(*id, slot);
        slot
    }

    /// Forgets a remote of which nothing is left, now or when its last request has been answered.
    pub(crate) fn forget_if_idle(&mut self, slot: u32) {
        self.lingering.push(slot);
        for slot in std::mem::take(&mut self.lingering) {
            let Some(place) = self.slots.get_mut(slot as usize) else { continue };
            let Some(peer) = place.as_ref().filter(|peer| peer.dial == Dial::None) else { continue };
            let rest = peer.link.lock().rest();
            match rest {
                Rest::Something => {}
                Rest::Channels => self.lingering.push(slot),
                Rest::Nothing => {
                    self.by_id.remove(&peer.id);
                    *place = None;
                    self.free.push(slot);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
