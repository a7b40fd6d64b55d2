//! The store on disk, 1 KiB values: `cargo bench --bench store`. Takes about a minute.
//!
//! `HENGE_BENCH_SECONDS` sets the time of each line (1 by default), `HENGE_BENCH_KEYS` how many
//! keys are there before anything is read (200,000), `HENGE_BENCH_BYTES` the size of a value.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "a benchmark")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::poll_fn;
use henge::store::fjall::Fjall;
use henge::store::worker::{Done, Durability, Worker};
use henge::store::{ReadOp, Store, StoreOp, StoreResult, Ticket, WriteOp};
use henge_types::{ActorId, Clock, Content, Dot, Key, OperationId, Record, Write};

/// Set for the child that only opens a directory.
const OPEN: &str = "HENGE_BENCH_OPEN";
const ACTOR: ActorId = ActorId([1; 16]);

fn main() {
    if let Ok(directory) = std::env::var(OPEN) {
        let store = Fjall::open(directory).unwrap();
        return println!("resident when opened with {} keys: {} MiB", store.records(), resident_mib());
    }
    // `cargo test --benches` only wants to see that it runs.
    let full = std::env::args().any(|argument| argument == "--bench");
    let seconds = setting("HENGE_BENCH_SECONDS", if full { 1.0 } else { 0.01 });
    let keys = setting("HENGE_BENCH_KEYS", if full { 200_000.0 } else { 1_000.0 }) as u64;
    let mut bench = Bench {
        counter: 0,
        last: HashMap::new(),
        time: Duration::from_secs_f64(seconds),
        value: noise(setting("HENGE_BENCH_BYTES", 1024.0) as usize),
    };
    println!("{:44} {:>10} {:>9} {:>9} {:>9}", "", "ops/s", "p50 µs", "p99 µs", "max ms");
    bench.puts();
    bench.reads_and_updates(keys);
    bench.worker();
}

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

struct Bench {
    counter: u64,
    /// The counter of the last write of each old key.
    last: HashMap<u64, u64>,
    time: Duration,
    value: Bytes,
}

impl Bench {
    fn puts(&mut self) {
        for sync in [false, true] {
            for batch in [1, 32, 256] {
                let (_directory, store) = fresh();
                let name = format!("put, new keys, {}, batch {batch}", if sync { "fsync" } else { "os" });
                self.measure(&name, batch, |bench| {
                    let ops = (0..batch).map(|_| bench.update(None)).collect();
                    assert!(store.write(ops).iter().all(|r| matches!(r, StoreResult::Updated { .. })));
                    if sync {
                        store.sync().unwrap();
                    }
                });
            }
        }
        let (_directory, store) = fresh();
        self.measure("merge, new keys, os, batch 32", 32, |bench| {
            let ops = (0..32).map(|_| bench.merge()).collect();
            assert!(store.write(ops).iter().all(|r| matches!(r, StoreResult::Merged { changed: true, .. })));
        });
    }

    fn reads_and_updates(&mut self, keys: u64) {
        self.last.clear();
        let (directory, store) = fresh();
        for first in (0..keys).step_by(256) {
            store.write((first..(first + 256).min(keys)).map(|n| self.update(Some(n))).collect());
        }
        store.flush().unwrap();
        for round in ["first", "second"] {
            self.measure(&format!("get, present, {round}"), 1, |bench| {
                bench.counter += 1;
                let result = store.read(&ReadOp::Get { key: key(scatter(bench.counter) % keys) });
                assert!(matches!(result, StoreResult::Record(record) if !record.is_empty()));
            });
        }
        self.measure("get, absent", 1, |bench| {
            bench.counter += 1;
            let result = store.read(&ReadOp::Get { key: key(keys + bench.counter) });
            assert!(matches!(result, StoreResult::Record(record) if record.is_empty()));
        });
        for batch in [1, 32] {
            self.measure(&format!("read-modify-write, os, batch {batch}"), batch, |bench| {
                let ops = (0..batch).map(|_| bench.update(Some(scatter(bench.counter) % keys))).collect();
                assert!(store.write(ops).iter().all(|r| matches!(r, StoreResult::Updated { .. })));
            });
        }
        self.measure("merge of what is known, batch 32", 32, |bench| {
            let known = |n: u64| {
                let key = key(scatter(n) % keys);
                let result = store.read(&ReadOp::Get { key: key.clone() });
                let StoreResult::Record(record) = result else { panic!("{result:?}") };
                WriteOp::Merge { key, record, own: None }
            };
            bench.counter += 32;
            let results = store.write((0..32).map(|n| known(bench.counter + n)).collect());
            assert!(results.iter().all(|r| matches!(r, StoreResult::Merged { changed: false, .. })));
        });
        println!("resident with {keys} keys: {} MiB", resident_mib());
        drop(store);
        let binary = std::env::current_exe().unwrap();
        std::process::Command::new(binary).env(OPEN, directory.path()).status().unwrap();
    }

    fn worker(&mut self) {
        for durability in [Durability::Os, Durability::Interval, Durability::Fsync] {
            for in_flight in [1, 16, 64, 256] {
                let (_directory, store) = fresh();
                let mut worker = Worker::spawn(store, durability).unwrap();
                let name = format!("worker, put, {durability:?}, {in_flight} in flight");
                self.drive(&name, &mut worker, in_flight, |bench| StoreOp::Write(bench.update(None)));
            }
        }
        let (_directory, store) = fresh();
        let keys = 50_000;
        self.last.clear();
        for first in (0..keys).step_by(250) {
            store.write((first..first + 250).map(|n| self.update(Some(n))).collect());
        }
        store.flush().unwrap();
        let mut worker = Worker::spawn(store, Durability::Fsync).unwrap();
        for in_flight in [1, 16, 64] {
            self.drive(&format!("worker, get, {in_flight} in flight"), &mut worker, in_flight, |bench| {
                bench.counter += 1;
                StoreOp::Read(ReadOp::Get { key: key(scatter(bench.counter) % keys) })
            });
        }
        self.drive("worker, half gets half puts, 64 in flight", &mut worker, 64, |bench| {
            if bench.counter.is_multiple_of(2) {
                return StoreOp::Write(bench.update(None));
            }
            bench.counter += 1;
            StoreOp::Read(ReadOp::Get { key: key(scatter(bench.counter) % keys) })
        });
    }

    /// Keeps `in_flight` operations under way until the time is over.
    fn drive(
        &mut self,
        name: &str,
        worker: &mut Worker,
        in_flight: usize,
        op: impl Fn(&mut Self) -> StoreOp,
    ) {
        let (start, mut waiting, mut next) = (Instant::now(), BTreeMap::new(), 0);
        let mut times = Vec::new();
        while start.elapsed() < self.time || !waiting.is_empty() {
            while start.elapsed() < self.time && waiting.len() < in_flight {
                worker.try_submit(Ticket(next), op(self)).unwrap();
                waiting.insert(Ticket(next), Instant::now());
                next += 1;
            }
            for done in block_on(poll_fn(|cx| worker.poll(cx))) {
                match done {
                    Done::Stored { durable: false, .. } => {}
                    Done::Stored { ticket, .. } => {
                        times.extend(waiting.remove(&ticket).map(|at| at.elapsed()))
                    }
                    Done::Durable { through } => {
                        let later = waiting.split_off(&Ticket(through.0 + 1));
                        times.extend(std::mem::replace(&mut waiting, later).values().map(Instant::elapsed));
                    }
                    Done::Poisoned(error) => panic!("{error}"),
                }
            }
        }
        print(name, times.len(), start.elapsed(), &mut times);
    }

    fn measure(&mut self, name: &str, each: u64, mut run: impl FnMut(&mut Self)) {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < self.time {
            let begin = Instant::now();
            run(self);
            times.push(begin.elapsed());
        }
        print(name, times.len() * each as usize, start.elapsed(), &mut times);
    }

    /// Writes a new key, or supersedes what is under an old one.
    fn update(&mut self, at: Option<u64>) -> WriteOp {
        self.counter += 1;
        let number = at.unwrap_or_else(|| 1 << 40 | scatter(self.counter));
        let seen = if at.is_some() { self.last.insert(number, self.counter) } else { None };
        let supersede = seen.map(|counter| Dot { actor: ACTOR, counter }).into_iter().collect();
        WriteOp::Update { key: key(number), write: self.write(supersede) }
    }

    fn merge(&mut self) -> WriteOp {
        self.counter += 1;
        let mut record = Record::new();
        record.apply(&self.write(Clock::new())).unwrap();
        WriteOp::Merge { key: key(1 << 40 | scatter(self.counter)), record, own: None }
    }

    fn write(&self, supersede: Clock) -> Write {
        let mut operation = [0; 16];
        operation[..8].copy_from_slice(&self.counter.to_be_bytes());
        Write {
            dot: Dot { actor: ACTOR, counter: self.counter },
            supersede,
            content: Content::Value(self.value.clone()),
            written_at: 1_700_000_000_000 + self.counter,
            expires_at: None,
            operation: OperationId(operation),
        }
    }
}

fn fresh() -> (tempfile::TempDir, Arc<Fjall>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Fjall::open(directory.path()).unwrap());
    (directory, store)
}

fn key(number: u64) -> Key {
    Key::new(format!("key/{number:016x}").into_bytes()).unwrap()
}

/// A permutation of the numbers, the same every time.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)) >> 24
}

/// Bytes that compress to about a half.
fn noise(bytes: usize) -> Bytes {
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        if n % 32 < 16 { (state >> 33) as u8 } else { b'x' }
    };
    (0..bytes).map(&mut next).collect()
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn print(name: &str, ops: usize, time: Duration, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let rate = ops as f64 / time.as_secs_f64();
    println!("{name:44} {rate:>10.0} {:>9.0} {:>9.0} {:>9.1}", at(0.5), at(0.99), at(1.0) / 1e3);
}
