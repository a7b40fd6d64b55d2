//! The start of a peer: what it saved, the birth of a ring, the way into one.

use std::collections::BTreeSet;
use std::sync::Arc;

use henge_membership::{SavedView, Start, State};
use henge_types::codec::Stored;
use henge_types::member::Signer;
use henge_types::{ClusterParams, Custody, CustodyMap, Now, Partition, PeerId, RingId, RingSecret};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::handoff::Handoff;
use super::next::{AfterStore, Save};
use super::operations::Origin;
use super::snapshot::stretches as restored;
use super::weighing::Weighed;
use super::{Core, Identity, Ids, Phase, Saved, Stats};
use crate::actors::{Counters, DotCounter, Stretches, load};
use crate::config::Config;
use crate::error::ConfigError;
use crate::event::Event;
use crate::links::Links;
use crate::ownership::Ownership;
use crate::rebalance::Rebalance;
use crate::snapshot;
use crate::store::{MetaKey, Ticket, WriteOp};

/// What is saved of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    pub(super) cluster: henge_types::ClusterName,
    pub(super) ring: RingId,
    pub(super) secret: RingSecret,
    pub(super) params: ClusterParams,
}

impl Stored for Ring {
    const VERSION: u8 = 1;
}

/// What a member has that a newcomer has not.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) ring: Ring,
    pub(super) ownership: Ownership,
    /// Custody and actors: as saved, or being saved.
    pub(super) stretches: Stretches,
    pub(super) rebalance: Rebalance,
    /// Whether a change of custody or actors is being saved.
    pub(super) changing: bool,
    /// Counts those changes.
    pub(super) changes: u64,
    /// Stretches below this one are saved. Another could be begun again after a crash.
    pub(super) saved_stretches: u64,
    /// Partitions that are being given up: they take nothing any more.
    pub(super) closing: BTreeSet<Partition>,
    /// Partitions without custody of which something is left in the store: it goes before they are
    /// acquired again. `None` until it was looked.
    pub(super) leftovers: Option<BTreeSet<Partition>>,
    /// Whether one of them is being emptied.
    pub(super) freeing: bool,
    /// Those of the closing ones of which it is not known yet whether they hold anything.
    pub(super) looking: BTreeSet<Partition>,
    /// The last write that may still have gone to one of them.
    pub(super) closing_after: Ticket,
}

impl Standing {
    fn new(ring: Ring, stretches: Stretches, saved_stretches: u64) -> Self {
        Self {
            ownership: Ownership::new(ring.ring, ring.params),
            ring,
            stretches,
            rebalance: Rebalance::default(),
            changing: false,
            changes: 0,
            saved_stretches,
            closing: BTreeSet::new(),
            leftovers: None,
            looking: BTreeSet::new(),
            freeing: false,
            closing_after: Ticket(0),
        }
    }
}

/// A signer that the core and its membership share.
struct Shared(Arc<dyn Signer + Sync>);

impl Signer for Shared {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message)
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(peer, message, signature)
    }
}

impl Core {
    /// A peer at its start.
    ///
    /// With nothing saved it starts a new ring if it has nobody to join, and joins otherwise;
    /// with a ring saved it goes on as the member that it was. `seed` is its entropy: 256 random
    /// bits, never used twice.
    ///
    /// # Errors
    /// [`ConfigError`] when what is saved cannot be read, or belongs to another cluster or to
    /// other parameters than `config` insists on.
    pub fn new(
        config: Config,
        identity: Identity,
        saved: &Saved,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, ConfigError> {
        let counters = load::<Counters>(saved.get(&MetaKey::Counters))?.unwrap_or_default();
        let Identity { peer: me, signer } = identity;
        let before = load::<Weighed>(saved.get(&MetaKey::Weight))?;
        let weighed = Weighed::at_start(before, config.weight());
        let config = config.with_weight(weighed.weight);
        let origin = load::<snapshot::Origin>(saved.get(&MetaKey::Origin))?;
        let beginning = begin(&config, saved, counters, origin.as_ref(), &seed)?;
        let Beginning { params, start, member, unclean } = beginning;
        let born = matches!(start, Start::Birth { .. });
        let membership = membership(&config, me, params, start, &signer, &seed, now);
        let join = config.join().iter().map(|address| (address.clone(), None)).collect();
        let handoff = Handoff::new(config.handoff_bytes_per_second());
        let mut core = Self {
            config,
            weighed,
            me,
            signer,
            seed,
            now,
            membership,
            records: counters.records.filter(|_| member.is_some()),
            member,
            origin,
            dots: DotCounter::new(counters.dots),
            saved_view: super::SavedView::default(),
            links: Links::default(),
            addresses: Vec::new(),
            join,
            refused: BTreeSet::new(),
            operations: std::collections::BTreeMap::new(),
            undamaging: BTreeSet::new(),
            rebalanced: std::time::Duration::ZERO,
            looks: u8::MAX,
            requests: std::collections::BTreeMap::new(),
            stores: std::collections::BTreeMap::new(),
            writes: BTreeSet::new(),
            last_write: Ticket(0),
            unsynced: std::collections::VecDeque::new(),
            timers: BTreeSet::new(),
            alarms: std::collections::BTreeMap::new(),
            outputs: std::collections::VecDeque::new(),
            ids: Ids::default(),
            stats: Stats::default(),
            handoff,
            collector: crate::collector::Collector::default(),
            syncs: super::Syncs::default(),
            repairs: super::Repairs::default(),
            told_left: false,
            heard_since: None,
            expelled: false,
            fallback_forgot: true,
            phase: Phase::Starting,
        };
        core.boot(born, unclean);
        if weighed != before.unwrap_or_default() {
            core.save_weight(Origin::Core, weighed);
        }
        core.settle();
        Ok(core)
    }

    fn boot(&mut self, born: bool, unclean: bool) {
        if born {
            if let Some(ring) = self.ring() {
                self.event(Event::RingBorn { ring });
            }
            self.save_ring();
        }
        if born || unclean {
            self.save_custody();
        }
        // Also takes back that the last stop was clean, before anything is written.
        if let Some(upto) = self.dots.reservation() {
            self.save_counters(upto, false);
        }
        self.save_view();
        self.dial();
    }

    /// Joins with other parameters than assumed: those of the ring, where the user insists on none.
    pub(super) fn adopt(&mut self, params: ClusterParams) {
        self.membership =
            membership(&self.config, self.me, params, Start::Join, &self.signer, &self.seed, self.now);
        self.on_addresses(self.addresses.clone());
        for peer in self.join.iter().filter_map(|(_, peer)| *peer) {
            self.membership.handle_join(peer, self.now);
        }
        for peer in self.links.connected() {
            self.membership.handle_connected(peer, self.now);
        }
    }

    /// This peer is let in: it becomes a member that has nothing, or what it was restored from.
    pub(super) fn on_joined(&mut self, ring: RingId, secret: RingSecret, params: ClusterParams) {
        if !self.admits_origin(ring) {
            return;
        }
        let cluster = self.config.cluster().clone();
        let nothing = || Stretches::new(params.partitions());
        let stretches = self.origin.take().map_or_else(nothing, |origin| restored(&origin, &self.seed));
        self.member = Some(Standing::new(Ring { cluster, ring, secret, params }, stretches, 0));
        self.save_ring();
        self.save_custody();
        self.event(Event::Joined { ring });
        self.forget_joined();
    }

    fn save_ring(&mut self) {
        let Some(member) = &self.member else { return };
        if let Ok(value) = member.ring.to_stored() {
            let op = WriteOp::Save { key: MetaKey::Ring, value: value.into() };
            self.write(op, AfterStore::Saved(Save::Ring));
        }
    }

    /// Saves what this peer waits for, after it could not be saved.
    pub(super) fn save_again(&mut self) {
        if matches!(self.phase, Phase::Stopping | Phase::Poisoned) {
            return;
        }
        if self.member.as_ref().is_some_and(|m| m.changing) {
            self.save_ring();
            self.save_custody();
        }
        self.saved_view.saving = false;
        self.save_view();
        self.save_counters(self.dots.asked(), false);
    }

    /// Saves up to where dots and member records are reserved.
    pub(super) fn save_counters(&mut self, dots: u64, clean: bool) {
        let records = self.records;
        if let Ok(value) = (Counters { dots, records, clean }).to_stored() {
            let op = WriteOp::Save { key: MetaKey::Counters, value: value.into() };
            let save = if clean { Save::Stop } else { Save::Counters { dots, records } };
            self.write(op, AfterStore::Saved(save));
        }
    }
}

/// How a peer begins, from what it saved.
struct Beginning {
    params: ClusterParams,
    start: Start,
    member: Option<Standing>,
    /// Whether the last stop was not clean.
    unclean: bool,
}

fn begin(
    config: &Config,
    saved: &Saved,
    counters: Counters,
    origin: Option<&snapshot::Origin>,
    seed: &[u8; 32],
) -> Result<Beginning, ConfigError> {
    let ring = load::<Ring>(saved.get(&MetaKey::Ring))?;
    let stretches = load::<Stretches>(saved.get(&MetaKey::Custody))?;
    if let Some(ring) = &ring {
        check(config, ring)?;
    }
    let mut member = None;
    let mut unclean = false;
    let (params, start) = match (ring, counters.records) {
        // Without its view it would think itself alone in the ring: it was not let in to the end.
        (Some(ring), Some(reserved))
            if saved.contains_key(&MetaKey::View) || first_of_ring(stretches.as_ref()) =>
        {
            let saved_stretches = stretches.as_ref().map_or(0, |s| s.next);
            let mut stretches = stretches.unwrap_or_else(|| Stretches::new(ring.params.partitions()));
            unclean = !counters.clean;
            if unclean {
                stretches.begin(ring.params.partitions().all());
            }
            let none = SavedView::empty(ring.ring);
            let view = load(saved.get(&MetaKey::View))?.unwrap_or(none);
            let (id, secret, params) = (ring.ring, ring.secret, ring.params);
            let custody = stretches.custody.clone();
            member = Some(Standing::new(ring, stretches, saved_stretches));
            (params, Start::Restart { ring: id, secret, reserved, custody, view })
        }
        (Some(_), _) if config.join().is_empty() && !first_of_ring(stretches.as_ref()) => {
            return Err(ConfigError::JoinUnfinished);
        }
        // Who forgets to say whom to join does not get a ring of its own.
        (None, _) if config.join().is_empty() && origin.is_some_and(|origin| origin.joins) => {
            return Err(ConfigError::JoinUnfinished);
        }
        (ring, _) if config.join().is_empty() => {
            let born_with = ring.as_ref().map(|r| r.params);
            let restored_with = origin.map(|origin| origin.params);
            let params = born_with.or(config.params()).or(restored_with).unwrap_or_default();
            let (ring, secret) = ring.map_or_else(|| draw(seed), |r| (r.ring, r.secret));
            let nothing = || Stretches::new(params.partitions());
            let mut stretches = origin.map_or_else(nothing, |origin| restored(origin, seed));
            stretches.custody = CustodyMap::uniform(params.partitions(), Custody::Full);
            stretches.begin(params.partitions().all());
            let cluster = config.cluster().clone();
            member = Some(Standing::new(Ring { cluster, ring, secret, params }, stretches, 0));
            (params, Start::Birth { ring, secret })
        }
        (_, _) => {
            let restored_with = origin.map(|origin| origin.params);
            (config.params().or(restored_with).unwrap_or_default(), Start::Join)
        }
    };
    Ok(Beginning { params, start, member, unclean })
}

fn membership(
    config: &Config,
    me: PeerId,
    params: ClusterParams,
    start: Start,
    signer: &Arc<dyn Signer + Sync>,
    seed: &[u8; 32],
    now: Now,
) -> State {
    let seed = u64::from_be_bytes(first(Sha256::new().chain_update(b"membership").chain_update(seed)));
    let config = henge_membership::Config::new(me, config.cluster().clone(), params)
        .with_weight(config.weight().unwrap_or_default())
        .with_zone(config.zone().cloned())
        .with_lease(config.lease())
        .with_seed(seed);
    State::new(config, start, Box::new(Shared(Arc::clone(signer))), now)
}

// Whether a birth was interrupted before the peer said anything: nobody else can know of the ring.
fn first_of_ring(stretches: Option<&Stretches>) -> bool {
    stretches.is_some_and(|s| s.custody.count(Custody::Full) == s.custody.len())
}

// The id and the secret of a new ring.
fn draw(seed: &[u8; 32]) -> (RingId, RingSecret) {
    let id = first(Sha256::new().chain_update(b"ring id").chain_update(seed));
    let secret = first(Sha256::new().chain_update(b"ring secret").chain_update(seed));
    (RingId(id), RingSecret(secret))
}

pub(super) fn first<const BYTES: usize>(hash: Sha256) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    bytes
}

fn check(config: &Config, ring: &Ring) -> Result<(), ConfigError> {
    if *config.cluster() != ring.cluster {
        let (saved, given) = (ring.cluster.clone(), config.cluster().clone());
        return Err(ConfigError::OtherCluster { saved, given });
    }
    match config.params() {
        Some(given) if given != ring.params => Err(ConfigError::OtherParams { saved: ring.params, given }),
        Some(_) | None => Ok(()),
    }
}
