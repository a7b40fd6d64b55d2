//! A repair: what a peer has is compared with all others that have it too, because an operator asked.
//!
//! The same sessions as in the background, one after the other with each member, a slice of the partitions
//! in each: so whatever else waits for a session with that member waits for one slice at most.

use std::collections::BTreeMap;
use std::time::Duration;

use henge_client::{Repair as Told, RepairId, RepairMember, RepairState};
use henge_sync::{End, Outcome, Progress, Report};
use henge_types::{Partition, PeerId};

/// Partitions in one session.
const SLICE_PARTITIONS: usize = 512;
/// How often in a row a member may be away, or a session with it fail.
const FAILURES_MAX: u8 = 3;

/// One repair. Bounded by the members and the partitions that this peer shares with each.
#[derive(Debug)]
pub struct Repair {
    id: RepairId,
    partition: Option<Partition>,
    began: Duration,
    members: BTreeMap<PeerId, Course>,
    /// What the sessions did that are over.
    progress: Progress,
}

/// How far it is with one member.
#[derive(Debug)]
struct Course {
    todo: Vec<Partition>,
    /// How many are in the session under way.
    comparing: usize,
    compared: usize,
    failures: u8,
    /// Whether it waits for the next look, because something failed.
    paused: bool,
    state: RepairState,
}

impl Repair {
    /// A repair of `partition`, or of all, that begins at `now`, with the partitions shared with each member.
    #[must_use]
    pub fn new(
        id: RepairId,
        partition: Option<Partition>,
        shared: impl Iterator<Item = (PeerId, Vec<Partition>)>,
        now: Duration,
    ) -> Self {
        let course = |todo| Course {
            todo,
            comparing: 0,
            compared: 0,
            failures: 0,
            paused: false,
            state: RepairState::Waiting,
        };
        let members = shared
            .map(|(peer, mut todo)| {
                todo.retain(|p| partition.is_none_or(|only| only == *p));
                (peer, todo)
            })
            .filter(|(_, todo)| !todo.is_empty())
            .enumerate()
            .map(|(at, (peer, mut todo))| {
                // Two at a time go through from both ends: what one brings the other does not have to.
                if at % 2 == 1 {
                    todo.reverse();
                }
                (peer, course(todo))
            })
            .collect();
        Self { id, partition, began: now, members, progress: Progress::default() }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> RepairId {
        self.id
    }

    /// Whether a repair of `partition`, or of all, would do nothing that this one does not.
    #[must_use]
    pub fn covers(&self, partition: Option<Partition>) -> bool {
        self.partition.is_none() || self.partition == partition
    }

    /// With whom to hold the next session, about which partitions. `shared` gives what is shared with a
    /// member now, in order; nothing where it is not free.
    pub fn next(
        &mut self,
        shared: impl Fn(&PeerId) -> Option<Vec<Partition>>,
    ) -> Option<(PeerId, Vec<Partition>)> {
        for (peer, course) in &mut self.members {
            if course.state != RepairState::Waiting || course.paused {
                continue;
            }
            let Some(shared) = shared(peer) else { continue };
            course.todo.retain(|p| shared.binary_search(p).is_ok());
            let first = course.todo.len().saturating_sub(SLICE_PARTITIONS);
            let slice = course.todo.split_off(first);
            if slice.is_empty() {
                course.state = RepairState::Through;
                continue;
            }
            course.comparing = slice.len();
            course.state = RepairState::Comparing;
            return Some((*peer, slice));
        }
        None
    }

    /// The session with `peer` is over.
    pub fn on_session(&mut self, peer: &PeerId, report: &Report) {
        self.progress = self.progress + report.progress;
        let comparing = |course: &&mut Course| course.state == RepairState::Comparing;
        let Some(course) = self.members.get_mut(peer).filter(comparing) else { return };
        course.comparing = 0;
        for (partition, outcome) in &report.outcomes {
            match outcome {
                Outcome::InSync | Outcome::Moved { .. } | Outcome::Left { .. } => course.compared += 1,
                Outcome::Unfinished => course.todo.push(*partition),
                // The other one does not have it any more, or gives it up and pushes all of it.
                Outcome::Stale => {}
            }
        }
        course.state = if course.todo.is_empty() { RepairState::Through } else { RepairState::Waiting };
        match report.end {
            End::Complete => course.failures = 0,
            End::Lost => course.fail(RepairState::Unreachable),
            End::Refused | End::Store | End::Fault(_) => course.fail(RepairState::Failed),
        }
    }

    /// Some time has passed: what failed may be tried again, unless it failed too often or is away for too long.
    pub fn look(&mut self, is_away: impl Fn(&PeerId) -> bool) {
        for (peer, course) in &mut self.members {
            course.paused = false;
            if is_away(peer) {
                course.fail(RepairState::Unreachable);
            }
        }
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.members.values().all(|course| course.state.is_final())
    }

    /// How far it is at `now`. `running` gives what the session under way with a member has done, and how
    /// many of its partitions are not compared yet.
    pub fn tell(&self, now: Duration, running: impl Fn(&PeerId) -> Option<(Progress, usize)>) -> Told {
        let mut progress = self.progress;
        let mut members = Vec::with_capacity(self.members.len());
        for (peer, course) in &self.members {
            let mut compared = course.compared;
            if let Some((done, left)) = running(peer).filter(|_| course.state == RepairState::Comparing) {
                progress = progress + done;
                compared += course.comparing.saturating_sub(left);
            }
            let partitions = course.todo.len() + course.comparing + course.compared;
            let (partitions, compared) = (count(partitions), count(compared));
            members.push(RepairMember { peer: *peer, partitions, compared, state: course.state });
        }
        Told {
            id: self.id,
            partition: self.partition,
            elapsed_ms: u64::try_from(now.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX),
            members,
            keys_compared: progress.items_covered,
            records_pulled: progress.records_pulled,
            bytes_pulled: progress.bytes_pulled,
            records_pushed: progress.records_pushed,
            bytes_pushed: progress.bytes_pushed,
            records_left: progress.records_left,
        }
    }
}

impl Course {
    /// Something went wrong; `so` is what it comes to if that does not end.
    fn fail(&mut self, so: RepairState) {
        if self.state == RepairState::Waiting {
            self.failures += 1;
            self.paused = true;
            if self.failures >= FAILURES_MAX {
                self.state = so;
            }
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
