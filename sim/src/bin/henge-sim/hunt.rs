//! Through many seeds, on all cores, to the first failure.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use henge_sim::simulation::Report;

use crate::options::Options;
use crate::replay;

#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    failed: Vec<u64>,
    events: u64,
    time: Duration,
    work: Duration,
    writes: u64,
    acked: u64,
    reads: u64,
    reads_failed: u64,
}

impl Totals {
    fn add(&mut self, report: &Report, took: Duration) {
        self.seeds += 1;
        self.events += report.events;
        self.time += report.time;
        self.work += took;
        self.writes += report.writes;
        self.acked += report.acked;
        self.reads += report.reads;
        self.reads_failed += report.reads_failed;
        if report.violation.is_some() {
            self.failed.push(report.seed);
        }
    }

    fn line(&self, since: Instant) -> String {
        let work = self.work.as_secs_f64().max(0.001);
        format!(
            "{} seeds in {:.0} s, {} failed; {} events, {:.1} h simulated ({:.2} h per second of a core); \
             {} writes, {} acknowledged, {} gets answered, {} failed",
            self.seeds,
            elapsed(since).as_secs_f64(),
            self.failed.len(),
            self.events,
            self.time.as_secs_f64() / 3600.0,
            self.time.as_secs_f64() / 3600.0 / work,
            self.writes,
            self.acked,
            self.reads,
            self.reads_failed
        )
    }
}

/// Runs all seeds; replays the first one that failed.
pub(crate) fn hunt(options: &Options) -> ExitCode {
    let begun = now();
    let next = AtomicU64::new(options.seeds.start);
    let stop = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..options.threads.unwrap_or(cores) {
            scope.spawn(|| work(options, begun, &next, &stop, &totals));
        }
    });
    let mut totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{}", totals.line(begun));
    totals.failed.sort_unstable();
    match totals.failed.first() {
        None => ExitCode::SUCCESS,
        Some(seed) => {
            if options.keep_going {
                println!("failed: {:?}", totals.failed);
            }
            replay::explain(options, *seed)
        }
    }
}

fn work(options: &Options, begun: Instant, next: &AtomicU64, stop: &AtomicBool, totals: &Mutex<Totals>) {
    let enough = |at: Instant| options.minutes.is_some_and(|m| elapsed(at) > Duration::from_secs(60 * m));
    while !stop.load(Ordering::Relaxed) && !enough(begun) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= options.seeds.end {
            return;
        }
        let at = now();
        let report = options.scenario(seed).run();
        let took = elapsed(at);
        if options.hashes {
            println!(
                "{seed} {:016x} {} events in {:.0} ms",
                report.hash,
                report.events,
                took.as_secs_f64() * 1e3
            );
        }
        if let Some(violation) = &report.violation {
            println!("seed {seed}: {violation}");
            stop.fetch_or(!options.keep_going, Ordering::Relaxed);
        }
        let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.add(&report, took);
        if totals.seeds.is_multiple_of(500) {
            println!("{}", totals.line(begun));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the hunt takes, in real time")]
fn now() -> Instant {
    Instant::now()
}

fn elapsed(since: Instant) -> Duration {
    now().saturating_duration_since(since)
}
