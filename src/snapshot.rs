//! Snapshots: the records of one peer as they were at one instant, in a directory of their own.
//!
//! | file | holds |
//! |---|---|
//! | `records` | a version byte; for each record its length, checksum, and key and record as CBOR; a length of 0 |
//! | `snapshot` | [`About`]: written last, so that a directory without it is no snapshot |
//!
//! There are records and nothing else: no identity, no custody, no counters, no hints. So whoever starts from
//! one begins a new life, and never names a write as an earlier life did.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use henge_types::codec::Stored;
use henge_types::{ClusterParams, DecodeError, PeerId, RingId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::StoreError;

mod entry;
mod origin;
mod read;
mod restore;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests;
mod write;

pub(crate) use origin::check_age;
pub use origin::{Origin, Refusal};
pub use read::{Entries, Snapshot};
pub use restore::{Restored, restore};
pub use write::{Of, Order, write};

const MARKER: &str = "snapshot";
const RECORDS: &str = "records";
/// Bytes that are written at a time, between two looks at the pace.
const CHUNK_BYTES: usize = 1 << 20;

/// What a snapshot is, as its file `snapshot` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Whose records they are.
    pub peer: PeerId,
    /// The ring that it was a member of.
    pub ring: RingId,
    /// The parameters of that ring.
    pub params: ClusterParams,
    /// When it was taken, in milliseconds of Unix time, by the clock of that peer.
    pub taken_unix_ms: u64,
    /// How many records it has.
    pub records: u64,
    /// How many keys could not be read when it was taken: they are left out.
    pub damaged: u64,
    /// The length of the file `records`.
    pub bytes: u64,
}

impl Stored for About {
    const VERSION: u8 = 1;
}

/// How far one is with taking or restoring a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records written.
    pub records: u64,
    /// Keys that are left out, because they could not be read.
    pub damaged: u64,
    /// Bytes of the file `records` that are written or read.
    pub bytes: u64,
}

/// Why a snapshot cannot be taken or used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A peer and who asks it may have different working directories.
    #[error("{path} is not an absolute path: it is one on the host of the peer")]
    NotAbsolute {
        /// The path.
        path: String,
    },
    /// There is something in the directory already, and it stays.
    #[error(
        "{path} is not empty: a snapshot goes into a directory of its own{hint}",
        hint = if *unfinished { " (what is there looks like one that was cut off: delete it)" } else { "" }
    )]
    NotEmpty {
        /// The directory.
        path: String,
        /// Whether it looks like a snapshot that was not finished.
        unfinished: bool,
    },
    /// There is no room left. What was written is removed.
    #[error("the disk of {path} is full: a snapshot leaves 64 MiB of it free")]
    Full {
        /// The directory.
        path: String,
    },
    /// The operating system refused.
    #[error("{path} cannot be used: {reason}")]
    Io {
        /// The file or directory.
        path: String,
        /// What it said.
        reason: String,
    },
    /// It was stopped. What was written is removed.
    #[error("the peer stopped before the snapshot was complete")]
    Stopped,
    /// The directory holds no snapshot.
    #[error("{path} is no snapshot: it has no file named {MARKER:?}, which is written last")]
    NoSnapshot {
        /// The directory.
        path: String,
    },
    /// The snapshot is not as it was written.
    #[error("the snapshot in {path} is damaged: {reason}")]
    Damaged {
        /// The directory.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Snapshots of several rings cannot be restored into one.
    #[error("the snapshots are of different rings: {one} and {other}")]
    SeveralRings {
        /// The ring of one.
        one: RingId,
        /// The ring of another.
        other: RingId,
    },
    /// The ring would not have it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DecodeError> for SnapshotError {
    fn from(error: DecodeError) -> Self {
        Self::Store(error.into())
    }
}

fn io_error(path: &Path, e: &io::Error) -> SnapshotError {
    let shown = path.display().to_string();
    if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return SnapshotError::Full { path: shown };
    }
    SnapshotError::Io { path: shown, reason: e.to_string() }
}

/// A new file, that only its owner reads.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a directory outlive a crash; some systems only do so by themselves.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn files(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join(MARKER), directory.join(RECORDS))
}
