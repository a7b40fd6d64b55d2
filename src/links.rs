//! Connections to the other members: which are open, how far each is, when to dial again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_types::{Multiaddr, PeerId};

/// The first pause before a member is dialled again, doubled with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest pause: a member that comes back is found within this.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A dial that says nothing for this long counts as failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Weight of a new sample in the smoothed round trip: 1/8 (RFC 6298 §2).
const RTT_SHIFT: u32 = 3;
/// The least time after which a peer that leaves requests unanswered is late. A connection whose other
/// end is gone may say nothing (over QUIC it does not), and then this is what clients wait, once.
const LATE_MIN: Duration = Duration::from_millis(75);
/// Where the peers are far: so many times the p95 of recent answers.
const LATE_FACTOR: u32 = 4;
/// A read hedges after the p95 of recent answers, but not sooner: below it a second request costs
/// more than it gains.
const HEDGE_MIN: Duration = Duration::from_millis(2);
/// The largest p95 believed.
const HEDGE_MAX: Duration = Duration::from_secs(1);
/// Before there are samples.
const HEDGE_FIRST: Duration = Duration::from_millis(50);
/// How far one sample moves the estimate of the p95, upwards; a nineteenth of it downwards.
const HEDGE_STEP_SHIFT: u32 = 3;

/// What is known of the connections. Bounded by the members and the addresses to join through.
#[derive(Debug, Default)]
pub struct Links {
    connected: BTreeSet<PeerId>,
    dials: BTreeMap<Target, Dial>,
    round_trips: BTreeMap<PeerId, Duration>,
    unanswered: BTreeMap<PeerId, Unanswered>,
    /// Peers that lost one of their connections, and have answered nothing since.
    doubted: BTreeSet<PeerId>,
    /// Of reads: when to hedge.
    reads: P95,
    /// Of all quick requests, writes that wait for a disk included: when to go on without an answer.
    all: P95,
}

/// An estimate of the p95 of what it is fed with.
#[derive(Debug, Clone, Copy)]
struct P95(Duration);

impl Default for P95 {
    fn default() -> Self {
        Self(HEDGE_FIRST)
    }
}

impl P95 {
    // The estimate rises 19 times as far as it falls, so that it rests where one sample of 20 is
    // above it (Robbins and Monro 1951, with a step in proportion).
    fn feed(&mut self, took: Duration) {
        let step = self.0 / (1 << HEDGE_STEP_SHIFT);
        let moved = if took > self.0 { self.0 + step } else { self.0.saturating_sub(step / 19) };
        self.0 = moved.clamp(HEDGE_MIN, HEDGE_MAX);
    }
}

/// Requests to one peer that it has not answered.
#[derive(Debug, Clone, Copy)]
struct Unanswered {
    count: usize,
    /// When the oldest of them was sent, or when it last answered one, if that was later.
    since: Duration,
}

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A member, at the addresses of its record.
    Member(PeerId),
    /// Whoever is at this address.
    Address(Multiaddr),
}

#[derive(Debug, Clone, Copy)]
struct Dial {
    next: Duration,
    pause: Duration,
    failed: bool,
}

impl Links {
    /// Whether a connection to `peer` is open.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains(peer)
    }

    /// Whether each of `peers` is connected, or a dial to it has failed.
    pub fn were_tried<'a>(&self, mut peers: impl Iterator<Item = &'a PeerId>) -> bool {
        peers.all(|peer| {
            let failed = |d: &Dial| d.failed;
            self.is_connected(peer) || self.dials.get(&Target::Member(*peer)).is_some_and(failed)
        })
    }

    /// The peers with an open connection: members, clients and strangers.
    pub fn connected(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().copied()
    }

    /// A first connection is open.
    pub fn on_connected(&mut self, peer: PeerId) {
        self.connected.insert(peer);
        self.dials.remove(&Target::Member(peer));
    }

    /// The last connection is gone: dial at once, it may be back already.
    pub fn on_disconnected(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
        self.round_trips.remove(peer);
        self.unanswered.remove(peer);
        self.doubted.remove(peer);
    }

    /// One of several connections to `peer` broke: until it answers, it counts as late.
    pub fn on_doubt(&mut self, peer: PeerId) {
        if self.connected.contains(&peer) {
            self.doubted.insert(peer);
        }
    }

    /// A dial failed.
    pub fn on_dial_failed(&mut self, target: &Target, now: Duration) {
        if let Some(dial) = self.dials.get_mut(target) {
            dial.next = now + dial.pause;
            dial.failed = true;
        }
    }

    /// Forgets a target: joined, or no member any more.
    pub fn forget(&mut self, target: &Target) {
        self.dials.remove(target);
    }

    /// A request that is answered quickly was sent to `peer`.
    pub fn on_asked(&mut self, peer: PeerId, now: Duration) {
        if self.connected.contains(&peer) {
            self.unanswered.entry(peer).or_insert(Unanswered { count: 0, since: now }).count += 1;
        }
    }

    /// One of those was answered, after this time, or given up (`None`).
    pub fn on_settled(&mut self, peer: &PeerId, took: Option<Duration>, now: Duration) {
        if let Some(took) = took {
            self.all.feed(took);
            self.doubted.remove(peer);
        }
        let Some(unanswered) = self.unanswered.get_mut(peer) else { return };
        unanswered.count = unanswered.count.saturating_sub(1);
        if took.is_some() {
            unanswered.since = now;
        }
        if unanswered.count == 0 {
            self.unanswered.remove(peer);
        }
    }

    /// Whether `peer` has answered nothing for [`Links::late_after`], though it was asked, or is doubted.
    #[must_use]
    pub fn is_late(&self, peer: &PeerId, now: Duration) -> bool {
        self.doubted.contains(peer)
            || self.unanswered.get(peer).is_some_and(|u| now.saturating_sub(u.since) >= self.late_after())
    }

    /// After how long nobody waits for an answer any more, if there is somebody else to ask.
    #[must_use]
    pub fn late_after(&self) -> Duration {
        LATE_MIN.max(self.all.0 * LATE_FACTOR)
    }

    /// A read of `peer` took this long.
    pub fn on_round_trip(&mut self, peer: PeerId, took: Duration) {
        let smoothed = self.round_trips.entry(peer).or_insert(took);
        *smoothed = *smoothed - (*smoothed / (1 << RTT_SHIFT)) + took / (1 << RTT_SHIFT);
        self.reads.feed(took);
    }

    /// After how long a read asks one more voter: the p95 of recent answers.
    #[must_use]
    pub fn hedge_after(&self) -> Duration {
        self.reads.0
    }

    /// Sorts `peers` by how far they are, the nearest first; those without a sample last, and the
    /// given order where nothing is known.
    pub fn sort_by_distance(&self, peers: &mut [PeerId]) {
        peers.sort_by_key(|p| self.round_trips.get(p).copied().unwrap_or(Duration::MAX));
    }

    /// Which of `targets` to dial now. Notes that they are dialled.
    pub fn due(&mut self, targets: impl Iterator<Item = Target>, now: Duration) -> Vec<Target> {
        let mut due = Vec::new();
        for target in targets {
            if matches!(&target, Target::Member(peer) if self.connected.contains(peer)) {
                continue;
            }
            let dial = self.dials.entry(target.clone()).or_insert(Dial {
                next: now,
                pause: BACKOFF_MIN,
                failed: false,
            });
            if dial.next <= now {
                dial.next = now + DIAL_TIMEOUT;
                dial.pause = (dial.pause * 2).min(BACKOFF_MAX);
                due.push(target);
            }
        }
        due
    }

    /// When [`Links::due`] may next have something.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.dials.values().map(|d| d.next).min()
    }
}
