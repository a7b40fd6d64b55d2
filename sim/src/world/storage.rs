//! Between a core and its disk.

use std::time::Duration;

use henge::core::Input;
use henge::store::worker::Durability;
use henge::store::{ReadOp, StoreOp, StoreResult, Ticket, WriteOp};
use henge_types::Applied;

use super::{Event, Pid, World};

/// How often a disk under [`Durability::Interval`] is synced.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn store(&mut self, pid: Pid, ticket: Ticket, op: StoreOp) {
        let Some(peer) = self.peers.get_mut(pid) else { return };
        let (life, delay) = (peer.life, peer.disk.access_time());
        match op {
            StoreOp::Read(op) => self.push_after(delay, Event::Read { pid, life, ticket, op }),
            StoreOp::Write(op) => {
                if peer.disk.queue(ticket, op) {
                    self.push_after(delay, Event::Write { pid, life });
                }
            }
        }
    }

    pub(super) fn on_read(&mut self, pid: Pid, life: u32, ticket: Ticket, op: &ReadOp) {
        let Some(peer) = self.alive(pid, life) else { return };
        let result = peer.disk.read(op);
        self.trace.note(self.now, pid, b'r', &ticket.0.to_be_bytes());
        self.feed(pid, Input::Stored { ticket, result, durable: true });
    }

    pub(super) fn on_write(&mut self, pid: Pid, life: u32) {
        let Some(peer) = self.alive(pid, life) else { return };
        let written = peer.disk.write();
        for (ticket, op, result, durable) in written.results {
            self.trace.note(self.now, pid, b'w', &ticket.0.to_be_bytes());
            self.observe(pid, &op, &result);
            let (result, durable) = self.seam.stored(&op, result, durable);
            if self.alive(pid, life).is_none() {
                return;
            }
            self.feed(pid, Input::Stored { ticket, result, durable });
        }
        let Some(peer) = self.alive(pid, life) else { return };
        match written.sync {
            Some(through) => {
                let delay = peer.disk.sync_time();
                self.push_after(delay, Event::Sync { pid, life, through });
            }
            None => self.write_on(pid, life),
        }
    }

    pub(super) fn on_sync(&mut self, pid: Pid, life: u32, through: Ticket) {
        let Some(peer) = self.alive(pid, life) else { return };
        let synced = peer.disk.sync();
        self.trace.note(self.now, pid, b's', &through.0.to_be_bytes());
        match synced {
            Ok(()) => self.feed(pid, Input::Durable { through }),
            Err(error) => self.feed(pid, Input::Poisoned(error)),
        }
        self.write_on(pid, life);
    }

    fn write_on(&mut self, pid: Pid, life: u32) {
        let Some(peer) = self.alive(pid, life) else { return };
        if peer.disk.rest() {
            let delay = peer.disk.access_time();
            self.push_after(delay, Event::Write { pid, life });
        }
    }

    pub(super) fn on_tick(&mut self, pid: Pid, life: u32) {
        let Some(peer) = self.alive(pid, life) else { return };
        if peer.disk.durability() == Durability::Interval && peer.disk.is_dirty() {
            // Nobody waits for it; a failure shows at the next write.
            let _ = peer.disk.sync();
        }
        self.push_after(SYNC_INTERVAL, Event::Tick { pid, life });
    }

    fn observe(&mut self, pid: Pid, op: &WriteOp, result: &StoreResult) {
        match (op, result) {
            (
                WriteOp::Update { key, write } | WriteOp::UpdateHint { key, write, .. },
                StoreResult::Updated { applied: Applied::Written, .. },
            ) => {
                self.trace.tell(self.now, Some(key), || {
                    format!(
                        "p{pid} {key} applies {:?} as {} over {:?}",
                        write.operation, write.dot, write.supersede
                    )
                });
                if let Err(reused) = self.facts.on_applied(key, write.operation, write.dot) {
                    self.fail(reused);
                }
            }
            (
                WriteOp::Merge { key, record, .. }
                | WriteOp::Repair { key, record }
                | WriteOp::MergeHint { key, record, .. },
                result,
            ) => {
                self.trace.tell(self.now, Some(key), || {
                    let siblings: Vec<String> =
                        record.siblings().iter().map(|s| format!("{:?}@{}", s.operation, s.dot)).collect();
                    format!("p{pid} {key} merges [{}] {:?}: {result:?}", siblings.join(" "), record.clock())
                });
            }
            (WriteOp::Collect { dead, forget, .. }, StoreResult::Collected(agreed)) => {
                for ((key, digest), _) in dead.iter().zip(agreed).filter(|(_, agreed)| **agreed) {
                    if *forget {
                        self.trace.tell(self.now, Some(key), || format!("p{pid} {key} is forgotten"));
                        self.facts.on_forgotten(key, *digest);
                    } else if let Some(record) = self.record(pid, key).filter(|r| r.digest() == *digest) {
                        self.facts.on_dead(key, &record);
                    }
                }
            }
            _ => {}
        }
    }
}
