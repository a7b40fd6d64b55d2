//! Deliberate bugs, to prove that the checker bites. Each is put in at a seam: a store that is
//! wrapped, a message that is changed on its way, a saved piece that is forged. Nothing in the code
//! that ships knows of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::client::Workload;
use crate::disk;
use crate::nemesis::{Fault, Menu, Planned};
use crate::scenario::Scenario;
use crate::seam::{Honest, Seam};
use crate::world::Pid;

mod hops;
mod restarts;
mod stores;

/// One deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A write counts as durable before its sync.
    AckBeforeSync,
    /// A merge keeps one of several siblings.
    MergeDropsSibling,
    /// A replicated or repaired record replaces what the store has.
    MergeOverwrites,
    /// A put supersedes all that its coordinator has, whatever its context.
    PutSupersedesAll,
    /// A delete is acknowledged and does nothing.
    DeleteIgnored,
    /// The names of operations are not remembered: a retry is a second write.
    RetryRepeats,
    /// An answer of a replica that sees other voters counts.
    StaleCounted,
    /// A replica does not compare the voters of a request with its own.
    DigestIgnored,
    /// An owner is full once one voter answered, whatever the others have.
    AcquireFromOne,
    /// Partitions are given up with what is in them.
    GiveUpOccupied,
    /// After a crash the actors stay the same.
    ActorGoesOn,
    /// After a crash the actors stay the same, and the counter of dots begins anew.
    DotsForgotten,
    /// A peer does not notice that its disk was lost.
    DiskLossUnnoticed,
    /// Replicas agree to forget a deleted record, whatever they have themselves.
    CollectUnasked,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AckBeforeSync,
        Self::MergeDropsSibling,
        Self::MergeOverwrites,
        Self::PutSupersedesAll,
        Self::DeleteIgnored,
        Self::RetryRepeats,
        Self::StaleCounted,
        Self::DigestIgnored,
        Self::AcquireFromOne,
        Self::GiveUpOccupied,
        Self::ActorGoesOn,
        Self::DotsForgotten,
        Self::DiskLossUnnoticed,
        Self::CollectUnasked,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::MergeDropsSibling => "merge-drops-sibling",
            Self::MergeOverwrites => "merge-overwrites",
            Self::PutSupersedesAll => "put-supersedes-all",
            Self::DeleteIgnored => "delete-ignored",
            Self::RetryRepeats => "retry-repeats",
            Self::StaleCounted => "stale-counted",
            Self::DigestIgnored => "digest-ignored",
            Self::AcquireFromOne => "acquire-from-one",
            Self::GiveUpOccupied => "give-up-occupied",
            Self::ActorGoesOn => "actor-goes-on",
            Self::DotsForgotten => "dots-forgotten",
            Self::DiskLossUnnoticed => "disk-loss-unnoticed",
            Self::CollectUnasked => "collect-unasked",
        }
    }

    /// Of how many seeds at least one catches it.
    #[must_use]
    pub fn caught_within(self) -> u64 {
        if self == Self::ActorGoesOn { 800 } else { 200 }
    }

    /// The scenario of `seed` with this bug, and with the kind of faults that provokes it: a seed of
    /// the hunt has a few of each kind.
    #[must_use]
    pub fn scenario(self, seed: u64) -> Scenario {
        let scenario = Scenario::from_seed(seed)
            .with_peers(3 + usize::try_from(seed % 5).unwrap_or(0))
            .with_zones(0)
            .with_mutation(Some(self));
        let menu = match self {
            Self::DigestIgnored => return apart(scenario),
            Self::CollectUnasked => return stale(scenario),
            Self::AckBeforeSync | Self::ActorGoesOn | Self::DotsForgotten => {
                Menu { machine: 10, blackout: 5, network: 2, ..Menu::none() }
            }
            Self::DiskLossUnnoticed => Menu { disk: 5, network: 1, ..Menu::none() },
            Self::StaleCounted | Self::AcquireFromOne | Self::GiveUpOccupied => {
                Menu { join: 10, network: 5, ..Menu::none() }
            }
            Self::MergeDropsSibling
            | Self::MergeOverwrites
            | Self::PutSupersedesAll
            | Self::DeleteIgnored
            | Self::RetryRepeats => Menu::default(),
        };
        let (count, scenario) = match self {
            // The other replicas must have acknowledged what the coordinator lost, and its next write
            // come before it has read what it lost back from them.
            Self::ActorGoesOn => {
                let pause = Duration::from_millis(10);
                let workload = Workload { clients: 12, keys: 3, pause, quorums: 0, ..Workload::default() };
                (40, Scenario { workload, duration: Duration::from_secs(20), ..scenario }.with_peers(3))
            }
            // What is lost must be written to again.
            Self::AckBeforeSync | Self::DotsForgotten => {
                let (clients, keys) = (8, 2);
                let pause = Duration::from_millis(40);
                let workload = Workload { clients, keys, pause, quorums: 0, ..Workload::default() };
                (12, Scenario { workload, ..scenario })
            }
            Self::MergeDropsSibling
            | Self::MergeOverwrites
            | Self::PutSupersedesAll
            | Self::DeleteIgnored
            | Self::RetryRepeats
            | Self::StaleCounted
            | Self::DigestIgnored
            | Self::AcquireFromOne
            | Self::GiveUpOccupied
            | Self::CollectUnasked
            | Self::DiskLossUnnoticed => (12, scenario),
        };
        // A slow sync leaves something to lose.
        let sync = Duration::from_millis(100);
        Scenario { disk: disk::Profile { sync, ..disk::Profile::default() }, ..scenario }
            .with_menu(&menu, count)
    }
}

// A newcomer takes half of what is owned by the only peer of its zone until then, and that one does not
// hear of it. What it writes to that half, the only peer of another zone acknowledges, and those of
// the third do not get: a quorum of theirs and the newcomer's misses it. It must be the first write to
// its partition: what is occupied does not move.
fn apart(scenario: Scenario) -> Scenario {
    const DEAF: Pid = 1;
    const NEWCOMER: Pid = 4;
    let (at, lasts) = (Duration::from_millis(3500), Duration::from_secs(15));
    let cut = |from, to| Planned { at, lasts, fault: Fault::OneWay { from, to } };
    let faults = vec![
        Planned { at, lasts, fault: Fault::Deaf { pid: DEAF } },
        cut(DEAF, 0),
        cut(DEAF, 3),
        cut(NEWCOMER, DEAF),
        Planned { at, lasts, fault: Fault::Join },
    ];
    let workload = Workload {
        clients: 8,
        keys: 128,
        hot: 0,
        pause: Duration::from_millis(250),
        quorums: 0,
        strict: 1000,
        ..Workload::default()
    };
    let quiet = Scenario::new(scenario.seed).with_peers(4).with_zones(3).with_workload(workload);
    quiet.with_faults(faults).lasting(Duration::from_secs(15)).with_mutation(scenario.mutation)
}

// One peer is away for longer than deleted records are kept, and so are the hints that wait for it: it comes back
// with what was deleted meanwhile, and must be asked.
fn stale(scenario: Scenario) -> Scenario {
    let grace = Duration::from_secs(6);
    let (at, lasts) = (Duration::from_secs(5), Duration::from_secs(15));
    let fault = Fault::Partition { side: 0b1 };
    let workload = Workload {
        clients: 6,
        keys: 200,
        hot: 0,
        pause: Duration::from_millis(300),
        quorums: 0,
        strict: 1000,
        ..Workload::default()
    };
    let quiet = Scenario::new(scenario.seed).with_workload(workload).lasting(Duration::from_secs(25));
    Scenario { gc_grace: Some(grace), ..quiet }
        .with_faults(vec![Planned { at, lasts, fault }])
        .with_mutation(scenario.mutation)
}

/// The seam that has this bug; an honest one where there is none.
#[must_use]
pub fn seam(mutation: Option<Mutation>) -> Box<dyn Seam> {
    let Some(mutation) = mutation else { return Box::new(Honest) };
    match mutation {
        Mutation::AckBeforeSync => Box::new(stores::NoSync),
        Mutation::MergeDropsSibling => Box::new(stores::Bend(stores::drop_sibling)),
        Mutation::MergeOverwrites => Box::new(stores::Bend(stores::overwrite)),
        Mutation::PutSupersedesAll => Box::new(stores::Bend(stores::supersede_all)),
        Mutation::DeleteIgnored => Box::new(stores::Bend(stores::ignore_delete)),
        Mutation::RetryRepeats => Box::new(stores::Bend(stores::forget_operation)),
        Mutation::GiveUpOccupied => Box::new(stores::NothingThere),
        Mutation::StaleCounted => Box::new(hops::StaleCounted),
        Mutation::DigestIgnored => Box::new(hops::DigestIgnored),
        Mutation::AcquireFromOne => Box::new(hops::AcquireFromOne),
        Mutation::ActorGoesOn => Box::new(restarts::ActorGoesOn),
        Mutation::DotsForgotten => Box::new(restarts::DotsForgotten),
        Mutation::DiskLossUnnoticed => Box::new(restarts::DiskLossUnnoticed),
        Mutation::CollectUnasked => Box::new(hops::CollectUnasked),
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mutation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| format!("one of {}", names()))
    }
}
