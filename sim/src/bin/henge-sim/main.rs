//! Hunts for seeds that break a promise, and replays them.

use std::process::ExitCode;

mod hunt;
mod options;
mod replay;

use clap::Parser;
use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) => replay::replay(&options, seed),
        None => hunt::hunt(&options),
    }
}
