//! Anyone to a peer: get, put, delete, status, locate, and what operators ask for.
//!
//! A client is no member of the ring and needs nothing but a multiaddr. The same messages are what
//! a peer forwards to a replica when it is none itself, and what an embedding program gives to
//! its own peer.
//!
//! | request | answers |
//! |---|---|
//! | [`Request::Put`], [`Request::Delete`] | [`Response::Written`], [`Response::NotFound`] (a delete of nothing), [`Response::Failed`] |
//! | [`Request::Get`] | [`Response::Found`], [`Response::NotFound`], [`Response::Failed`] |
//! | [`Request::Status`] | [`Response::Status`] |
//! | [`Request::Leave`], [`Request::Remove`], [`Request::Weight`] | [`Response::Accepted`], [`Response::Failed`] |
//! | [`Request::Repair`], [`Request::RepairProgress`] | [`Response::Repair`], [`Response::Failed`] |
//! | [`Request::Snapshot`] | [`Response::Snapshot`], [`Response::Failed`] |
//! | [`Request::Locate`] | [`Response::Located`], [`Response::Failed`] |
//!
//! Limits: `henge_types::limits` for keys and values; [`FRAME_MAX_BYTES`] for a frame;
//! [`TIMEOUT_MAX_MS`] for the time that a request may take. Bytes: `protocols/henge.cddl`, and in
//! words `protocols/README.md`.

pub mod message;
pub mod repair;
pub mod status;

pub use message::{
    BadContext, BeginSnapshot, Failure, Get, Hop, Request, Response, Supersede, Value, WriteOptions,
};
pub use repair::{Repair, RepairId, RepairMember, RepairState};
pub use status::{
    Accuser, HintQueue, Located, LocatedVoter, Member, MemberPhase, Snapshot, SnapshotState, Status,
};

/// The protocol and its version: what follows the cluster in `/henge/<cluster>/client/1`.
pub const PROTOCOL: &str = "client/1";

/// Largest frame: a record with all its siblings, and its context.
pub const FRAME_MAX_BYTES: usize = 2 * henge_types::limits::RECORD_MAX_BYTES + (1 << 20);

/// How long a request may take where it does not say.
pub const TIMEOUT_DEFAULT_MS: u32 = 5_000;

/// The longest path of a directory, in bytes.
pub const DIRECTORY_MAX_BYTES: usize = 4096;

/// The longest that a request may ask for.
pub const TIMEOUT_MAX_MS: u32 = 60_000;
