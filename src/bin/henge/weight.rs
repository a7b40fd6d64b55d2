//! `henge weight`

use clap::Args;
use henge_client::Request;
use henge_types::limits::WEIGHT_MAX;

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::leave::accepted;
use crate::output;

/// Change the share of the ring that a running peer takes
///
/// The peer that is named declares the weight, the placement follows, and data moves between the members
/// while they serve. The peer remembers it over restarts, until `henge run` is given a --weight that is another
/// than at its last start.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  henge weight 4 --peer /ip4/192.0.2.7/tcp/4001")]
pub(crate) struct WeightArgs {
    /// 1 to 64; a peer of weight 2 gets twice the partitions of one of weight 1
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=WEIGHT_MAX as i64))]
    weight: u16,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: WeightArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect_to_one().await?;
    let response = client.handle().call(Request::Weight { weight: args.weight }).await;
    client.close().await;
    accepted(response?)?;
    output::note(&format!("the peer has weight {}: `henge status` shows how data moves", args.weight));
    Ok(Exit::Done)
}
