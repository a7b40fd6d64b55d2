//! Why a request got no answer, and what a remote did wrong.

/// Why a request of this peer got no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundFailure {
    /// No connection, and dialing failed; the swarm reports the cause as `OutgoingConnectionError`. Nothing was sent.
    #[error("the peer could not be dialed")]
    DialFailure,
    /// No connection, and the configuration forbids to dial. Nothing was sent.
    #[error("not connected to the peer")]
    NotConnected,
    /// No answer in time. The remote may have acted on the request, or may still do so.
    #[error("no answer in time")]
    Timeout,
    /// The connection or the substream ended after the request was sent. The remote may have acted on it.
    #[error("the connection closed before an answer came")]
    ConnectionClosed,
    /// The remote does not speak this protocol, or does not serve it. Nothing was sent.
    #[error("the peer does not speak this protocol")]
    UnsupportedProtocol,
    /// The connection stands, but several attempts to open a substream on it failed. Nothing was sent.
    #[error("no substream could be opened")]
    OpenFailed,
    /// The request is larger than a frame may be. Nothing was sent.
    #[error("a request of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Length of the frame.
        bytes: usize,
        /// The limit on this side, [`Config::max_frame_bytes`](crate::Config::max_frame_bytes).
        limit: usize,
    },
    /// The `Serialize` implementation of the request failed. Nothing was sent.
    #[error("the request could not be serialised")]
    Unserialisable,
    /// A bound on what may wait for this peer is reached. Nothing was sent: the caller should slow down.
    #[error("the queue to the peer is full: {bound}")]
    Full {
        /// Which bound.
        bound: Bound,
    },
    /// The remote could not decode the request. It did not act on it.
    #[error("the peer could not decode the request")]
    UndecodableRequest,
    /// The response is larger than a frame of the remote may be. The remote acted on the request.
    #[error("a response of {bytes} bytes exceeds the peer's limit of {limit}")]
    ResponseTooLarge {
        /// Length that the frame would have had.
        bytes: u64,
        /// The limit of the remote.
        limit: u64,
    },
    /// The remote dropped the request without a response. It may have acted on it.
    #[error("the peer dropped the request without an answer")]
    Refused,
    /// This peer reads its responses too slowly, and the remote discarded this one. It may have acted on the request.
    #[error("the peer discarded its response because too many wait to be read")]
    Overloaded,
    /// The remote broke the protocol in its answer or before it. It may have acted on the request.
    #[error("the peer broke the protocol: {0}")]
    Fault(#[source] PeerFault),
}

/// A bound on what may wait for one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Bound {
    /// [`Config::max_queued_bytes_per_peer`](crate::Config::max_queued_bytes_per_peer).
    #[error("{limit} bytes may wait unsent")]
    QueuedBytes {
        /// The number configured.
        limit: usize,
    },
}

/// Why requests of a remote ended without a response, or a response was replaced by an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InboundFailure {
    /// The connection or the substream ended while requests of it were unanswered.
    #[error("the requester left {unanswered} requests unanswered")]
    ConnectionClosed {
        /// How many; their channels are closed.
        unanswered: usize,
    },
    /// The body of one request is not a `Req`. The requester was told; other requests go on.
    #[error("a request could not be decoded")]
    UndecodableRequest,
    /// A response of this peer is larger than a frame may be. The requester was told instead.
    #[error("a response of {bytes} bytes exceeds the limit of {limit}")]
    ResponseTooLarge {
        /// Length of the frame.
        bytes: usize,
        /// The limit on this side, [`Config::max_frame_bytes`](crate::Config::max_frame_bytes).
        limit: usize,
    },
    /// The `Serialize` implementation of a response failed. The requester sees `Refused`.
    #[error("a response could not be serialised")]
    Unserialisable,
    /// The requester does not read its responses: this one was replaced by a short error.
    #[error("{waiting} bytes of responses wait to be read, the limit is {limit}")]
    Overloaded {
        /// Bytes of responses that wait on this connection.
        waiting: usize,
        /// The limit, [`Config::max_queued_bytes_per_peer`](crate::Config::max_queued_bytes_per_peer).
        limit: usize,
    },
    /// The remote broke the framing; the substream is closed and its unanswered requests are void.
    #[error("the peer broke the protocol: {fault}")]
    Fault {
        /// What it did.
        #[source]
        fault: PeerFault,
        /// Requests of the substream that had no answer yet; their channels are closed.
        unanswered: usize,
    },
}

/// What a remote did that the protocol does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The header announces more than a frame may have.
    #[error("a frame of {bytes} bytes exceeds the limit of {limit}")]
    Oversize {
        /// Announced length.
        bytes: usize,
        /// The limit on this side.
        limit: usize,
    },
    /// The header announces less than kind and id need.
    #[error("a frame of {bytes} bytes is too short")]
    Undersize {
        /// Announced length.
        bytes: usize,
    },
    /// A kind byte that the protocol does not know, or not in this direction.
    #[error("unexpected frame kind {kind}")]
    UnexpectedKind {
        /// The byte.
        kind: u8,
    },
    /// The substream ended within a frame.
    #[error("the substream ended within a frame")]
    Truncated,
    /// A response to a request that was never sent on this substream.
    #[error("a response to request {id}, which was not sent")]
    UnexpectedId {
        /// The id in the frame.
        id: u64,
    },
    /// The body of one response is not a `Res`. Other requests go on.
    #[error("a response could not be decoded")]
    UndecodableResponse,
    /// The body of a failure frame has an unknown shape.
    #[error("an unknown failure code")]
    UnknownFailure,
}
