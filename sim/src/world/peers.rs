//! Peers begin, stop, crash, pause, and are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge::config::Config;
use henge::core::{CommandId, Core, Input};
use henge::store::{MetaKey, ReadOp, StoreError, StoreResult};
use henge_client as client;
use henge_types::{Key, PeerId, Record, Weight};

use super::{CallId, Event, Peer, Pid, World};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::identity::{address, identity, peer_id};
use crate::rng::Rng;

/// How a peer stops against its will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; what it wrote is written.
    Process,
    /// The machine dies; what was not synced is lost.
    Machine,
    /// The machine dies, and its disk with it.
    Disk,
}

impl World {
    /// One more peer, with an empty disk, not running yet. `join` are the peers that it is told
    /// to join; none for the first one of a ring.
    pub fn add_peer(&mut self, config: Config, join: &[Pid]) -> Pid {
        let pid = self.peers.len();
        let id = peer_id(self.seed, pid);
        let drift = i64::try_from(self.rng.below(2 * self.drift_ppm + 1)).unwrap_or(0)
            - i64::try_from(self.drift_ppm).unwrap_or(0);
        let offset = i64::try_from(self.rng.below(2000)).unwrap_or(0) - 1000;
        let rng = Rng::new(self.rng.draw(), "disk");
        self.pids.insert(id, pid);
        self.peers.push(Peer {
            id,
            core: None,
            life: 0,
            config: config.with_join(join.iter().map(|to| address(*to)).collect()),
            clock: Clock::new(drift, offset),
            disk: Disk::new(self.seam.image(pid), self.disk.clone(), rng),
            paused_until: None,
            busy: Duration::ZERO,
            wake: None,
            crashed: false,
            links: BTreeMap::new(),
            ready: false,
            member: false,
            stopping: false,
            left: false,
            evicted_for_good: false,
            expelled: false,
            addresses: vec![address(pid)],
        });
        pid
    }

    /// Starts a peer with what its disk holds.
    pub fn start(&mut self, pid: Pid) {
        let (seed, at, entropy) = (self.seed, self.now, self.rng.bytes());
        let Some(peer) = self.peers.get_mut(pid).filter(|p| p.core.is_none()) else { return };
        peer.life += 1;
        peer.clock.boot(at);
        peer.paused_until = None;
        peer.wake = None;
        peer.ready = false;
        peer.stopping = false;
        (peer.left, peer.evicted_for_good) = (false, false);
        let saved = self.seam.saved(pid, peer.disk.saved(), std::mem::take(&mut peer.crashed));
        let now = peer.clock.now(at);
        match Core::new(peer.config.clone(), identity(seed, pid), &saved, entropy, now) {
            Ok(core) => peer.core = Some(core),
            Err(error) => return self.fail(format!("peer {pid} does not start: {error}")),
        }
        let (life, addresses) = (peer.life, peer.addresses.clone());
        self.trace.tell(at, None, || format!("p{pid} starts (life {life})"));
        self.push_after(Duration::from_millis(100), Event::Tick { pid, life });
        self.feed(pid, Input::Addresses(addresses));
    }

    /// Stops a peer as its operator would: it saves, and ends when it says so.
    pub fn stop(&mut self, pid: Pid) {
        self.trace.tell(self.now, None, || format!("p{pid} is told to stop"));
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.stopping = true;
        }
        self.feed(pid, Input::Stop);
    }

    /// A peer dies.
    pub fn crash(&mut self, pid: Pid, crash: Crash) {
        let now = self.now;
        if self.peers.get(pid).is_none() {
            return;
        }
        // The disk of the only member is the ring: nobody could join any more.
        let others = self.peers.iter().enumerate().any(|(other, p)| other != pid && p.member);
        let crash = if crash == Crash::Disk && !others { Crash::Machine } else { crash };
        self.trace.tell(now, None, || format!("p{pid} crashes: {crash:?}"));
        self.end(pid, crash == Crash::Process);
        let seam = &self.seam;
        let Some(peer) = self.peers.get_mut(pid) else { return };
        match crash {
            Crash::Process => peer.disk.stop(),
            Crash::Machine => {
                peer.crashed = true;
                peer.disk.crash();
            }
            Crash::Disk => {
                peer.crashed = true;
                peer.member = false;
                peer.disk.replace(seam.image(pid), seam.keeps_meta());
                self.destroyed(None);
            }
        }
    }

    /// The process of a peer is no more.
    pub(super) fn end(&mut self, pid: Pid, resets: bool) {
        let Some(peer) = self.peers.get_mut(pid) else { return };
        peer.core = None;
        peer.life += 1;
        peer.paused_until = None;
        peer.wake = None;
        peer.ready = false;
        peer.stopping = false;
        let links = std::mem::take(&mut peer.links);
        self.requests.retain(|(from, _), _| *from != pid);
        self.under_way.retain(|(from, _), _| *from != pid);
        self.channels.retain(|(at, _), _| *at != pid);
        let gone: Vec<CallId> = self.calls.iter().filter(|(_, at)| **at == pid).map(|(id, _)| *id).collect();
        for id in gone {
            self.calls.remove(&id);
            self.replies.push((id, None));
        }
        for (other, connections) in links {
            for connection in connections {
                self.hang_up(pid, other, connection, resets);
            }
        }
    }

    /// Writes that no store of the ring has any more are lost.
    pub(super) fn destroyed(&mut self, only: Option<&Key>) {
        let evicted = self.evicted();
        let peers = &self.peers;
        let stores = || peers.iter().filter(|p| !p.expelled && !evicted.contains(&p.id));
        let survives = |key: &Key| stores().map(|p| p.disk.image().kept(key)).collect();
        self.facts.on_destroyed(only, survives);
    }

    // Who was a member and is not in the eyes of one that is.
    fn evicted(&mut self) -> BTreeSet<PeerId> {
        let mut evicted = BTreeSet::new();
        if self.peers.iter().all(|p| p.config.evict_after().is_none()) {
            return evicted;
        }
        let members: Vec<PeerId> = self.peers.iter().filter(|p| p.member).map(|p| p.id).collect();
        for pid in (0..self.len()).filter(|pid| self.is_ready(*pid)).collect::<Vec<_>>() {
            if let Some(client::Response::Status(status)) = self.ask(pid, &client::Request::Status) {
                let known: BTreeSet<PeerId> = status.members.iter().map(|m| m.peer).collect();
                evicted.extend(members.iter().filter(|peer| !known.contains(peer)));
            }
        }
        evicted
    }

    /// A peer was removed: what only it has may be lost.
    pub fn expel(&mut self, pid: Pid) {
        let Some(peer) = self.peers.get_mut(pid) else { return };
        peer.expelled = true;
        peer.member = false;
        self.trace.tell(self.now, None, || format!("p{pid} is removed"));
        self.destroyed(None);
    }

    /// A peer that has left is stopped for good.
    pub fn retire(&mut self, pid: Pid) {
        self.stop(pid);
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.expelled = true;
            peer.member = false;
        }
    }

    /// Whether a peer has told that it has left, since it started.
    #[must_use]
    pub fn has_left(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.left)
    }

    /// Whether a peer has told, since it started, that it was evicted for too long.
    #[must_use]
    pub fn is_evicted_for_good(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.evicted_for_good)
    }

    /// A peer does nothing until then, and does not know it.
    pub fn pause(&mut self, pid: Pid, until: Duration) {
        self.trace.tell(self.now, None, || format!("p{pid} stands still until {until:?}"));
        if let Some(peer) = self.peers.get_mut(pid).filter(|p| p.core.is_some()) {
            peer.paused_until = Some(until);
        }
    }

    /// The processor of a peer is taken: it stands still for up to `by`, gets on for a moment, and so
    /// on, until this is called with zero. What comes meanwhile comes late, and in its order.
    pub fn keep_busy(&mut self, pid: Pid, by: Duration) {
        self.trace.tell(self.now, None, || format!("p{pid} is late by up to {by:?}"));
        let Some(peer) = self.peers.get_mut(pid) else { return };
        if std::mem::replace(&mut peer.busy, by).is_zero() && !by.is_zero() {
            self.push_after(Duration::ZERO, Event::Stall { pid });
        }
    }

    pub(super) fn on_stall(&mut self, pid: Pid) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(pid).filter(|p| !p.busy.is_zero()) else { return };
        let until = now + self.rng.time(Duration::ZERO, peer.busy);
        let again = until + self.rng.time(Duration::ZERO, peer.busy / 4);
        if peer.core.is_some() {
            peer.paused_until = peer.paused_until.max(Some(until));
        }
        self.push(again, Event::Stall { pid });
    }

    /// The wall clock of a peer jumps.
    pub fn jump_clock(&mut self, pid: Pid, by_ms: i64) {
        self.trace.tell(self.now, None, || format!("p{pid}'s clock jumps by {by_ms} ms"));
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.clock.jump(by_ms);
        }
    }

    /// Each access to the disk of a peer takes up to `by` longer.
    pub fn slow_disk(&mut self, pid: Pid, by: Duration) {
        self.trace.tell(self.now, None, || format!("p{pid}'s disk takes {by:?} longer"));
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.disk.slow_down(by);
        }
    }

    /// Writes of a peer fail from now on, or no more.
    pub fn fill_disk(&mut self, pid: Pid, full: bool) {
        self.trace.tell(self.now, None, || format!("p{pid}'s disk is full: {full}"));
        if let Some(peer) = self.peers.get_mut(pid) {
            let error = StoreError::Full { path: format!("p{pid}") };
            peer.disk.image().fail_with(full.then_some(error));
        }
    }

    /// The record of `key` on the disk of a peer rots. Says whether there was one.
    pub fn damage(&mut self, pid: Pid, key: &Key) -> bool {
        let damaged = self.peers.get(pid).is_some_and(|p| p.disk.image().damage(key));
        if damaged {
            self.trace.tell(self.now, Some(key), || format!("p{pid} {key} rots"));
            self.destroyed(Some(key));
        }
        damaged
    }

    /// A client asks the peer `pid`; `None` if that is not running.
    pub fn call(&mut self, pid: Pid, request: &client::Request) -> Option<CallId> {
        self.peer(pid).filter(|p| p.core.is_some())?;
        let frame = crate::wire::encode_request(&henge::core::Request::Client(request.clone()));
        let decoded = frame.and_then(|frame| {
            self.trace.note(self.now, pid, b'c', frame.bytes());
            crate::wire::decode_request(&frame)
        });
        match decoded {
            Ok(henge::core::Request::Client(request)) => {
                let id = CallId(self.next_id());
                self.calls.insert(id, pid);
                self.feed(pid, Input::Command { command: CommandId(id.0), request });
                Some(id)
            }
            Ok(_) => None,
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Asks a peer what it can tell at once.
    pub fn ask(&mut self, pid: Pid, request: &client::Request) -> Option<client::Response> {
        let id = self.call(pid, request)?;
        let at = self.replies.iter().position(|(reply, _)| *reply == id)?;
        self.replies.remove(at).1
    }

    /// The answer to one call, if it came.
    pub fn take_reply(&mut self, call: CallId) -> Option<Option<client::Response>> {
        let at = self.replies.iter().position(|(reply, _)| *reply == call)?;
        Some(self.replies.remove(at).1)
    }

    /// A member of another ring writes and reads `key` at `pid`. What it got, if it was served.
    pub fn intrude(&mut self, pid: Pid, key: &Key) -> Option<String> {
        let (ring, voters) = (henge_types::RingId([0xee; 16]), henge_types::VotersDigest([0xee; 16]));
        let write = henge_types::Write {
            dot: henge_types::Dot { actor: henge_types::ActorId([0xee; 16]), counter: 1 },
            supersede: henge_types::Clock::new(),
            content: henge_types::Content::Value(bytes::Bytes::from_static(b"intruder")),
            written_at: 1,
            expires_at: None,
            operation: henge_types::OperationId([0xee; 16]),
        };
        let mut record = Record::new();
        let _ = record.apply(&write);
        let requests = [
            henge_quorum::Request::Write { ring, voters, key: key.clone(), record, strict: false },
            henge_quorum::Request::Read {
                ring,
                voters,
                key: key.clone(),
                want: henge_quorum::Want::Record,
                strict: false,
            },
        ];
        for request in requests {
            let channel = henge::core::ChannelId(self.next_id());
            let peer = peer_id(self.seed, usize::MAX);
            let request = henge::core::Request::Quorum(request);
            self.intruder = Some((channel, None));
            self.feed(pid, Input::Request { peer, channel, request });
            match self.intruder.take() {
                Some((_, Some(henge::core::Response::Quorum(henge_quorum::Response::Refused(_))))) => {}
                Some((_, None)) if !self.is_running(pid) => {}
                other => return Some(format!("p{pid} answers a member of another ring: {other:?}")),
            }
        }
        None
    }

    /// A peer that stands still goes on.
    pub fn wake_up(&mut self, pid: Pid) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.paused_until = peer.paused_until.map(|until| until.min(now));
        }
    }

    /// Whether a peer needs to be started again before it writes anything.
    #[must_use]
    pub fn is_poisoned(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.disk.is_poisoned())
    }

    /// Whether a peer was told to stop and has not ended.
    #[must_use]
    pub fn is_stopping(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.core.is_some() && p.stopping)
    }

    /// How many peers there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether a peer is running.
    #[must_use]
    pub fn is_running(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.core.is_some())
    }

    /// Whether a peer is running and not stopped.
    #[must_use]
    pub fn is_awake(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.core.is_some() && p.paused_until.is_none_or(|u| u <= self.now))
    }

    /// Whether a peer has told that it is ready.
    #[must_use]
    pub fn is_ready(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.core.is_some() && p.ready)
    }

    /// Whether the disk of a peer knows which ring it is a member of.
    #[must_use]
    pub fn has_saved(&self, pid: Pid) -> bool {
        self.peer(pid).is_some_and(|p| p.disk.saved().contains_key(&MetaKey::Ring))
    }

    /// Changes whom a peer is told to join at its next start.
    pub fn set_join(&mut self, pid: Pid, join: &[Pid]) {
        if let Some(peer) = self.peers.get_mut(pid) {
            peer.config = peer.config.clone().with_join(join.iter().map(|to| address(*to)).collect());
        }
    }

    /// Changes what a peer weighs from its next start on.
    pub fn set_weight(&mut self, pid: Pid, weight: u16) {
        if let (Some(peer), Ok(weight)) = (self.peers.get_mut(pid), Weight::new(weight)) {
            peer.config = peer.config.clone().with_weight(weight);
        }
    }

    /// What the disk of a peer has under `key`; `None` where it is damaged.
    #[must_use]
    pub fn record(&self, pid: Pid, key: &Key) -> Option<Record> {
        self.peer(pid)?.disk.record(key)
    }

    /// Whether a copy of `key` cannot be read.
    #[must_use]
    pub fn is_damaged(&self, key: &Key) -> bool {
        self.peers.iter().any(|p| p.disk.record(key).is_none())
    }

    /// Which peer has this id.
    #[must_use]
    pub fn pid(&self, peer: &PeerId) -> Option<Pid> {
        self.pids.get(peer).copied()
    }

    /// The id of a peer.
    #[must_use]
    pub fn id(&self, pid: Pid) -> Option<PeerId> {
        self.peer(pid).map(|p| p.id)
    }

    /// What a peer keeps for others, if anything.
    #[must_use]
    pub fn hints(&self, pid: Pid) -> Option<String> {
        match self.peer(pid)?.disk.read(&ReadOp::HintQueues) {
            StoreResult::HintQueues { queues, .. } if queues.is_empty() => None,
            answer => Some(format!("{answer:?}")),
        }
    }

    /// What is left at each of these peers of work that only the peer itself can finish: writes that nobody has
    /// executed.
    #[must_use]
    pub fn leftovers(&self, pids: &[Pid]) -> Vec<String> {
        let mut left = Vec::new();
        for (pid, peer) in self.peers.iter().enumerate().filter(|(pid, _)| pids.contains(pid)) {
            if let Some(hints) = self.hints(pid) {
                left.push(format!("p{pid} has hints: {hints}"));
            }
            if peer.disk.queued() > 0 {
                left.push(format!("p{pid} has {} writes queued", peer.disk.queued()));
            }
        }
        left
    }
}
