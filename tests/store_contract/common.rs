//! Keys, writes and records for tests, and stores that can be opened again.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use henge::store::fjall::Fjall;
use henge::store::memory::Memory;
use henge::store::{ReadOp, Store, StoreResult, WriteOp};
use henge_types::tree::{Item, LEAF_DEPTH, Leaf, Node, Summary};
use henge_types::{
    ActorId, Applied, Clock, Content, Dot, Key, OperationId, Partition, PartitionCount, Record, Write,
};
use tempfile::TempDir;

pub(crate) fn key(name: impl AsRef<[u8]>) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_ref())).unwrap()
}

pub(crate) fn actor(n: u8) -> ActorId {
    ActorId([n; 16])
}

/// Write `counter` of actor `who`, on top of `seen`.
pub(crate) fn write_on(seen: &Clock, who: u8, counter: u64, value: impl Into<Bytes>) -> Write {
    let mut operation = [who; 16];
    operation[..8].copy_from_slice(&counter.to_be_bytes());
    Write {
        dot: Dot { actor: actor(who), counter },
        supersede: seen.clone(),
        content: Content::Value(value.into()),
        written_at: 1_700_000_000_000 + counter,
        expires_at: None,
        operation: OperationId(operation),
    }
}

/// A write that supersedes nothing.
pub(crate) fn blind(who: u8, counter: u64, value: impl Into<Bytes>) -> Write {
    write_on(&Clock::new(), who, counter, value)
}

/// The record after `writes`.
pub(crate) fn record(writes: impl IntoIterator<Item = Write>) -> Record {
    let mut record = Record::new();
    for write in writes {
        assert_eq!(record.apply(&write), Ok(Applied::Written));
    }
    record
}

pub(crate) fn update(key: &Key, write: Write) -> WriteOp {
    WriteOp::Update { key: key.clone(), write }
}

pub(crate) fn merge(key: &Key, record: Record) -> WriteOp {
    WriteOp::Merge { key: key.clone(), record, own: None }
}

pub(crate) fn merged(changed: bool) -> StoreResult {
    StoreResult::Merged { changed, rolled_back: false, damaged: false }
}

pub(crate) fn get(store: &dyn Store, key: &Key) -> StoreResult {
    store.read(&ReadOp::Get { key: key.clone() })
}

pub(crate) fn record_of(store: &dyn Store, key: &Key) -> Record {
    let result = get(store, key);
    let StoreResult::Record(record) = result else { panic!("no record but {result:?}") };
    record
}

/// Executes one operation.
pub(crate) fn one(store: &dyn Store, op: WriteOp) -> StoreResult {
    let mut results = store.write(vec![op]);
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// The values of the siblings, by dot.
pub(crate) fn values(record: &Record) -> Vec<Bytes> {
    record.siblings().iter().filter_map(|s| s.live(0)).cloned().collect()
}

/// A kind of store under test.
pub(crate) trait Bed {
    fn store(&self) -> Arc<dyn Store>;
    /// A clean stop and a start.
    fn reopen(&mut self);
    /// Makes the stored record of `key` unreadable.
    fn damage(&mut self, key: &Key);
    /// Makes the hint of `key` unreadable.
    fn damage_hint(&mut self, key: &Key);
    /// The machine crashes: what was not synced is lost, where this store can tell.
    fn crash(&mut self);
}

pub(crate) struct InMemory(pub(crate) Arc<Memory>);

impl Bed for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    fn reopen(&mut self) {
        self.0.sync().unwrap();
        self.0 = Arc::new(self.0.durable());
    }

    fn damage(&mut self, key: &Key) {
        assert!(self.0.damage(key));
    }

    fn damage_hint(&mut self, key: &Key) {
        assert!(self.0.damage_hint(key));
    }

    fn crash(&mut self) {
        self.0.crash(0);
    }
}

pub(crate) struct OnDisk {
    pub(crate) directory: TempDir,
    pub(crate) store: Option<Arc<Fjall>>,
}

impl OnDisk {
    pub(crate) fn new() -> Self {
        let directory = scratch();
        let store = Some(open(directory.path()));
        Self { directory, store }
    }

    pub(crate) fn fjall(&self) -> Arc<Fjall> {
        self.store.clone().unwrap()
    }

    fn cut(&mut self, keyspace: &str, key: &Key) {
        self.raw_in(keyspace, |_, stored| {
            let mut bytes = stored.get(place(key)).unwrap().unwrap().to_vec();
            bytes.truncate(bytes.len() / 2);
            stored.insert(place(key), bytes).unwrap();
        });
    }

    pub(crate) fn close(&mut self) {
        let store = self.store.take().unwrap();
        assert_eq!(Arc::strong_count(&store), 1, "somebody still holds the store");
    }

    /// Changes the files by hand.
    pub(crate) fn raw(&mut self, change: impl FnOnce(&fjall::Database, &fjall::Keyspace)) {
        self.raw_in("records", change);
    }

    fn raw_in(&mut self, keyspace: &str, change: impl FnOnce(&fjall::Database, &fjall::Keyspace)) {
        self.close();
        let database = fjall::Database::builder(self.directory.path().join("store")).open().unwrap();
        let keyspace = database.keyspace(keyspace, Default::default).unwrap();
        change(&database, &keyspace);
        drop(keyspace);
        drop(database);
        self.store = Some(open(self.directory.path()));
    }
}

impl Bed for OnDisk {
    fn store(&self) -> Arc<dyn Store> {
        self.fjall()
    }

    fn reopen(&mut self) {
        self.close();
        self.store = Some(open(self.directory.path()));
    }

    fn damage(&mut self, key: &Key) {
        self.cut("records", key);
    }

    fn damage_hint(&mut self, key: &Key) {
        self.cut("hints", key);
    }

    fn crash(&mut self) {
        self.reopen();
    }
}

/// The nodes of `store` are those of a tree put together from `records`.
pub(crate) fn assert_tree(store: &dyn Store, records: &[(Key, Record)]) {
    for bits in [0, 6, 13, 14] {
        let count = PartitionCount::new(1 << bits).unwrap();
        let partitions: BTreeSet<Partition> =
            records.iter().map(|(key, _)| key.position().partition(count)).chain([Partition(0)]).collect();
        let nodes: Vec<Node> = partitions.iter().map(|p| Node::of_partition(*p, count)).collect();
        let summaries = nodes.iter().map(|node| summary(*node, records)).collect();
        let expected = StoreResult::Summaries { summaries, damaged: Vec::new() };
        assert_eq!(store.read(&ReadOp::Nodes { count, nodes }), expected, "2^{bits} partitions");
        let partitions = partitions.into_iter().collect();
        assert_eq!(store.read(&ReadOp::Roots { count, partitions }), expected, "2^{bits} partitions");
    }
}

/// The tree by its definition: the SHA-256 of children, down to a leaf.
fn summary(node: Node, records: &[(Key, Record)]) -> Summary {
    let inside = |key: &Key| (node.first_position()..=node.last_position()).contains(&key.position());
    let below: Vec<_> = records.iter().filter(|(key, _)| inside(key)).cloned().collect();
    if below.is_empty() {
        return Summary::EMPTY;
    }
    if node.depth() < LEAF_DEPTH {
        return Summary::above(node.children().map(|child| summary(child, &below)));
    }
    let mut leaf = Leaf::default();
    below.iter().for_each(|(key, record)| leaf.add(&Item::of(key, record).hash()));
    leaf.summary()
}

/// A directory that goes when it is dropped, in memory where that can be had: no test here can tell
/// the difference, and a busy disk takes half a second to make a store.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn open(directory: &Path) -> Arc<Fjall> {
    Arc::new(Fjall::open(directory).unwrap())
}

/// The documented place of a key in `records`.
pub(crate) fn place(key: &Key) -> Vec<u8> {
    [&key.position().0.to_be_bytes(), key.as_bytes()].concat()
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    noise.truncate(bytes);
    noise.into()
}

/// The files below `directory`, in a fixed order.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Waits for a state, and fails after ten seconds.
pub(crate) fn wait_for<T: Debug>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited ten seconds for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
