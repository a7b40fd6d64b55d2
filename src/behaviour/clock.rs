//! Where time enters, and the one timer.

use std::task::Context;
use std::time::Duration;

use futures::FutureExt as _;
use futures_timer::Delay;
use henge_types::Now;

/// Reads the clocks.
///
/// The monotonic one also runs while the process is stopped (SIGSTOP), and on Linux while the
/// machine sleeps: a lease that ran out meanwhile has run out.
#[derive(Debug)]
pub(super) struct Clock {
    start: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: uptime() }
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: uptime().saturating_sub(self.start), unix_ms: unix_ms() }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn uptime() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Instant::now().saturating_duration_since(*START)
}

/// The time, in milliseconds of Unix time.
#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is as good as one at 1970: it is only shown, and compared with others.
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Wakes the task at a moment of [`Now::monotonic`], or somewhat earlier for an earlier moment
/// that was asked for before.
#[derive(Debug)]
pub(super) struct Alarm {
    delay: Delay,
    set_for: Option<Duration>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { delay: Delay::new(Duration::ZERO), set_for: None }
    }

    /// Makes sure that the task wakes at `due`.
    ///
    /// A timer that is set for an earlier moment stays: deadlines of requests move with each
    /// request, and setting it costs more than one wake-up too many.
    pub(super) fn wake_at(&mut self, due: Duration, now: Duration, cx: &mut Context<'_>) {
        if self.set_for.is_none_or(|set_for| due < set_for) {
            self.delay.reset(due.saturating_sub(now));
            self.set_for = Some(due);
        }
        if self.delay.poll_unpin(cx).is_ready() {
            self.set_for = None;
            cx.waker().wake_by_ref();
        }
    }
}
