//! What the errors of the crate `fjall` mean for a store.

use std::io::{self, ErrorKind};
use std::path::Path;

use ::fjall::{Error, LsmError};

use crate::store::StoreError;

/// Whether a read failed because what is stored is not what was written.
pub(super) fn is_damage(e: &Error) -> bool {
    if let Some(e) = io_cause(e) {
        return is_cut_short(e);
    }
    matches!(
        e,
        Error::Storage(_)
            | Error::Decompress(_)
            | Error::InvalidTrailer
            | Error::InvalidTag(_)
            | Error::InvalidVersion(_)
    )
}

/// The error for people; `path` is the data directory.
pub(super) fn store_error(path: &Path, e: &Error) -> StoreError {
    if let Some(e) = io_cause(e) {
        return io_error(path, e);
    }
    if matches!(e, Error::Locked) {
        return in_use(path);
    }
    corrupt(path, e.to_string())
}

/// As [`store_error`], for opening: a file that is not there, or is not what it should be, was lost.
pub(super) fn open_error(path: &Path, e: &Error) -> StoreError {
    let lost = |e: &io::Error| {
        matches!(
            e.kind(),
            ErrorKind::NotFound
                | ErrorKind::InvalidInput
                | ErrorKind::IsADirectory
                | ErrorKind::NotADirectory
                | ErrorKind::AlreadyExists
        )
    };
    if io_cause(e).is_some_and(lost) { corrupt(path, e.to_string()) } else { store_error(path, e) }
}

pub(super) fn io_error(path: &Path, e: &io::Error) -> StoreError {
    let shown = path.display().to_string();
    if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return StoreError::Full { path: shown };
    }
    if is_cut_short(e) {
        return corrupt(path, e.to_string());
    }
    StoreError::Io { path: shown, reason: e.to_string() }
}

pub(super) fn in_use(path: &Path) -> StoreError {
    StoreError::InUse { path: path.display().to_string() }
}

pub(super) fn corrupt(path: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: path.display().to_string(), reason: reason.into() }
}

pub(super) fn unreadable(path: &Path) -> StoreError {
    corrupt(path, "a table of records has blocks that cannot be read")
}

fn io_cause(e: &Error) -> Option<&io::Error> {
    if let Error::Io(e) | Error::Storage(LsmError::Io(e)) = e { Some(e) } else { None }
}

fn is_cut_short(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
}
