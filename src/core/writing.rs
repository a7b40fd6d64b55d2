//! The coordinator writes: its own store first, then the voters, and stand-ins for those that are
//! away.

use henge_client::{Failure, Response};
use henge_quorum as quorum;
use henge_types::{Applied, Key, PeerId, Record, Voters, Write, WriteError};

use super::Core;
use super::health::Health;
use super::io::Request;
use super::next::{AfterRequest, AfterStore, AfterSync, Attempt, OpId, Timer};
use super::operations::{Operation, Stage, Task, count};
use super::reading::Lost;
use crate::coordinator::put::{self, Keep, Keeper, Replication};
use crate::store::{ReadOp, StoreResult, WriteOp};

impl Core {
    pub(super) fn plan_update(&mut self, op: OpId, mut operation: Operation) {
        let Task::Put(put) = &mut operation.task else { return };
        let stands_in = put.standing_in;
        let dot = match stands_in {
            Some(_) => self.next_fallback_dot(),
            None => self.next_dot(operation.partition),
        };
        let Some(dot) = dot else {
            // The next block of counters, or the stretch of the actor, is being saved.
            return self.fail_attempt(op, operation, (0, 0), true);
        };
        put.applied = true;
        let write = Write {
            dot,
            supersede: put.supersede.clone().unwrap_or_default(),
            content: put.content.clone(),
            written_at: self.now.unix_ms,
            expires_at: put.ttl_ms.map(|ttl| self.now.unix_ms.saturating_add(ttl)),
            operation: put.options.operation,
        };
        operation.stage = Stage::Updating;
        let attempt = Attempt { op, number: operation.attempt };
        let key = operation.key.clone();
        self.operations.insert(op, operation);
        let write = match stands_in {
            None => WriteOp::Update { key, write },
            Some(primary) => {
                WriteOp::UpdateHint { key, primary, write, max_bytes: self.config.hints_max_bytes() }
            }
        };
        self.write(write, AfterStore::OwnWrite { attempt });
    }

    /// An operation that was done before: what a quorum has of it goes to W replicas again, this
    /// one among them, and is acknowledged.
    pub(super) fn spread_again(&mut self, op: OpId, mut operation: Operation, record: Record) {
        let Task::Put(put) = &mut operation.task else { return };
        put.record = Some(record.clone());
        put.applied = true;
        let stands_in = put.standing_in;
        operation.stage = Stage::Updating;
        let attempt = Attempt { op, number: operation.attempt };
        let (key, own) = (operation.key.clone(), self.actor(operation.partition));
        self.operations.insert(op, operation);
        let write = match stands_in {
            None => WriteOp::Merge { key, record, own },
            Some(primary) => self.merge_hint(key, primary, record),
        };
        self.write(write, AfterStore::OwnWrite { attempt });
    }

    /// The local store applied the write, or refused.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    pub(super) fn on_own_write(&mut self, attempt: Attempt, result: StoreResult) -> Option<AfterSync> {
        let op = attempt.op;
        let mut operation = self.take(attempt)?;
        let Task::Put(put) = &mut operation.task else { return None };
        if let Some(primary) = put.standing_in {
            self.look_after_hint(operation.key.clone(), primary, &result);
        }
        match result {
            StoreResult::Updated { applied, record } => {
                if let Applied::Repeated(dot) = applied {
                    tracing::debug!(%dot, "operation was done before");
                }
                put.record = Some(record);
                self.operations.insert(op, operation);
                self.plan(op);
                return Some(AfterSync::OwnWrite { op });
            }
            StoreResult::Merged { .. } => {
                self.operations.insert(op, operation);
                self.plan(op);
                return Some(AfterSync::OwnWrite { op });
            }
            StoreResult::Refused(WriteError::RolledBack) => {
                put.applied = false;
                self.renew_actor(operation.partition);
                self.fail_attempt(op, operation, (0, 0), true);
            }
            StoreResult::Refused(WriteError::HintsFull { .. }) => {
                put.applied = false;
                self.forward_on(op, operation);
            }
            StoreResult::Refused(error) => {
                let failure = refusal(error);
                self.finish(op, operation, Response::Failed(failure));
            }
            StoreResult::Damaged if put.standing_in.is_some() => {
                // It goes to quarantine, and with it what this peer wrote there.
                put.applied = false;
                self.fail_attempt(op, operation, (0, 0), true);
            }
            StoreResult::Damaged => {
                put.applied = false;
                self.on_damaged(&operation.key.clone());
                self.forward_on(op, operation);
            }
            StoreResult::Failed(error) => {
                let reason = error.to_string();
                self.on_store_failed(error);
                self.finish(op, operation, Response::Failed(Failure::Store { reason }));
            }
            other => {
                tracing::error!(?other, "a write was answered with something else");
                let reason = "it answered with something else".to_owned();
                self.finish(op, operation, Response::Failed(Failure::Store { reason }));
            }
        }
        None
    }

    pub(super) fn plan_replication(&mut self, op: OpId, mut operation: Operation, voters: &Voters) {
        let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return };
        let Task::Put(put) = &operation.task else { return };
        let Some(record) = put.record.clone() else { return };
        let (strict, synced) = (put.options.strict, put.synced);
        let acks = voters.write_need(&params, put.options.quorum.map(usize::from));
        let mut replication = Replication::start(voters, acks, !strict);
        if let Some(primary) = put.standing_in {
            replication.stands_in(self.me, primary);
        }
        if synced {
            self.own_ack(put.standing_in, operation.partition, strict, &mut replication);
        }
        let attempt = Attempt { op, number: operation.attempt };
        let fallbacks = self.fallbacks_if_needed(operation.partition, voters);
        let (mut sends, mut keeps) = (Vec::new(), Vec::new());
        for peer in voters.as_slice().iter().map(|v| v.peer).filter(|p| *p != self.me) {
            let health = self.health(&peer);
            let sent = match health {
                Health::Up | Health::Late => true,
                // What the ring takes for down may answer all the same.
                Health::Down => strict,
                Health::Away => false,
            };
            if sent {
                sends.push((peer, health != Health::Up));
            }
            keeps.extend(match health {
                Health::Up => None,
                Health::Late | Health::Down if sent => replication.on_absent(peer, &fallbacks),
                Health::Late | Health::Down | Health::Away => replication.on_lost(peer, &fallbacks),
            });
        }
        operation.stage = Stage::Replicating(replication);
        let late = self.now.monotonic + self.links.late_after();
        self.arm(&mut operation, late, Timer::Late(op, attempt.number));
        let key = operation.key.clone();
        self.operations.insert(op, operation);
        self.send_record(attempt, &key, &record, voters, strict, sends);
        self.keep(attempt, &key, &record, keeps);
        self.advance_write(op);
    }

    fn send_record(
        &mut self,
        attempt: Attempt,
        key: &Key,
        record: &Record,
        voters: &Voters,
        strict: bool,
        to: Vec<(PeerId, bool)>,
    ) {
        let Some(ring) = self.ring() else { return };
        for (peer, covered) in to {
            let (key, record) = (key.clone(), record.clone());
            let next = AfterRequest::Write { attempt, key: key.clone(), covered };
            let request = quorum::Request::Write { ring, voters: voters.digest(), key, record, strict };
            self.request(peer, Request::Quorum(request), next);
        }
    }

    // Has hints kept for voters that are away.
    fn keep(&mut self, attempt: Attempt, key: &Key, record: &Record, keeps: Vec<Keep>) {
        let Some(ring) = self.ring() else { return };
        for Keep { primary, keeper } in keeps {
            match keeper {
                Keeper::Peer(peer) => {
                    let next = AfterRequest::Keep { attempt, key: key.clone(), primary };
                    let request =
                        quorum::Request::Keep { ring, primary, key: key.clone(), record: record.clone() };
                    self.request(peer, Request::Quorum(request), next);
                }
                Keeper::Coordinator => self.keep_myself(key.clone(), primary, record.clone()),
            }
        }
    }

    /// Keeps a hint that nobody waits for.
    pub(super) fn keep_myself(&mut self, key: Key, primary: PeerId, record: Record) {
        let op = self.merge_hint(key.clone(), primary, record);
        self.write(op, AfterStore::Kept { key, primary });
    }

    pub(super) fn merge_hint(&self, key: Key, primary: PeerId, record: Record) -> WriteOp {
        let (now_unix_ms, max_bytes) = (self.now.unix_ms, self.config.hints_max_bytes());
        WriteOp::MergeHint { key, primary, record, now_unix_ms, max_bytes }
    }

    // A voter did not take a write that is acknowledged by now: this peer keeps what it has for it.
    fn keep_later(&mut self, key: Key, primary: PeerId) {
        let partition = self.partition_of(&key);
        let Some(voters) = self.voters(partition) else { return };
        let me_votes = voters.get(&self.me).is_some_and(|v| v.custody != henge_types::Custody::None);
        if me_votes && voters.get(&primary).is_some() {
            self.read(ReadOp::Get { key: key.clone() }, AfterStore::KeepLater { key, primary });
        }
    }

    fn own_ack(
        &mut self,
        stands_in: Option<PeerId>,
        partition: henge_types::Partition,
        strict: bool,
        replication: &mut Replication,
    ) {
        let me = self.me;
        if let Some(primary) = stands_in {
            replication.on_kept(&primary, &me);
        } else if strict && !self.has_lease() {
            replication.on_refused(&me);
        } else if self.sees(partition, replication.voters()) {
            replication.on_ack(&me);
        } else {
            replication.on_stale(&me);
        }
    }

    /// The local store has the write of `op` durably.
    pub(super) fn on_own_synced(&mut self, op: OpId) {
        let Some(mut operation) = self.operations.remove(&op) else { return };
        let partition = operation.partition;
        if let Task::Put(put) = &mut operation.task {
            put.synced = true;
            let (stands_in, strict) = (put.standing_in, put.options.strict);
            if let Stage::Replicating(replication) = &mut operation.stage {
                self.own_ack(stands_in, partition, strict, replication);
            }
        }
        self.operations.insert(op, operation);
        self.advance_write(op);
    }

    /// A voter's word on a write. `covered`: a hint is kept for it already.
    pub(super) fn on_write_word(
        &mut self,
        (attempt, key, covered): (Attempt, Key, bool),
        peer: PeerId,
        word: Result<(), Lost>,
    ) {
        let over = !self.operations.contains_key(&attempt.op);
        if over && !covered && word == Err(Lost::Failed) {
            return self.keep_later(key, peer);
        }
        self.step_write(attempt, word == Err(Lost::Failed), |replication, fallbacks| {
            match word {
                Ok(()) => replication.on_ack(&peer),
                Err(Lost::Stale) => replication.on_stale(&peer),
                Err(Lost::Refused) => replication.on_refused(&peer),
                Err(Lost::Failed) => return replication.on_lost(peer, fallbacks).into_iter().collect(),
            }
            Vec::new()
        });
    }

    /// A stand-in's word on a hint.
    pub(super) fn on_kept_word(
        &mut self,
        (attempt, key, primary): (Attempt, Key, PeerId),
        keeper: PeerId,
        kept: bool,
    ) {
        let over = !self.operations.contains_key(&attempt.op);
        if over && !kept {
            return self.keep_later(key, primary);
        }
        self.step_write(attempt, !kept, |replication, fallbacks| {
            if kept {
                replication.on_kept(&primary, &keeper);
                return Vec::new();
            }
            replication.on_not_kept(primary, &keeper, fallbacks).into_iter().collect()
        });
    }

    /// Voters take too long: others stand in for them.
    pub(super) fn on_late_write(&mut self, attempt: Attempt) {
        let me = self.me;
        self.step_write(attempt, true, |replication, fallbacks| replication.on_late(me, fallbacks));
    }

    // Lets `step` change a replication, and carries out what follows.
    fn step_write(
        &mut self,
        attempt: Attempt,
        lost: bool,
        step: impl FnOnce(&mut Replication, &[PeerId]) -> Vec<Keep>,
    ) {
        let Some(mut operation) = self.take(attempt) else { return };
        let fallbacks = match self.voters(operation.partition).filter(|_| lost) {
            Some(voters) => self.fallbacks(operation.partition, &voters),
            None => Vec::new(),
        };
        let mut keeps = Vec::new();
        let mut record = None;
        if let (Stage::Replicating(replication), Task::Put(put)) = (&mut operation.stage, &operation.task) {
            keeps = step(replication, &fallbacks);
            record = put.record.clone().filter(|_| !keeps.is_empty());
        }
        let key = operation.key.clone();
        self.operations.insert(attempt.op, operation);
        if let Some(record) = record {
            self.keep(attempt, &key, &record, keeps);
        }
        self.advance_write(attempt.op);
    }

    fn advance_write(&mut self, op: OpId) {
        let Some(Operation { stage: Stage::Replicating(replication), .. }) = self.operations.get(&op) else {
            return;
        };
        let outcome = replication.outcome();
        if outcome == put::Outcome::Pending {
            return;
        }
        let Some(operation) = self.operations.remove(&op) else { return };
        match outcome {
            put::Outcome::Pending => {}
            put::Outcome::Failed { needed, got, stale } => {
                self.fail_attempt(op, operation, (needed, got), stale);
            }
            put::Outcome::Done { acks, hinted } => {
                let Task::Put(put) = &operation.task else { return };
                let clock = put.record.as_ref().map(|r| r.clock().clone()).unwrap_or_default();
                let context = self.context(&operation.key, &clock);
                let response = Response::Written { context, acks: count(acks), hinted: count(hinted) };
                self.finish(op, operation, response);
            }
        }
    }
}

fn refusal(error: WriteError) -> Failure {
    match error {
        WriteError::TooManySiblings { siblings } => Failure::TooManySiblings { siblings: siblings as u64 },
        WriteError::ClockFull { entries } => Failure::ClockFull { entries: entries as u64 },
        WriteError::TooLarge { bytes } => Failure::RecordTooLarge { bytes: bytes as u64 },
        // What else a store may refuse is its own affair.
        WriteError::RolledBack | _ => Failure::Store { reason: error.to_string() },
    }
}
