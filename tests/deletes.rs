//! What is deleted stays deleted on real peers, also for one that missed it, and its space is free in the end.
//!
//! With `--nocapture`, lines that begin with `deletes:` tell how much space there was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use henge::client::{Client, Config};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use support::process::Peer;
use support::{now, wait_for};

const DELETED: usize = 8_000;
const KEPT: usize = 100;
/// Enough for tables on the disk, and not only what waits in memory to be written to some.
const VALUE_BYTES: usize = 8 << 10;
/// For how long deleted keys are kept here, in seconds.
const GRACE: u64 = 5;
/// Requests at a time.
const IN_FLIGHT: usize = 16;

fn deleted() -> impl Iterator<Item = String> {
    (0..DELETED).map(|n| format!("deleted/{n}"))
}

fn kept() -> impl Iterator<Item = String> {
    (0..KEPT).map(|n| format!("kept/{n}"))
}

fn value(key: &str) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    let seed = key.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    SmallRng::seed_from_u64(seed).fill(&mut value[..]);
    value
}

/// Does something with each key through `peer`.
fn for_each(peer: &Peer, keys: impl Iterator<Item = String>, what: impl AsyncFn(&Client, String)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Config::new().with_learn_members(false);
        let client = Client::connect(vec![peer.address().parse().unwrap()], config).await.unwrap();
        futures::stream::iter(keys).for_each_concurrent(IN_FLIGHT, |key| what(&client, key)).await;
        client.close().await;
    });
}

fn put(peer: &Peer, keys: impl Iterator<Item = String>) {
    for_each(peer, keys, async |client, key| {
        let value = value(&key);
        client.handle().put(key, value).await.unwrap();
    });
}

fn delete_all(peer: &Peer) {
    for_each(peer, deleted(), async |client, key| {
        client.handle().delete(key).timeout(Duration::from_secs(20)).await.unwrap();
    });
}

/// Fails the test unless this peer serves what there is, and nothing else.
fn assert_right(peer: &Peer) {
    for_each(peer, deleted().chain(kept()), async |client, key| {
        let got = client.handle().get(key.clone()).strict().timeout(Duration::from_secs(20)).await.unwrap();
        if key.starts_with("kept/") {
            assert_eq!(got.single().unwrap(), &value(&key)[..], "{key} at {}", peer.id());
        } else {
            assert_eq!(got.siblings, [], "{key} at {} is back", peer.id());
        }
    });
}

/// Bytes of the tables in a store.
fn table_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => table_bytes(&entry.path()),
        Ok(metadata) if entry.path().parent().is_some_and(|p| p.ends_with("tables")) => {
            metadata.blocks() * 512
        }
        // Files of an old table go while this looks.
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn space(peers: &[Peer; 3]) -> [u64; 3] {
    [0, 1, 2].map(|n| table_bytes(&peers[n].data_dir().join("store")))
}

fn collected(peer: &Peer) -> u64 {
    peer.status()["counters"]["records_collected"].as_u64().unwrap()
}

#[test]
fn deleted_keys_stay_deleted_and_their_space_is_free_in_the_end() {
    let grace = GRACE.to_string();
    let arguments = ["--durability", "interval", "--gc-grace", &grace];
    let first = Peer::start_with("a", None, &arguments);
    let others = ["b", "c"].map(|name| Peer::start_with(name, Some(&first), &arguments));
    let [second, third] = others;
    let mut peers = [first, second, third];
    peers.iter().for_each(|peer| peer.wait_until_settled(3));
    put(&peers[0], deleted().chain(kept()));
    let full = wait_for("tables are written", || {
        let space = space(&peers);
        let most = (DELETED * VALUE_BYTES / 3) as u64;
        space.iter().all(|bytes| *bytes > most).then_some(space)
    });

    // One stands still for longer than deleted keys are kept, and than hints are.
    peers[2].signal("STOP");
    let since = now();
    delete_all(&peers[0]);
    wait_for("the time is over", || (now() - since > Duration::from_secs(2 * GRACE)).then_some(()));
    assert_eq!([0, 1].map(|n| collected(&peers[n])), [0, 0], "nothing goes that one has not");
    peers[2].signal("CONT");
    for peer in &peers {
        wait_for("all that is deleted is forgotten", || (collected(peer) >= DELETED as u64).then_some(()));
    }
    eprintln!("deletes: forgotten {} s after the first delete", (now() - since).as_secs());
    peers.iter().for_each(assert_right);
    let free = wait_for("the space is free", || {
        let space = space(&peers);
        let small = |n: usize| space[n] < full[n] * 2 / 5;
        (0..3).all(small).then_some(space)
    });
    eprintln!("deletes: {full:?} bytes of tables before, {free:?} after");

    peers[1].kill();
    peers[1].restart();
    peers.iter().for_each(|peer| peer.wait_until_settled(3));
    peers.iter().for_each(assert_right);
}
