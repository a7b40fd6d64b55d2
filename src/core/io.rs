//! What goes into the core and what comes out of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use henge_types::{Multiaddr, PeerId};
use thiserror::Error;

use crate::event::Event;
use crate::snapshot::Order;
use crate::store::{StoreOp, StoreResult, Ticket};

/// Names a request that this peer sent to another. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a request that another peer (or a client) sent to this one, until it is answered.
/// Chosen by whoever drives the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

/// Names a request of the embedding program, until it is answered. Chosen by whoever drives the
/// core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Another peer, or a client.
    Channel(ChannelId),
    /// The embedding program.
    Command(CommandId),
}

/// A request of any of henge's protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// See [`henge_membership`].
    Membership(henge_membership::Request),
    /// See [`henge_quorum`].
    Quorum(henge_quorum::Request),
    /// See [`henge_sync`].
    Sync(henge_sync::Request),
    /// See [`henge_handoff`].
    Handoff(henge_handoff::Request),
    /// See [`henge_client`].
    Client(henge_client::Request),
}

/// A response of any of henge's protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// See [`henge_membership`].
    Membership(henge_membership::Response),
    /// See [`henge_quorum`].
    Quorum(henge_quorum::Response),
    /// See [`henge_sync`].
    Sync(henge_sync::Response),
    /// See [`henge_handoff`].
    Handoff(henge_handoff::Response),
    /// See [`henge_client`].
    Client(henge_client::Response),
}

/// Why a request to a peer got no response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// It could not be reached; the request was not sent.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The connection was lost; the request may have been sent.
    #[error("the connection was lost")]
    ConnectionLost,
    /// No response in time.
    #[error("no response in time")]
    TimedOut,
    /// It does not speak the protocol: no henge peer, or one of another cluster.
    #[error("the peer does not speak this cluster's protocols: is it of another cluster?")]
    Unsupported,
    /// A bound of this peer's own was hit; the request was not sent.
    #[error("too much is queued for the peer")]
    Full,
    /// It broke the protocol.
    #[error("the peer broke the protocol: {reason}")]
    Fault {
        /// How.
        reason: String,
    },
}

/// What happens to a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A first connection to `peer` is open.
    Connected {
        /// Who.
        peer: PeerId,
    },
    /// The last connection to `peer` is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// One of several connections to `peer` broke, and not because it was idle.
    ConnectionBroken {
        /// Whom.
        peer: PeerId,
    },
    /// An [`Output::DialAddress`] succeeded: `peer` is at `address`. Comes before the
    /// [`Input::Connected`] of that peer, if that connection is its first.
    Dialed {
        /// Who.
        peer: PeerId,
        /// The address that was dialled.
        address: Multiaddr,
    },
    /// A dial that the core asked for failed.
    DialFailed {
        /// Whom it was for, where that is known.
        peer: Option<PeerId>,
        /// Which address was dialled, for a dial to an address.
        address: Option<Multiaddr>,
        /// What the transport said.
        reason: String,
    },
    /// A request came.
    Request {
        /// From whom.
        peer: PeerId,
        /// How to answer.
        channel: ChannelId,
        /// What.
        request: Request,
    },
    /// A request that the core sent was answered, or failed.
    Response {
        /// Which.
        request: RequestId,
        /// How.
        result: Result<Response, RequestFailure>,
    },
    /// A message on the cluster's gossip topic.
    Gossip {
        /// Its payload.
        data: Bytes,
    },
    /// A store operation was executed.
    Stored {
        /// Which.
        ticket: Ticket,
        /// With which result.
        result: StoreResult,
        /// Whether it is durable already; else [`Input::Durable`] follows. True for reads.
        durable: bool,
    },
    /// All writes up to this ticket are durable.
    Durable {
        /// The last of them.
        through: Ticket,
    },
    /// A flush failed: what is on disk is unknown.
    Poisoned(crate::store::StoreError),
    /// The embedding program asks.
    Command {
        /// How to answer.
        command: CommandId,
        /// What.
        request: henge_client::Request,
    },
    /// The addresses under which this peer can be dialled, all of them.
    Addresses(Vec<Multiaddr>),
    /// About how many records the store has.
    Records(u64),
    /// Stop: answer what is under way, save, and say [`Output::Stopped`].
    Stop,
}

/// What a peer does.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a request. Exactly one [`Input::Response`] with its id follows.
    Request {
        /// Its name.
        id: RequestId,
        /// To whom.
        peer: PeerId,
        /// What.
        request: Request,
        /// When to give up.
        timeout: Duration,
    },
    /// Answer a request.
    Respond {
        /// Which.
        channel: ChannelId,
        /// How.
        response: Response,
    },
    /// Publish on the cluster's gossip topic.
    Publish {
        /// The payload.
        data: Bytes,
    },
    /// Execute a store operation. Exactly one [`Input::Stored`] with its ticket follows.
    Store {
        /// Its name; tickets of writes ascend.
        ticket: Ticket,
        /// What.
        op: StoreOp,
    },
    /// Answer the embedding program.
    Reply {
        /// Which command.
        command: CommandId,
        /// How.
        response: henge_client::Response,
    },
    /// Answer how far a snapshot of the store is, by a [`henge_client::Response::Snapshot`]; take one first,
    /// where `begin` says which. It shows what the store has at this moment.
    Snapshot {
        /// Whom to answer.
        asker: Asker,
        /// What to begin. One at a time: another one is refused.
        begin: Option<Order>,
    },
    /// Open a connection to a member.
    Dial {
        /// Whom.
        peer: PeerId,
        /// Where, best first.
        addresses: Vec<Multiaddr>,
    },
    /// Open a connection to whoever is at this address (one to join through).
    DialAddress {
        /// Where; may end in `/p2p/PEER`.
        address: Multiaddr,
    },
    /// Tell the embedding program.
    Event(Event),
    /// The core is done and saved.
    Stopped,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
