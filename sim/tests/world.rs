//! The world itself, without a workload.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use henge::config::Config;
use henge_client::{Get, Hop, Request, Response, Supersede, WriteOptions};
use henge_sim::seam::Honest;
use henge_sim::trace::Watch;
use henge_sim::world::{Setup, World};
use henge_types::{ClusterParams, Key, OperationId};

fn world() -> World {
    World::new(Setup {
        seed: 7,
        network: Default::default(),
        disk: Default::default(),
        drift_ppm: 100,
        seam: Box::new(Honest),
        watch: Some(Watch::key(None)),
    })
}

fn call(world: &mut World, pid: usize, request: Request) -> Response {
    let id = world.call(pid, &request).expect("runs");
    loop {
        if let Some((_, response)) = world.take_replies().into_iter().find(|(reply, _)| *reply == id) {
            return response.expect("an answer");
        }
        world.step().expect("an answer comes");
    }
}

#[test]
fn three_peers_make_a_ring_and_keep_a_value() {
    let mut world = world();
    let params = ClusterParams::default().with_partitions(64).unwrap().with_tokens_per_weight(32).unwrap();
    let config = Config::new().with_params(params);
    let first = world.add_peer(config.clone(), &[]);
    world.start(first);
    let others = [world.add_peer(config.clone(), &[first]), world.add_peer(config, &[first])];
    others.iter().for_each(|pid| world.start(*pid));
    while world.now() < Duration::from_secs(20) && (0..3).any(|pid| !world.is_ready(pid)) {
        world.step();
    }
    assert!((0..3).all(|pid| world.is_ready(pid)), "{:#?}", world.trace().lines().collect::<Vec<_>>());
    let key = Key::new("stone").unwrap();
    let options = WriteOptions {
        supersede: Supersede::Blind,
        quorum: None,
        strict: true,
        operation: OperationId([1; 16]),
        retry: false,
        timeout_ms: 1000,
        hop: Hop::Client,
    };
    let put = Request::Put { key: key.clone(), value: Bytes::from_static(b"blue"), ttl_ms: None, options };
    let written = call(&mut world, 1, put);
    assert!(
        matches!(written, Response::Written { .. }),
        "{written:?} {:#?}",
        world.trace().lines().collect::<Vec<_>>()
    );
    let get = Request::Get(Get { key, quorum: None, strict: true, timeout_ms: 1000 });
    let found = call(&mut world, 2, get);
    assert!(
        matches!(&found, Response::Found { siblings, .. } if siblings.len() == 1),
        "{found:?} {:#?}",
        world.trace().lines().collect::<Vec<_>>()
    );
    assert_eq!(world.failure(), None);
}

#[test]
fn a_busy_peer_comes_late_and_gets_on() {
    let mut world = world();
    let busy = world.add_peer(Config::new(), &[]);
    world.start(busy);
    let awake = |world: &mut World, seconds: u64| -> Vec<bool> {
        let begin = world.now();
        let looks = (1..=10 * seconds).map(|look| begin + Duration::from_millis(100 * look));
        looks
            .map(|at| {
                world.schedule(at, 0);
                while world.now() < at {
                    world.step().expect("time passes");
                }
                world.is_awake(busy)
            })
            .collect()
    };
    world.keep_busy(busy, Duration::from_millis(800));
    let looks = awake(&mut world, 20);
    assert!(looks.contains(&true) && looks.contains(&false), "{looks:?}");
    world.keep_busy(busy, Duration::ZERO);
    awake(&mut world, 1);
    assert!(!awake(&mut world, 5).contains(&false));
    assert!(world.is_ready(busy));
}
