//! What a node consists of: identity, store, behaviour, transports, limits.

use std::sync::Arc;
use std::time::Duration;

use henge_types::Multiaddr;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, dns, noise, quic, tcp, yamux};

use super::Place;
use super::directory::Directory;
use crate::behaviour::Behaviour;
use crate::config::Config;
use crate::error::StartError;
use crate::store::Store;
use crate::store::memory::Memory;
use crate::store::worker::Durability;

/// Connections of one peer: one is enough, and two peers that dial each other have two.
const PER_PEER_MAX: u32 = 8;
/// Connections that others opened. As many members as a view holds, and as many clients.
const INCOMING_MAX: u32 = 8192;
/// Connections that others are opening; each costs a handshake.
const INCOMING_PENDING_MAX: u32 = 256;
/// How long a connection may take to open, handshake included.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Henge, and limits on who may connect.
#[derive(NetworkBehaviour)]
pub(super) struct Parts {
    limits: connection_limits::Behaviour,
    pub(super) henge: Behaviour,
}

/// What was found in the data directory.
pub(super) struct Opened {
    pub(super) identity: Keypair,
    pub(super) behaviour: Behaviour,
    pub(super) directory: Option<Directory>,
    pub(super) remembered: Vec<Multiaddr>,
}

/// Opens everything on disk. Blocks.
pub(super) fn open(place: Place, config: Config, durability: Durability) -> Result<Opened, StartError> {
    match place {
        Place::Directory(path) => {
            let directory = Directory::open(path)?;
            let identity = directory.identity()?;
            let store: Arc<dyn Store> = Arc::new(directory.store()?);
            let behaviour = Behaviour::new(config, &identity, store, durability)?;
            let remembered = directory.remembered();
            Ok(Opened { identity, behaviour, directory: Some(directory), remembered })
        }
        Place::Memory(identity) => {
            let identity = identity.map_or_else(Keypair::generate_ed25519, |identity| *identity);
            let behaviour = Behaviour::new(config, &identity, Arc::new(Memory::new()), durability)?;
            Ok(Opened { identity, behaviour, directory: None, remembered: Vec::new() })
        }
    }
}

/// A swarm on TCP and QUIC, that looks names up.
pub(super) fn build(identity: &Keypair, behaviour: Behaviour) -> Result<Swarm<Parts>, StartError> {
    let limits = ConnectionLimits::default()
        .with_max_established_per_peer(Some(PER_PEER_MAX))
        .with_max_established_incoming(Some(INCOMING_MAX))
        .with_max_pending_incoming(Some(INCOMING_PENDING_MAX));
    let parts = Parts { limits: connection_limits::Behaviour::new(limits), henge: behaviour };
    let transport = match dns::tokio::Transport::system(transport(identity)?) {
        Ok(named) => boxed(named),
        Err(error) => {
            tracing::warn!(%error, "no name service: addresses with names cannot be dialled");
            let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            boxed(dns::tokio::Transport::custom(transport(identity)?, nobody, dns::ResolverOpts::default()))
        }
    };
    let config = libp2p::swarm::Config::with_tokio_executor();
    Ok(Swarm::new(transport, parts, identity.public().to_peer_id(), config))
}

type Connection = (PeerId, StreamMuxerBox);

fn transport(
    identity: &Keypair,
) -> Result<
    impl Transport<Output = Connection, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>
    + Send
    + Unpin
    + 'static,
    StartError,
> {
    let noise =
        noise::Config::new(identity).map_err(|error| StartError::Identity { reason: error.to_string() })?;
    // A small frame must not wait for the acknowledgement of the one before (Nagle).
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(identity))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()))
}

fn boxed<T>(transport: T) -> Boxed<Connection>
where
    T: Transport<Output = Connection, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>
        + Send
        + Unpin
        + 'static,
{
    TransportTimeout::new(transport, CONNECT_MAX).boxed()
}
