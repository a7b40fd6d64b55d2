//! Real peers are killed, stopped, and robbed of their disks while clients read and write, and nothing
//! acknowledged is lost.
//!
//! `HENGE_TEST_REPEAT` sets how often each fault that is measured is repeated (default 1), `HENGE_TEST_ANSWERS` how many
//! answers of each client latencies are taken from (default 60), `HENGE_TEST_KEYS` how many keys are put while a peer
//! hangs (default 300). With `--nocapture`, lines that begin with `faults:` tell what the clients noticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use henge::client::{Client, Config};
use support::history::{Contents, Entry, History, Op, Over};
use support::launch::Launcher;
use support::load::{Demand, KEYS, Load, key_bytes, values};
use support::process::Peer;
use support::{now, setting, wait_for};

/// Five, so that two may die and N = 3 are left.
const PEERS: usize = 5;

/// Answers that every client must get during a fault.
const PROGRESS: usize = 60;

/// No client may wait longer for an answer, whatever happens to two peers. The measured figures are far
/// below; a busy machine may add to them.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The size of the small disk. Enough for the store and what is written meanwhile.
const SMALL_DISK_BYTES: usize = 96 << 20;

/// One ring at a time: clients of two would wait for each other's processor time.
static ONE_RING: Mutex<()> = Mutex::new(());

fn repeat() -> usize {
    setting("HENGE_TEST_REPEAT", 1)
}

/// Five settled peers. Dropped before the next ring starts.
struct Ring {
    peers: Vec<Peer>,
    _alone: MutexGuard<'static, ()>,
}

impl Ring {
    fn start() -> Self {
        let alone = ONE_RING.lock().unwrap_or_else(PoisonError::into_inner);
        let arguments = ["--durability", "interval"];
        let first = Peer::start_with("peer 0", None, &arguments);
        let mut peers = vec![first];
        for n in 1..PEERS {
            peers.push(Peer::spawn(&format!("peer {n}"), peers.first(), &arguments));
        }
        let mut ring = Self { peers, _alone: alone };
        for peer in &mut ring.peers {
            peer.wait_until_ready();
        }
        ring.settle();
        ring
    }

    fn settle(&self) {
        for peer in &self.peers {
            peer.wait_until_settled(PEERS);
        }
    }

    fn load(&self) -> Load {
        let addresses = self.peers.iter().map(|peer| peer.address().parse().unwrap());
        Load::start(addresses.collect(), Demand::default())
    }

    fn restart(&mut self, peer: usize) {
        self.peers[peer].kill();
        self.peers[peer].restart();
    }

    /// A peer comes back under its identity, with nothing else but its ports.
    fn restart_without_store(&mut self, peer: usize) {
        self.peers[peer].kill();
        let store = self.peers[peer].data_dir().join("store");
        fs::remove_dir_all(&store).unwrap();
        self.rejoin(peer);
    }

    /// A peer with an empty store has to be told of its ring.
    fn rejoin(&mut self, peer: usize) {
        let join = self.peers[(peer + 1) % PEERS].address();
        self.peers[peer].respawn_with(&["--durability", "interval", "--join", &join]);
        self.peers[peer].wait_until_ready();
    }

    fn wait_until_hints_are_delivered(&self) {
        for peer in &self.peers {
            wait_for("all hints are delivered", || {
                let status = peer.status();
                let waiting = &status["counters"]["hints_waiting"];
                (*waiting == 0).then_some(())
            });
        }
    }

    /// All peers are back: every acknowledged write is there or superseded, and all replicas say the same.
    fn verify(&self, history: &History) {
        self.wait_until_hints_are_delivered();
        let read = read_all(&self.peers[0], None);
        history.assert_nothing_invented(&read);
        assert_eq!(history.lost(&read), [], "lost, of {:?} (answers, writes)", history.answered());
        for peer in &self.peers {
            let all = read_all(peer, Some(3));
            history.assert_nothing_invented(&all);
            assert_eq!(history.lost(&all), [], "lost for {}", peer.id());
        }
    }
}

/// What all keys hold, read through one peer.
fn read_all(peer: &Peer, quorum: Option<u8>) -> Contents {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(vec![peer.address().parse().unwrap()], Config::new()).await.unwrap();
        let mut contents = Contents::new();
        for key in 0..KEYS {
            let mut get = client.handle().get(key_bytes(key)).timeout(Duration::from_secs(20));
            if let Some(quorum) = quorum {
                get = get.quorum(quorum);
            }
            contents.insert(key, values(&get.await.unwrap()).into_iter().collect());
        }
        client.close().await;
        contents
    })
}

/// Tells what the clients noticed since `since`.
fn report(what: &str, load: &Load, since: Instant) {
    let until = now();
    let (errors, pauses) =
        load.with_history(|history| (history.errors_since(since), history.pauses(since, until)));
    let mut pauses: Vec<u128> = pauses.values().map(Duration::as_millis).collect();
    pauses.sort_unstable();
    let count: usize = errors.values().sum();
    eprintln!("faults: {what}: {count} errors {errors:?}, longest pause of each client in ms {pauses:?}");
    let longest = pauses.last().copied().unwrap_or_default();
    assert!(longest <= PAUSE_MAX.as_millis(), "{what}: a client waited {longest} ms");
}

#[track_caller]
fn assert_no_errors(history: &History, since: Instant) {
    let errors = history.errors_since(since);
    assert!(errors.is_empty(), "{errors:?} of {:?} (answers, writes)", history.answered());
}

/// So many peers get SIGKILL at once, and come back with their disks.
fn kill(what: &str, victims: usize) {
    let mut ring = Ring::start();
    let load = ring.load();
    let begin = now();
    for round in 0..repeat() {
        let victims: Vec<usize> = (0..victims).map(|n| (round * victims + n) % PEERS).collect();
        let since = now();
        for victim in &victims {
            ring.peers[*victim].signal("KILL");
        }
        load.wait_for_progress(PROGRESS);
        report(what, &load, since);
        for victim in victims {
            ring.restart(victim);
        }
        ring.settle();
        load.wait_for_progress(1);
    }
    let history = load.stop();
    assert_no_errors(&history, begin);
    ring.verify(&history);
}

#[test]
fn clients_see_no_error_when_a_peer_is_killed() {
    kill("one SIGKILL", 1);
}

#[test]
fn clients_see_no_error_when_two_peers_are_killed_at_once() {
    kill("two SIGKILLs", 2);
}

#[test]
fn requests_go_on_while_a_peer_hangs() {
    let answers = setting("HENGE_TEST_ANSWERS", PROGRESS);
    let ring = Ring::start();
    let load = ring.load();
    for round in 0..repeat() {
        let victim = &ring.peers[round % PEERS];
        let others = || ring.peers.iter().filter(|peer| peer.pid() != victim.pid());
        let healthy = Gets::of(&load, answers);
        let since = now();
        victim.signal("STOP");
        load.wait_for_progress(PROGRESS);
        report("one SIGSTOP", &load, since);
        others().for_each(|peer| wait_until_down(peer, &victim.id()));
        let down = Gets::of(&load, answers);
        eprintln!(
            "faults: gets while all are up: {healthy}; while one is down: {down}; p99 {:.1} times",
            down / healthy
        );
        import(&ring.peers[(round + 1) % PEERS], setting("HENGE_TEST_KEYS", 300));
        wait_for("hints wait", || (sum(others(), "hints_waiting") > 0).then_some(()));
        let (since, before) = (now(), sum(others(), "hints_delivered"));
        victim.signal("CONT");
        wait_for("all hints are delivered", || (sum(others(), "hints_waiting") == 0).then_some(()));
        let took = (now() - since).as_secs_f64();
        let delivered = sum(others(), "hints_delivered") - before;
        let rate = delivered as f64 / took;
        eprintln!("faults: {delivered} hints delivered within {took:.1} s of SIGCONT: {rate:.0} per second");
        load.wait_for_progress(PROGRESS);
        ring.settle();
        report("one SIGCONT", &load, since);
    }
    ring.verify(&load.stop());
}

/// How long gets took.
#[derive(Debug, Clone, Copy)]
struct Gets {
    count: usize,
    p50: Duration,
    p99: Duration,
}

impl Gets {
    /// Of the next so many answers of each client.
    fn of(load: &Load, answers: usize) -> Self {
        let since = now();
        load.wait_for_progress(answers);
        let mut took = load.with_history(|history| history.gets_since(since));
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        Self { count: took.len(), p50: at(50), p99: at(99) }
    }
}

impl std::ops::Div for Gets {
    type Output = f64;

    fn div(self, other: Self) -> f64 {
        self.p99.as_secs_f64() / other.p99.as_secs_f64()
    }
}

impl std::fmt::Display for Gets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |took: Duration| took.as_secs_f64() * 1e3;
        write!(f, "p50 {:.2} ms, p99 {:.2} ms of {}", ms(self.p50), ms(self.p99), self.count)
    }
}

fn wait_until_down(peer: &Peer, victim: &str) {
    wait_for("it is down", || {
        let status = peer.status();
        let members = status["members"].as_array().unwrap();
        members.iter().any(|member| member["peer"] == victim && member["down"] == true).then_some(())
    });
}

fn import(through: &Peer, keys: usize) {
    let lines: String = (0..keys).map(|key| format!("import/{key}\tvalue {key}\n")).collect();
    through.run_with_stdin(&["import", "-", "--format", "tsv"], lines.as_bytes()).exits(0);
}

/// A counter of several peers together.
fn sum<'a>(peers: impl Iterator<Item = &'a Peer>, counter: &str) -> u64 {
    peers.map(|peer| peer.status()["counters"][counter].as_u64().unwrap()).sum()
}

#[test]
fn nothing_is_lost_when_peers_come_back_with_old_disks_and_without() {
    let mut ring = Ring::start();
    let load = ring.load();
    for victim in [0, 1] {
        let since = now();
        ring.restart(victim);
        load.wait_for_progress(PROGRESS);
        ring.settle();
        report("a restart", &load, since);
    }
    let since = now();
    ring.restart_without_store(2);
    load.wait_for_progress(PROGRESS);
    report("a restart with a lost disk", &load, since);
    ring.verify(&load.stop());
}

#[test]
fn nothing_is_lost_when_a_disk_is_full() {
    let mut ring = Ring::start();
    let store = ring.peers[0].data_dir().join("store");
    let small_disk = Launcher::on_small_disk(store.to_str().unwrap(), SMALL_DISK_BYTES);
    if let Some(refusal) = small_disk.refusal() {
        eprintln!("faults: skipped: no small disk can be mounted here: {refusal}");
        return;
    }
    ring.peers[0].kill();
    fs::remove_dir_all(&store).unwrap();
    fs::create_dir(&store).unwrap();
    ring.peers[0].set_launcher(small_disk);
    ring.rejoin(0);

    let load = ring.load();
    let since = now();
    fill(&ring.peers[0], &store);
    wait_for("the peer notices", || {
        ring.peers[0].output().contains("the store cannot be written").then_some(())
    });
    load.wait_for_progress(PROGRESS);
    report("a full disk", &load, since);
    // The disk goes with its process.
    ring.peers[0].kill();
    ring.peers[0].set_launcher(Launcher::default());
    ring.rejoin(0);
    load.wait_for_progress(PROGRESS);
    ring.verify(&load.stop());
}

/// Fills the disk of a peer, which only that process sees, to the last byte.
fn fill(peer: &Peer, directory: &std::path::Path) {
    let path = format!("/proc/{}/root{}/filler", peer.pid(), directory.display());
    let mut filler = File::create(path).unwrap();
    let block = vec![1u8; 4096];
    let written = (0..SMALL_DISK_BYTES / block.len() + 1).take_while(|_| filler.write_all(&block).is_ok());
    let blocks = written.count();
    assert!(blocks * block.len() < SMALL_DISK_BYTES, "the disk is no small one");
}

/// A history by hand: at second `start` a put of `value` over something, which took one second.
fn put(at: Instant, start: u64, value: u64, over: Over, result: Result<Vec<u64>, &'static str>) -> Entry {
    let start = at + Duration::from_secs(start);
    let op = Op::Put { value, over };
    Entry { client: 0, key: 1, op, start, end: start + Duration::from_secs(1), result }
}

fn history(entries: impl IntoIterator<Item = Entry>) -> History {
    let mut history = History::default();
    entries.into_iter().for_each(|entry| history.record(entry));
    history
}

#[test]
fn the_checker_finds_what_is_lost_and_only_that() {
    let at = now();
    let seen = |values: &[u64]| Over::Seen(values.to_vec());
    let history = history([
        put(at, 0, 1, Over::Blind, Ok(vec![])),
        put(at, 2, 2, seen(&[1]), Ok(vec![])),
        put(at, 4, 3, Over::Blind, Ok(vec![])),
        put(at, 6, 4, seen(&[2]), Err("unknown")),
        put(at, 8, 5, Over::Blind, Err("unavailable")),
    ]);
    let lost = |last: &[u64]| {
        let last = Contents::from([(1, last.iter().copied().collect())]);
        history.lost(&last).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(lost(&[2, 3]), [0; 0]);
    assert_eq!(lost(&[4, 3]), [0; 0], "superseded by a write that failed and was done all the same");
    assert_eq!(lost(&[2]), [3]);
    assert_eq!(lost(&[3, 5]), [1, 2]);
    assert_eq!(lost(&[1, 3]), [2]);
    assert_eq!(lost(&[]), [1, 2, 3]);
}

#[test]
fn the_checker_lets_a_put_over_whatever_is_there_supersede_what_began_before_it_ended() {
    let at = now();
    let history = history([
        put(at, 0, 1, Over::Blind, Ok(vec![])),
        put(at, 4, 2, Over::Current, Ok(vec![])),
        put(at, 8, 3, Over::Blind, Ok(vec![])),
    ]);
    let last = Contents::from([(1, [2].into())]);
    assert_eq!(history.lost(&last), [(1, 3)]);
}

#[test]
#[should_panic(expected = "nobody put 7 under key 1")]
fn the_checker_finds_an_invented_value() {
    history([]).assert_nothing_invented(&Contents::from([(1, [7].into())]));
}

#[test]
fn the_checker_finds_a_get_that_missed_what_was_put_before_it() {
    let at = now();
    let get = |start: u64, seen: &[u64]| {
        let start = at + Duration::from_secs(start);
        let end = start + Duration::from_secs(1);
        Entry { client: 0, key: 1, op: Op::Get, start, end, result: Ok(seen.to_vec()) }
    };
    let history = history([
        put(at, 0, 1, Over::Blind, Ok(vec![])),
        put(at, 4, 2, Over::Seen(vec![1]), Ok(vec![])),
        get(2, &[1]),
        get(3, &[]),
        get(4, &[1]),
        get(6, &[1]),
        get(7, &[2]),
    ]);
    assert_eq!(history.stale(), [(1, 1), (1, 2)]);
}

#[test]
fn a_pause_is_the_longest_time_between_two_answers() {
    let at = now();
    let history = history([
        put(at, 0, 1, Over::Blind, Ok(vec![])),
        put(at, 5, 2, Over::Blind, Err("unknown")),
        put(at, 7, 3, Over::Blind, Ok(vec![])),
    ]);
    let pauses = history.pauses(at, at + Duration::from_secs(10));
    assert_eq!(pauses[&0], Duration::from_secs(7));
    assert_eq!(history.errors_since(at).into_iter().collect::<Vec<_>>(), [("unknown", 1)]);
}
