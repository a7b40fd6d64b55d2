//! henge: a peer-to-peer key-value store with Dynamo's semantics, carried by libp2p.

pub mod client;
pub mod config;
pub mod error;
pub mod handle;
pub mod store;
