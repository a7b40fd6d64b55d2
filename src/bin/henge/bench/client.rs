//! One client of the benchmark: asks, waits, records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use henge::client::Client;
use henge::error::RequestError;
use henge::handle::Handle;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::report::Summary;
use crate::exit::CliError;

/// How many values there are: windows into one pool of random bytes.
pub(super) const WINDOWS: usize = 4096;

/// Slower than this counts as this: no request may take longer.
const SLOWEST_MICROS: u64 = 120_000_000;

/// Numbers the new keys of blind puts, over all clients.
static NEW_KEYS: AtomicU64 = AtomicU64::new(0);

/// What the clients ask for.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) pool: Bytes,
    pub(super) value_bytes: usize,
    pub(super) keys: u64,
    pub(super) puts: u8,
    /// For blind puts: what tells the new keys of this run from those of others.
    pub(super) blind: Option<u64>,
}

/// What counts: a request that began within.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) begin: Instant,
    pub(super) end: Instant,
}

impl Load {
    fn value(&self, rng: &mut impl RngExt) -> Bytes {
        let from = rng.random_range(0..WINDOWS);
        self.pool.slice(from..from + self.value_bytes)
    }

    async fn put(&self, handle: &Handle, rng: &mut SmallRng) -> Result<(), RequestError> {
        let value = self.value(rng);
        match self.blind {
            Some(run) => {
                let number = NEW_KEYS.fetch_add(1, Ordering::Relaxed);
                handle.put(format!("henge-bench/{run:016x}/{number}"), value).blind().await?;
            }
            None => {
                handle.put(key(rng.random_range(0..self.keys)), value).await?;
            }
        }
        Ok(())
    }
}

fn key(number: u64) -> String {
    format!("henge-bench/{number}")
}

/// Puts every key once.
pub(super) async fn fill(connections: &[Client], load: &Load, clients: usize) -> Result<(), CliError> {
    let mut rng = SmallRng::seed_from_u64(0);
    let puts = (0..load.keys).zip(connections.iter().cycle()).map(|(number, connection)| {
        let put = connection.handle().put(key(number), load.value(&mut rng));
        async move { put.await.map(|_| ()) }
    });
    stream::iter(puts).buffer_unordered(clients).try_for_each(|()| std::future::ready(Ok(()))).await?;
    Ok(())
}

/// Asks until the phase is over.
pub(super) async fn run(handle: Handle, load: Load, phase: Phase, recorder: Arc<Mutex<Recorder>>) {
    let mut rng = SmallRng::seed_from_u64(rand::random());
    loop {
        let started = Instant::now();
        if started >= phase.end {
            return;
        }
        let is_put = rng.random_range(0..100) < load.puts;
        let result = if is_put {
            load.put(&handle, &mut rng).await
        } else {
            handle.get(key(rng.random_range(0..load.keys))).await.map(|_| ())
        };
        if started >= phase.begin {
            let took = started.elapsed();
            recorder.lock().unwrap_or_else(PoisonError::into_inner).record(is_put, took, result);
        }
    }
}

/// What the clients saw, all together: a histogram for each would fill the memory.
#[derive(Debug)]
pub(super) struct Recorder {
    puts: Histogram<u64>,
    gets: Histogram<u64>,
    put_errors: u64,
    get_errors: u64,
    first_error: Option<String>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { puts: histogram(), gets: histogram(), put_errors: 0, get_errors: 0, first_error: None }
    }

    fn record(&mut self, is_put: bool, took: Duration, result: Result<(), RequestError>) {
        let (histogram, errors) = if is_put {
            (&mut self.puts, &mut self.put_errors)
        } else {
            (&mut self.gets, &mut self.get_errors)
        };
        match result {
            Ok(()) => histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(error) => {
                *errors += 1;
                self.failed(&error.to_string());
            }
        }
    }

    pub(super) fn failed(&mut self, error: &str) {
        self.first_error.get_or_insert_with(|| error.to_owned());
    }

    pub(super) fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.gets.is_empty()
    }

    /// The puts and the gets.
    pub(super) fn summaries(&self, over: Duration) -> (Summary, Summary) {
        let puts = Summary::new(&self.puts, self.put_errors, over);
        (puts, Summary::new(&self.gets, self.get_errors, over))
    }
}

/// One part in a thousand is precise enough: runs differ by more.
#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, SLOWEST_MICROS, 3).expect("valid bounds")
}
