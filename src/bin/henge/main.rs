//! The command line of henge: one file per command.

mod args;
mod bench;
mod delete;
mod demo;
mod exit;
mod get;
mod import;
mod json;
mod leave;
mod locate;
mod output;
mod put;
mod quarantine;
mod remove;
mod repair;
mod restore;
mod run;
mod signals;
mod snapshot;
mod status;
mod table;
mod weight;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::exit::{CliError, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    match execute(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.report();
            error.exit().into()
        }
    }
}

fn execute(command: Command) -> Result<Exit, CliError> {
    // One thread: measured faster than several, for peers and for clients.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("cannot start the runtime", error))?;
    runtime.block_on(async {
        match command {
            Command::Run(args) => run::run(args).await,
            Command::Put(args) => put::run(args).await,
            Command::Get(args) => get::run(args).await,
            Command::Delete(args) => delete::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Locate(args) => locate::run(args).await,
            Command::Leave(args) => leave::run(args).await,
            Command::Remove(args) => remove::run(args).await,
            Command::Repair(args) => repair::run(args).await,
            Command::Weight(args) => weight::run(args).await,
            Command::Snapshot(args) => snapshot::run(args).await,
            Command::Quarantine(args) => quarantine::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Demo(args) => demo::run(args).await,
        }
    })
}

fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "warn,henge=info",
        2 => "info,henge=debug",
        _ => "debug,henge=trace",
    };
    // `RUST_LOG` says more precisely what is wanted.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::is_fancy(&std::io::stderr()))
        .init();
}
