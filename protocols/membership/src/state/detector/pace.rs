//! Whether this peer itself kept up. One that did not run for a while has missed what others said
//! meanwhile, and may not hold that against them (the "local health" of Lifeguard).

use std::time::Duration;

use crate::limits::{CALM_AFTER, LATE, STRETCH_MAX};

#[derive(Debug)]
pub(in crate::state) struct Pace {
    // For how long this peer did not run, all together.
    lost: Duration,
    stretch: u32,
    calm_at: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { lost: Duration::ZERO, stretch: 1, calm_at: Duration::ZERO }
    }
}

impl Pace {
    /// A timer that was due at `due` is looked after at `now`. How long this peer did not run, if
    /// that is to be taken for more than the usual delay.
    pub(in crate::state) fn notice(&mut self, due: Duration, now: Duration) -> Option<Duration> {
        let late = now.saturating_sub(due);
        if late > LATE {
            self.lost += late;
            self.stretch = (self.stretch * 2).min(STRETCH_MAX);
            self.calm_at = now + CALM_AFTER;
            return Some(late);
        }
        if self.stretch > 1 && now >= self.calm_at {
            self.stretch /= 2;
            self.calm_at = now + CALM_AFTER;
        }
        None
    }

    /// For how long this peer ran until `now`: silence is counted in this time.
    pub(in crate::state) fn ran(&self, now: Duration) -> Duration {
        now.saturating_sub(self.lost)
    }

    /// The patience that `usual` becomes while this peer is slow.
    pub(in crate::state) fn stretched(&self, usual: Duration) -> Duration {
        usual * self.stretch
    }
}
