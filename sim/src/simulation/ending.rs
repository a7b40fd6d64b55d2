//! Phase 2: everything is healed, and within bounded time the ring must come to rest, be of one
//! mind, and still have everything that it promised.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use henge_client::{Get, Located, Member, MemberPhase, Request, Response, Status};
use henge_types::{Custody, Key, Record};

use super::{RESTART_AFTER, Simulation, Wake};
use crate::checker::{Kind, Violation};
use crate::features;
use crate::world::{Crash, Pid};

/// How long the ring may take to settle once everything is healed: a dial is tried again after 5 s
/// at the most, views are exchanged every 10 s or, in large rings, every ten heartbeats.
const SETTLE: Duration = Duration::from_secs(180);
/// How long all voters may take to come to one record …
const CONVERGE: Duration = Duration::from_secs(120);
/// … and for each member, as every peer compares what it has with one of them at a time: its interval.
const CONVERGE_EACH: Duration = Duration::from_secs(10);
/// How long what was begun may take to end.
const LEFTOVERS: Duration = Duration::from_secs(90);
/// How long it may take until what is dead is forgotten: evictions put it off by the whole time once more.
const COLLECT: Duration = Duration::from_secs(120);
/// How often it is looked whether it is so far.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Simulation<'_> {
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        self.heal()?;
        self.wait(SETTLE, Kind::Unsettled, Self::unsettled_because)?;
        self.same_placement()?;
        self.converge()?;
        self.nothing_in_limbo()?;
        self.dead_are_forgotten()?;
        self.wait(LEFTOVERS, Kind::Leftover, Self::leftover)
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.healing = true;
        let now = self.world.now();
        self.world.trace().tell(now, None, || "HEALING".to_owned());
        self.world.network().heal();
        for (at, planned) in self.scenario.faults.iter().enumerate() {
            if planned.at < now {
                // Those that ended already end once more, which is harmless, but for restarts.
                if matches!(planned.fault, crate::nemesis::Fault::FullDisk { .. })
                    && planned.at + planned.lasts < now
                {
                    continue;
                }
                let _ = at;
                crate::nemesis::end(&mut self.world, planned);
            }
        }
        // Who is down and could not be removed comes back after all.
        for pid in 0..self.world.len() {
            self.end_removal(pid);
        }
        for pid in self.staying() {
            self.world.wake_up(pid);
            // One that never joined may have been told only of peers that are gone: its operator starts it anew.
            if self.world.is_poisoned(pid) || !self.world.has_saved(pid) {
                self.world.crash(pid, Crash::Process);
            }
            self.wake_at(now + RESTART_AFTER, Wake::Start { pid });
        }
        // A peer that was told to stop may still be at it.
        let end = now + RESTART_AFTER * 20;
        while self.world.now() <= now + RESTART_AFTER
            || (self.world.now() < end && (0..self.world.len()).any(|pid| self.world.is_stopping(pid)))
        {
            self.run_until(self.world.now() + RESTART_AFTER)?;
        }
        for pid in 0..self.world.len() {
            if self.world.is_stopping(pid) {
                self.world.crash(pid, Crash::Process);
            }
            self.start(pid);
        }
        Ok(())
    }

    fn wait(
        &mut self,
        most: Duration,
        kind: Kind,
        because: fn(&mut Self) -> Option<String>,
    ) -> Result<(), Violation> {
        let end = self.world.now() + most;
        loop {
            self.replace_evicted();
            let Some(what) = because(self) else { return Ok(()) };
            if self.world.now() >= end {
                return Err(Violation { kind, key: None, what });
            }
            let next = self.world.now() + LOOK_EVERY;
            self.run_until(next)?;
        }
    }

    pub(super) fn status(&mut self, pid: Pid) -> Option<Status> {
        match self.world.ask(pid, &Request::Status)? {
            Response::Status(status) => Some(status),
            _ => None,
        }
    }

    fn unsettled_because(&mut self) -> Option<String> {
        if let Some(client) = self.clients.iter().position(|c| !c.is_idle()) {
            return Some(format!("client {client} still waits"));
        }
        let there = self.staying();
        let count = there.len();
        if let Some((pid, errand)) = self.errands.iter().find(|(pid, _)| !self.is_held(**pid)) {
            return Some(format!("p{pid} is still to {errand:?}"));
        }
        if let Some(pid) = there.iter().copied().find(|pid| !self.world.is_ready(*pid)) {
            let brief = self.status(pid).map(|s| {
                let member = |m: &Member| (self.world.pid(&m.peer), m.phase, m.full, m.part, m.connected);
                s.members.iter().map(member).collect::<Vec<_>>()
            });
            return Some(format!("p{pid} is not ready: {brief:?}"));
        }
        let mut first: Option<BTreeSet<_>> = None;
        for pid in there {
            let Some(mut status) = self.status(pid) else { return Some(format!("p{pid} has no status")) };
            status.members.retain(|m| m.phase != MemberPhase::Left);
            if let Some(hints) = self.world.hints(pid) {
                return Some(format!("p{pid} has hints: {hints}"));
            }
            let moving = |m: &&Member| features::TODAY.acquires_records && m.phase != MemberPhase::Settled;
            if let Some(m) = status.members.iter().find(moving) {
                let brief = (self.world.pid(&m.peer), m.phase, m.partitions, m.full, m.part);
                return Some(format!("p{pid} sees one on the move: {brief:?}"));
            }
            let lonely = status.members.iter().find(|m| !m.connected);
            if let Some(other) = lonely.and_then(|m| self.world.pid(&m.peer)) {
                return Some(format!("p{pid} is not connected to p{other}"));
            }
            let members: BTreeSet<_> =
                status.members.iter().map(|m| (m.peer, m.incarnation, m.full, m.part)).collect();
            if members.len() != count {
                return Some(format!("p{pid} knows {} of {count} members", members.len()));
            }
            if first.get_or_insert_with(|| members.clone()) != &members {
                return Some(format!("p{pid} sees other members than the first"));
            }
        }
        None
    }

    // One that was evicted for too long does not come back with what it has: its operator gives it an empty disk.
    fn replace_evicted(&mut self) {
        for pid in self.staying() {
            if self.world.is_evicted_for_good(pid) && self.world.is_running(pid) {
                self.world.crash(pid, Crash::Disk);
                let at = self.world.now() + RESTART_AFTER;
                self.wake_at(at, Wake::Start { pid });
            }
        }
    }

    // What is dead goes everywhere, and nothing comes back with it.
    fn dead_are_forgotten(&mut self) -> Result<(), Violation> {
        if self.scenario.gc_grace.is_none() {
            return Ok(());
        }
        self.wait(COLLECT, Kind::Leftover, Self::dead_left)?;
        for key in self.all_keys() {
            self.converge_key(&key)?;
        }
        Ok(())
    }

    fn dead_left(&mut self) -> Option<String> {
        for key in self.all_keys() {
            for pid in self.staying() {
                let record = self.world.record(pid, &key)?;
                if !record.is_empty() && record.dead_since().is_some() {
                    return Some(format!("p{pid} still has the dead record of {key}"));
                }
            }
        }
        None
    }

    fn locate(&mut self, pid: Pid, key: &Key) -> Option<Located> {
        match self.world.ask(pid, &Request::Locate { key: key.clone() })? {
            Response::Located(located) => Some(located),
            _ => None,
        }
    }

    fn locate_first(&mut self, key: &Key) -> Option<Located> {
        let first = self.staying().first().copied()?;
        self.locate(first, key)
    }

    // One of those that are in the ring.
    fn any(&mut self) -> Pid {
        let there = self.staying();
        let at = self.rng.index(there.len());
        there.get(at).copied().unwrap_or_default()
    }

    fn all_keys(&self) -> Vec<Key> {
        self.history.keys().cloned().collect()
    }

    // Invariant 6.
    fn same_placement(&mut self) -> Result<(), Violation> {
        for key in self.all_keys() {
            let first = self.locate_first(&key);
            for pid in self.staying() {
                let here = self.locate(pid, &key);
                if here != first {
                    let what = format!("p{pid} sees {here:?}, the first sees {first:?}");
                    return Err(Violation { kind: Kind::Placement, key: Some(key), what });
                }
            }
        }
        Ok(())
    }

    // Invariant 2.
    fn converge(&mut self) -> Result<(), Violation> {
        for key in self.all_keys() {
            if self.only_in_part(&key) {
                self.judge_stores(&key)?;
            } else {
                self.converge_key(&key)?;
            }
        }
        Ok(())
    }

    fn only_in_part(&mut self, key: &Key) -> bool {
        let located = self.locate_first(key);
        !features::TODAY.acquires_records
            && located.is_some_and(|l| l.voters.iter().all(|v| v.custody != Custody::Full))
    }

    fn judge_stores(&mut self, key: &Key) -> Result<(), Violation> {
        let mut all = Record::new();
        for pid in self.staying() {
            if let Some(record) = self.world.record(pid, key) {
                all.merge(&record);
            }
        }
        let values: Vec<Bytes> = all.live(u64::MAX).map(|(_, value)| value.clone()).collect();
        self.checker().judge_final(key, &values, self.world.now())
    }

    fn converge_key(&mut self, key: &Key) -> Result<(), Violation> {
        let members = u32::try_from(self.staying().len()).unwrap_or(u32::MAX);
        let end = self.world.now() + CONVERGE + CONVERGE_EACH * members;
        loop {
            let read = if features::TODAY.anti_entropy && self.apart(key).is_some() {
                Err("its voters differ".to_owned())
            } else {
                self.read_all(key)?
            };
            let apart = self.apart(key);
            match (read, apart) {
                (Ok(values), None) => {
                    self.checker().judge_final(key, &values, self.world.now())?;
                    return self.reads_the_same(key, &values);
                }
                (Err(why), _) | (_, Some(why)) if self.world.now() >= end => {
                    return Err(Self::diverged(key, why));
                }
                (_, _) => {
                    let next = self.world.now() + LOOK_EVERY;
                    self.run_until(next)?;
                }
            }
        }
    }

    // Once the voters agree, a sloppy get finds nothing else.
    fn reads_the_same(&mut self, key: &Key, values: &[Bytes]) -> Result<(), Violation> {
        let pid = self.any();
        let found = self.read(pid, key, None, false)?.map(sorted);
        if found == Ok(sorted(values.to_vec())) {
            return Ok(());
        }
        Err(Self::diverged(key, format!("its voters agree, and a sloppy get at p{pid} finds {found:?}")))
    }

    // Reads a key from all its voters, and lets the repairs arrive.
    fn read_all(&mut self, key: &Key) -> Result<Result<Vec<Bytes>, String>, Violation> {
        let pid = self.any();
        let Some(located) = self.locate(pid, key) else { return Ok(Err(format!("p{pid} cannot locate it"))) };
        let voters: Vec<_> =
            located.voters.iter().map(|v| (self.world.pid(&v.peer), v.owner, v.custody)).collect();
        let read = self.read(pid, key, u8::try_from(voters.len()).ok(), true)?;
        Ok(read.map_err(|why| format!("{why}, of all voters {voters:?}")))
    }

    fn read(
        &mut self,
        pid: Pid,
        key: &Key,
        quorum: Option<u8>,
        strict: bool,
    ) -> Result<Result<Vec<Bytes>, String>, Violation> {
        let timeout_ms = u32::try_from(READ_TIMEOUT.as_millis()).unwrap_or(5000);
        let get = Request::Get(Get { key: key.clone(), quorum, strict, timeout_ms });
        let Some(call) = self.world.call(pid, &get) else { return Ok(Err(format!("p{pid} is down"))) };
        let end = self.world.now() + READ_TIMEOUT * 2;
        while self.world.now() < end {
            if let Some(response) = self.world.take_reply(call) {
                return Ok(match response {
                    Some(Response::Found { siblings, .. }) => {
                        Ok(siblings.into_iter().map(|s| s.value).collect())
                    }
                    Some(Response::NotFound { .. }) => Ok(Vec::new()),
                    other => Err(format!("p{pid} answers a read: {other:?}")),
                });
            }
            let _ = self.world.step();
            if let Some(what) = self.world.failure() {
                return Err(Violation { kind: Kind::Contract, key: Some(key.clone()), what });
            }
        }
        Ok(Err(format!("p{pid} does not answer a read")))
    }

    // Which voters of a key do not have the same record.
    fn apart(&mut self, key: &Key) -> Option<String> {
        let located = self.locate_first(key)?;
        let mut first = None;
        for voter in &located.voters {
            let Some(pid) = self.world.pid(&voter.peer) else { continue };
            let Some(record) = self.world.record(pid, key) else {
                return Some(format!("the record of p{pid} is damaged"));
            };
            let digest = record.digest();
            let (other, same) = *first.get_or_insert((pid, digest));
            if same != digest {
                return Some(format!("p{pid} and p{other} have different records"));
            }
        }
        None
    }

    // Nobody without custody has records.
    fn nothing_in_limbo(&mut self) -> Result<(), Violation> {
        for key in self.all_keys() {
            let Some(located) = self.locate_first(&key) else { continue };
            for pid in 0..self.world.len() {
                // What was removed and is not back keeps what it has.
                if self.is_held(pid) && !self.has_left(pid) {
                    continue;
                }
                let has = self.world.record(pid, &key).is_none_or(|r| !r.is_empty());
                let id = self.world.id(pid);
                let votes = located.voters.iter().any(|v| Some(v.peer) == id && v.custody != Custody::None);
                if has && !votes {
                    let what = format!("p{pid} has a record, and no custody of it");
                    return Err(Violation { kind: Kind::Limbo, key: Some(key), what });
                }
            }
        }
        Ok(())
    }

    fn leftover(&mut self) -> Option<String> {
        let there: Vec<Pid> =
            (0..self.world.len()).filter(|pid| !self.is_held(*pid) || self.has_left(*pid)).collect();
        let left = self.world.leftovers(&there);
        if !left.is_empty() {
            return Some(left.join("; "));
        }
        for pid in self.staying() {
            let status = self.status(pid)?;
            let busy = |name: &str| {
                let own = status.counters.iter().find(|(n, _)| n == name);
                own.map_or(0, |(_, count)| *count)
            };
            for name in ["operations_in_flight", "store_ops_in_flight"] {
                if busy(name) > 0 {
                    return Some(format!("p{pid} has {} {name}", busy(name)));
                }
            }
        }
        None
    }
}

fn sorted(mut values: Vec<Bytes>) -> Vec<Bytes> {
    values.sort_unstable();
    values
}
