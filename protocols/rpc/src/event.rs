//! What the behaviour tells the program.

use std::fmt;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::{InboundFailure, OutboundFailure, ResponseChannel};

/// Names one request of this peer, unique for the life of the behaviour. Later requests have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The id on the wire.
    pub(crate) number: u64,
    /// Where the behaviour keeps the remote, so that finding a request needs no second map.
    pub(crate) slot: u32,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// What happened. Every request that was sent and not cancelled ends in exactly one `Response` or `OutboundFailure`.
#[derive(Debug)]
pub enum Event<Req, Res> {
    /// A remote asks. Answer with [`Behaviour::send_response`](crate::Behaviour::send_response), or drop the channel
    /// to refuse; either tells the requester at once.
    Request {
        /// Who asks.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// Where the answer goes.
        channel: ResponseChannel,
        /// What is asked.
        request: Req,
    },
    /// A request of this peer was answered.
    Response {
        /// Who answers.
        peer: PeerId,
        /// Which request.
        id: RequestId,
        /// The answer.
        response: Res,
    },
    /// A request of this peer ended without an answer.
    OutboundFailure {
        /// To whom it went.
        peer: PeerId,
        /// Which request.
        id: RequestId,
        /// Why.
        error: OutboundFailure,
    },
    /// Something went wrong with requests of a remote.
    InboundFailure {
        /// Whose.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// What.
        error: InboundFailure,
    },
}

/// What waits for one peer: for backpressure in the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Requests that are not sent yet.
    pub queued: usize,
    /// Their bytes as they count towards [`Config::max_queued_bytes_per_peer`](crate::Config::max_queued_bytes_per_peer).
    pub queued_bytes: usize,
    /// Requests that are sent and unanswered.
    pub in_flight: usize,
    /// Requests of that peer that are unanswered here.
    pub inbound: usize,
}

/// Totals since the behaviour was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// How often a remote broke the protocol.
    pub faults: u64,
    /// Responses that came after their request had timed out or was cancelled, or that nobody asked for.
    pub late_responses: u64,
    /// Requests refused because a bound was reached.
    pub full: u64,
}
