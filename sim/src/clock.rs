//! The clocks of one peer: they drift, and the one on the wall jumps.

use std::time::Duration;

use henge_types::Now;

/// Milliseconds of Unix time at which the simulation begins.
pub const UNIX_START_MS: u64 = 1_700_000_000_000;

/// Parts in a drift: one in a million.
const PARTS: i128 = 1_000_000;

/// How one peer sees the time of the simulation.
#[derive(Debug, Clone)]
pub struct Clock {
    booted: Duration,
    drift_ppm: i64,
    unix_offset_ms: i64,
}

impl Clock {
    /// A clock that runs `drift_ppm` millionths too fast, and is off by `unix_offset_ms`.
    #[must_use]
    pub fn new(drift_ppm: i64, unix_offset_ms: i64) -> Self {
        Self { booted: Duration::ZERO, drift_ppm, unix_offset_ms }
    }

    /// The process begins: its monotonic clock starts anew.
    pub fn boot(&mut self, at: Duration) {
        self.booted = at;
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, by_ms: i64) {
        self.unix_offset_ms = self.unix_offset_ms.saturating_add(by_ms);
    }

    /// What the peer reads at `at` of the simulation's time.
    #[must_use]
    pub fn now(&self, at: Duration) -> Now {
        let monotonic = scale(at.saturating_sub(self.booted), PARTS + i128::from(self.drift_ppm), PARTS);
        let elapsed = scale(at, PARTS + i128::from(self.drift_ppm), PARTS);
        let unix = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_add(UNIX_START_MS);
        Now { monotonic, unix_ms: unix.saturating_add_signed(self.unix_offset_ms) }
    }

    /// When, in the simulation's time, the monotonic clock shows at least `monotonic`.
    #[must_use]
    pub fn when(&self, monotonic: Duration) -> Duration {
        let elapsed = scale(monotonic, PARTS, PARTS + i128::from(self.drift_ppm));
        // Rounded down twice: a little later it is surely reached.
        self.booted + elapsed + Duration::from_nanos(2)
    }
}

fn scale(time: Duration, by: i128, of: i128) -> Duration {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX).saturating_mul(by) / of.max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
