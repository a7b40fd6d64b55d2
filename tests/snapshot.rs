//! Backups of real peers: taken under load, cut off, restored, imported.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use henge::client::{Client, Config};
use henge::snapshot::{About, Snapshot};
use henge_types::codec::Stored;
use serde_json::json;
use support::command::{Outcome, run};
use support::process::{Peer, directory};
use support::wait_for;

fn snapshot(peer: &Peer, path: &Path) -> Outcome {
    peer.run(&["snapshot", path.to_str().unwrap(), "--json", "--rate", "1000000000"])
}

/// The single live value of each key.
fn values(path: &Path) -> BTreeMap<String, String> {
    let entries = Snapshot::open(path).unwrap().entries().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = |(key, record): (henge_types::Key, henge_types::Record)| {
        let live: Vec<_> = record.live(0).map(|(_, value)| text(value)).collect();
        assert!(live.len() <= 1, "{key}: {live:?}");
        Some((text(key.as_bytes()), live.into_iter().next()?))
    };
    entries.filter_map(|entry| value(entry.unwrap().unwrap())).collect()
}

fn puts(peer: &Peer, range: std::ops::Range<u32>, value: &str) {
    let lines: String = range.map(|n| format!("{{\"key\":\"k{n}\",\"value\":\"{value}\"}}\n")).collect();
    peer.run_with_stdin(&["import", "-", "--format", "ndjson"], lines.as_bytes()).exits(0);
}

#[test]
fn a_snapshot_under_load_is_of_one_instant() {
    const PAIRS: usize = 16;
    let peer = Peer::start("peer", None);
    puts(&peer, 0..20_000, "filling");
    let backups = directory();
    let stop = AtomicBool::new(false);
    let address = peer.address().parse().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::connect(vec![address], Config::new()).await.unwrap();
                let mut rounds = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    rounds += 1;
                    // Each key after the one before it is acknowledged.
                    for at in 0..PAIRS {
                        let key = format!("pair {at}");
                        client.handle().put(key, rounds.to_string()).await.unwrap();
                    }
                }
                client.close().await;
                rounds
            })
        });
        for at in 0..5 {
            let path = backups.path().join(at.to_string());
            let told = snapshot(&peer, &path).exits(0).json();
            let found = values(&path);
            assert_eq!(told["records"], json!(found.len()));
            let pairs: Vec<u64> = (0..PAIRS)
                .map(|at| found.get(&format!("pair {at}")).map_or(0, |n| n.parse().unwrap()))
                .collect();
            // At any instant the first so many are one round ahead of the others.
            let ahead = pairs.iter().take_while(|n| **n == pairs[0]).count();
            assert!(pairs[ahead..].iter().all(|n| *n + 1 == pairs[0]), "{pairs:?}");
            assert!((0..20_000).all(|n| found.contains_key(&format!("k{n}"))));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 5);
    });
}

#[test]
fn a_peer_that_dies_while_it_takes_one_leaves_nothing_that_is_taken_for_one() {
    let mut peer = Peer::start("peer", None);
    for n in 0..8 {
        peer.run_with_stdin(&["put", &n.to_string()], &vec![b'x'; 1 << 20]).exits(0);
    }
    let backups = directory();
    let path = backups.path().join("cut");
    let text = path.to_str().unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| peer.run(&["snapshot", text, "--rate", "500000"]));
        let written = || fs::metadata(path.join("records")).is_ok_and(|file| file.len() > 0);
        wait_for("something is written", || written().then_some(()));
        // Another one has to wait, the same is only watched.
        let other = backups.path().join("other");
        peer.run(&["snapshot", other.to_str().unwrap()]).exits(2).complains("is being taken");
        assert!(!other.exists());
        peer.signal("KILL");
        assert_ne!(client.join().unwrap().code, Some(0));
    });
    peer.kill();
    assert!(!path.join("snapshot").exists());
    run(["quarantine", text]).exits(2).complains("neither");
    let new = directory();
    let data = new.path().join("data");
    let from = ["run", "--data-dir", data.to_str().unwrap(), "--from-snapshot", text];
    run(from).exits(6).complains("no snapshot");
    peer.respawn();
    peer.wait_until_ready();
    peer.run(&["snapshot", text]).exits(6).complains("cut off");
    peer.run(&["snapshot", "relative"]).exits(6).complains("absolute");
    fs::remove_dir_all(&path).unwrap();
    peer.run(&["snapshot", text]).exits(0);
    assert_eq!(Snapshot::open(&path).unwrap().about().records, 8);
    let end = peer.end_with("TERM");
    assert_eq!(end, Some(0));
}

#[test]
fn a_restored_member_brings_back_nothing_that_was_changed_or_deleted_since() {
    let mut first = Peer::start("first", None);
    let second = Peer::start("second", Some(&first));
    let third = Peer::start("third", Some(&second));
    for peer in [&first, &second, &third] {
        peer.wait_until_settled(3);
    }
    puts(&first, 0..60, "old");
    let backups = directory();
    let path = backups.path().join("one");
    snapshot(&first, &path).exits(0);
    assert_eq!(values(&path).len(), 60);
    puts(&second, 0..20, "new");
    for n in 20..30 {
        second.run(&["delete", &format!("k{n}")]).exits(0);
    }
    let id = first.id();
    first.kill();
    second.run(&["remove", &id, "--force"]).exits(0);
    third.wait_until_settled(2);
    let back = Peer::start_with("back", Some(&second), &["--from-snapshot", path.to_str().unwrap()]);
    assert_ne!(back.id(), id);
    let seen = |peer: &Peer| {
        for n in 0..60 {
            // One answer is enough, and it is not to be that of a part.
            let got = peer.run(&["get", &format!("k{n}"), "--strict", "-r", "1"]);
            match n {
                0..20 => assert_eq!(got.exits(0).text(), "new", "k{n}"),
                20..30 => drop(got.exits(1)),
                _ => assert_eq!(got.exits(0).text(), "old", "k{n}"),
            }
        }
    };
    seen(&back);
    for peer in [&second, &third, &back] {
        peer.wait_until_settled(3);
    }
    seen(&back);
    seen(&second);
    third.run(&["put", "k40", "newer"]).exits(0);
    assert_eq!(back.run(&["get", "k40", "--strict"]).exits(0).text(), "newer");
}

/// Two members that each have one half of the keys `k0` to `k39`; the first is gone, and removed.
/// Returns its data, and which keys it had.
fn one_half_lost(backup: Option<&Path>) -> (Peer, Peer, Vec<String>) {
    let mut first = Peer::start_with("first", None, &["--replicas", "1"]);
    let second = Peer::start("second", Some(&first));
    for peer in [&first, &second] {
        peer.wait_until_settled(2);
    }
    puts(&first, 0..40, "kept");
    if let Some(backup) = backup {
        snapshot(&first, backup).exits(0);
    }
    let id = first.id();
    assert_eq!(first.end_with("TERM"), Some(0));
    second.run(&["remove", &id, "--force"]).exits(0);
    second.wait_until_settled(1);
    let data = first.data_dir();
    let list = run(["quarantine", data.to_str().unwrap(), "--list"]).exits(0).text();
    let lost: Vec<String> = list.lines().map(str::to_owned).collect();
    assert!((1..40).contains(&lost.len()), "{lost:?}");
    (first, second, lost)
}

#[test]
fn what_only_the_snapshot_has_comes_back_with_it() {
    let backups = directory();
    let path = backups.path().join("half");
    let (_first, second, lost) = one_half_lost(Some(&path));
    for key in &lost {
        second.run(&["get", key]).exits(1);
    }
    let back = Peer::start_with("back", Some(&second), &["--from-snapshot", path.to_str().unwrap()]);
    for peer in [&second, &back] {
        peer.wait_until_settled(2);
    }
    for n in 0..40 {
        assert_eq!(second.run(&["get", &format!("k{n}"), "--strict"]).exits(0).text(), "kept");
    }
}

#[test]
fn a_ring_is_born_of_a_snapshot() {
    let mut lost = Peer::start("lost", None);
    puts(&lost, 0..50, "kept");
    lost.run(&["put", "two", "a", "--blind"]).exits(0);
    lost.run(&["put", "two", "b", "--blind"]).exits(0);
    lost.run(&["delete", "k7"]).exits(0);
    let backups = directory();
    let path = backups.path().join("all");
    let text = path.to_str().unwrap();
    snapshot(&lost, &path).exits(0);
    let ring = lost.status()["ring"].clone();
    lost.run(&["put", "k8", "too late"]).exits(0);
    lost.kill();
    let survey = run(["quarantine", text, "--json"]).exits(0).json();
    assert_eq!(
        (&survey["keys"], &survey["values"], &survey["tombstones"]),
        (&json!(51), &json!(51), &json!(1))
    );

    let mut born = Peer::start_with("born", None, &["--from-snapshot", text]);
    assert_ne!(born.status()["ring"], ring);
    let seen = |peer: &Peer| {
        for n in (0..50).filter(|n| *n != 7) {
            assert_eq!(peer.run(&["get", &format!("k{n}"), "--strict"]).exits(0).text(), "kept");
        }
        peer.run(&["get", "k7"]).exits(1);
        peer.run(&["get", "two"]).exits(5);
    };
    seen(&born);
    born.run(&["put", "two", "c"]).exits(0);
    assert_eq!(born.run(&["get", "two"]).exits(0).text(), "c");
    born.run(&["put", "two", "b", "--blind"]).exits(0);
    assert_eq!(born.end_with("TERM"), Some(0));
    // The directory has a store by now.
    born.respawn();
    assert_eq!(born.ends(), Some(6));
    born.respawn_with(&[]);
    born.wait_until_ready();
    let second = Peer::start("second", Some(&born));
    second.wait_until_settled(2);
    seen(&second);
}

#[test]
fn a_snapshot_that_is_too_old_or_of_another_ring_is_refused() {
    let peer = Peer::start("peer", None);
    puts(&peer, 0..5, "x");
    let backups = directory();
    let path = backups.path().join("one");
    snapshot(&peer, &path).exits(0);
    let stranger = Peer::start("stranger", None);
    let from = ["--from-snapshot", path.to_str().unwrap()];
    let mut other = Peer::spawn("other", Some(&stranger), &from);
    assert_eq!(other.ends(), Some(6));
    assert!(other.output().contains("this is ring"), "{}", other.output());
    assert_eq!(stranger.status()["members"].as_array().unwrap().len(), 1);

    let marker = path.join("snapshot");
    let mut about = About::from_stored(&fs::read(&marker).unwrap()).unwrap();
    about.taken_unix_ms -= 11 * 24 * 3600 * 1000;
    fs::write(&marker, about.to_stored().unwrap()).unwrap();
    let mut old = Peer::spawn("old", Some(&peer), &from);
    assert_eq!(old.ends(), Some(6));
    assert!(old.output().contains("deleted keys could come back"), "{}", old.output());
    assert!(!old.data_dir().join("store").exists());
    // A new ring has forgotten nothing.
    let born = Peer::start_with("born", None, &from);
    assert_eq!(born.run(&["get", "k3"]).exits(0).text(), "x");
}

#[test]
fn what_an_evicted_peer_had_is_imported_where_the_ring_knows_nothing() {
    let (first, second, lost) = one_half_lost(None);
    let [changed, deleted, rest @ ..] = lost.as_slice() else { panic!("{lost:?}") };
    second.run(&["put", changed, "newer"]).exits(0);
    second.run(&["put", deleted, "newer"]).exits(0);
    second.run(&["delete", deleted]).exits(0);
    let data = first.data_dir();
    let quarantine = |more: &[&str]| {
        let mut arguments = vec!["quarantine", data.to_str().unwrap()];
        arguments.extend(more);
        arguments.push("--json");
        run(arguments)
    };
    assert_eq!(quarantine(&[]).exits(0).json()["keys"], json!(lost.len()));
    let address = second.address();
    let import = ["--import", "--peer", &address];
    let told = quarantine(&import).exits(0).json();
    let count = |name: &str| told[name].as_u64().unwrap();
    assert_eq!((count("imported"), count("present"), count("deleted")), (rest.len() as u64, 1, 1), "{told}");
    for key in rest {
        assert_eq!(second.run(&["get", key]).exits(0).text(), "kept");
    }
    assert_eq!(second.run(&["get", changed]).exits(0).text(), "newer");
    second.run(&["get", deleted]).exits(1);
    // Again: nothing more, also of what was deleted since.
    second.run(&["delete", &rest[0]]).exits(0);
    let told = quarantine(&import).exits(0).json();
    assert_eq!(told["imported"], json!(0), "{told}");
    second.run(&["get", &rest[0]]).exits(1);
    // All: beside what is there.
    let told = quarantine(&["--import", "--all", "--peer", &address, "--prefix", changed]).exits(0).json();
    assert_eq!(told["failed"], json!(0), "{told}");
    second.run(&["get", changed]).exits(5);

    let running = second.data_dir();
    run(["quarantine", running.to_str().unwrap()]).exits(6).complains("in use by another process");
    run(["quarantine", "/nowhere/at/all"]).exits(2);
}
