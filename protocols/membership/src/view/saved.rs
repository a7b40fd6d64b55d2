//! The saved form of a view.

use henge_types::codec::Stored;
use henge_types::{MemberRecord, PeerId, RingId};
use serde::{Deserialize, Serialize};

use super::{Eviction, View};
use crate::message::Update;

/// The saved form of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedView {
    /// The ring.
    pub ring: RingId,
    /// All members, in the order of their peer ids.
    pub members: Vec<SavedMember>,
    /// All evictions, in the order of the peer ids.
    pub evictions: Vec<Eviction>,
}

/// What is saved of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMember {
    /// Its record, and its custody map if that is the current one.
    pub known: Update,
    /// See [`Member::electorate`](super::Member::electorate).
    pub electorate: u16,
}

impl SavedView {
    /// A view of which nothing is left but the ring.
    #[must_use]
    pub fn empty(ring: RingId) -> Self {
        Self { ring, members: Vec::new(), evictions: Vec::new() }
    }

    /// What was saved of `peer`.
    #[must_use]
    pub fn member(&self, peer: &PeerId) -> Option<&MemberRecord> {
        self.members.iter().map(|saved| saved.known.member.record()).find(|record| record.peer == *peer)
    }
}

impl Stored for SavedView {
    const VERSION: u8 = 1;
}

impl View {
    /// The form in which the view is saved. A custody map that is not current is left out: it is fetched
    /// again. Accusations that evicted nobody yet are left out, too: other members have them.
    #[must_use]
    pub fn to_saved(&self) -> Option<SavedView> {
        let saved = |(peer, member): (_, &super::Member)| {
            Some(SavedMember { known: self.update(peer)?, electorate: member.electorate() })
        };
        let members = self.members.iter().filter_map(saved).collect();
        let evictions = self.evictions.values().cloned().collect();
        self.ring.map(|ring| SavedView { ring, members, evictions })
    }
}
