//! Comparing partitions between two peers, and moving the records that differ (Dynamo §4.7).
//!
//! Each peer keeps a hash tree over its records ([`henge_types::tree`]). A [`Session`] descends both at once
//! to what differs, compares hashes of items there, and moves those records, which the other side
//! merges: nothing is ever overwritten. What changes meanwhile is found by the next session.
//!
//! | request | answer |
//! |---|---|
//! | [`Request::Compare`] | [`Response::Compared`], an [`Answer`] for each entry in order |
//! | [`Request::Collect`] | [`Response::Collected`], once what is the same here is durable |
//! | [`Request::Groups`], [`Request::Nodes`] | [`Response::Codes`]: equal, differs, empty here |
//! | [`Request::Items`] | [`Response::Items`]: which are not here, and which others are |
//! | [`Request::Fetch`] | [`Response::Records`] |
//! | [`Request::Push`] | [`Response::Pushed`], once they are durable |
//!
//! Any request may be answered by [`Response::Refused`]. The answering side ([`Responder`]) keeps nothing between
//! two requests. Under digests of voters, which acquiring and giving up carry, a partition that it sees
//! otherwise when it answers is stale, as for every request to a replica.
//!
//! Two peers in sync find out in one round trip, whatever they share. Otherwise a difference costs
//! about 100 bytes beside its record. Hashes are salted and cut to [`HASH_BYTES`], so that a
//! collision hides a difference from one session only; acquiring and giving up, which rely on one, use
//! [`EXACT_HASH_BYTES`].
//!
//! Limits: [`ENTRIES_MAX`] partitions, [`NODES_MAX`] nodes and [`ITEMS_MAX`] items in a request,
//! [`BATCH_BYTES`] of records (a larger one travels alone), [`FRAME_MAX_BYTES`] in a frame. Bytes:
//! `protocols/henge.cddl`.
//!
//! Different from the paper: partitions are compared together, not each by itself; a leaf is a sum, so that a
//! write changes it without a look at the other items.

mod hash;
mod message;
mod outcome;
mod pack;
mod question;
mod responder;
mod session;

pub use message::{Answer, Head, Request, Response};
pub use outcome::{End, Outcome, Progress, Report};
pub use question::{Known, Merged, Question};
pub use responder::{Accepts, Responder, Step};
pub use session::{Effect, Mode, Session, Terms};

use henge_types::limits::{KEY_MAX_BYTES, RECORD_MAX_BYTES};
use thiserror::Error;

/// The protocol and its version: what follows the cluster in `/henge/<cluster>/sync/1`.
pub const PROTOCOL: &str = "sync/1";

/// Most partitions in one request.
pub const ENTRIES_MAX: usize = 1 << 14;
/// Most records in one request to forget them.
pub const DEAD_MAX: usize = 1 << 10;
/// Most nodes in one request, and of a session's differing nodes in one step.
pub const NODES_MAX: usize = 1 << 10;
/// Most items that either side tells of in one request or answer.
pub const ITEMS_MAX: usize = 1 << 13;
/// Below a node with fewer items than this, or as many, their hashes are compared at once.
pub const FEW_ITEMS: u64 = 8;
/// About how many bytes of records are in one message.
pub const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a hash where a miss is made good by the next session.
pub const HASH_BYTES: u8 = 4;
/// Bytes of a hash where somebody relies on the session.
pub const EXACT_HASH_BYTES: u8 = 8;
/// Keys that could not be moved, of which a report gives the names.
pub const LEFT_MAX: usize = 1 << 10;

/// Largest frame, in bytes: the largest record that a merge leaves, its key, and a batch beside it.
pub const FRAME_MAX_BYTES: usize = 9 << 20;

// Twice what a put may leave is what a merge may.
const _: () = assert!(2 * RECORD_MAX_BYTES + KEY_MAX_BYTES + 2 * BATCH_BYTES < FRAME_MAX_BYTES);
// A pair of a partition (up to 5 bytes) and a digest (17); an answer takes up to 9.
const _: () = assert!(2 * ENTRIES_MAX * 23 < FRAME_MAX_BYTES);

/// What a peer sent that no peer of this protocol sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Lists that cannot be read, or do not fit each other.
    #[error("lists that do not fit each other")]
    Malformed,
    /// An answer to something else.
    #[error("an answer of another kind")]
    Unexpected,
    /// Records that nobody asked for.
    #[error("records that were not asked for")]
    Unasked,
}
