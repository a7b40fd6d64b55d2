//! A whole henge cluster in one thread, on virtual time, from one seed.

pub mod clock;
pub mod disk;
pub mod facts;
pub mod identity;
pub mod network;
pub mod rng;
pub mod seam;
pub mod trace;
pub mod wire;
pub mod world;
pub mod checker;
pub mod client;
pub mod history;
pub mod mutations;
pub mod nemesis;
pub mod scenario;
pub mod simulation;
pub mod shrink;
pub mod features;
