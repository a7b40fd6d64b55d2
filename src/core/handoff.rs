//! Hints at work (Dynamo §4.6): brought to their primaries, and taken from others.
//!
//! A hint whose primary is no voter any more goes to all that are voters now. It leaves the store
//! once all whom it was brought to have it durably.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_handoff as handoff;
use henge_handoff::Outcome;
use henge_quorum as quorum;
use henge_types::{Key, MemberState, Partition, PeerId, Record, RecordDigest, RingId};

use super::Core;
use super::io::{ChannelId, Request, RequestFailure, Response};
use super::next::{AfterRequest, AfterStore, AfterSync, Timer};
use super::serve::STORE_OPS_MAX;
use crate::event::Event;
use crate::hints::{BATCH_MAX, BATCH_MAX_BYTES, Delivery, Found, Settled};
use crate::store::{Hint, HintQueue, ReadOp, StoreResult, WriteOp};

/// How often it is looked for whom something waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The hints of this peer, and what it takes of others.
#[derive(Debug)]
pub(super) struct Handoff {
    pub(super) delivery: Delivery,
    /// What waits, as it was when it was looked last.
    pub(super) queues: Vec<HintQueue>,
    /// Hints that are being brought, by primary. Bounded by one batch for each.
    carried: BTreeMap<(PeerId, Key), Carried>,
    /// Deliveries of others that are being stored. Bounded by [`STORE_OPS_MAX`].
    taken: BTreeMap<ChannelId, Taken>,
}

#[derive(Debug)]
struct Carried {
    record: Record,
    digest: RecordDigest,
    /// Who has not answered yet.
    waits_for: BTreeSet<PeerId>,
    /// Whether it goes to the present voters instead of the primary.
    redirected: bool,
    worst: Settled,
}

#[derive(Debug)]
struct Taken {
    results: Vec<Outcome>,
    open: usize,
}

/// What goes to whom.
type Parcels = BTreeMap<PeerId, Vec<(Key, Record)>>;

impl Handoff {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            delivery: Delivery::new(bytes_per_second),
            queues: Vec::new(),
            carried: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }
}

// The peer that has hints.
impl Core {
    /// Looks for whom something waits, now and then from the first time on.
    pub(super) fn look_for_hints(&mut self) {
        if self.serves() {
            self.read(ReadOp::HintQueues, AfterStore::HintQueues);
            self.wake_at(LOOK_EVERY, Timer::LookForHints);
        }
    }

    pub(super) fn on_hint_queues(&mut self, result: StoreResult) {
        let StoreResult::HintQueues { queues, .. } = result else { return self.on_unexpected(result) };
        for queue in &queues {
            self.handoff.delivery.on_queue(queue.primary, self.now.monotonic);
        }
        self.handoff.queues = queues;
        self.deliver_hints();
    }

    /// Begins the batches whose time it is.
    pub(super) fn deliver_hints(&mut self) {
        if !self.serves() {
            return;
        }
        let now = self.now.monotonic;
        let primaries = self.handoff.delivery.primaries();
        let ready: BTreeSet<PeerId> = primaries.filter(|peer| self.takes_hints(peer)).copied().collect();
        for read in self.handoff.delivery.due(now, |peer| ready.contains(peer)) {
            let (primary, after) = (read.primary, read.after);
            let op = ReadOp::Hints { primary, after, bytes_max: BATCH_MAX_BYTES, count_max: BATCH_MAX };
            self.read(op, AfterStore::Hints { primary });
        }
        if let Some(at) = self.handoff.delivery.next_due(|peer| ready.contains(peer)) {
            self.wake_at(at.saturating_sub(now), Timer::DeliverHints);
        }
    }

    // Whether the queue of `peer` can get shorter: it is there, or will never be again.
    fn takes_hints(&self, peer: &PeerId) -> bool {
        let state = self.membership.view().get(peer).map(|member| member.record().state);
        self.is_healthy(peer) || matches!(state, None | Some(MemberState::Left))
    }

    /// A part of the queue of `primary`.
    pub(super) fn on_hints(&mut self, primary: PeerId, result: StoreResult) {
        let now = self.now;
        let StoreResult::Hints { hints, more, damaged } = result else {
            self.on_unexpected(result);
            self.handoff.delivery.on_read_failed(&primary, now.monotonic);
            return self.deliver_hints();
        };
        let bytes = hints.iter().map(|hint| hint.key.as_bytes().len() + hint.record.size_bytes()).sum();
        let places = hints.iter().map(|hint| &hint.key).chain(&damaged).map(|key| (key.position(), key));
        let last = places.max().map(|(_, key)| key.clone());
        let found = Found { hints: hints.len() + damaged.len(), bytes, last, more };
        self.handoff.delivery.on_read(&primary, found, now.monotonic);
        for key in damaged {
            self.quarantine_hint(key, primary, true);
        }
        let oldest = now.unix_ms.saturating_sub(self.config.hint_ttl_ms());
        let mut parcels = Parcels::new();
        for hint in hints {
            if hint.since_unix_ms < oldest {
                self.quarantine_hint(hint.key, primary, true);
            } else {
                self.carry(primary, hint, &mut parcels);
            }
        }
        self.send_parcels(primary, parcels);
        self.deliver_hints();
    }

    fn carry(&mut self, primary: PeerId, hint: Hint, parcels: &mut Parcels) {
        let voters = self.voters_but(&hint.key, None);
        let redirected = !voters.contains(&primary);
        let waits_for = if redirected { voters } else { BTreeSet::from([primary]) };
        let at = (primary, hint.key);
        let carried = Carried {
            record: hint.record,
            digest: hint.digest,
            waits_for: BTreeSet::new(),
            redirected,
            worst: Settled::Done,
        };
        self.handoff.carried.insert(at.clone(), carried);
        self.bring(&at, waits_for, parcels);
    }

    // The voters of a key, without one who says that it is none.
    fn voters_but(&mut self, key: &Key, not: Option<&PeerId>) -> BTreeSet<PeerId> {
        let voters = self.voters(self.partition_of(key));
        let peers = voters.iter().flat_map(|voters| voters.as_slice()).map(|voter| voter.peer);
        peers.filter(|peer| Some(peer) != not).collect()
    }

    /// Adds a hint to the parcels of those who are to get it.
    fn bring(&mut self, at: &(PeerId, Key), to: BTreeSet<PeerId>, parcels: &mut Parcels) {
        let healthy: BTreeSet<PeerId> =
            to.iter().filter(|peer| **peer == self.me || self.is_healthy(peer)).copied().collect();
        let Some(carried) = self.handoff.carried.get_mut(at) else { return };
        if healthy.len() < to.len() || to.is_empty() {
            carried.worst = Settled::Failed;
        }
        let record = carried.record.clone();
        carried.waits_for.extend(&healthy);
        for peer in healthy {
            if peer == self.me {
                self.keep_own(at, record.clone());
            } else {
                parcels.entry(peer).or_default().push((at.1.clone(), record.clone()));
            }
        }
        self.settle_hint(at);
    }

    // This peer became a voter of what it kept for another.
    fn keep_own(&mut self, (primary, key): &(PeerId, Key), record: Record) {
        let (primary, key) = (*primary, key.clone());
        let partition = self.partition_of(&key);
        if !self.has_custody(partition) {
            return self.on_outcome(&(primary, key), self.me, Outcome::NotVoter, &mut Parcels::new());
        }
        let op = WriteOp::Merge { key: key.clone(), record, own: self.actor(partition) };
        self.write(op, AfterStore::OwnHint { primary, key });
    }

    pub(super) fn on_own_hint(
        &mut self,
        primary: PeerId,
        key: Key,
        result: StoreResult,
    ) -> Option<AfterSync> {
        match self.merged(self.partition_of(&key), &key, result) {
            Ok(()) => return Some(AfterSync::OwnHint { primary, key }),
            Err(refusal) => {
                self.on_outcome(&(primary, key), self.me, outcome(&refusal), &mut Parcels::new());
            }
        }
        None
    }

    pub(super) fn on_own_hint_synced(&mut self, primary: PeerId, key: Key) {
        self.on_outcome(&(primary, key), self.me, Outcome::Merged, &mut Parcels::new());
    }

    fn send_parcels(&mut self, primary: PeerId, parcels: Parcels) {
        let Some(ring) = self.ring() else { return };
        for (peer, records) in parcels {
            let keys = records.iter().map(|(key, _)| key.clone()).collect();
            let request = handoff::Request::Deliver { ring, records };
            self.request(peer, Request::Handoff(request), AfterRequest::Deliver { primary, keys });
        }
    }

    /// `peer` took hints of `primary`, or did not.
    pub(super) fn on_delivered(
        &mut self,
        peer: PeerId,
        primary: PeerId,
        keys: Vec<Key>,
        result: Result<Response, RequestFailure>,
    ) {
        let results = match result {
            Ok(Response::Handoff(handoff::Response::Delivered { results }))
                if results.len() == keys.len() =>
            {
                results
            }
            Ok(Response::Handoff(handoff::Response::Refused(refusal))) => {
                tracing::debug!(%peer, %refusal, "hints were refused");
                vec![Outcome::Failed; keys.len()]
            }
            Ok(_) => {
                self.fault(peer, "an answer that does not fit the delivery of hints".to_owned());
                vec![Outcome::Failed; keys.len()]
            }
            Err(_) => vec![Outcome::Failed; keys.len()],
        };
        if results.contains(&Outcome::NotVoter) {
            self.membership.exchange_with(peer);
        }
        let mut parcels = Parcels::new();
        for (key, outcome) in keys.into_iter().zip(results) {
            self.on_outcome(&(primary, key), peer, outcome, &mut parcels);
        }
        self.send_parcels(primary, parcels);
        self.deliver_hints();
    }

    fn on_outcome(&mut self, at: &(PeerId, Key), peer: PeerId, outcome: Outcome, parcels: &mut Parcels) {
        let Some(carried) = self.handoff.carried.get_mut(at) else { return };
        carried.waits_for.remove(&peer);
        match outcome {
            Outcome::Merged => {}
            Outcome::NotVoter if peer == at.0 && !carried.redirected => {
                carried.redirected = true;
                let others = self.voters_but(&at.1, Some(&peer));
                return self.bring(at, others, parcels);
            }
            Outcome::NotVoter | Outcome::TooLarge => {
                carried.worst = carried.worst.max(Settled::Kept);
                self.stats.hints_not_taken += 1;
            }
            Outcome::Failed => carried.worst = Settled::Failed,
        }
        self.settle_hint(at);
    }

    /// Lets go of a hint that all have answered.
    fn settle_hint(&mut self, at: &(PeerId, Key)) {
        if self.handoff.carried.get(at).is_none_or(|carried| !carried.waits_for.is_empty()) {
            return;
        }
        let Some(carried) = self.handoff.carried.remove(at) else { return };
        let (primary, key) = at.clone();
        if carried.worst > Settled::Done {
            return self.handoff.delivery.on_settled(&primary, carried.worst, self.now.monotonic);
        }
        self.fallback_forgot = true;
        let op = WriteOp::DropHint { key, primary, digest: carried.digest };
        self.write(op, AfterStore::HintDropped { primary });
    }

    pub(super) fn on_hint_dropped(&mut self, primary: PeerId, result: StoreResult) {
        let settled = if let StoreResult::HintDropped { dropped, .. } = result {
            self.stats.hints_delivered += u64::from(dropped);
            Settled::Done
        } else {
            // A damaged one is found again by the next pass, and put aside then.
            self.on_unexpected(result);
            Settled::Failed
        };
        self.handoff.delivery.on_settled(&primary, settled, self.now.monotonic);
        self.deliver_hints();
    }

    /// Puts a hint aside: it is too old, or cannot be read. `queued` when it belongs to the batch of
    /// `primary`.
    pub(super) fn quarantine_hint(&mut self, key: Key, primary: PeerId, queued: bool) {
        self.fallback_forgot = true;
        let op = WriteOp::QuarantineHint { key: key.clone(), primary };
        self.write(op, AfterStore::HintQuarantined { primary, key, queued });
    }

    pub(super) fn on_hint_quarantined(
        &mut self,
        (primary, key, queued): (PeerId, Key, bool),
        result: StoreResult,
    ) {
        let settled = if let StoreResult::HintDropped { dropped, .. } = result {
            if dropped {
                self.stats.hints_quarantined += 1;
                self.event(Event::HintQuarantined { key, primary });
            }
            Settled::Done
        } else {
            self.on_unexpected(result);
            Settled::Failed
        };
        if queued {
            self.handoff.delivery.on_settled(&primary, settled, self.now.monotonic);
            self.deliver_hints();
        }
    }

    fn on_unexpected(&mut self, result: StoreResult) {
        if let StoreResult::Failed(error) = result {
            self.on_store_failed(error);
        }
    }
}

// The peer that takes hints.
impl Core {
    pub(super) fn handle_handoff_request(&mut self, channel: ChannelId, request: handoff::Request) {
        let handoff::Request::Deliver { ring, records } = request;
        if let Err(refusal) = self.admits_delivery(ring, records.len()) {
            return self.respond(channel, Response::Handoff(handoff::Response::Refused(refusal)));
        }
        let count = records.len();
        let taken = Taken { results: vec![Outcome::NotVoter; count], open: count };
        self.handoff.taken.insert(channel, taken);
        if count == 0 {
            return self.answer_delivery(channel);
        }
        for (at, (key, record)) in records.into_iter().enumerate() {
            let partition = self.partition_of(&key);
            if self.has_custody(partition) {
                let op = WriteOp::Merge { key: key.clone(), record, own: self.actor(partition) };
                self.write(op, AfterStore::Taken { channel, at, partition, key });
            } else {
                self.on_taken_as(channel, at, Outcome::NotVoter);
            }
        }
    }

    fn admits_delivery(&self, ring: RingId, count: usize) -> Result<(), handoff::Refusal> {
        match self.admits(ring) {
            Ok(_) if self.stores.len() + count <= STORE_OPS_MAX => Ok(()),
            Err(quorum::Refusal::OtherRing { ring }) => Err(handoff::Refusal::OtherRing { ring }),
            Err(quorum::Refusal::NotMember) => Err(handoff::Refusal::NotMember),
            Ok(_) | Err(_) => Err(handoff::Refusal::Overloaded),
        }
    }

    pub(super) fn on_taken(
        &mut self,
        (channel, at, partition, key): (ChannelId, usize, Partition, Key),
        result: StoreResult,
    ) -> Option<AfterSync> {
        match self.merged(partition, &key, result) {
            Ok(()) => Some(AfterSync::Taken { channel, at }),
            Err(refusal) => {
                self.on_taken_as(channel, at, outcome(&refusal));
                None
            }
        }
    }

    pub(super) fn on_taken_as(&mut self, channel: ChannelId, at: usize, outcome: Outcome) {
        let Some(taken) = self.handoff.taken.get_mut(&channel) else { return };
        if let Some(result) = taken.results.get_mut(at) {
            *result = outcome;
        }
        taken.open = taken.open.saturating_sub(1);
        if taken.open == 0 {
            self.answer_delivery(channel);
        }
    }

    fn answer_delivery(&mut self, channel: ChannelId) {
        if let Some(Taken { results, .. }) = self.handoff.taken.remove(&channel) {
            self.respond(channel, Response::Handoff(handoff::Response::Delivered { results }));
        }
    }
}

fn outcome(refusal: &quorum::Refusal) -> Outcome {
    if *refusal == quorum::Refusal::TooLarge { Outcome::TooLarge } else { Outcome::Failed }
}
