//! The view: what one peer knows of all members.
//!
//! A view grows by [`View::merge`] only, and the newest record of a member wins, whoever brought it
//! and in whatever order: two peers that saw the same updates have the same records. Custody maps
//! travel beside the records and may come later; [`View::needs_custody`] names those that are
//! missing. Who was evicted is no member any more, and none of its records of that life or an earlier one
//! is taken in again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_types::codec;
use henge_types::limits::MEMBERS_MAX;
use henge_types::member::Signer;
use henge_types::{
    Custody, CustodyDigest, CustodyMap, Incarnation, MemberError, MemberRecord, MemberState, Multiaddr, Now,
    PartitionCount, PeerId, RingId, SignedMember, Weight, Zone,
};

use crate::fault::Fault;
use crate::message::{Known, Update};

mod evictions;
mod saved;

pub use evictions::Eviction;
pub(crate) use evictions::Judged;
pub use saved::{SavedMember, SavedView};

use evictions::Waiting;

/// What one peer knows of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    signed: SignedMember,
    custody: CustodyMap,
    held: CustodyDigest,
    heard_at: Duration,
    electorate: u16,
}

impl Member {
    /// What the member says of itself.
    #[must_use]
    pub fn record(&self) -> &MemberRecord {
        self.signed.record()
    }

    /// The same with its signature.
    #[must_use]
    pub fn signed(&self) -> &SignedMember {
        &self.signed
    }

    /// The last custody map known of this life of its store; of nothing before one came.
    #[must_use]
    pub fn custody(&self) -> &CustodyMap {
        &self.custody
    }

    /// The digest of [`Member::custody`].
    #[must_use]
    pub fn custody_digest(&self) -> CustodyDigest {
        self.held
    }

    /// Whether the custody map is the one that the record speaks of.
    #[must_use]
    pub fn custody_is_current(&self) -> bool {
        self.held == self.record().custody
    }

    /// When a newer record of it last came, on the clock of [`Now::monotonic`].
    #[must_use]
    pub fn heard_at(&self) -> Duration {
        self.heard_at
    }

    /// How many members were active when this peer last heard of it at first hand, in this life of both;
    /// 0 if it did not, or was not active itself.
    #[must_use]
    pub fn electorate(&self) -> u16 {
        self.electorate
    }

    /// Whether it has not left.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.record().state != MemberState::Left
    }

    fn known(&self) -> Known {
        let record = self.record();
        Known {
            peer: record.peer,
            incarnation: record.incarnation,
            state: record.state,
            counter: record.counter,
            custody: self.held,
        }
    }
}

/// What became of an update. A custody map in it may have been taken in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The member was unknown.
    New,
    /// The record is newer than the one known.
    Newer,
    /// The record is the one known.
    Same,
    /// The record is older than the one known, which stays.
    Older,
    /// The record is of a life that an eviction has ended.
    Evicted,
}

/// What one peer knows of all members, itself included once it has declared itself.
#[derive(Debug, Clone)]
pub struct View {
    ring: Option<RingId>,
    count: PartitionCount,
    nothing: CustodyDigest,
    members: BTreeMap<PeerId, Member>,
    evictions: BTreeMap<PeerId, Eviction>,
    evictions_digest: u64,
    waiting: Waiting,
    needs: BTreeSet<PeerId>,
    active: u16,
    present: usize,
    generation: u64,
    placed_generation: u64,
    revision: u64,
    conflicts: u64,
}

impl View {
    /// The empty view of a ring with `count` partitions.
    #[must_use]
    pub fn new(ring: RingId, count: PartitionCount) -> Self {
        Self { ring: Some(ring), ..Self::unborn(count) }
    }

    /// The view of a peer that is in no ring: nothing can be merged into it.
    pub(crate) fn unborn(count: PartitionCount) -> Self {
        Self {
            ring: None,
            count,
            nothing: CustodyMap::uniform(count, Custody::None).digest(),
            members: BTreeMap::new(),
            evictions: BTreeMap::new(),
            evictions_digest: 0,
            waiting: Waiting::default(),
            needs: BTreeSet::new(),
            active: 0,
            present: 0,
            generation: 0,
            placed_generation: 0,
            revision: 0,
            conflicts: 0,
        }
    }

    /// Takes an update in: the later record wins ([`MemberRecord::age`]), and a custody map counts if it
    /// is the one that the newest record speaks of. A signature is checked only where the
    /// record would be newer, because that costs more than all the rest.
    ///
    /// Two records with the same incarnation, state and counter should not exist; where they do (two
    /// processes with one identity), all peers keep the same one of them.
    ///
    /// # Errors
    /// [`Fault`]; the view is unchanged then.
    pub fn merge(&mut self, update: Update, signer: &dyn Signer, now: Now) -> Result<Merged, Fault> {
        let record = update.member.record();
        let peer = record.peer;
        if self.ring != Some(record.ring) {
            return Err(Fault::OtherRing { ring: record.ring });
        }
        if !holds_key(&peer) {
            return Err(MemberError::HashedKey { peer }.into());
        }
        if self.is_evicted(&peer, record.incarnation) {
            return Ok(Merged::Evicted);
        }
        let merged = match self.members.get(&peer) {
            None if !self.has_room_for(&peer) => return Err(Fault::ViewFull { peer }),
            None => Merged::New,
            Some(known) => match order(&update.member, &known.signed) {
                Ordering::Greater => Merged::Newer,
                Ordering::Equal => Merged::Same,
                Ordering::Less => Merged::Older,
            },
        };
        match merged {
            Merged::New | Merged::Newer => {
                update.member.verify(signer)?;
                if !self.fits(&update) {
                    return Err(Fault::Custody { peer });
                }
                self.count_conflict(&update.member);
                self.apply(update, now);
            }
            Merged::Same | Merged::Older | Merged::Evicted => self.fill(&peer, update.custody),
        }
        Ok(merged)
    }

    /// The members in the order of their peer ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&PeerId, &Member)> + ExactSizeIterator {
        self.members.iter()
    }

    /// What is known of `peer`.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Member> {
        self.members.get(peer)
    }

    /// Whether `peer` is a member.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    /// How many members are known that have not left.
    #[must_use]
    pub fn present(&self) -> usize {
        self.present
    }

    /// How many members are known, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no member is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `peer` has a seat, or there is one for it. There are [`MEMBERS_MAX`]; who was evicted keeps
    /// its own, so that it can come back.
    pub(crate) fn has_room_for(&self, peer: &PeerId) -> bool {
        self.knows(peer) || self.members.len() + self.evictions.len() < MEMBERS_MAX
    }

    /// The ring, unless the peer is in none yet.
    #[must_use]
    pub fn ring(&self) -> Option<RingId> {
        self.ring
    }

    /// Rises exactly when something changes that placement or voters depend on: who is a
    /// member, and its state, weight, zone, incarnation or custody map; and with each eviction. Not with
    /// heartbeats.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Rises exactly when something changes that the placement depends on: which members are
    /// active, and their weights and zones.
    #[must_use]
    pub fn placed_generation(&self) -> u64 {
        self.placed_generation
    }

    /// Rises with everything that is worth saving: all but plain heartbeats.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// How often two records with one incarnation and counter were seen.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The members whose newest record speaks of another custody map than the one held.
    pub fn needs_custody(&self) -> impl Iterator<Item = &PeerId> {
        self.needs.iter()
    }

    /// All that is known of `peer`, in the form in which peers tell each other.
    #[must_use]
    pub fn update(&self, peer: &PeerId) -> Option<Update> {
        self.members.get(peer).map(|member| Update {
            member: member.signed.clone(),
            custody: member.custody_is_current().then(|| member.custody.clone()),
        })
    }

    /// How much is known of each member.
    #[must_use]
    pub fn summary(&self) -> Vec<Known> {
        self.members.values().map(Member::known).collect()
    }

    /// Takes the own record in: it needs no check.
    pub(crate) fn declare(&mut self, own: Update, now: Now) {
        self.apply(own, now);
    }

    /// `peer` was heard of at first hand.
    pub(crate) fn witness(&mut self, peer: &PeerId, me: &PeerId) {
        let active = |member: &Member| member.record().state == MemberState::Active;
        let takes_part = self.members.get(me).is_some_and(active);
        self.remember(peer, if takes_part { self.active } else { 0 });
    }

    /// How `peer` was heard of last.
    pub(crate) fn remember(&mut self, peer: &PeerId, electorate: u16) {
        if let Some(member) = self.members.get_mut(peer).filter(|member| member.electorate != electorate) {
            member.electorate = electorate;
            self.revision += 1;
        }
    }

    fn apply(&mut self, update: Update, now: Now) {
        let record = update.member.record();
        let peer = record.peer;
        let old = self.members.remove(&peer);
        let same_life = old.as_ref().is_some_and(|old| old.record().incarnation == record.incarnation);
        let held = match (&update.custody, &old) {
            (Some(_), _) => record.custody,
            (None, Some(old)) if same_life => old.held,
            (None, _) => self.nothing,
        };
        self.note_changes(old.as_ref().map(Facts::of), Some(Facts { record, held }));
        // Whatever was said against it, it is heard of again.
        self.waiting.clear(&peer);
        let electorate = old.as_ref().filter(|_| same_life).map_or(0, Member::electorate);
        let custody = match (update.custody, old) {
            (Some(map), _) => map,
            // An old map is better than none for a moment: most of it is still right, and where
            // it is not, the digests of the voters differ.
            (None, Some(old)) if same_life => old.custody,
            // What was true of the last life of its store says nothing of this one.
            (None, _) => CustodyMap::uniform(self.count, Custody::None),
        };
        let member = Member { custody, held, heard_at: now.monotonic, electorate, signed: update.member };
        if member.custody_is_current() {
            self.needs.remove(&peer);
        } else {
            self.needs.insert(peer);
        }
        self.members.insert(peer, member);
    }

    // Takes a custody map that came late, if it is the one that the newest record speaks of.
    fn fill(&mut self, peer: &PeerId, custody: Option<CustodyMap>) {
        let (Some(map), Some(member)) = (custody, self.members.get_mut(peer)) else { return };
        if member.custody_is_current() || map.len() != self.count.len() {
            return;
        }
        let digest = map.digest();
        if digest == member.record().custody {
            member.custody = map;
            member.held = digest;
            self.needs.remove(peer);
            self.generation += 1;
            self.revision += 1;
        }
    }

    fn fits(&self, update: &Update) -> bool {
        update
            .custody
            .as_ref()
            .is_none_or(|map| map.len() == self.count.len() && map.digest() == update.member.record().custody)
    }

    fn count_conflict(&mut self, newer: &SignedMember) {
        let known = self.members.get(&newer.record().peer);
        if known.is_some_and(|known| !newer.is_newer_than(&known.signed)) {
            self.conflicts += 1;
        }
    }

    fn note_changes(&mut self, old: Option<Facts<'_>>, new: Option<Facts<'_>>) {
        self.active = self.active + u16::from(new.is_some_and(Facts::is_active))
            - u16::from(old.is_some_and(Facts::is_active));
        self.present = self.present + usize::from(new.is_some_and(Facts::is_present))
            - usize::from(old.is_some_and(Facts::is_present));
        if old.and_then(Facts::placed) != new.and_then(Facts::placed) {
            self.placed_generation += 1;
        }
        if old.map(Facts::voting) != new.map(Facts::voting) {
            self.generation += 1;
        }
        if old.map(Facts::lasting) != new.map(Facts::lasting) {
            self.revision += 1;
        }
    }
}

type Placed<'a> = (Weight, Option<&'a Zone>);
type Voting<'a> = (MemberState, Placed<'a>, Incarnation, CustodyDigest);
type Lasting<'a> = (Voting<'a>, CustodyDigest, &'a [Multiaddr], (u16, u16));

// What is known of one member, sorted by who depends on it.
#[derive(Clone, Copy)]
struct Facts<'a> {
    record: &'a MemberRecord,
    held: CustodyDigest,
}

impl<'a> Facts<'a> {
    fn of(member: &'a Member) -> Self {
        Self { record: member.record(), held: member.held }
    }

    fn share(self) -> Placed<'a> {
        (self.record.weight, self.record.zone.as_ref())
    }

    fn is_active(self) -> bool {
        self.record.state == MemberState::Active
    }

    fn is_present(self) -> bool {
        self.record.state != MemberState::Left
    }

    fn placed(self) -> Option<Placed<'a>> {
        self.is_active().then_some(self.share())
    }

    fn voting(self) -> Voting<'a> {
        (self.record.state, self.share(), self.record.incarnation, self.held)
    }

    fn lasting(self) -> Lasting<'a> {
        (self.voting(), self.record.custody, &self.record.addresses, self.record.wire)
    }
}

/// Whether `peer` holds its public key, so that its signatures can be checked: the multihash is
/// the identity (code 0), as for every Ed25519 key.
pub(crate) fn holds_key(peer: &PeerId) -> bool {
    peer.as_ref().code() == 0
}

// By age. A tie between different records is decided by their bytes, so that
// all peers decide alike.
fn order(a: &SignedMember, b: &SignedMember) -> Ordering {
    if a.is_newer_than(b) {
        Ordering::Greater
    } else if b.is_newer_than(a) {
        Ordering::Less
    } else if a == b {
        Ordering::Equal
    } else {
        codec::encode(a).ok().cmp(&codec::encode(b).ok())
    }
}
