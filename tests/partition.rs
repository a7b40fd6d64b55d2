//! A network that falls in two between real peers on hosts of their own, and grows together again.
//!
//! It takes root, network namespaces and bridges; where it cannot have them it says so and passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::network::Network;
use support::process::{Peer, directory};
use support::{now, wait_for};

/// Hosts, and those of them that are cut off.
const HOSTS: usize = 5;
const MINORITY: [usize; 2] = [3, 4];

/// Keys that both sides write. Five owners in three places each: some have all their owners on one side.
const KEYS: usize = 8;

/// For a request, in seconds.
const TIMEOUT: &str = "5";

fn key(n: usize) -> String {
    format!("key {n}")
}

/// A settled peer on each host.
fn peers(network: &Network) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for host in 0..HOSTS {
        let listen = format!("/ip4/{}/tcp/4001", network.address(host));
        let arguments = ["--listen", &listen, "--durability", "interval"];
        let name = format!("host {host}");
        let mut peer = Peer::launch(&name, peers.first(), &arguments, directory(), network.launcher(host));
        peer.wait_until_ready();
        peers.push(peer);
    }
    for peer in &peers {
        peer.wait_until_settled(HOSTS);
    }
    peers
}

/// Puts a value beside whatever is there, and says whether it is acknowledged.
fn put(peer: &Peer, key: &str, value: &str) -> bool {
    let outcome = peer.run(&["put", key, value, "--blind", "--timeout", TIMEOUT, "--json"]);
    match outcome.code {
        Some(0) => outcome.json()["acks"].as_u64().unwrap() >= 2,
        Some(3 | 4) => {
            eprintln!("partition: {value} of {key}: {}", outcome.stderr.trim());
            false
        }
        _ => panic!("{}", outcome.stderr),
    }
}

/// The siblings of a key as `quorum` replicas have them, the own one of `peer` first; none while they
/// cannot be had.
fn siblings(peer: &Peer, key: &str, quorum: &str) -> Option<BTreeSet<String>> {
    let outcome = peer.run(&["get", key, "--json", "-r", quorum, "--timeout", TIMEOUT]);
    match outcome.code {
        Some(0 | 1) => {}
        Some(3) => return None,
        _ => panic!("{}", outcome.stderr),
    }
    let shown = outcome.json();
    let values = shown["siblings"].as_array().unwrap().iter();
    Some(values.map(|sibling| sibling["value"].as_str().unwrap().to_owned()).collect())
}

fn hints_waiting(peer: &Peer) -> u64 {
    let waiting: &Value = &peer.status()["counters"]["hints_waiting"];
    waiting.as_u64().expect("a peer tells how many hints wait")
}

#[test]
fn both_sides_of_a_cut_take_writes_and_all_of_them_are_there_when_it_heals() {
    let network = match Network::new(HOSTS) {
        Ok(network) => network,
        Err(reason) => {
            eprintln!("partition: skipped: no hosts can be made here: {reason}");
            return;
        }
    };
    let peers = peers(&network);
    let mut acknowledged: Vec<BTreeSet<String>> = vec![BTreeSet::new(); KEYS];
    for (n, acknowledged) in acknowledged.iter_mut().enumerate() {
        assert!(put(&peers[0], &key(n), "before"));
        acknowledged.insert("before".to_owned());
    }

    network.cut_off(&MINORITY);
    let cut_at = now();
    for (n, acknowledged) in acknowledged.iter_mut().enumerate() {
        for (side, peer) in [("majority", n % 3), ("minority", MINORITY[n % 2])] {
            let is_taken = put(&peers[peer], &key(n), side);
            assert!(is_taken, "the {side} takes no write of {}", key(n));
            acknowledged.insert(side.to_owned());
        }
    }
    eprintln!("partition: both sides wrote {KEYS} keys in {} ms", cut_at.elapsed().as_millis());
    let hints: u64 = peers.iter().map(hints_waiting).sum();
    assert!(hints > 0, "writes of one side wait for owners on the other");

    network.heal();
    let healed_at = now();
    replicas_agree_by_themselves(&peers, &acknowledged);
    for (peer, n) in everywhere(&peers) {
        wait_for("all replicas together have what was acknowledged", || {
            let found = siblings(peer, &key(n), "3")?;
            assert!(found.is_superset(&acknowledged[n]), "{}: {found:?}", key(n));
            Some(())
        });
    }
    eprintln!("partition: all replicas agree {} ms after the cut", healed_at.elapsed().as_millis());
}

/// Hints bring each side's writes to the other, and no get has to repair anything.
fn replicas_agree_by_themselves(peers: &[Peer], all: &[BTreeSet<String>]) {
    let healed_at = now();
    for peer in peers {
        wait_for("all hints are delivered", || (hints_waiting(peer) == 0).then_some(()));
    }
    eprintln!("partition: hints were delivered {} ms after the cut", healed_at.elapsed().as_millis());
    for (peer, n) in everywhere(peers) {
        wait_for("each replica has both sides' writes", || {
            (siblings(peer, &key(n), "1")? == all[n]).then_some(())
        });
    }
}

fn everywhere(peers: &[Peer]) -> impl Iterator<Item = (&Peer, usize)> {
    peers.iter().flat_map(|peer| (0..KEYS).map(move |n| (peer, n)))
}
