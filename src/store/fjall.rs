//! The store on disk: an LSM tree (journal, memtables, sorted tables) by the crate `fjall`.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `records` | position (8 bytes, big-endian) ‖ key | a version byte, digest, time of the youngest sibling, record |
//! | `trees` | index of a leaf of the hash tree (4 bytes, big-endian) | a version byte, and the leaf if it is not empty |
//! | `damaged` | as in `records` | what could not be read: a version byte, whether bytes follow, and those |
//! | `hints` | as in `records` | the stored form of a hint: its record, and for whom it waits since when |
//! | `hint_queues` | primary (1 byte length, then its bytes) ‖ as in `hints` | since when it waits, and its bytes |
//! | `quarantine` | a number (8 bytes, big-endian) | a hint that was not delivered in time, or cannot be read |
//! | `meta` | [`MetaKey::name`] | the stored form that the core gave |
//!
//! A partition is thus one range of `records`, and the queue of a primary one of `hint_queues`.
//!
//! The crate counts any failed write to its files as final, and so does this store: it then
//! answers every write with [`StoreError::Poisoned`] and goes on reading.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ::fjall::{AbstractTree, Database, Keyspace, PersistMode, Slice};
use bytes::Bytes;
use henge_types::{Key, Record};

use self::batch::Batch;
use self::files::{Directory, Keyspaces};
use self::reclaim::Reclaim;
use super::hint::Totals;
use super::roots::Roots;
use super::space::Space;
use super::{MetaKey, ReadOp, Records, Store, StoreError, StoreResult, WriteOp};

mod batch;
mod error;
mod files;
mod hints;
mod journal;
mod leaves;
mod manifest;
mod occupied;
mod options;
mod quarantine;
mod reclaim;
mod snapshot;
mod tree;
mod value;

pub use files::FORMAT;
pub use snapshot::Kept;

/// Sealed memtables at which a write waits for the disk. At four the crate waits by itself, and
/// would do so for ever once a flush has failed.
const SEALED_MAX: usize = 3;
/// Unmerged runs of sorted tables at which a write waits; the crate's own limit is 30.
const RUNS_MAX: usize = 28;
/// How often a waiting write looks again, in milliseconds.
const WAIT_MS: u64 = 2;

/// The store on disk. Every method blocks on the disk: use it through [`super::worker`].
pub struct Fjall {
    database: Database,
    records: Keyspace,
    damaged: Keyspace,
    hints: Keyspace,
    hint_queues: Keyspace,
    quarantine: Keyspace,
    trees: Keyspace,
    meta: Keyspace,
    roots: Mutex<Roots>,
    /// What `hint_queues` holds in all.
    totals: Mutex<Totals>,
    /// How many entries `quarantine` has, and the next number there: nothing leaves it.
    quarantined: AtomicU64,
    /// How many keys are in `damaged`, so that a healthy store never looks there.
    damaged_keys: AtomicU64,
    /// Held while a batch is put together and committed.
    writing: Mutex<()>,
    space: Space,
    reclaim: Reclaim,
    failure: OnceLock<StoreError>,
    /// Dropped last: until then nobody else may open the files.
    directory: Arc<Directory>,
}

impl Fjall {
    /// Opens the store in `directory`, which is created where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::Io`],
    /// [`StoreError::Full`], or [`StoreError::Corrupt`]; the files are as they were.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = Directory::claim(directory.as_ref())?;
        directory.create_store()?;
        let format = directory.format()?;
        let (database, keyspaces) = directory.open_store()?;
        let Keyspaces { records, damaged, hints, hint_queues, quarantine, trees, meta } = keyspaces;
        let store = Self {
            database,
            records,
            damaged,
            hints,
            hint_queues,
            quarantine,
            trees,
            meta,
            roots: Mutex::new(Roots::default()),
            totals: Mutex::new(Totals::default()),
            quarantined: AtomicU64::new(0),
            damaged_keys: AtomicU64::new(0),
            writing: Mutex::new(()),
            space: Space::new(directory.path()),
            reclaim: Reclaim::default(),
            failure: OnceLock::new(),
            directory: Arc::new(directory),
        };
        let damaged_keys = store.damaged.len().map_err(|e| store.error(&e))?;
        store.damaged_keys.store(damaged_keys as u64, Ordering::Release);
        store.count_hints()?;
        if format <= files::WITHOUT_TREE {
            store.build_tree()?;
            store.sync()?;
            store.directory.set_format()?;
        }
        Ok(store)
    }

    /// How many data blocks were looked at, in the cache or on the disk: an absent key should cost
    /// none.
    #[must_use]
    pub fn data_blocks_read(&self) -> usize {
        self.records.metrics().data_block_load_count()
    }

    /// Bytes of the tables of records on the disk.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.records.disk_space()
    }

    /// Writes what is in memory to sorted tables, and waits for it.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] when the store could not be written before.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _writing = self.writing();
        self.records.rotate_memtable().map_err(|e| self.fail(&e))?;
        self.wait_until(|| self.records.sealed_memtable_count() == 0)
    }

    fn get(&self, key: &Key) -> StoreResult {
        match self.read_record(key) {
            Ok(Some(record)) => StoreResult::Record(record),
            Ok(None) => StoreResult::Damaged,
            Err(error) => StoreResult::Failed(error),
        }
    }

    /// The record of `key`, the empty one where there is none; `None` where it is damaged.
    fn read_record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let place = place(key);
        if self.is_damaged(&place)? {
            return Ok(None);
        }
        match self.raw(&place)? {
            Raw::Absent => Ok(Some(Record::new())),
            Raw::Unreadable { .. } => self.quarantine(&place),
            Raw::Bytes(bytes) => match value::decode(&bytes) {
                Ok(record) => Ok(Some(record)),
                Err(_) => self.quarantine(&place),
            },
        }
    }

    /// The reader's way into quarantine: looks again, as a repair may have come in between.
    fn quarantine(&self, place: &[u8]) -> Result<Option<Record>, StoreError> {
        let _writing = self.writing();
        let mut batch = Batch::new(self);
        let (slot, _) = batch.look(place)?;
        if let Err(error) = batch.commit() {
            tracing::warn!(%error, "a damaged record cannot be put into quarantine");
        }
        Ok((!slot.damaged).then(|| slot.record.unwrap_or_default()))
    }

    fn is_damaged(&self, place: &[u8]) -> Result<bool, StoreError> {
        if self.damaged_keys.load(Ordering::Acquire) == 0 {
            return Ok(false);
        }
        match self.damaged.contains_key(place) {
            Ok(found) => Ok(found),
            // What cannot say that the key is whole does not say so.
            Err(e) if error::is_damage(&e) => Ok(true),
            Err(e) => Err(self.error(&e)),
        }
    }

    fn raw(&self, place: &[u8]) -> Result<Raw, StoreError> {
        self.raw_in(&self.records, place)
    }

    fn raw_in(&self, keyspace: &Keyspace, place: &[u8]) -> Result<Raw, StoreError> {
        match keyspace.get(place) {
            Ok(None) => Ok(Raw::Absent),
            Ok(Some(bytes)) => Ok(Raw::Bytes(bytes)),
            Err(e) if error::is_damage(&e) => Ok(Raw::Unreadable { reason: e.to_string() }),
            Err(e) => Err(self.error(&e)),
        }
    }

    /// Waits while the disk is behind, as long as it may catch up.
    fn wait_for_disk(&self) -> Result<(), StoreError> {
        let keeps_up = |keyspace: &Keyspace| {
            keyspace.sealed_memtable_count() < SEALED_MAX && keyspace.tree.l0_run_count() < RUNS_MAX
        };
        self.wait_until(|| [&self.records, &self.hints, &self.trees].into_iter().all(keeps_up))
    }

    #[expect(clippy::disallowed_methods, reason = "the crate has no way to wait for its flush threads")]
    fn wait_until(&self, done: impl Fn() -> bool) -> Result<(), StoreError> {
        while !done() {
            // Fails once a flush thread has died, and costs no system call before.
            self.database.persist(PersistMode::Buffer).map_err(|e| self.fail(&e))?;
            std::thread::sleep(std::time::Duration::from_millis(WAIT_MS));
        }
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // It guards no data, only the order of batches.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a write or flush; from then on the store is poisoned.
    fn fail(&self, e: &::fjall::Error) -> StoreError {
        if matches!(e, ::fjall::Error::Poisoned) { self.poisoned() } else { self.failed_first(e) }
    }

    fn failed_first(&self, e: &::fjall::Error) -> StoreError {
        self.failure.get_or_init(|| self.error(e)).clone()
    }

    fn poisoned(&self) -> StoreError {
        let unseen = || {
            "a flush or merge of tables failed in the background; if it does so again after a restart, a table is damaged: \
                      move the directory away, and the peer acquires its records anew".to_owned()
        };
        StoreError::Poisoned { reason: self.failure.get().map_or_else(unseen, ToString::to_string) }
    }

    fn error(&self, e: &::fjall::Error) -> StoreError {
        error::store_error(self.directory.path(), e)
    }
}

impl Store for Fjall {
    fn meta(&self, key: MetaKey) -> Result<Option<Bytes>, StoreError> {
        let value = self.meta.get(key.name()).map_err(|e| self.error(&e))?;
        Ok(value.map(|slice| Bytes::copy_from_slice(&slice)))
    }

    fn read(&self, op: &ReadOp) -> StoreResult {
        match op {
            ReadOp::Get { key } => self.get(key),
            ReadOp::Occupied { count, partitions } => self.occupied(*count, partitions),
            ReadOp::Damaged { max } => self.damaged_keys(*max),
            ReadOp::Roots { count, partitions } => self.summaries_of_partitions(*count, partitions),
            ReadOp::Nodes { count, nodes } => self.summaries(*count, nodes),
            ReadOp::Items { count, nodes, items_max } => self.items(*count, nodes, *items_max),
            ReadOp::Records { keys, bytes_max } => self.records_of(keys, *bytes_max),
            ReadOp::Dead { count, partitions, until_unix_ms, max } => {
                self.dead(*count, partitions, *until_unix_ms, *max).unwrap_or_else(StoreResult::Failed)
            }
            ReadOp::Hint { key } => self.hint(key),
            ReadOp::Hints { primary, after, bytes_max, count_max } => {
                self.list_hints(*primary, after.as_ref(), (*bytes_max, *count_max))
            }
            ReadOp::HintQueues => StoreResult::HintQueues {
                queues: self.totals().queues(),
                quarantined: self.quarantined.load(Ordering::Acquire),
            },
        }
    }

    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult> {
        let count = ops.len();
        let _writing = self.writing();
        let write = || {
            self.wait_for_disk()?;
            let mut batch = Batch::new(self);
            let results = ops.into_iter().map(|op| batch.execute(op)).collect();
            let removed = batch.removed();
            batch.commit()?;
            if removed > 0 {
                self.reclaim.on_removed(removed, &self.records, &self.directory);
            }
            Ok(results)
        };
        write().unwrap_or_else(|error| vec![StoreResult::Failed(error); count])
    }

    fn sync(&self) -> Result<(), StoreError> {
        // The journal has its full length from the start: its data is all there is to sync.
        self.database.persist(PersistMode::SyncData).map_err(|e| {
            self.fail(&e);
            self.poisoned()
        })
    }

    fn records(&self) -> u64 {
        self.records.approximate_len() as u64
    }

    fn snapshot(&self) -> Records {
        snapshot::records(self)
    }
}

impl fmt::Debug for Fjall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fjall").field("directory", &self.directory.path()).finish_non_exhaustive()
    }
}

/// What is stored at a place, as far as it can be read.
enum Raw {
    Absent,
    Bytes(Slice),
    Unreadable { reason: String },
}

/// Where the record of `key` is: its position, then the key itself.
fn place(key: &Key) -> Vec<u8> {
    let mut place = Vec::with_capacity(8 + key.as_bytes().len());
    place.extend_from_slice(&key.position().0.to_be_bytes());
    place.extend_from_slice(key.as_bytes());
    place
}
