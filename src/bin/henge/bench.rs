//! `henge bench`

mod client;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use henge::client::Client;
use rand::RngExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::client::{Load, Phase, Recorder};
use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::output;

/// Until caches, tables and congestion windows are as they will be.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measure throughput and latency
///
/// So many clients put and get at random keys, each waiting for its answer before it asks again.
/// First all keys are put once (unless --puts is 100), then comes a second of warm-up; neither counts.
/// What is measured is what a client sees, the connection included. The keys, which begin with
/// "henge-bench/", stay in the ring.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"clients\", \"connections\", \"seconds\", \"value_bytes\", \"keys\", \"puts\": S, \"gets\": S}
  S = {\"count\", \"errors\", \"per_second\", \"p50_ms\", \"p99_ms\", \"p999_ms\", \"max_ms\"}

Examples:
  henge bench
  henge bench --clients 16 --seconds 30 --puts 100 --value-bytes 100
  henge bench --peer MULTIADDR --peer MULTIADDR --connections 2")]
pub(crate) struct BenchArgs {
    /// How many clients ask at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Size of each value
    #[arg(long, value_name = "B", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=henge_types::limits::VALUE_MAX_BYTES as i64))]
    value_bytes: u32,
    /// How many of 100 requests are puts; the others are gets
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    puts: u8,
    /// How many keys there are; each request takes one at random
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    keys: u64,
    /// Put blindly, each time to a new key: no quorum is read before the write
    #[arg(long)]
    blind: bool,
    /// How many connections the clients share; they go round the addresses of --peer [default: one for each address]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: Option<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: BenchArgs) -> Result<Exit, CliError> {
    let wanted = args.connections.map_or(args.peer.peers.len(), usize::from);
    let mut connections = Vec::new();
    for index in 0..wanted.min(args.clients.into()) {
        connections.push(args.peer.connect_from(index).await?);
    }
    let load = load(&args);
    if args.puts < 100 {
        output::note(&format!("putting {}", output::counted(args.keys, "key", "keys")));
        client::fill(&connections, &load, args.clients.into()).await?;
    }
    output::note(&format!("measuring for {} s", args.seconds));
    let recorder = measure(&args, &connections, load).await?;
    let connection_count = connections.len();
    for connection in connections {
        connection.close().await;
    }
    let (puts, gets) = recorder.summaries(Duration::from_secs(args.seconds));
    if args.json {
        output::json(&json!({
            "clients": args.clients,
            "connections": connection_count,
            "seconds": args.seconds,
            "value_bytes": args.value_bytes,
            "keys": args.keys,
            "puts": puts.as_json(),
            "gets": gets.as_json(),
        }))?;
    } else {
        output::data(report::as_text(&puts, &gets).as_bytes())?;
    }
    match recorder.first_error() {
        Some(error) => {
            output::complain(&format!("some requests failed, the first of them: {error}"));
            Ok(if recorder.is_empty() { Exit::Unavailable } else { Exit::Done })
        }
        None => Ok(Exit::Done),
    }
}

async fn measure(args: &BenchArgs, connections: &[Client], load: Load) -> Result<Recorder, CliError> {
    let begin = Instant::now() + WARM_UP;
    let phase = Phase { begin, end: begin + Duration::from_secs(args.seconds) };
    let recorder = Arc::new(Mutex::new(Recorder::new()));
    let mut clients = JoinSet::new();
    for (_, connection) in (0..args.clients).zip(connections.iter().cycle()) {
        clients.spawn(client::run(connection.handle().clone(), load.clone(), phase, recorder.clone()));
    }
    clients.join_all().await;
    let recorder =
        Arc::into_inner(recorder).ok_or_else(|| CliError::Failed("a client did not end".to_owned()))?;
    Ok(recorder.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn load(args: &BenchArgs) -> Load {
    let mut rng = rand::rng();
    // Random bytes, so that no compression on the way makes a value smaller than it says. Values are windows of it.
    let mut pool = vec![0; args.value_bytes as usize + client::WINDOWS];
    rng.fill(pool.as_mut_slice());
    Load {
        pool: Bytes::from(pool),
        value_bytes: args.value_bytes as usize,
        keys: args.keys,
        puts: args.puts,
        blind: args.blind.then(|| rng.random()),
    }
}
