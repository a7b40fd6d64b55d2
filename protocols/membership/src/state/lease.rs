//! Whether this peer may be sure that the others still count on it.
//!
//! A peer that was cut off may have been evicted meanwhile. So it counts the members whose newest
//! record does not suspect it, speaks of the same evictions that this peer knows of, and is *fresh*: it came by gossip, which passes on what is new and nothing
//! else, or from its author. What a third peer tells of a member may be long past. What comes right
//! after this peer did not run for a while may have waited in buffers, and is not fresh either. A peer
//! that starts has heard nothing fresh: it earns its lease with the first heartbeats and answers.

use std::time::Duration;

use henge_types::limits::SUSPECTS_MAX;
use henge_types::{MemberRecord, MemberState, Now, PeerId};

use super::State;
use crate::limits::{LEASE_HEARTBEATS, WAKING, WAKING_AFTER};

/// What was heard of one other member.
#[derive(Debug)]
pub(super) struct Heard {
    // When a newer record of it came or it answered, in the time for which this peer ran.
    ran: Duration,
    // When it was last known to be alive.
    fresh: Option<Duration>,
    // Its newest record does not suspect this peer.
    vouches: bool,
    left: bool,
    // The evictions that it knew then.
    evictions: u64,
}

impl Heard {
    pub(super) fn new(ran: Duration) -> Self {
        Self { ran, fresh: None, vouches: false, left: false, evictions: 0 }
    }

    pub(super) fn ran(&self) -> Duration {
        self.ran
    }

    pub(super) fn lives(&mut self, ran: Duration) {
        self.ran = ran;
    }

    /// A newer record of it came. One that has no room for further suspects may have left this peer
    /// out, so it says nothing in its favour.
    pub(super) fn note(&mut self, record: &MemberRecord, me: &PeerId, ran: Duration) {
        self.ran = ran;
        let named = record.suspects.iter().any(|suspect| suspect.peer == *me);
        self.vouches = !named && record.suspects.len() < SUSPECTS_MAX;
        self.left = record.state == MemberState::Left;
        self.evictions = record.evictions;
    }
}

impl State {
    /// Whether this peer may answer strictly: within the lease, it heard from more than half of the
    /// ring (itself included, those that left not) that it is not suspected. A ring of one always has
    /// it; a peer in no ring has not.
    #[must_use]
    pub fn has_lease(&self, now: Now) -> bool {
        let lease = self.lease();
        let vouches = |heard: &Heard| {
            heard.vouches
                && heard.evictions == self.view.evictions_digest()
                && heard.fresh.is_some_and(|at| now.monotonic.saturating_sub(at) <= lease)
        };
        let (mut ring, mut sure) = (1, 1);
        for heard in self.detector.heard.values().filter(|heard| !heard.left) {
            ring += 1;
            sure += usize::from(vouches(heard));
        }
        self.is_member() && 2 * sure > ring
    }

    /// How long a heartbeat counts for [`State::has_lease`]: what was configured, or four heartbeat
    /// intervals if that is longer.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease.max(self.heartbeat_interval() * LEASE_HEARTBEATS)
    }

    /// `peer` said something itself, just now.
    pub(super) fn note_fresh(&mut self, peer: &PeerId, now: Now) {
        let at = now.monotonic;
        let asleep = self.detector.next().is_some_and(|due| at.saturating_sub(due) >= WAKING_AFTER);
        if asleep || at < self.detector.waking_until {
            return;
        }
        if let Some(heard) = self.detector.heard.get_mut(peer) {
            heard.fresh = Some(at);
        }
        self.view.witness(peer, &self.me);
    }

    pub(super) fn notice_waking(&mut self, late: Duration, at: Duration) {
        if late >= WAKING_AFTER {
            self.detector.waking_until = at + WAKING;
        }
    }
}
