//! Checks the files that say which tables there are, before the database trusts them.
//!
//! The crate keeps checksums of them, but does not look at all of them: a broken manifest could
//! make it abort the process, and a missing one makes it delete the keyspace.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::error::{corrupt, io_error};
use crate::store::StoreError;

/// The end of a table: magic, version, kind of checksum, checksum, place and length of contents.
const TRAILER_BYTES: u64 = 38;
const TRAILER_MAGIC: &[u8; 4] = b"SFA!";
/// A table of contents has a handful of entries (our choice, far above that).
const CONTENTS_MAX_BYTES: u64 = 1 << 16;
/// A manifest names each table in 33 bytes (our choice: enough for a million).
const MANIFEST_MAX_BYTES: u64 = 64 << 20;

/// Checks all keyspaces of the database in `store`.
pub(super) fn check(store: &Path) -> Result<(), StoreError> {
    for keyspace in entries(&store.join("keyspaces"))? {
        let name = keyspace.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !keyspace.is_dir() {
            continue;
        }
        if name.parse::<u64>().is_err() {
            return Err(corrupt(&keyspace, "no keyspace has such a name"));
        }
        check_manifest(&keyspace)?;
        let tables = keyspace.join("tables");
        if tables.is_dir() {
            entries(&tables)?.iter().try_for_each(|table| check_contents(table))?;
        }
    }
    Ok(())
}

/// `current` names a manifest and its checksum.
fn check_manifest(keyspace: &Path) -> Result<(), StoreError> {
    let current = keyspace.join("current");
    let bytes = read_up_to(&current, 64)?;
    let Some((number, checksum)) = parse_current(&bytes) else {
        return Err(corrupt(&current, "it names no manifest"));
    };
    let manifest = keyspace.join(format!("v{number}"));
    if xxh3_128(&read_up_to(&manifest, MANIFEST_MAX_BYTES)?) != checksum {
        return Err(corrupt(&manifest, "its checksum does not match"));
    }
    Ok(())
}

fn parse_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    (rest == [0]).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}

/// A file that does not end as a table does is left of a crash, or else the database says so.
fn check_contents(table: &Path) -> Result<(), StoreError> {
    let read = || -> io::Result<Option<bool>> {
        let mut file = File::open(table)?;
        let Some(end) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(None) };
        file.seek(SeekFrom::Start(end))?;
        let mut trailer = Vec::new();
        (&mut file).take(TRAILER_BYTES).read_to_end(&mut trailer)?;
        let Some((checksum, at)) = parse_trailer(&trailer) else { return Ok(None) };
        let Some(length) = end.checked_sub(at).filter(|n| *n <= CONTENTS_MAX_BYTES) else {
            return Ok(Some(false));
        };
        file.seek(SeekFrom::Start(at))?;
        let mut contents = Vec::new();
        file.take(length).read_to_end(&mut contents)?;
        Ok(Some(xxh3_128(&contents) == checksum))
    };
    match read().map_err(|e| io_error(table, &e))? {
        Some(false) => Err(corrupt(table, "the checksum of its contents does not match")),
        Some(true) | None => Ok(()),
    }
}

fn parse_trailer(bytes: &[u8]) -> Option<(u128, u64)> {
    let rest = bytes.strip_prefix(TRAILER_MAGIC)?;
    let (_kinds, rest) = rest.split_first_chunk::<2>()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (at, _length) = rest.split_first_chunk()?;
    Some((u128::from_le_bytes(*checksum), u64::from_le_bytes(*at)))
}

/// What is in a directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    list().map_err(|e| unreadable(directory, &e))
}

fn read_up_to(path: &Path, max: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > max => Err(corrupt(path, "it is too long")),
        Ok(_) => Ok(bytes),
        Err(e) => Err(unreadable(path, &e)),
    }
}

fn unreadable(path: &Path, e: &io::Error) -> StoreError {
    if e.kind() == io::ErrorKind::NotFound { corrupt(path, "it is missing") } else { io_error(path, e) }
}
