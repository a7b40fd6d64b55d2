//! When things are due. Every timer is an absolute instant, and each fires once for a late wake-up.

use std::time::Duration;

use henge_types::Now;

use super::State;
use crate::limits::{
    EXCHANGE_HEARTBEATS, EXCHANGE_MIN, PERSIST_MIN, PERSIST_PER_MEMBER, PROBE_EVERY, PUBLISH_MIN,
};

#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) heartbeat: Option<Duration>,
    pub(super) exchange: Option<Duration>,
    pub(super) publish: Option<Duration>,
    pub(super) persist: Option<Duration>,
    pub(super) fetch: Option<Duration>,
    pub(super) speak: Option<Duration>,
    spoken: Option<Duration>,
    published: Option<Duration>,
    persisted: Option<Duration>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Duration> {
        let due = [self.heartbeat, self.exchange, self.publish, self.persist, self.fetch, self.speak];
        due.into_iter().flatten().min()
    }
}

// Says whether the timer was due, and disarms it.
fn fire(timer: &mut Option<Duration>, now: Duration) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

fn after(last: Option<Duration>, period: Duration) -> Duration {
    last.map_or(Duration::ZERO, |last| last + period)
}

impl State {
    /// Time has passed. A late call does what is due once, not once for each period missed.
    pub fn handle_timeout(&mut self, now: Now) {
        let at = now.monotonic;
        self.watch(now);
        if fire(&mut self.timers.heartbeat, at) {
            self.beat(now);
        }
        if fire(&mut self.timers.exchange, at) {
            self.exchange_at_random();
            self.arm_exchange(now);
        }
        if fire(&mut self.timers.fetch, at) {
            self.plan_fetches();
        }
        self.settle(now);
    }

    pub(super) fn start_timers(&mut self, now: Now) {
        self.arm_heartbeat(now);
        self.arm_exchange(now);
        self.detector.start(now.monotonic + self.rng.jitter(PROBE_EVERY));
    }

    /// The own record has something to say, about others or against an accusation. It is signed anew
    /// and spread at once, or as soon as that was not done for a while.
    pub(super) fn speak_soon(&mut self) {
        let at = after(self.timers.spoken, PUBLISH_MIN);
        self.timers.speak.get_or_insert(at);
    }

    /// The own record goes out at once, or as soon as the last one is old enough.
    pub(super) fn publish_soon(&mut self) {
        let at = after(self.timers.published, PUBLISH_MIN);
        self.timers.publish.get_or_insert(at);
    }

    /// What follows from any change: called at the end of everything that takes time or input.
    pub(super) fn settle(&mut self, now: Now) {
        let at = now.monotonic;
        if fire(&mut self.timers.speak, at) {
            self.timers.spoken = Some(at);
            self.speak(now);
        }
        if self.view.revision() != self.persisted && !self.persist_due {
            let members = u32::try_from(self.view.len()).unwrap_or(u32::MAX);
            let period = PERSIST_MIN + PERSIST_PER_MEMBER * members;
            self.timers.persist.get_or_insert(after(self.timers.persisted, period));
        }
        if fire(&mut self.timers.persist, at) {
            self.timers.persisted = Some(at);
            self.persisted = self.view.revision();
            self.persist_due = true;
        }
        if fire(&mut self.timers.publish, at) {
            self.timers.published = Some(at);
            self.publish_due = true;
        }
        self.arm_fetch(now);
        self.links.wake(at);
    }

    fn beat(&mut self, now: Now) {
        if self.sign(now) {
            self.timers.publish = None;
            self.timers.published = Some(now.monotonic);
            self.publish_due = true;
        }
        self.arm_heartbeat(now);
    }

    fn exchange_at_random(&mut self) {
        let members = self.linked_members();
        if let Some(peer) = self.rng.pick(&members) {
            self.exchange_with(*peer);
        }
    }

    fn arm_heartbeat(&mut self, now: Now) {
        let interval = self.heartbeat_interval();
        self.timers.heartbeat = Some(now.monotonic + self.rng.jitter(interval));
    }

    fn arm_exchange(&mut self, now: Now) {
        let interval = EXCHANGE_MIN.max(self.heartbeat_interval() * EXCHANGE_HEARTBEATS);
        self.timers.exchange = Some(now.monotonic + self.rng.jitter(interval));
    }
}
