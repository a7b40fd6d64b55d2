//! Makes a failing scenario smaller while it still fails in the same way.

use std::time::Duration;

use crate::scenario::Scenario;
use crate::simulation::Report;

/// Runs spent on one failure.
const RUNS_MAX: usize = 300;

/// What is left.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smaller scenario.
    pub scenario: Scenario,
    /// Which of the faults of the original it keeps.
    pub kept: Vec<usize>,
    /// How many runs it took.
    pub runs: usize,
}

/// The smallest scenario found that breaks the same promise as `failing`.
#[must_use]
pub fn shrink(failing: &Scenario) -> Shrunk {
    let mut kept: Vec<usize> = (0..failing.faults.len()).collect();
    let report = failing.run();
    let mut scenario = failing.clone();
    let mut runs = 1;
    let mut try_one = |candidate: &Scenario| {
        runs += 1;
        runs <= RUNS_MAX && same(&candidate.run(), &report)
    };
    if report.time < scenario.duration {
        let shorter = Scenario { duration: report.time + Duration::from_millis(1), ..scenario.clone() };
        if try_one(&shorter) {
            scenario = shorter;
        }
    }
    // Halves of the faults first, then quarters, then single ones.
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + chunk).min(fewer.len()));
            let candidate = Scenario { faults: failing.keeping(&fewer).faults, ..scenario.clone() };
            if try_one(&candidate) {
                (kept, scenario) = (fewer, candidate);
            } else {
                at += chunk;
            }
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(2);
    }
    while scenario.workload.clients > 1 {
        let mut candidate = scenario.clone();
        candidate.workload.clients -= 1;
        if !try_one(&candidate) {
            break;
        }
        scenario = candidate;
    }
    Shrunk { scenario, kept, runs }
}

fn same(report: &Report, like: &Report) -> bool {
    let kind = |r: &Report| r.violation.as_ref().map(|v| v.kind);
    kind(report).is_some() && kind(report) == kind(like)
}
