//! Real peers and the real command line, each a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use henge::client::{Client, Config};
use libp2p::Multiaddr;
use serde_json::json;
use support::command::{finish, henge, run};
use support::process::Peer;
use support::wait_for;

/// Three peers, the second joined through the first and the third through the second.
fn chain() -> [Peer; 3] {
    let first = Peer::start("first", None);
    let second = Peer::start("second", Some(&first));
    let third = Peer::start("third", Some(&second));
    for peer in [&first, &second, &third] {
        peer.wait_until_settled(3);
    }
    [first, second, third]
}

#[test]
fn three_peers_in_a_chain_are_one_store() {
    let [first, second, third] = chain();
    first.run(&["put", "stone", "heel"]).exits(0);
    assert_eq!(third.run(&["get", "stone"]).exits(0).stdout, b"heel");
    third.run(&["put", "stone", "altar"]).exits(0);
    assert_eq!(first.run(&["get", "stone"]).exits(0).stdout, b"altar");
    second.run(&["delete", "stone"]).exits(0);
    first.run(&["get", "stone"]).exits(1).complains("not found");
    second.run(&["delete", "stone"]).exits(1);

    let bytes: Vec<u8> = (0..=255).collect();
    second.run_with_stdin(&["put", "bytes", "-w", "3", "--strict"], &bytes).exits(0);
    assert_eq!(first.run(&["get", "bytes", "-r", "3", "--strict"]).exits(0).stdout, bytes);
    let largest = vec![b'x'; 1 << 20];
    first.run_with_stdin(&["put", "largest"], &largest).exits(0);
    assert_eq!(third.run(&["get", "largest"]).exits(0).stdout, largest);

    // Over QUIC as well.
    let quic = third.addresses().into_iter().find(|address| address.contains("quic-v1")).unwrap();
    assert_eq!(run(["get", "bytes", "--peer", &quic]).exits(0).stdout, bytes);
}

#[test]
fn writes_that_did_not_see_each_other_become_siblings_until_one_is_put_over_them() {
    let [first, second, third] = chain();
    first.run(&["put", "cart", "book", "--blind"]).exits(0);
    second.run(&["put", "cart", "lamp", "--blind"]).exits(0);
    third.run(&["get", "cart"]).exits(5).complains("2 concurrent values");
    let all = third.run(&["get", "cart", "--all"]).exits(0).text();
    assert_eq!(all.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["book", "lamp"]));

    let got = third.run(&["get", "cart", "--json"]).exits(0).json();
    assert_eq!(got["siblings"].as_array().unwrap().len(), 2);
    let context = got["context"].as_str().unwrap();
    let put = first.run(&["put", "cart", "book, lamp", "--context", context, "--json"]).exits(0).json();
    assert!(put["acks"].as_u64().unwrap() >= 2 && put["hinted"] == json!(0), "{put}");
    assert_eq!(second.run(&["get", "cart"]).exits(0).stdout, b"book, lamp");

    let forged = format!("{}{}", &context[..context.len() - 4], "AAAA");
    first.run(&["put", "cart", "x", "--context", &forged]).exits(2);
    first.run(&["put", "other", "x", "--context", context]).exits(2).complains("another key");
    first.run(&["get", "other"]).exits(1);
    assert_eq!(second.run(&["get", "cart"]).exits(0).stdout, b"book, lamp");
}

#[test]
fn a_quorum_that_cannot_be_had_exits_3_and_an_impossible_one_changes_nothing() {
    let alone = Peer::start("alone", None);
    alone.run(&["put", "k", "v", "-w", "1"]).exits(0);
    alone.run(&["put", "k", "w", "-w", "3", "--timeout", "2"]).exits(3).complains("3 replicas needed");
    alone.run(&["get", "k", "-r", "3", "--timeout", "2"]).exits(3);
}

#[test]
fn import_takes_ndjson_tsv_and_directories() {
    let [first, second, third] = chain();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let lines: String =
        (0..300).map(|n| format!("{{\"key\":\"n/{n}\",\"value\":\"{}\"}}\n", n * n)).collect();
    fs::write(at("data.ndjson"), lines).unwrap();
    fs::write(at("data.tsv"), "t/1\tone\nno tab\nt/2\ttwo\twith a tab\n").unwrap();
    fs::create_dir_all(at("tree/below")).unwrap();
    fs::write(at("tree/below/file"), b"\x00\xff").unwrap();

    let outcome = first.run(&["import", at("data.ndjson").to_str().unwrap()]).exits(0);
    assert!(outcome.text().starts_with("imported 300 keys"), "{}", outcome.text());
    for n in [0, 150, 299] {
        assert_eq!(third.run(&["get", &format!("n/{n}")]).exits(0).text(), (n * n).to_string());
    }
    let outcome =
        second.run(&["import", at("data.tsv").to_str().unwrap(), "--json"]).exits(6).complains("line 2");
    assert_eq!((&outcome.json()["imported"], &outcome.json()["failed"]), (&json!(2), &json!(1)));
    assert_eq!(third.run(&["get", "t/2"]).exits(0).text(), "two\twith a tab");
    third.run(&["import", at("tree").to_str().unwrap()]).exits(0);
    assert_eq!(first.run(&["get", "below/file"]).exits(0).stdout, b"\x00\xff");
}

#[test]
fn status_and_locate_agree_at_every_peer() {
    let first = Peer::start_with("first", None, &["--zone", "north"]);
    let second = Peer::start_with("second", Some(&first), &["--zone", "south", "--weight", "2"]);
    second.wait_until_settled(2);
    first.wait_until_settled(2);
    let members = |peer: &Peer| -> Vec<_> {
        let status = peer.status();
        let of = |member: &serde_json::Value| {
            ["peer", "zone", "weight", "partitions", "state"].map(|name| member[name].clone())
        };
        status["members"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(members(&first), members(&second));
    let table = first.run(&["status"]).exits(0).text();
    for text in ["north", "south", "settled", &first.id(), &second.id()] {
        assert!(table.contains(text), "{text} is not in:\n{table}");
    }
    let located = first.run(&["locate", "k", "--json"]).exits(0).json();
    assert_eq!(located, second.run(&["locate", "k", "--json"]).exits(0).json());
    let owners: BTreeSet<_> =
        located["preference_list"].as_array().unwrap().iter().map(|o| o["peer"].as_str().unwrap()).collect();
    assert_eq!(owners, BTreeSet::from([first.id().as_str(), second.id().as_str()]));
}

#[test]
fn a_peer_that_is_stopped_finds_its_ring_again_without_being_told() {
    let [first, second, mut third] = chain();
    first.run(&["put", "k", "v"]).exits(0);
    let (id, addresses) = (third.id(), third.addresses());
    assert_eq!(third.end_with("TERM"), Some(0));
    second.run(&["put", "k", "w"]).exits(0);
    third.restart();
    assert_eq!((third.id(), third.addresses()), (id, addresses));
    third.wait_until_settled(3);
    assert_eq!(third.run(&["get", "k"]).exits(0).stdout, b"w");
    assert_eq!(third.end_with("INT"), Some(0));
}

#[test]
fn reads_and_writes_go_on_when_a_peer_is_killed() {
    let [first, mut second, third] = chain();
    for n in 0..20 {
        first.run(&["put", &format!("before/{n}"), "1"]).exits(0);
    }
    second.kill();
    for n in 0..20 {
        assert_eq!(third.run(&["get", &format!("before/{n}"), "-r", "2"]).exits(0).stdout, b"1");
        third.run(&["put", &format!("after/{n}"), "2", "-w", "2"]).exits(0);
    }
    second.restart();
    second.wait_until_settled(3);
    for n in 0..20 {
        assert_eq!(second.run(&["get", &format!("after/{n}")]).exits(0).stdout, b"2");
    }
}

#[test]
fn a_client_with_several_peers_goes_on_at_another() {
    let [mut first, second, third] = chain();
    third.run(&["put", "k", "v"]).exits(0);
    first.kill();
    let args = ["get", "k", "--peer", &first.address(), "--peer", &second.address()];
    assert_eq!(run(args).exits(0).stdout, b"v");
}

#[test]
fn a_client_leaves_a_peer_that_is_frozen() {
    let [first, second, third] = chain();
    third.run(&["put", "k", "v"]).exits(0);
    first.signal("STOP");
    let args = ["get", "k", "--timeout", "20", "--peer", &first.address(), "--peer", &second.address()];
    assert_eq!(run(args).exits(0).stdout, b"v");
    run(["get", "k", "--peer", &first.address()]).exits(3).complains("cannot connect");
    first.signal("CONT");
    assert_eq!(first.run(&["get", "k", "--timeout", "20"]).exits(0).stdout, b"v");
}

/// Reads through a client that was given these addresses, before and after the peer that it is connected
/// to gets a signal.
fn read_before_and_after(addresses: &[String], victim: &Peer, signal: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let addresses: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let given = addresses.len();
        let client = Client::connect(addresses, Config::new()).await.unwrap();
        assert_eq!(client.peer().to_string(), victim.id());
        let deadline = tokio::time::Instant::now() + support::PATIENCE;
        while client.addresses().len() == given {
            assert!(tokio::time::Instant::now() < deadline, "it learns where other members are");
            client.handle().get("k").await.unwrap();
        }
        victim.signal(signal);
        // Of the owners of the key one may hang: a quorum is had all the same, if not at once.
        for _ in 0..3 {
            let got = client.handle().get("k").timeout(support::PATIENCE / 2).await.unwrap();
            assert_eq!(got.single().unwrap(), "v");
        }
        client.close().await;
    });
}

#[test]
fn a_client_that_knows_one_address_goes_on_at_a_peer_that_it_learnt_of() {
    let [first, _second, third] = chain();
    third.run(&["put", "k", "v"]).exits(0);
    read_before_and_after(&[first.address()], &first, "STOP");
    first.signal("CONT");
    third.wait_until_settled(3);
    read_before_and_after(&[first.address()], &first, "KILL");
}

#[test]
fn a_client_that_knows_two_addresses_goes_on_when_its_peer_dies_or_hangs() {
    let [first, second, third] = chain();
    third.run(&["put", "k", "v"]).exits(0);
    let addresses = [first.address(), second.address()];
    read_before_and_after(&addresses, &first, "STOP");
    first.signal("CONT");
    third.wait_until_settled(3);
    read_before_and_after(&addresses, &first, "KILL");
}

#[test]
fn an_import_goes_on_at_another_peer_when_its_own_is_killed() {
    let [mut first, second, third] = chain();
    let addresses = ["--peer", &first.address(), "--peer", &second.address()];
    let mut command = henge(["import", "-", "--format", "tsv", "--json"]);
    let mut import = command.args(addresses).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = import.stdin.take().unwrap();
    let mut feed = |range: std::ops::Range<u32>| {
        let text: String = range.map(|n| format!("key/{n}\tvalue {n}\n")).collect();
        lines.write_all(text.as_bytes()).unwrap();
    };
    feed(0..2000);
    wait_for("the import is under way", || (third.run(&["get", "key/100"]).code == Some(0)).then_some(()));
    first.kill();
    feed(2000..4000);
    drop(lines);
    let output = import.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("\"imported\":4000"), "{report}");
    for n in [0, 1999, 2000, 3999] {
        assert_eq!(third.run(&["get", &format!("key/{n}")]).exits(0).text(), format!("value {n}"));
    }
}

#[test]
fn a_second_peer_on_the_same_directory_or_port_is_refused() {
    let first = Peer::start("first", None);
    let directory = first.data_dir();
    let outcome = run(["run", "--data-dir", directory.to_str().unwrap()]).exits(6);
    assert!(outcome.stdout.is_empty(), "{}", outcome.text());

    let other = tempfile::tempdir().unwrap();
    let address = first.address();
    let (listen, _) = address.split_once("/p2p/").unwrap();
    let arguments = ["run", "--data-dir", other.path().to_str().unwrap(), "--listen", listen];
    run(arguments).exits(6).complains(listen);
}

#[test]
fn a_peer_of_another_cluster_is_not_joined_and_not_spoken_to() {
    let first = Peer::start("first", None);
    let address = first.address();
    run(["get", "k", "--cluster", "other", "--peer", &address]).exits(3).complains("cluster \"other\"");
    let stranger = Peer::spawn("stranger", Some(&first), &["--cluster", "other"]);
    wait_for("the stranger is told", || stranger.output().contains("cannot join").then_some(()));
    assert_eq!(first.status()["members"].as_array().unwrap().len(), 1);
}

#[test]
fn a_peer_that_no_ring_will_ever_have_ends_and_says_why() {
    let first = Peer::start("first", None);
    let mut stranger = Peer::spawn("stranger", Some(&first), &["--replicas", "5"]);
    assert_eq!(stranger.ends(), Some(6));
    assert!(stranger.output().contains("N=3 R=2 W=2"), "{}", stranger.output());
    assert_eq!(first.status()["members"].as_array().unwrap().len(), 1);
}

#[test]
fn wrong_arguments_of_run_exit_2_and_make_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for arguments in [
        &["--listen", "127.0.0.1:4001"][..],
        &["--join", "nonsense"],
        &["--weight", "65"],
        &["--replicas", "0"],
        &["--zone", ""],
        &["--durability", "never"],
        &["--cluster", "a b"],
    ] {
        run(["run", "--data-dir", data.to_str().unwrap()].iter().chain(arguments)).exits(2);
        assert!(!data.exists(), "{arguments:?}");
    }
}

#[test]
fn bench_measures_a_ring() {
    let [first, second, _third] = chain();
    let arguments =
        ["bench", "--json", "--seconds", "1", "--clients", "8", "--keys", "100", "--peer", &second.address()];
    let report = first.run(&arguments).exits(0).json();
    assert_eq!(report["connections"], json!(2));
    for kind in ["puts", "gets"] {
        assert!(report[kind]["count"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report[kind]["errors"], json!(0), "{report}");
    }
}

#[test]
fn the_demo_runs_to_its_end_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = henge(["demo"]);
    command.env("TMPDIR", temporary.path());
    let outcome = finish(command, b"").exits(0);
    for text in ["5 peers start", "peer 3 gets SIGKILL", "412 of 412 keys", "Done in"] {
        assert!(outcome.text().contains(text), "{text} is not in:\n{}", outcome.text());
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
