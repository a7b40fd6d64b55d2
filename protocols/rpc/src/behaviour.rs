//! The behaviour: which requests are open, to whom, and until when.

mod deadlines;
mod peers;
mod swarm;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{PeerAddresses, ToSwarm};
use libp2p::{PeerId, StreamProtocol};
use serde::Serialize;
use void::Void;

use crate::body::{self, Unencodable};
use crate::clock;
use crate::config::Config;
use crate::event::{Counters, Event, Pending, RequestId};
use crate::frame::{Failure, Kind};
use crate::link::Delivery;
use crate::queue::QUEUED_REQUEST_BYTES;
use crate::{Bound, InboundFailure, OutboundFailure, ResponseChannel};
use deadlines::Deadlines;
use peers::{Dial, Peers};

/// Of so many peers addresses are remembered, ten each; the least recently used go first.
const KNOWN_PEERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Above this, the memory of the encoder is given back after use.
const KEPT_SCRATCH_BYTES: usize = 256 << 10;

/// Requests to other peers and their answers, many at a time on one substream per peer.
///
/// A `NetworkBehaviour` without a clock or a thread of its own: it works while the swarm is polled. Every call
/// returns at once; every outcome comes as an [`Event`]. A request waits in a bounded queue while its peer is dialed
/// and while the window is full. Order is kept on the way out, and not promised on the way back.
#[derive(Debug)]
pub struct Behaviour<Req, Res> {
    protocol: StreamProtocol,
    config: Arc<Config>,
    peers: Peers,
    addresses: PeerAddresses,
    deadlines: Deadlines,
    next_number: u64,
    events: VecDeque<ToSwarm<Event<Req, Res>, Void>>,
    waker: Option<Waker>,
    scratch: Vec<u8>,
    counters: Counters,
    messages: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> Behaviour<Req, Res>
where
    Req: Serialize + Debug,
    Res: Serialize + Debug,
{
    /// A behaviour for one protocol. The name should carry a version: frames have none.
    pub fn new(protocol: StreamProtocol, config: Config) -> Self {
        Self {
            protocol,
            config: Arc::new(config),
            peers: Peers::default(),
            addresses: PeerAddresses::new(KNOWN_PEERS),
            deadlines: Deadlines::default(),
            next_number: 1,
            events: VecDeque::new(),
            waker: None,
            scratch: Vec::new(),
            counters: Counters::default(),
            messages: PhantomData,
        }
    }

    /// Sends a request, with the time-out of the configuration.
    pub fn send_request(&mut self, peer: &PeerId, request: Req) -> RequestId {
        self.send_request_within(peer, request, self.config.request_timeout())
    }

    /// Sends a request that has `timeout` from now until its answer is here.
    ///
    /// A refusal on this side, such as [`OutboundFailure::Full`], comes as an event too.
    pub fn send_request_within(&mut self, peer: &PeerId, request: Req, timeout: Duration) -> RequestId {
        let slot = self.peers.enter(peer, &self.config);
        let id = RequestId { number: self.next_number, slot };
        self.next_number += 1;
        if let Err(error) = self.try_send(peer, id, &request, timeout) {
            if matches!(error, OutboundFailure::Full { .. }) {
                self.counters.full += 1;
            }
            self.emit(Event::OutboundFailure { peer: *peer, id, error });
            self.peers.forget_if_idle(slot);
        }
        id
    }

    fn try_send(
        &mut self,
        peer_id: &PeerId,
        id: RequestId,
        request: &Req,
        timeout: Duration,
    ) -> Result<(), OutboundFailure> {
        let limit = self.config.max_frame_bytes();
        clear_scratch(&mut self.scratch);
        // Not straight into the queue: that is locked, and `Serialize` is foreign code.
        body::encode(&mut self.scratch, Kind::Request, id.number, request, limit).map_err(
            |error| match error {
                Unencodable::TooLarge { bytes } => OutboundFailure::TooLarge { bytes, limit },
                Unencodable::Unserialisable => OutboundFailure::Unserialisable,
            },
        )?;
        let Some(peer) = self.peers.in_slot(id.slot) else { return Err(OutboundFailure::NotConnected) };
        let connected = {
            let mut state = peer.link.lock();
            let connected = state.is_connected();
            if !connected && peer.dial == Dial::None && !self.config.dial_on_request() {
                return Err(OutboundFailure::NotConnected);
            }
            let queued_bytes = state.queue.counted_bytes();
            let limit = self.config.max_queued_bytes_per_peer();
            if queued_bytes > 0 && queued_bytes + self.scratch.len() + QUEUED_REQUEST_BYTES > limit {
                return Err(OutboundFailure::Full { bound: Bound::QueuedBytes { limit } });
            }
            state.enqueue(id.number, &self.scratch);
            connected
        };
        let now = clock::now();
        // A time-out too long to be represented is as good as a year.
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(365 * 86_400));
        peer.pending.insert(id.number, deadline);
        let dial = !connected && peer.dial == Dial::None;
        if self.deadlines.insert(deadline, id) {
            self.wake();
        }
        if dial {
            self.dial(peer_id, id.slot);
        }
        Ok(())
    }

    /// Answers a request. `Err` gives the response back: the requester is gone.
    ///
    /// A response over the frame limit, or that waits behind too many unread ones, is replaced by an error that the
    /// requester sees, and reported here as [`Event::InboundFailure`].
    pub fn send_response(&mut self, channel: ResponseChannel, response: Res) -> Result<(), Res> {
        if !channel.is_open() {
            let _ = channel.fail(Failure::Refused);
            return Err(response);
        }
        let limit = self.config.max_frame_bytes();
        let (peer, connection) = (channel.peer(), channel.connection());
        clear_scratch(&mut self.scratch);
        let encoded = body::encode(&mut self.scratch, Kind::Response, channel.id(), &response, limit);
        let (delivery, error) = match encoded {
            Ok(()) => (channel.answer(&self.scratch), None),
            Err(Unencodable::TooLarge { bytes }) => (
                channel.fail(Failure::ResponseTooLarge { bytes: bytes as u64, limit: limit as u64 }),
                Some(InboundFailure::ResponseTooLarge { bytes, limit }),
            ),
            Err(Unencodable::Unserialisable) => {
                (channel.fail(Failure::Refused), Some(InboundFailure::Unserialisable))
            }
        };
        let error = match delivery {
            Delivery::Closed => return Err(response),
            Delivery::Accepted => error,
            Delivery::Overloaded { waiting } => {
                let limit = self.config.max_queued_bytes_per_peer();
                Some(InboundFailure::Overloaded { waiting, limit })
            }
        };
        if let Some(error) = error {
            self.emit(Event::InboundFailure { peer, connection, error });
        }
        Ok(())
    }

    /// Forgets a request: no event will come, and its place is free. The remote may still act on it.
    ///
    /// Does nothing if the request has an outcome already.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(peer) = self.peers.in_slot(id.slot)
            && let Some(deadline) = peer.pending.remove(&id.number)
        {
            self.deadlines.remove(deadline, id);
            let mut state = peer.link.lock();
            state.queue.remove(id.number);
            state.settle(1, self.config.keep_alive());
        }
    }

    /// Whether there is a connection to `peer`. It may turn out not to speak the protocol.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.link.lock().is_connected())
    }

    /// What waits for `peer`.
    pub fn pending(&self, peer: &PeerId) -> Pending {
        self.peers.get(peer).map_or_else(Pending::default, |peer| {
            let state = peer.link.lock();
            Pending {
                queued: state.queue.len(),
                queued_bytes: state.queue.counted_bytes(),
                in_flight: state.outstanding.saturating_sub(state.queue.len()),
                inbound: state.unanswered(),
            }
        })
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl<Req, Res> Behaviour<Req, Res> {
    fn emit(&mut self, event: Event<Req, Res>) {
        self.events.push_back(ToSwarm::GenerateEvent(event));
        self.wake();
    }

    /// For what happens outside `poll`.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn dial(&mut self, peer_id: &PeerId, slot: u32) {
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let opts = DialOpts::peer_id(*peer_id).condition(PeerCondition::DisconnectedAndNotDialing).build();
        peer.dial = Dial::Ours(opts.connection_id());
        self.events.push_back(ToSwarm::Dial { opts });
        self.wake();
    }

    /// Ends all requests to a peer up to a number.
    fn fail_up_to(&mut self, slot: u32, up_to: u64, error: &OutboundFailure) {
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let later = peer.pending.split_off(&up_to.saturating_add(1));
        let failed = std::mem::replace(&mut peer.pending, later);
        peer.link.lock().settle(failed.len(), self.config.keep_alive());
        let peer = peer.id;
        for (number, deadline) in failed {
            let id = RequestId { number, slot };
            self.deadlines.remove(deadline, id);
            let event = Event::OutboundFailure { peer, id, error: error.clone() };
            self.events.push_back(ToSwarm::GenerateEvent(event));
        }
        self.wake();
    }
}

fn clear_scratch(scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.shrink_to(KEPT_SCRATCH_BYTES);
}

#[cfg(test)]
mod tests;
