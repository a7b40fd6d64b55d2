//! henge: a peer-to-peer key-value store with Dynamo's semantics, carried by libp2p.
//!
//! A program embeds a peer as a libp2p [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour)
//! ([`behaviour`]), or runs the ready-made swarm ([`node`]), or is a client of peers elsewhere
//! ([`client`]); all three hand out the same [`Handle`](handle::Handle).
//!
//! # Which part of the Dynamo paper lives where
//!
//! | DeCandia et al., SOSP 2007 | here |
//! |---|---|
//! | §4.2 partitioning, §6.2 fixed equal partitions | [`ring`], [`placement`] |
//! | §4.3 replication, preference lists | [`ownership`], `henge_types::voters` |
//! | §4.4 data versioning | `henge_types::record`, `henge_types::clock`, [`actors`] |
//! | §4.5 get and put, quorums | [`coordinator`], `henge_quorum::Tally`, `core/coordinate.rs`, `core/serve.rs` |
//! | §4.6 hinted handoff | [`hints`], `core/handoff.rs`, `store/hint.rs`, `henge_handoff` |
//! | §4.8 membership and failure detection | `henge_membership`, [`links`] |
//! | §4.7 replica synchronization | `henge_sync`, [`anti_entropy`], [`repair`], `core/syncing.rs`, `store/roots.rs` |
//! | §4.9 adding and removing nodes | [`rebalance`], `core/custody.rs`, `henge_sync` |
//! | §5 local persistence | [`store`] |
//! | §5 read repair | `core/serve.rs` |
//!
//! # One direction
//!
//! ```text
//! Swarm → behaviour → Input → Core → Output → behaviour → Swarm or store
//! ```
//!
//! [`core::Core`] is the whole peer as one state machine without I/O; see its calling contract.
//! `ARCHITECTURE.md` follows one put and one get through the files and gives the reason of each
//! decision.

pub mod actors;
pub mod anti_entropy;
pub mod behaviour;
pub mod client;
pub mod collector;
pub mod config;
pub mod coordinator;
pub mod core;
pub mod error;
pub mod event;
pub mod handle;
pub mod hints;
pub mod links;
pub mod node;
pub mod ownership;
pub mod placement;
pub mod rebalance;
pub mod repair;
pub mod ring;
pub mod snapshot;
pub mod store;
