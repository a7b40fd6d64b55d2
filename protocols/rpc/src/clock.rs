//! Where time enters: the deadlines of requests, and nothing else.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a network behaviour is an edge, the swarm passes no time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
