//! Connections: dialled, accepted, lost. Each end has its own opinion.

use std::time::Duration;

use henge::core::{Input, RequestFailure};
use henge_types::Multiaddr;

use super::{ConnectionId, Event, Pid, World};

/// After how long a dial that nobody answers fails.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest until an end notices that nothing comes from the other any more.
const KEEP_ALIVE: Duration = Duration::from_secs(12);

impl World {
    pub(super) fn dial(&mut self, from: Pid, to: Option<Pid>, address: Option<Multiaddr>) {
        let life = self.peer(from).map_or(0, |p| p.life);
        let arrives = to.filter(|to| *to < self.peers.len()).map(|to| (to, self.network.route(from, to)));
        match arrives {
            Some((to, delays)) if !delays.is_empty() => {
                let delay = delays.first().copied().unwrap_or_default();
                self.push_after(delay, Event::DialArrives { from, life, to, address });
            }
            Some((to, _)) => {
                self.push_after(DIAL_TIMEOUT, Event::DialFailed { from, life, to: Some(to), address });
            }
            None => self.push_after(DIAL_TIMEOUT, Event::DialFailed { from, life, to, address }),
        }
    }

    pub(super) fn on_dial(&mut self, from: Pid, life: u32, to: Pid, address: Option<Multiaddr>) {
        let back = self.network.route(to, from).first().copied();
        let running = self.is_running(to);
        let failed = Event::DialFailed { from, life, to: Some(to), address: address.clone() };
        match (back, running) {
            (Some(delay), true) => {
                let connection = ConnectionId(self.next_id());
                self.opening.insert(connection, self.now + delay);
                self.push_after(delay, Event::DialDone { from, life, to, connection, address });
                self.open(to, from, connection);
            }
            // Nobody listens there.
            (Some(delay), false) => self.push_after(delay, failed),
            (None, _) => {
                if running {
                    let connection = ConnectionId(self.next_id());
                    self.open(to, from, connection);
                    let other_life = self.peer(to).map_or(0, |p| p.life);
                    let close = Event::Close { pid: to, life: other_life, other: from, connection };
                    self.push_after(KEEP_ALIVE, close);
                }
                self.push_after(DIAL_TIMEOUT, failed);
            }
        }
    }

    pub(super) fn on_dial_done(
        &mut self,
        from: Pid,
        life: u32,
        to: Pid,
        connection: ConnectionId,
        address: Option<Multiaddr>,
    ) {
        self.opening.remove(&connection);
        if self.alive(from, life).is_some() {
            if let (Some(address), Some(peer)) = (address, self.id(to)) {
                self.feed(from, Input::Dialed { peer, address });
            }
            self.open(from, to, connection);
        } else {
            self.hang_up(from, to, connection, true);
        }
    }

    pub(super) fn on_dial_failed(
        &mut self,
        from: Pid,
        life: u32,
        to: Option<Pid>,
        address: Option<Multiaddr>,
    ) {
        if self.alive(from, life).is_none() {
            return;
        }
        self.trace.note(self.now, from, b'f', &[]);
        let peer = if address.is_some() { None } else { to.and_then(|to| self.id(to)) };
        self.feed(from, Input::DialFailed { peer, address, reason: "cannot be reached".to_owned() });
    }

    fn open(&mut self, pid: Pid, other: Pid, connection: ConnectionId) {
        let Some(id) = self.id(other) else { return };
        let Some(peer) = self.peers.get_mut(pid) else { return };
        let connections = peer.links.entry(other).or_default();
        connections.push(connection);
        if connections.len() == 1 {
            self.trace.note(self.now, pid, b'o', &(other as u64).to_be_bytes());
            self.trace.tell(self.now, None, || format!("p{pid} is connected to p{other}"));
            self.feed(pid, Input::Connected { peer: id });
        }
    }

    /// One end of a connection is gone; the other hears of it at once, or when it gets no answer.
    pub(super) fn hang_up(&mut self, pid: Pid, other: Pid, connection: ConnectionId, tells: bool) {
        let delay = self.network.route(pid, other).first().copied().filter(|_| tells);
        let late = self.rng.time(Duration::from_millis(200), KEEP_ALIVE);
        let life = self.peer(other).map_or(0, |p| p.life);
        let close = Event::Close { pid: other, life, other: pid, connection };
        self.push_after(delay.unwrap_or(late), close);
    }

    /// An end learns that its connection is gone.
    pub(super) fn on_close(&mut self, pid: Pid, life: u32, other: Pid, connection: ConnectionId) {
        let Some(id) = self.id(other) else { return };
        let Some(peer) = self.alive(pid, life) else { return };
        let Some(connections) = peer.links.get_mut(&other) else { return };
        let Some(at) = connections.iter().position(|c| *c == connection) else { return };
        connections.remove(at);
        let last = connections.is_empty();
        self.trace.note(self.now, pid, b'x', &(other as u64).to_be_bytes());
        let lost: Vec<_> = self
            .requests
            .iter()
            .filter(|((from, _), p)| *from == pid && p.connection == connection)
            .map(|((_, id), _)| *id)
            .collect();
        if last {
            self.trace.tell(self.now, None, || format!("p{pid} lost its connection to p{other}"));
            self.feed(pid, Input::Disconnected { peer: id });
        }
        for id in lost {
            self.on_failed(pid, life, id, RequestFailure::ConnectionLost);
        }
    }

    /// Nothing passes any more from one peer to the other; their connections end after a while.
    pub fn cut(&mut self, from: Pid, to: Pid) {
        self.trace.tell(self.now, None, || format!("cut p{from} -> p{to}"));
        self.network.cut(from, to);
        let after = self.rng.time(KEEP_ALIVE / 4, KEEP_ALIVE);
        let cut_at = self.now;
        self.push_after(after, Event::KeepAlive { from, to, cut_at });
    }

    /// What was cut passes again.
    pub fn mend(&mut self, from: Pid, to: Pid) {
        self.trace.tell(self.now, None, || format!("mend p{from} -> p{to}"));
        self.network.mend(from, to);
    }

    pub(super) fn on_keep_alive(&mut self, from: Pid, to: Pid, cut_at: Duration) {
        let _ = cut_at;
        if self.network.passes(from, to) {
            return;
        }
        for (pid, other) in [(to, from), (from, to)] {
            let life = self.peer(pid).map_or(0, |p| p.life);
            let open = self.peer(pid).and_then(|p| p.links.get(&other)).cloned().unwrap_or_default();
            for connection in open {
                let after = self.rng.time(Duration::ZERO, KEEP_ALIVE / 4);
                self.push_after(after, Event::Close { pid, life, other, connection });
            }
        }
    }

    /// The connection by which `pid` reaches `other`.
    pub(super) fn connection(&self, pid: Pid, other: Pid) -> Option<ConnectionId> {
        self.peer(pid)?.links.get(&other)?.last().copied()
    }

    pub(super) fn is_open(&self, pid: Pid, other: Pid, connection: ConnectionId) -> bool {
        self.peer(pid).and_then(|p| p.links.get(&other)).is_some_and(|c| c.contains(&connection))
    }
}
