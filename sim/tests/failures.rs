//! What a ring that prefers to go on does in a failure, step by step.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::{ring, until};
use henge::config::Config;
use henge_client::{Get, Hop, Request, Response, Supersede, WriteOptions};
use henge_sim::features;
use henge_sim::world::{Pid, World};
use henge_types::{Key, OperationId, Record};

const KEYS: u8 = 12;
const TIMEOUT: Duration = Duration::from_secs(5);

fn call(world: &mut World, pid: Pid, request: &Request) -> Response {
    let id = world.call(pid, request).expect("it runs");
    loop {
        if let Some(response) = world.take_reply(id) {
            return response.expect("it lives");
        }
        world.step().expect("an answer comes");
    }
}

fn key(number: u8) -> Key {
    Key::new(format!("stone-{number}")).unwrap()
}

fn value(number: u8, pid: Pid) -> Bytes {
    format!("{number} of p{pid}").into()
}

// Until it is acknowledged: who is down has to be found out first.
fn put(world: &mut World, pid: Pid, number: u8) {
    let mut id = [number; 16];
    id[0] = u8::try_from(pid).unwrap();
    let mut options = WriteOptions {
        supersede: Supersede::Blind,
        quorum: None,
        strict: false,
        operation: OperationId(id),
        retry: false,
        timeout_ms: u32::try_from(TIMEOUT.as_millis()).unwrap(),
        hop: Hop::Client,
    };
    until(world, &format!("p{pid} acknowledges {}", key(number)), |world| {
        let request = Request::Put {
            key: key(number),
            value: value(number, pid),
            ttl_ms: None,
            options: options.clone(),
        };
        options.retry = true;
        matches!(call(world, pid, &request), Response::Written { .. })
    });
}

fn get(world: &mut World, pid: Pid, number: u8, quorum: Option<u8>, strict: bool) -> Option<BTreeSet<Bytes>> {
    let timeout_ms = u32::try_from(TIMEOUT.as_millis()).unwrap();
    match call(world, pid, &Request::Get(Get { key: key(number), quorum, strict, timeout_ms })) {
        Response::Found { siblings, .. } => Some(siblings.into_iter().map(|s| s.value).collect()),
        Response::NotFound { .. } => Some(BTreeSet::new()),
        _ => None,
    }
}

fn replicas_have(world: &mut World, number: u8, values: &BTreeSet<Bytes>) -> bool {
    let Some(Response::Located(located)) = world.ask(0, &Request::Locate { key: key(number) }) else {
        return false;
    };
    let record = |peer| world.pid(peer).and_then(|pid| world.record(pid, &key(number)));
    let records: Option<Vec<Record>> = located.voters.iter().map(|voter| record(&voter.peer)).collect();
    let Some([first, others @ ..]) = records.as_deref() else { return false };
    let has: BTreeSet<Bytes> = first.live(u64::MAX).map(|(_, value)| value.clone()).collect();
    has == *values && others.iter().all(|other| other.digest() == first.digest())
}

/// Both sides of a partition take writes to the same keys; afterwards both writes are there.
#[test]
fn both_sides_of_a_partition_go_on_and_nothing_is_lost() {
    let mut world = ring(11, 5, &Config::new());
    let across: Vec<(Pid, Pid)> =
        (0..5).flat_map(|a| (0..5).map(move |b| (a, b))).filter(|(a, b)| (*a < 3) != (*b < 3)).collect();
    across.iter().for_each(|(from, to)| world.cut(*from, *to));
    for number in 0..KEYS {
        put(&mut world, 0, number);
        put(&mut world, 4, number);
    }
    for number in 0..KEYS {
        for (pid, other) in [(1, 0), (3, 4)] {
            let mut found = None;
            until(&mut world, &format!("p{pid} finds {} of its side", key(number)), |world| {
                found = get(world, pid, number, None, false);
                found.as_ref().is_some_and(|found| found.contains(&value(number, other)))
            });
            assert_eq!(found, Some(BTreeSet::from([value(number, other)])));
        }
    }
    across.iter().for_each(|(from, to)| world.mend(*from, *to));
    for number in 0..KEYS {
        let both = BTreeSet::from([value(number, 0), value(number, 4)]);
        until(&mut world, &format!("all replicas of {} have both", key(number)), |world| {
            // Without anti-entropy a read of all of them is what makes them equal in the end.
            let asked = features::TODAY.anti_entropy || get(world, 2, number, Some(3), true).is_some();
            asked && replicas_have(world, number, &both)
        });
        for (pid, strict) in [(0, true), (4, true), (2, false), (3, false)] {
            assert_eq!(
                get(&mut world, pid, number, None, strict),
                Some(both.clone()),
                "p{pid} {}",
                key(number)
            );
        }
    }
}
