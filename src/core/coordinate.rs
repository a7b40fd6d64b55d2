//! The coordinator at work: reading, updating, replicating, forwarding.

use std::sync::Arc;

use henge_client::{Failure, Hop, Response};
use henge_quorum as quorum;
use henge_types::{
    Applied, Custody, Key, Partition, PeerId, Record, Voters, VotersDigest, Write, WriteError,
};

use super::io::{Request, RequestFailure};
use super::next::{AfterRequest, AfterStore, AfterSync, Attempt, OpId, Timer};
use super::operations::{Operation, Stage, Task, count};
use super::{Core, HEDGE_AFTER};
use crate::coordinator::get::{self, Answer, Ask, Get};
use crate::coordinator::put::{self, Replication};
use crate::store::{ReadOp, StoreResult, WriteOp};

impl Core {
    pub(super) fn plan_read(&mut self, op: OpId, mut operation: Operation, voters: Arc<Voters>) {
        let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return };
        let need = match &operation.task {
            Task::Get { quorum } => voters.read_need(&params, *quorum),
            Task::Put(_) => voters.read_need(&params, None),
            Task::Undamage => voters.acquire_need(&params, &self.me),
        };
        let mut order = self.reachable(&voters);
        if matches!(operation.task, Task::Undamage) {
            order.retain(|p| *p != self.me);
        }
        let (get, asks) = Get::start(&voters, need, &order);
        operation.stage = Stage::Reading { get, voters: Arc::clone(&voters) };
        let attempt = Attempt { op, number: operation.attempt };
        let key = operation.key.clone();
        let hedge = self.now.monotonic + HEDGE_AFTER;
        operation.hedge = Some((hedge, attempt.number));
        self.timers.insert((hedge, Timer::Hedge(op, attempt.number)));
        self.operations.insert(op, operation);
        self.ask(attempt, &key, &voters, asks);
        self.advance_read(op);
    }

    // The voters that can be asked, this peer first, then the nearest.
    fn reachable(&self, voters: &Voters) -> Vec<PeerId> {
        let mut others: Vec<PeerId> = voters
            .as_slice()
            .iter()
            .map(|v| v.peer)
            .filter(|p| *p != self.me && self.links.is_connected(p))
            .collect();
        self.links.sort_by_distance(&mut others);
        if voters.get(&self.me).is_some_and(|v| v.custody != Custody::None) {
            others.insert(0, self.me);
        }
        others
    }

    /// What a read attempt of this peer's own goes by, while it reads.
    pub(super) fn reading(&self, attempt: Attempt) -> Option<(VotersDigest, Partition, Key)> {
        let operation = self.operations.get(&attempt.op).filter(|o| o.attempt == attempt.number)?;
        let Stage::Reading { voters, .. } = &operation.stage else { return None };
        Some((voters.digest(), operation.partition, operation.key.clone()))
    }

    fn ask(&mut self, attempt: Attempt, key: &Key, voters: &Voters, asks: Vec<Ask>) {
        for Ask { peer, want } in asks {
            if peer == self.me {
                self.read(ReadOp::Get { key: key.clone() }, AfterStore::OwnRead { attempt });
                continue;
            }
            let Some(ring) = self.ring() else { return };
            let request = quorum::Request::Read { ring, voters: voters.digest(), key: key.clone(), want };
            let next = AfterRequest::Read { attempt, sent: self.now.monotonic };
            self.request(peer, Request::Quorum(request), next);
        }
    }

    /// A voter's word on a read.
    pub(super) fn on_read_word(&mut self, attempt: Attempt, peer: PeerId, word: Result<Answer, Lost>) {
        let Some(mut operation) = self.take(attempt) else { return };
        let key = operation.key.clone();
        let Stage::Reading { get, voters } = &mut operation.stage else {
            self.operations.insert(attempt.op, operation);
            return;
        };
        let voters = Arc::clone(voters);
        let asks = match word {
            Ok(answer) => get.on_answer(peer, answer),
            Err(lost) => get.on_lost(peer, lost == Lost::Stale),
        };
        self.operations.insert(attempt.op, operation);
        self.ask(attempt, &key, &voters, asks);
        self.advance_read(attempt.op);
    }

    pub(super) fn on_hedge(&mut self, op: OpId, number: u32) {
        let attempt = Attempt { op, number };
        let Some(mut operation) = self.take(attempt) else { return };
        let key = operation.key.clone();
        let mut asks = Vec::new();
        let mut under = None;
        if let Stage::Reading { get, voters } = &mut operation.stage {
            asks = get.on_hedge();
            under = Some(Arc::clone(voters));
        }
        self.operations.insert(op, operation);
        if let Some(voters) = under {
            self.ask(attempt, &key, &voters, asks);
        }
    }

    fn advance_read(&mut self, op: OpId) {
        let Some(operation) = self.operations.get(&op) else { return };
        let Stage::Reading { get, voters } = &operation.stage else { return };
        let voters = Arc::clone(voters);
        let outcome = get.outcome();
        if outcome == get::Outcome::Pending {
            return;
        }
        let Some(operation) = self.operations.remove(&op) else { return };
        match outcome {
            get::Outcome::Pending => {}
            get::Outcome::Failed { needed, got, stale } => {
                if matches!(operation.task, Task::Undamage) && !stale {
                    self.undamaging.remove(&operation.key);
                }
                self.fail_attempt(op, operation, (needed, got), stale);
            }
            get::Outcome::Done { record, behind } => {
                self.repair(&operation.key, &voters, &record, behind);
                self.on_read_done(op, operation, record);
            }
        }
    }

    fn on_read_done(&mut self, op: OpId, mut operation: Operation, record: Record) {
        match &mut operation.task {
            Task::Get { .. } => {
                let response = self.found(&operation.key, &record);
                self.finish(op, operation, response);
            }
            Task::Undamage => {
                let key = operation.key.clone();
                self.write(WriteOp::Repair { key: key.clone(), record }, AfterStore::Undamage { key });
                self.finish(op, operation, Response::Failed(Failure::NotReady));
            }
            Task::Put(put) => {
                let done_before =
                    put.options.retry && record.find_operation(&put.options.operation).is_some();
                let deletes = put.content == henge_types::Content::Tombstone;
                if deletes
                    && !done_before
                    && put.supersede.is_none()
                    && record.live(self.now.unix_ms).next().is_none()
                {
                    let context = self.context(&operation.key, record.clock());
                    return self.finish(op, operation, Response::NotFound { context });
                }
                put.options.retry = done_before && self.is_closing(operation.partition);
                put.supersede.get_or_insert_with(|| record.clock().clone());
                if !done_before || self.is_closing(operation.partition) {
                    self.operations.insert(op, operation);
                    return self.plan(op);
                }
                // It is a sibling somewhere, or was superseded: what is known of it goes to W
                // replicas, this one among them, and it is acknowledged.
                put.record = Some(record.clone());
                put.applied = true;
                operation.stage = Stage::Updating;
                let attempt = Attempt { op, number: operation.attempt };
                let (key, own) = (operation.key.clone(), self.actor(operation.partition));
                self.operations.insert(op, operation);
                self.write(WriteOp::Merge { key, record, own }, AfterStore::OwnWrite { attempt });
            }
        }
    }

    pub(super) fn plan_update(&mut self, op: OpId, mut operation: Operation) {
        let Some(dot) = self.next_dot(operation.partition) else {
            // The next block of counters is being reserved.
            return self.fail_attempt(op, operation, (0, 0), true);
        };
        let Task::Put(put) = &mut operation.task else { return };
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
        self.write(WriteOp::Update { key, write }, AfterStore::OwnWrite { attempt });
    }

    /// The local store applied the write, or refused.
    pub(super) fn on_own_write(&mut self, attempt: Attempt, result: StoreResult) -> Option<AfterSync> {
        let op = attempt.op;
        let mut operation = self.take(attempt)?;
        let Task::Put(put) = &mut operation.task else { return None };
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
            StoreResult::Refused(error) => {
                let failure = refusal(error);
                self.finish(op, operation, Response::Failed(failure));
            }
            StoreResult::Damaged => {
                put.applied = false;
                self.on_damaged(&operation.key.clone());
                match self.voters(operation.partition) {
                    Some(voters) => self.forward(op, operation, &voters),
                    None => self.finish(op, operation, Response::Failed(Failure::NotReady)),
                }
            }
            StoreResult::Failed(error) => {
                let reason = error.to_string();
                self.on_store_failed(error);
                self.finish(op, operation, Response::Failed(Failure::Store { reason }));
            }
            StoreResult::Record(_)
            | StoreResult::Occupied(_)
            | StoreResult::Hint(_)
            | StoreResult::Hints { .. }
            | StoreResult::HintQueues { .. }
            | StoreResult::HintDropped { .. }
            | StoreResult::Repaired
            | StoreResult::Saved => {}
        }
        None
    }

    pub(super) fn plan_replication(&mut self, op: OpId, mut operation: Operation, voters: &Voters) {
        let Some((params, ring)) = self.member.as_ref().map(|m| (m.ring.params, m.ring.ring)) else { return };
        let Task::Put(put) = &operation.task else { return };
        let Some(record) = put.record.clone() else { return };
        let acks = voters.write_need(&params, put.options.quorum.map(usize::from));
        let mut replication = Replication::start(voters, acks);
        if put.synced && self.view_is_saved() {
            replication.on_ack(&self.me);
        } else if put.synced {
            replication.on_lost(&self.me, true);
        }
        let others: Vec<PeerId> =
            voters.as_slice().iter().map(|v| v.peer).filter(|p| *p != self.me).collect();
        for peer in others.iter().filter(|p| !self.links.is_connected(p)) {
            replication.on_lost(peer, false);
        }
        let attempt = Attempt { op, number: operation.attempt };
        operation.stage = Stage::Replicating(replication);
        let (key, digest) = (operation.key.clone(), voters.digest());
        self.operations.insert(op, operation);
        for peer in others.into_iter().filter(|p| self.links.is_connected(p)).collect::<Vec<_>>() {
            let (key, record) = (key.clone(), record.clone());
            let request = quorum::Request::Write { ring, voters: digest, key, record };
            self.request(peer, Request::Quorum(request), AfterRequest::Write { attempt });
        }
        self.advance_write(op);
    }

    /// The local store has the write of `op` durably.
    pub(super) fn on_own_synced(&mut self, op: OpId) {
        let Some(operation) = self.operations.get_mut(&op) else { return };
        let Task::Put(put) = &mut operation.task else { return };
        put.synced = true;
        let partition = operation.partition;
        let now = self.voters(partition).map(|v| v.digest()).filter(|_| self.view_is_saved());
        let me = self.me;
        if let Some(Operation { stage: Stage::Replicating(replication), .. }) = self.operations.get_mut(&op) {
            if now == Some(replication.voters()) {
                replication.on_ack(&me);
            } else {
                replication.on_lost(&me, true);
            }
            self.advance_write(op);
        }
    }

    /// A voter's word on a write: `None` acknowledges it.
    pub(super) fn on_write_word(&mut self, attempt: Attempt, peer: PeerId, word: Result<(), Lost>) {
        let current = self.operations.get_mut(&attempt.op).filter(|o| o.attempt == attempt.number);
        if let Some(Operation { stage: Stage::Replicating(replication), .. }) = current {
            match word {
                Ok(()) => replication.on_ack(&peer),
                Err(lost) => replication.on_lost(&peer, lost == Lost::Stale),
            }
            self.advance_write(attempt.op);
        }
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
            put::Outcome::Done { acks } => {
                let Task::Put(put) = &operation.task else { return };
                let clock = put.record.as_ref().map(|r| r.clock().clone()).unwrap_or_default();
                let context = self.context(&operation.key, &clock);
                let response = Response::Written { context, acks: count(acks), hinted: 0 };
                self.finish(op, operation, response);
            }
        }
    }

    /// Hands `op` to the nearest voter that has not been tried: this peer is none.
    pub(super) fn forward(&mut self, op: OpId, mut operation: Operation, voters: &Voters) {
        let candidates = self.reachable(voters);
        let has_custody = |p: &PeerId| voters.get(p).is_some_and(|v| v.custody != Custody::None);
        let Task::Put(put) = &mut operation.task else { return };
        if put.options.hop == Hop::Forwarded {
            return self.finish(op, operation, Response::Failed(Failure::NotReplica));
        }
        let me = self.me;
        let next = candidates.into_iter().find(|p| *p != me && has_custody(p) && !put.forwarded.contains(p));
        let Some(peer) = next else {
            let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return };
            let needed = voters.write_need(&params, put.options.quorum.map(usize::from));
            return self.fail_attempt(op, operation, (needed, 0), false);
        };
        let left = operation.deadline.saturating_sub(self.now.monotonic);
        let request = put.request(&operation.key, left);
        put.forwarded.insert(peer);
        operation.stage = Stage::Forwarded;
        let attempt = Attempt { op, number: operation.attempt };
        self.operations.insert(op, operation);
        self.request_within(peer, Request::Client(request), AfterRequest::Forward { attempt }, left);
    }

    /// The replica that `attempt` was handed to answered, or not.
    pub(super) fn on_forwarded(&mut self, attempt: Attempt, result: Result<Response, RequestFailure>) {
        let Some(operation) = self.take(attempt) else { return };
        let op = attempt.op;
        match result {
            Ok(Response::Failed(
                Failure::NotReplica | Failure::NotReady | Failure::Overloaded | Failure::Store { .. },
            ))
            | Err(_) => {
                self.operations.insert(op, operation);
                self.plan(op);
            }
            Ok(response) => self.finish(op, operation, response),
        }
    }
}

/// Why a voter's word on a write does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It failed.
    Failed,
    /// It sees other voters.
    Stale,
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
