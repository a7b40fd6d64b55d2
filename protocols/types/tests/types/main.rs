//! What the alphabet of henge promises, one room of the crate per module.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod common;
mod merge;
mod schedule;
