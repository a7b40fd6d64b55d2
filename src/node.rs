//! The ready-made peer, for programs without a swarm of their own: transports, identity, store, and a thread that
//! runs them.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use henge::config::Config;
//! use henge::node::{Node, NodeConfig};
//!
//! let join = vec!["/ip4/192.0.2.1/tcp/4001".parse()?];
//! let node = Node::start(NodeConfig::new("data").with_config(Config::new().with_join(join))).await?;
//! node.handle().put("key", "value").await?;
//! node.stop().await;
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io, thread};

use henge_types::{Multiaddr, PeerId};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use tokio::sync::{broadcast, oneshot};

use crate::config::Config;
use crate::error::StartError;
use crate::event::Event;
use crate::handle::Handle;
use crate::store::worker::Durability;

mod directory;
mod listen;
mod restore;
mod run;
mod swarm;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests;

pub use restore::restore;

/// Events that wait for [`Node::next_event`]. Beyond, the oldest are lost and counted.
const EVENTS_MAX: usize = 1024;
/// How long a peer may take to stop: as long as its requests may take that still run.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What a node is told at its start.
#[derive(Clone)]
pub struct NodeConfig {
    place: Place,
    config: Config,
    listen: Vec<Multiaddr>,
    durability: Durability,
}

/// Where a node keeps what must outlive it.
#[derive(Clone)]
enum Place {
    Directory(PathBuf),
    Memory(Option<Box<Keypair>>),
}

impl NodeConfig {
    /// Keeps identity and records in `directory`, which is created where there is none.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::at(Place::Directory(directory.into()))
    }

    /// Keeps everything in memory: it is lost with the node. For tests, and for data that the
    /// other members keep.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::at(Place::Memory(None))
    }

    /// The same as [`NodeConfig::in_memory`] with a given identity (Ed25519) instead of a new one.
    #[must_use]
    pub fn in_memory_as(identity: Keypair) -> Self {
        Self::at(Place::Memory(Some(Box::new(identity))))
    }

    fn at(place: Place) -> Self {
        Self { place, config: Config::default(), listen: Vec::new(), durability: Durability::default() }
    }

    /// How the peer takes part. Default: [`Config::new`].
    #[must_use]
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where to listen: `/ip4/…/tcp/…`, `/ip4/…/udp/…/quic-v1`, or the same with `ip6`; port 0 takes
    /// a free one. Default: where it listened last time; the first time on free ports of 127.0.0.1.
    #[must_use]
    pub fn with_listen(mut self, listen: Vec<Multiaddr>) -> Self {
        self.listen = listen;
        self
    }

    /// When a write counts as durable. Default: once an fsync covers it.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = match &self.place {
            Place::Directory(path) => Some(path),
            Place::Memory(_) => None,
        };
        f.debug_struct("NodeConfig")
            .field("directory", &directory)
            .field("config", &self.config)
            .field("listen", &self.listen)
            .field("durability", &self.durability)
            .finish()
    }
}

/// What a node tells the program that started it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// It listens on this address, which ends in `/p2p/PEER` and can be given to others to join.
    Listening {
        /// The address.
        address: Multiaddr,
    },
    /// It does not listen on this address any more.
    NotListening {
        /// The address.
        address: Multiaddr,
        /// Why.
        reason: String,
    },
    /// It could not listen where it did last time, and took another port. Other members learn the
    /// new address by themselves; whoever was given the old one to join cannot use it.
    Moved {
        /// Where it listened last time.
        from: Multiaddr,
        /// Why it cannot any more.
        reason: String,
    },
    /// What the peer itself tells.
    Henge(Event),
    /// So many events were lost because [`Node::next_event`] was not called.
    Missed {
        /// How many.
        events: u64,
    },
}

/// A running peer, on a thread of its own. Dropping it stops it cleanly too, but nobody learns when
/// it is done.
#[derive(Debug)]
pub struct Node {
    peer: PeerId,
    handle: Handle,
    listening: Vec<Multiaddr>,
    events: broadcast::Receiver<NodeEvent>,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<bool>,
}

impl Node {
    /// Opens the data directory, listens, and runs the peer.
    ///
    /// It runs on one thread of its own, with a runtime of its own, whatever runtime calls this: a
    /// peer on several threads spends more time on waking them than on its work.
    ///
    /// When it returns, the node listens; it may not have joined its ring yet
    /// ([`Event::Ready`]), and until then requests are answered with
    /// [`Failure::NotReady`](henge_client::Failure::NotReady).
    ///
    /// # Errors
    /// [`StartError`]. Nothing runs then, and what is on disk can be used again.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let (sender, started) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let run = move || run::run(config, sender, stopping, ended);
        let failed = |error: io::Error| StartError::Thread { reason: error.to_string() };
        thread::Builder::new().name("henge-node".to_owned()).spawn(run).map_err(failed)?;
        let panicked = |_| StartError::Thread { reason: "it panicked".to_owned() };
        let Started { peer, handle, listening, events } = started.await.map_err(panicked)??;
        Ok(Self { peer, handle, listening, events, stop, stopped })
    }

    /// Who it is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it listened when it was started, each address with its `/p2p/PEER`.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Puts, gets and deletes, from any task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What happens next; `None` once the node has stopped.
    pub async fn next_event(&mut self) -> Option<NodeEvent> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(NodeEvent::Missed { events }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Stops: answers what is under way, saves, syncs and closes the store. Takes up to 10 s.
    ///
    /// Says whether all was saved. If not, the next start does what is to be done after a crash.
    pub async fn stop(self) -> bool {
        let Self { stop, stopped, .. } = self;
        let _ = stop.send(());
        stopped.await.unwrap_or(false)
    }
}

/// What the thread of a node says once it listens.
#[derive(Debug)]
struct Started {
    peer: PeerId,
    handle: Handle,
    listening: Vec<Multiaddr>,
    events: broadcast::Receiver<NodeEvent>,
}

/// An address with the peer that listens there.
fn with_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    match address.iter().last() {
        Some(Protocol::P2p(_)) => address.clone(),
        Some(_) | None => address.clone().with(Protocol::P2p(peer)),
    }
}
