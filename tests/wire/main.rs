//! The page on the wire against the code: the schema, the worked example, and a client that knows
//! nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod by_hand;
mod example;
mod listing;
mod schema;

/// What a stranger reads.
const README: &str = include_str!("../../protocols/README.md");

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}
