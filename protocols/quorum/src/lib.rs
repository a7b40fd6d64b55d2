//! Coordinator to replica: read, write, digest, and the tally that decides when a quorum is met.
//!
//! | request | answers |
//! |---|---|
//! | [`Request::Write`] | [`Response::Written`] once durable, [`Response::Stale`], [`Response::Refused`] |
//! | [`Request::Read`] | [`Response::Record`] or [`Response::Digest`], [`Response::Stale`], [`Response::Refused`] |
//!
//! Each request carries the digest of the partition's voters as the coordinator sees them. A
//! replica that sees others still merges a write if it has custody, but answers `Stale` with the
//! member records it goes by: it counts neither towards W nor R, and the coordinator plans again.
//! So two views of the ring never make a false quorum together. Deviation from Dynamo §4.5: the
//! paper trusts every coordinator's own preference list.
//!
//! A replica without custody of the partition stores nothing, and answers `Stale` as well.
//!
//! Limits: a frame has up to [`FRAME_MAX_BYTES`], which holds one record; a `Stale` answer up to
//! [`STALE_MEMBERS_MAX`] members. Bytes: `protocols/henge.cddl`.

pub mod message;
pub mod tally;

pub use message::{Refusal, Request, Response, Want};
pub use tally::{Tally, Verdict};

/// The protocol and its version: what follows the cluster in `/henge/<cluster>/quorum/1`.
pub const PROTOCOL: &str = "quorum/1";

/// Most members in a [`Response::Stale`]. A partition has N voters, at most 16, and as many more as
/// move it at the time.
pub const STALE_MEMBERS_MAX: usize = 128;

/// Largest frame: two full records (a merge may hold the siblings of both) and the voters' member
/// records of a `Stale` answer.
pub const FRAME_MAX_BYTES: usize = 2 * henge_types::limits::RECORD_MAX_BYTES + (1 << 20);
