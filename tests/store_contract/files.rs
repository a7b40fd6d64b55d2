//! The data directory: who may have it, what it may be, and a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use henge::store::fjall::{FORMAT, Fjall};
use henge::store::{MetaKey, Store, StoreError, StoreResult, WriteOp};
use henge_types::{Key, Record};
use tempfile::{TempDir, tempdir};

use crate::common::{
    OnDisk, blind, get, key, merge, merged, noise, one, open, record, record_of, update, wait_for,
};
use crate::crash::run_child;

const DIRECTORY: &str = "HENGE_STORE_DIRECTORY";

#[test]
#[ignore = "run as a child process by the test below"]
fn child_that_opens() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let error = Fjall::open(&directory).unwrap_err();
    assert_eq!(error, StoreError::InUse { path: directory.clone() });
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[test]
fn a_second_process_is_refused() {
    let bed = OnDisk::new();
    let directory = bed.directory.path().to_str().unwrap();
    let mut child = run_child("files::child_that_opens", &[(DIRECTORY, directory)]);
    assert!(child.wait().unwrap().success());
    assert!(matches!(Fjall::open(directory), Err(StoreError::InUse { .. })));
    assert_eq!(get(&*bed.fjall(), &key("a")), StoreResult::Record(Record::new()));
}

#[test]
fn a_newer_format_is_refused_and_a_missing_one_is_corrupt() {
    let mut bed = OnDisk::new();
    bed.close();
    let path = bed.directory.path();
    let format = path.join("store/format");
    assert_eq!(fs::read_to_string(&format).unwrap(), format!("{FORMAT}\n"));
    fs::write(&format, format!("{}\n", FORMAT + 1)).unwrap();
    let newer = StoreError::NewerFormat {
        path: path.to_str().unwrap().to_owned(),
        found: FORMAT + 1,
        newest: FORMAT,
    };
    assert_eq!(Fjall::open(path).unwrap_err(), newer);
    fs::remove_file(&format).unwrap();
    assert!(matches!(Fjall::open(path), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_creation_that_was_interrupted_is_begun_anew() {
    let directory = tempdir().unwrap();
    let half = directory.path().join("store.new/keyspaces");
    fs::create_dir_all(&half).unwrap();
    fs::write(directory.path().join("store.new/0.jnl"), "half").unwrap();
    let store = open(directory.path());
    assert_eq!(one(&*store, merge(&key("a"), Record::new())), merged(false));
    assert!(!half.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_an_io_error() {
    let parent = tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Fjall::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_read_only_disk_is_an_io_error() {
    let Some(disk) = Disk::mount("size=1m,ro") else { return };
    let error = Fjall::open(disk.path().join("data")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

#[test]
fn absent_keys_cost_no_data_block() {
    let bed = OnDisk::new();
    let store = bed.fjall();
    let name = |n: u64| key(format!("key {n}"));
    for n in 0..4_000 {
        one(&*store, update(&name(n), blind(1, n + 1, noise(n, 200))));
        if n % 1_000 == 999 {
            store.flush().unwrap();
        }
    }
    let before = store.data_blocks_read();
    for n in 4_000..8_000 {
        assert_eq!(get(&*store, &name(n)), StoreResult::Record(Record::new()));
    }
    let absent = store.data_blocks_read() - before;
    // One in a thousand passes each filter.
    assert!(absent < 60, "{absent} data blocks for 4,000 absent keys");
    (0..100).for_each(|n| drop(record_of(&*store, &name(n))));
    assert!(store.data_blocks_read() - before - absent >= 100, "the metric counts no blocks");
}

/// A small disk in memory; its mount goes with it.
struct Disk(TempDir);

impl Disk {
    fn mount(options: &str) -> Option<Self> {
        let directory = tempdir().unwrap();
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(directory.path()).output() {
            Ok(output) if output.status.success() => Some(Self(directory)),
            failed => {
                println!("skipped: no disk can be mounted here: {failed:?}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn fill(&self) -> PathBuf {
        let filler = self.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 1 << 16]).is_ok() {}
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn name(n: u64) -> Key {
    key(format!("key {n}"))
}

fn put(store: &dyn Store, n: u64) -> StoreResult {
    one(store, merge(&name(n), record([blind(1, n + 1, noise(n, 100_000))])))
}

fn assert_all(store: &dyn Store, count: u64) {
    for n in 0..count {
        assert_eq!(record_of(store, &name(n)), record([blind(1, n + 1, noise(n, 100_000))]), "{n}");
    }
}

fn full(path: &Path) -> StoreResult {
    StoreResult::Failed(StoreError::Full { path: path.to_str().unwrap().to_owned() })
}

#[test]
fn a_disk_that_fills_up_refuses_writes_until_there_is_room() {
    let Some(disk) = Disk::mount("size=160m") else { return };
    let store = open(&disk.path());
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![1; 60 << 20]).unwrap();
    let stored = (0..1_000).find(|n| put(&*store, *n) != merged(true)).unwrap();
    assert_eq!(put(&*store, stored), full(&disk.path()));
    assert_all(&*store, stored);
    // What a clean stop needs to say still fits.
    let save = WriteOp::Save { key: MetaKey::Counters, value: Bytes::from_static(b"\x01") };
    assert_eq!(one(&*store, save), StoreResult::Saved);
    assert_eq!(store.sync(), Ok(()));
    fs::remove_file(filler).unwrap();
    assert_eq!(put(&*store, stored), merged(true));
    drop(store);
    assert_all(&*open(&disk.path()), stored + 1);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_write_keeps_what_was_there() {
    let Some(disk) = Disk::mount("size=100m") else { return };
    let store = open(&disk.path());
    (0..20).for_each(|n| assert_eq!(put(&*store, n), merged(true)));
    assert_eq!(store.sync(), Ok(()));
    let filler = disk.fill();
    let value = noise(7, 1 << 20);
    let save = || WriteOp::Save { key: MetaKey::View, value: value.clone() };
    let failed =
        wait_for("the full disk", || Some(one(&*store, save())).filter(|r| *r != StoreResult::Saved));
    assert_eq!(failed, full(&disk.path()));
    let poisoned = one(&*store, save());
    let StoreResult::Failed(StoreError::Poisoned { reason }) = &poisoned else { panic!("{poisoned:?}") };
    assert!(reason.contains("full"), "{reason}");
    assert!(matches!(store.sync(), Err(StoreError::Poisoned { .. })));
    assert_all(&*store, 20);
    drop(store);
    fs::remove_file(filler).unwrap();
    let store = open(&disk.path());
    assert_all(&*store, 20);
    assert_eq!(put(&*store, 20), merged(true));
}
