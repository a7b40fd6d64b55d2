//! The whole peer as one state machine without I/O: the only file where the parts meet.
//!
//! ```text
//! Swarm → behaviour → Input → Core → Output → behaviour → Swarm or store
//! ```
//!
//! Time is passed in, entropy is a seed, signing is a trait, the store is an effect that comes back
//! as [`Input::Stored`]. So one seed replays a whole cluster.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use henge_membership::State;
use henge_types::member::Signer;
use henge_types::{ActorId, Dot, Key, Multiaddr, Now, Partition, PeerId, RingId, Voters};

use crate::actors::DotCounter;
use crate::collector::Collector;
use crate::config::Config;
use crate::event::Event;
use crate::links::Links;
use crate::store::{MetaKey, ReadOp, StoreError, StoreOp, Ticket, WriteOp};

mod boot;
mod collecting;
mod custody;
mod forward;
mod handoff;
mod health;
mod io;
mod leaving;
mod members;
mod next;
mod operations;
mod reading;
mod repairing;
mod route;
mod serve;
mod snapshot;
mod status;
mod syncing;
mod weighing;
mod writing;

pub use io::{Asker, ChannelId, CommandId, Input, Output, Request, RequestFailure, RequestId, Response};

use boot::Standing;
use handoff::Handoff;
use next::{AfterRequest, AfterStore, AfterSync, OpId, Timer};
use operations::{Operation, Origin, Task};
use repairing::Repairs;
use syncing::Syncs;

/// How long another peer may take for a request that no client waits for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// When an attempt that met another view of the ring is made again, if no news come before.
const REPLAN_AFTER: Duration = Duration::from_millis(20);
/// When metadata that could not be saved is saved again: the disk may have room by then.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Damaged keys under repair at a time; further ones wait until they are asked for again.
const UNDAMAGING_MAX: usize = 256;

/// Who this peer is.
pub struct Identity {
    /// Its peer id.
    pub peer: PeerId,
    /// Signs for it, and checks what others signed.
    pub signer: Arc<dyn Signer + Sync>,
}

/// The metadata that the store of this peer holds, as it was before the start.
pub type Saved = BTreeMap<MetaKey, Bytes>;

/// One peer, without I/O.
///
/// # Calling contract
///
/// - After [`Core::new`] and after each [`Core::handle`] and [`Core::handle_timeout`], call
///   [`Core::poll_output`] until it gives `None`, and carry out each output in that order.
/// - Then arm one timer for [`Core::poll_timeout`] and call [`Core::handle_timeout`] when it is
///   reached. A call that comes early or for nothing is harmless.
/// - `now.monotonic` never goes back, and runs while the process is stopped. `now.unix_ms` may
///   jump.
/// - Each [`Output::Request`] gets one [`Input::Response`], each [`Output::Store`] one [`Input::Stored`];
///   writes are executed in the order in which they came out.
/// - What a remote, a disk or a user can cause is never a panic.
pub struct Core {
    config: Config,
    weighed: weighing::Weighed,
    me: PeerId,
    signer: Arc<dyn Signer + Sync>,
    seed: [u8; 32],
    now: Now,
    membership: State,
    /// What exists once this peer is a member.
    member: Option<Standing>,
    /// Where the records come from that this peer has before it is one.
    origin: Option<crate::snapshot::Origin>,
    dots: DotCounter,
    records: Option<henge_membership::Reservation>,
    saved_view: SavedView,
    links: Links,
    /// Where this peer can be dialled, as far as it was told.
    addresses: Vec<Multiaddr>,
    /// Addresses to join through, until that is done, each with the peer that answered there.
    join: Vec<(Multiaddr, Option<PeerId>)>,
    /// Those of them that refused for good.
    refused: BTreeSet<PeerId>,
    operations: BTreeMap<OpId, Operation>,
    undamaging: BTreeSet<Key>,
    /// When custody was looked at last.
    rebalanced: Duration,
    /// Looks that may still follow at once.
    looks: u8,
    /// Each with when it was sent.
    requests: BTreeMap<RequestId, (PeerId, AfterRequest, Duration)>,
    stores: BTreeMap<Ticket, AfterStore>,
    writes: BTreeSet<Ticket>,
    /// The write that was submitted last.
    last_write: Ticket,
    unsynced: VecDeque<(Ticket, AfterSync)>,
    timers: BTreeSet<(Duration, Timer)>,
    /// When each of the timers that exist once is set for.
    alarms: BTreeMap<Timer, Duration>,
    outputs: VecDeque<Output>,
    ids: Ids,
    stats: Stats,
    handoff: Handoff,
    collector: Collector,
    syncs: Syncs,
    repairs: Repairs,
    /// Whether it was told that this peer has left the ring.
    told_left: bool,
    /// Since when more than half of the others could hear that it has.
    heard_since: Option<Duration>,
    /// Was evicted, and away for too long to come back; or may not bring what it was restored from.
    expelled: bool,
    /// Whether this peer may not have all that it wrote as a fallback any more: a hint left its store,
    /// or was left to go, and so at a start. It has to be another actor before it coordinates as a
    /// fallback again. Set when a hint is let go, not when it is gone: the store executes in that order.
    fallback_forgot: bool,
    phase: Phase,
}

/// How far this peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not a member yet, or what it must save first is not saved.
    Starting,
    /// Serves, and still acquires what can be acquired at once.
    Serving,
    /// Has told that it is ready.
    Ready,
    /// Takes nothing new.
    Stopping,
    /// A flush failed: what is on disk is unknown, so nothing is acknowledged any more.
    Poisoned,
}

/// Which view is on disk.
#[derive(Debug, Default)]
struct SavedView {
    /// The generation that is durable.
    generation: u64,
    saving: bool,
    /// Whether the view changed since it is being saved.
    again: bool,
}

/// One ascending number for everything that needs a name.
#[derive(Debug, Default)]
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What happened since the start, for people.
#[derive(Debug, Default, Clone, Copy)]
struct Stats {
    read_repairs: u64,
    stale: u64,
    faults: u64,
    damaged: u64,
    repaired: u64,
    actors_renewed: u64,
    /// Records that were dead, and were forgotten.
    collected: u64,
    hints_delivered: u64,
    hints_quarantined: u64,
    /// What a queue had no room for.
    hints_refused: u64,
    /// What a peer did not take that was to have it.
    hints_not_taken: u64,
}

impl Core {
    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        self.route(input);
        self.settle();
    }

    /// The time of [`Core::poll_timeout`] is reached.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now.monotonic {
                self.timers.insert((at, timer));
                break;
            }
            self.alarms.remove(&timer);
            match timer {
                Timer::Deadline(op) => self.on_deadline(op),
                Timer::Hedge(op, attempt) => self.on_hedge(op, attempt),
                Timer::Late(op, attempt) => self.on_late(op, attempt),
                Timer::Replan(op, attempt) => self.on_replan(op, attempt),
                Timer::Rebalance => {
                    self.repairs.in_the_way = false;
                    self.rebalance();
                    self.go_on_with_repair();
                }
                Timer::Repair => self.look_at_repair(),
                Timer::AntiEntropy => self.anti_entropy(),
                Timer::Gone => self.look_at_gone(),
                Timer::Links => self.dial(),
                Timer::SaveAgain => self.save_again(),
                Timer::LookForHints => self.look_for_hints(),
                Timer::DeliverHints => self.deliver_hints(),
                Timer::Collect => self.collect(),
            }
        }
        self.membership.handle_timeout(now);
        self.settle();
    }

    /// What to do next; `None` when all is done for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Core::handle_timeout`], on the clock of [`Now::monotonic`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let own = self.timers.first().map(|(at, _)| *at);
        [own, self.membership.poll_timeout()].into_iter().flatten().min()
    }

    /// Who this peer is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.me
    }

    /// Whether it has told that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn serves(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Ready)
    }

    fn ring(&self) -> Option<RingId> {
        self.member.as_ref().map(|m| m.ring.ring)
    }

    fn partition_of(&self, key: &Key) -> Partition {
        let count = self.member.as_ref().map(|m| m.ring.params.partitions()).unwrap_or_default();
        key.position().partition(count)
    }

    fn voters(&mut self, partition: Partition) -> Option<Arc<Voters>> {
        let view = self.membership.view();
        self.member.as_mut().map(|m| m.ownership.voters(view, partition))
    }

    /// Who this peer writes `partition` as.
    fn actor(&self, partition: Partition) -> Option<ActorId> {
        let incarnation = self.membership.incarnation();
        self.member.as_ref().map(|m| m.stretches.actor(&self.me, incarnation, partition))
    }

    /// A name for a write; `None` until what it rests on is saved. An actor whose stretch is not
    /// could be taken again after a crash.
    fn next_dot(&mut self, partition: Partition) -> Option<Dot> {
        let saved = self.member.as_ref().is_some_and(|m| m.stretches.stretch(partition) < m.saved_stretches);
        let actor = self.actor(partition).filter(|_| saved)?;
        self.take_dot(actor)
    }

    /// The same for what this peer writes in the place of a voter.
    fn next_fallback_dot(&mut self) -> Option<Dot> {
        let (me, incarnation) = (self.me, self.membership.incarnation());
        let member = self.member.as_mut()?;
        if std::mem::take(&mut self.fallback_forgot) {
            self.stats.actors_renewed += 1;
            member.stretches.begin_fallback();
            self.save_custody();
            return None;
        }
        if member.stretches.fallback >= member.saved_stretches {
            return None;
        }
        let actor = member.stretches.fallback_actor(&me, incarnation);
        self.take_dot(actor)
    }

    fn take_dot(&mut self, actor: ActorId) -> Option<Dot> {
        let dot = self.dots.take(actor);
        if let Some(upto) = self.dots.reservation() {
            self.save_counters(upto, false);
        }
        dot
    }

    // Effects.

    fn request(&mut self, peer: PeerId, request: Request, next: AfterRequest) {
        self.request_within(peer, request, next, REQUEST_TIMEOUT);
    }

    fn request_within(&mut self, peer: PeerId, request: Request, next: AfterRequest, timeout: Duration) {
        let id = RequestId(self.ids.next());
        if next.is_quick() {
            self.links.on_asked(peer, self.now.monotonic);
        }
        self.requests.insert(id, (peer, next, self.now.monotonic));
        self.outputs.push_back(Output::Request { id, peer, request, timeout });
    }

    fn read(&mut self, op: ReadOp, next: AfterStore) {
        self.store(StoreOp::Read(op), next);
    }

    fn write(&mut self, op: WriteOp, next: AfterStore) {
        let ticket = self.store(StoreOp::Write(op), next);
        self.writes.insert(ticket);
        self.last_write = ticket;
    }

    fn store(&mut self, op: StoreOp, next: AfterStore) -> Ticket {
        let ticket = Ticket(self.ids.next());
        self.stores.insert(ticket, next);
        self.outputs.push_back(Output::Store { ticket, op });
        ticket
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Sets a timer that exists once: the earlier time counts.
    fn wake_at(&mut self, after: Duration, timer: Timer) {
        let at = self.now.monotonic + after;
        let earlier = self.alarms.get(&timer).copied();
        if earlier.is_none_or(|earlier| at < earlier) {
            if let Some(earlier) = earlier {
                self.timers.remove(&(earlier, timer));
            }
            self.alarms.insert(timer, at);
            self.timers.insert((at, timer));
        }
    }

    /// A stored record cannot be read. The store keeps its bytes; the key is repaired from the
    /// other replicas, and this peer goes on under another actor: it forgot writes of its own.
    fn on_damaged(&mut self, key: &Key) {
        if self.undamaging.contains(key) {
            return;
        }
        self.stats.damaged += 1;
        self.event(Event::RecordDamaged { key: key.clone() });
        self.renew_actor(self.partition_of(key));
        self.repair_damaged(key);
    }

    // Reads a damaged key from the other replicas. Where that fails, it is tried again now and then.
    fn repair_damaged(&mut self, key: &Key) {
        let held = self.has_custody(self.partition_of(key));
        if !held || self.undamaging.len() >= UNDAMAGING_MAX || !self.undamaging.insert(key.clone()) {
            return;
        }
        self.begin(Origin::Core, key.clone(), henge_client::TIMEOUT_MAX_MS, Ok(()), Task::Undamage);
    }

    fn on_store_failed(&mut self, error: StoreError) {
        if matches!(error, StoreError::Poisoned { .. }) {
            self.phase = Phase::Poisoned;
        }
        tracing::error!(%error, "the store failed");
        self.event(Event::StoreFailed(error));
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("me", &self.me)
            .field("phase", &self.phase)
            .field("operations", &self.operations.len())
            .field("requests", &self.requests.len())
            .field("stores", &self.stores.len())
            .field("fallback_forgot", &self.fallback_forgot)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer)
    }
}
