//! Refuses writes before the disk is full: a write that fails halfway poisons the store, a refused
//! one does not, and the tables still need room to be merged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::StoreError;

/// Free bytes below which no record is stored (our choice: a few memtables and one merge).
const RESERVE_BYTES: u64 = 64 << 20;
/// Bytes written between two looks at the disk.
const LOOK_EVERY_BYTES: u64 = 4 << 20;

pub(crate) struct Space {
    path: PathBuf,
    unlooked_bytes: AtomicU64,
    full: AtomicBool,
}

impl Space {
    pub(crate) fn new(path: &Path) -> Self {
        // The first write looks.
        let unlooked_bytes = AtomicU64::new(LOOK_EVERY_BYTES);
        Self { path: path.to_owned(), unlooked_bytes, full: AtomicBool::new(false) }
    }

    /// Whether a record of `bytes` may be stored.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let unlooked = self.unlooked_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unlooked >= LOOK_EVERY_BYTES || self.full.load(Ordering::Relaxed) {
            self.unlooked_bytes.store(0, Ordering::Relaxed);
            self.full.store(free_bytes(&self.path) < RESERVE_BYTES, Ordering::Relaxed);
        }
        !self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn full(&self) -> StoreError {
        StoreError::Full { path: self.path.display().to_string() }
    }
}

/// What an unprivileged process may still write; all there is where the system does not say.
#[cfg(unix)]
pub(crate) fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_path: &Path) -> u64 {
    u64::MAX
}
