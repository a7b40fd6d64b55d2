//! What was acknowledged is there after SIGKILL.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::poll_fn;
use henge::store::worker::{Done, Durability, Worker};
use henge::store::{StoreOp, StoreResult, Ticket};

use crate::common::{blind, key, noise, open, record_of, scratch, update, values};

const ROUNDS: u64 = 4;
const DIRECTORY: &str = "HENGE_STORE_DIRECTORY";
const FIRST: &str = "HENGE_STORE_FIRST";
const DURABILITY: &str = "HENGE_STORE_DURABILITY";

fn name(n: u64) -> String {
    format!("key {n}")
}

/// Sizes that cross blocks and memtables now and then.
fn value(n: u64) -> bytes::Bytes {
    noise(n, if n.is_multiple_of(50) { 200_000 } else { (n % 3000) as usize })
}

/// Runs this very binary as the child test `name`, with its output at hand.
pub(crate) fn run_child(name: &str, environment: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Writes until it is killed, and prints each write that it may acknowledge.
#[test]
#[ignore = "run as a child process by the test below"]
fn child_that_writes() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let durability =
        if std::env::var(DURABILITY).unwrap() == "os" { Durability::Os } else { Durability::Fsync };
    let mut worker = Worker::spawn(open(Path::new(&directory)), durability).unwrap();
    let mut next = first;
    let mut open_tickets = std::collections::VecDeque::new();
    loop {
        while next < first + 1_000_000 && open_tickets.len() < 64 {
            let op = StoreOp::Write(update(&key(name(next)), blind(1, next + 1, value(next))));
            if worker.try_submit(Ticket(next), op).is_err() {
                break;
            }
            open_tickets.push_back(next);
            next += 1;
        }
        for done in block_on(poll_fn(|cx| worker.poll(cx))) {
            match done {
                Done::Stored { ticket, result, durable } => {
                    assert!(matches!(result, StoreResult::Updated { .. }), "{result:?}");
                    if durable {
                        open_tickets.retain(|n| *n != ticket.0);
                        println!("ack {}", ticket.0);
                    }
                }
                Done::Durable { through } => {
                    while open_tickets.front().is_some_and(|n| *n <= through.0) {
                        println!("ack {}", open_tickets.pop_front().unwrap());
                    }
                }
                Done::Poisoned(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let directory = scratch();
    let path = directory.path().to_str().unwrap().to_owned();
    let mut acknowledged: Vec<u64> = Vec::new();
    for round in 0..ROUNDS {
        let first = (acknowledged.last().map_or(0, |n| n + 1000)).to_string();
        let durability = if round % 2 == 0 { "fsync" } else { "os" };
        let environment = [(DIRECTORY, &*path), (FIRST, &*first), (DURABILITY, durability)];
        let mut child = run_child("crash::child_that_writes", &environment);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = acknowledged.len() + 100 + 137 * round as usize;
        let deadline = Instant::now() + Duration::from_secs(20);
        while acknowledged.len() < wanted {
            let line = lines.next().expect("the child ended").unwrap();
            acknowledged.extend(line.strip_prefix("ack ").map(|n| n.parse::<u64>().unwrap()));
            assert!(Instant::now() < deadline, "the child is too slow");
        }
        child.kill().unwrap();
        // What it said before it died counts as well.
        let rest =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok());
        acknowledged.extend(rest);
        child.wait().unwrap();

        let store = open(directory.path());
        for n in &acknowledged {
            assert_eq!(values(&record_of(&*store, &key(name(*n)))), [value(*n)], "round {round}, write {n}");
        }
    }
}
