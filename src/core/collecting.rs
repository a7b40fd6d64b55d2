//! Collection carried out: what is dead here is brought before the other voters, and forgotten.

use std::time::Duration;

use henge_sync::{DEAD_MAX, Request as SyncRequest, Response as SyncResponse};
use henge_types::{Custody, Partition, PeerId, Voters, VotersDigest};

use super::Core;
use super::io::{ChannelId, Request, RequestFailure, Response};
use super::next::{AfterRequest, AfterStore, AfterSync, Timer};
use crate::collector::{Collector, Dead, Next};
use crate::store::{ReadOp, StoreResult, WriteOp};

/// Bytes of keys in one request.
const DEAD_MAX_BYTES: usize = 256 << 10;

impl Core {
    /// Looks into the next partitions for what is dead long enough.
    pub(super) fn collect(&mut self) {
        let Some(count) = self.member.as_ref().map(|m| m.ring.params.partitions()) else { return };
        let (partitions, again) = self.collector.look(count, self.config.gc_grace());
        self.wake_at(again, Timer::Collect);
        let Some(until_unix_ms) = self.dead_until().filter(|_| self.serves()) else { return };
        let mine = |p: &Partition| {
            let me = self.me;
            self.may_collect(*p)
                && self.voters(*p).is_some_and(|voters| Collector::collects(*p, &voters) == Some(me))
        };
        let partitions: Vec<Partition> = partitions.into_iter().filter(mine).collect();
        if !partitions.is_empty() {
            let op = ReadOp::Dead { count, partitions, until_unix_ms, max: DEAD_MAX };
            self.read(op, AfterStore::Dead);
        }
    }

    // Since when a record must be dead to go. None goes while a peer that was evicted may still be let in with
    // what was deleted since; by its own clock, so that a part of the time is added.
    fn dead_until(&self) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let grace = self.config.gc_grace();
        let evicted = self.membership.view().evictions().map(|(_, eviction)| eviction.issued_unix_ms()).max();
        let apart = millis(grace + grace / 4);
        let let_in = evicted.is_none_or(|at| at.saturating_add(apart) <= self.now.unix_ms);
        let_in.then(|| self.now.unix_ms.saturating_sub(millis(grace)))
    }

    // Whether all voters, this peer among them, own a partition and have all of it.
    fn may_collect(&mut self, partition: Partition) -> bool {
        let me = self.me;
        let Some(voters) = self.voters(partition) else { return false };
        let full = voters.as_slice().iter().all(|v| v.owner && v.custody == Custody::Full);
        full && voters.get(&me).is_some() && !self.is_closing(partition)
    }

    /// The dead records of some partitions.
    pub(super) fn on_dead(&mut self, result: StoreResult) {
        let Some(count) = self.member.as_ref().map(|m| m.ring.params.partitions()) else { return };
        let StoreResult::Dead(dead) = result else { return };
        let last = dead.last().filter(|_| dead.len() == DEAD_MAX).map(|(key, _)| key.position());
        if let Some(last) = last {
            self.collector.look_again(last.partition(count));
            self.wake_at(Duration::ZERO, Timer::Collect);
        }
        let mut dead = dead.into_iter().peekable();
        while let Some(partition) = dead.peek().map(|(key, _)| key.position().partition(count)) {
            let (mut here, mut bytes): (Dead, usize) = (Vec::new(), 0);
            while let Some(one) = dead.next_if(|(key, _)| key.position().partition(count) == partition) {
                bytes += one.0.as_bytes().len();
                if bytes <= DEAD_MAX_BYTES {
                    here.push(one);
                }
            }
            if self.collector.is_full() {
                self.collector.look_again(partition);
                return;
            }
            self.begin_collection(partition, here);
        }
    }

    fn begin_collection(&mut self, partition: Partition, dead: Dead) {
        let Some(voters) = self.voters(partition) else { return };
        let others = others(&voters, self.me);
        if !others.iter().all(|p| self.is_healthy(p)) || !self.may_collect(partition) {
            return;
        }
        if self.collector.begin(partition, self.me, &voters, dead.clone()) {
            self.ask_to_collect(partition, others, &dead, false);
            self.collect_here(partition, dead, false);
        }
    }

    fn ask_to_collect(&mut self, partition: Partition, peers: Vec<PeerId>, dead: &Dead, forget: bool) {
        let (Some(ring), Some(voters)) = (self.ring(), self.collector.voters(partition)) else { return };
        for peer in peers {
            let dead = dead.clone();
            let request = SyncRequest::Collect { ring, partition, voters, dead, forget };
            self.request(peer, Request::Sync(request), AfterRequest::Collect { partition });
        }
    }

    fn collect_here(&mut self, partition: Partition, dead: Dead, forget: bool) {
        let Some(until_unix_ms) = self.dead_until() else { return self.collector.abandon(partition) };
        let asker = Collects::Here { partition };
        self.write(WriteOp::Collect { dead, until_unix_ms, forget }, AfterStore::Collected { asker, forget });
    }

    /// Another voter told what it agrees to, or has forgotten.
    pub(super) fn on_collect_answer(
        &mut self,
        partition: Partition,
        peer: PeerId,
        result: Result<Response, RequestFailure>,
    ) {
        let agreed = match result {
            Ok(Response::Sync(SyncResponse::Collected { agreed })) => agreed,
            Ok(_) | Err(_) => Vec::new(),
        };
        self.on_agreed(partition, peer, &agreed);
    }

    fn on_agreed(&mut self, partition: Partition, peer: PeerId, agreed: &[bool]) {
        let voters = self.collector.voters(partition);
        match self.collector.on_answer(partition, peer, agreed) {
            Next::Wait | Next::Over => {}
            Next::Forget(dead) if voters.is_some_and(|v| self.sees(partition, v)) => {
                let others = self.voters(partition).map(|v| others(&v, self.me)).unwrap_or_default();
                self.ask_to_collect(partition, others, &dead, true);
            }
            // Somebody else is a voter by now, who may know more: nothing is forgotten.
            Next::Forget(_) => self.collector.abandon(partition),
            Next::ForgetHere(dead) => {
                if voters.is_some_and(|v| self.sees(partition, v)) {
                    self.collect_here(partition, dead, true);
                }
            }
        }
    }

    /// Another voter asks whether records may go, or has them go.
    pub(super) fn handle_collect(
        &mut self,
        channel: ChannelId,
        partition: Partition,
        voters: VotersDigest,
        dead: Dead,
        forget: bool,
    ) {
        let until = self.dead_until().filter(|_| self.may_collect(partition) && self.sees(partition, voters));
        let inside = dead.iter().all(|(key, _)| self.partition_of(key) == partition);
        match until {
            Some(until_unix_ms) if inside && dead.len() <= DEAD_MAX => {
                let asker = Collects::Answer { channel, partition, voters };
                let op = WriteOp::Collect { dead, until_unix_ms, forget };
                self.write(op, AfterStore::Collected { asker, forget });
            }
            Some(_) | None => self.answer_collect(channel, Vec::new()),
        }
    }

    fn answer_collect(&mut self, channel: ChannelId, agreed: Vec<bool>) {
        self.respond(channel, Response::Sync(SyncResponse::Collected { agreed }));
    }

    /// The store told which records may go. That counts once it is durable: what a crash takes back may be older.
    pub(super) fn on_collected(&mut self, asker: Collects, forget: bool, result: StoreResult) -> AfterSync {
        let agreed = if let StoreResult::Collected(agreed) = result { agreed } else { Vec::new() };
        if forget {
            self.stats.collected += agreed.iter().filter(|agreed| **agreed).count() as u64;
        }
        AfterSync::Collected { asker, forget, agreed }
    }

    pub(super) fn on_collected_durably(&mut self, asker: Collects, forget: bool, agreed: Vec<bool>) {
        match asker {
            Collects::Here { .. } if forget => {}
            Collects::Here { partition } => self.on_agreed(partition, self.me, &agreed),
            Collects::Answer { channel, partition, voters } => {
                let agreed = if self.sees(partition, voters) { agreed } else { Vec::new() };
                self.answer_collect(channel, agreed);
            }
        }
    }
}

fn others(voters: &Voters, me: PeerId) -> Vec<PeerId> {
    voters.as_slice().iter().map(|v| v.peer).filter(|p| *p != me).collect()
}

/// For whom the store looks what may go.
#[derive(Debug)]
pub(super) enum Collects {
    /// For this peer, which collects the partition.
    Here { partition: Partition },
    /// For another one.
    Answer { channel: ChannelId, partition: Partition, voters: VotersDigest },
}
