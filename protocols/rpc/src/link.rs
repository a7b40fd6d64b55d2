//! What the behaviour, the handlers and the response channels of one peer share.
//!
//! Requests wait in one queue per peer, and the handler of the chosen connection takes them from there when it can
//! write. So a request that was not taken survives the death of a connection, and the swarm's own event channel
//! (seven events deep) is out of the way. The lock is held for copies of bytes only, never while user code runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::config::{Config, KeepAlive};
use crate::frame::Failure;
use crate::queue::Queue;

/// A writer takes about this much at a time; larger batches gain nothing.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// Shared by all connections to one peer.
#[derive(Debug)]
pub(crate) struct Link {
    peer: PeerId,
    config: Arc<Config>,
    state: Mutex<State>,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Requests not yet taken.
    pub(crate) queue: Queue,
    /// Requests without an outcome: those in the queue and those in flight. Only the behaviour changes it.
    pub(crate) outstanding: usize,
    /// The connection that carries the requests of this peer.
    chosen: Option<ConnectionId>,
    lanes: Vec<Lane>,
    unanswered: usize,
    unanswered_bytes: usize,
    /// A handler stopped reading because of the two numbers above.
    stalled: bool,
}

/// One connection.
#[derive(Debug)]
struct Lane {
    connection: ConnectionId,
    established: bool,
    /// Another connection was chosen after this one: requests up to this number may be on their way here.
    retired_at: Option<u64>,
    /// Opening a substream failed, and the behaviour has not decided yet what follows.
    blocked: bool,
    waker: Option<Waker>,
    /// The waker was used since the handler last ran.
    notified: bool,
    /// Which inbound substream is open; 0 for none.
    epoch: u64,
    last_epoch: u64,
    unanswered: usize,
    responses: Vec<u8>,
}

impl Lane {
    fn wake(&mut self) {
        if !self.notified
            && let Some(waker) = &self.waker
        {
            self.notified = true;
            waker.wake_by_ref();
        }
    }
}

/// What is left when a connection is removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Requests of the remote that nobody can answer any more.
    pub(crate) unanswered: usize,
    /// If it is or was the chosen connection: all requests up to this id were sent, and are lost.
    pub(crate) lost_up_to: Option<u64>,
    /// Requests wait, and no other connection can take them.
    pub(crate) stranded: bool,
}

/// What there is of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A connection, or requests to it.
    Something,
    /// Only requests of it that this program has not answered.
    Channels,
    Nothing,
}

/// Requests that a handler took to write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) count: usize,
    /// The number of the last one.
    pub(crate) up_to: u64,
}

/// How many requests of the remote may still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Accepted,
    /// The requester is gone.
    Closed,
    /// So many bytes wait to be read that a short failure went out instead.
    Overloaded {
        waiting: usize,
    },
}

impl Link {
    pub(crate) fn new(peer: PeerId, config: Arc<Config>) -> Self {
        Self { peer, config, state: Mutex::default() }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// No code that can panic in the middle of a change runs under the lock, so a poisoned one is as good as any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // For response channels.

    /// Ends one request of the remote: `frame` goes out if its substream is still there.
    pub(crate) fn answer(
        &self,
        connection: ConnectionId,
        epoch: u64,
        request_bytes: usize,
        id: u64,
        frame: &[u8],
    ) -> Delivery {
        let limit = self.config.max_queued_bytes_per_peer();
        let mut state = self.lock();
        state.release(request_bytes);
        let Some(lane) = state.lane(connection).filter(|lane| lane.epoch == epoch) else {
            return Delivery::Closed;
        };
        lane.unanswered = lane.unanswered.saturating_sub(1);
        lane.wake();
        let waiting = lane.responses.len();
        if waiting > 0 && waiting + frame.len() > limit {
            Failure::Overloaded.write(&mut lane.responses, id);
            return Delivery::Overloaded { waiting };
        }
        lane.responses.extend_from_slice(frame);
        Delivery::Accepted
    }

    pub(crate) fn is_open(&self, connection: ConnectionId, epoch: u64) -> bool {
        self.lock().lane(connection).is_some_and(|lane| lane.epoch == epoch)
    }

    // For handlers.

    /// Takes requests to write on `connection`, as many as the window allows.
    pub(crate) fn take_requests(&self, connection: ConnectionId, out: &mut Vec<u8>) -> Option<Taken> {
        let mut state = self.lock();
        if state.chosen != Some(connection) || state.queue.is_empty() {
            return None;
        }
        let in_flight = state.outstanding.saturating_sub(state.queue.len());
        let window = self.config.max_in_flight_per_peer().saturating_sub(in_flight);
        let count = state.queue.take(out, window, BATCH_BYTES);
        (count > 0).then(|| Taken { count, up_to: state.queue.taken() })
    }

    /// Takes the responses to write on `connection`. `out` must be empty.
    pub(crate) fn take_responses(&self, connection: ConnectionId, out: &mut Vec<u8>) {
        debug_assert!(out.is_empty(), "nothing is overwritten");
        if let Some(lane) = self.lock().lane(connection) {
            std::mem::swap(&mut lane.responses, out);
        }
    }

    /// What may be read on `connection` now. Without room the handler is woken when there is some.
    pub(crate) fn room(&self, connection: ConnectionId) -> Room {
        let mut state = self.lock();
        // Whoever does not read its responses gets no more of them.
        let backlog = state.lane(connection).map_or(0, |lane| lane.responses.len());
        let requests = self.config.max_inbound_in_flight().saturating_sub(state.unanswered);
        let bytes = self.config.max_inbound_bytes_per_peer().saturating_sub(state.unanswered_bytes);
        if requests == 0 || bytes == 0 {
            state.stalled = true;
        }
        let backlog_limit = (self.config.max_queued_bytes_per_peer() / 2).max(BATCH_BYTES);
        let requests = if backlog > backlog_limit { 0 } else { requests };
        Room { requests, bytes }
    }

    /// Counts requests that were read on `connection`.
    pub(crate) fn admit(&self, connection: ConnectionId, requests: usize, bytes: usize) {
        let mut state = self.lock();
        state.unanswered += requests;
        state.unanswered_bytes += bytes;
        if let Some(lane) = state.lane(connection) {
            lane.unanswered += requests;
        }
    }

    /// A request that nobody will see: its failure goes out at once.
    pub(crate) fn reject(&self, connection: ConnectionId, id: u64, failure: Failure) {
        if let Some(lane) = self.lock().lane(connection) {
            failure.write(&mut lane.responses, id);
        }
    }

    /// A new inbound substream on `connection`. Returns its epoch.
    pub(crate) fn begin_inbound(&self, connection: ConnectionId) -> u64 {
        let mut state = self.lock();
        state.lane(connection).map_or(0, |lane| {
            lane.last_epoch += 1;
            lane.epoch = lane.last_epoch;
            lane.epoch
        })
    }

    /// The inbound substream ended. Returns how many of its requests have no answer.
    pub(crate) fn end_inbound(&self, connection: ConnectionId) -> usize {
        let mut state = self.lock();
        state.lane(connection).map_or(0, |lane| {
            lane.epoch = 0;
            lane.responses = Vec::new();
            std::mem::take(&mut lane.unanswered)
        })
    }
}

impl State {
    fn lane(&mut self, connection: ConnectionId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.connection == connection)
    }

    fn release(&mut self, request_bytes: usize) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.unanswered_bytes = self.unanswered_bytes.saturating_sub(request_bytes);
        if std::mem::take(&mut self.stalled) {
            self.lanes.iter_mut().for_each(Lane::wake);
        }
    }

    // For handlers.

    /// Whether another connection carries the requests by now.
    pub(crate) fn is_retired(&mut self, connection: ConnectionId) -> bool {
        self.lane(connection).is_some_and(|lane| lane.retired_at.is_some())
    }

    /// The handler of `connection` runs: from now on `waker` wakes it. Returns whether it should open a substream.
    pub(crate) fn enter(&mut self, connection: ConnectionId, waker: &Waker) -> bool {
        let wanted = self.chosen == Some(connection) && !self.queue.is_empty();
        let Some(lane) = self.lane(connection) else { return false };
        lane.notified = false;
        if !lane.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            lane.waker = Some(waker.clone());
        }
        wanted && !lane.blocked
    }

    /// No substream could be opened on `connection`: not again before the behaviour says so.
    pub(crate) fn block(&mut self, connection: ConnectionId) {
        if let Some(lane) = self.lane(connection) {
            lane.blocked = true;
        }
    }

    /// Whether a request of either side is without an outcome on `connection`.
    pub(crate) fn is_busy(&mut self, connection: ConnectionId) -> bool {
        let ours = self.chosen == Some(connection) && self.outstanding > 0;
        ours || self.lane(connection).is_some_and(|lane| lane.unanswered > 0 || !lane.responses.is_empty())
    }

    // For the behaviour.

    pub(crate) fn add_lane(&mut self, connection: ConnectionId) {
        self.lanes.push(Lane {
            connection,
            established: false,
            retired_at: None,
            blocked: false,
            waker: None,
            notified: false,
            epoch: 0,
            last_epoch: 0,
            unanswered: 0,
            responses: Vec::new(),
        });
    }

    pub(crate) fn establish(&mut self, connection: ConnectionId) {
        if let Some(lane) = self.lane(connection) {
            lane.established = true;
        }
        self.choose();
    }

    /// Picks the newest usable connection: of the others nobody knows whether the remote is still at their end.
    /// One that dies over QUIC says nothing for as long as its idle time-out, and a remote that was restarted
    /// comes back on a new connection meanwhile.
    fn choose(&mut self) {
        let before = self.chosen;
        let taken = self.queue.taken();
        self.chosen = None;
        for lane in self.lanes.iter_mut().rev() {
            if self.chosen.is_none() && lane.established && !lane.blocked {
                self.chosen = Some(lane.connection);
                lane.retired_at = None;
                lane.wake();
            } else if before == Some(lane.connection) {
                lane.retired_at = Some(taken);
                lane.wake();
            }
        }
    }

    fn unblock(&mut self) {
        for lane in &mut self.lanes {
            lane.blocked = false;
        }
    }

    pub(crate) fn remove_lane(&mut self, connection: ConnectionId) -> Removed {
        let Some(index) = self.lanes.iter().position(|lane| lane.connection == connection) else {
            return Removed { unanswered: 0, lost_up_to: None, stranded: false };
        };
        let Lane { unanswered, retired_at: mut lost_up_to, .. } = self.lanes.remove(index);
        if self.chosen == Some(connection) {
            lost_up_to = Some(self.queue.taken());
            self.choose();
            if self.chosen.is_none() {
                // Rather one that failed before than none.
                self.unblock();
                self.choose();
            }
        }
        Removed { unanswered, lost_up_to, stranded: self.chosen.is_none() && !self.queue.is_empty() }
    }

    /// `connection` cannot open a substream. Returns whether another one takes over.
    pub(crate) fn fail_over(&mut self, connection: ConnectionId) -> bool {
        if self.chosen == Some(connection) {
            self.choose();
        }
        self.chosen.is_some()
    }

    /// Gives up what waits, and makes every connection usable again for later requests.
    pub(crate) fn give_up(&mut self) -> u64 {
        self.queue.clear();
        self.unblock();
        if self.chosen.is_none() {
            self.choose();
        }
        self.queue.taken()
    }

    /// Queues a request. The caller has checked the bounds.
    pub(crate) fn enqueue(&mut self, id: u64, frame: &[u8]) {
        self.queue.push(id, frame);
        self.outstanding += 1;
        self.wake_chosen();
    }

    /// `requests` in flight have an outcome.
    pub(crate) fn settle(&mut self, requests: usize, keep_alive: KeepAlive) {
        self.outstanding = self.outstanding.saturating_sub(requests);
        let idle = self.outstanding == 0 && keep_alive == KeepAlive::WhileBusy;
        if idle || !self.queue.is_empty() {
            self.wake_chosen();
        }
    }

    fn wake_chosen(&mut self) {
        if let Some(connection) = self.chosen
            && let Some(lane) = self.lane(connection)
        {
            lane.wake();
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.lanes.iter().any(|lane| lane.established)
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// What would be lost by forgetting the peer.
    pub(crate) fn rest(&self) -> Rest {
        if !self.lanes.is_empty() || self.outstanding > 0 {
            Rest::Something
        } else if self.unanswered > 0 {
            Rest::Channels
        } else {
            Rest::Nothing
        }
    }
}

#[cfg(test)]
mod tests;
