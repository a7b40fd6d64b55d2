//! henge: a peer-to-peer key-value store with Dynamo's semantics, carried by libp2p.

pub mod actors;
pub mod behaviour;
pub mod client;
pub mod config;
pub mod coordinator;
pub mod core;
pub mod error;
pub mod event;
pub mod handle;
pub mod links;
pub mod node;
pub mod ownership;
pub mod placement;
pub mod rebalance;
pub mod ring;
pub mod store;
