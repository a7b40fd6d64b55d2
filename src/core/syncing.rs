//! Range sync carried out: the sessions that this peer holds, and its answers in those of others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use henge_sync::{BATCH_BYTES, Effect, End, ITEMS_MAX, Known, Mode, Progress, Question, Report, Session};
use henge_sync::{Responder, Response as SyncResponse, Step, Terms};
use henge_types::{Custody, Key, Partition, PeerId, Record, VotersDigest};
use sha2::{Digest, Sha256};

use super::Core;
use super::io::{ChannelId, Request, RequestFailure, Response};
use super::next::{AfterRequest, AfterStore, AfterSync, Timer};
use crate::anti_entropy::AntiEntropy;
use crate::rebalance::Entries;
use crate::store::{ReadOp, StoreResult, WriteOp};

/// Sessions that this peer holds at a time, one with each other peer: each keeps a batch or two in
/// memory.
const SESSIONS_MAX: usize = 4;
/// Requests of others under way. Beyond, they are refused.
const ANSWERS_MAX: usize = 64;
/// How soon after a member is back it is looked what it missed: hints come first.
const BACK_AFTER: Duration = Duration::from_secs(2);

/// Numbers the sessions of this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SyncId(u64);

/// What a session is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Both may have missed something.
    AntiEntropy(Vec<Partition>),
    /// The same, because an operator asked.
    Repair(Vec<Partition>),
    /// This peer acquires these.
    Acquire(Entries),
    /// This peer gives these up; `closed` when they take no writes.
    GiveUp { entries: Entries, closed: bool },
}

impl Purpose {
    // The partitions, and the digests that they are held under.
    fn about(&self) -> (Vec<Partition>, Option<BTreeMap<Partition, VotersDigest>>) {
        match self {
            Self::AntiEntropy(partitions) | Self::Repair(partitions) => (partitions.clone(), None),
            Self::Acquire(entries) | Self::GiveUp { entries, .. } => {
                (entries.iter().map(|(p, _)| *p).collect(), Some(entries.iter().copied().collect()))
            }
        }
    }
}

#[derive(Debug)]
struct Running {
    peer: PeerId,
    session: Session,
    purpose: Purpose,
}

/// The sessions of this peer, and its part in those of others.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    running: BTreeMap<SyncId, Running>,
    answering: usize,
    pub(super) round: AntiEntropy,
    pub(super) totals: Totals,
}

/// What was done since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    /// Sessions of this peer.
    pub(super) sessions: u64,
    /// Those of them that moved nothing.
    pub(super) in_sync: u64,
    /// In its own sessions and those of others.
    pub(super) sent: Traffic,
    pub(super) received: Traffic,
}

/// Records that travelled, whatever became of them, with their keys: the size is estimated from above.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    fn count(&mut self, records: &[(Key, Record)]) {
        self.records += records.len() as u64;
        let bytes = records.iter().map(|(key, record)| key.as_bytes().len() + record.size_bytes());
        self.bytes += bytes.sum::<usize>() as u64;
    }
}

/// Who asked the store.
#[derive(Debug)]
pub(super) enum Asker {
    /// A session of this peer.
    Session(SyncId),
    /// An answer to another peer.
    Answer { channel: ChannelId, responder: Box<Responder> },
}

impl Syncs {
    pub(super) fn is_busy_with(&self, peer: &PeerId) -> bool {
        self.running.values().any(|running| running.peer == *peer)
    }

    /// The partitions that are being pulled from somebody.
    pub(super) fn pulled(&self) -> BTreeSet<Partition> {
        let acquired = |running: &Running| match &running.purpose {
            Purpose::Acquire(entries) => entries.iter().map(|(partition, _)| *partition).collect(),
            Purpose::AntiEntropy(_) | Purpose::Repair(_) | Purpose::GiveUp { .. } => Vec::new(),
        };
        self.running.values().flat_map(acquired).collect()
    }

    /// How many sessions there are.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() < SESSIONS_MAX
    }

    fn of_repair(&self) -> impl Iterator<Item = &Running> {
        self.running.values().filter(|running| matches!(running.purpose, Purpose::Repair(_)))
    }

    /// How many sessions of a repair there are.
    pub(super) fn repairing(&self) -> usize {
        self.of_repair().count()
    }

    /// What the session of a repair with `peer` has done, and how many of its partitions are left.
    pub(super) fn repairing_with(&self, peer: &PeerId) -> Option<(Progress, usize)> {
        let running = self.of_repair().find(|running| running.peer == *peer)?;
        Some((running.session.progress(), running.session.partitions_left()))
    }

    // Whether a session with `peer` could be held if there were no repair.
    fn repair_is_in_the_way_of(&self, peer: &PeerId) -> bool {
        let busy = self.running.values().find(|running| running.peer == *peer);
        match busy {
            Some(running) => matches!(running.purpose, Purpose::Repair(_)),
            None => !self.has_room() && self.repairing() > 0,
        }
    }
}

// The sessions of this peer.
impl Core {
    /// Begins a session with `peer`, if there is room and none with it yet.
    pub(super) fn begin_session(&mut self, peer: PeerId, mode: Mode, purpose: Purpose) {
        let (partitions, voters) = purpose.about();
        let full = !self.syncs.has_room() || self.syncs.is_busy_with(&peer);
        if full {
            self.repairs.in_the_way |= self.syncs.repair_is_in_the_way_of(&peer);
        }
        let Some(member) = self.member.as_ref().filter(|_| !full && !partitions.is_empty()) else { return };
        let id = SyncId(self.ids.next());
        let salt = self.draw(b"sync", id.0);
        let terms = Terms { ring: member.ring.ring, count: member.ring.params.partitions(), mode, salt };
        let mut session = Session::new(terms, partitions.into_iter().collect(), voters);
        let effect = session.start();
        self.syncs.running.insert(id, Running { peer, session, purpose });
        self.carry_session(id, effect);
    }

    /// Eight bytes that nobody foresees, for the `number`th thing of this sort.
    pub(super) fn draw(&self, what: &[u8], number: u64) -> [u8; 8] {
        let hash =
            Sha256::new().chain_update(what).chain_update(self.seed).chain_update(number.to_be_bytes());
        let mut drawn = [0; 8];
        drawn.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        drawn
    }

    fn carry_session(&mut self, id: SyncId, effect: Effect) {
        match effect {
            Effect::Ask(question) => self.ask_store(question, Asker::Session(id)),
            Effect::Send(request) => {
                let Some(peer) = self.syncs.running.get(&id).map(|running| running.peer) else { return };
                self.syncs.totals.sent.count(request.records());
                self.request(peer, Request::Sync(request), AfterRequest::Session { id });
            }
            Effect::Done(report) => self.on_session_done(id, &report),
        }
    }

    pub(super) fn on_session_response(&mut self, id: SyncId, result: Result<Response, RequestFailure>) {
        let response = match result {
            Ok(Response::Sync(response)) => Some(response),
            Ok(_) | Err(_) => None,
        };
        self.syncs.totals.received.count(response.as_ref().map_or(&[], SyncResponse::records));
        let Some(running) = self.syncs.running.get_mut(&id) else { return };
        let effect = running.session.on_response(response);
        self.carry_session(id, effect);
    }

    fn on_session_done(&mut self, id: SyncId, report: &Report) {
        let Some(Running { peer, purpose, .. }) = self.syncs.running.remove(&id) else { return };
        if let End::Fault(fault) = report.end {
            self.fault(peer, fault.to_string());
        }
        let progress = report.progress;
        tracing::debug!(%peer, end = ?report.end, ?progress, "a session is over");
        let totals = &mut self.syncs.totals;
        totals.sessions += 1;
        let moved = progress.records_pulled + progress.records_pushed;
        totals.in_sync += u64::from(report.end == End::Complete && moved == 0);
        let through = report.end == End::Complete;
        let stale = report.outcomes.values().any(|o| *o == henge_sync::Outcome::Stale);
        if stale {
            self.membership.exchange_with(peer);
        }
        match purpose {
            // Others may have waited for it to end.
            Purpose::AntiEntropy(_) => self.look_at_custody_again(true),
            Purpose::Repair(_) => self.on_repaired(&peer, report),
            Purpose::Acquire(entries) => {
                if let Some(member) = &mut self.member {
                    member.rebalance.on_pulled(peer, &entries, &report.outcomes);
                }
                self.look_at_custody_again(through && !stale);
            }
            Purpose::GiveUp { entries, closed } => {
                if let Some(member) = &mut self.member {
                    let reopened = member.rebalance.on_pushed(peer, &entries, &report.outcomes, closed);
                    for partition in reopened {
                        member.closing.remove(&partition);
                    }
                }
                self.look_at_custody_again(through && !stale);
            }
        }
        self.go_on_with_repair();
    }

    /// Anti-entropy comes after its interval; where that is never, damage is looked for all the same.
    pub(super) fn wake_for_anti_entropy(&mut self) {
        let interval = self.config.sync_interval().unwrap_or(crate::config::SYNC_INTERVAL);
        self.wake_at(interval, Timer::AntiEntropy);
    }

    /// Begins to compare what both have with the next member, now and then.
    pub(super) fn anti_entropy(&mut self) {
        self.wake_for_anti_entropy();
        if !self.serves() {
            return;
        }
        self.read(ReadOp::Damaged { max: super::UNDAMAGING_MAX }, AfterStore::DamagedKeys);
        let view = self.membership.view();
        let healthy: Vec<PeerId> =
            view.iter().map(|(p, _)| *p).filter(|p| *p != self.me && self.is_healthy(p)).collect();
        if self.config.sync_interval().is_none() {
            return;
        }
        let is_busy = |peer: &PeerId| self.syncs.running.values().any(|running| running.peer == *peer);
        let Some(peer) = self.syncs.round.next(&healthy, is_busy) else { return };
        // What somebody has in part is on the move, and would travel twice: whoever acquires it fetches it.
        let shared = self.shared_with(&peer, Custody::Full);
        self.begin_session(peer, Mode::Both, Purpose::AntiEntropy(shared));
    }

    /// A member is back: soon it is looked what it missed.
    pub(super) fn sync_soon(&mut self, peer: PeerId) {
        if self.membership.view().contains(&peer) {
            self.syncs.round.on_back(peer);
            self.wake_at(BACK_AFTER, Timer::AntiEntropy);
        }
    }

    /// The partitions of which both have this much at least.
    pub(super) fn shared_with(&self, peer: &PeerId, least: Custody) -> Vec<Partition> {
        let Some(member) = &self.member else { return Vec::new() };
        let Some(other) = self.membership.view().get(peer) else { return Vec::new() };
        let mine = member.stretches.custody.iter().filter(|(_, custody)| *custody >= least);
        let shared = mine.map(|(p, _)| p).filter(|p| other.custody().get(*p) >= least);
        shared.filter(|p| !member.closing.contains(p)).collect()
    }
}

// The store, asked for either side.
impl Core {
    fn ask_store(&mut self, question: Question, asker: Asker) {
        let Some(count) = self.member.as_ref().map(|m| m.ring.params.partitions()) else { return };
        let read = match question {
            Question::Roots(partitions) => ReadOp::Roots { count, partitions },
            Question::Nodes(nodes) => ReadOp::Nodes { count, nodes },
            Question::Items(nodes) => ReadOp::Items { count, nodes, items_max: ITEMS_MAX },
            Question::Records(keys) => ReadOp::Records { keys, bytes_max: BATCH_BYTES },
            Question::Merge(records) => return self.merge_many(records, asker),
        };
        self.read(read, AfterStore::Sync { asker, merged: Vec::new() });
    }

    // What came for a partition that is not held any more is not stored: nobody would look for it.
    fn merge_many(&mut self, records: Vec<(Key, Record)>, asker: Asker) {
        let mut merged = Vec::with_capacity(records.len());
        let mut taken = Vec::with_capacity(records.len());
        for (key, record) in records {
            let partition = self.partition_of(&key);
            let takes = self.has_custody(partition);
            merged.push((key.clone(), takes));
            if takes {
                let own = self.actor(partition);
                taken.push((key, record, own));
            }
        }
        self.write(WriteOp::MergeMany { records: taken }, AfterStore::Sync { asker, merged });
    }

    /// The store answered a question of a session.
    pub(super) fn on_store_answer(
        &mut self,
        asker: Asker,
        merged: Vec<(Key, bool)>,
        result: StoreResult,
    ) -> Option<AfterSync> {
        let known = match result {
            StoreResult::Summaries { summaries, damaged } => Known::Summaries { summaries, damaged },
            StoreResult::Items { items, damaged } => Known::Items { items, damaged },
            StoreResult::Records(records) => Known::Records(records),
            StoreResult::MergedMany(results) => {
                let known = self.merged_many(&merged, results);
                // It counts once it is durable.
                return Some(AfterSync::Sync { asker, known });
            }
            StoreResult::Failed(error) => {
                self.on_store_failed(error);
                Known::Failed
            }
            StoreResult::Record(_)
            | StoreResult::Occupied(_)
            | StoreResult::Dead(_)
            | StoreResult::Collected(_)
            | StoreResult::DamagedKeys(_)
            | StoreResult::Hint(_)
            | StoreResult::Hints { .. }
            | StoreResult::HintQueues { .. }
            | StoreResult::HintDropped { .. }
            | StoreResult::Updated { .. }
            | StoreResult::Refused(_)
            | StoreResult::Merged { .. }
            | StoreResult::Dropped { .. }
            | StoreResult::Repaired
            | StoreResult::Saved
            | StoreResult::Damaged => Known::Failed,
        };
        self.on_known(asker, known);
        None
    }

    fn merged_many(
        &mut self,
        asked: &[(Key, bool)],
        results: Vec<Result<crate::store::Merged, henge_types::WriteError>>,
    ) -> Known {
        let mut results = results.into_iter();
        let mut renew = BTreeSet::new();
        let mut merged = Vec::with_capacity(asked.len());
        for (key, taken) in asked {
            let result = taken.then(|| results.next()).flatten();
            merged.push(match result {
                Some(Ok(m)) => {
                    if m.rolled_back {
                        renew.insert(self.partition_of(key));
                    }
                    if m.damaged {
                        self.on_damaged(key);
                        henge_sync::Merged::Refused
                    } else if m.ahead {
                        henge_sync::Merged::Ahead
                    } else {
                        henge_sync::Merged::Same
                    }
                }
                Some(Err(_)) | None => henge_sync::Merged::Refused,
            });
        }
        for partition in renew {
            self.renew_actor(partition);
        }
        Known::Merged(merged)
    }

    /// What the store answered counts.
    pub(super) fn on_known(&mut self, asker: Asker, known: Known) {
        match asker {
            Asker::Session(id) => {
                let Some(running) = self.syncs.running.get_mut(&id) else { return };
                let effect = running.session.on_known(known);
                self.carry_session(id, effect);
            }
            Asker::Answer { channel, responder } => {
                match self.with_accepts(|accepts| responder.on_known(known, accepts)) {
                    Some(step) => self.carry_answer(channel, step),
                    None => self.refuse_sync(channel),
                }
            }
        }
    }
}

// The answers to other peers.
impl Core {
    /// Another peer holds a session with this one.
    pub(super) fn answer_session(
        &mut self,
        channel: ChannelId,
        count: henge_types::PartitionCount,
        request: henge_sync::Request,
    ) {
        if self.syncs.answering >= ANSWERS_MAX {
            return self.respond(channel, Response::Sync(SyncResponse::Refused));
        }
        self.syncs.answering += 1;
        self.syncs.totals.received.count(request.records());
        match self.with_accepts(|accepts| Responder::begin(request, count, accepts)) {
            Some(Ok((responder, question))) => {
                let responder = Box::new(responder);
                self.ask_store(question, Asker::Answer { channel, responder });
            }
            Some(Err(_)) | None => self.refuse_sync(channel),
        }
    }

    fn carry_answer(&mut self, channel: ChannelId, step: Step) {
        match step {
            Step::Ask(responder, question) => {
                let responder = Box::new(responder);
                self.ask_store(question, Asker::Answer { channel, responder });
            }
            Step::Respond(response) => {
                self.syncs.answering = self.syncs.answering.saturating_sub(1);
                self.syncs.totals.sent.count(response.records());
                self.respond(channel, Response::Sync(response));
            }
        }
    }

    fn refuse_sync(&mut self, channel: ChannelId) {
        self.syncs.answering = self.syncs.answering.saturating_sub(1);
        self.respond(channel, Response::Sync(SyncResponse::Refused));
    }

    // Whether this peer answers for a partition: as in `sees`, where voters are given.
    fn with_accepts<T>(&mut self, ask: impl FnOnce(henge_sync::Accepts<'_>) -> T) -> Option<T> {
        let saved = self.saved_view.generation;
        let (view, me) = (self.membership.view(), self.me);
        let member = self.member.as_mut()?;
        let (closing, ownership) = (&member.closing, RefCell::new(&mut member.ownership));
        let accepts = |partition: Partition, digest: Option<VotersDigest>| {
            let mut ownership = ownership.borrow_mut();
            let saved = ownership.since(view, partition) <= saved;
            let voters = ownership.voters(view, partition);
            let mine = voters.get(&me).is_some_and(|v| v.custody != Custody::None);
            let same = digest.is_none_or(|digest| saved && voters.digest() == digest);
            mine && same && !closing.contains(&partition)
        };
        Some(ask(&accepts))
    }
}
