//! Why a request, or the start of a peer, failed.

use henge_client::Failure;
use henge_types::{ClusterName, ClusterParams, ContextError, DecodeError, KeyError, Multiaddr};
use thiserror::Error;

use crate::snapshot::SnapshotError;
use crate::store::StoreError;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The bytes given are no key. Nothing was sent.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text given is no context. Nothing was sent.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A peer answered that it is not done, and why.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// No peer could be reached; nothing was sent.
    #[error("no peer can be reached: {reason}")]
    Unreachable {
        /// What was tried.
        reason: String,
    },
    /// The connection was lost, or no answer came in time, after the request was sent. A write
    /// may have been done; the same operation may be tried again.
    #[error("outcome unknown: {reason}; a write may have been done, and may be tried again")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// A read was sent, and the connection was lost or no answer came in time. Nothing was changed.
    #[error("no answer: {reason}")]
    NoAnswer {
        /// What happened.
        reason: String,
    },
    /// The local peer or client has stopped.
    #[error("the peer has stopped")]
    Stopped,
    /// A peer answered something that does not fit the request.
    #[error("the peer gave an answer of the wrong kind")]
    WrongAnswer,
}

/// Why a peer cannot start with what it was told and what it had saved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The data is of a member of another cluster.
    #[error("the data directory belongs to a member of cluster {saved:?}, not {given:?}: use its name, or another directory", saved = saved.as_str(), given = given.as_str())]
    OtherCluster {
        /// The name saved.
        saved: ClusterName,
        /// The name given.
        given: ClusterName,
    },
    /// The data is of a member of a ring with other parameters.
    #[error(
        "the data directory belongs to a member of a ring with {saved}, not {given}: they are fixed when a ring is born"
    )]
    OtherParams {
        /// The parameters saved.
        saved: ClusterParams,
        /// The parameters given.
        given: ClusterParams,
    },
    /// The peer was being let into a ring when it stopped, and has nobody to ask again.
    #[error("joining was interrupted before it was done: start again with the address of a peer to join")]
    JoinUnfinished,
    /// What is saved cannot be read.
    #[error("the saved state of the peer cannot be read: {0}")]
    Saved(#[from] DecodeError),
}

/// Why a peer cannot start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory, or a file in it, cannot be made, read or written.
    #[error("{path} cannot be used ({reason}): choose a data directory that can be written")]
    Directory {
        /// The directory or file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why, and what to do.
        reason: String,
    },
    /// The thread of the peer cannot run.
    #[error("the thread of the peer cannot run: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// The key pair cannot be used.
    #[error("the identity cannot be used: {reason}")]
    Identity {
        /// Why.
        reason: String,
    },
    /// A snapshot is to be restored where there is a store.
    #[error(
        "the data directory {path} has a store already: start it without a snapshot, or restore that into an empty directory"
    )]
    Occupied {
        /// The directory.
        path: String,
    },
    /// A snapshot cannot be restored.
    #[error(transparent)]
    Restore(#[from] SnapshotError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
