//! Gives the space of removed records back. Merges do that by themselves as far as new writes cause them; where
//! much was removed and little is written, nothing would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::fjall::Keyspace;

use super::files::Directory;
use crate::store::space;

/// Fewer removed records are left to the merges.
const REMOVED_MIN: u64 = 1024;
/// All tables are merged once the removed records are this part of all that the tables hold, what was overwritten
/// included: so each record is moved a few times at most for each that goes.
const REMOVED_PART: u64 = 8;
/// How often it is looked whether a memtable is on the disk, and how often at most: a minute.
const FLUSH_LOOKS: (Duration, u32) = (Duration::from_millis(20), 3000);

/// Counts what is removed, and merges all tables when that is worth it.
#[derive(Debug, Default)]
pub(super) struct Reclaim(Arc<State>);

#[derive(Debug, Default)]
struct State {
    removed: AtomicU64,
    running: AtomicBool,
}

impl State {
    fn is_worth_it(&self, records: &Keyspace) -> bool {
        let removed = self.removed.load(Ordering::Acquire);
        removed >= REMOVED_MIN && removed >= records.approximate_len() as u64 / REMOVED_PART
    }

    fn merge(&self, records: &Keyspace, directory: &Directory) {
        while self.is_worth_it(records) {
            self.removed.store(0, Ordering::Release);
            // What is merged is there twice until the merge is over.
            if space::free_bytes(directory.path()) < records.disk_space().saturating_mul(2) {
                return;
            }
            if let Err(error) = merge(records) {
                return tracing::warn!(%error, "the space of removed records is not given back yet");
            }
        }
    }
}

impl Reclaim {
    /// So many of `records` were removed. The directory is held until a merge that this begins is over: nobody waits
    /// for it, and a crash in the middle costs only the work.
    pub(super) fn on_removed(&self, removed: u64, records: &Keyspace, directory: &Arc<Directory>) {
        self.0.removed.fetch_add(removed, Ordering::AcqRel);
        if !self.0.is_worth_it(records) || self.0.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (state, records, directory) = (Arc::clone(&self.0), records.clone(), Arc::clone(directory));
        let merge = move || {
            state.merge(&records, &directory);
            // The tables go before the lock on them.
            drop(records);
            state.running.store(false, Ordering::Release);
            drop(directory);
        };
        if let Err(error) = std::thread::Builder::new().name("henge-reclaim".to_owned()).spawn(merge) {
            tracing::warn!(%error, "no thread to give the space of removed records back");
            self.0.running.store(false, Ordering::Release);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the crate has no way to wait for its flush threads")]
fn merge(records: &Keyspace) -> Result<(), ::fjall::Error> {
    records.rotate_memtable()?;
    let (pause, looks) = FLUSH_LOOKS;
    for _ in 0..looks {
        if records.sealed_memtable_count() == 0 {
            return records.major_compact();
        }
        std::thread::sleep(pause);
    }
    Ok(())
}
