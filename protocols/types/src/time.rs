//! Time as a value that is passed in: nothing below the edges of a peer reads a clock.

use std::time::Duration;

/// One moment, as the peer that passes it in sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Now {
    /// Since an arbitrary start that is the same for the whole run of the process. It never goes
    /// back; timers and time-outs are built on it.
    pub monotonic: Duration,
    /// Milliseconds since 1970 by the wall clock. It may jump; only what outlives the process or
    /// is shown to others is built on it.
    pub unix_ms: u64,
}

impl Now {
    /// The moment `later` after this one, on both clocks.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let ms = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self { monotonic: self.monotonic.saturating_add(later), unix_ms: self.unix_ms.saturating_add(ms) }
    }
}
