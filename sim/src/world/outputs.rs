//! From the core outwards: each input is fed, and what comes out of it is carried out.

use std::time::Duration;

use henge::core::{Input, Output};
use henge::event;

use super::{CallId, Event, Outputs, Pid, World};

impl World {
    /// Feeds a core and carries out what it wants.
    pub(super) fn feed(&mut self, pid: Pid, input: Input) {
        let at = self.now;
        let Some(peer) = self.peers.get_mut(pid) else { return };
        let Some(core) = &mut peer.core else { return };
        core.handle(input, peer.clock.now(at));
        self.drain(pid);
    }

    pub(super) fn on_wake(&mut self, pid: Pid, life: u32, at: Duration) {
        let now = self.now;
        let Some(peer) = self.alive(pid, life) else { return };
        if peer.wake != Some(at) {
            return;
        }
        peer.wake = None;
        let time = peer.clock.now(now);
        if let Some(core) = &mut peer.core {
            core.handle_timeout(time);
        }
        self.drain(pid);
    }

    fn drain(&mut self, pid: Pid) {
        let mut outputs = Outputs::new();
        if let Some(core) = self.peers.get_mut(pid).and_then(|p| p.core.as_mut()) {
            while let Some(output) = core.poll_output() {
                outputs.push(output);
            }
        }
        for output in outputs {
            // One that has stopped does nothing more of what it had decided beside that.
            if !self.is_running(pid) {
                break;
            }
            self.carry_out(pid, output);
        }
        self.arm(pid);
    }

    fn arm(&mut self, pid: Pid) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(pid) else { return };
        let Some(due) = peer.core.as_ref().and_then(henge::core::Core::poll_timeout) else { return };
        let at = peer.clock.when(due).max(now);
        if peer.wake.is_none_or(|wake| wake != at) {
            peer.wake = Some(at);
            let life = peer.life;
            self.push(at, Event::Wake { pid, life, at });
        }
    }

    fn carry_out(&mut self, pid: Pid, output: Output) {
        match output {
            Output::Request { id, peer, request, timeout } => self.send(pid, id, peer, request, timeout),
            Output::Respond { channel, response } => self.respond(pid, channel, response),
            Output::Publish { data } => self.publish(pid, &data),
            Output::Store { ticket, op } => self.store(pid, ticket, op),
            Output::Reply { command, response } => {
                let id = CallId(command.0);
                if self.calls.remove(&id).is_some() {
                    let response = self.through_codec(pid, response);
                    self.replies.push((id, response));
                } else {
                    self.fail(format!("p{pid} answered command {} twice", command.0));
                }
            }
            // Nobody asks: what a backup writes is no part of the simulation.
            Output::Snapshot { .. } => self.fail(format!("p{pid} takes a snapshot")),
            Output::Dial { peer, .. } => {
                let to = self.pids.get(&peer).copied();
                self.dial(pid, to, None);
            }
            Output::DialAddress { address } => {
                let to = crate::identity::pid_at(&address);
                self.dial(pid, to, Some(address));
            }
            Output::Event(event) => self.on_event(pid, &event),
            Output::Stopped => {
                self.trace.tell(self.now, None, || format!("p{pid} stopped"));
                self.end(pid, true);
                if let Some(peer) = self.peers.get_mut(pid) {
                    peer.disk.stop();
                }
            }
        }
    }

    fn through_codec(
        &mut self,
        pid: Pid,
        response: henge_client::Response,
    ) -> Option<henge_client::Response> {
        let frame = crate::wire::encode_response(&henge::core::Response::Client(response));
        let decoded = frame.and_then(|frame| {
            self.trace.note(self.now, pid, b'C', frame.bytes());
            crate::wire::decode_response(&frame)
        });
        match decoded {
            Ok(henge::core::Response::Client(response)) => Some(response),
            Ok(_) => None,
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn on_event(&mut self, pid: Pid, event: &event::Event) {
        self.trace.tell(self.now, None, || format!("p{pid} {event:?}"));
        if let event::Event::HintQuarantined { key, .. } = event {
            // Only an operator can bring it back.
            self.destroyed(Some(key));
        }
        let Some(peer) = self.peers.get_mut(pid) else { return };
        if matches!(event, event::Event::Ready) {
            (peer.ready, peer.member, peer.expelled) = (true, true, false);
        }
        peer.left |= matches!(event, event::Event::Left);
        peer.evicted_for_good |= matches!(event, event::Event::EvictedForGood);
    }
}
