//! `henge import`

mod lines;
pub(crate) mod load;
mod ndjson;
mod source;
mod tree;
mod tsv;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

use crate::args::{PeerArgs, TimeoutArgs};
use crate::exit::{CliError, Exit};
use crate::output;

/// Put many keys
///
/// Reads a file, a directory or stdin without holding it in memory, and has many puts in flight. Each
/// put supersedes what is there, as `henge put` does. A key that fails is tried again a few times; one that
/// fails for good is named on stderr, the others go on, and the exit code is 6.
#[derive(Debug, Args)]
#[command(after_help = "\
Formats:
  ndjson  one JSON object per line: {\"key\": \"greeting\", \"value\": \"hello\"}
          A string is stored as its text, {\"base64\": \"…\"} as the bytes it stands for (also as the key),
          any other JSON value but null as its JSON text.
  tsv     key, tab, value on each line, with no escapes: the value is the rest of the line
  A directory: each file's path, relative and with slashes, is a key, and its content the value.
  Symbolic links are not followed.

With --json it prints one object: {\"imported\": N, \"failed\": N, \"seconds\": S}

Examples:
  henge import data.ndjson
  henge import ./public --prefix site/
  zcat dump.tsv.gz | henge import - --format tsv")]
pub(crate) struct ImportArgs {
    /// What to import; "-" is stdin
    #[arg(value_name = "FILE|DIR|-")]
    from: PathBuf,
    /// How the lines are written [default: by the file's name, else by the first character]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Put this before each key
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// How many puts are in flight at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

/// How the lines of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Ndjson,
    Tsv,
}

pub(crate) async fn run(args: ImportArgs) -> Result<Exit, CliError> {
    let source = source::Source::open(&args.from, args.format)?;
    let client = args.peer.connect().await?;
    let bar = progress_bar(source.total_bytes());
    let started = Instant::now();
    let entries = source.read_on_a_thread(args.prefix, bar.clone())?;
    let plan = load::Plan { in_flight: args.in_flight.into(), timeout: args.timeout.timeout() };
    let tally = load::put_all(client.handle(), entries, plan, &bar).await;
    client.close().await;
    bar.finish_and_clear();
    report(tally, started.elapsed(), args.json)
}

fn report(tally: load::Tally, took: Duration, json: bool) -> Result<Exit, CliError> {
    let load::Tally { imported, failed } = tally;
    if json {
        let seconds = took.as_millis() as f64 / 1000.0;
        output::json(&json!({ "imported": imported, "failed": failed, "seconds": seconds }))?;
    } else {
        let per_second = (imported as f64 / took.as_secs_f64().max(0.001)).round();
        let keys = output::counted(imported, "key", "keys");
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        output::line(&format!(
            "imported {keys} in {:.1} s ({per_second} per second){failures}",
            took.as_secs_f64()
        ))?;
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

/// On stderr, and only on a terminal.
fn progress_bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (ProgressBar::new(total), "{bar:40.cyan/dim} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    // The templates are fixed; if one were wrong the plain bar would do.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
