//! How a command ends.

use std::io;
use std::process::ExitCode;

use henge::client::ConnectError;
use henge::error::RequestError;
use henge_client::Failure;
use thiserror::Error;

use crate::output;

/// The exit codes, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    NotFound = 1,
    Usage = 2,
    Unavailable = 3,
    Unknown = 4,
    Siblings = 5,
    Failed = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command is not done.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The input is wrong.
    #[error("{0}")]
    Usage(String),
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    /// Whoever read the output has left.
    #[error("nobody reads the output")]
    Pipe,
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Connect(ConnectError::NoAddress) | Self::Usage(_) => Exit::Usage,
            Self::Connect(_) => Exit::Unavailable,
            Self::Request(error) => exit_of(error),
            // `head` and its like have what they want.
            Self::Pipe => Exit::Done,
            Self::Io { .. } | Self::Failed(_) => Exit::Failed,
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) {
        if !matches!(self, Self::Pipe) {
            output::complain(&self.to_string());
        }
    }
}

fn exit_of(error: &RequestError) -> Exit {
    match error {
        RequestError::Key(_) | RequestError::Context(_) => Exit::Usage,
        RequestError::Failed(failure) => exit_of_failure(failure),
        RequestError::Unknown { .. } => Exit::Unknown,
        // The enum may grow: what is not known was not answered.
        RequestError::Unreachable { .. }
        | RequestError::NoAnswer { .. }
        | RequestError::Stopped
        | RequestError::WrongAnswer
        | _ => Exit::Unavailable,
    }
}

fn exit_of_failure(failure: &Failure) -> Exit {
    match failure {
        Failure::Unknown { .. } => Exit::Unknown,
        Failure::ValueTooLarge { .. }
        | Failure::RecordTooLarge { .. }
        | Failure::TooManySiblings { .. }
        | Failure::ClockFull { .. }
        | Failure::BadContext(_)
        | Failure::BadRequest { .. } => Exit::Usage,
        Failure::Unavailable { .. }
        | Failure::NotReady
        | Failure::Overloaded
        | Failure::Store { .. }
        | Failure::NotReplica
        | _ => Exit::Unavailable,
    }
}
