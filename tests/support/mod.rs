//! What several tests need: peers to talk to, real and scripted, and a way to wait.
#![allow(dead_code, reason = "each test program uses what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

pub(crate) mod command;
pub(crate) mod history;
pub(crate) mod launch;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod scripted;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a state is looked at while a test waits for it: at first, and at last.
const INTERVALS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// A number that whoever measures may set in the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

/// [`PATIENCE`], or `HENGE_TEST_PATIENCE` in seconds if that is longer: where a test is given more to do.
pub(crate) fn patience() -> Duration {
    PATIENCE.max(Duration::from_secs(setting("HENGE_TEST_PATIENCE", 0) as u64))
}

/// The clock of the tests.
#[expect(clippy::disallowed_methods, reason = "tests run against real processes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks until the answer is there.
#[expect(clippy::disallowed_methods, reason = "between two looks at a state that another process changes")]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let (begun, patience) = (now(), patience());
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = now() - begun;
        assert!(waited < patience, "waited {patience:?} in vain: {what}");
        // A look costs, and what has taken long is not measured more exactly by more of them.
        std::thread::sleep((waited / 20).clamp(INTERVALS[0], INTERVALS[1]));
    }
}
