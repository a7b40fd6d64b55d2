#![doc = include_str!("../README.md")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the simulator looks at a few variants of many, and lets the others pass"
)]

pub mod checker;
pub mod client;
pub mod clock;
pub mod disk;
pub mod facts;
pub mod features;
pub mod history;
pub mod identity;
pub mod mutations;
pub mod nemesis;
pub mod network;
pub mod rng;
pub mod scenario;
pub mod seam;
pub mod shrink;
pub mod simulation;
pub mod trace;
pub mod wire;
pub mod world;
