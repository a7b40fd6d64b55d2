//! The data directory: `lock`, which one process at a time has locked, and `store`, which is put
//! into its place only once it is complete.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::fjall::{Database, Keyspace};

use super::{error, journal, manifest, options};
use crate::store::StoreError;

/// The format of the files that this henge writes. Older ones are migrated, newer ones refused.
pub const FORMAT: u8 = 2;
/// The format that had no hash tree.
pub(super) const WITHOUT_TREE: u8 = 1;

/// What the database is divided into.
pub(super) struct Keyspaces {
    pub(super) records: Keyspace,
    pub(super) damaged: Keyspace,
    pub(super) hints: Keyspace,
    pub(super) hint_queues: Keyspace,
    pub(super) quarantine: Keyspace,
    pub(super) trees: Keyspace,
    pub(super) meta: Keyspace,
}

/// A data directory that belongs to this process until it is dropped.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes the directory, creating it where there is none.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|e| error::io_error(path, &e))?;
        let file = path.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&file);
        let lock = open.map_err(|e| error::io_error(&file, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(error::in_use(path)),
            Err(TryLockError::Error(e)) => Err(error::io_error(&file, &e)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty store where there is none. A crash leaves either none or a whole one.
    pub(super) fn create_store(&self) -> Result<(), StoreError> {
        let (store, new) = (self.store(), self.path.join("store.new"));
        let exists = store.try_exists().map_err(|e| error::io_error(&store, &e))?;
        if exists {
            return Ok(());
        }
        match fs::remove_dir_all(&new) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(error::io_error(&new, &e)),
            Ok(()) | Err(_) => {}
        }
        drop(self.open_files(&new)?);
        let place = || -> io::Result<()> {
            write_format(&new)?;
            fs::rename(&new, &store)?;
            sync_directory(&self.path)
        };
        place().map_err(|e| error::io_error(&self.path, &e))
    }

    /// The format of the files, which this henge can read.
    pub(super) fn format(&self) -> Result<u8, StoreError> {
        let file = self.store().join("format");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(error::corrupt(&file, "the file is missing"));
            }
            Err(e) => return Err(error::io_error(&file, &e)),
        };
        match text.trim().parse::<u8>() {
            Ok(format @ WITHOUT_TREE..=FORMAT) => Ok(format),
            Ok(found) if found > FORMAT => {
                let path = self.path.display().to_string();
                Err(StoreError::NewerFormat { path, found, newest: FORMAT })
            }
            Ok(_) | Err(_) => Err(error::corrupt(&file, "it does not hold a format number")),
        }
    }

    /// From now on the files have the newest format.
    pub(super) fn set_format(&self) -> Result<(), StoreError> {
        write_format(&self.store()).map_err(|e| error::io_error(&self.path, &e))
    }

    /// The database and its keyspaces.
    pub(super) fn open_store(&self) -> Result<(Database, Keyspaces), StoreError> {
        manifest::check(&self.store())?;
        journal::cut_torn_tail(&self.store())?;
        self.open_files(&self.store())
    }

    fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    fn open_files(&self, path: &Path) -> Result<(Database, Keyspaces), StoreError> {
        let open = || {
            let database = options::database(path).open()?;
            let keyspaces = Keyspaces {
                records: database.keyspace("records", options::records)?,
                damaged: database.keyspace("damaged", options::small)?,
                meta: database.keyspace("meta", options::small)?,
                hints: database.keyspace("hints", options::hints)?,
                hint_queues: database.keyspace("hint_queues", options::small)?,
                quarantine: database.keyspace("quarantine", options::small)?,
                trees: database.keyspace("trees", options::trees)?,
            };
            Ok((database, keyspaces))
        };
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(opened) => opened.map_err(|e| error::open_error(&self.path, &e)),
            // The crate asserts some of what it reads.
            Err(_) => Err(error::corrupt(path, "its files do not fit together")),
        }
    }
}

/// Says in `store` which format it has. A crash leaves what was said before, or this.
fn write_format(store: &Path) -> io::Result<()> {
    let new = store.join("format.new");
    fs::write(&new, format!("{FORMAT}\n"))?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, store.join("format"))?;
    sync_directory(store)
}

/// Makes the names in a directory outlive a crash; some systems only do so by themselves.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
