//! A data directory that is made from snapshots.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::{Directory, STORE};
use crate::behaviour::clock::unix_ms;
use crate::error::StartError;
use crate::snapshot::{self, Progress, Restored, Snapshot};
use crate::store::fjall::Fjall;

/// Where the store is put together. Only a complete one gets its name.
const RESTORING: &str = "restoring";

/// Makes a data directory, for [`NodeConfig::new`](super::NodeConfig::new), that has the records of
/// `snapshots`: at least one, all of one ring. `directory` must not have a store; an identity that it has is
/// kept. Blocks, for as long as it takes to write all of that.
///
/// With `joins` the peer is to be started with somebody to join, in the ring that the snapshots are of: it then
/// brings what it has to whoever should have it. A snapshot older than `grace`, the time for which that ring
/// remembers what was deleted ([`Config::gc_grace`](crate::config::Config::gc_grace)), is refused. Without
/// `joins` it begins a new ring, with all that it has.
///
/// # Errors
/// [`StartError::Restore`], [`StartError::Occupied`], [`StartError::Store`] and others; nothing is restored
/// then, and what is in the way is removed by the next try.
pub fn restore(
    directory: impl Into<PathBuf>,
    snapshots: &[PathBuf],
    joins: bool,
    grace: Duration,
    told: &mut dyn FnMut(Progress),
) -> Result<Restored, StartError> {
    let directory: PathBuf = directory.into();
    let snapshots: Vec<Snapshot> = snapshots.iter().map(Snapshot::open).collect::<Result<_, _>>()?;
    if joins {
        let oldest = snapshots.iter().map(|snapshot| snapshot.about().taken_unix_ms).min();
        let checked = snapshot::check_age(oldest.unwrap_or_default(), unix_ms(), grace);
        checked.map_err(snapshot::SnapshotError::from)?;
    }
    let store = directory.join(STORE);
    if store.exists() {
        return Err(StartError::Occupied { path: directory.display().to_string() });
    }
    let kept = Directory::open(directory.clone())?;
    let restoring = directory.join(RESTORING);
    // Of a try that was cut off. Another process that is at it holds the lock.
    drop(Fjall::open(&restoring)?);
    let cannot =
        |e: io::Error| StartError::Directory { path: directory.display().to_string(), reason: e.to_string() };
    fs::remove_dir_all(&restoring).map_err(cannot)?;
    let new = Fjall::open(&restoring)?;
    let restored = snapshot::restore(&new, &snapshots, joins, told)?;
    drop(new);
    // A store without an identity would be taken for one whose identity is lost.
    kept.identity()?;
    place(&restoring, &store).map_err(cannot)?;
    Ok(restored)
}

fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(directory) if cfg!(unix) => fs::File::open(directory)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}
