//! What every store must do, and what the one on disk must survive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::wildcard_enum_match_arm, reason = "any other answer fails the test")]
#![allow(clippy::disallowed_methods, reason = "tests poll with deadlines, in real time")]

mod common;
mod contract;
mod crash;
mod damage;
mod files;
mod hints;
mod property;
mod tree;
mod worker;
