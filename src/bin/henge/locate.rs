//! `henge locate`

use bytes::Bytes;
use clap::Args;
use henge_client::{Located, LocatedVoter};
use henge_types::{Custody, Key};
use serde_json::{Value, json};

use crate::args::{PeerArgs, key_parser};
use crate::exit::{CliError, Exit};
use crate::table::{Align, Table};
use crate::{json, output};

/// Show where a key lives
///
/// Prints the key's position on the ring, its partition, and the peers on the partition's
/// preference list, with what each of them has: none, part (what was written since it became an
/// owner) or full. Peers that only still have it are marked as former owners.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"key\": K, \"position\": HEX, \"partition\": N,
   \"preference_list\": [{\"peer\": ID, \"custody\": \"none\"|\"part\"|\"full\", \"zone\": NAME or null}],
   \"former_owners\": [the same for peers that still have it]}

Example:
  henge locate greeting")]
pub(crate) struct LocateArgs {
    /// The key, 1 to 1,024 bytes
    #[arg(value_parser = key_parser())]
    key: Key,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: LocateArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect().await?;
    let located = client.handle().locate(Bytes::from(args.key.clone())).await;
    client.close().await;
    let located = located?;
    if args.json {
        output::json(&as_json(&args.key, &located))?;
    } else {
        output::data(as_text(&args.key, &located).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn as_text(key: &Key, located: &Located) -> String {
    let mut table =
        Table::new([("", Align::Right), ("PEER", Align::Left), ("HAS", Align::Left), ("ZONE", Align::Left)]);
    for (index, voter) in located.voters.iter().enumerate() {
        let rank = if voter.owner { (index + 1).to_string() } else { "former".to_owned() };
        let zone = voter.zone.as_ref().map_or("-", |zone| zone.as_str()).to_owned();
        table.add([rank, voter.peer.to_string(), custody_name(voter.custody).to_owned(), zone]);
    }
    format!(
        "key        {}\nposition   {}\npartition  {}\n\n{}",
        output::shown(key.as_bytes()),
        located.position,
        located.partition,
        table.render()
    )
}

fn as_json(key: &Key, located: &Located) -> Value {
    let of = |owner: bool| -> Vec<Value> {
        located.voters.iter().filter(|voter| voter.owner == owner).map(voter_json).collect()
    };
    json!({
        "key": json::of_bytes(key.as_bytes()),
        "position": located.position.to_string(),
        "partition": located.partition.0,
        "preference_list": of(true),
        "former_owners": of(false),
    })
}

fn voter_json(voter: &LocatedVoter) -> Value {
    json!({
        "peer": voter.peer.to_string(),
        "custody": custody_name(voter.custody),
        "zone": voter.zone.as_ref().map(|zone| zone.as_str()),
    })
}

fn custody_name(custody: Custody) -> &'static str {
    match custody {
        Custody::None => "none",
        Custody::Part => "part",
        Custody::Full => "full",
    }
}
