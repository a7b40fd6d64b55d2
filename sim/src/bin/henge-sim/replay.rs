//! One seed again, with everything that helps to understand it.

use std::process::ExitCode;

use henge_sim::scenario::Scenario;
use henge_sim::shrink::{self, Shrunk};

use crate::options::Options;

/// Runs one seed as the options say, and prints its timeline.
pub(crate) fn replay(options: &Options, seed: u64) -> ExitCode {
    let scenario = options.scenario(seed);
    let report = scenario.run();
    println!("seed {seed}: {:016x}, {} events", report.hash, report.events);
    if report.violation.is_none() && options.key.is_none() {
        println!("nothing broken");
        return ExitCode::SUCCESS;
    }
    timeline(options, &scenario)
}

/// Makes the failure of `seed` as small as it gets, and prints how to see it again.
pub(crate) fn explain(options: &Options, seed: u64) -> ExitCode {
    let Shrunk { scenario, kept, runs } = shrink::shrink(&options.scenario(seed));
    println!("shrunk in {runs} runs to {} faults, {} clients", kept.len(), scenario.workload.clients);
    let code = timeline(options, &scenario);
    let list: Vec<String> = kept.iter().map(usize::to_string).collect();
    let faults = if list.is_empty() { "none".to_owned() } else { list.join(",") };
    let mutation = options.mutation.map_or_else(String::new, |m| format!(" --mutation {m}"));
    println!(
        "\nreplay: cargo run --release -p henge-sim -- --seed {seed} --faults {faults} --clients {} --millis {}{mutation}",
        scenario.workload.clients,
        scenario.duration.as_millis()
    );
    println!("whole:  cargo run --release -p henge-sim -- --seed {seed}{mutation}");
    code
}

fn timeline(options: &Options, scenario: &Scenario) -> ExitCode {
    let violation = scenario.run().violation;
    let key = match &options.key {
        Some(all) if all == "all" => None,
        Some(key) => Some(key.clone()),
        None => violation.as_ref().and_then(|v| v.key.as_ref()).map(ToString::to_string),
    };
    let report = scenario.run_watched(key);
    for planned in &scenario.faults {
        println!("fault {planned:?}");
    }
    for line in &report.lines {
        println!("{line}");
    }
    match violation {
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
