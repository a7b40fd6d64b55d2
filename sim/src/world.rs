//! A cluster in one thread: cores, their disks and clocks, and the network between them, driven by
//! one queue of events in the order of (time, sequence).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use henge::config::Config;
use henge::core::{ChannelId, Core, Output, Request, RequestFailure, RequestId, Response};
use henge::store::{ReadOp, Ticket};
use henge_client as client;
use henge_types::{Multiaddr, PeerId};

use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::facts::Facts;
use crate::network::{self, Network};
use crate::rng::Rng;
use crate::seam::Seam;
use crate::trace::{Trace, Watch};
use crate::wire::Frame;

mod links;
mod outputs;
mod peers;
mod storage;
mod traffic;

pub use peers::Crash;

/// Numbers the peers of a world, from 0.
pub type Pid = usize;

/// Names a request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Events that may happen at one instant. More is a loop.
const EVENTS_PER_INSTANT_MAX: u32 = 200_000;

/// What a world is made of.
pub struct Setup {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The network at its best.
    pub network: network::Profile,
    /// The disk of every peer.
    pub disk: disk::Profile,
    /// Largest drift of a clock, in millionths.
    pub drift_ppm: u64,
    /// Deliberate bugs.
    pub seam: Box<dyn Seam>,
    /// What to write down.
    pub watch: Option<Watch>,
}

/// The cluster.
pub struct World {
    seed: u64,
    now: Duration,
    sequence: u64,
    in_instant: u32,
    queue: BinaryHeap<Reverse<Scheduled>>,
    peers: Vec<Peer>,
    pids: BTreeMap<PeerId, Pid>,
    network: Network,
    disk: disk::Profile,
    drift_ppm: u64,
    rng: Rng,
    seam: Box<dyn Seam>,
    next: u64,
    /// When the dialling end of a connection has it: nothing comes over it before.
    opening: BTreeMap<ConnectionId, Duration>,
    /// Requests under way, by who asked.
    requests: BTreeMap<(Pid, RequestId), Pending>,
    under_way: BTreeMap<(Pid, Pid), usize>,
    /// Requests to be answered, by who was asked.
    channels: BTreeMap<(Pid, ChannelId), Channel>,
    calls: BTreeMap<CallId, Pid>,
    replies: Vec<(CallId, Option<client::Response>)>,
    /// A request of a stranger under way, and what it was answered.
    intruder: Option<(ChannelId, Option<Response>)>,
    facts: Facts,
    trace: Trace,
    failure: Option<String>,
}

/// One peer of a world.
#[derive(Debug)]
pub(crate) struct Peer {
    id: PeerId,
    core: Option<Core>,
    /// Counts the starts: what was on its way to an earlier life finds nobody.
    life: u32,
    config: Config,
    clock: Clock,
    disk: Disk,
    paused_until: Option<Duration>,
    /// Up to how long it stands still between two moments in which it gets on; none if it runs freely.
    busy: Duration,
    /// When the core is to be woken.
    wake: Option<Duration>,
    /// Whether the machine crashed, or was shut down, since it last ran.
    crashed: bool,
    /// Open connections, as this end sees them.
    links: BTreeMap<Pid, Vec<ConnectionId>>,
    ready: bool,
    /// Whether it has been ready with the disk that it has.
    member: bool,
    stopping: bool,
    /// It told that it has left.
    left: bool,
    /// It told that it was evicted too long ago.
    evicted_for_good: bool,
    /// What it has does not count: it has left, or was removed and is not back.
    expelled: bool,
    addresses: Vec<Multiaddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

#[derive(Debug)]
struct Pending {
    to: Pid,
    connection: ConnectionId,
    request: Request,
}

#[derive(Debug, Clone)]
struct Channel {
    from: Pid,
    life: u32,
    request: RequestId,
    connection: ConnectionId,
}

#[derive(Debug)]
struct Scheduled {
    at: Duration,
    sequence: u64,
    event: Event,
}

/// What happens in a world. `life` is of the peer at which it happens.
#[derive(Debug, Clone)]
enum Event {
    Wake { pid: Pid, life: u32, at: Duration },
    Request { from: Pid, from_life: u32, to: Pid, connection: ConnectionId, id: RequestId, frame: Frame },
    Response { from: Pid, to: Pid, life: u32, connection: ConnectionId, id: RequestId, frame: Frame },
    Failed { pid: Pid, life: u32, id: RequestId, failure: RequestFailure },
    Gossip { to: Pid, life: u32, data: Bytes },
    Read { pid: Pid, life: u32, ticket: Ticket, op: ReadOp },
    Write { pid: Pid, life: u32 },
    Sync { pid: Pid, life: u32, through: Ticket },
    Tick { pid: Pid, life: u32 },
    Stall { pid: Pid },
    DialArrives { from: Pid, life: u32, to: Pid, address: Option<Multiaddr> },
    DialDone { from: Pid, life: u32, to: Pid, connection: ConnectionId, address: Option<Multiaddr> },
    DialFailed { from: Pid, life: u32, to: Option<Pid>, address: Option<Multiaddr> },
    Close { pid: Pid, life: u32, other: Pid, connection: ConnectionId },
    KeepAlive { from: Pid, to: Pid, cut_at: Duration },
    External { token: u64 },
}

/// What [`World::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something in the world.
    Inside,
    /// The time of a [`World::schedule`] has come.
    External(u64),
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { seed, network, disk, drift_ppm, seam, watch } = setup;
        Self {
            seed,
            now: Duration::ZERO,
            sequence: 0,
            in_instant: 0,
            queue: BinaryHeap::new(),
            peers: Vec::new(),
            pids: BTreeMap::new(),
            network: Network::new(seed, network),
            disk,
            drift_ppm,
            rng: Rng::new(seed, "world"),
            seam,
            next: 0,
            opening: BTreeMap::new(),
            requests: BTreeMap::new(),
            under_way: BTreeMap::new(),
            channels: BTreeMap::new(),
            calls: BTreeMap::new(),
            replies: Vec::new(),
            intruder: None,
            facts: Facts::default(),
            trace: Trace::watching(watch),
            failure: None,
        }
    }

    /// The time of the simulation.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What was seen at the seams.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What happened.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// The network, to be broken and mended.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// What went wrong in the world itself: a codec, the core's contract, a loop.
    pub fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Have [`World::step`] return `token` at `at`.
    pub fn schedule(&mut self, at: Duration, token: u64) {
        self.push(at, Event::External { token });
    }

    /// Lets the next event happen. `None` when nothing is left to happen.
    pub fn step(&mut self) -> Option<Step> {
        let Reverse(Scheduled { at, event, .. }) = self.queue.pop()?;
        self.in_instant = if at > self.now { 0 } else { self.in_instant + 1 };
        if self.in_instant > EVENTS_PER_INSTANT_MAX {
            self.fail("time stands still: a loop without a pause".to_owned());
        }
        self.now = self.now.max(at);
        if let Some(until) = self.paused(&event) {
            self.push(until, event);
            return Some(Step::Inside);
        }
        Some(self.happen(event))
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::External { token } => return Step::External(token),
            Event::Wake { pid, life, at } => self.on_wake(pid, life, at),
            Event::Request { from, from_life, to, connection, id, frame } => {
                self.on_request(from, from_life, to, connection, id, &frame);
            }
            Event::Response { from, to, life, connection, id, frame } => {
                self.on_response(from, to, life, connection, id, &frame);
            }
            Event::Failed { pid, life, id, failure } => self.on_failed(pid, life, id, failure),
            Event::Gossip { to, life, data } => self.on_gossip(to, life, data),
            Event::Read { pid, life, ticket, op } => self.on_read(pid, life, ticket, &op),
            Event::Write { pid, life } => self.on_write(pid, life),
            Event::Sync { pid, life, through } => self.on_sync(pid, life, through),
            Event::Tick { pid, life } => self.on_tick(pid, life),
            Event::Stall { pid } => self.on_stall(pid),
            Event::DialArrives { from, life, to, address } => self.on_dial(from, life, to, address),
            Event::DialDone { from, life, to, connection, address } => {
                self.on_dial_done(from, life, to, connection, address);
            }
            Event::DialFailed { from, life, to, address } => self.on_dial_failed(from, life, to, address),
            Event::Close { pid, life, other, connection } => self.on_close(pid, life, other, connection),
            Event::KeepAlive { from, to, cut_at } => self.on_keep_alive(from, to, cut_at),
        }
        Step::Inside
    }

    /// What clients were answered since the last call; `None` where the peer is gone.
    pub fn take_replies(&mut self) -> Vec<(CallId, Option<client::Response>)> {
        std::mem::take(&mut self.replies)
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), sequence: self.sequence, event }));
    }

    fn push_after(&mut self, after: Duration, event: Event) {
        self.push(self.now + after, event);
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn fail(&mut self, what: String) {
        self.trace.tell(self.now, None, || format!("FAILED {what}"));
        self.failure.get_or_insert(what);
    }

    fn peer(&self, pid: Pid) -> Option<&Peer> {
        self.peers.get(pid)
    }

    fn alive(&mut self, pid: Pid, life: u32) -> Option<&mut Peer> {
        self.peers.get_mut(pid).filter(|p| p.life == life && p.core.is_some())
    }

    // Until when the peer at which `event` happens is stopped, if it is.
    fn paused(&self, event: &Event) -> Option<Duration> {
        let pid = match event {
            Event::Wake { pid, .. }
            | Event::Failed { pid, .. }
            | Event::Read { pid, .. }
            | Event::Write { pid, .. }
            | Event::Sync { pid, .. }
            | Event::Tick { pid, .. }
            | Event::Close { pid, .. } => *pid,
            Event::Request { to, .. } | Event::Response { to, .. } | Event::Gossip { to, .. } => *to,
            Event::DialArrives { to, .. } => *to,
            Event::DialDone { from, .. } | Event::DialFailed { from, .. } => *from,
            Event::Stall { .. } | Event::KeepAlive { .. } | Event::External { .. } => return None,
        };
        self.peer(pid).and_then(|p| p.paused_until).filter(|until| *until > self.now)
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

// What the peers' modules need of the core's alphabet, in one place.
type Outputs = Vec<Output>;
type Answer = Result<Response, RequestFailure>;
