//! The behaviour as the swarm sees it.

use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Behaviour;
use super::peers::Dial;
use crate::event::{Event, RequestId};
use crate::handler::{Handler, ToBehaviour};
use crate::link::Link;
use crate::{InboundFailure, OutboundFailure, PeerFault};

/// Connections in a row that may die before they carry a request, until those who wait are told.
const REDIALS: u8 = 3;

impl<Req, Res> Behaviour<Req, Res> {
    fn new_handler(&mut self, peer: &PeerId, connection: ConnectionId) -> Handler<Req, Res> {
        let slot = self.peers.enter(peer, &self.config);
        let link = match self.peers.in_slot(slot) {
            Some(peer) => peer.link.clone(),
            // Cannot be: the slot was entered just now.
            None => Arc::new(Link::new(*peer, self.config.clone())),
        };
        link.lock().add_lane(connection);
        Handler::new(link, connection, self.protocol.clone())
    }

    fn on_connection_established(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.slot(peer).and_then(|slot| self.peers.in_slot(slot)) {
            peer.dial = Dial::None;
            peer.link.lock().establish(connection);
        }
    }

    /// Also for a connection that was denied after its handler was made.
    fn on_connection_closed(&mut self, peer_id: &PeerId, connection: ConnectionId) {
        let Some(slot) = self.peers.slot(peer_id) else { return };
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let (removed, taken) = {
            let mut state = peer.link.lock();
            (state.remove_lane(connection), state.queue.taken())
        };
        if removed.unanswered > 0 {
            let error = InboundFailure::ConnectionClosed { unanswered: removed.unanswered };
            self.emit(Event::InboundFailure { peer: *peer_id, connection, error });
        }
        if let Some(up_to) = removed.lost_up_to {
            self.fail_up_to(slot, up_to, &OutboundFailure::ConnectionClosed);
        }
        if removed.stranded {
            self.redial(peer_id, slot, taken);
        }
        self.peers.forget_if_idle(slot);
    }

    /// Requests that were not sent survive their connection, as long as a new one can be had.
    fn redial(&mut self, peer_id: &PeerId, slot: u32, taken: u64) {
        let Some(peer) = self.peers.in_slot(slot) else { return };
        if peer.dial != Dial::None {
            return;
        }
        if peer.taken_before != taken {
            peer.taken_before = taken;
            peer.redials = 0;
        }
        peer.redials += 1;
        if self.config.dial_on_request() && peer.redials <= REDIALS {
            self.dial(peer_id, slot);
        } else {
            peer.redials = 0;
            self.give_up(slot, &OutboundFailure::ConnectionClosed);
        }
    }

    fn give_up(&mut self, slot: u32, error: &OutboundFailure) {
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let up_to = peer.link.lock().give_up();
        self.fail_up_to(slot, up_to, error);
    }

    fn on_dial_failure(&mut self, peer_id: &PeerId, connection: ConnectionId, error: &DialError) {
        self.on_connection_closed(peer_id, connection);
        let Some(slot) = self.peers.slot(peer_id) else { return };
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let condition = matches!(error, DialError::DialPeerConditionFalse(_));
        match peer.dial {
            Dial::Ours(ours) if ours == connection && condition => peer.dial = Dial::Foreign,
            Dial::Foreign if condition => {}
            Dial::Ours(ours) if ours != connection => {}
            Dial::Ours(_) | Dial::Foreign => {
                peer.dial = Dial::None;
                if !peer.link.lock().is_connected() {
                    self.give_up(slot, &OutboundFailure::DialFailure);
                }
                self.peers.forget_if_idle(slot);
            }
            Dial::None => {}
        }
    }

    fn on_answers(&mut self, peer_id: PeerId, answers: Vec<(u64, Result<Res, OutboundFailure>)>) {
        let Some(slot) = self.peers.slot(&peer_id) else { return };
        let Some(peer) = self.peers.in_slot(slot) else { return };
        let mut settled = 0;
        for (number, answer) in answers {
            let Some(deadline) = peer.pending.remove(&number) else {
                self.counters.late_responses += 1;
                continue;
            };
            let id = RequestId { number, slot };
            self.deadlines.remove(deadline, id);
            settled += 1;
            self.events.push_back(ToSwarm::GenerateEvent(match answer {
                Ok(response) => Event::Response { peer: peer_id, id, response },
                Err(error) => {
                    if matches!(error, OutboundFailure::Fault(_)) {
                        self.counters.faults += 1;
                    }
                    Event::OutboundFailure { peer: peer_id, id, error }
                }
            }));
        }
        peer.link.lock().settle(settled, self.config.keep_alive());
    }

    fn on_lost(&mut self, peer_id: &PeerId, up_to: u64, fault: Option<PeerFault>) {
        let Some(slot) = self.peers.slot(peer_id) else { return };
        let error = match fault {
            Some(fault) => {
                tracing::debug!(%peer_id, %fault, "an answer broke the protocol");
                self.counters.faults += 1;
                OutboundFailure::Fault(fault)
            }
            None => OutboundFailure::ConnectionClosed,
        };
        self.fail_up_to(slot, up_to, &error);
    }

    fn on_open_failed(&mut self, peer_id: &PeerId, connection: ConnectionId, error: &OutboundFailure) {
        let Some(slot) = self.peers.slot(peer_id) else { return };
        let Some(peer) = self.peers.in_slot(slot) else { return };
        // Another connection leads to the same program, so only trouble with the connection is worth moving for.
        let moved = *error == OutboundFailure::OpenFailed && peer.link.lock().fail_over(connection);
        if !moved {
            self.give_up(slot, error);
        }
    }

    fn on_inbound_ended(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        unanswered: usize,
        fault: Option<PeerFault>,
    ) {
        let error = match fault {
            Some(fault) => {
                tracing::debug!(%peer, %fault, "a request broke the protocol");
                self.counters.faults += 1;
                InboundFailure::Fault { fault, unanswered }
            }
            None if unanswered == 0 => return,
            None => InboundFailure::ConnectionClosed { unanswered },
        };
        self.emit(Event::InboundFailure { peer, connection, error });
    }

    fn on_timeout(&mut self, id: RequestId) {
        let Some(peer) = self.peers.in_slot(id.slot) else { return };
        if peer.pending.remove(&id.number).is_none() {
            return;
        }
        if peer.dial == Dial::Foreign && peer.pending.is_empty() {
            // Nobody waits for that dial any more: the next request may try its own.
            peer.dial = Dial::None;
        }
        {
            let mut state = peer.link.lock();
            state.queue.remove(id.number);
            state.settle(1, self.config.keep_alive());
        }
        let event = Event::OutboundFailure { peer: peer.id, id, error: OutboundFailure::Timeout };
        self.events.push_back(ToSwarm::GenerateEvent(event));
        self.peers.forget_if_idle(id.slot);
    }
}

impl<Req, Res> NetworkBehaviour for Behaviour<Req, Res>
where
    Req: Serialize + DeserializeOwned + Debug + Send + 'static,
    Res: Serialize + DeserializeOwned + Debug + Send + 'static,
{
    type ConnectionHandler = Handler<Req, Res>;
    type ToSwarm = Event<Req, Res>;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map_or_else(Vec::new, |peer| self.addresses.get(&peer).collect()))
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.new_handler(&peer, connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.new_handler(&peer, connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.addresses.on_swarm_event(&event);
        if let FromSwarm::ConnectionEstablished(event) = &event {
            if let ConnectedPoint::Dialer { address, .. } = event.endpoint {
                self.addresses.add(event.peer_id, address.clone());
            }
            self.on_connection_established(&event.peer_id, event.connection_id);
        } else if let FromSwarm::ConnectionClosed(event) = &event {
            self.on_connection_closed(&event.peer_id, event.connection_id);
        } else if let FromSwarm::DialFailure(event) = &event
            && let Some(peer) = &event.peer_id
        {
            self.on_dial_failure(peer, event.connection_id, event.error);
        } else if let FromSwarm::ListenFailure(event) = &event
            && let Some(peer) = &event.peer_id
        {
            self.on_connection_closed(peer, event.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            ToBehaviour::Requests(requests) => {
                self.events.extend(requests.into_iter().map(|(channel, request)| {
                    ToSwarm::GenerateEvent(Event::Request { peer, connection, channel, request })
                }));
            }
            ToBehaviour::Answers(answers) => self.on_answers(peer, answers),
            ToBehaviour::Lost { up_to, fault } => self.on_lost(&peer, up_to, fault),
            ToBehaviour::Unsupported => {
                self.on_open_failed(&peer, connection, &OutboundFailure::UnsupportedProtocol);
            }
            ToBehaviour::OpenFailed => self.on_open_failed(&peer, connection, &OutboundFailure::OpenFailed),
            ToBehaviour::InboundEnded { unanswered, fault } => {
                self.on_inbound_ended(peer, connection, unanswered, fault);
            }
            ToBehaviour::UndecodableRequest => {
                let error = InboundFailure::UndecodableRequest;
                self.emit(Event::InboundFailure { peer, connection, error });
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.deadlines.poll_expired(cx) {
                Poll::Ready(id) => self.on_timeout(id),
                Poll::Pending => {
                    if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                        self.waker = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
