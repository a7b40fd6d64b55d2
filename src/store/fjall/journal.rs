//! Looks at the end of the journal before the database does.
//!
//! A machine that dies while a batch is on its way to the disk leaves a torn one. When the tear is
//! at the very end the crate cuts it off; when it is in the middle of the batch's bytes the crate
//! refuses to open, and when a byte rots somewhere before, it may cut off everything from there
//! on without a word. So here: a broken batch that is the last was never synced, and is cut off;
//! one that whole batches follow is damage, and opens nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use super::error::{corrupt, io_error};
use crate::store::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// The last bytes of a batch.
const BATCH_MAGIC: [u8; 4] = *b"FJL\x03";

/// Cuts a torn batch off the journal that was written last.
pub(super) fn cut_torn_tail(store: &Path) -> Result<(), StoreError> {
    let Some(path) = last_journal(store).map_err(|e| io_error(store, &e))? else { return Ok(()) };
    let tear = find_tear(&path).map_err(|e| io_error(&path, &e))?;
    if tear.followed {
        let reason = format!("the batch at byte {} is broken, and whole ones follow it", tear.at);
        return Err(corrupt(&path, reason));
    }
    if tear.bytes > 0 {
        tracing::warn!(
            bytes = tear.bytes,
            "the journal ends in a torn batch, which was never synced: cut off"
        );
        let cut = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(tear.at)?;
            file.sync_all()
        };
        cut().map_err(|e| io_error(&path, &e))?;
    }
    Ok(())
}

/// The journal with the highest number.
fn last_journal(store: &Path) -> io::Result<Option<PathBuf>> {
    let mut last = None;
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(".jnl").and_then(|n| n.parse::<u64>().ok()) {
            last = last.max(Some((number, path)));
        }
    }
    Ok(last.map(|(_, path)| path))
}

struct Tear {
    /// Where the whole batches end.
    at: u64,
    /// How many bytes follow that are no preallocated zeros.
    bytes: u64,
    /// Whether there is a whole batch among them.
    followed: bool,
}

fn find_tear(path: &Path) -> io::Result<Tear> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut at = 0;
    while let Some(length) = batch_bytes(&mut reader)? {
        at += length;
    }
    reader.seek(SeekFrom::Start(at))?;
    let rest = without_zeros(reader)?;
    let ends = rest.windows(BATCH_MAGIC.len()).enumerate().filter(|(_, bytes)| **bytes == BATCH_MAGIC);
    let mut followed = false;
    for (end, _) in ends {
        let mut after = rest.get(end + BATCH_MAGIC.len()..).unwrap_or_default();
        followed |= batch_bytes(&mut after)?.is_some();
    }
    Ok(Tear { at, bytes: rest.len() as u64, followed })
}

/// What is left, up to the last byte that is not zero.
fn without_zeros(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let (mut rest, mut zeros) = (Vec::new(), 0);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let length = reader.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(rest) };
        match bytes.iter().rposition(|byte| *byte != 0) {
            None => zeros += length,
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend(bytes.iter().take(last + 1));
                zeros = length - last - 1;
            }
        }
    }
}

/// The length of the batch that begins here, if it is whole.
fn batch_bytes(reader: &mut impl Read) -> io::Result<Option<u64>> {
    match read_batch(reader) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        result => result,
    }
}

fn read_batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let [tag, a, b, c, d, ..] = read::<13>(reader)?;
    if tag != START {
        return Ok(None);
    }
    let mut length = 13;
    let mut hash = Xxh3Default::new();
    for _ in 0..u32::from_le_bytes([a, b, c, d]) {
        let [tag] = read(reader)?;
        hash.update(&[tag]);
        length += 1 + match tag {
            ITEM => read_item(reader, &mut hash)?,
            CLEAR => hash_bytes(reader, 8, &mut hash)?,
            _ => return Ok(None),
        };
    }
    let [tag, checksum @ .., m0, m1, m2, m3] = read::<13>(reader)?;
    let whole =
        tag == END && u64::from_le_bytes(checksum) == hash.digest() && [m0, m1, m2, m3] == BATCH_MAGIC;
    Ok(whole.then_some(length + 13))
}

/// One item after its tag: kind, compression, keyspace, lengths, key, value.
fn read_item(reader: &mut impl Read, hash: &mut Xxh3Default) -> io::Result<u64> {
    let header = read::<20>(reader)?;
    hash.update(&header);
    let [_, _, _, _, _, _, _, _, _, _, k0, k1, _, _, _, _, v0, v1, v2, v3] = header;
    let key_bytes = u64::from(u16::from_le_bytes([k0, k1]));
    let value_bytes = u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
    Ok(20 + hash_bytes(reader, key_bytes + value_bytes, hash)?)
}

fn hash_bytes(reader: &mut impl Read, length: u64, hash: &mut Xxh3Default) -> io::Result<u64> {
    let mut chunk = [0; 4096];
    let mut left = reader.take(length);
    loop {
        let count = left.read(&mut chunk)?;
        match chunk.get(..count) {
            Some([]) | None if left.limit() == 0 => return Ok(length),
            Some([]) | None => return Err(ErrorKind::UnexpectedEof.into()),
            Some(bytes) => hash.update(bytes),
        }
    }
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
