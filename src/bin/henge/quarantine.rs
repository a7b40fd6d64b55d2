//! `henge quarantine`

mod load;
mod settle;
mod source;
mod survey;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use henge::client::parse_address;
use henge_types::Multiaddr;

use self::source::Source;
use crate::args::{ClusterArgs, PeerArgs, TimeoutArgs};
use crate::exit::{CliError, Exit};

/// See what is in a data directory or a snapshot, and import what a ring lacks
///
/// DIR is the data directory of a peer that does not run, or a snapshot. A peer that was evicted for too long
/// cannot bring its records back by itself: the ring may have forgotten what was deleted meanwhile. This shows
/// what there is, hints for other peers and what is damaged included; nothing in DIR is changed, but for what
/// each start of a peer does to its journal.
///
/// --import puts values into a running ring, as new writes. By default only those of keys of which the ring
/// knows nothing: neither a value nor that it was deleted, which it remembers for --gc-grace (ten days). What was deleted
/// longer ago than that comes back: look at --list first. With --all, values that the ring does not know become siblings of
/// those that it has. Every key is read first, with strict quorums. Interrupted, it can be done again: what is
/// there by then is left alone.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"keys\": N, \"values\": N, \"tombstones\": N, \"bytes\": N, \"oldest\": UNIX_MS, \"newest\": UNIX_MS,
   \"hints\": N, \"quarantined\": N, \"damaged\": N}
with --list one for each key:
  {\"key\": KEY, \"from\": \"record\" | \"hint\" | \"quarantine\", \"values\": N, \"tombstones\": N, \"bytes\": N,
   \"written_at\": UNIX_MS}
with --import
  {\"imported\": keys, \"present\": keys, \"deleted\": keys, \"failed\": keys, \"damaged\": keys}

Examples:
  henge quarantine ./old
  henge quarantine ./old --list --prefix site/
  henge quarantine ./old --import --peer /ip4/192.168.1.7/tcp/4001")]
pub(crate) struct QuarantineArgs {
    /// A data directory, or a snapshot
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print the keys
    #[arg(long, conflicts_with = "import")]
    list: bool,
    /// Put values into the ring
    #[arg(long, requires = "peers")]
    import: bool,
    /// Also where the ring has other values: as siblings of those
    #[arg(long, requires = "import")]
    all: bool,
    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// How many keys are looked at at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timeout: TimeoutArgs,
    /// With --import: address of a peer of the ring. Repeat it, or separate by commas
    #[arg(id = "peers", long = "peer", env = "HENGE_PEER", value_name = "MULTIADDR")]
    #[arg(value_delimiter = ',', value_parser = parse_address, help_heading = "Connection")]
    peers: Vec<Multiaddr>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(crate) async fn run(args: QuarantineArgs) -> Result<Exit, CliError> {
    let source = Source::open(&args.directory, args.prefix.into_bytes())?;
    if !args.import {
        return survey::run(&source, unix_ms(), args.list, args.json);
    }
    let peer = PeerArgs { peers: args.peers, cluster: args.cluster };
    let plan = load::Plan {
        all: args.all,
        in_flight: args.in_flight.into(),
        timeout: args.timeout.timeout(),
        now_unix_ms: unix_ms(),
    };
    load::run(source, &peer, plan, args.json).await
}

#[expect(clippy::disallowed_methods, reason = "a command knows the time")]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
