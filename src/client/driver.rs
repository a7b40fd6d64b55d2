//! The task that owns the client's swarm: one connection, the requests on it, and those that wait for one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use henge_client::{Request, Response};
use henge_rpc::{Event, OutboundFailure, RequestId};
use henge_types::{ClusterName, Key, Multiaddr, PeerId};
use libp2p::Swarm;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::Config;
use super::error::{AttemptError, ConnectError};
use super::pending::{Pending, is_of_connection};
use super::route::{Next, Route};
use super::transport::{IN_FLIGHT_MAX, QUEUED_BYTES_MAX, Rpc};
use crate::handle::Call;

/// Room in the queue to the peer that one more request may need: a value, a context, and what is around them.
const ROOM_BYTES: usize = 2 << 20;

/// When a peer with requests has said nothing for so long, it is asked whether it is still there, if
/// there is another to go to. A live peer answers that at once, however long its quorums take.
const SILENCE: Duration = Duration::from_secs(1);

/// For the goodbye to reach the peer.
const GOODBYE: Duration = Duration::from_millis(250);

/// Where the one connection of the client stands.
#[derive(Debug)]
enum Link {
    /// Not there, and not needed.
    Idle,
    /// All addresses failed; they are tried again.
    Paused { until: Instant },
    /// On its way.
    Dialing { connection: ConnectionId },
    /// There; whether the peer speaks the protocol is not known yet.
    Probing { connection: ConnectionId, peer: PeerId, probe: RequestId },
    /// In use.
    Ready { connection: ConnectionId, peer: PeerId, probe: Option<RequestId>, heard_at: Instant },
}

pub(super) struct Driver {
    swarm: Swarm<Rpc>,
    cluster: ClusterName,
    attempt_timeout: Duration,
    calls: mpsc::Receiver<Call>,
    open: bool,
    route: Route,
    link: Link,
    waiting: VecDeque<Pending>,
    in_flight: BTreeMap<RequestId, Pending>,
    /// For whoever waits for the first connection.
    connected: Option<oneshot::Sender<Result<PeerId, ConnectError>>>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Rpc>,
        calls: mpsc::Receiver<Call>,
        addresses: Vec<Multiaddr>,
        config: &Config,
        connected: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) -> Self {
        Self {
            swarm,
            cluster: config.cluster.clone(),
            attempt_timeout: config.attempt_timeout,
            calls,
            open: true,
            route: Route::new(addresses),
            link: Link::Idle,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            connected: Some(connected),
        }
    }

    /// Works until there is nobody left to send a request.
    pub(super) async fn run(mut self) {
        self.dial();
        let mut calls = Vec::new();
        while self.open || !self.waiting.is_empty() || !self.in_flight.is_empty() {
            let room = IN_FLIGHT_MAX.saturating_sub(self.waiting.len() + self.in_flight.len());
            let wake = self.next_wake();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                count = self.calls.recv_many(&mut calls, room), if self.open && room > 0 => {
                    self.open = count > 0;
                    let now = Instant::now();
                    self.waiting.extend(calls.drain(..).map(|call| Pending::new(call, now)));
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.on_wake(),
            }
            self.send_waiting();
        }
        self.close().await;
    }

    /// Tells the peer, so that it need not find out by a time-out.
    async fn close(mut self) {
        if let Link::Probing { connection, .. } | Link::Ready { connection, .. } = self.link
            && self.swarm.close_connection(connection)
        {
            let closed = async {
                while !matches!(self.swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
            };
            let _ = timeout(GOODBYE, closed).await;
        }
    }

    fn dial(&mut self) {
        let address = self.route.current();
        let opts = match peer_of(&address) {
            Some(peer) => {
                DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build()
            }
            None => DialOpts::unknown_peer_id().address(address).build(),
        };
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => self.link = Link::Dialing { connection },
            Err(error) => self.on_dial_error(&error),
        }
    }

    /// Sends what waits, as far as there is a connection and room in its queue.
    fn send_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        if let Link::Ready { peer, heard_at, .. } = &mut self.link {
            if self.in_flight.is_empty() {
                *heard_at = now;
            }
            let rpc = self.swarm.behaviour_mut();
            while rpc.pending(peer).queued_bytes + ROOM_BYTES <= QUEUED_BYTES_MAX
                && let Some(mut pending) = self.waiting.pop_front()
            {
                if pending.is_abandoned() {
                    continue;
                }
                let left = pending.deadline().saturating_duration_since(now);
                let id = rpc.send_request_within(peer, pending.next_try(now), left);
                self.in_flight.insert(id, pending);
            }
        } else if matches!(self.link, Link::Idle) {
            self.dial();
        }
    }

    /// When to look at the clock again, if nothing happens before.
    fn next_wake(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Paused { until } => Some(*until),
            Link::Ready { heard_at, probe: None, .. }
                if self.route.has_others() && !self.in_flight.is_empty() =>
            {
                Some(*heard_at + SILENCE)
            }
            Link::Ready { .. } | Link::Idle | Link::Dialing { .. } | Link::Probing { .. } => None,
        };
        self.waiting.iter().map(Pending::deadline).chain(link).min()
    }

    fn on_wake(&mut self) {
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        let (late, waiting): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|pending| pending.deadline() <= now);
        self.waiting = waiting;
        for pending in late {
            pending.fail("no connection in time".to_owned());
        }
        match &mut self.link {
            Link::Paused { until } if *until <= now => self.dial(),
            Link::Ready { peer, probe: probe @ None, heard_at, .. } if *heard_at + SILENCE <= now => {
                *probe = Some(send_probe(self.swarm.behaviour_mut(), peer, SILENCE));
            }
            Link::Paused { .. }
            | Link::Ready { .. }
            | Link::Idle
            | Link::Dialing { .. }
            | Link::Probing { .. } => {}
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<Event<Request, Response>>) {
        if let SwarmEvent::Behaviour(event) = event {
            self.on_rpc_event(event);
        } else if let SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } = event {
            if let Link::Dialing { connection } = self.link
                && connection == connection_id
            {
                let probe = send_probe(self.swarm.behaviour_mut(), &peer_id, self.attempt_timeout);
                self.link = Link::Probing { connection, peer: peer_id, probe };
            }
        } else if let SwarmEvent::OutgoingConnectionError { connection_id, error, .. } = event {
            if let Link::Dialing { connection } = self.link
                && connection == connection_id
            {
                self.on_dial_error(&error);
            }
        } else if let SwarmEvent::ConnectionClosed { connection_id, cause, .. } = event
            && let Link::Ready { connection, .. } = self.link
            && connection == connection_id
        {
            tracing::debug!(?cause, "the connection was lost");
            self.on_lost();
        }
    }

    fn on_rpc_event(&mut self, event: Event<Request, Response>) {
        match event {
            Event::Response { id, response, .. } => self.on_response(id, response),
            Event::OutboundFailure { id, error, .. } => self.on_failure(id, &error),
            // Nobody can ask: the client does not serve.
            Event::Request { .. } | Event::InboundFailure { .. } => {}
        }
    }

    fn on_response(&mut self, id: RequestId, response: Response) {
        if let Some(pending) = self.in_flight.remove(&id) {
            if let Link::Ready { heard_at, .. } = &mut self.link
                && self.route.has_others()
            {
                *heard_at = Instant::now();
            }
            pending.answer(response);
        } else {
            self.on_probe_answered(id);
        }
    }

    fn on_probe_answered(&mut self, id: RequestId) {
        match &mut self.link {
            Link::Probing { connection, peer, probe } if *probe == id => {
                let (connection, peer) = (*connection, *peer);
                self.link = Link::Ready { connection, peer, probe: None, heard_at: Instant::now() };
                self.route.on_connected();
                if let Some(connected) = self.connected.take() {
                    // An `Err` means that nobody waits any more; then the handle is gone too.
                    let _ = connected.send(Ok(peer));
                }
            }
            Link::Ready { probe, heard_at, .. } if *probe == Some(id) => {
                *probe = None;
                *heard_at = Instant::now();
            }
            Link::Probing { .. }
            | Link::Ready { .. }
            | Link::Idle
            | Link::Paused { .. }
            | Link::Dialing { .. } => {}
        }
    }

    fn on_failure(&mut self, id: RequestId, error: &OutboundFailure) {
        if let Some(pending) = self.in_flight.remove(&id) {
            self.waiting.extend(pending.on_failure(error, Instant::now()));
            if is_of_connection(error) {
                self.on_lost();
            }
            return;
        }
        match self.link {
            Link::Probing { connection, peer, probe } if probe == id => {
                self.swarm.close_connection(connection);
                self.on_attempt_failed(self.probe_error(peer, error));
            }
            Link::Ready { probe, .. } if probe == Some(id) => {
                tracing::debug!(%error, "the peer is silent");
                self.on_lost();
            }
            Link::Probing { .. }
            | Link::Ready { .. }
            | Link::Idle
            | Link::Paused { .. }
            | Link::Dialing { .. } => {}
        }
    }

    fn probe_error(&self, peer: PeerId, error: &OutboundFailure) -> AttemptError {
        if matches!(error, OutboundFailure::UnsupportedProtocol) {
            AttemptError::WrongCluster { peer, cluster: self.cluster.clone() }
        } else if matches!(error, OutboundFailure::Timeout) {
            AttemptError::NoAnswer { peer, within: self.attempt_timeout }
        } else {
            AttemptError::Unreachable { reason: error.to_string() }
        }
    }

    fn on_dial_error(&mut self, error: &DialError) {
        let expected = peer_of(&self.route.current());
        self.on_attempt_failed(AttemptError::of_dial(error, expected));
    }

    fn on_attempt_failed(&mut self, error: AttemptError) {
        tracing::debug!(address = %self.route.current(), %error, "an address is of no use");
        match self.route.on_failed(error) {
            Next::Dial => self.dial(),
            Next::Pause(pause) => self.link = Link::Paused { until: Instant::now() + pause },
            Next::GiveUp(attempts) => {
                self.link = Link::Idle;
                let error = ConnectError::Failed { attempts };
                for pending in std::mem::take(&mut self.waiting) {
                    pending.fail(error.to_string());
                }
                if let Some(connected) = self.connected.take() {
                    let _ = connected.send(Err(error));
                    self.open = false;
                }
            }
        }
    }

    /// The connection in use is of no use any more: what was on it goes to the next.
    fn on_lost(&mut self) {
        let Link::Ready { connection, .. } = self.link else { return };
        self.swarm.close_connection(connection);
        self.link = Link::Idle;
        self.route.on_lost();
        let now = Instant::now();
        for (id, pending) in std::mem::take(&mut self.in_flight) {
            self.swarm.behaviour_mut().cancel(id);
            self.waiting.extend(pending.on_failure(&OutboundFailure::ConnectionClosed, now));
        }
    }
}

/// Any question that every peer answers at once, from memory.
fn send_probe(rpc: &mut Rpc, peer: &PeerId, within: Duration) -> RequestId {
    match Key::new("henge") {
        Ok(key) => rpc.send_request_within(peer, Request::Locate { key }, within),
        Err(_) => rpc.send_request_within(peer, Request::Status, within),
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) | None => None,
    }
}
