//! What one peer decides about membership: when it speaks, to whom, and what it believes.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use henge_types::member::Signer;
use henge_types::{
    ClusterName, ClusterParams, Custody, CustodyMap, Incarnation, Now, PeerId, RingId, RingSecret,
};

use crate::fault::{Counters, Fault};
use crate::limits::{ACTIONS_MAX, HEARTBEAT_MIN, HEARTBEATS_PER_SECOND, JOIN_TARGETS_MAX};
use crate::rng::Rng;
use crate::view::{Member, View};

mod action;
mod config;
mod detector;
mod evict;
mod fetch;
mod lease;
mod links;
mod merge;
mod own;
mod respond;
mod responses;
mod send;
mod timers;

pub use action::{Action, Failure, Relay, Token};
pub use config::{Config, Start};
pub use evict::WhyNot;
pub use own::{Declaration, Reservation};

use detector::Detector;
use fetch::Fetches;
use links::{Kind, Links};
use own::Own;
use timers::Timers;

/// Where a peer is on its way into a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In no ring yet: it asks those that it was told to join.
    Joining,
    /// In a ring, and knows of nobody else in it.
    Alone,
    /// In a ring with others.
    Member,
}

/// The membership of one peer, without I/O.
///
/// # Calling contract
///
/// - The caller owns connections, gossip, disk, clock and entropy. It calls `handle_*` for what
///   happens on its side and `on_*` for what came from a remote, always with the present [`Now`],
///   whose monotonic clock never goes back.
/// - After each of these (and after [`State::exchange_with`], [`State::declare`] and `new`), it
///   calls [`State::poll_action`] until `None` and does each action in that order, and then arms
///   one timer for [`State::poll_timeout`]. When that is reached it calls
///   [`State::handle_timeout`]; to call it early or for nothing is harmless.
/// - Each [`Action::Send`] gets exactly one [`State::on_response`] with its token, be it a failure;
///   after [`State::handle_disconnected`] it may be left out.
/// - [`Action::Reserve`] is saved durably before [`State::handle_reserved`] is called with it. It
///   is the only action that this peer waits for: until then it does not speak of itself, which
///   only shows at the start. [`Action::Joined`] is saved before or together with the first
///   [`Action::Reserve`] that follows it.
/// - A connected peer is announced by [`State::handle_connected`], whether a member or not, and
///   once only, however many connections there are. Who may connect and speak at all is for the
///   caller to decide.
///
/// Nothing here panics for what a remote, a disk or a user does.
pub struct State {
    me: PeerId,
    cluster: ClusterName,
    params: ClusterParams,
    secret: Option<RingSecret>,
    signer: Box<dyn Signer>,
    view: View,
    own: Own,
    links: Links,
    fetches: Fetches,
    join_targets: BTreeSet<PeerId>,
    timers: Timers,
    detector: Detector,
    lease: Duration,
    rng: Rng,
    counters: Counters,
    actions: VecDeque<Action>,
    // What was announced by Changed, and what was saved.
    announced: u64,
    persisted: u64,
    publish_due: bool,
    persist_due: bool,
    reborn_at: Option<Duration>,
}

impl State {
    /// A peer at its start. For what to do with a corrupt or missing saved view see
    /// [`Start::Restart`].
    ///
    /// # Panics
    /// If the custody map of [`Start::Restart`] is not of as many partitions as the cluster has.
    #[must_use]
    pub fn new(config: Config, start: Start, signer: Box<dyn Signer>, now: Now) -> Self {
        let count = config.params.partitions();
        let nothing = CustodyMap::uniform(count, Custody::None);
        let mut own = Own::new(config.me, config.wire, nothing);
        own.take(
            Declaration::default()
                .with_weight(config.weight)
                .with_zone(config.zone)
                .with_addresses(config.addresses),
        );
        let mut state = Self {
            me: config.me,
            cluster: config.cluster,
            params: config.params,
            secret: None,
            signer,
            view: View::unborn(count),
            own,
            links: Links::default(),
            fetches: Fetches::default(),
            join_targets: BTreeSet::new(),
            timers: Timers::default(),
            detector: Detector::new(&config.me),
            lease: config.lease,
            rng: Rng::new(config.seed),
            counters: Counters::default(),
            actions: VecDeque::new(),
            announced: 0,
            persisted: 0,
            publish_due: false,
            persist_due: false,
            reborn_at: None,
        };
        state.begin(start, now);
        state
    }

    fn begin(&mut self, start: Start, now: Now) {
        match start {
            Start::Join => {}
            Start::Birth { ring, secret } => {
                self.enter(ring, secret);
                let all = CustodyMap::uniform(self.params.partitions(), Custody::Full);
                self.own.begin(Incarnation(now.unix_ms.max(1)), all);
            }
            Start::Restart { ring, secret, reserved, custody, view } => {
                self.check_length(&custody);
                self.enter(ring, secret);
                self.own.resume(reserved);
                let saved_state = view.member(&self.me).map(|record| record.state);
                let said = Declaration::default().with_custody(custody);
                self.own.take(saved_state.map_or(said.clone(), |state| said.with_state(state)));
                self.view.restore(view.evictions);
                for saved in view.members {
                    let peer = saved.known.member.record().peer;
                    match self.merge_one(saved.known, now) {
                        Ok(_) => self.view.remember(&peer, saved.electorate),
                        Err(fault) => tracing::warn!(%fault, "a saved member record is left out"),
                    }
                }
                self.persisted = self.view.revision();
                // Those who are in the saved view are dialled by the caller, from the view.
                self.actions.retain(|action| !matches!(action, Action::NewMember { .. }));
                self.return_from_eviction(now);
            }
        }
        if self.is_member() {
            self.start_timers(now);
            self.speak(now);
        }
        self.settle(now);
    }

    /// A connection to `peer` is open.
    pub fn handle_connected(&mut self, peer: PeerId, now: Now) {
        if peer == self.me {
            return;
        }
        if !self.links.connect(peer) {
            self.counters.links_full += 1;
            return;
        }
        if self.join_targets.contains(&peer) {
            self.links.want(peer, Kind::Join);
        }
        if self.view.get(&peer).is_some_and(Member::is_present) {
            self.exchange_with(peer);
        }
        self.probe_at_once(&peer, now);
        self.settle(now);
    }

    /// The last connection to `peer` is gone.
    pub fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        if let Some(link) = self.links.disconnect(&peer) {
            self.fetches.lost(link.fetch_of.iter().chain(&link.fetching));
        }
        self.probe_at_once(&peer, now);
        self.settle(now);
    }

    /// The user wants this peer to join the ring of `peer`: it is asked when connected, and again
    /// until it answers. For a member this only checks that both are in one ring. At most
    /// [`JOIN_TARGETS_MAX`] are remembered; says whether there was room.
    pub fn handle_join(&mut self, peer: PeerId, now: Now) -> bool {
        if peer == self.me
            || (self.join_targets.len() >= JOIN_TARGETS_MAX && !self.join_targets.contains(&peer))
        {
            return false;
        }
        self.join_targets.insert(peer);
        self.links.want(peer, Kind::Join);
        self.settle(now);
        true
    }

    /// Compares views with `peer` as soon as possible, if it is connected: after an answer that
    /// told of another view, or a reconnect.
    pub fn exchange_with(&mut self, peer: PeerId) {
        if self.is_member() {
            self.links.want(peer, Kind::Exchange);
        }
    }

    /// Says something new of this peer. It is in the view, signed, when this returns, unless no
    /// counter is reserved yet; then, as soon as one is. What is no news costs nothing.
    ///
    /// # Panics
    /// If a custody map is not of as many partitions as the cluster has.
    pub fn declare(&mut self, declaration: Declaration, now: Now) {
        if let Some(custody) = declaration.custody() {
            self.check_length(custody);
        }
        if self.own.take(declaration) && self.is_member() {
            self.speak(now);
        }
        self.settle(now);
    }

    /// The reservation is saved durably.
    pub fn handle_reserved(&mut self, reservation: Reservation, now: Now) {
        self.own.reserved(reservation);
        if self.is_member() && self.own.is_unsaid() {
            self.speak(now);
        }
        self.settle(now);
    }

    /// What to do next; `None` when all is done for now.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions
            .pop_front()
            .or_else(|| self.poll_changed())
            .or_else(|| self.poll_persist())
            .or_else(|| self.poll_publish())
            .or_else(|| self.poll_send())
    }

    /// When to call [`State::handle_timeout`], on the clock of [`Now::monotonic`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        [self.timers.next(), self.links.next_wake(), self.detector.next()].into_iter().flatten().min()
    }

    /// What is known of all members.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where this peer is on its way into a ring.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (self.is_member(), self.has_others()) {
            (false, _) => Phase::Joining,
            (true, false) => Phase::Alone,
            (true, true) => Phase::Member,
        }
    }

    /// The ring, once this peer is in one.
    #[must_use]
    pub fn ring(&self) -> Option<RingId> {
        self.view.ring()
    }

    /// The ring's secret, once this peer is in one.
    #[must_use]
    pub fn secret(&self) -> Option<RingSecret> {
        self.secret
    }

    /// The incarnation of this peer; 0 before it is in a ring.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.own.incarnation()
    }

    /// The interval between two heartbeats of one peer, in a ring of the size that is known.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        let members = u32::try_from(self.view.present()).unwrap_or(u32::MAX);
        HEARTBEAT_MIN.max(Duration::from_secs(1) * members / HEARTBEATS_PER_SECOND)
    }

    /// How often things happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { conflicts: self.counters.conflicts + self.view.conflicts(), ..self.counters }
    }

    fn is_member(&self) -> bool {
        self.view.ring().is_some()
    }

    fn has_others(&self) -> bool {
        self.view.len() > usize::from(self.view.contains(&self.me))
    }

    fn check_length(&self, custody: &CustodyMap) {
        assert!(
            custody.len() == self.params.partitions().len(),
            "a custody map of {} partitions in a cluster with {}",
            custody.len(),
            self.params
        );
    }

    fn enter(&mut self, ring: RingId, secret: RingSecret) {
        self.view = View::new(ring, self.params.partitions());
        self.secret = Some(secret);
    }

    fn fault(&mut self, peer: PeerId, fault: Fault) {
        if let Fault::ViewFull { .. } = fault {
            self.counters.view_full += 1;
            return;
        }
        self.counters.faults += 1;
        if self.actions.len() < ACTIONS_MAX {
            self.actions.push_back(Action::Fault { peer, fault });
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("me", &self.me)
            .field("phase", &self.phase())
            .field("ring", &self.ring())
            .field("members", &self.view.len())
            .field("generation", &self.view.generation())
            .finish_non_exhaustive()
    }
}
