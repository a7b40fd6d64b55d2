//! What all commands share of the command line.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use henge::client::{Client, Config, parse_address};
use henge_types::{ClusterName, Key, Multiaddr};

use crate::exit::CliError;

/// A peer-to-peer key-value store: Dynamo's semantics over libp2p.
///
/// Every peer is equal; each key lives on N of them. Start a peer, start two more that join it, and
/// put, get and delete at any of them. `henge demo` shows all of that in one go.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
Exit codes:
  0  done
  1  not found
  2  usage: the input is wrong, and nothing was changed
  3  unavailable: no peer, or too few replicas, could answer, or a repair was not through with all members
  4  outcome unknown: a write was sent, and may or may not have been done
  5  several siblings, and neither --all nor --json given
  6  failed: a peer could not start, an import left keys out, or a repair records")]
pub(crate) struct Cli {
    /// Log more to stderr (-v, -vv, -vvv); RUST_LOG sets it precisely
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(crate::demo::DemoArgs),
    Run(crate::run::RunArgs),
    Put(crate::put::PutArgs),
    Get(crate::get::GetArgs),
    Delete(crate::delete::DeleteArgs),
    Import(crate::import::ImportArgs),
    Status(crate::status::StatusArgs),
    Locate(crate::locate::LocateArgs),
    Leave(crate::leave::LeaveArgs),
    Remove(crate::remove::RemoveArgs),
    Repair(crate::repair::RepairArgs),
    Weight(crate::weight::WeightArgs),
    Snapshot(crate::snapshot::SnapshotArgs),
    Quarantine(crate::quarantine::QuarantineArgs),
    Bench(crate::bench::BenchArgs),
}

/// Which peer to talk to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct PeerArgs {
    /// Address of a peer, with or without /p2p/ID. Repeat it, or separate by commas, to name others
    /// to go on with when one is lost
    #[arg(long = "peer", env = "HENGE_PEER", value_name = "MULTIADDR", required = true)]
    #[arg(value_delimiter = ',', value_parser = parse_address)]
    pub(crate) peers: Vec<Multiaddr>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Which cluster it is.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Name of the cluster
    #[arg(long, env = "HENGE_CLUSTER", value_name = "NAME", default_value = "henge")]
    #[arg(value_parser = |name: &str| ClusterName::new(name))]
    pub(crate) cluster: ClusterName,
}

/// How long a request may take.
#[derive(Debug, Args)]
pub(crate) struct TimeoutArgs {
    /// How long the request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

impl TimeoutArgs {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl PeerArgs {
    /// Connects to the first peer that answers.
    pub(crate) async fn connect(&self) -> Result<Client, CliError> {
        self.connect_from(0).await
    }

    /// Connects to the one peer that is named, and never to another.
    pub(crate) async fn connect_to_one(&self) -> Result<Client, CliError> {
        let [_] = self.peers.as_slice() else {
            return Err(CliError::Usage("name one peer only: the one that is meant".to_owned()));
        };
        let config = Config::new().with_cluster(self.cluster.cluster.clone()).with_learn_members(false);
        Ok(Client::connect(self.peers.clone(), config).await?)
    }

    /// The same, beginning with the address at `first`.
    pub(crate) async fn connect_from(&self, first: usize) -> Result<Client, CliError> {
        let mut addresses = self.peers.clone();
        addresses.rotate_left(first % self.peers.len().max(1));
        let config = Config::new().with_cluster(self.cluster.cluster.clone());
        Ok(Client::connect(addresses, config).await?)
    }
}

/// A key: any bytes that the shell can pass.
pub(crate) fn key_parser() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(|key: OsString| Key::new(key.into_encoded_bytes()))
}

/// A quorum: 1 to the largest N there is.
pub(crate) fn quorum_parser() -> RangedU64ValueParser<u8> {
    const QUORUMS: RangeInclusive<u64> = 1..=henge_types::limits::REPLICAS_MAX as u64;
    RangedU64ValueParser::<u8>::new().range(QUORUMS)
}
