//! The task that owns the client's swarm: one connection, the requests on it, and those that wait for one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use henge_client::{Request, Response};
use henge_rpc::{Event, OutboundFailure, RequestId};
use henge_types::{ClusterName, Key, Multiaddr, PeerId};
use libp2p::Swarm;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Config;
use super::error::{AttemptError, ConnectError};
use super::members;
use super::patience::{Patience, SILENCE};
use super::pending::{Pending, is_of_connection};
use super::route::{Next, Route, peer_of};
use super::transport::{IN_FLIGHT_MAX, QUEUED_BYTES_MAX, Rpc};
use crate::handle::Call;

/// Room in the queue to the peer that one more request may need: a value, a context, and what is around them.
const ROOM_BYTES: usize = 2 << 20;

/// When a new connection asks for the addresses of other members: a program that wants one answer
/// and ends has done so by then.
const LEARN_AFTER: Duration = Duration::from_millis(500);

/// How often the addresses of other members are asked for.
const LEARN_EVERY: Duration = Duration::from_secs(60);

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
    Dialing { connection: ConnectionId, until: Instant },
    /// There; whether the peer speaks the protocol is not known yet.
    Probing { connection: ConnectionId, peer: PeerId, probe: Probe },
    /// In use.
    Ready { connection: ConnectionId, peer: PeerId, probe: Option<Probe>, heard_at: Instant },
}

/// A question to the peer that it answers from memory.
#[derive(Debug, Clone, Copy)]
struct Probe {
    id: RequestId,
    sent_at: Instant,
    within: Duration,
}

pub(super) struct Driver {
    swarm: Swarm<Rpc>,
    cluster: ClusterName,
    attempt_timeout: Duration,
    calls: mpsc::Receiver<Call>,
    open: bool,
    route: Route,
    patience: Patience,
    link: Link,
    /// When to ask for other members, while there is a connection; never if that is not wanted.
    learn_at: Option<Instant>,
    learning: Option<RequestId>,
    waiting: VecDeque<Pending>,
    in_flight: BTreeMap<RequestId, Pending>,
    /// For whoever waits for the first connection.
    connected: Option<oneshot::Sender<Result<PeerId, ConnectError>>>,
    /// All addresses, for whoever wants to know.
    known: watch::Sender<Vec<Multiaddr>>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Rpc>,
        calls: mpsc::Receiver<Call>,
        addresses: Vec<Multiaddr>,
        config: &Config,
        connected: oneshot::Sender<Result<PeerId, ConnectError>>,
        known: watch::Sender<Vec<Multiaddr>>,
    ) -> Self {
        Self {
            swarm,
            cluster: config.cluster.clone(),
            attempt_timeout: config.attempt_timeout,
            calls,
            open: true,
            route: Route::new(addresses),
            patience: Patience::default(),
            link: Link::Idle,
            learn_at: config.learn_members.then(|| Instant::now() + LEARN_AFTER),
            learning: None,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            connected: Some(connected),
            known,
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
            Ok(()) => {
                self.link = Link::Dialing { connection, until: Instant::now() + self.attempt_within() };
            }
            Err(error) => self.on_dial_error(&error),
        }
    }

    /// How long the current address may take to connect, and then to answer.
    fn attempt_within(&self) -> Duration {
        if self.route.is_urgent() {
            self.attempt_timeout.min(self.patience.attempt())
        } else {
            self.attempt_timeout
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
            Link::Paused { until } | Link::Dialing { until, .. } => Some(*until),
            Link::Ready { heard_at, probe: None, .. } if self.watches() => Some(*heard_at + SILENCE),
            Link::Ready { .. } | Link::Idle | Link::Probing { .. } => None,
        };
        let learn = self.learn_at.filter(|_| matches!(self.link, Link::Ready { .. }));
        self.waiting.iter().map(Pending::deadline).chain(link).chain(learn).min()
    }

    /// Whether the silence of the peer means something, and something could be done about it.
    fn watches(&self) -> bool {
        !self.in_flight.is_empty() && self.route.has_others()
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
        let watches = self.watches();
        match &mut self.link {
            Link::Paused { until } if *until <= now => self.dial(),
            Link::Dialing { until, .. } if *until <= now => {
                // Should it come up after all, `on_established` does not know it and closes it.
                self.on_attempt_failed(AttemptError::Unreachable {
                    reason: "no connection in time".to_owned(),
                });
            }
            Link::Ready { peer, probe: probe @ None, heard_at, .. }
                if watches && *heard_at + SILENCE <= now =>
            {
                *probe = Some(send_probe(self.swarm.behaviour_mut(), peer, self.patience.probe()));
            }
            Link::Paused { .. }
            | Link::Ready { .. }
            | Link::Idle
            | Link::Dialing { .. }
            | Link::Probing { .. } => {}
        }
        if let Link::Ready { peer, .. } = self.link
            && self.learn_at.is_some_and(|at| at <= now)
        {
            self.learn_at = Some(now + LEARN_EVERY);
            self.learning = Some(self.swarm.behaviour_mut().send_request(&peer, Request::Status));
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<Event<Request, Response>>) {
        if let SwarmEvent::Behaviour(event) = event {
            self.on_rpc_event(event);
        } else if let SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } = event {
            self.on_established(peer_id, connection_id);
        } else if let SwarmEvent::OutgoingConnectionError { connection_id, error, .. } = event {
            if let Link::Dialing { connection, .. } = self.link
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

    fn on_established(&mut self, peer: PeerId, established: ConnectionId) {
        if let Link::Dialing { connection, .. } = self.link
            && connection == established
        {
            let within = self.attempt_within();
            let probe = send_probe(self.swarm.behaviour_mut(), &peer, within);
            self.link = Link::Probing { connection, peer, probe };
        } else {
            self.swarm.close_connection(established);
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
            self.patience.on_answer();
            if let Link::Ready { heard_at, .. } = &mut self.link
                && self.route.has_others()
            {
                *heard_at = Instant::now();
            }
            self.on_answer(pending, response);
        } else if self.learning == Some(id) {
            self.learning = None;
            if let Response::Status(status) = response {
                self.route.learn(members::addresses(&status, &self.route.current()));
                self.known.send_replace(self.route.addresses());
            }
        } else {
            self.on_probe_answered(id);
        }
    }

    fn on_answer(&mut self, pending: Pending, response: Response) {
        if !self.route.has_others() {
            return pending.answer(response);
        }
        if let Some(again) = pending.on_answer(response, Instant::now()) {
            // This peer serves nobody: the others on the way would hear the same.
            self.waiting.push_back(again);
            self.on_lost();
        }
    }

    fn on_probe_answered(&mut self, id: RequestId) {
        let now = Instant::now();
        match &mut self.link {
            Link::Probing { connection, peer, probe } if probe.id == id => {
                let (connection, peer) = (*connection, *peer);
                self.patience.on_round_trip(now.saturating_duration_since(probe.sent_at));
                self.link = Link::Ready { connection, peer, probe: None, heard_at: now };
                self.route.on_connected(peer);
                if let Some(connected) = self.connected.take() {
                    // An `Err` means that nobody waits any more; then the handle is gone too.
                    let _ = connected.send(Ok(peer));
                }
            }
            Link::Ready { probe: probe @ Some(_), heard_at, .. } => {
                if let Some(answered) = probe.take_if(|probe| probe.id == id) {
                    self.patience.on_round_trip(now.saturating_duration_since(answered.sent_at));
                    *heard_at = now;
                }
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
            Link::Probing { connection, peer, probe } if probe.id == id => {
                self.swarm.close_connection(connection);
                self.on_attempt_failed(self.probe_error(peer, error, probe.within));
            }
            Link::Ready { probe: Some(probe), .. } if probe.id == id => {
                tracing::debug!(%error, "the peer is silent");
                self.patience.on_silence();
                self.on_lost();
            }
            Link::Probing { .. }
            | Link::Ready { .. }
            | Link::Idle
            | Link::Paused { .. }
            | Link::Dialing { .. } => {}
        }
    }

    fn probe_error(&self, peer: PeerId, error: &OutboundFailure, within: Duration) -> AttemptError {
        if matches!(error, OutboundFailure::UnsupportedProtocol) {
            AttemptError::WrongCluster { peer, cluster: self.cluster.clone() }
        } else if matches!(error, OutboundFailure::Timeout) {
            AttemptError::NoAnswer { peer, within }
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
        // The next peer may know better, and one that was lost has shown what that is worth.
        self.learning = None;
        self.learn_at = self.learn_at.map(|_| now);
        for (id, pending) in std::mem::take(&mut self.in_flight) {
            self.swarm.behaviour_mut().cancel(id);
            self.waiting.extend(pending.on_failure(&OutboundFailure::ConnectionClosed, now));
        }
    }
}

/// Any question that every peer answers at once, from memory.
fn send_probe(rpc: &mut Rpc, peer: &PeerId, within: Duration) -> Probe {
    let question = match Key::new("henge") {
        Ok(key) => Request::Locate { key },
        Err(_) => Request::Status,
    };
    Probe { id: rpc.send_request_within(peer, question, within), sent_at: Instant::now(), within }
}
