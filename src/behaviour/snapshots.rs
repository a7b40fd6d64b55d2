//! Snapshots are taken on a thread of their own, one at a time.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use henge_client::{Failure, Response, Snapshot, SnapshotState};

use crate::snapshot::{self, Order, Progress};
use crate::store::Store;

/// The one that is being taken, or else the last.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    job: Option<Job>,
}

#[derive(Debug)]
struct Job {
    told: Arc<Mutex<Snapshot>>,
    /// Dropped to stop it.
    going: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// How far it is, after beginning what `begin` says.
    pub(super) fn answer(&mut self, begin: Option<Order>, store: &dyn Store) -> Response {
        let running = self.told().filter(|told| told.state == SnapshotState::Running);
        if let Some(order) = begin {
            match running {
                Some(running) if order.directory.as_os_str() == running.directory.as_str() => {}
                Some(running) => {
                    let reason = format!("a snapshot into {} is being taken", running.directory);
                    return Response::Failed(Failure::BadRequest { reason });
                }
                None => {
                    self.job = None;
                    match Job::start(order, store) {
                        Ok(job) => self.job = Some(job),
                        Err(error) => {
                            return Response::Failed(Failure::Store { reason: error.to_string() });
                        }
                    }
                }
            }
        }
        Response::Snapshot(self.told())
    }

    fn told(&self) -> Option<Snapshot> {
        self.job.as_ref().map(|job| lock(&job.told).clone())
    }
}

impl Job {
    fn start(order: Order, store: &dyn Store) -> std::io::Result<Self> {
        let told = Arc::new(Mutex::new(Snapshot {
            directory: order.directory.display().to_string(),
            taken_at: order.of.now_unix_ms,
            records: 0,
            records_expected: store.records(),
            bytes: 0,
            damaged: 0,
            state: SnapshotState::Running,
        }));
        // What is written from now on does not show in it.
        let records = store.snapshot();
        let (going, stopped) = sync_channel(0);
        let telling = Arc::clone(&told);
        let run = move || {
            let pace = Pace::new(order.bytes_per_second, stopped);
            let mut tell = |progress: Progress| {
                tell(&telling, progress);
                pace.wait(progress.bytes)
            };
            let write = || snapshot::write(&order.directory, records, &order.of, &mut tell);
            let state = match catch_unwind(AssertUnwindSafe(write)) {
                Ok(Ok(about)) => {
                    let snapshot::About { records, damaged, bytes, .. } = about;
                    self::tell(&telling, Progress { records, damaged, bytes });
                    SnapshotState::Done
                }
                Ok(Err(error)) => SnapshotState::Failed { reason: error.to_string() },
                Err(_) => SnapshotState::Failed { reason: "its thread panicked".to_owned() },
            };
            lock(&telling).state = state;
        };
        let thread = thread::Builder::new().name("henge-snapshot".to_owned()).spawn(run)?;
        Ok(Self { told, going: Some(going), thread: Some(thread) })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.going = None;
        // It holds files of the store open.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Holds a thread to so many bytes per second, and ends it when nobody needs it any more.
struct Pace {
    bytes_per_second: u64,
    since: Instant,
    stopped: Receiver<()>,
}

impl Pace {
    #[expect(clippy::disallowed_methods, reason = "a thread of the shell around the core")]
    fn new(bytes_per_second: u64, stopped: Receiver<()>) -> Self {
        Self { bytes_per_second, since: Instant::now(), stopped }
    }

    fn wait(&self, bytes: u64) -> ControlFlow<()> {
        let due = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.max(1) as f64);
        let early = due.saturating_sub(self.since.elapsed());
        match self.stopped.recv_timeout(early) {
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
        }
    }
}

fn tell(told: &Mutex<Snapshot>, progress: Progress) {
    let mut told = lock(told);
    (told.records, told.damaged, told.bytes) = (progress.records, progress.damaged, progress.bytes);
}

fn lock(told: &Mutex<Snapshot>) -> MutexGuard<'_, Snapshot> {
    // Nothing in there can panic halfway through a change.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
