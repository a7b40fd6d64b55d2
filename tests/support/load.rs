//! Clients that read and write until they are told to stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use henge::client::{Client, Config};
use henge::error::RequestError;
use henge::handle::Handle;
use libp2p::Multiaddr;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::history::{Entry, History, Key, Op, Over, Value, kind};
use super::{now, wait_for};

/// What the clients ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// How many clients there are.
    pub(crate) clients: usize,
    /// Whether voters alone count, so that no get may miss what was put before it.
    pub(crate) strict: bool,
    /// How many keys they share. Few enough that they meet; the checker takes time by the square of what
    /// was done to a key.
    pub(crate) keys: Key,
}

impl Default for Demand {
    fn default() -> Self {
        Self { clients: 16, strict: false, keys: KEYS }
    }
}

/// How many keys they share, unless a test wants more.
pub(crate) const KEYS: Key = 64;

/// Between two requests of a client: the peers on this machine shall not be starved.
const THINK: Duration = Duration::from_millis(5);

/// A value is its number and padding.
const VALUE_BYTES: usize = 256;

/// Running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    demand: Demand,
    stop: AtomicBool,
    history: Mutex<History>,
    answered: Vec<AtomicUsize>,
    /// How many clients know more addresses than they need.
    prepared: AtomicUsize,
}

impl Load {
    /// Starts the clients, each at a peer of its own choice: every other one knows all peers, the others just
    /// that one. Waits until all have had answers, and have learnt where the other peers are.
    pub(crate) fn start(peers: Vec<Multiaddr>, demand: Demand) -> Self {
        let shared = Arc::new(Shared {
            demand,
            stop: AtomicBool::new(false),
            history: Mutex::default(),
            answered: (0..demand.clients).map(|_| AtomicUsize::new(0)).collect(),
            prepared: AtomicUsize::new(0),
        });
        let theirs = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut clients = tokio::task::JoinSet::new();
                for client in 0..demand.clients {
                    let mut addresses = peers.clone();
                    addresses.rotate_left(client / 2 % peers.len());
                    if client % 2 == 1 {
                        addresses.truncate(1);
                    }
                    clients.spawn(run(client, addresses, peers.len(), theirs.clone()));
                }
                while let Some(done) = clients.join_next().await {
                    done.unwrap();
                }
            });
        });
        let load = Self { shared, thread: Some(thread) };
        wait_for("all clients know all peers", || {
            load.assert_running();
            (load.shared.prepared.load(Ordering::Relaxed) == demand.clients).then_some(())
        });
        load.wait_for_progress(10);
        load
    }

    /// Waits until each client has had so many more answers.
    pub(crate) fn wait_for_progress(&self, answers: usize) {
        let counts = || -> Vec<usize> {
            self.shared.answered.iter().map(|count| count.load(Ordering::Relaxed)).collect()
        };
        let before = counts();
        wait_for("every client goes on", || {
            self.assert_running();
            counts().iter().zip(&before).all(|(count, before)| *count >= before + answers).then_some(())
        });
    }

    /// What was done so far.
    pub(crate) fn with_history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.shared.history.lock().unwrap())
    }

    /// Stops the clients and takes their history.
    pub(crate) fn stop(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        thread.join().expect("no client panics");
        std::mem::take(&mut self.shared.history.lock().unwrap())
    }

    fn assert_running(&self) {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "a client has panicked");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// The bytes of a key.
pub(crate) fn key_bytes(key: Key) -> String {
    format!("key {key}")
}

fn value_bytes(value: Value) -> Vec<u8> {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(VALUE_BYTES, b'.');
    bytes
}

/// The number that bytes are of, if any.
fn value_of(bytes: &[u8]) -> Value {
    assert_eq!(bytes.len(), VALUE_BYTES, "no client put such a value");
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

/// The values in what a get returned.
pub(crate) fn values(got: &henge::handle::Got) -> Vec<Value> {
    got.siblings.iter().map(|sibling| value_of(&sibling.value)).collect()
}

async fn run(client: usize, addresses: Vec<Multiaddr>, peers: usize, shared: Arc<Shared>) {
    let connection = Client::connect(addresses, Config::new()).await.expect("a client connects");
    let mut rng = SmallRng::seed_from_u64(client as u64);
    let mut next_value = client as u64 * 1_000_000_000;
    let mut is_prepared = false;
    while !shared.stop.load(Ordering::Relaxed) {
        let asking = Asking { client, handle: connection.handle(), shared: &shared };
        asking.some_request(&mut rng, &mut next_value).await;
        if !is_prepared && knows_all(&connection, peers) {
            is_prepared = true;
            shared.prepared.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(THINK).await;
    }
    connection.close().await;
}

/// An address of each peer, its id included.
fn knows_all(client: &Client, peers: usize) -> bool {
    let addresses = client.addresses();
    let ids: std::collections::BTreeSet<String> = addresses
        .iter()
        .filter_map(|address| address.to_string().rsplit('/').next().map(str::to_owned))
        .collect();
    ids.len() >= peers
}

struct Asking<'a> {
    client: usize,
    handle: &'a Handle,
    shared: &'a Shared,
}

impl Asking<'_> {
    async fn some_request(&self, rng: &mut SmallRng, next_value: &mut Value) {
        let key = rng.random_range(0..self.shared.demand.keys);
        *next_value += 1;
        let value = *next_value;
        match rng.random_range(0..4) {
            0 => self.put(key, value, Over::Blind, None).await,
            // A put over whatever is there hides what went before it from the checker: only on half of the keys.
            1 if key.is_multiple_of(2) => self.put(key, value, Over::Current, None).await,
            1 | 2 => {
                if let Some((seen, context)) = self.get(key).await {
                    self.put(key, value, Over::Seen(seen), Some(context)).await;
                }
            }
            _ => {
                self.get(key).await;
            }
        }
    }

    async fn get(&self, key: Key) -> Option<(Vec<Value>, henge_types::Context)> {
        let start = now();
        let mut get = self.handle.get(key_bytes(key));
        if self.shared.demand.strict {
            get = get.strict();
        }
        let result = get.await;
        self.tell(key, result.as_ref().err());
        let seen = result.as_ref().map(values).map_err(kind);
        self.record(Entry { client: self.client, key, op: Op::Get, start, end: now(), result: seen.clone() });
        Some((seen.ok()?, result.ok()?.context))
    }

    async fn put(&self, key: Key, value: Value, over: Over, context: Option<henge_types::Context>) {
        let start = now();
        let mut put = self.handle.put(key_bytes(key), value_bytes(value));
        match (&over, context) {
            (Over::Blind, _) => put = put.blind(),
            (Over::Seen(_), Some(context)) => put = put.context(context),
            (Over::Seen(_) | Over::Current, _) => {}
        }
        if self.shared.demand.strict {
            put = put.strict();
        }
        let result = put.await.map(|_| Vec::new());
        self.tell(key, result.as_ref().err());
        let result = result.map_err(|error| kind(&error));
        let op = Op::Put { value, over };
        self.record(Entry { client: self.client, key, op, start, end: now(), result });
    }

    /// For whoever wonders why a test failed: what the peers said, word for word.
    fn tell(&self, key: Key, error: Option<&RequestError>) {
        if let Some(error) = error {
            eprintln!("client {}, key {key}: {error}", self.client);
        }
    }

    fn record(&self, entry: Entry) {
        if entry.result.is_ok() {
            self.shared.answered[self.client].fetch_add(1, Ordering::Relaxed);
        }
        self.shared.history.lock().unwrap().record(entry);
    }
}
