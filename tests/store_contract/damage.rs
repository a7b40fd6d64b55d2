//! Files that are not what was written.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use henge::store::fjall::Fjall;
use henge::store::{Store, StoreError, StoreResult, WriteOp};
use henge_types::Record;

use crate::common::{
    Bed, OnDisk, blind, files_below, get, key, merge, merged, noise, one, open, record, record_of, scratch,
    update,
};
use crate::crash::run_child;

const SEED: &str = "HENGE_STORE_SEED";
const FLIPS: &str = "HENGE_STORE_FLIPS";

fn stored(n: u64) -> Record {
    record([blind(1, n + 1, noise(n, 1000))])
}

fn fill(store: &dyn Store, names: Range<u64>) {
    for n in names {
        assert_eq!(one(store, merge(&key(n.to_string()), stored(n))), merged(true));
    }
}

fn largest(directory: &Path, within: &str) -> PathBuf {
    let files = files_below(directory).into_iter().filter(|f| f.to_str().unwrap().contains(within));
    files.max_by_key(|f| f.metadata().unwrap().len()).unwrap()
}

fn flip(file: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
}

#[test]
fn a_broken_block_damages_its_own_keys_only() {
    let mut bed = OnDisk::new();
    fill(&*bed.store(), 0..300);
    bed.fjall().flush().unwrap();
    bed.close();
    let table = largest(bed.directory.path(), "/tables/");
    (0..3).for_each(|n| flip(&table, 2_000 + n * 50_000));
    bed.store = Some(open(bed.directory.path()));

    let damaged = |bed: &OnDisk| -> Vec<u64> {
        let check = |n: &u64| {
            let result = get(&*bed.store(), &key(n.to_string()));
            let damaged = result == StoreResult::Damaged;
            assert!(damaged || result == StoreResult::Record(stored(*n)), "key {n}: {result:?}");
            damaged
        };
        (0..300).filter(check).collect()
    };
    let found = damaged(&bed);
    assert!((3..60).contains(&found.len()), "{} keys are damaged", found.len());
    bed.reopen();
    assert_eq!(damaged(&bed), found);
    let store = bed.store();
    for n in &found {
        let key = key(n.to_string());
        assert_eq!(one(&*store, update(&key, blind(1, 1000, "y"))), StoreResult::Damaged);
        assert_eq!(one(&*store, WriteOp::Repair { key, record: stored(*n) }), StoreResult::Repaired);
    }
    drop(store);
    assert_eq!(damaged(&bed), [0_u64; 0]);
    bed.reopen();
    assert_eq!(damaged(&bed), [0_u64; 0]);
}

#[test]
fn the_bytes_of_an_unreadable_record_are_kept() {
    let mut bed = OnDisk::new();
    fill(&*bed.store(), 0..2);
    bed.damage(&key("0"));
    assert_eq!(get(&*bed.store(), &key("0")), StoreResult::Damaged);
    bed.raw(|database, records| {
        assert_eq!(records.get(crate::common::place(&key("0"))).unwrap(), None);
        let damaged = database.keyspace("damaged", Default::default).unwrap();
        let kept = damaged.get(crate::common::place(&key("0"))).unwrap().unwrap();
        assert_eq!(kept[..3], [1, 1, 2], "entry version, with bytes, version of the value");
        assert!(kept.len() > 500);
    });
}

#[test]
fn a_torn_journal_loses_its_tail_and_nothing_before() {
    let mut bed = OnDisk::new();
    fill(&*bed.store(), 0..50);
    bed.close();
    let journal = largest(bed.directory.path(), ".jnl");
    let bytes = fs::read(&journal).unwrap();
    let end = journal_end(&bytes) as u64;
    OpenOptions::new().write(true).open(&journal).unwrap().set_len(end - 20).unwrap();
    bed.store = Some(open(bed.directory.path()));
    (0..49).for_each(|n| assert_eq!(record_of(&*bed.store(), &key(n.to_string())), stored(n)));
    assert_eq!(get(&*bed.store(), &key("49")), StoreResult::Record(Record::new()));
    assert_eq!(one(&*bed.store(), merge(&key("49"), stored(49))), merged(true));
    bed.reopen();
    (0..50).for_each(|n| assert_eq!(record_of(&*bed.store(), &key(n.to_string())), stored(n)));
}

/// Where the batches of the journal end.
fn journal_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).unwrap() + 1
}

#[test]
fn a_last_batch_with_a_hole_is_cut_off() {
    let mut bed = OnDisk::new();
    fill(&*bed.store(), 0..50);
    bed.close();
    let journal = largest(bed.directory.path(), ".jnl");
    let end = journal_end(&fs::read(&journal).unwrap()) as u64;
    // The machine died before one page was written, though the next one had been.
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    file.write_all_at(&[0; 300], end - 600).unwrap();
    bed.store = Some(open(bed.directory.path()));
    (0..49).for_each(|n| assert_eq!(record_of(&*bed.store(), &key(n.to_string())), stored(n)));
    assert_eq!(get(&*bed.store(), &key("49")), StoreResult::Record(Record::new()));
}

#[test]
fn a_hole_before_whole_batches_is_damage() {
    let mut bed = OnDisk::new();
    fill(&*bed.store(), 0..50);
    bed.close();
    let journal = largest(bed.directory.path(), ".jnl");
    let end = journal_end(&fs::read(&journal).unwrap()) as u64;
    for hole in [1, 30, end / 2, end - 2_000] {
        let whole = fs::read(&journal).unwrap();
        OpenOptions::new().write(true).open(&journal).unwrap().write_all_at(&[0xee; 5], hole).unwrap();
        let error = Fjall::open(bed.directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "hole at {hole}: {error:?}");
        fs::write(&journal, whole).unwrap();
    }
    bed.store = Some(open(bed.directory.path()));
    (0..50).for_each(|n| assert_eq!(record_of(&*bed.store(), &key(n.to_string())), stored(n)));
}

#[test]
fn files_that_do_not_open_are_named_corrupt() {
    let cuts =
        [("/keyspaces/1/current", 3), ("/keyspaces/1/v", 100), ("/store/version", 1), ("/store/format", 0)];
    for (within, length) in cuts {
        let mut bed = OnDisk::new();
        fill(&*bed.store(), 0..10);
        bed.fjall().flush().unwrap();
        bed.close();
        let file = largest(bed.directory.path(), within);
        OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
        let error = Fjall::open(bed.directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{within}: {error:?}");
        assert!(error.to_string().contains(bed.directory.path().to_str().unwrap()), "{error}");
    }
}

/// Flips a byte of a store, opens it, reads all, and writes; and that again and again.
#[test]
#[ignore = "run as a child process by the test below"]
fn child_that_flips() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let seed: u64 = seed.parse().unwrap();
    let flips: u64 = std::env::var(FLIPS).unwrap().parse().unwrap();
    let directory = scratch();
    let whole = directory.path().join("whole");
    let store = open(&whole);
    fill(&*store, 0..60);
    store.flush().unwrap();
    fill(&*store, 60..80);
    drop(store);
    for n in seed..seed + flips {
        let copy = directory.path().join("copy");
        copy_all(&whole, &copy);
        let files = files_below(&copy).into_iter().filter(|f| f.metadata().unwrap().len() > 0);
        let files: Vec<_> = files.collect();
        let dice = noise(n, 16);
        let number = |at: usize| u64::from_le_bytes(dice[at..at + 8].try_into().unwrap());
        let file = &files[(number(0) % files.len() as u64) as usize];
        let offset = number(8) % used_bytes(file);
        flip(file, offset);
        println!("flip {n}: byte {offset} of {}", file.strip_prefix(&copy).unwrap().display());
        match Fjall::open(&copy) {
            Err(error) => println!("  {error}"),
            Ok(store) => read_all_and_write(&store, file.extension().is_some_and(|e| e == "jnl")),
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    println!("all survived");
}

/// No record may read as another one; only a torn journal may take a record with it.
fn read_all_and_write(store: &Fjall, torn: bool) {
    let mut damaged = 0;
    for n in 0..80 {
        let result = get(store, &key(n.to_string()));
        let gone = result == StoreResult::Record(Record::new());
        if result == StoreResult::Damaged {
            damaged += 1;
        } else if !(torn && n == 79 && gone) {
            assert_eq!(result, StoreResult::Record(stored(n)), "key {n}");
        }
    }
    let written = one(store, merge(&key("new"), stored(7)));
    assert!(matches!(written, StoreResult::Merged { changed: true, .. }), "{written:?}");
    assert_eq!(store.sync(), Ok(()));
    println!("  opens, {damaged} keys are damaged");
}

/// The part of a file that is not preallocated zeros.
fn used_bytes(file: &Path) -> u64 {
    fs::read(file).unwrap().iter().rposition(|b| *b != 0).map_or(1, |last| last as u64 + 1)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_kills_nothing() {
    let mut child = run_child("damage::child_that_flips", &[(SEED, "1"), (FLIPS, "30")]);
    let output = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = output.map_while(Result::ok).collect();
    let status = child.wait().unwrap();
    let survived = status.success() && lines.iter().any(|line| line == "all survived");
    assert!(survived, "{status}:\n{}", lines.join("\n"));
}
