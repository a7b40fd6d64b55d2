//! Hints: records that a fallback kept for a voter that was down, carried to it (Dynamo §4.6).
//!
//! | request | answers |
//! |---|---|
//! | [`Request::Deliver`] | [`Response::Delivered`] once all that it took is durable, [`Response::Refused`] |
//!
//! The receiver merges what it is given: a delivery that is repeated, or comes late, changes nothing.
//! It takes only what lies in partitions of which it has custody; the sender keeps the rest, or
//! brings it to those who are voters now.
//!
//! Limits: a delivery has up to [`DELIVER_MAX`] records, and a frame up to [`FRAME_MAX_BYTES`], which
//! holds one record of any size. Bytes: `protocols/henge.cddl`.

pub mod message;

pub use message::{Outcome, Refusal, Request, Response};

/// The protocol and its version: what follows the cluster in `/henge/<cluster>/handoff/1`.
pub const PROTOCOL: &str = "handoff/1";

/// Most records in a [`Request::Deliver`] (our choice: at a few KiB each, one of them shares its
/// fsync with many others and takes a substream for some milliseconds only).
pub const DELIVER_MAX: usize = 64;

/// Largest frame: two full records, as a merge may hold the siblings of both, and their framing.
pub const FRAME_MAX_BYTES: usize = 2 * henge_types::limits::RECORD_MAX_BYTES + (1 << 20);
