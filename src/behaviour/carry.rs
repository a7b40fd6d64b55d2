//! Everything that the core can decide, carried out.

use std::time::Duration;

use henge_types::PeerId;
use libp2p::gossipsub::PublishError;
use libp2p::swarm::ToSwarm;

use super::dials::Next;
use super::inner::{Client, Handoff, Membership, Protocol, Quorum, Sync};
use super::snapshots::Snapshots;
use super::{Behaviour, REQUESTS_MAX};
use crate::core::{Asker, ChannelId, CommandId, Input, Output, Request, RequestFailure, RequestId, Response};
use crate::error::RequestError;
use crate::event::Event;

impl Behaviour {
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.carry(output);
        }
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Request { id, peer, request, timeout } => match request {
                Request::Membership(request) => self.send::<Membership>(id, peer, request, timeout),
                Request::Quorum(request) => self.send::<Quorum>(id, peer, request, timeout),
                Request::Sync(request) => self.send::<Sync>(id, peer, request, timeout),
                Request::Handoff(request) => self.send::<Handoff>(id, peer, request, timeout),
                Request::Client(request) => self.send::<Client>(id, peer, request, timeout),
            },
            Output::Respond { channel, response } => match response {
                Response::Membership(response) => self.respond::<Membership>(channel, response),
                Response::Quorum(response) => self.respond::<Quorum>(channel, response),
                Response::Sync(response) => self.respond::<Sync>(channel, response),
                Response::Handoff(response) => self.respond::<Handoff>(channel, response),
                Response::Client(response) => {
                    let response = self.with_counters(response);
                    self.respond::<Client>(channel, response);
                }
            },
            Output::Publish { data } => self.publish(data.into()),
            Output::Store { ticket, op } => self.disk.submit(ticket, op),
            Output::Reply { command, response } => self.reply(command, response),
            Output::Snapshot { asker, begin } => {
                let response = self.snapshots.answer(begin, &*self.store);
                match asker {
                    Asker::Channel(channel) => self.respond::<Client>(channel, response),
                    Asker::Command(command) => self.reply(command, response),
                }
            }
            Output::Dial { peer, addresses } => {
                let next = self.dials.member(peer, addresses);
                self.dial(next);
            }
            Output::DialAddress { address } => {
                let next = self.dials.address(address);
                self.dial(next);
            }
            Output::Event(event) => self.to_swarm.push_back(ToSwarm::GenerateEvent(event)),
            Output::Stopped => self.on_stopped(),
        }
    }

    fn send<P: Protocol>(&mut self, id: RequestId, peer: PeerId, request: P::Req, timeout: Duration) {
        let Some(requests) = self.requests.get_mut(P::INDEX) else { return };
        if requests.len() >= REQUESTS_MAX {
            self.counters.requests_not_sent += 1;
            self.inputs.push_back(Input::Response { request: id, result: Err(RequestFailure::Full) });
            return;
        }
        let sent = P::of(&mut self.inner).send_request_within(&peer, request, timeout);
        requests.insert(sent, id);
    }

    fn respond<P: Protocol>(&mut self, channel: ChannelId, response: P::Res) {
        let channel = self.channels.get_mut(P::INDEX).and_then(|channels| channels.remove(channel.0));
        if let Some(channel) = channel {
            // Where the requester is gone there is nobody to tell.
            let _ = P::of(&mut self.inner).send_response(channel, response);
        }
    }

    fn publish(&mut self, data: Vec<u8>) {
        if let Err(error) = self.inner.gossip.publish(self.topic.clone(), data) {
            // Alone, or said already: neither is a loss.
            if !matches!(error, PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) {
                self.counters.gossip_not_sent += 1;
                tracing::debug!(%error, "a member record could not be published");
            }
        }
    }

    fn reply(&mut self, command: CommandId, response: henge_client::Response) {
        if let Some(caller) = self.commands.remove(command.0) {
            let response = self.with_counters(response);
            // A caller that has given up is gone.
            let _ = caller.send(Ok(response));
        }
    }

    pub(super) fn dial(&mut self, next: Next) {
        match next {
            Next::Dial(opts) => self.to_swarm.push_back(ToSwarm::Dial { opts }),
            Next::Tell(failed) => self.inputs.push_back(failed),
        }
    }

    fn on_stopped(&mut self) {
        self.stopped = true;
        self.snapshots = Snapshots::default();
        self.calls.close();
        for caller in self.commands.drain() {
            let _ = caller.send(Err(RequestError::Stopped));
        }
        self.to_swarm.push_back(ToSwarm::GenerateEvent(Event::Stopped));
    }

    fn with_counters(&self, response: henge_client::Response) -> henge_client::Response {
        let henge_client::Response::Status(mut status) = response else { return response };
        let counters = &self.counters;
        status.counters.extend([
            ("requests refused: too many under way".to_owned(), counters.requests_refused),
            ("requests not sent: too many under way".to_owned(), counters.requests_not_sent),
            ("member records not published".to_owned(), counters.gossip_not_sent),
        ]);
        henge_client::Response::Status(status)
    }
}
