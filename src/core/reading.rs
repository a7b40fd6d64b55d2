//! The coordinator reads: voters and stand-ins are asked, their answers merged.

use std::sync::Arc;

use henge_client::{Failure, Response};
use henge_quorum as quorum;
use henge_types::{Key, Partition, PeerId, Record, Voters, VotersDigest};

use super::Core;
use super::io::Request;
use super::next::{AfterRequest, AfterStore, Attempt, OpId, Timer};
use super::operations::{Operation, Stage, Task, count};
use crate::coordinator::get::{self, Answer, Ask, Get, Rule};
use crate::store::{ReadOp, StoreResult, WriteOp};

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It failed.
    Failed,
    /// It sees other voters.
    Stale,
    /// It will never take this.
    Refused,
}

/// What a read rests on.
#[derive(Debug, Clone, Copy)]
struct Heard {
    answers: usize,
    hinted: usize,
}

impl Core {
    pub(super) fn plan_read(&mut self, op: OpId, mut operation: Operation, voters: Arc<Voters>) {
        let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return };
        let need = match &operation.task {
            Task::Get { quorum, .. } => voters.read_need(&params, *quorum),
            Task::Put(_) => voters.read_need(&params, None),
            Task::Undamage => voters.acquire_need(&params, &self.me),
        };
        let (mut order, late) = self.reachable(&voters);
        if matches!(operation.task, Task::Undamage) {
            order.retain(|p| *p != self.me);
        }
        let sloppy = operation.task.is_sloppy();
        let fallbacks =
            if sloppy { self.fallbacks_if_needed(operation.partition, &voters) } else { Vec::new() };
        let rule = match &operation.task {
            _ if !sloppy => Rule::Strict,
            Task::Put(_) => Rule::BeforePut,
            Task::Get { .. } | Task::Undamage => Rule::Sloppy,
        };
        let (get, asks) = Get::start(&voters, need, &order, late, rule, &fallbacks);
        operation.stage = Stage::Reading { get, voters: Arc::clone(&voters) };
        let attempt = Attempt { op, number: operation.attempt };
        let hedge = self.now.monotonic + self.links.hedge_after();
        self.arm(&mut operation, hedge, Timer::Hedge(op, attempt.number));
        let key = operation.key.clone();
        let strict = !sloppy;
        self.operations.insert(op, operation);
        self.ask(attempt, &key, &voters, strict, asks);
        self.advance_read(op);
    }

    /// What a read attempt of this peer's own goes by, while it reads.
    pub(super) fn reading(&self, attempt: Attempt) -> Option<(VotersDigest, Partition, Key, bool)> {
        let operation = self.operations.get(&attempt.op).filter(|o| o.attempt == attempt.number)?;
        let Stage::Reading { voters, .. } = &operation.stage else { return None };
        let strict = !operation.task.is_sloppy();
        Some((voters.digest(), operation.partition, operation.key.clone(), strict))
    }

    fn ask(&mut self, attempt: Attempt, key: &Key, voters: &Voters, strict: bool, asks: Vec<Ask>) {
        let Some(ring) = self.ring() else { return };
        for ask in asks {
            let key = key.clone();
            match ask {
                Ask::Voter { peer, .. } if peer == self.me => {
                    self.read(ReadOp::Get { key }, AfterStore::OwnRead { attempt });
                }
                Ask::Hint { peer } if peer == self.me => {
                    self.read(ReadOp::Hint { key }, AfterStore::KeptHere { attempt });
                }
                Ask::Voter { peer, want } => {
                    let request = quorum::Request::Read { ring, voters: voters.digest(), key, want, strict };
                    let next = AfterRequest::Read { attempt };
                    self.request(peer, Request::Quorum(request), next);
                }
                Ask::Hint { peer } => {
                    let request = quorum::Request::Hint { ring, key };
                    self.request(peer, Request::Quorum(request), AfterRequest::Hint { attempt });
                }
            }
        }
    }

    // Lets `step` change a read attempt, and carries out what follows.
    fn step_read(
        &mut self,
        attempt: Attempt,
        lost: bool,
        step: impl FnOnce(&mut Get, &[PeerId]) -> Vec<Ask>,
    ) {
        let Some(mut operation) = self.take(attempt) else { return };
        let (key, sloppy) = (operation.key.clone(), operation.task.is_sloppy());
        let Stage::Reading { get, voters } = &mut operation.stage else {
            self.operations.insert(attempt.op, operation);
            return;
        };
        let voters = Arc::clone(voters);
        let fallbacks =
            if sloppy && lost { self.fallbacks(operation.partition, &voters) } else { Vec::new() };
        let asks = step(get, &fallbacks);
        self.operations.insert(attempt.op, operation);
        self.ask(attempt, &key, &voters, !sloppy, asks);
        self.advance_read(attempt.op);
    }

    /// A voter's word on a read.
    pub(super) fn on_read_word(&mut self, attempt: Attempt, peer: PeerId, word: Result<Answer, Lost>) {
        self.step_read(attempt, word.is_err(), |get, fallbacks| match word {
            Ok(answer) => get.on_answer(peer, answer),
            Err(lost) => get.on_lost(peer, lost == Lost::Stale, fallbacks),
        });
    }

    /// What a stand-in keeps of the key.
    pub(super) fn on_hint_word(&mut self, attempt: Attempt, peer: PeerId, hint: Result<Option<Record>, ()>) {
        self.step_read(attempt, true, |get, fallbacks| get.on_hint(peer, hint, fallbacks));
    }

    /// A read takes longer than usual; if it goes on, it is late.
    pub(super) fn on_hedge(&mut self, op: OpId, number: u32) {
        let attempt = Attempt { op, number };
        let Some(mut operation) = self.take(attempt) else { return };
        let late = self.now.monotonic + self.links.late_after();
        self.arm(&mut operation, late, Timer::Late(op, number));
        self.operations.insert(op, operation);
        self.step_read(attempt, false, |get, _| get.on_hedge());
    }

    pub(super) fn on_late_read(&mut self, attempt: Attempt) {
        let Some(Operation { stage: Stage::Reading { voters, .. }, .. }) = self.operations.get(&attempt.op)
        else {
            return;
        };
        let (_, late) = self.reachable(&Arc::clone(voters));
        self.step_read(attempt, true, |get, fallbacks| get.on_late(late, fallbacks));
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
            get::Outcome::Done { record, behind, answers, hinted } => {
                self.repair(&operation.key, &voters, &record, behind);
                self.on_read_done(op, operation, record, Heard { answers, hinted });
            }
        }
    }

    fn on_read_done(&mut self, op: OpId, operation: Operation, record: Record, heard: Heard) {
        match &operation.task {
            Task::Get { .. } => {
                let response = self.found(&operation.key, &record, heard.answers, heard.hinted);
                self.finish(op, operation, response);
            }
            Task::Undamage => {
                let key = operation.key.clone();
                if self.has_custody(operation.partition) {
                    self.write(WriteOp::Repair { key: key.clone(), record }, AfterStore::Undamage { key });
                } else {
                    self.undamaging.remove(&key);
                }
                self.finish(op, operation, Response::Failed(Failure::NotReady));
            }
            Task::Put(_) => self.on_read_for_put(op, operation, record, heard),
        }
    }

    fn on_read_for_put(&mut self, op: OpId, mut operation: Operation, record: Record, heard: Heard) {
        let Task::Put(put) = &mut operation.task else { return };
        // Also where nobody said that it is a retry: what supersedes its own first try loses both.
        let done_before = record.find_operation(&put.options.operation).is_some();
        let deletes = put.content == henge_types::Content::Tombstone;
        if deletes
            && !done_before
            && put.supersede.is_none()
            && record.live(self.now.unix_ms).next().is_none()
        {
            let context = self.context(&operation.key, record.clock());
            let (answers, hinted) = (count(heard.answers), count(heard.hinted));
            return self.finish(op, operation, Response::NotFound { context, answers, hinted });
        }
        // It may have been given up since the read began.
        let mine = put.standing_in.is_some() || self.has_custody(operation.partition);
        put.options.retry = done_before && !mine;
        put.supersede.get_or_insert_with(|| record.clock().clone());
        if done_before && mine {
            // It is a sibling somewhere, or was superseded: what is known of it goes to W
            // replicas, this one among them, and it is acknowledged.
            self.spread_again(op, operation, record);
        } else {
            self.operations.insert(op, operation);
            self.plan(op);
        }
    }

    // The coordinator's own answer counts as another replica's would: if the voters are still
    // those of the attempt.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    pub(super) fn on_own_read(&mut self, attempt: Attempt, result: StoreResult) {
        let Some((voters, partition, key, strict)) = self.reading(attempt) else { return };
        let word = match result {
            StoreResult::Record(_) if strict && !self.has_lease() => Err(Lost::Failed),
            StoreResult::Record(record) if self.sees(partition, voters) => Ok(Answer::from(record)),
            StoreResult::Record(_) => Err(Lost::Stale),
            StoreResult::Damaged => {
                self.on_damaged(&key);
                Err(Lost::Failed)
            }
            StoreResult::Failed(error) => {
                self.on_store_failed(error);
                Err(Lost::Failed)
            }
            other => {
                tracing::error!(?other, "a read was answered with something else");
                Err(Lost::Failed)
            }
        };
        self.on_read_word(attempt, self.me, word);
    }

    /// What this peer keeps itself of a key that it coordinates a read of.
    pub(super) fn on_kept_here(&mut self, attempt: Attempt, result: StoreResult) {
        if let Some((_, _, key, _)) = self.reading(attempt) {
            self.look_after_hint(key, self.me, &result);
        }
        let hint = if let StoreResult::Hint(hint) = result { Ok(hint) } else { Err(()) };
        self.on_hint_word(attempt, self.me, hint);
    }
}
