//! What the alphabet of henge promises, one room of the crate per module.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod accusation;
mod apply;
mod causality;
mod codec;
mod common;
mod context;
mod custody;
mod golden;
mod hostile;
mod member;
mod merge;
mod position;
mod schedule;
mod voters;
