//! Power cuts: all peers of a ring die at once by SIGKILL, and nothing acknowledged is lost.
//!
//! `HENGE_TEST_KEYS` sets how many keys of 1 KiB are put (default 5,000).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::fmt::Write as _;

use bytes::Bytes;
use henge::client::{Client, Config};
use sha2::{Digest, Sha256};
use support::process::Peer;

/// Requests of the reading client at a time.
const IN_FLIGHT: usize = 64;

fn keys() -> usize {
    std::env::var("HENGE_TEST_KEYS").map_or(5_000, |n| n.parse().expect("a number of keys"))
}

/// 1 KiB that no other key has: 32 times a hash in hexadecimal, and a bit.
fn value(key: usize) -> String {
    let hash = Sha256::digest(key.to_be_bytes());
    let mut line = String::new();
    for byte in hash {
        write!(line, "{byte:02x}").unwrap();
    }
    line.repeat(16)
}

fn listen_on(transport: &str) -> &'static str {
    match transport {
        "tcp" => "/ip4/127.0.0.1/tcp/0",
        _ => "/ip4/127.0.0.1/udp/0/quic-v1",
    }
}

fn import(peer: &Peer, keys: usize) {
    let lines: String =
        (0..keys).map(|key| format!("{{\"key\": \"key {key}\", \"value\": \"{}\"}}\n", value(key))).collect();
    let outcome = peer.run_with_stdin(&["import", "-", "--format", "ndjson"], lines.as_bytes());
    outcome.exits(0);
}

/// Every key, byte for byte, through `peer`.
fn check_all(peer: &Peer, keys: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = peer.address().parse().unwrap();
        let client = Client::connect(vec![address], Config::new()).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for start in 0..IN_FLIGHT {
            let handle = client.handle().clone();
            tasks.spawn(async move {
                for key in (start..keys).step_by(IN_FLIGHT) {
                    let got = handle.get(format!("key {key}")).await.unwrap();
                    assert_eq!(got.single(), Some(&Bytes::from(value(key))), "key {key}");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        client.close().await;
    });
}

fn settle(peers: &[Peer; 3]) {
    for peer in peers {
        peer.wait_until_settled(3);
    }
}

fn kill_all(peers: &mut [Peer; 3]) {
    for peer in &mut *peers {
        peer.signal("KILL");
    }
    for peer in peers {
        peer.kill();
    }
}

fn nothing_is_lost(transport: &str) {
    let keys = keys();
    let listen = ["--listen", listen_on(transport)];
    let first = Peer::start_with("first", None, &listen);
    let second = Peer::start_with("second", Some(&first), &listen);
    let third = Peer::start_with("third", Some(&second), &listen);
    let mut peers = [first, second, third];
    settle(&peers);
    assert!(peers[0].address().contains(if transport == "tcp" { "/tcp/" } else { "/quic-v1/" }));

    import(&peers[0], keys);
    check_all(&peers[2], keys);

    // On the addresses that they remember, and told of nobody.
    let before: Vec<String> = peers.iter().map(Peer::address).collect();
    kill_all(&mut peers);
    for peer in &mut peers {
        peer.respawn_with(&[]);
    }
    for peer in &mut peers {
        peer.wait_until_ready();
    }
    settle(&peers);
    assert_eq!(peers.iter().map(Peer::address).collect::<Vec<_>>(), before);
    check_all(&peers[1], keys);

    // On new addresses, so that they have to be told of one.
    kill_all(&mut peers);
    peers[0].respawn_with(&listen);
    let join = peers[0].wait_until_listening();
    let join = ["--join", join.as_str()];
    peers[1].respawn_with(&[listen, join].concat());
    peers[2].respawn_with(&[listen, join].concat());
    for peer in &mut peers {
        peer.wait_until_ready();
    }
    settle(&peers);
    assert!(peers.iter().zip(&before).all(|(peer, before)| peer.address() != *before));
    check_all(&peers[2], keys);
}

#[test]
fn nothing_acknowledged_is_lost_when_all_peers_die_at_once_over_tcp() {
    nothing_is_lost("tcp");
}

#[test]
fn nothing_acknowledged_is_lost_when_all_peers_die_at_once_over_quic() {
    nothing_is_lost("quic");
}
