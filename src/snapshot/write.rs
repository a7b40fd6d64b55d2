//! A snapshot that is written.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use henge_types::codec::Stored as _;
use henge_types::{ClusterParams, Custody, CustodyMap, PeerId, RingId};

use super::{
    About, CHUNK_BYTES, MARKER, Progress, RECORDS, SnapshotError, entry, files, io_error, private_file,
    sync_directory,
};
use crate::store::Records;
use crate::store::space::Space;

/// Bytes between two syncs of the file: so that an fsync of the peer's journal never waits for more.
const SYNC_EVERY_BYTES: usize = 8 << 20;

/// What records are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    /// Whose they are.
    pub peer: PeerId,
    /// The ring that it is a member of.
    pub ring: RingId,
    /// The parameters of that ring.
    pub params: ClusterParams,
    /// Which partitions it has custody of: the records of the others are left out.
    pub custody: CustodyMap,
    /// The time, in milliseconds of Unix time.
    pub now_unix_ms: u64,
}

/// A snapshot that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where: an absolute path that does not exist, or an empty directory.
    pub directory: PathBuf,
    /// How many bytes to write in a second.
    pub bytes_per_second: u64,
    /// Of what.
    pub of: Of,
}

/// Writes `records` into `directory`, which must not exist or be empty. `pace` is called after each
/// mebibyte or so; it may take its time, and stop the whole.
///
/// Only with the last step it becomes a snapshot, and outlives a crash. What fails removes what it wrote.
///
/// # Errors
/// [`SnapshotError`].
pub fn write(
    directory: &Path,
    records: Records,
    of: &Of,
    pace: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<About, SnapshotError> {
    let made = prepare(directory)?;
    let written = write_into(directory, records, of, pace);
    if written.is_err() {
        let (marker, records) = files(directory);
        for file in [marker.with_extension("new"), marker, records] {
            // What cannot be removed is no snapshot either.
            let _ = fs::remove_file(file);
        }
        if made {
            let _ = fs::remove_dir(directory);
        }
    }
    written
}

/// Says whether the directory is new.
fn prepare(directory: &Path) -> Result<bool, SnapshotError> {
    let path = directory.display().to_string();
    if !directory.is_absolute() {
        return Err(SnapshotError::NotAbsolute { path });
    }
    match fs::create_dir(directory) {
        Ok(()) => return Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io_error(directory, &e)),
    }
    let mut entries = fs::read_dir(directory).map_err(|e| io_error(directory, &e))?;
    if entries.next().is_none() {
        return Ok(false);
    }
    let (marker, records) = files(directory);
    Err(SnapshotError::NotEmpty { path, unfinished: records.exists() && !marker.exists() })
}

fn write_into(
    directory: &Path,
    records: Records,
    of: &Of,
    pace: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<About, SnapshotError> {
    let mut file = Output::create(directory)?;
    let count = of.params.partitions();
    for entry in records {
        let (key, record) = entry?;
        if of.custody.get(key.position().partition(count)) == Custody::None {
            continue;
        }
        match record {
            Some(record) => {
                entry::put(&mut file.waiting, &key, &record)?;
                file.progress.records += 1;
            }
            None => file.progress.damaged += 1,
        }
        if file.waiting.len() >= CHUNK_BYTES {
            file.flush()?;
            if pace(file.progress).is_break() {
                return Err(SnapshotError::Stopped);
            }
        }
    }
    let Progress { records, damaged, bytes } = file.finish()?;
    let Of { peer, ring, params, now_unix_ms: taken_unix_ms, .. } = *of;
    let about = About { peer, ring, params, taken_unix_ms, records, damaged, bytes };
    mark(directory, &about)?;
    Ok(about)
}

struct Output {
    file: File,
    path: PathBuf,
    space: Space,
    waiting: Vec<u8>,
    unsynced: usize,
    progress: Progress,
}

impl Output {
    fn create(directory: &Path) -> Result<Self, SnapshotError> {
        let path = directory.join(RECORDS);
        let file = private_file(&path).map_err(|e| io_error(&path, &e))?;
        let waiting = vec![entry::VERSION];
        let space = Space::new(directory);
        Ok(Self { file, path, space, waiting, unsynced: 0, progress: Progress::default() })
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        if !self.space.admits(self.waiting.len()) {
            return Err(SnapshotError::Full { path: self.path.display().to_string() });
        }
        self.unsynced += self.waiting.len();
        let mut write = || {
            self.file.write_all(&self.waiting)?;
            if self.unsynced >= SYNC_EVERY_BYTES {
                self.file.sync_data()?;
                self.unsynced = 0;
            }
            Ok(())
        };
        write().map_err(|e| io_error(&self.path, &e))?;
        self.progress.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Progress, SnapshotError> {
        entry::put_end(&mut self.waiting);
        self.flush()?;
        self.file.sync_all().map_err(|e| io_error(&self.path, &e))?;
        Ok(self.progress)
    }
}

/// Makes a snapshot of what is written.
fn mark(directory: &Path, about: &About) -> Result<(), SnapshotError> {
    let bytes = about.to_stored()?;
    let marker = directory.join(MARKER);
    let new = marker.with_extension("new");
    let place = || {
        let mut file = private_file(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // The name of the records has to be there before it is said that they are.
        sync_directory(directory)?;
        fs::rename(&new, &marker)?;
        sync_directory(directory)?;
        directory.parent().map_or(Ok(()), sync_directory)
    };
    place().map_err(|e| io_error(&marker, &e))
}
