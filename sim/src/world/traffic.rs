//! Requests, responses and gossip on their way.

use std::time::Duration;

use bytes::Bytes;
use henge::core::{ChannelId, Input, Request, RequestFailure, RequestId, Response};
use henge_client as client;
use henge_types::{Key, PeerId};

use super::{Answer, Channel, ConnectionId, Event, Pending, Pid, World};
use crate::wire::{self, Frame};

/// Gossip that is lost on top of what the network loses, of a thousand.
const GOSSIP_LOST: u64 = 20;
/// How soon a peer is told that a request was not sent at all.
const AT_ONCE: Duration = Duration::from_micros(1);

impl World {
    pub(super) fn send(
        &mut self,
        pid: Pid,
        id: RequestId,
        peer: PeerId,
        request: Request,
        timeout: Duration,
    ) {
        let life = self.peer(pid).map_or(0, |p| p.life);
        let to = self.pids.get(&peer).copied();
        let connection = to.and_then(|to| self.connection(pid, to));
        let (Some(to), Some(connection)) = (to, connection) else {
            let failure = RequestFailure::Unreachable;
            return self.push_after(AT_ONCE, Event::Failed { pid, life, id, failure });
        };
        self.tell_request(pid, to, &request);
        let pending = Pending { to, connection, request };
        let frame = match wire::encode_request(&pending.request) {
            Ok(frame) => frame,
            Err(error) => return self.fail(format!("p{pid} cannot send: {error}")),
        };
        let queue = self.under_way.entry((pid, to)).or_default();
        *queue += 1;
        let full = *queue > self.network.profile().queue_max;
        if self.requests.insert((pid, id), pending).is_some() {
            self.fail(format!("p{pid} used {id:?} twice"));
        }
        if full {
            let failure = RequestFailure::Full;
            return self.push_after(AT_ONCE, Event::Failed { pid, life, id, failure });
        }
        self.push_after(timeout, Event::Failed { pid, life, id, failure: RequestFailure::TimedOut });
        let opens = self.opening.get(&connection).map_or(Duration::ZERO, |at| at.saturating_sub(self.now));
        for delay in self.network.route(pid, to) {
            let (frame, delay) = (frame.clone(), delay.max(opens));
            self.push_after(delay, Event::Request { from: pid, from_life: life, to, connection, id, frame });
        }
    }

    pub(super) fn on_request(
        &mut self,
        from: Pid,
        life: u32,
        to: Pid,
        connection: ConnectionId,
        request: RequestId,
        frame: &Frame,
    ) {
        self.trace.note(self.now, to, b'q', frame.bytes());
        if !self.is_open(to, from, connection) {
            // A message for a connection that is not there resets it.
            return self.hang_up(to, from, connection, true);
        }
        if frame.is_membership() && self.network.is_deaf(to) {
            return;
        }
        let Some(peer) = self.id(from) else { return };
        let decoded = match wire::decode_request(frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.fail(format!("p{to} cannot read a request: {error}")),
        };
        let decoded = self.through_seam(to, decoded);
        let channel = ChannelId(self.next_id());
        self.channels.insert((to, channel), Channel { from, life, request, connection });
        self.feed(to, Input::Request { peer, channel, request: decoded });
    }

    fn through_seam(&mut self, to: Pid, request: Request) -> Request {
        let seam = std::mem::replace(&mut self.seam, Box::new(crate::seam::Honest));
        let request = seam.request(request, &mut |question: client::Request| self.ask(to, &question));
        self.seam = seam;
        request
    }

    pub(super) fn respond(&mut self, pid: Pid, channel: ChannelId, response: Response) {
        if let Some((stranger, answer)) = &mut self.intruder
            && *stranger == channel
        {
            *answer = Some(response);
            return;
        }
        let Some(Channel { from, life, request, connection }) = self.channels.remove(&(pid, channel)) else {
            return self.fail(format!("p{pid} answered a request twice: {response:?}"));
        };
        let frame = match wire::encode_response(&response) {
            Ok(frame) => frame,
            Err(error) => return self.fail(format!("p{pid} cannot answer: {error}")),
        };
        for delay in self.network.route(pid, from) {
            let event =
                Event::Response { from: pid, to: from, life, connection, id: request, frame: frame.clone() };
            self.push_after(delay, event);
        }
    }

    pub(super) fn on_response(
        &mut self,
        from: Pid,
        to: Pid,
        life: u32,
        connection: ConnectionId,
        id: RequestId,
        frame: &Frame,
    ) {
        self.trace.note(self.now, to, b'a', frame.bytes());
        let lost = frame.is_membership() && self.network.is_deaf(to);
        if lost || self.alive(to, life).is_none() || !self.is_open(to, from, connection) {
            return;
        }
        let response = match wire::decode_response(frame) {
            Ok(response) => response,
            Err(error) => return self.fail(format!("p{to} cannot read a response: {error}")),
        };
        let Some(pending) = self.take_request(to, id) else { return };
        let response = self.seam.response(from, &pending.request, response);
        self.tell_response(from, to, &pending.request, &response);
        self.answer(to, id, Ok(response));
    }

    pub(super) fn on_failed(&mut self, pid: Pid, life: u32, id: RequestId, failure: RequestFailure) {
        if self.alive(pid, life).is_none() {
            return;
        }
        // What was unreachable was never under way.
        let Some(pending) = self.take_request(pid, id) else {
            if failure == RequestFailure::Unreachable {
                self.answer(pid, id, Err(failure));
            }
            return;
        };
        let (to, now) = (pending.to, self.now);
        let key = key_of(&pending.request);
        if let Some(key) = key {
            self.trace.tell(now, Some(key), || format!("p{pid} <- p{to} {key} {failure}"));
        }
        self.answer(pid, id, Err(failure));
    }

    fn take_request(&mut self, pid: Pid, id: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(&(pid, id))?;
        if let Some(count) = self.under_way.get_mut(&(pid, pending.to)) {
            *count = count.saturating_sub(1);
        }
        Some(pending)
    }

    fn answer(&mut self, pid: Pid, request: RequestId, result: Answer) {
        self.feed(pid, Input::Response { request, result });
    }

    pub(super) fn publish(&mut self, pid: Pid, data: &Bytes) {
        for to in (0..self.peers.len()).filter(|to| *to != pid) {
            let lost = self.rng.chance(GOSSIP_LOST);
            let delays = self.network.route(pid, to);
            let Some(life) = self.peer(to).filter(|p| p.core.is_some() && !lost).map(|p| p.life) else {
                continue;
            };
            for delay in delays {
                self.push_after(delay * 2, Event::Gossip { to, life, data: data.clone() });
            }
        }
    }

    pub(super) fn on_gossip(&mut self, to: Pid, life: u32, data: Bytes) {
        self.trace.note(self.now, to, b'g', &data);
        if self.alive(to, life).is_some() && !self.network.is_deaf(to) {
            self.feed(to, Input::Gossip { data });
        }
    }

    /// How many requests of peers are under way, or wait for an answer.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.requests.len() + self.channels.len()
    }

    fn tell_request(&mut self, pid: Pid, to: Pid, request: &Request) {
        if let Some(key) = key_of(request).filter(|_| self.trace.is_watched()) {
            let what = match request {
                Request::Quorum(henge_quorum::Request::Write { voters, .. }) => {
                    format!("write under {voters:?}")
                }
                Request::Quorum(henge_quorum::Request::Read { voters, want, .. }) => {
                    format!("read {want:?} under {voters:?}")
                }
                Request::Quorum(henge_quorum::Request::Keep { .. }) => "keep".to_owned(),
                Request::Quorum(henge_quorum::Request::Hint { .. }) => "hint".to_owned(),
                _ => "forwards".to_owned(),
            };
            self.trace.tell(self.now, Some(key), || format!("p{pid} -> p{to} {key} {what}"));
        }
    }

    fn tell_response(&mut self, from: Pid, to: Pid, request: &Request, response: &Response) {
        if let Some(key) = key_of(request).filter(|_| self.trace.is_watched()) {
            let what = match response {
                Response::Quorum(henge_quorum::Response::Record(record)) => {
                    let siblings: Vec<String> =
                        record.siblings().iter().map(|s| format!("{:?}@{}", s.operation, s.dot)).collect();
                    format!("record [{}] {:?}", siblings.join(" "), record.clock())
                }
                Response::Quorum(henge_quorum::Response::Stale { .. }) => "stale".to_owned(),
                other => format!("{other:?}"),
            };
            self.trace.tell(self.now, Some(key), || format!("p{to} <- p{from} {key} {what}"));
        }
    }
}

fn key_of(request: &Request) -> Option<&Key> {
    match request {
        Request::Quorum(
            henge_quorum::Request::Write { key, .. }
            | henge_quorum::Request::Read { key, .. }
            | henge_quorum::Request::Keep { key, .. }
            | henge_quorum::Request::Hint { key, .. },
        ) => Some(key),
        Request::Client(
            client::Request::Put { key, .. }
            | client::Request::Delete { key, .. }
            | client::Request::Locate { key },
        ) => Some(key),
        Request::Client(client::Request::Get(get)) => Some(&get.key),
        Request::Membership(_)
        | Request::Sync(_)
        | Request::Handoff(_)
        | Request::Client(
            client::Request::Status
            | client::Request::Leave
            | client::Request::Remove { .. }
            | client::Request::Weight { .. }
            | client::Request::Repair { .. }
            | client::Request::RepairProgress { .. }
            | client::Request::Snapshot { .. },
        ) => None,
    }
}
