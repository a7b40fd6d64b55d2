//! A put at a peer that is no replica: it goes to one, or to a fallback where none can be reached.

use henge_client::{Failure, Hop, Response};
use henge_types::{Custody, PeerId, Voters};

use super::Core;
use super::io::{Request, RequestFailure};
use super::next::{AfterRequest, Attempt, OpId, Timer};
use super::operations::{Operation, Stage, Task};

/// Looks, [`Links::late_after`](crate::links::Links::late_after) apart, at a peer that runs an
/// operation for this one, before another is asked: it may itself wait for others that are late.
const LOOKS_MAX: u8 = 3;

impl Core {
    /// Hands `op` on: this peer cannot write it, neither as a voter nor in the place of one.
    pub(super) fn forward_on(&mut self, op: OpId, mut operation: Operation) {
        if let Task::Put(put) = &mut operation.task
            && put.standing_in.take().is_some()
            && put.options.hop != Hop::Client
        {
            return self.finish(op, operation, Response::Failed(Failure::NotReplica));
        }
        match self.voters(operation.partition) {
            Some(voters) => self.forward(op, operation, &voters),
            None => self.finish(op, operation, Response::Failed(Failure::NotReady)),
        }
    }

    /// Hands `op` to the nearest voter that was not tried; where none can be reached, and stand-ins
    /// may count, to the first of those. That can be this peer itself.
    pub(super) fn forward(&mut self, op: OpId, mut operation: Operation, voters: &Voters) {
        let Task::Put(put) = &operation.task else { return };
        let strict = put.options.strict;
        match put.options.hop {
            Hop::StandIn if !strict => return self.stand_in(op, operation, voters),
            Hop::Forwarded | Hop::StandIn => {
                return self.finish(op, operation, Response::Failed(Failure::NotReplica));
            }
            Hop::Client => {}
        }
        let me_voted = put.applied;
        let candidates = self.coordinators(&operation, voters, strict);
        let Task::Put(put) = &mut operation.task else { return };
        let next = candidates.into_iter().find(|(p, _)| !put.forwarded.contains(p));
        let Some((peer, hop)) = next else {
            let Some(params) = self.member.as_ref().map(|m| m.ring.params) else { return };
            let needed = voters.write_need(&params, put.options.quorum.map(usize::from));
            return self.fail_attempt(op, operation, (needed, 0), false);
        };
        if peer == self.me {
            put.forwarded.insert(peer);
            return self.stand_in(op, operation, voters);
        }
        let left = operation.deadline.saturating_sub(self.now.monotonic);
        let request = put.request(&operation.key, left, hop, me_voted);
        put.forwarded.insert(peer);
        operation.stage = Stage::Forwarded { to: peer, looks: 0 };
        let attempt = Attempt { op, number: operation.attempt };
        let late = self.now.monotonic + self.links.late_after();
        self.arm(&mut operation, late, Timer::Late(op, attempt.number));
        self.operations.insert(op, operation);
        self.request_within(peer, Request::Client(request), AfterRequest::Forward { attempt }, left);
    }

    // Who may run a put, the best first: healthy voters, then stand-ins, then voters that are late.
    fn coordinators(&mut self, operation: &Operation, voters: &Voters, strict: bool) -> Vec<(PeerId, Hop)> {
        let has_custody = |p: &PeerId| voters.get(p).is_some_and(|v| v.custody != Custody::None);
        let (order, late) = self.reachable(voters);
        let reachable = order.into_iter().filter(|p| *p != self.me && has_custody(p));
        let (slow, healthy): (Vec<PeerId>, Vec<PeerId>) = reachable.partition(|p| late.contains(p));
        let fallbacks =
            if strict { Vec::new() } else { self.fallbacks_if_needed(operation.partition, voters) };
        let to_voters = |peers: Vec<PeerId>| peers.into_iter().map(|p| (p, Hop::Forwarded));
        to_voters(healthy)
            .chain(fallbacks.into_iter().map(|p| (p, Hop::StandIn)))
            .chain(to_voters(slow))
            .collect()
    }

    // Runs `op` in the place of a voter that is away, or of the last one if none is in this peer's
    // eyes.
    fn stand_in(&mut self, op: OpId, mut operation: Operation, voters: &Voters) {
        let away = voters.as_slice().iter().find(|v| !self.is_healthy(&v.peer));
        let Some(primary) = away.or(voters.as_slice().last()).map(|v| v.peer) else {
            return self.finish(op, operation, Response::Failed(Failure::NotReady));
        };
        if let Task::Put(put) = &mut operation.task {
            put.standing_in = Some(primary);
            // Whoever it was handed to before may have begun it.
            put.options.retry |= put.forwarded.iter().any(|p| *p != self.me);
        }
        self.go_on(op, operation, std::sync::Arc::new(voters.clone()));
    }

    /// The replica that an operation was handed to takes long: another one is asked, at once if
    /// the first is not well.
    pub(super) fn on_late_forward(&mut self, attempt: Attempt) {
        let Some(mut operation) = self.take(attempt) else { return };
        let Stage::Forwarded { to, looks } = &mut operation.stage else {
            self.operations.insert(attempt.op, operation);
            return;
        };
        *looks += 1;
        let (to, looks) = (*to, *looks);
        if looks < LOOKS_MAX && self.is_healthy(&to) {
            let late = self.now.monotonic + self.links.late_after();
            self.arm(&mut operation, late, Timer::Late(attempt.op, attempt.number));
            self.operations.insert(attempt.op, operation);
            return;
        }
        let others = match self.voters(operation.partition) {
            Some(voters) => {
                let strict = !operation.task.is_sloppy();
                let tried = operation.task.forwarded();
                self.coordinators(&operation, &voters, strict).iter().any(|(p, _)| !tried.contains(p))
            }
            None => false,
        };
        self.operations.insert(attempt.op, operation);
        // With nobody else to ask it goes on waiting.
        if others {
            self.plan(attempt.op);
        }
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
