//! What a program may choose, with a reason for each default.

use std::time::Duration;

/// Bounds and policies of a [`Behaviour`](crate::Behaviour). Built by `Config::default()` and the `with_*` methods.
///
/// Every number is per peer or per frame, so the memory that one remote with one connection can make this peer hold is
/// at most about `2 · max_queued_bytes_per_peer + max_inbound_bytes_per_peer + 5 · max_frame_bytes`, as encoded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    max_frame_bytes: usize,
    request_timeout: Duration,
    max_in_flight_per_peer: usize,
    max_queued_bytes_per_peer: usize,
    max_inbound_in_flight: usize,
    max_inbound_bytes_per_peer: usize,
    keep_alive: KeepAlive,
    dial_on_request: bool,
    serve: bool,
}

/// For how long this behaviour asks the swarm to keep a connection open.
///
/// The swarm closes a connection after its own idle time-out once no behaviour and no counted substream holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepAlive {
    /// While a request of either side is unanswered. For programs that talk to many peers, each seldom.
    WhileBusy,
    /// From the first request of either side until the connection breaks. The default, because opening a
    /// connection costs more than hundreds of requests.
    WhileOpen,
    /// From the moment that the connection exists, whether or not a request was ever sent.
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Our choice: a value of 1 MiB with its siblings, and still small beside a machine's memory.
            max_frame_bytes: 4 << 20,
            // Our choice: the same as libp2p's request-response.
            request_timeout: Duration::from_secs(10),
            // Our choice: throughput over loopback does not rise past 256.
            max_in_flight_per_peer: 1024,
            max_queued_bytes_per_peer: 16 << 20,
            // As many as a remote with the same defaults sends, so that the window of the sender is what binds.
            max_inbound_in_flight: 1024,
            max_inbound_bytes_per_peer: 16 << 20,
            keep_alive: KeepAlive::WhileOpen,
            dial_on_request: true,
            serve: true,
        }
    }
}

impl Config {
    /// Largest frame sent or accepted, in bytes, without its length prefix: body + 9. At least 64, at most `u32::MAX`.
    ///
    /// Both sides should use the same number: a request over the limit of the remote costs the substream.
    pub fn with_max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes.clamp(64, u32::MAX as usize);
        self
    }

    /// Time from `send_request` until it fails with `Timeout`, dialing and waiting included.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Requests to one peer that may be sent and unanswered at a time; further ones wait in the queue. At least 1.
    pub fn with_max_in_flight_per_peer(mut self, requests: usize) -> Self {
        self.max_in_flight_per_peer = requests.max(1);
        self
    }

    /// Bytes of requests to one peer that may wait unsent; beyond, a request fails with `Full`.
    ///
    /// Each waiting request counts its frame and [`QUEUED_REQUEST_BYTES`](crate::QUEUED_REQUEST_BYTES). One request
    /// may always wait, whatever its size. The same number bounds the responses that one connection has not taken yet.
    pub fn with_max_queued_bytes_per_peer(mut self, bytes: usize) -> Self {
        self.max_queued_bytes_per_peer = bytes;
        self
    }

    /// Requests of one peer that may be unanswered here at a time; beyond, its substream is not read. At least 1.
    pub fn with_max_inbound_in_flight(mut self, requests: usize) -> Self {
        self.max_inbound_in_flight = requests.max(1);
        self
    }

    /// Bytes of unanswered requests of one peer beyond which its substream is not read.
    pub fn with_max_inbound_bytes_per_peer(mut self, bytes: usize) -> Self {
        self.max_inbound_bytes_per_peer = bytes.max(1);
        self
    }

    /// For how long a connection is kept open. Default: [`KeepAlive::WhileOpen`].
    pub fn with_keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Whether a request to a peer without a connection dials it. Default: yes. If not, it fails with `NotConnected`.
    pub fn with_dial_on_request(mut self, dial: bool) -> Self {
        self.dial_on_request = dial;
        self
    }

    /// Whether requests of others are accepted. Default: yes. If not, others see a peer without this protocol.
    pub fn with_serve(mut self, serve: bool) -> Self {
        self.serve = serve;
        self
    }

    /// See [`Config::with_max_frame_bytes`].
    pub fn max_frame_bytes(&self) -> usize {
        self.max_frame_bytes
    }

    /// See [`Config::with_request_timeout`].
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// See [`Config::with_max_in_flight_per_peer`].
    pub fn max_in_flight_per_peer(&self) -> usize {
        self.max_in_flight_per_peer
    }

    /// See [`Config::with_max_queued_bytes_per_peer`].
    pub fn max_queued_bytes_per_peer(&self) -> usize {
        self.max_queued_bytes_per_peer
    }

    /// See [`Config::with_max_inbound_in_flight`].
    pub fn max_inbound_in_flight(&self) -> usize {
        self.max_inbound_in_flight
    }

    /// See [`Config::with_max_inbound_bytes_per_peer`].
    pub fn max_inbound_bytes_per_peer(&self) -> usize {
        self.max_inbound_bytes_per_peer
    }

    /// See [`Config::with_keep_alive`].
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// See [`Config::with_dial_on_request`].
    pub fn dial_on_request(&self) -> bool {
        self.dial_on_request
    }

    /// See [`Config::with_serve`].
    pub fn serve(&self) -> bool {
        self.serve
    }
}
