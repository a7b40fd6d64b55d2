//! The light client: speaks to peers as a program that is no member of the ring.
//!
//! A client needs nothing but the multiaddr of a peer. From that peer it learns where other members are, and
//! goes on through another when it loses the one it has, or hears nothing from it. It opens a connection when there is something to send, tries a request again
//! only under its own operation id, and never waits longer than the request may take.
//!
//! | room | holds |
//! |---|---|
//! | [`address`] | multiaddrs as people write them, and what is wrong with them |
//! | [`error`] | why no peer could be connected to |
//! | `route` | which address to try, and when to give up: a value |
//! | `members` | which addresses of other members are worth a try: a value |
//! | `patience` | how long a silent peer is waited for: a value |
//! | `pending` | what becomes of a request that got no answer: a value |
//! | `driver` | the task that owns the swarm |

use std::time::Duration;

use henge_types::{ClusterName, Multiaddr, PeerId};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::handle::Handle;

pub mod address;
mod driver;
pub mod error;
mod members;
mod patience;
mod pending;
mod route;
mod transport;

pub use address::{AddressError, parse_address};
pub use error::{Attempt, AttemptError, ConnectError};

/// How a client connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    cluster: ClusterName,
    attempt_timeout: Duration,
    learn_members: bool,
}

impl Default for Config {
    /// The cluster "henge"; three seconds for each address: enough for three round trips around
    /// the world, and two addresses fit into the default time of a request; other members are learnt.
    fn default() -> Self {
        Self { cluster: ClusterName::default(), attempt_timeout: Duration::from_secs(3), learn_members: true }
    }
}

impl Config {
    /// See [`Config::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster whose protocol is spoken.
    #[must_use]
    pub fn with_cluster(mut self, cluster: ClusterName) -> Self {
        self.cluster = cluster;
        self
    }

    /// How long one address is tried, until the peer there has answered. Less, yet no less than 1 s, while a
    /// connection was lost and others have not been tried.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Whether the client asks its peer for addresses of other members, to go on there when all that it was
    /// given are of no use. It asks once the connection is half a second old, at once after it lost another,
    /// and then every minute; so what ends sooner asks nothing. Addresses that it was given come first.
    #[must_use]
    pub fn with_learn_members(mut self, learn: bool) -> Self {
        self.learn_members = learn;
        self
    }
}

/// A connection to a cluster. It ends when it and all handles of it are dropped.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    peer: PeerId,
    known: watch::Receiver<Vec<Multiaddr>>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects to the first of `addresses` whose peer answers. Must be called within a tokio runtime.
    ///
    /// An address may end in `/p2p/PEER`; then only that peer is accepted there.
    ///
    /// # Errors
    /// [`ConnectError`], which names what became of each address.
    pub async fn connect(addresses: Vec<Multiaddr>, config: Config) -> Result<Self, ConnectError> {
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let swarm = transport::swarm(&config)?;
        let (handle, calls) = Handle::new();
        let (connected, outcome) = oneshot::channel();
        let (tell_known, known) = watch::channel(addresses.clone());
        let driver = driver::Driver::new(swarm, calls, addresses, &config, connected, tell_known);
        let task = tokio::spawn(driver.run());
        let peer = outcome.await.unwrap_or(Err(ConnectError::Stopped))?;
        Ok(Self { handle, peer, known, task })
    }

    /// Sends requests. Cheap to clone.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The peer that was connected to first.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The addresses that it was given, and behind them those that it has learnt so far.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.known.borrow().clone()
    }

    /// Waits until all other handles are dropped and every request has its answer, and says goodbye to the peer.
    pub async fn close(self) {
        drop(self.handle);
        if let Err(error) = self.task.await {
            tracing::debug!(%error, "the client's task did not end well");
        }
    }
}
