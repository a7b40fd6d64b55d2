//! `henge remove`

use clap::Args;
use henge_client::Request;
use henge_types::PeerId;

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::leave::accepted;
use crate::output;

/// Remove a member that will not come back
///
/// Its partitions go to other peers, which get the data from those that have it. The member must
/// have been down for the lease (a minute, or more in a ring of over 300), and enough others must have all of its data;
/// --force removes it all the same. If it comes back after all it joins again, with what it has.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  henge remove 12D3KooWPgybPxWHDUEC3b6Dbhn5T2TdDY9UkjaQLDGiBHP2Rd4A")]
pub(crate) struct RemoveArgs {
    /// The peer id, as `henge status` shows it
    #[arg(value_name = "PEER")]
    member: PeerId,
    /// Even if it is not down, or its data would have too few whole copies
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: RemoveArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect().await?;
    let request = Request::Remove { peer: args.member, force: args.force };
    let response = client.handle().call(request).await;
    client.close().await;
    accepted(response?)?;
    output::note("removed: `henge status` shows how its data moves");
    Ok(Exit::Done)
}
