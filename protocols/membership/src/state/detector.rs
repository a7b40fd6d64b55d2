//! Which members seem to be gone (Dynamo §4.8.3).
//!
//! Each peer probes its successors on a circle of the members, and minds that the heartbeats of all
//! others come. Where either fails it *suspects*, and says so in its own record. A member is *down* when
//! enough members accuse it, which every peer reads from its view alone:
//!
//! - An accusation names the last record of the accused that the accuser knew, and holds as long as that
//!   is the newest record known. So any newer one clears it, and one that names a record that the
//!   accused never signed holds for nobody.
//! - Two accusers are needed, or one in a ring of two. Whether the accusers are down themselves is not
//!   asked: that would make verdicts depend on each other, and it is not needed, because an accusation
//!   does not go stale. It says that nothing came since a certain record, and that is as true when its
//!   author is gone; if the accused lives, it proves it by its next record.
//! - Nobody takes itself for down, and who has left is neither accused nor accuses.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use henge_types::limits::SUSPECTS_MAX;
use henge_types::{Now, PeerId, Suspect};
use sha2::{Digest, Sha256};

use super::lease::Heard;
use super::links::Kind;
use super::{Action, State};
use crate::limits::{
    ACCUSERS, LATE, OVERDUE_HEARTBEATS, OVERDUE_MARGIN, PROBE_EVERY, PROBE_RETRY, PROBE_TARGETS,
    PROBE_TIMEOUT, WAKING_AFTER,
};
use crate::rng::Rng;
use crate::view::Member;

mod accusations;
mod pace;
mod probes;

use accusations::{Accusation, Accusations};
use pace::Pace;
use probes::Probes;

/// The other members in the order of the SHA-256 of their peer ids, so that nobody chooses by whom it
/// is probed.
#[derive(Debug)]
struct Circle {
    me: [u8; 32],
    others: BTreeMap<[u8; 32], PeerId>,
}

impl Circle {
    fn place(peer: &PeerId) -> [u8; 32] {
        Sha256::digest(peer.to_bytes()).into()
    }

    /// From this peer's place on.
    fn successors(&self) -> impl Iterator<Item = &PeerId> {
        let after = self.others.range((Bound::Excluded(self.me), Bound::Unbounded));
        after.chain(self.others.range(..self.me)).map(|(_, peer)| peer)
    }
}

/// What the failure detector knows beyond the view. Everything in it is about members of the view, and
/// so bounded by that.
#[derive(Debug)]
pub(super) struct Detector {
    circle: Circle,
    probes: Probes,
    pace: Pace,
    accusations: Accusations,
    // Whom this peer suspects; those that were heard of since are left out when it says so.
    suspected: BTreeMap<PeerId, Suspect>,
    pub(super) heard: BTreeMap<PeerId, Heard>,
    // When the heartbeats are looked after, once this peer is in a ring.
    sweep: Option<Duration>,
    // Before this moment nothing that comes is taken for fresh.
    pub(super) waking_until: Duration,
    // The generation of the view in which all accusations were looked at.
    assessed: u64,
}

impl Detector {
    pub(super) fn new(me: &PeerId) -> Self {
        Self {
            circle: Circle { me: Circle::place(me), others: BTreeMap::new() },
            probes: Probes::default(),
            pace: Pace::default(),
            accusations: Accusations::default(),
            suspected: BTreeMap::new(),
            heard: BTreeMap::new(),
            sweep: None,
            waking_until: Duration::ZERO,
            assessed: 0,
        }
    }

    pub(super) fn start(&mut self, at: Duration) {
        self.sweep = Some(at);
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.sweep.into_iter().chain(self.probes.next()).min()
    }
}

impl State {
    /// Whether `peer` is taken to be gone: enough members suspect it, and no newer record of it is
    /// known. Never so for this peer itself, nor for one that has left. Follows from the view alone.
    #[must_use]
    pub fn is_down(&self, peer: &PeerId) -> bool {
        self.detector.accusations.is_down(peer)
    }

    /// The members whose suspicion of `peer` holds, and when this peer learnt of it on the clock of
    /// [`Now::monotonic`]; the longest known first. This peer itself may be accused, too.
    #[must_use]
    pub fn accusers(&self, peer: &PeerId) -> Vec<(PeerId, Duration)> {
        let mut accusers: Vec<_> =
            self.holding(peer).map(|(by, accusation)| (*by, accusation.since)).collect();
        accusers.sort_by_key(|(by, since)| (*since, *by));
        accusers
    }

    fn holding(&self, accused: &PeerId) -> impl Iterator<Item = (&PeerId, &Accusation)> {
        let newest = self.present(accused);
        let holds = move |by: &PeerId, accusation: &Accusation| {
            by != accused && newest == Some(accusation.suspect) && self.present(by).is_some()
        };
        self.detector.accusations.against(accused).filter(move |(by, accusation)| holds(by, accusation))
    }

    // The newest record of a member that has not left, as an accusation names it.
    fn present(&self, peer: &PeerId) -> Option<Suspect> {
        let record = self.view.get(peer).filter(|member| member.is_present())?.record();
        Some(Suspect { peer: *peer, incarnation: record.incarnation, counter: record.counter })
    }

    fn accusers_needed(&self) -> usize {
        if self.view.present() > ACCUSERS { ACCUSERS } else { 1 }
    }

    /// For how long `peer` is down, in the time for which this peer ran.
    pub(super) fn down_for(&self, peer: &PeerId, at: Duration) -> Option<Duration> {
        let since = self.detector.accusations.down_since(peer)?;
        // If timers wait that are overdue, this peer has not noticed yet that it did not run.
        let at = self.detector.next().map_or(at, |due| at.min(due + LATE));
        Some(self.detector.pace.ran(at).saturating_sub(since))
    }

    /// `peer` is no member any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.detector.heard.remove(peer);
        self.detector.suspected.remove(peer);
        self.detector.circle.others.remove(&Circle::place(peer));
    }

    fn assess(&mut self, peers: impl IntoIterator<Item = PeerId>, at: Duration) {
        let needed = self.accusers_needed();
        let ran = self.detector.pace.ran(at);
        for peer in peers {
            let down = peer != self.me && self.holding(&peer).take(needed).count() == needed;
            if self.detector.accusations.judge(peer, down, ran) && self.view.contains(&peer) {
                self.actions.push_back(Action::Health { peer, down });
            }
        }
    }

    pub(super) fn suspects_of(&self, peer: &PeerId) -> Vec<Suspect> {
        self.view.get(peer).map_or_else(Vec::new, |member| member.record().suspects.clone())
    }

    /// The record of `peer` in the view is a new one (or gone); the last one had the suspects `before`.
    pub(super) fn record_changed(&mut self, peer: PeerId, before: &[Suspect], now: Now) {
        let after = self.suspects_of(&peer);
        self.detector.accusations.replace(peer, before, &after, now.monotonic);
        if peer != self.me {
            self.heard_of(peer, now);
            self.heed(peer, &after);
        }
        if self.view.generation() == self.detector.assessed {
            let about = before.iter().chain(&after).map(|suspect| suspect.peer);
            self.assess(about.chain([peer]).collect::<Vec<_>>(), now.monotonic);
        } else {
            // Somebody came or left: more or fewer accusers may be needed, and count.
            self.detector.assessed = self.view.generation();
            self.assess(self.detector.accusations.accused().into_iter().chain([peer]), now.monotonic);
        }
    }

    fn heard_of(&mut self, peer: PeerId, now: Now) {
        let Some(record) = self.view.get(&peer).map(Member::record) else { return };
        let ran = self.detector.pace.ran(now.monotonic);
        let heard = self.detector.heard.entry(peer).or_insert_with(|| Heard::new(ran));
        heard.note(record, &self.me, ran);
        let same_evictions = record.evictions == self.view.evictions_digest();
        self.detector.suspected.remove(&peer);
        self.detector.probes.heard(&peer);
        self.detector.circle.others.entry(Circle::place(&peer)).or_insert(peer);
        if !same_evictions {
            self.exchange_with(peer);
        }
    }

    // What this peer does about the accusations of `by`.
    fn heed(&mut self, by: PeerId, suspects: &[Suspect]) {
        let mine = self.present(&self.me);
        if suspects.iter().any(|suspect| Some(*suspect) == mine) {
            // The next record refutes it.
            self.speak_soon();
        }
        let known = |suspect: &Suspect| {
            self.view.get(&suspect.peer).is_some_and(|member| {
                let record = member.record();
                (record.incarnation, record.counter) >= (suspect.incarnation, suspect.counter)
            })
        };
        if !suspects.iter().all(known) {
            // It speaks of records that did not come here: without them its accusations do not hold.
            self.exchange_with(by);
        }
    }

    /// Whom the next record of this peer accuses. Where there are too many it names the nearest on the
    /// circle, so that everybody is still named by somebody.
    pub(super) fn accusations(&mut self) -> Vec<Suspect> {
        if self.detector.suspected.is_empty() {
            return Vec::new();
        }
        let mut suspected = std::mem::take(&mut self.detector.suspected);
        suspected.retain(|peer, suspect| self.present(peer) == Some(*suspect));
        let nearest = self.detector.circle.successors().filter_map(|peer| suspected.get(peer));
        let mut named: Vec<Suspect> = nearest.take(SUSPECTS_MAX).copied().collect();
        named.sort_by_key(|suspect| suspect.peer);
        self.detector.suspected = suspected;
        named
    }

    // A member that others took for down already is named with the next heartbeat: in a large ring all
    // come to suspect it in the end, and nobody waits for them.
    fn suspect(&mut self, peer: &PeerId) {
        let Some(suspect) = self.present(peer) else { return };
        if self.detector.suspected.insert(*peer, suspect) != Some(suspect) && !self.is_down(peer) {
            self.speak_soon();
        }
    }

    /// Probes and looks after heartbeats, as far as that is due.
    pub(super) fn watch(&mut self, now: Now) {
        let at = now.monotonic;
        let Some(due) = self.detector.next().filter(|due| *due <= at) else { return };
        if let Some(late) = self.detector.pace.notice(due, at) {
            self.pardon(late, at);
        }
        for peer in self.detector.probes.expire(at) {
            self.suspect(&peer);
        }
        self.probe(at);
        if self.detector.sweep.take_if(|sweep| *sweep <= at).is_some() {
            self.suspect_overdue(at);
            self.detector.sweep = Some(in_a_period(&mut self.rng, at));
        }
    }

    // This peer did not run for a while: it cannot tell whether its probes were answered in time.
    fn pardon(&mut self, late: Duration, at: Duration) {
        let Self { detector, rng, .. } = self;
        detector.probes.restart(|| in_a_period(rng, at));
        if late >= WAKING_AFTER {
            detector.accusations.restart(detector.pace.ran(at));
        }
        self.notice_waking(late, at);
    }

    fn probe(&mut self, at: Duration) {
        let alive = |peer: &&PeerId| self.present(peer).is_some() && !self.is_down(peer);
        let successors = self.detector.circle.successors().filter(alive);
        let targets: Vec<PeerId> = successors.take(PROBE_TARGETS).copied().collect();
        let Self { detector, rng, .. } = self;
        detector.probes.aim(&targets, || in_a_period(rng, at));
        for peer in self.detector.probes.due(at) {
            if self.links.contains(&peer) {
                self.detector.probes.begin(&peer, at + self.probe_timeout());
                self.links.want(peer, Kind::Probe);
                self.links.want_at(peer, Kind::Reprobe, at + self.probe_timeout() / 2);
            } else if self.detector.probes.fail(&peer, in_a_period(&mut self.rng, at)) {
                self.suspect(&peer);
            }
        }
    }

    fn suspect_overdue(&mut self, at: Duration) {
        let usual = self.heartbeat_interval() * OVERDUE_HEARTBEATS + OVERDUE_MARGIN;
        let patience = self.detector.pace.stretched(usual);
        let ran = self.detector.pace.ran(at);
        let overdue = |heard: &Heard| ran.saturating_sub(heard.ran()) > patience;
        let silent = self.detector.heard.iter().filter(|(_, heard)| overdue(heard));
        for peer in silent.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.suspect(&peer);
        }
    }

    /// How long an answer to a probe is waited for.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.detector.pace.stretched(PROBE_TIMEOUT)
    }

    /// Whether a probe of `peer` is under way.
    pub(super) fn probes(&self, peer: &PeerId) -> bool {
        self.detector.probes.until(peer).is_some()
    }

    /// The connection to `peer` came or went.
    pub(super) fn probe_at_once(&mut self, peer: &PeerId, now: Now) {
        self.detector.probes.hasten(peer, now.monotonic);
    }

    /// `peer` answered a probe.
    pub(super) fn on_probe_answered(&mut self, peer: PeerId, now: Now) {
        let next = in_a_period(&mut self.rng, now.monotonic);
        self.detector.probes.answered(&peer, next);
        self.detector.suspected.remove(&peer);
        let ran = self.detector.pace.ran(now.monotonic);
        if let Some(heard) = self.detector.heard.get_mut(&peer) {
            heard.lives(ran);
        }
    }

    /// A probe was not answered: there may be time for another before the round fails.
    pub(super) fn on_probe_lost(&mut self, peer: PeerId, now: Now) {
        let again = now.monotonic + PROBE_RETRY;
        if self.detector.probes.until(&peer).is_some_and(|until| again < until) {
            self.links.want_at(peer, Kind::Probe, again);
        }
    }
}

fn in_a_period(rng: &mut Rng, now: Duration) -> Duration {
    now + rng.jitter(PROBE_EVERY)
}
