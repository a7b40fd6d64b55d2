//! Faults: what goes wrong, when, and for how long. Drawn beforehand, so that they can be left out
//! one by one.

use std::time::Duration;

use crate::rng::Rng;
use crate::world::{Crash, Pid, World};

/// How late a peer is at the most whose processor is taken.
const LATE_MAX: Duration = Duration::from_millis(800);

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A peer dies, and starts again after a while.
    Crash {
        /// Which.
        pid: Pid,
        /// How.
        crash: Crash,
    },
    /// The power fails: every machine dies at once, and starts again after a while.
    Blackout,
    /// A peer is stopped by its operator, and starts again after a while.
    Stop {
        /// Which.
        pid: Pid,
    },
    /// A peer stands still.
    Pause {
        /// Which.
        pid: Pid,
    },
    /// The peers in `side` (one bit for each) and the others cannot talk.
    Partition {
        /// Which are on one side.
        side: u128,
    },
    /// Nothing passes from one to the other; the way back is open.
    OneWay {
        /// From whom.
        from: Pid,
        /// To whom.
        to: Pid,
    },
    /// Both ways between two peers take longer.
    SlowLink {
        /// One end.
        from: Pid,
        /// The other.
        to: Pid,
        /// How much longer.
        by: Duration,
    },
    /// Nothing that is said about the ring reaches a peer, as if what carries that starved.
    Deaf {
        /// Which.
        pid: Pid,
    },
    /// The processor of a peer is taken by others: its inputs and timers come late.
    Busy {
        /// Whose.
        pid: Pid,
        /// By how much at the most.
        by: Duration,
    },
    /// The wall clock of a peer jumps.
    Jump {
        /// Whose.
        pid: Pid,
        /// How far.
        by_ms: i64,
    },
    /// The disk of a peer gets slow.
    SlowDisk {
        /// Whose.
        pid: Pid,
        /// How much slower.
        by: Duration,
    },
    /// The disk of a peer is full for a while; then the peer is started again.
    FullDisk {
        /// Whose.
        pid: Pid,
    },
    /// A record on the disk of a peer rots.
    Rot {
        /// Whose.
        pid: Pid,
        /// Which key.
        key: usize,
    },
    /// A new peer joins.
    Join,
    /// A peer is asked to leave until it has left, and is then stopped for good.
    Leave {
        /// Which.
        pid: Pid,
    },
    /// A peer dies, and the others are told that it will not come back.
    Remove {
        /// Who is told first.
        by: Pid,
        /// Which.
        pid: Pid,
        /// Whether they are not to wait until that is safe.
        force: bool,
        /// Whether it does come back.
        returns: bool,
    },
    /// A peer gets another share of the ring: while it runs, or it dies and starts again after a while with it.
    Reweigh {
        /// Which.
        pid: Pid,
        /// What it weighs from then on.
        weight: u16,
    },
    /// A member of another ring asks for a key and writes it.
    Intrude {
        /// Whom it asks.
        pid: Pid,
        /// Which key.
        key: usize,
    },
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

/// How often each kind of fault comes, relative to the others.
#[derive(Debug, Clone)]
pub struct Menu {
    /// Deaths of a process.
    pub process: u64,
    /// Deaths of a machine.
    pub machine: u64,
    /// Deaths of all machines at once.
    pub blackout: u64,
    /// Lost disks.
    pub disk: u64,
    /// Orderly stops.
    pub stop: u64,
    /// Two deaths of processes or machines at once.
    pub pair: u64,
    /// Pauses.
    pub pause: u64,
    /// Peers that are late.
    pub busy: u64,
    /// Partitions, one-way cuts, slow links.
    pub network: u64,
    /// Peers that hear nothing of the ring.
    pub deaf: u64,
    /// Clocks that jump.
    pub clock: u64,
    /// Slow and full disks.
    pub storage: u64,
    /// Records that rot.
    pub rot: u64,
    /// New peers.
    pub join: u64,
    /// Peers that leave.
    pub leave: u64,
    /// Peers that are removed.
    pub remove: u64,
    /// Changes of weight.
    pub reweigh: u64,
    /// Strangers.
    pub intrude: u64,
}

impl Default for Menu {
    fn default() -> Self {
        Self {
            process: 10,
            machine: 10,
            blackout: 2,
            disk: 3,
            stop: 6,
            pair: 4,
            pause: 6,
            busy: 4,
            network: 20,
            deaf: 4,
            clock: 4,
            storage: 5,
            rot: 4,
            join: 8,
            leave: 5,
            remove: 4,
            reweigh: 3,
            intrude: 2,
        }
    }
}

impl Menu {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self {
            process: 0,
            machine: 0,
            blackout: 0,
            disk: 0,
            stop: 0,
            pair: 0,
            pause: 0,
            busy: 0,
            network: 0,
            deaf: 0,
            clock: 0,
            storage: 0,
            rot: 0,
            join: 0,
            leave: 0,
            remove: 0,
            reweigh: 0,
            intrude: 0,
        }
    }

    /// Draws `count` faults, of which some come as two, in `duration` for peers 0 to `peers`.
    #[must_use]
    pub fn plan(
        &self,
        rng: &mut Rng,
        count: usize,
        duration: Duration,
        peers: usize,
        keys: usize,
    ) -> Vec<Planned> {
        let mut plan: Vec<Planned> = (0..count)
            .flat_map(|_| {
                let at = rng.time(duration / 20, duration);
                let lasts = if rng.chance(700) {
                    rng.time(Duration::from_millis(50), Duration::from_secs(5))
                } else {
                    rng.time(Duration::from_secs(5), Duration::from_secs(30))
                };
                self.draw(rng, peers, keys).into_iter().map(move |fault| Planned { at, lasts, fault })
            })
            .collect();
        plan.sort_by_key(|p| p.at);
        plan
    }

    fn draw(&self, rng: &mut Rng, peers: usize, keys: usize) -> Vec<Fault> {
        let (pid, other, key) = (rng.index(peers), rng.index(peers), rng.index(keys));
        let (first, second) = (rng.draw(), rng.draw());
        let by = rng.time(Duration::from_millis(1), Duration::from_millis(300));
        let Some(kind) = self.kind(rng) else { return Vec::new() };
        // What a crash of the machine may lose is kept by one of the process.
        let machines = self.machine > 0 && first.is_multiple_of(2);
        let crash = if machines { Crash::Machine } else { Crash::Process };
        let fault = match kind {
            0 => Fault::Crash { pid, crash: Crash::Process },
            1 => Fault::Crash { pid, crash: Crash::Machine },
            2 => Fault::Crash { pid, crash: Crash::Disk },
            3 => Fault::Stop { pid },
            4 => Fault::Pause { pid },
            5 => match first % 4 {
                0 | 1 => Fault::Partition { side: u128::from(second) << 64 | u128::from(first) },
                2 => Fault::OneWay { from: pid, to: other },
                _ => Fault::SlowLink { from: pid, to: other, by },
            },
            6 => {
                let by_ms = i64::try_from(second % 7_200_000).unwrap_or(0) - 3_600_000;
                Fault::Jump { pid, by_ms }
            }
            7 if first.is_multiple_of(2) => Fault::SlowDisk { pid, by },
            7 => Fault::FullDisk { pid },
            8 => Fault::Rot { pid, key },
            9 => Fault::Join,
            10 => Fault::Intrude { pid, key },
            11 => Fault::Blackout,
            // Two of the replicas of many a key.
            12 => {
                return [pid, (pid + 1) % peers.max(1)].map(|pid| Fault::Crash { pid, crash }).to_vec();
            }
            13 => Fault::Busy { pid, by: LATE_MAX },
            14 => Fault::Deaf { pid },
            15 => Fault::Leave { pid },
            16 => Fault::Remove { by: other, pid, force: first % 4 < 2, returns: second % 4 < 3 },
            _ => Fault::Reweigh { pid, weight: u16::try_from(1 + first % 4).unwrap_or(1) },
        };
        vec![fault]
    }

    // Which of the kinds below, if the menu has any.
    fn kind(&self, rng: &mut Rng) -> Option<usize> {
        let weights = [
            self.process,
            self.machine,
            self.disk,
            self.stop,
            self.pause,
            self.network,
            self.clock,
            self.storage,
            self.rot,
            self.join,
            self.intrude,
            self.blackout,
            self.pair,
            self.busy,
            self.deaf,
            self.leave,
            self.remove,
            self.reweigh,
        ];
        let total: u64 = weights.iter().sum();
        let mut at = rng.below(total);
        weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        })
    }
}

/// Begins a fault that is a matter of the world alone.
pub fn begin(world: &mut World, planned: &Planned) {
    match &planned.fault {
        Fault::Crash { pid, crash } => world.crash(*pid, *crash),
        Fault::Blackout => {
            let running: Vec<Pid> = (0..world.len()).filter(|pid| world.is_running(*pid)).collect();
            running.into_iter().for_each(|pid| world.crash(pid, Crash::Machine));
        }
        Fault::Stop { pid } => world.stop(*pid),
        Fault::Pause { pid } => {
            let until = world.now() + planned.lasts;
            world.pause(*pid, until);
        }
        Fault::Partition { side } => {
            for (from, to) in across(*side, world.len()) {
                world.cut(from, to);
            }
        }
        Fault::OneWay { from, to } => world.cut(*from, *to),
        Fault::SlowLink { from, to, by } => {
            world.network().slow_down(*from, *to, *by);
            world.network().slow_down(*to, *from, *by);
        }
        Fault::Deaf { pid } => world.network().deafen(*pid, true),
        Fault::Busy { pid, by } => world.keep_busy(*pid, *by),
        Fault::Jump { pid, by_ms } => world.jump_clock(*pid, *by_ms),
        Fault::SlowDisk { pid, by } => world.slow_disk(*pid, *by),
        Fault::FullDisk { pid } => world.fill_disk(*pid, true),
        Fault::Reweigh { pid, weight } => {
            world.crash(*pid, Crash::Process);
            world.set_weight(*pid, *weight);
        }
        Fault::Rot { .. }
        | Fault::Join
        | Fault::Leave { .. }
        | Fault::Remove { .. }
        | Fault::Intrude { .. } => {}
    }
}

/// Ends it. What is to be started again is up to the caller.
pub fn end(world: &mut World, planned: &Planned) {
    match &planned.fault {
        Fault::Partition { side } => {
            for (from, to) in across(*side, world.len()) {
                world.mend(from, to);
            }
        }
        Fault::OneWay { from, to } | Fault::SlowLink { from, to, .. } => {
            world.mend(*from, *to);
            world.mend(*to, *from);
        }
        Fault::Deaf { pid } => world.network().deafen(*pid, false),
        Fault::Busy { pid, .. } => world.keep_busy(*pid, Duration::ZERO),
        Fault::SlowDisk { pid, .. } => world.slow_disk(*pid, Duration::ZERO),
        Fault::FullDisk { pid } => {
            world.fill_disk(*pid, false);
            world.crash(*pid, Crash::Process);
        }
        Fault::Crash { .. }
        | Fault::Blackout
        | Fault::Stop { .. }
        | Fault::Pause { .. }
        | Fault::Jump { .. }
        | Fault::Rot { .. }
        | Fault::Join
        | Fault::Leave { .. }
        | Fault::Remove { .. }
        | Fault::Reweigh { .. }
        | Fault::Intrude { .. } => {}
    }
}

fn across(side: u128, peers: usize) -> Vec<(Pid, Pid)> {
    let on = |pid: Pid| side >> (pid % 128) & 1 == 1;
    let pairs = (0..peers).flat_map(|from| (0..peers).map(move |to| (from, to)));
    pairs.filter(|(from, to)| on(*from) != on(*to)).collect()
}
