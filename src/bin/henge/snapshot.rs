//! `henge snapshot`

use std::time::Duration;

use clap::Args;
use henge::handle::Handle;
use henge_client::{BeginSnapshot, Snapshot, SnapshotState};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::output;

/// How often it is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Back up what a peer has
///
/// The peer writes its records, as they are at one instant, into a directory on its own host while it goes on
/// serving. This waits for the end and shows how far it is; interrupted, the peer goes on, and the same command
/// watches it again. What is there of it before the end is no snapshot.
///
/// It has the records of the partitions that this peer has: the whole ring is in the snapshots of all its
/// members. The peer's identity is no part of it. `henge run --from-snapshot` starts a peer from one, `henge
/// quarantine` looks into one.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"directory\": DIR, \"taken_at\": UNIX_MS, \"records\": N, \"bytes\": N, \"damaged\": keys left out}

Examples:
  henge snapshot /backup/2026-11-21 --peer /ip4/192.0.2.7/tcp/4001
  henge snapshot /backup/2026-11-21 --rate 8388608")]
pub(crate) struct SnapshotArgs {
    /// Where, on the host of the peer: an absolute path that does not exist, or an empty directory
    #[arg(value_name = "DIR")]
    directory: String,
    /// How many bytes to write in a second
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: SnapshotArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect_to_one().await?;
    let taken = take(client.handle(), &args).await;
    client.close().await;
    report(&taken?, args.json)
}

async fn take(handle: &Handle, args: &SnapshotArgs) -> Result<Snapshot, CliError> {
    let begin = BeginSnapshot { directory: args.directory.clone(), bytes_per_second: args.rate };
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} records, {msg}, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut told = handle.snapshot(Some(begin)).await?;
    loop {
        let Some(snapshot) = told.filter(|told| told.directory == args.directory) else {
            return Err(CliError::Failed("the peer was started again: there is no snapshot".to_owned()));
        };
        match &snapshot.state {
            SnapshotState::Running => {
                bar.set_length(snapshot.records_expected.max(snapshot.records));
                bar.set_position(snapshot.records);
                bar.set_message(output::bytes(snapshot.bytes));
            }
            SnapshotState::Done => {
                bar.finish_and_clear();
                return Ok(snapshot);
            }
            SnapshotState::Failed { reason } => return Err(CliError::Failed(reason.clone())),
        }
        tokio::time::sleep(LOOK_EVERY).await;
        told = handle.snapshot(None).await?;
    }
}

fn report(snapshot: &Snapshot, json: bool) -> Result<Exit, CliError> {
    let Snapshot { directory, taken_at, records, bytes, damaged, .. } = snapshot;
    if json {
        output::json(&json!({
            "directory": directory, "taken_at": taken_at, "records": records, "bytes": bytes, "damaged": damaged,
        }))?;
    } else {
        let records = output::counted(*records, "record", "records");
        output::line(&format!("{records}, {}, in {directory}", output::bytes(*bytes)))?;
    }
    if *damaged > 0 {
        let keys = output::counted(*damaged, "key", "keys");
        output::complain(&format!("{keys} cannot be read at this peer, and not in the snapshot"));
    }
    Ok(Exit::Done)
}
