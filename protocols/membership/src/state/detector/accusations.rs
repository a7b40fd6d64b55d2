//! Who accuses whom: what the suspects in the records of the view say, turned around.

use std::collections::BTreeMap;
use std::time::Duration;

use henge_types::{PeerId, Suspect};

/// One accusation, and since when this peer knows of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Accusation {
    pub(in crate::state) suspect: Suspect,
    pub(in crate::state) since: Duration,
}

/// An index of the view, and the verdicts last announced. Bounded by it: one entry for each suspect
/// of each member.
#[derive(Debug, Default)]
pub(in crate::state) struct Accusations {
    by_accused: BTreeMap<PeerId, BTreeMap<PeerId, Accusation>>,
    // Since when, in the time for which this peer ran.
    down: BTreeMap<PeerId, Duration>,
}

impl Accusations {
    /// The record of `accuser` has other suspects than before. An accusation that is repeated word by
    /// word goes on.
    pub(in crate::state) fn replace(
        &mut self,
        accuser: PeerId,
        before: &[Suspect],
        after: &[Suspect],
        now: Duration,
    ) {
        for suspect in before.iter().filter(|suspect| !after.contains(suspect)) {
            if let Some(accusers) = self.by_accused.get_mut(&suspect.peer) {
                accusers.remove(&accuser);
                if accusers.is_empty() {
                    self.by_accused.remove(&suspect.peer);
                }
            }
        }
        for suspect in after.iter().filter(|suspect| !before.contains(suspect)) {
            let accusation = Accusation { suspect: *suspect, since: now };
            self.by_accused.entry(suspect.peer).or_default().insert(accuser, accusation);
        }
    }

    /// Whoever is accused by anybody, rightly or not.
    pub(in crate::state) fn accused(&self) -> Vec<PeerId> {
        self.by_accused.keys().copied().collect()
    }

    /// All accusations against `accused`, each with its accuser.
    pub(in crate::state) fn against(&self, accused: &PeerId) -> impl Iterator<Item = (&PeerId, &Accusation)> {
        self.by_accused.get(accused).into_iter().flatten()
    }

    pub(in crate::state) fn is_down(&self, peer: &PeerId) -> bool {
        self.down.contains_key(peer)
    }

    /// Since when it is down.
    pub(in crate::state) fn down_since(&self, peer: &PeerId) -> Option<Duration> {
        self.down.get(peer).copied()
    }

    /// Notes a verdict. Says whether it is a new one.
    pub(in crate::state) fn judge(&mut self, peer: PeerId, down: bool, ran: Duration) -> bool {
        let was_down = self.is_down(&peer);
        if !down {
            self.down.remove(&peer);
        } else if !was_down {
            self.down.insert(peer, ran);
        }
        was_down != down
    }

    /// Whoever is down is so from now on.
    pub(in crate::state) fn restart(&mut self, ran: Duration) {
        self.down.values_mut().for_each(|since| *since = ran);
    }
}
