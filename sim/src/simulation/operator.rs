//! Who goes from the ring: an operator asks until it is done.

use std::time::Duration;

use henge_client::{MemberPhase, Request, Response};

use super::{RESTART_AFTER, Simulation, Wake};
use crate::world::{Crash, Pid};

/// How often it is asked again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How many peers no operator sends away.
const STAYING_MIN: usize = 2;

/// What is to become of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// It is to leave.
    Leave,
    /// It has left.
    Left,
    /// It is down, and to be removed.
    Remove { by: Pid, force: bool, returns: bool },
    /// It was removed.
    Removed { returns: bool },
}

impl Simulation<'_> {
    /// The peers that are to be in the ring, or have not left it yet.
    pub(super) fn staying(&self) -> Vec<Pid> {
        let stays = |pid: &Pid| {
            let errand = self.errands.get(pid);
            !matches!(errand, Some(Errand::Left | Errand::Removed { .. }))
        };
        (0..self.world.len()).filter(stays).collect()
    }

    /// Whether a peer is not to be started.
    pub(super) fn is_held(&self, pid: Pid) -> bool {
        self.errands.get(&pid).is_some_and(|errand| *errand != Errand::Leave)
    }

    pub(super) fn has_left(&self, pid: Pid) -> bool {
        self.errands.get(&pid) == Some(&Errand::Left)
    }

    // Whether the ring is large enough without one more.
    fn may_go(&self, pid: Pid) -> bool {
        let others = (0..self.world.len()).filter(|other| *other != pid && !self.errands.contains_key(other));
        !self.errands.contains_key(&pid) && pid < self.world.len() && others.count() >= STAYING_MIN
    }

    pub(super) fn ask_to_leave(&mut self, pid: Pid) {
        if self.may_go(pid) {
            self.errands.insert(pid, Errand::Leave);
            self.run_errand(pid);
        }
    }

    pub(super) fn plan_removal(&mut self, pid: Pid, by: Pid, force: bool, returns: bool) {
        if self.may_go(pid) && self.world.has_saved(pid) {
            if self.world.is_running(pid) {
                self.world.crash(pid, Crash::Process);
            }
            self.errands.insert(pid, Errand::Remove { by, force, returns });
            let at = self.world.now() + RESTART_AFTER;
            self.wake_at(at, Wake::Errand { pid });
        }
    }

    /// One that was removed comes back, if it does; and one that could not be removed.
    pub(super) fn end_removal(&mut self, pid: Pid) {
        if let Some(Errand::Remove { .. } | Errand::Removed { returns: true }) = self.errands.get(&pid) {
            self.errands.remove(&pid);
        }
    }

    pub(super) fn run_errand(&mut self, pid: Pid) {
        match self.errands.get(&pid).copied() {
            None | Some(Errand::Left) => return,
            Some(Errand::Leave) if self.world.has_left(pid) => {
                self.errands.insert(pid, Errand::Left);
                return self.world.retire(pid);
            }
            Some(Errand::Leave) => {
                self.world.ask(pid, &Request::Leave);
            }
            Some(Errand::Remove { by, force, returns }) => {
                if self.remove(pid, by, force) {
                    self.errands.insert(pid, Errand::Removed { returns });
                    self.world.expel(pid);
                }
            }
            // Who was told may have died before it could tell others.
            Some(Errand::Removed { .. }) => {
                if let Some(by) = self.knows_as_member(pid) {
                    self.remove(pid, by, true);
                }
            }
        }
        let at = self.world.now() + ASK_EVERY;
        self.wake_at(at, Wake::Errand { pid });
    }

    // Asks `by`, or the next peer that runs.
    fn remove(&mut self, pid: Pid, by: Pid, force: bool) -> bool {
        let count = self.world.len();
        let mut asked = (0..count).map(|next| (by + next) % count);
        let awake = asked.find(|other| *other != pid && self.world.is_awake(*other));
        let (Some(by), Some(peer)) = (awake, self.world.id(pid)) else { return false };
        self.world.ask(by, &Request::Remove { peer, force }) == Some(Response::Accepted)
    }

    // Who takes a peer that was removed for a member.
    fn knows_as_member(&mut self, pid: Pid) -> Option<Pid> {
        let peer = self.world.id(pid)?;
        self.staying().into_iter().filter(|by| self.world.is_ready(*by)).collect::<Vec<_>>().into_iter().find(
            |by| {
                let status = self.status(*by);
                status
                    .is_some_and(|s| s.members.iter().any(|m| m.peer == peer && m.phase != MemberPhase::Left))
            },
        )
    }
}
