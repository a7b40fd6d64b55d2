//! What is written is what is read, and nothing else is taken for it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{
    ActorId, Clock, ClusterParams, Content, Custody, CustodyMap, Dot, Key, OperationId, PeerId, Record,
    RingId, Write,
};

use super::{About, Of, Origin, Progress, Refusal, Snapshot, SnapshotError, restore, write};
use crate::store::memory::Memory;
use crate::store::{MetaKey, ReadOp, Records, Store, StoreError, StoreResult};

const GOLDEN: &str = include_str!("golden.txt");
const RING: RingId = RingId([0xa5; 16]);
const HOUR_MS: u64 = 3_600_000;

fn key(n: u64) -> Key {
    Key::new(format!("key {n}").into_bytes()).unwrap()
}

fn record(n: u64, value: &[u8]) -> Record {
    let mut record = Record::new();
    let write = Write {
        dot: Dot { actor: ActorId([7; 16]), counter: n + 1 },
        supersede: Clock::new(),
        content: Content::Value(Bytes::copy_from_slice(value)),
        written_at: 1_700_000_000_000,
        expires_at: None,
        operation: OperationId([3; 16]),
    };
    record.apply(&write).unwrap();
    record
}

fn of() -> Of {
    let params = ClusterParams::default();
    let custody = CustodyMap::uniform(params.partitions(), Custody::Full);
    let peer = PeerId::from_bytes(&[&[0, 36][..], &[7; 36]].concat()).unwrap();
    Of { peer, ring: RING, params, custody, now_unix_ms: 1_700_000_000_000 }
}

fn records(count: u64, value: &[u8]) -> Records {
    let all: Vec<_> = (0..count).map(|n| Ok((key(n), Some(record(n, value))))).collect();
    Box::new(all.into_iter())
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn taken(path: &Path, records: Records) -> PathBuf {
    let directory = path.join("snapshot");
    write(&directory, records, &of(), &mut go_on).unwrap();
    directory
}

fn read(directory: &Path) -> Vec<Result<Option<(Key, Record)>, SnapshotError>> {
    Snapshot::open(directory).unwrap().entries().unwrap().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[track_caller]
fn check(name: &str, bytes: &[u8]) {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert_eq!(line, Some(hex(bytes).as_str()), "\n{name} {}", hex(bytes));
}

#[test]
fn its_files_have_golden_bytes() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(1, b"x"));
    check("saved.snapshot", &fs::read(directory.join("snapshot")).unwrap());
    let origin = Origin {
        ring: RING,
        params: ClusterParams::default(),
        taken_unix_ms: 1_700_000_000_000,
        custody: CustodyMap::uniform(ClusterParams::default().partitions(), Custody::Part),
        joins: true,
    };
    let stored = origin.to_stored().unwrap();
    check("saved.origin", &stored);
    assert_eq!(Origin::from_stored(&stored), Ok(origin));
    assert_eq!(hex(&fs::read(directory.join("records")).unwrap()), ENTRY);
}

/// The file of one record.
const ENTRY: &str = concat!(
    "010000007db06cde9403ddbd1782456b657920308381858250070707070707070707070707070707070141781b000001",
    "8bcfe56800f6500303030303030303030303030303030381825007070707070707070707070707070707018183500303",
    "0303030303030303030303030303825007070707070707070707070707070707011b0000018bcfe5680000000000",
);

#[test]
fn what_is_written_is_read() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(1000, &[b'x'; 4096]));
    let found: Vec<_> = read(&directory).into_iter().map(|entry| entry.unwrap().unwrap()).collect();
    let expected: Vec<_> = (0..1000).map(|n| (key(n), record(n, &[b'x'; 4096]))).collect();
    assert_eq!(found, expected);
    let about = Snapshot::open(&directory).unwrap().about().clone();
    let Of { peer, ring, params, now_unix_ms: taken_unix_ms, .. } = of();
    let bytes = fs::metadata(directory.join("records")).unwrap().len();
    assert_eq!(about, About { peer, ring, params, taken_unix_ms, records: 1000, damaged: 0, bytes });
}

#[test]
fn what_is_nobodys_here_is_left_out_and_what_is_damaged_is_counted() {
    let path = tempfile::tempdir().unwrap();
    let directory = path.path().join("snapshot");
    let mut of = of();
    of.custody.set(key(1).position().partition(of.params.partitions()), Custody::None);
    let mut all: Vec<_> = records(3, b"x").collect();
    all[2] = Ok((key(2), None));
    let about = write(&directory, Box::new(all.into_iter()), &of, &mut go_on).unwrap();
    assert_eq!((about.records, about.damaged), (1, 1));
    assert_eq!(read(&directory), [Ok(Some((key(0), record(0, b"x"))))]);
}

#[test]
fn a_directory_that_has_something_or_is_relative_is_refused_and_stays() {
    let path = tempfile::tempdir().unwrap();
    let directory = path.path().join("snapshot");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("mine"), b"").unwrap();
    let error = write(&directory, records(1, b"x"), &of(), &mut go_on).unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { unfinished: false, .. }), "{error}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    let error = write(Path::new("relative"), records(1, b"x"), &of(), &mut go_on).unwrap_err();
    assert!(matches!(error, SnapshotError::NotAbsolute { .. }), "{error}");
    let below = directory.join("no/such");
    let error = write(&below, records(1, b"x"), &of(), &mut go_on).unwrap_err();
    assert!(matches!(error, SnapshotError::Io { .. }), "{error}");
}

#[test]
fn one_that_fails_or_is_stopped_leaves_nothing() {
    let path = tempfile::tempdir().unwrap();
    let directory = path.path().join("snapshot");
    let mut all: Vec<_> = records(3, b"x").collect();
    all[2] = Err(StoreError::Full { path: "store".to_owned() });
    let error = write(&directory, Box::new(all.into_iter()), &of(), &mut go_on).unwrap_err();
    assert!(matches!(error, SnapshotError::Store(_)), "{error}");
    assert!(!directory.exists());
    let mut stop = |_| ControlFlow::Break(());
    let error = write(&directory, records(1000, &[0; 4096]), &of(), &mut stop).unwrap_err();
    assert_eq!(error, SnapshotError::Stopped);
    assert!(!directory.exists());
    // One that was there stays, empty.
    fs::create_dir(&directory).unwrap();
    write(&directory, records(1000, &[0; 4096]), &of(), &mut stop).unwrap_err();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn what_was_not_finished_is_no_snapshot_and_a_cut_one_is_damaged() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(3, b"x"));
    let marker = fs::read(directory.join("snapshot")).unwrap();
    fs::remove_file(directory.join("snapshot")).unwrap();
    let error = Snapshot::open(&directory).unwrap_err();
    assert!(matches!(error, SnapshotError::NoSnapshot { .. }), "{error}");
    let error = write(&directory, records(1, b"x"), &of(), &mut go_on).unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { unfinished: true, .. }), "{error}");
    fs::write(directory.join("snapshot"), marker).unwrap();
    let file = fs::OpenOptions::new().write(true).open(directory.join("records")).unwrap();
    file.set_len(100).unwrap();
    let error = Snapshot::open(&directory).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged { .. }), "{error}");
}

#[test]
fn a_rotten_record_costs_itself_and_a_rotten_length_what_follows() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(3, b"x"));
    let file = directory.join("records");
    let whole = fs::read(&file).unwrap();
    let at = whole.len() / 2;
    let mut rotten = whole.clone();
    rotten[at] ^= 1;
    fs::write(&file, &rotten).unwrap();
    let entries = read(&directory);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1], Ok(None));
    let mut rotten = whole;
    rotten[1] = 0xff;
    fs::write(&file, &rotten).unwrap();
    let entries = read(&directory);
    assert!(matches!(entries.as_slice(), [Err(SnapshotError::Damaged { .. })]), "{entries:?}");
}

#[test]
fn arbitrary_files_are_read_without_a_panic() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(3, b"x"));
    let file = directory.join("records");
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(1 + (at % 255) as u8);
        fs::write(&file, &bytes).unwrap();
        if let Ok(entries) = Snapshot::open(&directory).unwrap().entries() {
            let whole = entries.filter(|entry| matches!(entry, Ok(Some(_)))).count();
            assert!(whole <= 3, "byte {at}");
        }
    }
}

#[test]
fn a_restored_store_has_all_records_and_knows_where_they_are_from() {
    let path = tempfile::tempdir().unwrap();
    let directory = taken(path.path(), records(700, b"x"));
    let snapshot = Snapshot::open(&directory).unwrap();
    let store = Memory::new();
    let restored = restore(&store, &[snapshot.clone(), snapshot], true, &mut |_| {}).unwrap();
    // A second one of the same ring is merged; here it has the same.
    assert_eq!((restored.progress.records, store.records()), (1400, 700));
    for n in [0, 350, 699] {
        let read = store.read(&ReadOp::Get { key: key(n) });
        assert_eq!(read, StoreResult::Record(record(n, b"x")));
    }
    let origin = Origin::from_stored(&store.durable().meta(MetaKey::Origin).unwrap().unwrap()).unwrap();
    assert_eq!(origin, restored.origin);
    let count = origin.params.partitions();
    let held: std::collections::BTreeSet<_> = (0..700).map(|n| key(n).position().partition(count)).collect();
    for partition in count.all() {
        let expected = if held.contains(&partition) { Custody::Part } else { Custody::None };
        assert_eq!(origin.custody.get(partition), expected);
    }
}

#[test]
fn what_the_store_does_not_take_is_an_error() {
    let path = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::open(taken(path.path(), records(3, b"x"))).unwrap();
    let store = Memory::new();
    store.fail_with(Some(StoreError::Full { path: "store".to_owned() }));
    let error = restore(&store, &[snapshot], false, &mut |_| {}).unwrap_err();
    assert!(matches!(error, SnapshotError::Store(StoreError::Full { .. })), "{error}");
}

#[test]
fn snapshots_of_two_rings_are_not_mixed() {
    let path = tempfile::tempdir().unwrap();
    let one = Snapshot::open(taken(path.path(), records(1, b"x"))).unwrap();
    let other = path.path().join("other");
    write(&other, records(1, b"x"), &Of { ring: RingId([1; 16]), ..of() }, &mut go_on).unwrap();
    let other = Snapshot::open(other).unwrap();
    let error = restore(&Memory::new(), &[one, other], true, &mut |_| {}).unwrap_err();
    assert!(matches!(error, SnapshotError::SeveralRings { .. }), "{error}");
}

#[test]
fn only_its_own_ring_takes_it_and_only_while_that_remembers_what_was_deleted() {
    let grace = Duration::from_secs(240 * 3600);
    let origin = Origin {
        ring: RING,
        params: ClusterParams::default(),
        taken_unix_ms: 1000 * HOUR_MS,
        custody: CustodyMap::uniform(ClusterParams::default().partitions(), Custody::Part),
        joins: true,
    };
    assert_eq!(origin.check(RING, 1119 * HOUR_MS, grace), Ok(()));
    let age = Duration::from_secs(120 * 3600);
    assert_eq!(origin.check(RING, 1120 * HOUR_MS, grace), Err(Refusal::TooOld { age, grace }));
    // A clock that went back says nothing about age.
    assert_eq!(origin.check(RING, 0, grace), Ok(()));
    let joined = RingId([1; 16]);
    let refusal = Refusal::OtherRing { snapshot: RING, joined };
    assert_eq!(origin.check(joined, 1001 * HOUR_MS, grace), Err(refusal));
}
