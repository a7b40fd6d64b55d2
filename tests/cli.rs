//! The command line against wrong input, and against a peer that follows a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::fs;

use henge_client::{Failure, Repair, RepairId, RepairMember, RepairState, Request, Response};
use serde_json::json;
use support::command::{finish, henge, run, run_with_stdin};
use support::memory::Memory;
use support::scripted::{Say, Scripted};

/// An address on loopback where nobody listens.
fn nobody() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("/ip4/127.0.0.1/tcp/{}", socket.local_addr().unwrap().port())
}

fn peer() -> Scripted {
    let mut memory = Memory::default();
    Scripted::over_tcp(move |request| Say::answer(memory.answer(request)))
}

/// A peer that does `say` with puts and gets.
fn peer_that(mut say: impl FnMut() -> Say + Send + 'static) -> Scripted {
    Scripted::over_tcp(move |request| match request {
        Request::Put { .. } | Request::Delete { .. } | Request::Get(_) => say(),
        _ => Say::answer(Memory::default().answer(request)),
    })
}

#[test]
fn help_and_version_are_data_and_exit_0() {
    let help = run(["--help"]).exits(0);
    let commands = ["demo", "run", "put", "get", "delete", "import", "status", "locate", "bench"];
    for command in commands.into_iter().chain(["leave", "remove", "repair", "weight"]) {
        assert!(help.text().contains(command), "{command}");
        assert!(run([command, "--help"]).exits(0).text().contains("Example"), "{command}");
    }
    assert!(run(["--version"]).exits(0).text().starts_with("henge "));
}

#[test]
fn wrong_usage_exits_2_and_says_so_on_stderr() {
    let address = nobody();
    let peer = ["--peer", address.as_str()];
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["get"], "KEY"),
        (&["get", ""], "the key is empty"),
        (&["get", "k", "-r", "0"], "0"),
        (&["put", "k", "v", "-w", "17"], "17"),
        (&["put", "k", "v", "--blind", "--context", "AQAAAAAAAAAAAAAAAAAAAAAAAAA"], "cannot be used with"),
        (&["put", "k", "v", "--context", "nonsense!"], "no token that henge printed"),
        (&["delete", "k", "--context", ""], "no token that henge printed"),
        (&["put", "k", "v", "--ttl", "0"], "0"),
        (&["put", "k", "v", "--cluster", "no spaces"], "cluster name"),
        (&["get", "k", "--timeout", "61"], "61"),
        (&["import", "/does/not/exist"], "/does/not/exist"),
        (&["import", "-", "--in-flight", "0"], "0"),
        (&["bench", "--puts", "101"], "101"),
        (&["weight"], "<N>"),
        (&["weight", "0"], "1..=64"),
        (&["weight", "65"], "1..=64"),
        (&["repair", "--partition", "65536"], "65536"),
        (&["repair", "--partition", "-1"], "-1"),
    ];
    for (args, complaint) in cases {
        let with_peer = args.iter().chain(if args.is_empty() { &[][..] } else { &peer });
        let outcome = run(with_peer).exits(2).complains(complaint);
        assert!(outcome.stdout.is_empty(), "{args:?} wrote {}", outcome.text());
    }
}

#[test]
fn without_a_peer_the_flag_and_the_variable_are_named() {
    run(["get", "k"]).exits(2).complains("--peer");
}

#[test]
fn a_malformed_address_is_refused_with_a_hint() {
    for (address, hint) in [
        ("127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001"),
        ("/ip4/127.0.0.1", "henge speaks"),
        ("/ip4/999.0.0.1/tcp/1", "no multiaddr"),
        ("", "no multiaddr"),
    ] {
        run(["get", "k", "--peer", address]).exits(2).complains(hint);
        let mut command = henge(["get", "k"]);
        command.env("HENGE_PEER", address);
        finish(command, b"").exits(2);
    }
}

#[test]
fn keys_and_values_over_their_limits_are_refused_before_anything_is_sent() {
    let address = nobody();
    let long_key = "k".repeat(1025);
    run(["get", &long_key, "--peer", &address]).exits(2).complains("1025 bytes");
    run(["put", &long_key, "v", "--peer", &address]).exits(2).complains("1025 bytes");
    let value = vec![0; (1 << 20) + 1];
    run_with_stdin(["put", "k", "--peer", &address], &value).exits(2).complains("1048576");
}

#[test]
fn an_unreachable_peer_exits_3_with_the_systems_reason() {
    let address = nobody();
    for args in
        [&["get", "k"][..], &["put", "k", "v"], &["delete", "k"], &["status"], &["locate", "k"], &["bench"]]
    {
        let args = args.iter().copied().chain(["--peer", &address]);
        run(args).exits(3).complains("refused").complains(&address);
    }
}

#[test]
fn another_peer_or_another_cluster_exits_3_and_names_both() {
    let peer = peer();
    let other = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";
    let wrong_peer = format!("{}/p2p/{other}", peer.address);
    run(["get", "k", "--peer", &wrong_peer]).exits(3).complains(other).complains(&peer.peer.to_string());
    let address = peer.full_address().to_string();
    run(["get", "k", "--peer", &address, "--cluster", "other"]).exits(3).complains("cluster \"other\"");
}

#[test]
fn get_returns_exactly_the_bytes_that_put_took_from_argument_or_stdin() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    run(["put", "text", "a value"].iter().chain(&at)).exits(0);
    assert_eq!(run(["get", "text"].iter().chain(&at)).exits(0).stdout, b"a value");
    for args in [&["put", "bytes"][..], &["put", "bytes", "-"]] {
        run_with_stdin(args.iter().chain(&at), b"\xff\0\r\n").exits(0);
        assert_eq!(run(["get", "bytes"].iter().chain(&at)).exits(0).stdout, b"\xff\0\r\n");
    }
    run_with_stdin(["put", "empty"].iter().chain(&at), b"").exits(0);
    assert_eq!(run(["get", "empty"].iter().chain(&at)).exits(0).stdout, b"");
    let largest = vec![b'x'; 1 << 20];
    run_with_stdin(["put", "largest"].iter().chain(&at), &largest).exits(0);
    assert_eq!(run(["get", "largest"].iter().chain(&at)).exits(0).stdout, largest);
}

#[test]
fn the_peer_may_stand_in_the_environment() {
    let peer = peer();
    let mut command = henge(["put", "k", "v"]);
    command.env("HENGE_PEER", format!("{},{}", nobody(), peer.full_address()));
    finish(command, b"").exits(0);
}

#[test]
fn a_key_without_a_value_exits_1() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    let outcome = run(["get", "absent"].iter().chain(&at)).exits(1).complains("not found");
    assert!(outcome.stdout.is_empty());
    run(["delete", "absent"].iter().chain(&at)).exits(1).complains("not found");
    let outcome = run(["get", "absent", "--json"].iter().chain(&at)).exits(1);
    assert_eq!(outcome.json()["siblings"], json!([]));
    run(["put", "k", "v"].iter().chain(&at)).exits(0);
    run(["delete", "k"].iter().chain(&at)).exits(0);
    run(["get", "k"].iter().chain(&at)).exits(1);
}

#[test]
fn siblings_exit_5_until_they_are_asked_for_or_put_over() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    run(["put", "k", "one", "--blind"].iter().chain(&at)).exits(0);
    run_with_stdin(["put", "k", "--blind"].iter().chain(&at), b"\xfe").exits(0);
    let outcome = run(["get", "k"].iter().chain(&at)).exits(5).complains("2 concurrent values");
    assert!(outcome.stdout.is_empty());
    let all = run(["get", "k", "--all"].iter().chain(&at)).exits(0).stdout;
    assert!(all == b"one\n\xfe\n" || all == b"\xfe\none\n", "{all:?}");

    let got = run(["get", "k", "--json"].iter().chain(&at)).exits(0).json();
    let values: Vec<_> =
        got["siblings"].as_array().unwrap().iter().map(|sibling| &sibling["value"]).collect();
    assert!(values.contains(&&json!("one")) && values.contains(&&json!({"base64": "/g=="})), "{values:?}");
    let context = got["context"].as_str().unwrap();
    let put = run(["put", "k", "both", "--context", context, "--json"].iter().chain(&at)).exits(0).json();
    assert_eq!((&put["acks"], &put["hinted"]), (&json!(1), &json!(0)));
    assert_eq!(run(["get", "k"].iter().chain(&at)).exits(0).stdout, b"both");
    // What this context has not seen stays.
    run(["delete", "k", "--context", context].iter().chain(&at)).exits(0);
    assert_eq!(run(["get", "k"].iter().chain(&at)).exits(0).stdout, b"both");
}

#[test]
fn a_forged_or_foreign_context_exits_2_and_changes_nothing() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    let put = run(["put", "k", "v", "--json"].iter().chain(&at)).exits(0).json();
    let context = put["context"].as_str().unwrap();
    let forged = format!("{}{}", &context[..context.len() - 4], "AAAA");
    run(["put", "k", "w", "--context", &forged].iter().chain(&at))
        .exits(2)
        .complains("not given out by this ring");
    run(["put", "other", "w", "--context", context].iter().chain(&at)).exits(2).complains("another key");
    assert_eq!(run(["get", "k"].iter().chain(&at)).exits(0).stdout, b"v");
    run(["get", "other"].iter().chain(&at)).exits(1);
}

#[test]
fn unavailable_exits_3_and_an_unknown_outcome_4() {
    let unavailable = peer_that(|| Say::answer(Response::Failed(Failure::Unavailable { needed: 2, got: 1 })));
    let at = ["--peer", &unavailable.full_address().to_string()];
    run(["put", "k", "v"].iter().chain(&at)).exits(3).complains("2 replicas needed, 1 answered");
    run(["get", "k"].iter().chain(&at)).exits(3);

    let unknown = peer_that(|| Say::answer(Response::Failed(Failure::Unknown { needed: 2, got: 1 })));
    let at = ["--peer", &unknown.full_address().to_string()];
    run(["put", "k", "v"].iter().chain(&at)).exits(4).complains("outcome unknown");

    let hangs_up = peer_that(|| Say::HangUp);
    let at = ["--peer", &hangs_up.full_address().to_string()];
    run(["put", "k", "v"].iter().chain(&at)).exits(4).complains("outcome unknown");
    run(["get", "k"].iter().chain(&at)).exits(3).complains("no answer");
}

#[test]
fn status_and_locate_print_tables_and_json() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    let status = run(["status"].iter().chain(&at)).exits(0).text();
    assert!(status.contains("PEER") && status.contains("settled") && !status.contains('\x1b'), "{status}");
    let status = run(["status", "--json"].iter().chain(&at)).exits(0).json();
    assert_eq!(status["members"][0]["phase"], json!("settled"));
    assert_eq!(status["params"]["replicas"], json!(3));

    let located = run(["locate", "k"].iter().chain(&at)).exits(0).text();
    assert!(located.contains("position") && located.contains("full"), "{located}");
    let located = run(["locate", "k", "--json"].iter().chain(&at)).exits(0).json();
    assert_eq!(located["preference_list"][0]["custody"], json!("full"));
    assert_eq!(located["position"].as_str().unwrap().len(), 16);
}

#[test]
fn import_reads_lines_from_files_and_stdin_and_names_what_failed() {
    let peer = peer();
    let address = peer.full_address().to_string();
    let at = ["--peer", address.as_str()];
    let directory = tempfile::tempdir().unwrap();
    let ndjson = directory.path().join("data.ndjson");
    let lines = "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\",\"value\":{\"base64\":\"/w==\"}}\n{\"key\":\"c\",\"value\":[1, 2]}\n";
    fs::write(&ndjson, lines).unwrap();
    let outcome = run(["import", ndjson.to_str().unwrap()].iter().chain(&at)).exits(0);
    assert!(outcome.text().starts_with("imported 3 keys"), "{}", outcome.text());
    for (key, value) in [("a", &b"1"[..]), ("b", b"\xff"), ("c", b"[1, 2]")] {
        assert_eq!(run(["get", key].iter().chain(&at)).exits(0).stdout, value, "{key}");
    }

    let bad = format!("x\t1\nno tab\n\tno key\n{}\t1\ny\t2\t3\nx\t4\n", "k".repeat(1025));
    let outcome =
        run_with_stdin(["import", "-", "--json", "--prefix", "p/"].iter().chain(&at), bad.as_bytes());
    let outcome = outcome.exits(6).complains("line 2").complains("1027 bytes");
    // With a prefix, an empty key is one.
    assert_eq!((&outcome.json()["imported"], &outcome.json()["failed"]), (&json!(4), &json!(2)));
    for (key, value) in [("p/x", "4"), ("p/y", "2\t3"), ("p/", "no key")] {
        assert_eq!(run(["get", key].iter().chain(&at)).exits(0).text(), value, "{key}");
    }
}

#[test]
fn import_takes_the_files_of_a_directory() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    fs::write(directory.path().join("top"), b"1").unwrap();
    fs::write(directory.path().join("a/b/deep"), b"\xff\n").unwrap();
    fs::write(directory.path().join("big"), vec![0; (1 << 20) + 1]).unwrap();
    let outcome = run(["import", directory.path().to_str().unwrap()].iter().chain(&at)).exits(6);
    let outcome = outcome.complains("failed big");
    assert!(outcome.text().starts_with("imported 2 keys"), "{}", outcome.text());
    assert_eq!(run(["get", "top"].iter().chain(&at)).exits(0).stdout, b"1");
    assert_eq!(run(["get", "a/b/deep"].iter().chain(&at)).exits(0).stdout, b"\xff\n");
}

#[test]
fn import_tries_again_what_may_pass_and_names_what_does_not() {
    let mut asked = 0;
    let overloaded = peer_that(move || {
        asked += 1;
        Say::answer(if asked <= 2 {
            Response::Failed(Failure::Overloaded)
        } else {
            Response::Failed(Failure::TooManySiblings { siblings: 100 })
        })
    });
    let at = ["--peer", &overloaded.full_address().to_string()];
    let outcome = run_with_stdin(["import", "-"].iter().chain(&at), b"key\tvalue\n").exits(6);
    outcome.complains("failed key: the key has 100 concurrent values");
}

/// A peer whose repair goes through these, a step each time that it is asked.
fn repairing(steps: Vec<Repair>) -> Scripted {
    let mut steps = steps.into_iter();
    let mut last = None;
    Scripted::over_tcp(move |request| match request {
        Request::Repair { .. } | Request::RepairProgress { .. } => {
            last = steps.next().or(last.take());
            Say::answer(Response::Repair(last.clone().unwrap()))
        }
        _ => Say::answer(Memory::default().answer(request)),
    })
}

fn repair(states: &[RepairState]) -> Repair {
    let member = |state: &RepairState| RepairMember {
        peer: libp2p::PeerId::random(),
        partitions: 64,
        compared: if *state == RepairState::Through { 64 } else { 12 },
        state: *state,
    };
    Repair {
        id: RepairId(7),
        partition: None,
        elapsed_ms: 1_500,
        members: states.iter().map(member).collect(),
        keys_compared: 4_000,
        records_pulled: 3_000,
        bytes_pulled: 1_258_292,
        records_pushed: 1,
        bytes_pushed: 512,
        records_left: 0,
    }
}

#[test]
fn repair_waits_for_the_end_and_tells_what_moved() {
    use RepairState::{Comparing, Through, Waiting};
    let steps =
        || vec![repair(&[Waiting, Waiting]), repair(&[Through, Comparing]), repair(&[Through, Through])];
    let peer = repairing(steps());
    let told = run(["repair", "--peer", &peer.full_address().to_string()]).exits(0);
    let expected = "compared 128 partitions, 4000 keys here, with 2 members in 1.5 s: \
                    3000 records (1.2 MiB) in, 1 record (512 bytes) out\n";
    assert_eq!(told.text(), expected);
    let peer = repairing(steps());
    let json = run(["repair", "--json", "--peer", &peer.full_address().to_string()]).exits(0).json();
    assert_eq!((&json["partition"], &json["seconds"]), (&json!(null), &json!(1.5)));
    assert_eq!((&json["members"][1]["state"], &json["records_pulled"]), (&json!("through"), &json!(3000)));
}

#[test]
fn repair_ends_with_3_for_members_left_out_and_with_6_for_records() {
    use RepairState::{Failed, Through, Unreachable};
    for state in [Failed, Unreachable] {
        let steps = repair(&[Through, state]);
        let out = steps.members[1].peer.to_string();
        let peer = repairing(vec![steps]);
        let told = run(["repair", "--peer", &peer.full_address().to_string()]).exits(3);
        told.complains(&out).complains("12 of 64 partitions");
    }
    let left = Repair { records_left: 2, ..repair(&[Through]) };
    let peer = repairing(vec![left]);
    run(["repair", "--peer", &peer.full_address().to_string()]).exits(6).complains("2 records could not");
    let peer = repairing(vec![repair(&[])]);
    let told = run(["repair", "--peer", &peer.full_address().to_string()]).exits(0);
    assert!(told.text().contains("nothing to compare"), "{}", told.text());
}

#[test]
fn what_a_peer_refuses_is_told_in_its_words() {
    let refuses = |failure: fn() -> Failure| {
        Scripted::over_tcp(move |request| match request {
            Request::Repair { .. } | Request::Weight { .. } => Say::answer(Response::Failed(failure())),
            _ => Say::answer(Memory::default().answer(request)),
        })
    };
    let range = refuses(|| Failure::BadRequest { reason: "partition 64: use 0 to 63".to_owned() });
    let at = ["--peer", &range.full_address().to_string()];
    run(["repair", "--partition", "64"].iter().chain(&at)).exits(2).complains("use 0 to 63");
    run(["weight", "2"].iter().chain(&at)).exits(2);
    let newcomer = refuses(|| Failure::NotReady);
    let at = ["--peer", &newcomer.full_address().to_string()];
    run(["repair"].iter().chain(&at)).exits(3).complains("not joined its ring yet");
    run(["weight", "2"].iter().chain(&at)).exits(3).complains("not joined its ring yet");
    let two = format!("{},{}", range.full_address(), newcomer.full_address());
    for command in [&["repair"][..], &["weight", "2"]] {
        run(command.iter().copied().chain(["--peer", &two])).exits(2).complains("one peer only");
    }
}

#[test]
fn a_peer_that_forgot_the_repair_is_no_endless_wait() {
    let forgets = Scripted::over_tcp(|request| match request {
        Request::Repair { .. } => Say::answer(Response::Repair(repair(&[RepairState::Comparing]))),
        _ => Say::answer(Response::Failed(Failure::BadRequest { reason: "unknown".to_owned() })),
    });
    let told = run(["repair", "--peer", &forgets.full_address().to_string()]).exits(6);
    told.complains("does not know the repair any more");
}

#[test]
fn bench_prints_a_table_or_json() {
    let peer = peer();
    let at = ["--peer", &peer.full_address().to_string()];
    let short = ["--seconds", "1", "--clients", "4", "--keys", "20"];
    let table = run(["bench"].iter().chain(&short).chain(&at)).exits(0).text();
    assert!(table.contains("P99.9 MS") && table.contains("put") && table.contains("get"), "{table}");
    let blind = ["bench", "--json", "--puts", "100", "--blind"];
    let report = run(blind.iter().chain(&short).chain(&at)).exits(0).json();
    assert!(report["puts"]["count"].as_u64().unwrap() > 0);
    assert_eq!(report["gets"]["count"], json!(0));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let peer = peer();
    let address = peer.full_address().to_string();
    let mut child = henge(["status", "--peer", &address]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
