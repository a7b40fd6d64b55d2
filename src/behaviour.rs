//! The peer as a [`NetworkBehaviour`]: the only place that knows the swarm, the clock and entropy.
//!
//! What happens becomes an [`Input`], and what the core decides is carried out at once:
//!
//! ```text
//! swarm, rpc, gossip, store, handle, timer  →  drive  →  Core  →  carry  →  rpc, gossip, store, handle, swarm
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `drive` | everything that can happen, polled in turns |
//! | `carry` | everything that the core can decide |
//! | `inner` | the behaviours inside, and the names of their protocols |
//! | `dials`, `addresses` | dials with the reasons of their failures; where this peer can be reached |
//! | `disk` | the way to the store's worker |
//! | `slots` | requests that wait for their answers |
//! | `snapshots` | the thread that writes a backup |
//! | `clock`, `keys` | where time enters; signatures |

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use henge_types::{Now, PeerId};
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::TopicHash;
use libp2p::identity::Keypair;
use libp2p::swarm::{
    ConnectionDenied, ConnectionError, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use tokio::sync::{mpsc, oneshot};

use self::addresses::Addresses;
use self::clock::{Alarm, Clock};
use self::dials::Dials;
use self::disk::Disk;
use self::inner::{Inner, PROTOCOLS};
use self::keys::Keys;
use self::slots::Slots;
use self::snapshots::Snapshots;
use crate::config::Config;
use crate::core::{Core, Identity, Input, RequestId, Saved};
use crate::error::{RequestError, StartError};
use crate::event::Event;
use crate::handle::{Call, Handle};
use crate::store::worker::{Durability, Worker};
use crate::store::{MetaKey, Store};

mod addresses;
mod carry;
pub(crate) mod clock;
mod dials;
mod disk;
mod drive;
mod inner;
mod keys;
mod slots;
mod snapshots;

/// Requests of the embedding program under way. Beyond, they wait in the queue of their handle.
const COMMANDS_MAX: usize = 4096;
/// Requests of others under way, for each protocol. Beyond, they are refused at once.
const CHANNELS_MAX: usize = 16 << 10;
/// Requests to others under way, for each protocol. Beyond, they fail at once.
const REQUESTS_MAX: usize = 64 << 10;

type Command = ToSwarm<Event, THandlerInEvent<Inner>>;
type Answer = oneshot::Sender<Result<henge_client::Response, RequestError>>;

/// A peer of a henge cluster, for a program with a swarm of its own.
///
/// It speaks only protocols whose names begin with `/henge/`, and can stand beside any other
/// behaviour, another gossipsub included. It dials members itself and listens nowhere: that is
/// the program's to do. It works while the swarm is polled; a program that polls its swarm too
/// seldom looks dead to the other members.
pub struct Behaviour {
    core: Core,
    inner: Inner,
    topic: TopicHash,
    clock: Clock,
    now: Now,
    alarm: Alarm,
    store: Arc<dyn Store>,
    disk: Disk,
    snapshots: Snapshots,
    /// When the records are counted again.
    next_count: Duration,
    handle: Handle,
    calls: mpsc::Receiver<Call>,
    commands: Slots<Answer>,
    channels: [Slots<henge_rpc::ResponseChannel>; PROTOCOLS],
    requests: [HashMap<henge_rpc::RequestId, RequestId>; PROTOCOLS],
    dials: Dials,
    addresses: Addresses,
    /// What the core is told next: outcomes that were known while its outputs were carried out.
    inputs: VecDeque<Input>,
    to_swarm: VecDeque<Command>,
    /// How many inputs the core may still take before others have their turn.
    budget: usize,
    stopped: bool,
    counters: Counters,
    waker: Option<Waker>,
}

/// How often a bound was hit. Shown in the status of this peer.
#[derive(Debug, Default)]
struct Counters {
    requests_refused: u64,
    requests_not_sent: u64,
    gossip_not_sent: u64,
}

impl Behaviour {
    /// A peer with the identity of the swarm, on a store of its own.
    ///
    /// Reads what the store remembers and starts its threads, which blocks for some milliseconds.
    ///
    /// # Errors
    /// [`StartError::Identity`] for a key that is not Ed25519, [`StartError::Store`],
    /// [`StartError::Config`].
    pub fn new(
        config: Config,
        keypair: &Keypair,
        store: Arc<dyn Store>,
        durability: Durability,
    ) -> Result<Self, StartError> {
        let peer = keypair.public().to_peer_id();
        if !Keys::is_inside(&peer) {
            return Err(StartError::Identity { reason: "henge needs an Ed25519 key".to_owned() });
        }
        let inner = Inner::new(config.cluster())
            .map_err(|error| StartError::Identity { reason: error.to_string() })?;
        let topic = inner::topic(config.cluster()).hash();
        let saved = load(&*store)?;
        let disk = Disk::new(Worker::spawn(Arc::clone(&store), durability)?);
        let clock = Clock::start();
        let now = clock.now();
        let identity = Identity { peer, signer: Arc::new(Keys::new(keypair.clone())) };
        let core = Core::new(config, identity, &saved, rand::random(), now)?;
        let (handle, calls) = Handle::new();
        Ok(Self {
            core,
            inner,
            topic,
            clock,
            now,
            alarm: Alarm::new(),
            store,
            disk,
            snapshots: Snapshots::default(),
            next_count: Duration::ZERO,
            handle,
            calls,
            commands: Slots::new(COMMANDS_MAX),
            channels: std::array::from_fn(|_| Slots::new(CHANNELS_MAX)),
            requests: std::array::from_fn(|_| HashMap::new()),
            dials: Dials::default(),
            addresses: Addresses::default(),
            inputs: VecDeque::new(),
            to_swarm: VecDeque::new(),
            budget: drive::INPUTS_MAX,
            stopped: false,
            counters: Counters::default(),
            waker: None,
        })
    }

    /// Puts, gets and deletes through this peer, from any task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks the peer to stop cleanly: to answer what is under way and to save. The swarm has to be
    /// polled until [`Event::Stopped`] comes.
    pub fn stop(&mut self) {
        self.now = self.clock.now();
        self.tell(Input::Stop);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("topic", &self.topic)
            .field("counters", &self.counters)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

fn load(store: &dyn Store) -> Result<Saved, StartError> {
    let mut saved = Saved::default();
    for key in MetaKey::ALL {
        if let Some(value) = store.meta(key)? {
            saved.insert(key, value);
        }
    }
    Ok(saved)
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<Inner>;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
        self.now = self.clock.now();
        if self.addresses.on_swarm_event(&event) {
            self.tell(Input::Addresses(self.addresses.all()));
        } else if let FromSwarm::ConnectionEstablished(established) = event {
            if let Some(address) = self.dials.on_established(established.connection_id) {
                self.tell(Input::Dialed { peer: established.peer_id, address });
            }
            if established.other_established == 0 {
                self.tell(Input::Connected { peer: established.peer_id });
            }
        } else if let FromSwarm::ConnectionClosed(closed) = event {
            let peer = closed.peer_id;
            if closed.remaining_established == 0 {
                self.tell(Input::Disconnected { peer });
            } else if matches!(closed.cause, Some(ConnectionError::IO(_))) {
                self.tell(Input::ConnectionBroken { peer });
            }
        } else if let FromSwarm::DialFailure(DialFailure { connection_id, error, .. }) = event
            && let Some(next) = self.dials.on_failed(connection_id, error)
        {
            self.dial(next);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        self.drive(cx)
    }
}
