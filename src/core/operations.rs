//! Client operations: from the request to the reply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use henge_client::{Failure, Hop, Request, Response, Supersede, TIMEOUT_MAX_MS, Value, WriteOptions};
use henge_types::limits::VALUE_MAX_BYTES;
use henge_types::{Clock, Content, Context, Custody, Key, Partition, PeerId, Record, Voters};

use super::Core;
use super::io::{ChannelId, CommandId, Output};
use super::next::{Attempt, OpId, Timer};
use crate::coordinator::get::Get;
use crate::coordinator::put::Replication;

/// Client operations under way at one peer. Beyond, they are refused as overloaded.
pub(super) const OPERATIONS_MAX: usize = 4096;

/// Who asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// A client, or a peer that forwards for one.
    Channel(ChannelId),
    /// The embedding program.
    Command(CommandId),
    /// The core: a damaged key is to be repaired. Nobody is answered.
    Core,
}

/// One operation under way.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) origin: Origin,
    pub(super) key: Key,
    pub(super) partition: Partition,
    pub(super) deadline: Duration,
    /// The timer that it has beside its deadline.
    pub(super) alarm: Option<(Duration, Timer)>,
    /// Counts the attempts; answers to earlier ones are dropped.
    pub(super) attempt: u32,
    pub(super) task: Task,
    pub(super) stage: Stage,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// Read the key.
    Get { quorum: Option<usize>, strict: bool },
    /// Write the key.
    Put(Box<PutTask>),
    /// Read what the other replicas have of a damaged key.
    Undamage,
}

/// A put or delete.
#[derive(Debug)]
pub(super) struct PutTask {
    pub(super) content: Content,
    pub(super) ttl_ms: Option<u64>,
    pub(super) options: WriteOptions,
    /// What it supersedes, once that is known.
    pub(super) supersede: Option<Clock>,
    /// Whether the local store has been asked to apply it: from then on it may appear.
    pub(super) applied: bool,
    /// The merged record, once the local store has applied the write.
    pub(super) record: Option<Record>,
    /// Whether the local store has that durably.
    pub(super) synced: bool,
    /// The voter that this peer stands in for, where it is none itself.
    pub(super) standing_in: Option<PeerId>,
    /// Peers that it was forwarded to.
    pub(super) forwarded: BTreeSet<PeerId>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for the view to change, or for its next attempt.
    Waiting,
    /// Reads from a quorum.
    Reading { get: Get, voters: Arc<Voters> },
    /// The local store applies the write.
    Updating,
    /// The record is on its way to the voters.
    Replicating(Replication),
    /// Another peer runs it; `looks` counts how often it was found to take long.
    Forwarded { to: PeerId, looks: u8 },
}

impl Core {
    /// A client, a peer that forwards, or the embedding program asks.
    pub(super) fn handle_client_request(&mut self, origin: Origin, request: Request) {
        match request {
            Request::Status => {
                let status = self.status();
                self.reply(origin, Response::Status(status));
            }
            Request::Leave => {
                let response = self.leave();
                self.reply(origin, response);
            }
            Request::Remove { peer, force } => {
                let response = self.remove(peer, force);
                self.reply(origin, response);
            }
            Request::Weight { weight } => self.reweigh(origin, weight),
            Request::Repair { partition } => {
                let response = self.begin_repair(partition);
                self.reply(origin, response);
            }
            Request::RepairProgress { id } => self.reply(origin, self.repair_progress(id)),
            Request::Snapshot { begin } => self.handle_snapshot_request(origin, begin),
            Request::Locate { key } => {
                let response = match self.locate(&key) {
                    Some(located) => Response::Located(located),
                    None => Response::Failed(Failure::NotReady),
                };
                self.reply(origin, response);
            }
            Request::Get(get) => {
                let task = Task::Get { quorum: get.quorum.map(usize::from), strict: get.strict };
                let valid = check(get.timeout_ms, get.quorum);
                self.begin(origin, get.key, get.timeout_ms, valid, task);
            }
            Request::Put { key, value, ttl_ms, options } => {
                let valid = check_value(&value, ttl_ms).and_then(|()| check_write(&options));
                self.begin_write(origin, key, Content::Value(value), ttl_ms, options, valid);
            }
            Request::Delete { key, options } => {
                let valid = check_write(&options);
                self.begin_write(origin, key, Content::Tombstone, None, options, valid);
            }
        }
    }

    fn begin_write(
        &mut self,
        origin: Origin,
        key: Key,
        content: Content,
        ttl_ms: Option<u64>,
        options: WriteOptions,
        valid: Result<(), Failure>,
    ) {
        let supersede = valid.and_then(|()| self.supersede(&key, &options.supersede));
        let (valid, supersede) = match supersede {
            Ok(clock) => (Ok(()), clock),
            Err(failure) => (Err(failure), None),
        };
        let timeout = options.timeout_ms;
        let task = Task::Put(Box::new(PutTask {
            content,
            ttl_ms,
            options,
            supersede,
            applied: false,
            record: None,
            synced: false,
            standing_in: None,
            forwarded: BTreeSet::new(),
        }));
        self.begin(origin, key, timeout, valid, task);
    }

    // What a write supersedes, where that is known without a read.
    fn supersede(&self, key: &Key, supersede: &Supersede) -> Result<Option<Clock>, Failure> {
        let member = self.member.as_ref().ok_or(Failure::NotReady)?;
        match supersede {
            Supersede::Context(context) => {
                let clock = context.open(member.ring.ring, &member.ring.secret, key)?;
                Ok(Some(clock))
            }
            Supersede::Current => Ok(None),
            Supersede::Blind => Ok(Some(Clock::new())),
        }
    }

    pub(super) fn begin(
        &mut self,
        origin: Origin,
        key: Key,
        timeout_ms: u32,
        valid: Result<(), Failure>,
        task: Task,
    ) {
        let admitted = valid.and_then(|()| self.admit());
        let partition = match admitted {
            Ok(count) => key.position().partition(count),
            Err(failure) => return self.reply(origin, Response::Failed(failure)),
        };
        let deadline = self.now.monotonic + Duration::from_millis(timeout_ms.into());
        let op = OpId(self.ids.next());
        self.timers.insert((deadline, Timer::Deadline(op)));
        let operation = Operation {
            origin,
            key,
            partition,
            deadline,
            alarm: None,
            attempt: 0,
            task,
            stage: Stage::Waiting,
        };
        self.operations.insert(op, operation);
        self.plan(op);
    }

    fn admit(&self) -> Result<henge_types::PartitionCount, Failure> {
        // One that has given up everything begins nothing: its clients go elsewhere.
        let serves = self.serves() && !self.is_parting();
        let member = self.member.as_ref().filter(|_| serves).ok_or(Failure::NotReady)?;
        if self.operations.len() >= OPERATIONS_MAX {
            return Err(Failure::Overloaded);
        }
        Ok(member.ring.params.partitions())
    }

    /// Begins a new attempt of `op` under the present voters.
    pub(super) fn plan(&mut self, op: OpId) {
        let Some(mut operation) = self.operations.remove(&op) else { return };
        operation.attempt += 1;
        let Some(voters) = self.voters(operation.partition) else {
            return self.finish(op, operation, Response::Failed(Failure::NotReady));
        };
        let mine = voters.get(&self.me).is_some_and(|v| v.custody != Custody::None);
        let me_votes = mine && !self.is_closing(operation.partition);
        match &operation.task {
            Task::Get { .. } | Task::Undamage => self.plan_read(op, operation, voters),
            // What this peer wrote as a stand-in it goes on with as one.
            Task::Put(put) if put.standing_in.is_some() && (put.applied || !me_votes) => {
                self.go_on(op, operation, voters);
            }
            Task::Put(_) if !me_votes => self.forward(op, operation, &voters),
            Task::Put(_) => {
                if let Task::Put(put) = &mut operation.task {
                    put.standing_in = None;
                }
                self.go_on(op, operation, voters);
            }
        }
    }

    /// Runs a put here: reads what it supersedes, writes it, replicates it.
    pub(super) fn go_on(&mut self, op: OpId, operation: Operation, voters: Arc<Voters>) {
        match &operation.task {
            Task::Put(put) if put.record.is_some() => self.plan_replication(op, operation, &voters),
            Task::Put(put) if put.supersede.is_some() && !put.options.retry => {
                self.plan_update(op, operation);
            }
            Task::Put(_) | Task::Get { .. } | Task::Undamage => self.plan_read(op, operation, voters),
        }
    }

    /// Sets the one timer that an operation has beside its deadline.
    pub(super) fn arm(&mut self, operation: &mut Operation, at: Duration, timer: Timer) {
        if let Some(old) = operation.alarm.replace((at, timer)) {
            self.timers.remove(&old);
        }
        self.timers.insert((at, timer));
    }

    /// An attempt takes too long: whoever does not answer is done without, if possible. That is looked at
    /// again and again: those who were asked instead may take as long.
    pub(super) fn on_late(&mut self, op: OpId, number: u32) {
        let attempt = Attempt { op, number };
        let Some(operation) = self.operations.get(&op).filter(|o| o.attempt == number) else { return };
        match &operation.stage {
            Stage::Reading { .. } => self.on_late_read(attempt),
            Stage::Replicating(_) => self.on_late_write(attempt),
            Stage::Forwarded { .. } => return self.on_late_forward(attempt),
            Stage::Waiting | Stage::Updating => return,
        }
        if let Some(mut operation) = self.take(attempt) {
            let late = self.now.monotonic + self.links.late_after();
            self.arm(&mut operation, late, Timer::Late(op, number));
            self.operations.insert(op, operation);
        }
    }

    /// `peer` may be gone: what waits for it goes on without, if possible.
    pub(super) fn on_doubt(&mut self, peer: PeerId) {
        let theirs = self.requests.values().filter(|(asked, ..)| *asked == peer);
        let attempts: BTreeSet<Attempt> = theirs.filter_map(|(_, next, _)| next.attempt()).collect();
        for attempt in attempts {
            self.on_late(attempt.op, attempt.number);
        }
    }

    /// `op` is over: the caller took it out of the table.
    pub(super) fn finish(&mut self, op: OpId, operation: Operation, response: Response) {
        self.timers.remove(&(operation.deadline, Timer::Deadline(op)));
        if let Some(alarm) = operation.alarm {
            self.timers.remove(&alarm);
        }
        self.reply(operation.origin, response);
    }

    /// An attempt failed. Where some voter sees other voters, another attempt follows soon; else it is
    /// over.
    pub(super) fn fail_attempt(
        &mut self,
        op: OpId,
        mut operation: Operation,
        (needed, got): (usize, usize),
        stale: bool,
    ) {
        if stale {
            operation.stage = Stage::Waiting;
            let again = Timer::Replan(op, operation.attempt);
            self.timers.insert((self.now.monotonic + super::REPLAN_AFTER, again));
            self.operations.insert(op, operation);
            return;
        }
        let (needed, got) = (count(needed), count(got));
        self.finish(op, operation, Response::Failed(Failure::Unavailable { needed, got }));
    }

    pub(super) fn on_deadline(&mut self, op: OpId) {
        let Some(operation) = self.operations.remove(&op) else { return };
        let need = |core: &mut Self| {
            let params = core.member.as_ref().map(|m| m.ring.params);
            let voters = core.voters(operation.partition);
            params.zip(voters)
        };
        let failure = match (&operation.task, &operation.stage) {
            (Task::Put(_), Stage::Replicating(replication)) => {
                let (needed, got) = replication.count();
                Failure::Unknown { needed: count(needed), got: count(got) }
            }
            (Task::Put(put), _) => {
                let quorum = put.options.quorum.map(usize::from);
                let needed = need(self).map_or(0, |(params, voters)| voters.write_need(&params, quorum));
                if put.applied || !put.forwarded.is_empty() {
                    Failure::Unknown { needed: count(needed), got: 0 }
                } else {
                    Failure::Unavailable { needed: count(needed), got: 0 }
                }
            }
            (Task::Get { .. } | Task::Undamage, Stage::Reading { get, .. }) => {
                let (needed, got) = get.count();
                Failure::Unavailable { needed: count(needed), got: count(got) }
            }
            (Task::Get { .. } | Task::Undamage, _) => {
                let needed = need(self).map_or(0, |(params, voters)| voters.read_need(&params, None).answers);
                Failure::Unavailable { needed: count(needed), got: 0 }
            }
        };
        if matches!(operation.task, Task::Undamage) {
            self.undamaging.remove(&operation.key);
        }
        self.finish(op, operation, Response::Failed(failure));
    }

    /// The view changed: what waits for that is planned again.
    pub(super) fn replan_waiting(&mut self) {
        let waiting: Vec<OpId> = self
            .operations
            .iter()
            .filter(|(_, o)| matches!(o.stage, Stage::Waiting))
            .map(|(op, _)| *op)
            .collect();
        for op in waiting {
            self.plan(op);
        }
    }

    pub(super) fn on_replan(&mut self, op: OpId, attempt: u32) {
        let waits = |o: &Operation| o.attempt == attempt && matches!(o.stage, Stage::Waiting);
        if self.operations.get(&op).is_some_and(waits) {
            self.plan(op);
        }
    }

    /// Takes the operation of an answer out of the table, unless the answer is to an earlier attempt.
    pub(super) fn take(&mut self, attempt: Attempt) -> Option<Operation> {
        let current = self.operations.get(&attempt.op).is_some_and(|o| o.attempt == attempt.number);
        if current { self.operations.remove(&attempt.op) } else { None }
    }

    pub(super) fn reply(&mut self, origin: Origin, response: Response) {
        match origin {
            Origin::Channel(channel) => {
                let response = super::io::Response::Client(response);
                self.outputs.push_back(Output::Respond { channel, response });
            }
            Origin::Command(command) => self.outputs.push_back(Output::Reply { command, response }),
            Origin::Core => {}
        }
    }

    /// The values of `record` as a reply, or that there are none.
    pub(super) fn found(&self, key: &Key, record: &Record, answers: usize, hinted: usize) -> Response {
        let context = self.context(key, record.clock());
        let value = |(s, bytes): (&henge_types::Sibling, &Bytes)| Value {
            value: bytes.clone(),
            written_at: s.written_at,
            expires_at: s.expires_at,
        };
        let siblings: Vec<Value> = record.live(self.now.unix_ms).map(value).collect();
        let (answers, hinted) = (count(answers), count(hinted));
        if siblings.is_empty() {
            Response::NotFound { context, answers, hinted }
        } else {
            Response::Found { context, siblings, answers, hinted }
        }
    }

    pub(super) fn context(&self, key: &Key, clock: &Clock) -> Context {
        match &self.member {
            Some(member) => Context::seal(member.ring.ring, &member.ring.secret, key, clock),
            // No operation gets here before its peer is a member.
            None => {
                Context::seal(henge_types::RingId([0; 16]), &henge_types::RingSecret([0; 32]), key, clock)
            }
        }
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn check(timeout_ms: u32, quorum: Option<u8>) -> Result<(), Failure> {
    if !(1..=TIMEOUT_MAX_MS).contains(&timeout_ms) {
        let reason = format!("a timeout of {timeout_ms} ms: use 1 to {TIMEOUT_MAX_MS}");
        return Err(Failure::BadRequest { reason });
    }
    if quorum == Some(0) {
        return Err(Failure::BadRequest { reason: "a quorum of 0: use 1 or more".to_owned() });
    }
    Ok(())
}

fn check_write(options: &WriteOptions) -> Result<(), Failure> {
    check(options.timeout_ms, options.quorum)
}

fn check_value(value: &Bytes, ttl_ms: Option<u64>) -> Result<(), Failure> {
    if value.len() > VALUE_MAX_BYTES {
        return Err(Failure::ValueTooLarge { bytes: value.len() as u64 });
    }
    if ttl_ms == Some(0) {
        return Err(Failure::BadRequest { reason: "a time to live of 0 ms: use 1 or more".to_owned() });
    }
    Ok(())
}

impl Task {
    /// Whether stand-ins count.
    pub(super) fn is_sloppy(&self) -> bool {
        match self {
            Self::Get { strict, .. } => !strict,
            Self::Put(put) => !put.options.strict,
            Self::Undamage => false,
        }
    }

    /// The peers that were asked to run it.
    pub(super) fn forwarded(&self) -> BTreeSet<PeerId> {
        match self {
            Self::Put(put) => put.forwarded.clone(),
            Self::Get { .. } | Self::Undamage => BTreeSet::new(),
        }
    }
}

impl PutTask {
    /// The request with which another peer is asked to run it. `tried`: this peer may have left traces
    /// of it already.
    pub(super) fn request(&self, key: &Key, timeout: Duration, hop: Hop, tried: bool) -> Request {
        let options = WriteOptions {
            hop,
            retry: self.options.retry || tried || !self.forwarded.is_empty(),
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(TIMEOUT_MAX_MS).max(1),
            ..self.options.clone()
        };
        match &self.content {
            Content::Value(value) => {
                Request::Put { key: key.clone(), value: value.clone(), ttl_ms: self.ttl_ms, options }
            }
            Content::Tombstone => Request::Delete { key: key.clone(), options },
        }
    }
}
