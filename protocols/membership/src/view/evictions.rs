//! Who was evicted, and who is accused.
//!
//! An eviction ends one life (incarnation) of a member, and all before it. It is proved by a record of
//! that life and accusations against it: one of an operator ([`Cause::Removed`]), or, that nothing comes
//! from it ([`Cause::Gone`]), those of more than half of an electorate.
//!
//! **The electorate** of a member are those who were active when it was last heard of. Each member counts
//! it in its own view when it hears of the other at first hand (by gossip or from itself), and says the
//! number in its accusation. So a set of accusations evicts, or not, for everybody alike, whatever else
//! they know: if some of them name the same record, and are more than half of the largest electorate that
//! one of these names. The accused belongs to the electorate but does not accuse, so of two neither evicts
//! the other. Who joined since is not in it, and cannot accuse; who left or was evicted since stays in it,
//! and what it said counts. So a minority never evicts, however many join it or leave: it has not been
//! more than half of those who were there when it was cut off.
//!
//! **What is kept.** Accusations that are not enough are kept while nothing newer is known of the accused;
//! its next record clears them. Evictions are kept for good, the last one of each peer.
//!
//! **The future is safe:** the record in the proof shows that the accused itself began that life, so
//! nobody can accuse it of a life to come.

use std::collections::BTreeMap;

use henge_types::member::Signer;
use henge_types::{Cause, Incarnation, Now, PeerId, SignedAccusation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Facts, View};
use crate::fault::Fault;
use crate::limits::PENDING_MAX;
use crate::message::Accused;

/// The end of one life of a peer, and of all before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    proof: Accused,
    known_unix_ms: u64,
}

impl Eviction {
    /// The last life that is over.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.proof.member.record().incarnation
    }

    /// When this peer learnt of it, by its own clock.
    #[must_use]
    pub fn known_unix_ms(&self) -> u64 {
        self.known_unix_ms
    }

    /// When it came about: the last of the accusations that were needed, by the clock of its author.
    #[must_use]
    pub fn issued_unix_ms(&self) -> u64 {
        let issued = self.proof.accusations.iter().map(|signed| signed.accusation().issued_unix_ms);
        issued.max().unwrap_or(self.known_unix_ms)
    }

    /// Those who brought it about.
    pub fn accusers(&self) -> impl Iterator<Item = &PeerId> {
        self.proof.accusations.iter().map(|signed| &signed.accusation().accuser)
    }
}

/// What became of accusations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The accused is evicted by them.
    Evicted,
    /// Some are new, and not enough.
    Noted,
    /// Nothing of them is new, or counts here.
    Nothing,
}

type Pending = BTreeMap<PeerId, BTreeMap<PeerId, SignedAccusation>>;

/// Accusations of which more are needed: accused, accuser. Of each accused those that name its newest
/// record.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    pending: Pending,
    count: usize,
}

impl Waiting {
    fn insert(&mut self, signed: SignedAccusation) -> bool {
        if self.count >= PENDING_MAX {
            return false;
        }
        let accusation = signed.accusation();
        let of_accused = self.pending.entry(accusation.accused).or_default();
        let news = of_accused.insert(accusation.accuser, signed).is_none();
        self.count += usize::from(news);
        news
    }

    pub(super) fn clear(&mut self, accused: &PeerId) {
        self.count -= self.pending.remove(accused).map_or(0, |cleared| cleared.len());
    }
}

impl View {
    /// All evictions, in the order of the peer ids: of each peer the last one, even if it came back since.
    pub fn evictions(&self) -> impl ExactSizeIterator<Item = (&PeerId, &Eviction)> {
        self.evictions.iter()
    }

    /// Whether this life of `peer` was ended by an eviction.
    #[must_use]
    pub fn is_evicted(&self, peer: &PeerId, incarnation: Incarnation) -> bool {
        self.evictions.get(peer).is_some_and(|eviction| incarnation <= eviction.incarnation())
    }

    /// A digest of all evictions; 0 if there are none.
    #[must_use]
    pub fn evictions_digest(&self) -> u64 {
        self.evictions_digest
    }

    /// A digest of the accusations that wait for more; 0 if there are none.
    pub(crate) fn pending_digest(&self) -> u64 {
        let each = self.waiting.pending.values().flat_map(BTreeMap::values).map(SignedAccusation::accusation);
        digest(
            each.map(|a| {
                [a.accused.to_bytes(), a.accuser.to_bytes(), a.counter.to_be_bytes().into()].concat()
            }),
        )
    }

    /// Those against whom accusations wait for more.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &PeerId> {
        self.waiting.pending.keys()
    }

    /// Whether an accusation against `accused` by `accuser` waits for more.
    pub(crate) fn is_pending(&self, accused: &PeerId, accuser: &PeerId) -> bool {
        self.waiting.pending.get(accused).is_some_and(|by| by.contains_key(accuser))
    }

    /// How many accusations wait for more.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.waiting.count
    }

    /// What there is against `peer`: the proof of its eviction, and what waits for more.
    pub(crate) fn accused(&self, peer: &PeerId) -> impl Iterator<Item = Accused> {
        let proof = self.evictions.get(peer).map(|eviction| eviction.proof.clone());
        let waiting = self.waiting.pending.get(peer).zip(self.members.get(peer));
        let waiting = waiting.map(|(accusations, member)| Accused {
            member: member.signed.clone(),
            accusations: accusations.values().cloned().collect(),
        });
        proof.into_iter().chain(waiting)
    }

    /// Whether `peer` is or was a member.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer) || self.evictions.contains_key(peer)
    }

    /// Takes accusations in. What was checked before is not checked again.
    ///
    /// # Errors
    /// [`Fault`]; the view is unchanged then.
    pub(crate) fn judge(&mut self, accused: Accused, signer: &dyn Signer, now: Now) -> Result<Judged, Fault> {
        let record = accused.member.record();
        let (peer, incarnation) = (record.peer, record.incarnation);
        self.check(&accused)?;
        if self.is_evicted(&peer, incarnation) {
            return Ok(Judged::Nothing);
        }
        if !self.has_room_for(&peer) {
            return Err(Fault::ViewFull { peer });
        }
        let known = self.members.get(&peer);
        if known.is_none_or(|known| known.signed != accused.member) {
            accused.member.verify(signer)?;
        }
        let mut against: Vec<SignedAccusation> = Vec::new();
        if known.is_some_and(|known| known.record().incarnation == incarnation) {
            against.extend(self.waiting.pending.get(&peer).into_iter().flat_map(BTreeMap::values).cloned());
        }
        let before = against.len();
        for signed in accused.accusations {
            if !against.contains(&signed) {
                signed.verify(signer)?;
                against.push(signed);
            }
        }
        if let Some(accusations) = sufficient(&against) {
            self.evict(Accused { member: accused.member, accusations }, now);
            return Ok(Judged::Evicted);
        }
        let mut noted = false;
        for signed in against.drain(before..) {
            noted |= self.is_about_the_newest(&signed) && self.waiting.insert(signed);
        }
        Ok(if noted { Judged::Noted } else { Judged::Nothing })
    }

    /// Takes back what this peer saved itself.
    pub(crate) fn restore(&mut self, evictions: Vec<Eviction>) {
        let ring = self.ring;
        let ours = evictions.into_iter().filter(|e| Some(e.proof.member.record().ring) == ring);
        self.evictions = ours.map(|eviction| (eviction.proof.member.record().peer, eviction)).collect();
        self.evictions_digest = self.digest_evictions();
    }

    fn check(&self, accused: &Accused) -> Result<(), Fault> {
        let record = accused.member.record();
        if self.ring != Some(record.ring) {
            return Err(Fault::OtherRing { ring: record.ring });
        }
        let against = (record.ring, record.peer, record.incarnation);
        let each = accused.accusations.iter().map(SignedAccusation::accusation);
        if each.into_iter().any(|a| (a.ring, a.accused, a.incarnation) != against) {
            return Err(Fault::Accused { peer: record.peer });
        }
        Ok(())
    }

    // Only members count here; in a proof, whoever passed it on answers for the rest.
    fn is_about_the_newest(&self, signed: &SignedAccusation) -> bool {
        let accusation = signed.accusation();
        self.knows(&accusation.accuser)
            && self.members.get(&accusation.accused).is_some_and(|known| {
                let record = known.record();
                (record.incarnation, record.counter) == (accusation.incarnation, accusation.counter)
            })
    }

    fn evict(&mut self, proof: Accused, now: Now) {
        let record = proof.member.record();
        let (peer, incarnation) = (record.peer, record.incarnation);
        self.evictions.insert(peer, Eviction { proof, known_unix_ms: now.unix_ms });
        self.evictions_digest = self.digest_evictions();
        if self.members.get(&peer).is_some_and(|known| known.record().incarnation <= incarnation) {
            self.remove(&peer);
        } else {
            // It is no member, or came back already; but the core has to save it before it goes by it.
            self.generation += 1;
            self.revision += 1;
        }
    }

    fn remove(&mut self, peer: &PeerId) {
        if let Some(old) = self.members.remove(peer) {
            self.waiting.clear(peer);
            self.needs.remove(peer);
            self.note_changes(Some(Facts::of(&old)), None);
        }
    }

    /// Forgets the own record, which belongs to an earlier life or run, and how the others were heard of
    /// in that life.
    pub(crate) fn retract(&mut self, me: &PeerId) {
        self.remove(me);
        for member in self.members.values_mut() {
            member.electorate = 0;
        }
    }

    fn digest_evictions(&self) -> u64 {
        let each = self.evictions.iter();
        digest(each.map(|(peer, e)| [peer.to_bytes(), e.incarnation().0.to_be_bytes().into()].concat()))
    }
}

fn digest(items: impl Iterator<Item = Vec<u8>>) -> u64 {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return 0;
    }
    let hash = items.fold(Sha256::new(), Sha256::chain_update).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// As few of the accusations as are enough to evict; none if all together are not.
fn sufficient(against: &[SignedAccusation]) -> Option<Vec<SignedAccusation>> {
    if let Some(removed) = against.iter().find(|signed| signed.accusation().cause == Cause::Removed) {
        return Some(vec![removed.clone()]);
    }
    // By the record that they name, each accuser once.
    let mut named: BTreeMap<u64, BTreeMap<PeerId, &SignedAccusation>> = BTreeMap::new();
    for signed in against {
        let accusation = signed.accusation();
        named.entry(accusation.counter).or_default().insert(accusation.accuser, signed);
    }
    named.into_values().find_map(|by_accuser| {
        let mut accusations: Vec<&SignedAccusation> = by_accuser.into_values().collect();
        accusations.sort_by_key(|signed| signed.accusation().electorate);
        let electorate = |signed: &SignedAccusation| usize::from(signed.accusation().electorate);
        let enough = accusations.iter().enumerate().position(|(i, last)| 2 * (i + 1) > electorate(last))?;
        Some(accusations.into_iter().take(enough + 1).cloned().collect())
    })
}
