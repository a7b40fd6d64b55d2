//! What this peer says of itself, and the counters with which it says it.

use henge_types::limits::{ADDRESS_MAX_BYTES, ADDRESSES_MAX};
use henge_types::member::Signer;
use henge_types::{
    CustodyDigest, CustodyMap, Incarnation, MemberRecord, MemberState, Multiaddr, PeerId, RingId,
    SignedMember, Suspect, Weight, Zone,
};
use serde::{Deserialize, Serialize};

use crate::limits::COUNTER_BLOCK;
use crate::message::Update;

/// The right to sign records of one incarnation with every counter below a bound. It is saved
/// before the first of them is signed, so that no restart signs two records with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The first counter that is not reserved.
    pub upto: u64,
}

/// What a peer wants to say of itself from now on. What is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declaration {
    state: Option<MemberState>,
    weight: Option<Weight>,
    zone: Option<Option<Zone>>,
    addresses: Option<Vec<Multiaddr>>,
    custody: Option<CustodyMap>,
    records: Option<u64>,
}

impl Declaration {
    /// What it wants to be in the ring. There is no way back: an earlier state than the present one is no
    /// news.
    #[must_use]
    pub fn with_state(self, state: MemberState) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Its share of the ring.
    #[must_use]
    pub fn with_weight(self, weight: Weight) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// Its failure domain, or that it has none.
    #[must_use]
    pub fn with_zone(self, zone: Option<Zone>) -> Self {
        Self { zone: Some(zone), ..self }
    }

    /// Where it can be dialled, the best first. Those beyond [`ADDRESSES_MAX`], and those over
    /// [`ADDRESS_MAX_BYTES`], are left out.
    #[must_use]
    pub fn with_addresses(self, addresses: Vec<Multiaddr>) -> Self {
        Self { addresses: Some(addresses), ..self }
    }

    /// What it has of each partition.
    #[must_use]
    pub fn with_custody(self, custody: CustodyMap) -> Self {
        Self { custody: Some(custody), ..self }
    }

    /// How many records it stores, about. Alone this is no news: the next heartbeat carries it.
    #[must_use]
    pub fn with_records(self, records: u64) -> Self {
        Self { records: Some(records), ..self }
    }

    /// The custody map given.
    #[must_use]
    pub(super) fn custody(&self) -> Option<&CustodyMap> {
        self.custody.as_ref()
    }
}

/// The own record in the making.
#[derive(Debug)]
pub(super) struct Own {
    peer: PeerId,
    wire: (u16, u16),
    state: MemberState,
    weight: Weight,
    zone: Option<Zone>,
    addresses: Vec<Multiaddr>,
    records: u64,
    custody: CustodyDigest,
    // The map, until the view has it.
    fresh: Option<CustodyMap>,
    incarnation: Incarnation,
    next: u64,
    reserved: u64,
    requested: u64,
    // Something was declared that no signed record says yet.
    unsaid: bool,
}

impl Own {
    pub(super) fn new(peer: PeerId, wire: (u16, u16), custody: CustodyMap) -> Self {
        Self {
            peer,
            wire,
            state: MemberState::Active,
            weight: Weight::default(),
            zone: None,
            addresses: Vec::new(),
            records: 0,
            custody: custody.digest(),
            fresh: Some(custody),
            incarnation: Incarnation::default(),
            next: 0,
            reserved: 0,
            requested: 0,
            unsaid: true,
        }
    }

    /// Goes on from what an earlier run reserved: all of it may have been used.
    pub(super) fn resume(&mut self, saved: Reservation) {
        self.incarnation = saved.incarnation;
        self.next = saved.upto;
        self.reserved = saved.upto;
        self.requested = saved.upto;
    }

    /// Begins a life with custody of what `custody` says.
    pub(super) fn begin(&mut self, incarnation: Incarnation, custody: CustodyMap) {
        self.incarnation = incarnation;
        self.reserved = self.next;
        self.requested = self.next;
        self.custody = custody.digest();
        self.fresh = Some(custody);
        self.unsaid = true;
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn is_unsaid(&self) -> bool {
        self.unsaid
    }

    /// Whether a record of this peer with these numbers may be one that it signed in this life of
    /// its store or before; if not, its store forgot something, or somebody else has its key.
    pub(super) fn may_have_signed(&self, incarnation: Incarnation, counter: u64) -> bool {
        (incarnation, counter) < (self.incarnation, self.next)
    }

    /// Whether a record of this life has a later state than this peer knows of: it forgot that it leaves.
    pub(super) fn forgot_to_leave(&self, incarnation: Incarnation, state: MemberState) -> bool {
        incarnation >= self.incarnation && state > self.state
    }

    /// Takes over what is declared; a state only if it is a later one. Says whether it is news.
    pub(super) fn take(&mut self, declaration: Declaration) -> bool {
        let Declaration { state, weight, zone, addresses, custody, records } = declaration;
        let present = self.state;
        let mut news = false;
        news |= replace(&mut self.state, state.filter(|state| *state > present));
        news |= replace(&mut self.weight, weight);
        news |= replace(&mut self.zone, zone);
        news |= replace(&mut self.addresses, addresses.map(fitting));
        if replace(&mut self.custody, custody.as_ref().map(CustodyMap::digest)) {
            self.fresh = custody;
            news = true;
        }
        self.records = records.unwrap_or(self.records);
        self.unsaid |= news;
        news
    }

    /// The next block of counters to reserve, while less than half a block is left.
    pub(super) fn next_reservation(&mut self) -> Option<Reservation> {
        let enough = self.reserved.saturating_sub(self.next) > COUNTER_BLOCK / 2;
        if enough || self.requested > self.reserved {
            return None;
        }
        self.requested = self.reserved.max(self.next).saturating_add(COUNTER_BLOCK);
        Some(Reservation { incarnation: self.incarnation, upto: self.requested })
    }

    /// The reservation is saved. One of an earlier incarnation means nothing any more.
    pub(super) fn reserved(&mut self, saved: Reservation) {
        if saved.incarnation == self.incarnation && saved.upto <= self.requested {
            self.reserved = self.reserved.max(saved.upto);
        }
    }

    /// Signs a record of the present, which names `suspects` and the digest of the evictions known, with the
    /// next counter; none while no counter is reserved. Who has left is to be dialled by nobody.
    pub(super) fn sign(
        &mut self,
        ring: RingId,
        suspects: Vec<Suspect>,
        evictions: u64,
        signer: &dyn Signer,
    ) -> Option<Update> {
        if self.next >= self.reserved {
            self.unsaid = true;
            return None;
        }
        let record = MemberRecord {
            ring,
            peer: self.peer,
            incarnation: self.incarnation,
            counter: self.next,
            state: self.state,
            weight: self.weight,
            zone: self.zone.clone(),
            addresses: if self.state == MemberState::Left { Vec::new() } else { self.addresses.clone() },
            custody: self.custody,
            records: self.records,
            wire: self.wire,
            suspects,
            evictions,
        };
        self.next += 1;
        match SignedMember::sign(record, signer) {
            Ok(member) => {
                self.unsaid = false;
                Some(Update { member, custody: self.fresh.take() })
            }
            // Addresses, zone and the rest are bounded above; the last record stays valid.
            Err(error) => {
                tracing::error!(%error, "the own member record cannot be signed");
                None
            }
        }
    }
}

fn replace<T: PartialEq>(old: &mut T, new: Option<T>) -> bool {
    match new {
        Some(new) if *old != new => {
            *old = new;
            true
        }
        Some(_) | None => false,
    }
}

fn fitting(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    addresses.into_iter().filter(|address| address.len() <= ADDRESS_MAX_BYTES).take(ADDRESSES_MAX).collect()
}
