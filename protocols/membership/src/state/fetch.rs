//! Custody maps that are missing: fetched from the member itself where it is connected, from
//! anybody else where it is not or did not give it.

use std::collections::BTreeSet;
use std::time::Duration;

use henge_types::{Now, PeerId};

use super::State;
use super::links::Kind;
use crate::limits::{FETCH_DELAY, RETRY};

/// Bounded by the view: only its members are in here.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    asked: BTreeSet<PeerId>,
    // Whose map the last one asked could not give.
    missed: BTreeSet<PeerId>,
    not_before: Duration,
}

impl Fetches {
    /// Whoever was asked about these is gone.
    pub(super) fn lost<'a>(&mut self, members: impl Iterator<Item = &'a PeerId>) {
        for member in members {
            self.asked.remove(member);
            self.missed.insert(*member);
        }
    }
}

impl State {
    pub(super) fn arm_fetch(&mut self, now: Now) {
        let mut needs = self.view.needs_custody();
        if self.timers.fetch.is_some() || needs.all(|member| self.fetches.asked.contains(member)) {
            return;
        }
        if self.links.peers().any(|peer| self.view.contains(peer)) {
            self.timers.fetch = Some(self.fetches.not_before.max(now.monotonic + FETCH_DELAY));
        }
    }

    pub(super) fn plan_fetches(&mut self) {
        let linked = self.linked_members();
        let needs: BTreeSet<PeerId> = self.view.needs_custody().copied().collect();
        self.fetches.missed.retain(|member| needs.contains(member));
        for member in needs {
            if self.fetches.asked.contains(&member) {
                continue;
            }
            let itself = self.links.contains(&member) && !self.fetches.missed.contains(&member);
            let target = if itself { Some(member) } else { self.rng.pick(&linked).copied() };
            let Some(target) = target else { return };
            if let Some(link) = self.links.get_mut(&target) {
                link.fetch_of.insert(member);
                self.fetches.asked.insert(member);
                self.links.want(target, Kind::Fetch);
            }
        }
    }

    /// A fetch from `peer` ended, with or without an answer; what came is merged already.
    pub(super) fn fetched(&mut self, peer: PeerId, now: Now) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let members = std::mem::take(&mut link.fetching);
        let more = !link.fetch_of.is_empty();
        for member in members {
            self.fetches.asked.remove(&member);
            if self.view.get(&member).is_some_and(|known| !known.custody_is_current()) {
                self.fetches.missed.insert(member);
                self.fetches.not_before = now.monotonic + RETRY;
            } else {
                self.fetches.missed.remove(&member);
            }
        }
        if more {
            self.links.want(peer, Kind::Fetch);
        }
    }
}
