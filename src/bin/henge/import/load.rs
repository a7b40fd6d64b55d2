//! Many puts in flight, each tried again a few times.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use henge::error::RequestError;
use henge::handle::Handle;
use henge_client::Failure;
use henge_types::Key;
use indicatif::ProgressBar;
use tokio::time::sleep;

use super::source::{Bad, Entries, Entry};
use crate::output;

/// How often one put is tried at most.
pub(crate) const TRIES_MAX: u32 = 6;

/// The pause before the second try; each further one is twice as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How the puts are done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) in_flight: usize,
    pub(crate) timeout: Duration,
}

/// What became of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) imported: u64,
    pub(crate) failed: u64,
}

/// Puts all entries. Two of one key are put one after the other, so that the later one wins.
pub(crate) async fn put_all(handle: &Handle, mut entries: Entries, plan: Plan, bar: &ProgressBar) -> Tally {
    let mut tally = Tally::default();
    let mut keys = HashSet::new();
    let mut running = FuturesUnordered::new();
    let mut held: Option<Entry> = None;
    let mut ended = false;
    loop {
        if let Some(entry) =
            held.take_if(|entry| running.len() < plan.in_flight && !keys.contains(&entry.key))
        {
            keys.insert(entry.key.clone());
            running.push(put(handle, entry, plan.timeout));
        }
        if ended && held.is_none() && running.is_empty() {
            return tally;
        }
        tokio::select! {
            entry = entries.recv(), if !ended && held.is_none() => match entry {
                Some(Ok(entry)) => held = Some(entry),
                Some(Err(bad)) => tally.fail(&bad, bar),
                None => ended = true,
            },
            Some((key, result)) = running.next() => {
                match result {
                    Ok(()) => tally.imported += 1,
                    Err(error) => {
                        let bad = Bad { name: output::shown(key.as_bytes()), reason: error.to_string() };
                        tally.fail(&bad, bar);
                    }
                }
                keys.remove(&key);
                bar.set_message(tally.shown());
            }
        }
    }
}

impl Tally {
    fn fail(&mut self, bad: &Bad, bar: &ProgressBar) {
        self.failed += 1;
        bar.suspend(|| output::complain(&format!("failed {}: {}", bad.name, bad.reason)));
    }

    fn shown(self) -> String {
        let keys = output::counted(self.imported, "key", "keys");
        if self.failed > 0 { format!("{keys}, {} failed", self.failed) } else { keys }
    }
}

async fn put(handle: &Handle, entry: Entry, timeout: Duration) -> (Key, Result<(), RequestError>) {
    let bytes = Bytes::from(entry.key.clone());
    let first = handle.put(bytes.clone(), entry.value.clone()).timeout(timeout);
    let operation = first.operation();
    let mut result = first.await;
    for tries in 1..TRIES_MAX {
        if !result.as_ref().is_err_and(is_passing) {
            break;
        }
        sleep(PAUSE * 2u32.pow(tries - 1)).await;
        let again = handle.put(bytes.clone(), entry.value.clone()).timeout(timeout);
        result = again.retry_of(operation).await;
    }
    (entry.key, result.map(|_| ()))
}

/// Whether the same put may be done a little later.
pub(crate) fn is_passing(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Unreachable { .. }
            | RequestError::Unknown { .. }
            | RequestError::Failed(
                Failure::Unavailable { .. }
                    | Failure::Unknown { .. }
                    | Failure::NotReady
                    | Failure::Overloaded
            )
    )
}
