//! Real peers join a ring, leave it, are removed from it, and lose their disks, while the data moves
//! between them.
//!
//! With `--nocapture`, lines that begin with `growth:` tell how long each step took. `HENGE_TEST_KEYS` sets how many
//! keys a ring has that grows and shrinks (default 2,000), `HENGE_TEST_CLIENTS` how many clients (default 4), and
//! `HENGE_TEST_MISSED` how many writes a peer misses (default 3,000).
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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use henge::client::{Client, Config};
use serde_json::Value;
use support::command;
use support::history::Contents;
use support::ledger::{Ledger, Noticed, load_average};
use support::load::{self, Demand, Load};
use support::process::Peer;
use support::{now, setting, wait_for};

/// Keys that are there before anything moves.
const IMPORTED: usize = 2_000;

/// Requests under way at a time while many keys are written or read.
const IN_FLIGHT: usize = 64;

/// No member may be placed more than this share above the mean.
const IMBALANCE_MAX: f64 = 1.06;

/// One ring at a time: two would wait for each other's processor time.
static ONE_RING: Mutex<()> = Mutex::new(());

/// The peers of a ring, by their names. Dropped before the next ring starts.
struct Ring {
    peers: BTreeMap<&'static str, Peer>,
    _alone: MutexGuard<'static, ()>,
}

impl Ring {
    fn start(names: &[&'static str], arguments: &[&str]) -> Self {
        let alone = ONE_RING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ring = Self { peers: BTreeMap::new(), _alone: alone };
        for name in names {
            ring.join(name, arguments);
        }
        ring.settle(&[]);
        ring
    }

    fn join(&mut self, name: &'static str, arguments: &[&str]) {
        let arguments = [&["--durability", "interval"], arguments].concat();
        let peer = Peer::start_with(name, self.peers.values().next(), &arguments);
        self.peers.insert(name, peer);
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.peers.values().map(Peer::address)
    }

    /// Waits until every running peer sees all of them settled, and nobody else who has anything.
    fn settle(&self, stopped: &[&str]) {
        let running = || self.peers.iter().filter(|(name, _)| !stopped.contains(name)).map(|(_, peer)| peer);
        let mut ids: Vec<String> = running().map(Peer::id).collect();
        ids.sort();
        for peer in running() {
            wait_for("all are settled", || {
                let members = members(peer);
                let settled = members.iter().filter(|m| m["phase"] == "settled");
                let mut settled: Vec<&str> = settled.map(|m| m["peer"].as_str().unwrap()).collect();
                settled.sort_unstable();
                let mut rest = members.iter().filter(|m| m["phase"] != "settled");
                let gone = rest.all(|m| m["phase"] == "left" && m["full"] == 0 && m["part"] == 0);
                (settled == ids && gone).then_some(())
            });
        }
    }

    /// Waits until it looks so, and all are settled.
    fn settle_at(&self, looks_so: impl Fn(&Self) -> bool) {
        wait_for("the ring is as it should be", || looks_so(self).then_some(()));
        self.settle(&[]);
    }

    /// `henge leave`, until the process has ended by itself.
    fn leave(&mut self, name: &'static str) {
        let mut peer = self.peers.remove(name).unwrap();
        peer.run(&["leave"]).exits(0).complains("has left its ring");
        assert_eq!(peer.ends(), Some(0), "{}", peer.output());
    }

    fn import(&self, through: &str, prefix: &str, keys: usize) {
        let lines: String =
            (0..keys).map(|key| format!("{prefix}{key}\t{}\n", imported(prefix, key))).collect();
        let in_flight = IN_FLIGHT.to_string();
        let import = ["import", "-", "--format", "tsv", "--in-flight", &in_flight];
        self.peers[through].run_with_stdin(&import, lines.as_bytes()).exits(0);
    }

    /// How many partitions the fullest member is placed above the mean.
    fn imbalance(&self) -> f64 {
        let members = members(self.peers.values().next().unwrap());
        let placed = members.iter().filter(|m| m["phase"] == "settled");
        let placed: Vec<f64> = placed.map(|m| m["partitions"].as_f64().unwrap()).collect();
        let max = placed.iter().copied().fold(0.0, f64::max);
        max * placed.len() as f64 / placed.iter().sum::<f64>()
    }
}

fn members(peer: &Peer) -> Vec<Value> {
    peer.status()["members"].as_array().unwrap().clone()
}

/// The row of `of`, as `peer` sees it.
fn row(peer: &Peer, of: &str) -> Option<Value> {
    members(peer).into_iter().find(|member| member["peer"] == of)
}

fn counter(peer: &Peer, name: &str) -> u64 {
    peer.status()["counters"][name].as_u64().unwrap()
}

/// How a key is read.
#[derive(Debug, Clone, Copy)]
enum Read {
    Strict,
    One,
}

/// The value of an imported key: 100 bytes.
fn imported(prefix: &str, key: usize) -> String {
    format!("{:.<100}", format!("value {prefix}{key}"))
}

/// Fails the test unless these keys of an import can be read through this peer.
fn assert_imported(peer: &Peer, prefix: &str, keys: impl IntoIterator<Item = usize>, read: Read) {
    with_client(peer, async |client| {
        let reads = keys.into_iter().map(async |key| {
            let get = client.handle().get(format!("{prefix}{key}"));
            let get = match read {
                Read::Strict => get.strict(),
                Read::One => get.quorum(1),
            };
            let got = get.timeout(Duration::from_secs(20)).await.unwrap();
            let value = got.single().unwrap_or_else(|| panic!("{prefix}{key} is {:?}", got.siblings));
            assert_eq!(&value[..], imported(prefix, key).as_bytes());
        });
        stream::iter(reads).buffer_unordered(IN_FLIGHT).collect::<Vec<()>>().await;
    });
}

/// What the keys of the load hold.
fn contents(peer: &Peer, keys: u32) -> Contents {
    let mut contents = Contents::new();
    with_client(peer, async |client| {
        for key in 0..keys {
            let get = client.handle().get(load::key_bytes(key)).strict();
            contents.insert(key, load::values(&get.await.unwrap()).into_iter().collect());
        }
    });
    contents
}

fn with_client(peer: &Peer, ask: impl AsyncFnOnce(&Client)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Config::new().with_learn_members(false);
        let client = Client::connect(vec![peer.address().parse().unwrap()], config).await.unwrap();
        ask(&client).await;
        client.close().await;
    });
}

fn report(what: &str, since: Instant) {
    eprintln!("growth: {what}: {} ms; load {}", (now() - since).as_millis(), load_average());
}

#[test]
fn clients_notice_nothing_while_a_ring_grows_and_shrinks() {
    let keys = setting("HENGE_TEST_KEYS", IMPORTED);
    let clients = setting("HENGE_TEST_CLIENTS", 4);
    let mut ring = Ring::start(&["a", "b", "c"], &[]);
    let since = now();
    ring.import("a", "import/", keys);
    report(&format!("{keys} keys imported"), since);
    // The more clients, the more is done to each key that the checker has to go through.
    let shared = u32::try_from(4 * clients * clients).unwrap();
    let addresses = ring.addresses().map(|address| address.parse().unwrap()).collect();
    let load = Load::start(addresses, Demand { clients, strict: true, keys: shared });
    let begin = now();
    let imported = (0..keys).map(|key| format!("import/{key}"));
    let mut ledger = Ledger::open(&ring.peers, imported.chain((0..shared).map(load::key_bytes)));
    load.wait_for_progress(100);
    eprintln!("growth: before: {}; load {}", Noticed::since(begin, &load), load_average());
    let joins = ["d", "e", "f"].map(|peer| (peer, true));
    let leaves = ["a", "b", "c"].map(|peer| (peer, false));
    for (peer, joins) in joins.into_iter().chain(leaves) {
        ledger.begin(&ring.peers);
        if joins {
            ring.join(peer, &[])
        } else {
            ring.leave(peer)
        }
        ring.settle(&[]);
        load.wait_for_progress(10);
        let what = if joins { "joined" } else { "left" };
        eprintln!("growth: {peer} {what}: {}", ledger.enter(&ring.peers, &load));
        assert!(ring.imbalance() <= IMBALANCE_MAX, "{}", ring.imbalance());
    }
    let history = load.stop();
    let answered = history.answered();
    eprintln!("growth: {answered:?} (answers, writes) in {} s", (now() - begin).as_secs());
    assert_eq!(history.errors_since(begin), BTreeMap::new(), "of {answered:?} (answers, writes)");
    assert_eq!(history.stale(), [], "of {answered:?} (answers, writes)");
    let since = now();
    for (nth, peer) in ring.peers.values().enumerate() {
        let contents = contents(peer, shared);
        history.assert_nothing_invented(&contents);
        assert_eq!(history.lost(&contents), [], "lost for {}", peer.id());
        assert_imported(peer, "import/", (nth..keys).step_by(ring.peers.len()), Read::Strict);
    }
    report("all keys read", since);
}

#[test]
fn a_peer_that_lost_its_disk_becomes_whole() {
    let mut ring = Ring::start(&["a", "b", "c"], &[]);
    ring.import("a", "import/", IMPORTED);
    let join = ring.peers["a"].address();
    let victim = ring.peers.get_mut("c").unwrap();
    victim.kill();
    fs::remove_dir_all(victim.data_dir().join("store")).unwrap();
    let since = now();
    victim.respawn_with(&["--durability", "interval", "--join", &join]);
    victim.wait_until_ready();
    ring.settle(&[]);
    report("a lost disk", since);
    assert_has_all_alone(&mut ring, "c", "import/", IMPORTED);
}

#[test]
fn what_a_peer_missed_without_hints_comes_to_it_by_range_sync() {
    let missed = setting("HENGE_TEST_MISSED", 3_000);
    let mut ring = Ring::start(&["a", "b", "c"], &["--hints-max-bytes", "1"]);
    ring.peers.get_mut("c").unwrap().kill();
    ring.import("a", "missed/", missed);
    let since = now();
    ring.peers.get_mut("c").unwrap().restart();
    let c = &ring.peers["c"];
    wait_for("it has as many records as the others", || {
        let members = members(c);
        let keys = |id: &str| members.iter().find(|m| m["peer"] == id).and_then(|m| m["keys"].as_u64());
        (keys(&c.id()) >= Some(missed as u64)).then_some(())
    });
    report(&format!("{missed} missed writes"), since);
    assert_eq!(["a", "b"].map(|peer| counter(&ring.peers[peer], "hints_delivered")), [0, 0]);
    assert_has_all_alone(&mut ring, "c", "missed/", missed);
}

#[test]
fn what_a_peer_missed_comes_to_it_by_a_repair_when_nothing_else_brings_it() {
    const BEFORE: usize = 100;
    let missed = setting("HENGE_TEST_MISSED", 3_000);
    let mut ring = Ring::start(&["a", "b", "c"], &["--hints-max-bytes", "1", "--sync-interval", "0"]);
    ring.import("a", "before/", BEFORE);
    ring.peers.get_mut("c").unwrap().kill();
    ring.import("a", "missed/", missed);
    ring.peers.get_mut("c").unwrap().restart();
    ring.settle(&[]);
    let (c, a, b) = (&ring.peers["c"], ring.peers["a"].id(), ring.peers["b"].id());
    let since = now();
    let repair = c.run(&["repair", "--json"]).exits(0).json();
    report(&format!("a repair of {missed} missed writes"), since);
    assert_eq!(repair["records_left"], 0);
    let pulled = repair["records_pulled"].as_u64().unwrap();
    assert!((missed as u64..2 * missed as u64 + 200).contains(&pulled), "{repair}");
    let states: BTreeMap<&str, &str> = repair["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["peer"].as_str().unwrap(), m["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, BTreeMap::from([(a.as_str(), "through"), (b.as_str(), "through")]));
    assert_eq!(counter(c, "sync_records_received"), pulled, "nothing came before, nor by other sessions");
    let again = c.run(&["repair", "--json"]).exits(0).json();
    assert_eq!((&again["records_pulled"], &again["records_pushed"]), (&0.into(), &0.into()));
    assert_eq!(again["keys_compared"], 2 * (BEFORE + missed));

    c.run(&["repair", "--partition", "16384"]).exits(2).complains("use 0 to 16383");
    ring.peers.get_mut("b").unwrap().kill();
    let c = &ring.peers["c"];
    c.run(&["repair"]).exits(3).complains(&b).complains("0 of 16384 partitions");
    assert_has_all_alone(&mut ring, "c", "missed/", missed);
}

#[test]
fn a_peer_takes_the_weight_that_it_is_told_and_remembers_it() {
    let mut ring = Ring::start(&["a", "b", "c", "d"], &[]);
    ring.import("a", "import/", IMPORTED);
    let d = ring.peers["d"].id();
    let weighs = |ring: &Ring, by: &str| {
        let row = row(&ring.peers[by], &d).unwrap();
        (row["weight"].as_u64().unwrap(), row["partitions"].as_u64().unwrap())
    };
    // Its shares are 12,288 and all 16,384; no peer is placed over 5 % above its share, which leaves it that much.
    let light = |ring: &Ring, by: &str| matches!(weighs(ring, by), (1, 10_400..=13_000));
    let heavy = |ring: &Ring, by: &str| matches!(weighs(ring, by), (2, 14_700..=16_384));
    assert!(light(&ring, "a"), "{:?}", weighs(&ring, "a"));
    let since = now();
    ring.peers["d"].run(&["weight", "2"]).exits(0).complains("weight 2");
    ring.settle_at(|ring| heavy(ring, "a"));
    report("a weight of 2 instead of 1", since);
    for name in ["a", "d"] {
        assert_imported(&ring.peers[name], "import/", 0..IMPORTED, Read::Strict);
    }
    let peer = ring.peers.get_mut("d").unwrap();
    peer.kill();
    peer.restart();
    assert!(heavy(&ring, "d"), "{:?}", weighs(&ring, "d"));
    let peer = ring.peers.get_mut("d").unwrap();
    peer.kill();
    peer.respawn_with(&["--durability", "interval", "--weight", "1"]);
    peer.wait_until_ready();
    ring.settle_at(|ring| light(ring, "a"));
    assert_imported(&ring.peers["d"], "import/", 0..IMPORTED, Read::Strict);
}

/// Fails the test unless this peer has all keys when nobody else is there.
fn assert_has_all_alone(ring: &mut Ring, alone: &'static str, prefix: &str, keys: usize) {
    for (_, peer) in ring.peers.iter_mut().filter(|(name, _)| **name != alone) {
        peer.kill();
    }
    assert_imported(&ring.peers[alone], prefix, 0..keys, Read::One);
}

#[test]
fn a_dead_peer_is_removed_and_may_come_back() {
    let mut ring = Ring::start(&["a", "b", "c", "d"], &[]);
    ring.import("a", "import/", IMPORTED);
    let (a, removed) = (&ring.peers["a"], ring.peers["d"].id());
    a.run(&["remove", &removed]).exits(2).complains("is not down");
    ring.peers.get_mut("d").unwrap().kill();
    let since = now();
    ring.peers["a"].run(&["remove", &removed, "--force"]).exits(0);
    ring.settle(&["d"]);
    report("a member removed", since);
    for name in ["a", "b", "c"] {
        assert_imported(&ring.peers[name], "import/", 0..IMPORTED, Read::Strict);
    }
    let since = now();
    ring.peers.get_mut("d").unwrap().restart();
    ring.settle(&[]);
    report("it came back", since);
    assert!(row(&ring.peers["a"], &removed).unwrap()["partitions"].as_u64() > Some(0));
    assert_imported(&ring.peers["d"], "import/", 0..IMPORTED, Read::Strict);
}

#[test]
fn the_last_member_cannot_leave() {
    let ring = Ring::start(&["a"], &[]);
    let leave = command::run(["leave", "--peer", &ring.peers["a"].address()]);
    leave.exits(2).complains("no other member");
}
