//! How the database is tuned, and why.

use std::path::Path;

use ::fjall::config::{BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use ::fjall::{CompressionType, Database, DatabaseBuilder, KeyspaceCreateOptions};

/// Blocks kept in memory, in bytes (our choice: an idle peer stays under 60 MiB).
const CACHE_BYTES: u64 = 32 << 20;
/// Threads that flush memtables and merge tables. With more than one, the first keeps clear of merges
/// by putting them back into the queue, over and over while the others are busy with one: a
/// core spent on nothing (fjall 3.1, `worker_tick`; a quarter of a loaded peer's time, measured).
const WORKERS: usize = 1;
/// A memtable of records, in bytes; under load there are up to four. With half of it a busy machine
/// did about half as many updates per second, with twice of it some half more (measured).
const MEMTABLE_BYTES: u64 = 32 << 20;
/// A memtable of hints, in bytes: most leave again before they would be written to a table.
const HINTS_MEMTABLE_BYTES: u64 = 8 << 20;
/// A memtable of the leaves of the hash tree, in bytes: a leaf that changes again before it is full
/// is written to a table once.
const TREES_MEMTABLE_BYTES: u64 = 8 << 20;
/// A memtable of the small keyspaces, in bytes.
const SMALL_MEMTABLE_BYTES: u64 = 1 << 20;
/// All journals together, in bytes: what an unclean stop has to replay at most.
const JOURNALS_BYTES: u64 = 128 << 20;
/// The share of absent keys that a filter lets through.
const FALSE_POSITIVE_RATE: f32 = 0.001;

/// A database at `path`.
pub(super) fn database(path: &Path) -> DatabaseBuilder<Database> {
    Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES)
        .journal_compression(CompressionType::Lz4)
        .worker_threads(WORKERS)
}

/// The keyspace of records. Young tables are soon merged again: only what is below them is
/// compressed. Values stay beside their keys: apart from them (the crate's blob files) gets of
/// 64 KiB were twice as fast, but puts of 10 KiB, nearer to common use, a third slower or worse.
pub(super) fn records() -> KeyspaceCreateOptions {
    small().max_memtable_size(MEMTABLE_BYTES).data_block_compression_policy(CompressionPolicy::new([
        CompressionType::None,
        CompressionType::None,
        CompressionType::Lz4,
    ]))
}

/// The keyspace of hints.
pub(super) fn hints() -> KeyspaceCreateOptions {
    small().max_memtable_size(HINTS_MEMTABLE_BYTES)
}

/// The keyspace of the leaves of the hash tree.
pub(super) fn trees() -> KeyspaceCreateOptions {
    small().max_memtable_size(TREES_MEMTABLE_BYTES)
}

/// The other keyspaces.
pub(super) fn small() -> KeyspaceCreateOptions {
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(FALSE_POSITIVE_RATE));
    KeyspaceCreateOptions::default()
        .max_memtable_size(SMALL_MEMTABLE_BYTES)
        .filter_policy(FilterPolicy::all(filter))
}
