//! Why no peer could be connected to.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use henge_types::{ClusterName, Multiaddr, PeerId};
use libp2p::TransportError;
use libp2p::swarm::DialError;
use thiserror::Error;

/// Why a client has no connection. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no address of a peer is given")]
    NoAddress,
    /// No address led to a peer of the cluster.
    #[error("cannot connect to {}", Attempts(attempts))]
    Failed {
        /// Each address that was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// This machine has no working network stack for the client.
    #[error("cannot set up the transport: {reason}")]
    Transport {
        /// What the system says.
        reason: String,
    },
    /// The client's task ended, because its runtime is being shut down.
    #[error("the client was stopped while it connected")]
    Stopped,
}

/// One address, and why it is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{address}: {error}")]
pub struct Attempt {
    /// The address.
    pub address: Multiaddr,
    /// What happened there.
    pub error: AttemptError,
}

/// Why an address is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// Nobody can be reached there.
    #[error("{reason}")]
    Unreachable {
        /// What the system says.
        reason: String,
    },
    /// Another peer than the address names is there.
    #[error("another peer is there: the address names {expected}, found {actual}")]
    WrongPeer {
        /// The peer in the address.
        expected: PeerId,
        /// The peer that is there.
        actual: PeerId,
    },
    /// The peer there does not speak the protocol of the cluster.
    #[error("{peer} does not speak the protocol of the cluster \"{cluster}\": is it of another cluster?")]
    WrongCluster {
        /// The peer that is there.
        peer: PeerId,
        /// The cluster that was asked for.
        cluster: ClusterName,
    },
    /// A peer is there, and does not answer.
    #[error("{peer} is there, but gave no answer within {} s", within.as_secs_f32())]
    NoAnswer {
        /// The peer that is there.
        peer: PeerId,
        /// How long it was given.
        within: Duration,
    },
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; nor to ")?;
            }
            attempt.fmt(f)?;
        }
        Ok(())
    }
}

impl AttemptError {
    /// What a dial that `expected` a peer says.
    pub(super) fn of_dial(error: &DialError, expected: Option<PeerId>) -> Self {
        match (error, expected) {
            (DialError::WrongPeerId { obtained, .. }, Some(expected)) => {
                Self::WrongPeer { expected, actual: *obtained }
            }
            (DialError::Transport(errors), _) => {
                let mut reasons: Vec<String> = errors.iter().map(|(_, error)| reason(error)).collect();
                reasons.dedup();
                Self::Unreachable { reason: reasons.join(", ") }
            }
            (
                DialError::WrongPeerId { .. }
                | DialError::LocalPeerId { .. }
                | DialError::NoAddresses
                | DialError::DialPeerConditionFalse(_)
                | DialError::Aborted
                | DialError::Denied { .. },
                _,
            ) => Self::Unreachable { reason: error.to_string() },
        }
    }
}

fn reason(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "no transport for such an address".to_owned(),
        TransportError::Other(error) => innermost(error),
    }
}

/// The cause at the bottom, where the system speaks: the layers above repeat one another.
fn innermost(error: &io::Error) -> String {
    let mut error: &(dyn StdError + 'static) = error;
    loop {
        // An `io::Error` hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error = match (wrapped, error.source()) {
            (Some(inner), _) => inner,
            (None, Some(source)) => source,
            (None, None) => return error.to_string(),
        };
    }
}
