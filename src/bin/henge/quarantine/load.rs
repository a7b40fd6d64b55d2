//! Values put into a ring, many keys at a time.

use std::collections::HashSet;
use std::future::IntoFuture;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use henge::error::RequestError;
use henge::handle::Handle;
use henge_types::{Key, Record, Sibling};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::settle::{There, Verdict, settle};
use super::source::{Found, Source};
use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::import::load::{PAUSE, TRIES_MAX, is_passing};
use crate::output;

/// Keys that may wait to be looked at: with those in flight, all that is held in memory.
const WAITING_MAX: usize = 16;

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) all: bool,
    pub(crate) in_flight: usize,
    pub(crate) timeout: Duration,
    pub(crate) now_unix_ms: u64,
}

/// What became of the keys.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    imported: u64,
    present: u64,
    deleted: u64,
    failed: u64,
    damaged: u64,
}

/// What is read, and what the reader said in the end.
type Entries = (mpsc::Receiver<Option<(Key, Record)>>, oneshot::Receiver<Result<(), CliError>>);

pub(crate) async fn run(source: Source, peer: &PeerArgs, plan: Plan, json: bool) -> Result<Exit, CliError> {
    let client = peer.connect().await?;
    let bar = ProgressBar::new(source.records()).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} keys, {msg}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (entries, read) = read_on_a_thread(source)?;
    let tally = import(client.handle(), entries, plan, &bar).await;
    client.close().await;
    bar.finish_and_clear();
    tally.say(json)?;
    let ended = "the thread that reads ended by itself".to_owned();
    read.await.map_err(|_| CliError::Failed(ended))??;
    Ok(if tally.failed + tally.damaged > 0 { Exit::Failed } else { Exit::Done })
}

/// Reads on a thread of its own, which the disk may hold up.
fn read_on_a_thread(source: Source) -> Result<Entries, CliError> {
    let (sender, entries) = mpsc::channel(WAITING_MAX);
    let (end, read) = oneshot::channel();
    let run = move || {
        let told = source.tell(&mut |found| {
            let entry = match found {
                Found::Whole(place, key, record) => {
                    let record = source.joined(place, &key, record);
                    Some((key, record))
                }
                Found::Damaged => None,
            };
            match sender.blocking_send(entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        let _ = end.send(told);
    };
    let started = std::thread::Builder::new().name("henge-quarantine".to_owned()).spawn(run);
    started.map_err(|error| CliError::io("cannot start a thread", error))?;
    Ok((entries, read))
}

async fn import(
    handle: &Handle,
    mut entries: mpsc::Receiver<Option<(Key, Record)>>,
    plan: Plan,
    bar: &ProgressBar,
) -> Tally {
    let mut tally = Tally::default();
    let mut running = FuturesUnordered::new();
    let mut keys = HashSet::new();
    let mut held: Option<(Key, Record)> = None;
    let mut ended = false;
    loop {
        // A key that has a hint comes twice: the record must see what became of the hint.
        if let Some((key, record)) =
            held.take_if(|(key, _)| running.len() < plan.in_flight && !keys.contains(key))
        {
            keys.insert(key.clone());
            running.push(import_one(handle, key, record, plan));
        }
        if ended && held.is_none() && running.is_empty() {
            return tally;
        }
        tokio::select! {
            entry = entries.recv(), if !ended && held.is_none() => match entry {
                Some(Some(entry)) => held = Some(entry),
                Some(None) => tally.damaged += 1,
                None => ended = true,
            },
            Some((key, result)) = running.next() => {
                tally.add(&key, result, bar);
                keys.remove(&key);
                bar.inc(1);
                bar.set_message(format!("{} imported", tally.imported));
            }
        }
    }
}

async fn import_one(
    handle: &Handle,
    key: Key,
    ours: Record,
    plan: Plan,
) -> (Key, Result<Verdict, RequestError>) {
    let result = look_and_put(handle, &key, &ours, plan).await;
    (key, result)
}

async fn look_and_put(
    handle: &Handle,
    key: &Key,
    ours: &Record,
    plan: Plan,
) -> Result<Verdict, RequestError> {
    let key = Bytes::from(key.clone());
    let got = trying(|| handle.get(key.clone()).strict().timeout(plan.timeout)).await?;
    // A token that cannot be read comes from a later henge: it says that there is something.
    let Some(clock) = got.context.unsealed_clock() else { return Ok(Verdict::Present) };
    let there = There { values: got.siblings.into_iter().map(|value| value.value).collect(), clock };
    let verdict = settle(ours, &there, plan.all, plan.now_unix_ms);
    if let Verdict::Put(siblings) = &verdict {
        for sibling in siblings {
            put(handle, &key, sibling, plan).await?;
        }
    }
    Ok(verdict)
}

/// The put that once made this sibling, tried again: where it is known still, nothing is done twice.
async fn put(handle: &Handle, key: &Bytes, sibling: &Sibling, plan: Plan) -> Result<(), RequestError> {
    let Some(value) = sibling.live(plan.now_unix_ms) else { return Ok(()) };
    let left = sibling.expires_at.map(|at| Duration::from_millis(at.saturating_sub(plan.now_unix_ms)));
    let put = || {
        let put = handle.put(key.clone(), value.clone()).blind().timeout(plan.timeout);
        let put = put.retry_of(sibling.operation);
        match left {
            Some(left) => put.ttl(left),
            None => put,
        }
    };
    trying(put).await.map(drop)
}

async fn trying<R, T>(request: impl Fn() -> R) -> Result<T, RequestError>
where
    R: IntoFuture<Output = Result<T, RequestError>>,
{
    let mut result = request().await;
    for tries in 1..TRIES_MAX {
        let lost = matches!(result, Err(RequestError::NoAnswer { .. }));
        if !lost && !result.as_ref().is_err_and(is_passing) {
            break;
        }
        sleep(PAUSE * 2u32.pow(tries - 1)).await;
        result = request().await;
    }
    result
}

impl Tally {
    fn add(&mut self, key: &Key, result: Result<Verdict, RequestError>, bar: &ProgressBar) {
        match result {
            Ok(Verdict::Put(_)) => self.imported += 1,
            Ok(Verdict::Present) => self.present += 1,
            Ok(Verdict::Deleted) => self.deleted += 1,
            Ok(Verdict::Nothing) => {}
            Err(error) => {
                self.failed += 1;
                let name = output::shown(key.as_bytes());
                bar.suspend(|| output::complain(&format!("failed {name}: {error}")));
            }
        }
    }

    fn say(self, json: bool) -> Result<(), CliError> {
        let Self { imported, present, deleted, failed, damaged } = self;
        if json {
            return output::json(&json!({
                "imported": imported, "present": present, "deleted": deleted, "failed": failed, "damaged": damaged,
            }));
        }
        let keys = output::counted(imported, "key", "keys");
        output::line(&format!(
            "imported {keys}; the ring has {present} others, and remembers that {deleted} were deleted; {failed} \
             failed, {damaged} cannot be read"
        ))
    }
}
