//! `henge repair`

use std::time::Duration;

use clap::Args;
use henge::error::RequestError;
use henge::handle::Handle;
use henge_client::{Failure, Repair, RepairId, RepairMember, RepairState, Request, Response};
use henge_types::Partition;
use henge_types::limits::PARTITIONS_MAX;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::output;

/// How often it is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Compare what a peer has with all others that have it too, now
///
/// The peer that is named compares its partitions with each member that it shares some with, and both take over
/// what they lack, as happens in the background anyway. This waits for the end and shows how far it is;
/// interrupted, the peer goes on with it, and the same command watches it again.
/// Where some members cannot be reached the rest is done, they are named, and the exit code is 3; where records
/// could not be moved (damaged, too large, or of a partition given up meanwhile) it is 6.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object at the end:
  {\"partition\": N or null for all, \"seconds\": S,
   \"members\": [{\"peer\", \"partitions\", \"compared\", \"state\": \"through\", \"unreachable\" or \"failed\"}],
   \"keys_compared\": N, \"records_pulled\", \"bytes_pulled\", \"records_pushed\", \"bytes_pushed\", \"records_left\"}

Examples:
  henge repair --peer /ip4/192.0.2.7/tcp/4001
  henge repair --partition 1234")]
pub(crate) struct RepairArgs {
    /// Only this partition; `henge locate` tells that of a key
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..PARTITIONS_MAX as i64))]
    partition: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: RepairArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect_to_one().await?;
    let repaired = repair(client.handle(), args.partition.map(Partition)).await;
    client.close().await;
    report(&repaired?, args.json)
}

async fn repair(handle: &Handle, partition: Option<Partition>) -> Result<Repair, CliError> {
    let mut repair = told(handle.call(Request::Repair { partition }).await?)?;
    if repair.partition != partition {
        output::note("a repair of all partitions is under way: watching that");
    }
    // The templates are fixed; if one were wrong the plain bar would do.
    let style = ProgressStyle::with_template("{bar:40.cyan/dim} {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        show(&bar, &repair);
        if repair.is_over() {
            bar.finish_and_clear();
            return Ok(repair);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        repair = progress(handle, repair.id).await?;
    }
}

async fn progress(handle: &Handle, id: RepairId) -> Result<Repair, CliError> {
    let response = handle.call(Request::RepairProgress { id }).await?;
    if matches!(response, Response::Failed(Failure::BadRequest { .. })) {
        let forgot = "the peer does not know the repair any more: it was started again, and so may this be";
        return Err(CliError::Failed(forgot.to_owned()));
    }
    told(response)
}

fn told(response: Response) -> Result<Repair, CliError> {
    match response {
        Response::Repair(repair) => Ok(repair),
        Response::Failed(failure) => Err(RequestError::Failed(failure).into()),
        Response::Written { .. }
        | Response::Found { .. }
        | Response::NotFound { .. }
        | Response::Status(_)
        | Response::Located(_)
        | Response::Snapshot(_)
        | Response::Accepted => Err(RequestError::WrongAnswer.into()),
    }
}

/// How many partitions are compared, and how many are to be, with all members together.
fn comparisons(repair: &Repair) -> (u64, u64) {
    let sum = |of: fn(&RepairMember) -> u32| repair.members.iter().map(|m| u64::from(of(m))).sum();
    (sum(|m| m.compared), sum(|m| m.partitions))
}

fn show(bar: &ProgressBar, repair: &Repair) {
    let (compared, all) = comparisons(repair);
    let records = repair.records_pulled.saturating_add(repair.records_pushed);
    let moved = repair.bytes_pulled.saturating_add(repair.bytes_pushed);
    let rate = moved.saturating_mul(1000) / repair.elapsed_ms.max(1);
    bar.set_length(all);
    bar.set_position(compared);
    bar.set_message(format!(
        "{compared}/{all} partitions, {}, {} moved, {}, {}/s",
        output::counted(repair.keys_compared, "key", "keys"),
        output::counted(records, "record", "records"),
        output::bytes(moved),
        output::bytes(rate)
    ));
}

fn report(repair: &Repair, json: bool) -> Result<Exit, CliError> {
    for member in &repair.members {
        if let Some(complaint) = complaint(member) {
            output::complain(&complaint);
        }
    }
    if repair.records_left > 0 {
        let records = output::counted(repair.records_left, "record", "records");
        output::complain(&format!("{records} could not be moved: damaged, too large, or given up meanwhile"));
    }
    if json {
        output::json(&as_json(repair))?;
    } else {
        output::line(&as_text(repair))?;
    }
    Ok(if repair.members.iter().any(|member| complaint(member).is_some()) {
        Exit::Unavailable
    } else if repair.records_left > 0 {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// What there is to say of a member that the repair is not through with.
fn complaint(member: &RepairMember) -> Option<String> {
    let why = match member.state {
        RepairState::Waiting | RepairState::Comparing | RepairState::Through => return None,
        RepairState::Unreachable => "cannot be reached",
        RepairState::Failed => "refused, or failed",
    };
    let RepairMember { peer, partitions, compared, .. } = member;
    Some(format!("{peer} {why}: {compared} of {partitions} partitions are compared with it"))
}

fn as_text(repair: &Repair) -> String {
    if repair.members.is_empty() {
        return "nothing to compare: no other member has any of it".to_owned();
    }
    let moved = |records, bytes| {
        format!("{} ({})", output::counted(records, "record", "records"), output::bytes(bytes))
    };
    format!(
        "compared {}, {} here, with {} in {:.1} s: {} in, {} out",
        output::counted(comparisons(repair).0, "partition", "partitions"),
        output::counted(repair.keys_compared, "key", "keys"),
        output::counted(repair.members.len() as u64, "member", "members"),
        repair.elapsed_ms as f64 / 1000.0,
        moved(repair.records_pulled, repair.bytes_pulled),
        moved(repair.records_pushed, repair.bytes_pushed),
    )
}

fn as_json(repair: &Repair) -> Value {
    let member = |member: &RepairMember| {
        json!({
            "peer": member.peer.to_string(),
            "partitions": member.partitions,
            "compared": member.compared,
            "state": state_name(member.state),
        })
    };
    json!({
        "partition": repair.partition.map(|partition| partition.0),
        "seconds": repair.elapsed_ms as f64 / 1000.0,
        "members": repair.members.iter().map(member).collect::<Vec<_>>(),
        "keys_compared": repair.keys_compared,
        "records_pulled": repair.records_pulled,
        "bytes_pulled": repair.bytes_pulled,
        "records_pushed": repair.records_pushed,
        "bytes_pushed": repair.bytes_pushed,
        "records_left": repair.records_left,
    })
}

fn state_name(state: RepairState) -> &'static str {
    match state {
        RepairState::Waiting => "waiting",
        RepairState::Comparing => "comparing",
        RepairState::Through => "through",
        RepairState::Unreachable => "unreachable",
        RepairState::Failed => "failed",
    }
}
