//! Rings to begin with, and virtual time that passes.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "each test program uses what it needs"
)]

use std::time::Duration;

use henge::config::Config;
use henge_client::{Request, Response};
use henge_sim::seam::Honest;
use henge_sim::world::{Pid, Setup, World};
use henge_types::ClusterParams;

/// By when something must have happened that has to happen at all.
const DEADLINE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// So many peers that are full members of one ring.
pub(crate) fn ring(seed: u64, peers: usize, config: &Config) -> World {
    let mut world = World::new(Setup {
        seed,
        network: Default::default(),
        disk: Default::default(),
        drift_ppm: 100,
        seam: Box::new(Honest),
        watch: None,
    });
    let params = ClusterParams::default().with_partitions(64).unwrap().with_tokens_per_weight(16).unwrap();
    for pid in 0..peers {
        let join: &[Pid] = if pid == 0 { &[] } else { &[0] };
        world.add_peer(config.clone().with_params(params), join);
        world.start(pid);
    }
    until(&mut world, "all are full members", |world| (0..peers).all(|pid| sees_all_full(world, pid, peers)));
    world
}

/// Whether a peer is ready and sees so many members, each connected and with nothing in part.
pub(crate) fn sees_all_full(world: &mut World, pid: Pid, peers: usize) -> bool {
    let Some(Response::Status(status)) = world.ask(pid, &Request::Status) else { return false };
    let settled = status.members.iter().all(|m| m.connected && m.part == 0);
    world.is_ready(pid) && status.members.len() == peers && settled
}

/// Lets time pass.
pub(crate) fn pass(world: &mut World, time: Duration) {
    let end = world.now() + time;
    world.schedule(end, 0);
    while world.now() < end {
        world.step().expect("time passes");
        assert_eq!(world.failure(), None);
    }
}

/// Lets time pass until something holds.
pub(crate) fn until(world: &mut World, what: &str, mut holds: impl FnMut(&mut World) -> bool) {
    let end = world.now() + DEADLINE;
    while !holds(world) {
        assert!(world.now() < end, "never: {what}");
        pass(world, PAUSE);
    }
}
