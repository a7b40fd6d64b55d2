//! Everything that can happen, polled in turns, told to the core.

use std::task::{Context, Poll};

use bytes::Bytes;
use either::Either;
use libp2p::gossipsub;
use libp2p::swarm::{NetworkBehaviour as _, THandlerInEvent, ToSwarm};

use super::inner::{Client, Gossip, Handoff, Inner, Membership, Protocol, Quorum, Sync};
use super::{Behaviour, Command};
use crate::core::{Input, RequestFailure};
use crate::error::RequestError;
use crate::event::Event;
use crate::store::worker::Done;

/// Inputs that the core takes until the swarm serves connections again (about a millisecond).
pub(super) const INPUTS_MAX: usize = 256;
/// Of them, those from one source before the next has its turn: requests in plenty cannot hold up
/// the probes by which members know that this one lives.
const TURN_MAX: usize = 64;
/// How often the records are counted, for the status.
const COUNT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);

impl Behaviour {
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        let command = self.take_turns(cx);
        self.disk.flush();
        command
    }

    fn take_turns(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        loop {
            if let Some(command) = self.to_swarm.pop_front() {
                return Poll::Ready(command);
            }
            if self.budget == 0 {
                self.budget = INPUTS_MAX;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let before = self.budget;
            self.now = self.clock.now();
            self.drive_timers(cx);
            self.drive_store(cx);
            self.drive_rpc::<Membership>(cx);
            self.drive_gossip(cx);
            // What causes work for the store waits while the store is behind.
            if !self.disk.is_behind() {
                self.drive_rpc::<Quorum>(cx);
                self.drive_rpc::<Client>(cx);
                self.drive_rpc::<Sync>(cx);
                self.drive_rpc::<Handoff>(cx);
                self.drive_calls(cx);
            }
            if self.budget == before && self.to_swarm.is_empty() {
                self.budget = INPUTS_MAX;
                self.keep_waker(cx);
                return Poll::Pending;
            }
        }
    }

    /// Tells the core, and carries out what it decides.
    pub(super) fn tell(&mut self, input: Input) {
        self.core.handle(input, self.now);
        self.carry_out();
    }

    fn take(&mut self, input: Input) {
        self.budget = self.budget.saturating_sub(1);
        self.tell(input);
    }

    fn keep_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn drive_timers(&mut self, cx: &mut Context<'_>) {
        // What is pushed while these are told has its turn in the next round.
        for _ in 0..self.inputs.len() {
            if let Some(input) = self.inputs.pop_front() {
                self.take(input);
            }
        }
        if self.now.monotonic >= self.next_count {
            self.next_count = self.now.monotonic + COUNT_INTERVAL;
            self.take(Input::Records(self.store.records()));
        }
        if self.core.poll_timeout().is_some_and(|due| due <= self.now.monotonic) {
            self.budget = self.budget.saturating_sub(1);
            self.core.handle_timeout(self.now);
            self.carry_out();
        }
        if let Some(due) = self.core.poll_timeout() {
            self.alarm.wake_at(due, self.now.monotonic, cx);
        }
    }

    fn drive_store(&mut self, cx: &mut Context<'_>) {
        let Poll::Ready(batch) = self.disk.poll(cx) else { return };
        for done in batch {
            match done {
                Done::Stored { ticket, result, durable } => {
                    self.take(Input::Stored { ticket, result, durable });
                }
                Done::Durable { through } => self.take(Input::Durable { through }),
                Done::Poisoned(error) => self.take(Input::Poisoned(error)),
            }
        }
    }

    fn drive_calls(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN_MAX {
            if self.commands.is_full() {
                return;
            }
            let Poll::Ready(Some(call)) = self.calls.poll_recv(cx) else { return };
            if call.reply.is_closed() {
                // The caller has given up while it waited.
                continue;
            }
            if self.stopped {
                let _ = call.reply.send(Err(RequestError::Stopped));
            } else if let Some(command) = self.commands.insert(call.reply) {
                let command = crate::core::CommandId(command);
                self.take(Input::Command { command, request: call.request });
            }
        }
    }

    fn drive_gossip(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN_MAX {
            let Poll::Ready(said) = self.inner.gossip.poll(cx) else { return };
            match split(said, gossip_handler) {
                Either::Left(gossipsub::Event::Message { message, .. }) => {
                    self.take(Input::Gossip { data: Bytes::from(message.data) });
                }
                Either::Left(
                    gossipsub::Event::Subscribed { .. }
                    | gossipsub::Event::Unsubscribed { .. }
                    | gossipsub::Event::GossipsubNotSupported { .. }
                    | gossipsub::Event::SlowPeer { .. },
                ) => {}
                Either::Right(command) => self.to_swarm.push_back(command),
            }
        }
    }

    fn drive_rpc<P: Protocol>(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN_MAX {
            let Poll::Ready(said) = P::of(&mut self.inner).poll(cx) else { return };
            match split(said, |nothing| match nothing {}) {
                Either::Left(event) => self.on_rpc::<P>(event),
                Either::Right(command) => self.to_swarm.push_back(command),
            }
        }
    }

    fn on_rpc<P: Protocol>(&mut self, event: henge_rpc::Event<P::Req, P::Res>) {
        match event {
            henge_rpc::Event::Request { peer, channel, request, .. } => {
                let kept = self.channels.get_mut(P::INDEX).and_then(|channels| channels.insert(channel));
                // Dropping the channel has told the requester.
                let Some(channel) = kept else {
                    self.counters.requests_refused += 1;
                    return;
                };
                let channel = crate::core::ChannelId(channel);
                self.take(Input::Request { peer, channel, request: P::request(request) });
            }
            henge_rpc::Event::Response { id, response, .. } => {
                self.on_response::<P>(id, Ok(P::response(response)));
            }
            henge_rpc::Event::OutboundFailure { id, error, .. } => {
                self.on_response::<P>(id, Err(failure(&error)));
            }
            henge_rpc::Event::InboundFailure { peer, error, .. } => {
                if is_fault(&error) {
                    let event = Event::PeerFault { peer, reason: error.to_string() };
                    self.to_swarm.push_back(ToSwarm::GenerateEvent(event));
                }
            }
        }
    }

    fn on_response<P: Protocol>(
        &mut self,
        id: henge_rpc::RequestId,
        result: Result<crate::core::Response, RequestFailure>,
    ) {
        let request = self.requests.get_mut(P::INDEX).and_then(|requests| requests.remove(&id));
        if let Some(request) = request {
            self.take(Input::Response { request, result });
        }
    }
}

/// What a behaviour inside says: something for this one, or something for the swarm.
fn split<E, I>(
    said: ToSwarm<E, I>,
    to_handler: impl FnOnce(I) -> THandlerInEvent<Inner>,
) -> Either<E, Command> {
    if let ToSwarm::GenerateEvent(event) = said {
        return Either::Left(event);
    }
    Either::Right(said.map_in(to_handler).map_out(|_| unreachable!("events were taken out above")))
}

/// Gossip is the first part of [`Inner`], so its handler is the innermost.
fn gossip_handler(event: THandlerInEvent<Gossip>) -> THandlerInEvent<Inner> {
    Either::Left(Either::Left(Either::Left(Either::Left(Either::Left(event)))))
}

fn failure(error: &henge_rpc::OutboundFailure) -> RequestFailure {
    use henge_rpc::OutboundFailure as Outbound;
    match error {
        Outbound::DialFailure | Outbound::NotConnected | Outbound::OpenFailed => RequestFailure::Unreachable,
        Outbound::Timeout => RequestFailure::TimedOut,
        // It was sent, and nothing will come: as after a lost connection.
        Outbound::ConnectionClosed | Outbound::Refused | Outbound::Overloaded => {
            RequestFailure::ConnectionLost
        }
        Outbound::UnsupportedProtocol => RequestFailure::Unsupported,
        Outbound::Full { .. } | Outbound::TooLarge { .. } | Outbound::Unserialisable => RequestFailure::Full,
        Outbound::Fault(_) | Outbound::UndecodableRequest | Outbound::ResponseTooLarge { .. } | _ => {
            RequestFailure::Fault { reason: error.to_string() }
        }
    }
}

fn is_fault(error: &henge_rpc::InboundFailure) -> bool {
    matches!(error, henge_rpc::InboundFailure::Fault { .. } | henge_rpc::InboundFailure::UndecodableRequest)
}
