//! Three cores in one thread, without a network: the whole life of a small ring, in virtual time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "a test")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use henge::config::Config;
use henge::core::{ChannelId, CommandId, Core, Identity, Input, Output, RequestFailure, RequestId};
use henge::store::memory::Memory;
use henge::store::{MetaKey, Store, StoreOp};
use henge_client::{Failure, Get, Hop, Request, Response, Supersede, WriteOptions};
use henge_types::member::Signer;
use henge_types::{ClusterParams, Context, Key, Multiaddr, Now, OperationId, PeerId};

#[path = "cores/hints.rs"]
mod hints;
#[path = "cores/repair.rs"]
mod repair;
#[path = "cores/weight.rs"]
mod weight;

const HOP: Duration = Duration::from_millis(1);

/// Signs nothing: the cores trust each other here.
struct NoSigner;

impl Signer for NoSigner {
    fn sign(&self, _: &[u8]) -> Vec<u8> {
        vec![0]
    }
    fn verify(&self, _: &PeerId, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

struct Peer {
    core: Core,
    store: Arc<Memory>,
    alive: bool,
    ready: bool,
    connected: Vec<usize>,
}

/// All peers, the messages on their way, and the time.
struct World {
    peers: Vec<Peer>,
    ids: Vec<PeerId>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    inputs: BTreeMap<u64, Input>,
    channels: BTreeMap<u64, (usize, RequestId)>,
    replies: BTreeMap<u64, Response>,
    next: u64,
    now: Duration,
    trace: Vec<String>,
    /// What the next peer that starts is told.
    config: Config,
}

fn address(at: usize) -> Multiaddr {
    format!("/memory/{}", at + 1).parse().unwrap()
}

fn peer_id(at: usize) -> PeerId {
    let mut key = [0; 32];
    key[0] = u8::try_from(at).unwrap() + 1;
    libp2p::identity::Keypair::ed25519_from_bytes(key).unwrap().public().to_peer_id()
}

impl World {
    fn new() -> Self {
        Self {
            peers: Vec::new(),
            ids: Vec::new(),
            queue: BinaryHeap::new(),
            inputs: BTreeMap::new(),
            channels: BTreeMap::new(),
            replies: BTreeMap::new(),
            next: 0,
            now: Duration::from_secs(1),
            trace: Vec::new(),
            config: Config::new().with_params(ClusterParams::new(3).unwrap().with_partitions(64).unwrap()),
        }
    }

    fn clock(&self) -> Now {
        let unix_ms = 1_700_000_000_000 + u64::try_from(self.now.as_millis()).unwrap();
        Now { monotonic: self.now, unix_ms }
    }

    fn core(&self, at: usize, store: &Memory, join: &[usize]) -> Core {
        let join = join.iter().map(|a| address(*a)).collect();
        let saved = MetaKey::ALL.into_iter().filter_map(|k| store.meta(k).unwrap().map(|v| (k, v))).collect();
        let seed = [u8::try_from(at).unwrap() + 1; 32];
        let identity = Identity { peer: peer_id(at), signer: Arc::new(NoSigner) };
        Core::new(self.config.clone().with_join(join), identity, &saved, seed, self.clock()).unwrap()
    }

    fn add(&mut self, join: &[usize]) -> usize {
        let at = self.peers.len();
        let store = Arc::new(Memory::default());
        let core = self.core(at, &store, join);
        self.ids.push(peer_id(at));
        self.peers.push(Peer { core, store, alive: true, ready: false, connected: Vec::new() });
        self.start(at);
        at
    }

    fn start(&mut self, at: usize) {
        self.send(at, Duration::ZERO, Input::Addresses(vec![address(at)]));
        self.pump(at);
    }

    /// The process dies; its store stays.
    fn kill(&mut self, at: usize) {
        self.peers[at].alive = false;
        self.peers[at].ready = false;
        for other in std::mem::take(&mut self.peers[at].connected) {
            self.peers[other].connected.retain(|c| *c != at);
            let peer = self.ids[at];
            self.send(other, HOP, Input::Disconnected { peer });
        }
        let lost: Vec<(u64, usize, RequestId)> =
            self.channels.iter().map(|(c, (p, r))| (*c, *p, *r)).collect();
        for (channel, from, request) in lost {
            // Requests to the dead peer fail at once; which those are is in the channel's name.
            if channel % 1000 == at as u64 {
                self.channels.remove(&channel);
                self.send(
                    from,
                    HOP,
                    Input::Response { request, result: Err(RequestFailure::ConnectionLost) },
                );
            }
        }
    }

    fn restart(&mut self, at: usize, join: &[usize]) {
        let store = Arc::clone(&self.peers[at].store);
        let core = self.core(at, &store, join);
        self.peers[at] = Peer { core, store, alive: true, ready: false, connected: Vec::new() };
        self.start(at);
    }

    fn send(&mut self, to: usize, after: Duration, input: Input) {
        self.next += 1;
        self.inputs.insert(self.next, input);
        self.queue.push(Reverse((self.now + after, self.next, to)));
    }

    fn pump(&mut self, at: usize) {
        while let Some(output) = self.peers[at].core.poll_output() {
            self.trace.push(format!("{:?} {at} {output:?}", self.now));
            self.carry_out(at, output);
        }
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Request { id, peer, request, .. } => {
                let to = self.ids.iter().position(|p| *p == peer).unwrap();
                if !self.peers[at].connected.contains(&to) {
                    let result = Err(RequestFailure::Unreachable);
                    return self.send(at, HOP, Input::Response { request: id, result });
                }
                self.next += 1;
                let channel = self.next * 1000 + to as u64;
                self.channels.insert(channel, (at, id));
                let peer = self.ids[at];
                self.send(to, HOP, Input::Request { peer, channel: ChannelId(channel), request });
            }
            Output::Respond { channel, response } => {
                if let Some((to, request)) = self.channels.remove(&channel.0) {
                    self.send(to, HOP, Input::Response { request, result: Ok(response) });
                }
            }
            Output::Publish { data } => {
                for to in self.peers[at].connected.clone() {
                    self.send(to, HOP, Input::Gossip { data: data.clone() });
                }
            }
            Output::Snapshot { .. } => panic!("nobody asks for a snapshot"),
            Output::Store { ticket, op } => {
                let store = Arc::clone(&self.peers[at].store);
                let result = match op {
                    StoreOp::Read(op) => store.read(&op),
                    StoreOp::Write(op) => store.write(vec![op]).remove(0),
                };
                self.send(at, HOP / 2, Input::Stored { ticket, result, durable: false });
                self.send(at, HOP, Input::Durable { through: ticket });
            }
            Output::Reply { command, response } => {
                self.replies.insert(command.0, response);
            }
            Output::Dial { peer, .. } => {
                let to = self.ids.iter().position(|p| *p == peer).unwrap();
                self.connect(at, to);
            }
            Output::DialAddress { address: to } => {
                let to = (0..self.peers.len()).find(|i| address(*i) == to).unwrap();
                if self.peers[to].alive {
                    self.send(at, HOP, Input::Dialed { peer: self.ids[to], address: address(to) });
                }
                self.connect(at, to);
            }
            Output::Event(event) => {
                if event == henge::event::Event::Ready {
                    self.peers[at].ready = true;
                }
            }
            Output::Stopped => self.peers[at].alive = false,
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if !self.peers[b].alive {
            let (peer, address) = (Some(self.ids[b]), Some(address(b)));
            return self.send(a, HOP, Input::DialFailed { peer, address, reason: "refused".to_owned() });
        }
        if !self.peers[a].connected.contains(&b) {
            self.peers[a].connected.push(b);
            self.peers[b].connected.push(a);
            let (of_a, of_b) = (self.ids[a], self.ids[b]);
            self.send(a, HOP, Input::Connected { peer: of_b });
            self.send(b, HOP, Input::Connected { peer: of_a });
        }
    }

    /// Runs until `done`, or panics after a minute of virtual time.
    fn run(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now + Duration::from_secs(60);
        while !done(self) {
            assert!(self.now < end, "not within a minute: {what}");
            let timer = (0..self.peers.len())
                .filter(|at| self.peers[*at].alive)
                .filter_map(|at| self.peers[at].core.poll_timeout().map(|t| (t, at)))
                .min();
            let event = self.queue.peek().map(|Reverse((t, _, _))| *t);
            match (event, timer) {
                (Some(at), Some((t, peer))) if t < at => self.fire(peer, t),
                (None, Some((t, peer))) => self.fire(peer, t),
                (Some(_), _) => self.deliver(),
                (None, None) => panic!("nothing left to do: {what}"),
            }
        }
    }

    fn fire(&mut self, at: usize, time: Duration) {
        self.now = self.now.max(time);
        let now = self.clock();
        self.peers[at].core.handle_timeout(now);
        self.pump(at);
    }

    fn deliver(&mut self) {
        let Reverse((time, number, to)) = self.queue.pop().unwrap();
        self.now = self.now.max(time);
        let input = self.inputs.remove(&number).unwrap();
        if self.peers[to].alive {
            let now = self.clock();
            self.peers[to].core.handle(input, now);
            self.pump(to);
        }
    }

    fn ask(&mut self, at: usize, request: Request) -> Response {
        self.next += 1;
        let command = self.next;
        self.send(at, Duration::ZERO, Input::Command { command: CommandId(command), request });
        self.run("a reply", |w| w.replies.contains_key(&command));
        self.replies.remove(&command).unwrap()
    }

    fn options(&mut self, quorum: Option<u8>) -> WriteOptions {
        self.next += 1;
        let mut operation = [0; 16];
        operation[..8].copy_from_slice(&self.next.to_be_bytes());
        WriteOptions {
            supersede: Supersede::Current,
            quorum,
            strict: true,
            operation: OperationId(operation),
            retry: false,
            timeout_ms: 1_000,
            hop: Hop::Client,
        }
    }

    fn put(&mut self, at: usize, key: &str, value: &str, supersede: Supersede, w: Option<u8>) -> Response {
        let options = WriteOptions { supersede, ..self.options(w) };
        let (key, value) = (Key::new(key.to_owned()).unwrap(), value.to_owned().into());
        self.ask(at, Request::Put { key, value, ttl_ms: None, options })
    }

    fn get(&mut self, at: usize, key: &str) -> (Vec<String>, Context) {
        let key = Key::new(key.to_owned()).unwrap();
        let response = self.ask(at, Request::Get(Get { key, quorum: None, strict: true, timeout_ms: 1_000 }));
        if let Response::NotFound { context, .. } = response {
            return (Vec::new(), context);
        }
        let Response::Found { context, siblings, .. } = response else { panic!("{response:?}") };
        (siblings.iter().map(|s| String::from_utf8(s.value.to_vec()).unwrap()).collect(), context)
    }

    fn all_ready(&self) -> bool {
        self.peers.iter().all(|p| p.ready)
    }
}

fn three() -> World {
    three_of(World::new())
}

fn three_of(mut world: World) -> World {
    let a = world.add(&[]);
    world.run("a is ready", |w| w.peers[a].ready);
    let b = world.add(&[a]);
    world.run("b is ready", |w| w.peers[b].ready);
    world.add(&[b]);
    world.run("all are ready", World::all_ready);
    // Give the last declarations time to arrive.
    let later = world.now + Duration::from_secs(2);
    world.run("a pause", |w| w.now >= later);
    world
}

fn written(response: &Response) -> Context {
    let Response::Written { context, .. } = response else { panic!("{response:?}") };
    context.clone()
}

#[test]
fn a_value_put_at_one_peer_is_got_at_another() {
    let mut world = three();
    written(&world.put(0, "key", "one", Supersede::Current, None));
    assert_eq!(world.get(2, "key").0, ["one"]);
    written(&world.put(1, "key", "two", Supersede::Current, None));
    assert_eq!(world.get(0, "key").0, ["two"]);
}

#[test]
fn all_three_are_full_owners_of_everything() {
    let mut world = three();
    let Response::Status(status) = world.ask(1, Request::Status) else { panic!() };
    let full: Vec<(u32, u32, u32)> = status.members.iter().map(|m| (m.partitions, m.full, m.part)).collect();
    assert_eq!(full, [(64, 64, 0); 3]);
}

#[test]
fn one_old_context_used_twice_leaves_two_siblings_and_a_new_one_resolves_them() {
    let mut world = three();
    written(&world.put(0, "key", "base", Supersede::Current, None));
    let (_, context) = world.get(0, "key");
    written(&world.put(0, "key", "left", Supersede::Context(context.clone()), None));
    written(&world.put(1, "key", "right", Supersede::Context(context), None));
    let (mut values, context) = world.get(2, "key");
    values.sort();
    assert_eq!(values, ["left", "right"]);
    written(&world.put(2, "key", "both", Supersede::Context(context), None));
    assert_eq!(world.get(0, "key").0, ["both"]);
}

#[test]
fn with_one_peer_dead_quorums_of_two_go_on_and_three_are_unavailable() {
    let mut world = three();
    written(&world.put(0, "key", "one", Supersede::Current, Some(3)));
    world.kill(2);
    written(&world.put(0, "key", "two", Supersede::Current, None));
    assert_eq!(world.get(1, "key").0, ["two"]);
    let refused = world.put(0, "key", "three", Supersede::Blind, Some(3));
    assert_eq!(refused, Response::Failed(Failure::Unavailable { needed: 3, got: 2 }));
    world.restart(2, &[]);
    world.run("it is back", World::all_ready);
    // What was unavailable may be there all the same; blind, it supersedes nothing.
    let mut values = world.get(2, "key").0;
    values.sort();
    assert_eq!(values, ["three", "two"]);
}

#[test]
fn what_is_deleted_is_forgotten_by_all_once_none_can_have_it_any_more() {
    let grace = Duration::from_secs(20);
    let mut world = three();
    world.config = world.config.clone().with_gc_grace(grace);
    for at in 0..3 {
        world.kill(at);
    }
    for at in 0..3 {
        world.restart(at, &[]);
    }
    world.run("all are back", World::all_ready);
    let records = |world: &World| -> Vec<u64> { world.peers.iter().map(|p| p.store.records()).collect() };
    written(&world.put(0, "kept", "value", Supersede::Current, None));
    let old = written(&world.put(0, "deleted", "value", Supersede::Current, None));
    let key = Key::new("deleted").unwrap();
    let options = WriteOptions { supersede: Supersede::Context(old.clone()), ..world.options(Some(3)) };
    written(&world.ask(1, Request::Delete { key, options }));
    let deleted_at = world.now;
    assert_eq!(records(&world), [2, 2, 2]);

    // While one of them cannot be asked nothing goes.
    world.kill(2);
    let later = world.now + 2 * grace;
    world.run("time passes", |w| w.now >= later);
    assert_eq!(records(&world), [2, 2, 2]);
    assert_eq!(world.get(0, "deleted").0, [""; 0]);
    world.restart(2, &[]);
    world.run("it is forgotten", |w| records(w) == [1, 1, 1]);
    assert!(world.now >= deleted_at + grace);
    assert_eq!((world.get(1, "deleted").0, world.get(2, "kept").0), (vec![], vec!["value".to_owned()]));
    // A context of a time that is forgotten still serves, at the peer that wrote then too.
    written(&world.put(0, "deleted", "again", Supersede::Context(old), Some(3)));
    assert_eq!(world.get(2, "deleted").0, ["again"]);
}

#[test]
fn nobody_waits_for_peers_that_lost_one_of_their_connections() {
    let mut world = three();
    written(&world.put(0, "key", "value", Supersede::Current, Some(3)));
    // Their processes end, and the connections that are left say nothing.
    for silent in [1, 2] {
        world.peers[silent].alive = false;
        let peer = world.ids[silent];
        world.send(0, Duration::from_millis(5), Input::ConnectionBroken { peer });
    }
    let (key, before) = (Key::new("key").unwrap(), world.now);
    let response = world.ask(0, Request::Get(Get { key, quorum: None, strict: false, timeout_ms: 1_000 }));
    assert!(matches!(response, Response::Found { answers: 1, .. }), "{response:?}");
    let took = world.now - before;
    assert!(took < Duration::from_millis(20), "{took:?}");
}

#[test]
fn a_fourth_peer_takes_empty_partitions_over_and_leaves_full_ones_where_they_are() {
    let mut world = three();
    for i in 0..20 {
        written(&world.put(0, &format!("key {i}"), "value", Supersede::Current, None));
    }
    let d = world.add(&[1]);
    world.run("the fourth is ready", |w| w.peers[d].ready);
    let later = world.now + Duration::from_secs(3);
    world.run("a pause", |w| w.now >= later);
    for i in 0..20 {
        for at in 0..4 {
            assert_eq!(world.get(at, &format!("key {i}")).0, ["value"], "key {i} at {at}");
        }
        written(&world.put(3, &format!("key {i}"), "again", Supersede::Current, None));
    }
    let Response::Status(status) = world.ask(0, Request::Status) else { panic!() };
    let owned: u32 = status.members.iter().map(|m| m.partitions).sum();
    assert_eq!(owned, 3 * 64);
    assert!(status.members.iter().all(|m| m.full > 0), "{status:?}");
}

#[test]
fn one_seed_twice_gives_one_trace() {
    let run = || {
        let mut world = three();
        written(&world.put(0, "key", "one", Supersede::Current, None));
        world.trace
    };
    assert_eq!(run(), run());
}
