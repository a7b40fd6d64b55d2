//! `henge run`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use henge::client::parse_address;
use henge::config::{Config, GC_GRACE, HINTS_MAX_BYTES, SYNC_INTERVAL};
use henge::event::Event;
use henge::node::{Node, NodeConfig, NodeEvent};
use henge::store::StoreError;
use henge::store::worker::Durability;
use henge_types::limits::{REPLICAS_MAX, WEIGHT_MAX};
use henge_types::{ClusterParams, Multiaddr, Weight, Zone};

use crate::args::ClusterArgs;
use crate::exit::{CliError, Exit};
use crate::output;
use crate::restore;
use crate::signals::Signals;

/// A year: longer is never.
const SYNC_INTERVAL_MAX_SECONDS: u64 = 365 * 24 * 3600;

/// Run a peer
///
/// Prints `listening ADDRESS` for each address, to be given to others as --join or --peer, and `ready`
/// once it serves. With nobody to join, and an empty data directory, it starts a new ring. The data
/// directory keeps its identity, its records, its ports and the members it has met: started
/// again, it finds its ring without --join. SIGINT and SIGTERM stop it cleanly.
///
/// Whoever can connect can read, write and join: listen on trusted networks only.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  henge run
  henge run --data-dir ./second --join /ip4/127.0.0.1/tcp/4001
  henge run --listen /ip4/192.168.1.7/tcp/4001 --zone cellar
  henge run --data-dir ./new --from-snapshot /backup/2026-11-21 --join /ip4/192.168.1.7/tcp/4001")]
pub(crate) struct RunArgs {
    /// Where identity and records live [default: henge in the user's data directory, which is
    /// $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, env = "HENGE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen; may be repeated [default: the ports of the last time, at first free ones,
    /// of 127.0.0.1, TCP and QUIC]
    #[arg(long, value_name = "MULTIADDR", value_parser = parse_address)]
    listen: Vec<Multiaddr>,
    /// A peer of the ring to join; may be repeated
    #[arg(long, value_name = "MULTIADDR", value_parser = parse_address)]
    join: Vec<Multiaddr>,
    /// Begin with the records of a snapshot, in an empty data directory. With --join it goes back to the ring
    /// that it is of; without, a new ring is born of it. May be repeated: snapshots of several peers of one ring
    #[arg(long, value_name = "DIR")]
    from_snapshot: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The failure domain of this peer: a data centre, a house. Copies are spread over zones
    #[arg(long, value_name = "NAME", value_parser = |name: &str| Zone::new(name))]
    zone: Option<Zone>,
    /// The share of the ring that this peer takes, 1 to 64. The same as at the last start does not take back what
    /// `henge weight` said since [default: that of the last time, at first 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=WEIGHT_MAX as i64))]
    weight: Option<u16>,
    /// N, the copies of each record; fixed when the ring is born [default: 3, or that of the ring joined]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=REPLICAS_MAX as i64))]
    replicas: Option<u8>,
    /// How many bytes may wait here for one peer that is down
    #[arg(long, value_name = "BYTES", default_value_t = HINTS_MAX_BYTES)]
    hints_max_bytes: u64,
    /// How often what is here is compared with the next member; 0 for never, except when `henge repair` asks
    #[arg(long, value_name = "SECONDS", default_value_t = SYNC_INTERVAL.as_secs(), value_parser = clap::value_parser!(u64).range(..=SYNC_INTERVAL_MAX_SECONDS))]
    sync_interval: u64,
    /// Evict members that are down for so long in the eyes of more than half of the ring (two minutes at
    /// least) [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(120..))]
    evict_after: Option<u64>,
    /// For how long deleted keys are remembered: hints, snapshots and evicted peers that are older are not let in,
    /// and the space is free after that; the same for all peers of a ring
    #[arg(long, value_name = "SECONDS", default_value_t = GC_GRACE.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    gc_grace: u64,
    /// When a write counts as durable
    #[arg(long, value_enum, default_value_t = DurabilityArg::Fsync)]
    durability: DurabilityArg,
    /// Stop when stdin ends: for a program that starts peers and may be killed itself
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// When a write counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DurabilityArg {
    /// Once it is on the disk
    Fsync,
    /// Once the operating system has it; it is on the disk within 100 ms
    Interval,
    /// Once the operating system has it
    Os,
}

pub(crate) async fn run(args: RunArgs) -> Result<Exit, CliError> {
    let stop_with_stdin = args.stop_with_stdin;
    // Before signals are caught: a snapshot that is being restored may be cut off.
    let config = node_config(args)?;
    let mut signals = Signals::new(stop_with_stdin)?;
    // A signal during the start waits for its end: a store that is being opened is better closed than cut off.
    let started = Node::start(config).await;
    let mut node = started.map_err(|error| CliError::Failed(error.to_string()))?;
    let mut complaints = Complaints::default();
    loop {
        tokio::select! {
            event = node.next_event() => match event {
                Some(NodeEvent::Henge(Event::Left)) => {
                    output::note("this peer has left its ring: its data directory may be deleted");
                    break;
                }
                Some(event) => {
                    let fatal = fatal(&event);
                    report(event, &mut complaints);
                    if let Some(reason) = fatal {
                        node.stop().await;
                        return Err(CliError::Failed(reason));
                    }
                }
                None => return Err(CliError::Failed("the peer stopped by itself: see the log above".to_owned())),
            },
            () = signals.next() => break,
        }
    }
    output::note("stopping");
    tokio::select! {
        saved = node.stop() => if saved {
            Ok(Exit::Done)
        } else {
            Err(CliError::Failed("not all was saved: the next start recovers as after a crash".to_owned()))
        },
        () = signals.next() => Err(CliError::Failed("stopped at once: the next start recovers as after a crash".to_owned())),
    }
}

/// What a peer cannot go on from, so that whoever supervises it is told by its end.
fn fatal(event: &NodeEvent) -> Option<String> {
    let NodeEvent::Henge(event) = event else { return None };
    if let Event::CannotRestore(refusal) = event {
        return Some(refusal.to_string());
    }
    let reason = if *event == Event::CannotJoin {
        "nobody that it was told to join will have this peer"
    } else if *event == Event::EvictedForGood {
        "the ring evicted this peer so long ago that its data may bring back what was deleted since: start with an \
         empty data directory, and keep this one: `henge quarantine DIR` shows what it has, and imports what the \
         ring lacks"
    } else if matches!(event, Event::StoreFailed(StoreError::Poisoned { .. })) {
        "the store cannot be written: nothing is acknowledged until the peer is started again"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

fn node_config(args: RunArgs) -> Result<NodeConfig, CliError> {
    let usage = |error: &dyn std::error::Error| CliError::Usage(error.to_string());
    let mut config = Config::new()
        .with_cluster(args.cluster.cluster)
        .with_join(args.join)
        .with_zone(args.zone)
        .with_hints_max_bytes(args.hints_max_bytes)
        .with_gc_grace(Duration::from_secs(args.gc_grace))
        .with_sync_interval((args.sync_interval > 0).then(|| Duration::from_secs(args.sync_interval)))
        .with_evict_after(args.evict_after.map(Duration::from_secs));
    if let Some(weight) = args.weight {
        config = config.with_weight(Weight::new(weight).map_err(|error| usage(&error))?);
    }
    if let Some(replicas) = args.replicas {
        config = config.with_params(ClusterParams::new(replicas).map_err(|error| usage(&error))?);
    }
    let durability = match args.durability {
        DurabilityArg::Fsync => Durability::Fsync,
        DurabilityArg::Interval => Durability::Interval,
        DurabilityArg::Os => Durability::Os,
    };
    let directory = args.data_dir.map_or_else(default_directory, Ok)?;
    if !args.from_snapshot.is_empty() {
        restore::run(&directory, &args.from_snapshot, !config.join().is_empty(), config.gc_grace())?;
    }
    Ok(NodeConfig::new(directory).with_config(config).with_listen(args.listen).with_durability(durability))
}

/// The same wherever the command is started, so that nobody starts a second, empty ring by accident.
fn default_directory() -> Result<PathBuf, CliError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("henge"))
        .ok_or_else(|| {
            CliError::Usage("neither HOME nor XDG_DATA_HOME is set: give --data-dir DIR".to_owned())
        })
}

/// What a program waits for goes to stdout, what a person wants to know to stderr.
fn report(event: NodeEvent, complaints: &mut Complaints) {
    match event {
        NodeEvent::Listening { address } => announce(&format!("listening {address}")),
        NodeEvent::Henge(Event::Ready) => announce("ready"),
        NodeEvent::NotListening { address, reason } => {
            output::complain(&format!("does not listen on {address} any more: {reason}"));
        }
        NodeEvent::Moved { from, reason } => {
            output::complain(&format!("cannot listen on {from} as last time ({reason}): took another port"));
        }
        NodeEvent::Missed { events } => tracing::warn!(events, "events were missed"),
        NodeEvent::Henge(event) => report_of_ring(&event, complaints),
        other => tracing::info!(?other),
    }
}

fn report_of_ring(event: &Event, complaints: &mut Complaints) {
    match event {
        Event::RingBorn { ring } => tracing::info!(%ring, "a new ring is born"),
        Event::Joined { ring } => tracing::info!(%ring, "joined"),
        Event::MemberMet { peer } => tracing::info!(%peer, "met a member"),
        Event::PeerDown { peer } => tracing::info!(%peer, "a member is down"),
        Event::PeerUp { peer } => tracing::info!(%peer, "a member is up again"),
        Event::JoinUnreachable { address, reason } => {
            let at =
                address.as_ref().map_or_else(|| "a peer to join through".to_owned(), ToString::to_string);
            // The transport may have begun with the address itself.
            let reason = reason.strip_prefix(&format!("{at}: ")).unwrap_or(reason);
            complaints.say(format!("cannot reach {at}: {reason}; trying again"));
        }
        Event::JoinFailed { peer, failure } => {
            complaints.say(format!("cannot join through {peer}: {failure}; trying again"));
        }
        Event::Refused { peer, refusal } => complaints.say(format!("refused by {peer}: {refusal}")),
        Event::PeerFault { peer, reason } => tracing::info!(%peer, reason, "a peer broke the protocol"),
        Event::RecordDamaged { key } => {
            output::complain(&format!("the record of {key} is damaged; repairing it"))
        }
        Event::RecordRepaired { key } => output::note(&format!("the record of {key} is whole again")),
        Event::HintQuarantined { key, primary } => output::complain(&format!(
            "what was kept of {key} for {primary} is too old or damaged: it is in quarantine"
        )),
        Event::StoreFailed(error) => output::complain(&format!("the store failed: {error}")),
        // The enum may grow: what is told later is logged.
        Event::Ready | Event::CannotJoin | _ => tracing::info!(?event),
    }
}

/// What keeps a peer from joining. It is tried again and again, and said once until it changes.
#[derive(Debug, Default)]
struct Complaints {
    last: String,
}

impl Complaints {
    fn say(&mut self, complaint: String) {
        if self.last == complaint {
            tracing::debug!(complaint);
        } else {
            output::complain(&complaint);
            self.last = complaint;
        }
    }
}

/// A peer goes on when nobody reads what it says.
fn announce(line: &str) {
    if output::line(line).is_err() {
        tracing::debug!("nobody reads stdout");
    }
}
