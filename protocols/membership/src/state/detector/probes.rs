//! The members that are probed, and how far each probe is: a round begins, and is answered in time
//! or fails.

use std::collections::BTreeMap;
use std::time::Duration;

use henge_types::PeerId;

use crate::limits::PROBE_FAILURES;

#[derive(Debug)]
struct Target {
    // When the next round begins; not looked at while one is under way.
    due: Duration,
    // When the round under way fails.
    until: Option<Duration>,
    // In a row.
    failures: u32,
}

impl Target {
    fn fail(&mut self, next: Duration) -> bool {
        self.until = None;
        self.due = next;
        self.failures = self.failures.saturating_add(1);
        self.failures >= PROBE_FAILURES
    }
}

/// At most [`PROBE_TARGETS`](crate::limits::PROBE_TARGETS) of them.
#[derive(Debug, Default)]
pub(in crate::state) struct Probes {
    targets: BTreeMap<PeerId, Target>,
}

impl Probes {
    pub(in crate::state) fn next(&self) -> Option<Duration> {
        self.targets.values().map(|target| target.until.unwrap_or(target.due)).min()
    }

    /// Probes exactly these from now on; a new one from `first` on.
    pub(in crate::state) fn aim(&mut self, at: &[PeerId], mut first: impl FnMut() -> Duration) {
        self.targets.retain(|peer, _| at.contains(peer));
        for peer in at {
            let target = || Target { due: first(), until: None, failures: 0 };
            self.targets.entry(*peer).or_insert_with(target);
        }
    }

    /// Forgets what is under way and what failed: each begins anew.
    pub(in crate::state) fn restart(&mut self, mut due: impl FnMut() -> Duration) {
        for target in self.targets.values_mut() {
            *target = Target { due: due(), until: None, failures: 0 };
        }
    }

    /// Ends the rounds that were not answered in time. Whose failures are enough for a suspicion.
    pub(in crate::state) fn expire(&mut self, now: Duration) -> Vec<PeerId> {
        let late = |target: &mut Target| target.until.is_some_and(|until| until <= now) && target.fail(now);
        self.targets.iter_mut().filter_map(|(peer, target)| late(target).then_some(*peer)).collect()
    }

    /// Whose rounds are to begin.
    pub(in crate::state) fn due(&self, now: Duration) -> Vec<PeerId> {
        let due = |target: &Target| target.until.is_none() && target.due <= now;
        self.targets.iter().filter(|(_, target)| due(target)).map(|(peer, _)| *peer).collect()
    }

    pub(in crate::state) fn begin(&mut self, peer: &PeerId, until: Duration) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.until = Some(until);
        }
    }

    /// There is nobody to ask; again at `next`. Whether that is enough for a suspicion.
    pub(in crate::state) fn fail(&mut self, peer: &PeerId, next: Duration) -> bool {
        self.targets.get_mut(peer).is_some_and(|target| target.fail(next))
    }

    /// When the round under way fails, if there is one.
    pub(in crate::state) fn until(&self, peer: &PeerId) -> Option<Duration> {
        self.targets.get(peer).and_then(|target| target.until)
    }

    /// It lives. A round under way is over, and the next one begins at `next`.
    pub(in crate::state) fn answered(&mut self, peer: &PeerId, next: Duration) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.failures = 0;
            if target.until.take().is_some() {
                target.due = next;
            }
        }
    }

    /// It has spoken, if not to this peer.
    pub(in crate::state) fn heard(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.failures = 0;
        }
    }

    /// Its connection came or went: a round under way tells nothing any more, the next one begins now.
    pub(in crate::state) fn hasten(&mut self, peer: &PeerId, now: Duration) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.until = None;
            target.due = target.due.min(now);
        }
    }
}
