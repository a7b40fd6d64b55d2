//! The command line.

use std::ops::Range;

use clap::Parser;
use henge_sim::mutations::Mutation;
use henge_sim::scenario::Scenario;

/// Runs whole clusters on virtual time, one for each seed, and judges what clients are told.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// The seeds to hunt through: FIRST..LAST, both included.
    #[arg(long, value_name = "FIRST..LAST", default_value = "1..1000", value_parser = seeds)]
    pub(crate) seeds: Range<u64>,
    /// Stop after so many minutes.
    #[arg(long)]
    pub(crate) minutes: Option<u64>,
    /// Threads to hunt with. Default: all cores.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print each seed with its trace hash.
    #[arg(long)]
    pub(crate) hashes: bool,
    /// Go on after a failure, and count.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Replay this one seed, with a timeline of what failed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Replay with only these of the seed's faults (numbers, or "none").
    #[arg(long, value_name = "LIST")]
    pub(crate) faults: Option<String>,
    /// Replay with so many clients.
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// Replay for so many milliseconds of faults.
    #[arg(long)]
    pub(crate) millis: Option<u64>,
    /// Put a deliberate bug in, with the faults that provoke it.
    #[arg(long)]
    pub(crate) mutation: Option<Mutation>,
    /// Write down what happens to this key, or to "all".
    #[arg(long)]
    pub(crate) key: Option<String>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, last) = text.split_once("..").ok_or("use FIRST..LAST")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| e.to_string());
    Ok(number(first)?..number(last)?.saturating_add(1))
}

impl Options {
    /// The scenario of `seed`, with what was asked for left out.
    pub(crate) fn scenario(&self, seed: u64) -> Scenario {
        let mut scenario =
            self.mutation.map_or_else(|| Scenario::from_seed(seed), |mutation| mutation.scenario(seed));
        if let Some(list) = &self.faults {
            let kept: Vec<usize> = list.split(',').filter_map(|n| n.trim().parse().ok()).collect();
            scenario = scenario.keeping(&kept);
        }
        if let Some(clients) = self.clients {
            scenario.workload.clients = clients;
        }
        if let Some(millis) = self.millis {
            scenario.duration = std::time::Duration::from_millis(millis);
        }
        scenario
    }
}
