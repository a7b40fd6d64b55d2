//! Why a request, or the start of a peer, failed.

use henge_client::Failure;
use henge_types::{ContextError, KeyError};
use thiserror::Error;

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
