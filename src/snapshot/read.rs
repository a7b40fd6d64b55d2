//! A snapshot that is read.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use henge_types::codec::Stored as _;
use henge_types::{Key, Record};

use super::entry::{self, Next};
use super::{About, SnapshotError, files, io_error};

/// The file `snapshot` is some hundred bytes long (our choice: far above that).
const MARKER_MAX_BYTES: u64 = 1 << 16;

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    directory: PathBuf,
    about: About,
}

impl Snapshot {
    /// Looks into `directory`. Nothing there is changed, now or later.
    ///
    /// # Errors
    /// [`SnapshotError::NoSnapshot`], [`SnapshotError::Damaged`], [`SnapshotError::Io`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, SnapshotError> {
        let directory = directory.into();
        let (marker, records) = files(&directory);
        let file = match File::open(&marker) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(SnapshotError::NoSnapshot { path: directory.display().to_string() });
            }
            Err(e) => return Err(io_error(&marker, &e)),
        };
        let mut bytes = Vec::new();
        file.take(MARKER_MAX_BYTES).read_to_end(&mut bytes).map_err(|e| io_error(&marker, &e))?;
        let about =
            About::from_stored(&bytes).map_err(|error| damaged(&directory, &format!("{MARKER}: {error}")))?;
        let length = std::fs::metadata(&records).map_err(|e| io_error(&records, &e))?.len();
        if length != about.bytes {
            let reason = format!("its file of records has {length} bytes of {}", about.bytes);
            return Err(damaged(&directory, &reason));
        }
        Ok(Self { directory, about })
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All its records, one after the other.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; [`SnapshotError::Damaged`] for a format that this henge cannot read.
    pub fn entries(&self) -> Result<Entries, SnapshotError> {
        let (_, path) = files(&self.directory);
        let open = || {
            let mut file = BufReader::with_capacity(1 << 16, File::open(&path)?);
            let mut version = [0];
            file.read_exact(&mut version)?;
            Ok((file, version))
        };
        let (file, [version]) = open().map_err(|e| io_error(&path, &e))?;
        if version != entry::VERSION {
            return Err(damaged(&self.directory, &format!("its records have the format {version}")));
        }
        Ok(Entries { file: Some(file), directory: self.directory.clone(), bytes_read: 1 })
    }
}

const MARKER: &str = super::MARKER;

fn damaged(directory: &Path, reason: &str) -> SnapshotError {
    SnapshotError::Damaged { path: directory.display().to_string(), reason: reason.to_owned() }
}

/// The records of a snapshot; `None` for one that is not as it was written. An error is the last item: what
/// follows cannot be read.
#[derive(Debug)]
pub struct Entries {
    file: Option<BufReader<File>>,
    directory: PathBuf,
    bytes_read: u64,
}

impl Entries {
    /// How many bytes of [`About::bytes`] are read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

impl Iterator for Entries {
    type Item = Result<Option<(Key, Record)>, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = entry::take(self.file.as_mut()?);
        if let Ok((_, bytes)) = &taken {
            self.bytes_read += bytes;
        }
        let broken = |at: u64| damaged(&self.directory, &format!("nothing can be read from byte {at} on"));
        let next = match taken {
            Ok((Next::Entry(entry), _)) => return Some(Ok(Some(*entry))),
            Ok((Next::Damaged, _)) => return Some(Ok(None)),
            Ok((Next::End, _)) => None,
            Ok((Next::Broken, _)) => Some(Err(broken(self.bytes_read))),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Some(Err(broken(self.bytes_read))),
            Err(e) => Some(Err(io_error(&self.directory, &e))),
        };
        self.file = None;
        next
    }
}
