//! Repairs carried out: sessions of anti-entropy that an operator asked for.

use henge_client::{Failure, RepairId, Response};
use henge_sync::Mode;
use henge_types::{Custody, Partition, PeerId};
use std::time::Duration;

use super::Core;
use super::health::Health;
use super::next::Timer;
use super::syncing::Purpose;
use crate::repair::Repair;

/// Sessions of a repair at a time, each with another member: the others of this peer are for what runs in the
/// background.
const SESSIONS: usize = 2;
/// How often to look again at members that are away, or with which something failed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The repair under way, and the last one.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    running: Option<Repair>,
    last: Option<henge_client::Repair>,
    /// Whether something in the background wanted a session that a repair had: it goes first.
    pub(super) in_the_way: bool,
}

impl Core {
    /// The operator wants all that this peer has, or one partition, compared with all others that have it.
    pub(super) fn begin_repair(&mut self, partition: Option<Partition>) -> Response {
        if !self.serves() {
            return Response::Failed(Failure::NotReady);
        }
        if let Err(reason) = partition.map_or(Ok(()), |partition| self.may_repair(partition)) {
            return Response::Failed(Failure::BadRequest { reason });
        }
        if let Some(running) = &self.repairs.running {
            if running.covers(partition) {
                return self.repair_progress(running.id());
            }
            let reason = "a repair of one partition is under way: ask again when it is over".to_owned();
            return Response::Failed(Failure::BadRequest { reason });
        }
        let number = self.ids.next();
        let id = RepairId(u64::from_be_bytes(self.draw(b"repair", number)));
        let others = self.membership.view().iter().map(|(peer, _)| *peer).filter(|peer| *peer != self.me);
        let shared = others.map(|peer| (peer, self.shared_with(&peer, Custody::Part)));
        let repair = Repair::new(id, partition, shared, self.now.monotonic);
        self.repairs.running = Some(repair);
        self.wake_at(LOOK_EVERY, Timer::Repair);
        self.go_on_with_repair();
        self.repair_progress(id)
    }

    fn may_repair(&mut self, partition: Partition) -> Result<(), String> {
        let count = self.member.as_ref().map_or(0, |m| m.ring.params.partitions().get());
        if partition.0 >= count {
            return Err(format!("partition {partition}: use 0 to {}", count.saturating_sub(1)));
        }
        if self.has_custody(partition) {
            return Ok(());
        }
        let voters = self.voters(partition);
        let other = voters.as_ref().and_then(|voters| voters.as_slice().first());
        let ask = other.map_or_else(String::new, |voter| format!(": ask {}, which has", voter.peer));
        Err(format!("this peer has nothing of partition {partition}{ask}"))
    }

    /// How far the repair of this name is; the last one is remembered.
    pub(super) fn repair_progress(&self, id: RepairId) -> Response {
        if !self.serves() {
            return Response::Failed(Failure::NotReady);
        }
        let last = self.repairs.last.as_ref().filter(|last| last.id == id);
        if let Some(running) = self.repairs.running.as_ref().filter(|running| running.id() == id) {
            Response::Repair(running.tell(self.now.monotonic, |peer| self.syncs.repairing_with(peer)))
        } else if let Some(last) = last {
            Response::Repair(last.clone())
        } else {
            let reason = "this peer does not know that repair, or not any more".to_owned();
            Response::Failed(Failure::BadRequest { reason })
        }
    }

    /// Begins what sessions a repair may hold now.
    pub(super) fn go_on_with_repair(&mut self) {
        let Some(mut repair) = self.repairs.running.take() else { return };
        while self.serves()
            && !self.repairs.in_the_way
            && self.syncs.repairing() < SESSIONS
            && self.syncs.has_room()
            && let Some((peer, slice)) = repair.next(|peer| self.free_for_repair(peer))
        {
            self.begin_session(peer, Mode::Both, Purpose::Repair(slice));
        }
        if repair.is_over() {
            let told = repair.tell(self.now.monotonic, |_| None);
            tracing::info!(elapsed_ms = told.elapsed_ms, "a repair is over");
            self.repairs.last = Some(told);
        } else {
            self.repairs.running = Some(repair);
        }
    }

    // What is shared with a member that a session can be held with now.
    fn free_for_repair(&self, peer: &PeerId) -> Option<Vec<Partition>> {
        let free = !self.is_away(peer) && !self.syncs.is_busy_with(peer);
        free.then(|| self.shared_with(peer, Custody::Part))
    }

    fn is_away(&self, peer: &PeerId) -> bool {
        match self.health(peer) {
            Health::Away | Health::Down => true,
            Health::Up | Health::Late => false,
        }
    }

    /// Members that were away, or with which something failed, may be well again.
    pub(super) fn look_at_repair(&mut self) {
        let Some(mut repair) = self.repairs.running.take() else { return };
        repair.look(|peer| self.is_away(peer));
        self.repairs.running = Some(repair);
        self.go_on_with_repair();
        if self.repairs.running.is_some() {
            self.wake_at(LOOK_EVERY, Timer::Repair);
        }
    }

    /// A session of a repair is over.
    pub(super) fn on_repaired(&mut self, peer: &PeerId, report: &henge_sync::Report) {
        if let Some(repair) = &mut self.repairs.running {
            repair.on_session(peer, report);
        }
        if self.repairs.in_the_way {
            self.look_at_custody_again(true);
        }
    }
}
