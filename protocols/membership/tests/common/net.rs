//! A network of states in memory: seeded loss and delay, every message encoded and decoded, peers that
//! crash, stop or run late, disks that keep only what was saved before a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use henge_membership::{
    Action, Failure, Gossip, Relay, Request, Reservation, Response, SavedView, Start, State, Token, Update,
    decode_gossip,
};
use henge_types::codec::{self, Stored};
use henge_types::{Custody, CustodyMap, Incarnation, Now, PeerId, RingId, RingSecret, SignedMember};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{map, peer, start};

/// Messages that wait for a process that does not run.
const BUFFERED: usize = 16;

#[derive(Default, Clone)]
pub struct Disk {
    pub ring: Option<(RingId, RingSecret)>,
    pub reserved: Option<Reservation>,
    pub view: Option<Bytes>,
}

pub struct Node {
    pub n: u8,
    pub state: Option<State>,
    pub disk: Disk,
    pub custody: CustodyMap,
    pub refused: Vec<String>,
    pub reborn: Vec<Incarnation>,
    /// The lives in which it came back from an eviction.
    pub returned: Vec<Incarnation>,
    pub persisted: usize,
    /// Up to how much later than due its timers fire, and messages are read.
    pub lag: Duration,
    id: PeerId,
    late: Duration,
    // What waits for a process that does not run.
    stopped: Option<Vec<(u64, Event)>>,
    run: u64,
    links: BTreeSet<usize>,
    seen: BTreeSet<Bytes>,
}

enum Event {
    Request { from: usize, to: usize, token: Token, bytes: Vec<u8> },
    Response { to: usize, token: Token, result: Result<Vec<u8>, Failure> },
    Gossip { source: usize, to: usize, payload: Bytes },
    Saved { node: usize, reservation: Reservation },
}

impl Event {
    fn node(&self) -> usize {
        match self {
            Self::Request { to, .. } | Self::Response { to, .. } | Self::Gossip { to, .. } => *to,
            Self::Saved { node, .. } => *node,
        }
    }
}

pub struct Net {
    pub nodes: Vec<Node>,
    pub now: Now,
    pub loss_percent: u64,
    /// Whether what is lost shows only by time-outs.
    pub silent: bool,
    /// From whom to whom nothing gets through, and nobody notices.
    pub cuts: BTreeSet<(usize, usize)>,
    /// Gossip messages sent since the start, each hop for itself.
    pub gossiped: usize,
    /// Whether new members are dialled.
    pub dials: bool,
    /// Requests sent since the start, by kind.
    pub sent: BTreeMap<&'static str, usize>,
    /// How often anybody took another for gone.
    pub downs: usize,
    queue: BTreeMap<(Duration, u64), (u64, Event)>,
    // Requests without an outcome.
    pending: BTreeSet<(usize, Token)>,
    sequence: u64,
    random: u64,
    numbers: BTreeMap<(PeerId, Incarnation, u64), SignedMember>,
}

impl Net {
    /// `size` peers: the first has born the ring, the others look for one.
    pub fn new(size: u8, seed: u64) -> Self {
        let mut net = Self {
            nodes: Vec::new(),
            now: super::at(1),
            loss_percent: 0,
            silent: false,
            cuts: BTreeSet::new(),
            gossiped: 0,
            downs: 0,
            pending: BTreeSet::new(),
            dials: true,
            sent: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            random: seed,
            numbers: BTreeMap::new(),
        };
        for n in 1..=size {
            let custody = map(if n == 1 { Custody::Full } else { Custody::None });
            net.nodes.push(Node {
                n,
                state: None,
                disk: Disk::default(),
                custody,
                refused: vec![],
                reborn: vec![],
                returned: vec![],
                persisted: 0,
                lag: Duration::ZERO,
                id: peer(n),
                late: Duration::ZERO,
                stopped: None,
                run: 0,
                links: BTreeSet::new(),
                seen: BTreeSet::new(),
            });
        }
        net.nodes[0].disk.ring = None;
        net.boot(0, Start::Birth { ring: super::RING, secret: super::SECRET });
        (1..usize::from(size)).for_each(|i| net.boot(i, Start::Join));
        net
    }

    /// All join through the first, one after the other.
    pub fn joined(size: u8, seed: u64) -> Self {
        let mut net = Self::new(size, seed);
        (1..usize::from(size)).for_each(|i| net.join(i, 0));
        net.run_for(Duration::from_secs(3));
        net
    }

    pub fn boot(&mut self, i: usize, how: Start) {
        if let Start::Birth { ring, secret } = &how {
            self.nodes[i].disk.ring = Some((*ring, *secret));
        }
        self.nodes[i].state = Some(start(self.nodes[i].n, how, self.now));
        self.act(i);
    }

    pub fn crash(&mut self, i: usize) {
        self.vanish(i);
        self.nodes[i].seen.clear();
        for other in std::mem::take(&mut self.nodes[i].links) {
            self.nodes[other].links.remove(&i);
            let id = self.id(i);
            self.with(other, |state, now| state.handle_disconnected(id, now));
        }
    }

    /// Its machine loses power: nobody is told.
    pub fn vanish(&mut self, i: usize) {
        self.nodes[i].state = None;
        self.nodes[i].run += 1;
        self.pending.retain(|(of, _)| *of != i);
    }

    /// Its process does not run any more, as after SIGSTOP; what comes for it waits.
    pub fn stop(&mut self, i: usize) {
        self.nodes[i].stopped = Some(Vec::new());
    }

    /// It runs again. Whether it looks at its timers or at what waited first, is chance.
    pub fn cont(&mut self, i: usize) {
        let waiting = self.nodes[i].stopped.take().unwrap();
        if self.draw().is_multiple_of(2) {
            self.with(i, State::handle_timeout);
        }
        waiting.into_iter().for_each(|(run, event)| self.deliver(run, event));
    }

    /// Nothing passes between the two sides any more.
    pub fn part(&mut self, one: &[usize], other: &[usize]) {
        let across = one.iter().flat_map(|a| other.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
        self.cuts.extend(across);
    }

    /// Boots from the disk, and connects to all who run.
    pub fn restart(&mut self, i: usize) {
        // The connections of the last run, if the others have not noticed yet.
        self.crash(i);
        let disk = self.nodes[i].disk.clone();
        let how = match (disk.ring, disk.reserved) {
            (Some((ring, secret)), Some(reserved)) => {
                let view =
                    disk.view.map_or(SavedView::empty(ring), |view| SavedView::from_stored(&view).unwrap());
                Start::Restart { ring, secret, reserved, custody: self.nodes[i].custody.clone(), view }
            }
            (Some((ring, secret)), None) if i == 0 => Start::Birth { ring, secret },
            _ => Start::Join,
        };
        self.boot(i, how);
        (0..self.nodes.len()).for_each(|other| self.connect(i, other));
    }

    pub fn join(&mut self, i: usize, target: usize) {
        let id = self.id(target);
        self.with(i, |state, now| {
            state.handle_join(id, now);
        });
        self.connect(i, target);
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        let running = self.nodes[a].state.is_some() && self.nodes[b].state.is_some();
        if a == b || !running || !self.nodes[a].links.insert(b) {
            return;
        }
        self.nodes[b].links.insert(a);
        let (id_a, id_b) = (self.id(a), self.id(b));
        self.with(a, |state, now| state.handle_connected(id_b, now));
        self.with(b, |state, now| state.handle_connected(id_a, now));
    }

    pub fn with(&mut self, i: usize, f: impl FnOnce(&mut State, Now)) {
        let now = self.now;
        if let Some(state) = &mut self.nodes[i].state {
            f(state, now);
            self.act(i);
        }
    }

    pub fn state(&self, i: usize) -> &State {
        self.nodes[i].state.as_ref().unwrap()
    }

    pub fn id(&self, i: usize) -> PeerId {
        self.nodes[i].id
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.step(end) {}
        self.now = self.now.after(end - self.now.monotonic);
    }

    /// Runs until `done`; false if that takes longer than `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.monotonic + limit;
        while !done(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Whether all running peers know the same: who is in the ring with what numbers, and
    /// all custody maps.
    pub fn agrees(&self, members: usize) -> bool {
        let facts = |state: &State| -> Vec<_> {
            let view = state.view();
            view.iter()
                .map(|(id, m)| (*id, m.record().incarnation, m.record().state, m.custody().clone()))
                .collect()
        };
        let mut running = self.nodes.iter().filter_map(|node| node.state.as_ref());
        let first = running.next().map(facts).unwrap();
        let whole = |state: &State| state.view().needs_custody().next().is_none();
        first.len() == members && running.all(|state| facts(state) == first && whole(state))
    }

    fn step(&mut self, end: Duration) -> bool {
        let timers = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.stopped.is_none())
            .filter_map(|(i, node)| Some((node.state.as_ref()?.poll_timeout()? + node.late, i)));
        let timer = timers.min();
        let event = self.queue.keys().next().copied();
        let next = timer.map(|(at, _)| at).into_iter().chain(event.map(|(at, _)| at)).min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.after(at.saturating_sub(self.now.monotonic));
        match (event.filter(|(when, _)| *when == at), timer) {
            (Some(key), _) => {
                let (run, event) = self.queue.remove(&key).unwrap();
                self.deliver(run, event);
            }
            (None, Some((_, i))) => {
                self.with(i, State::handle_timeout);
                self.nodes[i].late = self.lag(i);
            }
            (None, None) => {}
        }
        true
    }

    fn deliver(&mut self, run: u64, event: Event) {
        if let Some(waiting) = &mut self.nodes[event.node()].stopped {
            // Buffers are full after a while, and what comes then is lost; its own time-outs come.
            let arrives = matches!(event, Event::Request { .. } | Event::Gossip { .. });
            if !arrives || waiting.len() < BUFFERED {
                waiting.push((run, event));
            }
            return;
        }
        match event {
            Event::Request { from, to, token, bytes } => {
                let asker = self.id(from);
                let request: Request = codec::decode(&bytes).unwrap();
                let mut response = None;
                self.with(to, |state, now| response = Some(state.on_request(asker, request, now)));
                let lost = self.is_lost(to, from);
                let result =
                    response.filter(|_| !lost).map(|response| encode(&response)).ok_or(Failure::Lost);
                if result.is_ok() || !self.is_silent(to, from) {
                    self.later_in(run, Event::Response { to: from, token, result });
                }
            }
            Event::Response { to, token, result }
                if run == self.nodes[to].run && self.pending.remove(&(to, token)) =>
            {
                let result = result.map(|bytes| codec::decode::<Response>(&bytes).unwrap());
                self.with(to, |state, now| state.on_response(token, result, now));
            }
            Event::Gossip { source, to, payload } => {
                let id = self.id(source);
                if !self.nodes[to].seen.insert(payload.clone()) {
                    return;
                }
                let mut relay = Relay::Ignore;
                self.with(to, |state, now| relay = state.on_gossip(id, &payload, now));
                assert_ne!(relay, Relay::Reject);
                if relay == Relay::Forward {
                    self.flood(to, &payload);
                }
            }
            Event::Saved { node, reservation } if run == self.nodes[node].run => {
                self.nodes[node].disk.reserved = Some(reservation);
                self.with(node, |state, now| state.handle_reserved(reservation, now));
            }
            // Meant for a run that crashed, or the request has its outcome.
            Event::Response { .. } | Event::Saved { .. } => {}
        }
    }

    fn act(&mut self, i: usize) {
        while let Some(action) = self.nodes[i].state.as_mut().and_then(State::poll_action) {
            match action {
                Action::Send { peer, token, timeout, request } => {
                    self.send(i, peer, token, timeout, &request);
                }
                Action::Publish { payload } => {
                    if let Gossip::Member(member) = decode_gossip(&payload).unwrap() {
                        self.note_number(i, &member);
                    }
                    self.nodes[i].seen.insert(payload.clone());
                    self.flood(i, &payload);
                }
                Action::Persist { view } => {
                    self.nodes[i].disk.view = Some(view);
                    self.nodes[i].persisted += 1;
                }
                Action::Reserve { reservation } => self.later(i, Event::Saved { node: i, reservation }),
                Action::Joined { ring, secret, .. } => self.nodes[i].disk.ring = Some((ring, secret)),
                Action::Reborn { incarnation } => {
                    self.nodes[i].custody = map(Custody::None);
                    self.nodes[i].reborn.push(incarnation);
                }
                Action::Evicted { incarnation, .. } => {
                    self.nodes[i].custody = map(Custody::Part);
                    self.nodes[i].returned.push(incarnation);
                }
                Action::NewMember { peer } if self.dials => {
                    let other = self.find(peer);
                    self.connect(i, other);
                }
                Action::Health { down, .. } => self.downs += usize::from(down),
                Action::Refused { refusal, .. } => self.nodes[i].refused.push(refusal.to_string()),
                Action::Fault { peer, fault } => panic!("{peer}: {fault}"),
                _ => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: PeerId, token: Token, timeout: Duration, request: &Request) {
        let kind = match request {
            Request::Join { .. } => "join",
            Request::Exchange { .. } => "exchange",
            Request::Push { updates, .. } => {
                updates.iter().for_each(|Update { member, .. }| self.note_number(from, member));
                "push"
            }
            Request::Fetch { .. } => "fetch",
            Request::Probe { .. } => "probe",
        };
        *self.sent.entry(kind).or_default() += 1;
        let to = self.find(to);
        let linked = self.nodes[from].links.contains(&to);
        let run = self.nodes[from].run;
        self.pending.insert((from, token));
        let failed = Event::Response { to: from, token, result: Err(Failure::Lost) };
        if linked && !self.is_lost(from, to) {
            self.later(from, Event::Request { from, to, token, bytes: encode(request) });
        } else if !linked || !self.is_silent(from, to) {
            return self.later(from, failed);
        }
        self.enqueue(self.now.monotonic + timeout, run, failed);
    }

    // No two records of one peer share incarnation and counter, through all crashes.
    fn note_number(&mut self, from: usize, member: &SignedMember) {
        let record = member.record();
        if record.peer == self.id(from) {
            let known =
                self.numbers.insert((record.peer, record.incarnation, record.counter), member.clone());
            assert!(known.is_none_or(|known| known == *member), "{member:?} repeats a number");
        }
    }

    fn flood(&mut self, source: usize, payload: &Bytes) {
        let count = self.nodes.len();
        for to in self.nodes[source].links.clone() {
            if !in_mesh(source, to, count) {
                continue;
            }
            self.gossiped += 1;
            if !self.is_lost(source, to) {
                self.later(source, Event::Gossip { source, to, payload: payload.clone() });
            }
        }
    }

    fn later(&mut self, whose: usize, event: Event) {
        self.later_in(self.nodes[whose].run, event);
    }

    // After 1 to 5 ms; what a run waits for, it gets only in that run.
    fn later_in(&mut self, run: u64, event: Event) {
        let delay = Duration::from_micros(1000 + self.draw() % 4000) + self.lag(event.node());
        self.enqueue(self.now.monotonic + delay, run, event);
    }

    fn enqueue(&mut self, at: Duration, run: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (run, event));
    }

    fn lag(&mut self, i: usize) -> Duration {
        let most = self.nodes[i].lag.as_millis() as u64;
        if most == 0 { Duration::ZERO } else { Duration::from_millis(self.draw() % most) }
    }

    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to)) || self.draw() % 100 < self.loss_percent
    }

    fn is_silent(&self, from: usize, to: usize) -> bool {
        self.silent || self.cuts.contains(&(from, to)) || self.nodes[to].state.is_none()
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn find(&self, id: PeerId) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap()
    }
}

// In a larger network gossip goes to eight neighbours, as gossipsub does.
fn in_mesh(from: usize, to: usize, count: usize) -> bool {
    let clockwise = (to + count - from) % count;
    count <= 12 || [1, 3, 7, 15].iter().any(|step| clockwise == *step || clockwise == count - step)
}

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    codec::encode(value).unwrap()
}
