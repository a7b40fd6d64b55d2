//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{RING, deliver, delivered};
use henge_handoff::{Refusal, Response};
use henge_testing::Golden;

const GOLDEN: Golden = Golden(include_str!("golden.txt"));

#[test]
fn messages() {
    GOLDEN.check("request.deliver", &deliver(1));
    GOLDEN.check("request.deliver.none", &deliver(0));
    GOLDEN.check("response.delivered", &delivered());
    GOLDEN.check("refused.not_member", &Response::Refused(Refusal::NotMember));
    GOLDEN.check("refused.other_ring", &Response::Refused(Refusal::OtherRing { ring: RING }));
    GOLDEN.check("refused.overloaded", &Response::Refused(Refusal::Overloaded));
}
