//! Clients: each does one thing after the other, remembers contexts, and tries again what failed.

use std::collections::BTreeMap;
use std::time::Duration;

use henge_client::{Failure, Get, Hop, Request, Response, Supersede, WriteOptions};
use henge_types::{ClusterParams, Context, Key};

use crate::history::{self, History, OpNumber, Read, Supersedes, Write};
use crate::rng::Rng;
use crate::world::{CallId, Pid, World};

/// Tries of one write.
const TRIES_MAX: u32 = 4;

/// What clients do.
#[derive(Debug, Clone)]
pub struct Workload {
    /// How many clients.
    pub clients: usize,
    /// How many keys.
    pub keys: usize,
    /// Operations on the first key, of a thousand.
    pub hot: u64,
    /// The longest pause between two operations of a client.
    pub pause: Duration,
    /// The longest that an operation may take.
    pub timeout: Duration,
    /// Largest padding of a value, in bytes.
    pub padding: u64,
    /// Operations that name their own R or W, of a thousand.
    pub quorums: u64,
    /// Operations that are strict, of a thousand; the others are sloppy.
    pub strict: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            clients: 6,
            keys: 8,
            hot: 250,
            pause: Duration::from_millis(400),
            timeout: Duration::from_secs(2),
            padding: 40,
            quorums: 300,
            strict: 600,
        }
    }
}

impl Workload {
    /// The key with this number.
    #[must_use]
    pub fn key(&self, number: usize) -> Option<Key> {
        Key::new(format!("key-{number}")).ok()
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    rng: Rng,
    known: BTreeMap<Key, (Context, Supersedes)>,
    doing: Option<Doing>,
}

#[derive(Debug)]
struct Doing {
    request: Request,
    number: OpNumber,
    tries: u32,
    call: Option<CallId>,
    invoked: Duration,
    // When to stop waiting for an answer.
    until: Duration,
}

/// What a client wants next.
#[derive(Debug)]
pub enum Next {
    /// To be woken after this time.
    Wake(Duration),
    /// A get was answered, to be judged; and to be woken.
    Judge(Read, Duration),
    /// It was refused what it may have, or given what it did not ask for.
    Wronged(Key, String),
}

impl Client {
    /// A client that draws from this stream.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, known: BTreeMap::new(), doing: None }
    }

    /// Whether it waits for nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.doing.is_none()
    }

    /// Whether it waits for this answer.
    #[must_use]
    pub fn waits_for(&self, call: CallId) -> bool {
        self.doing.as_ref().is_some_and(|d| d.call == Some(call))
    }

    /// It is woken: begins something (if `more`), tries again, or gives up waiting.
    pub fn wake(
        &mut self,
        world: &mut World,
        history: &mut History,
        load: &Workload,
        params: &ClusterParams,
        more: bool,
    ) -> Next {
        let now = world.now();
        match &self.doing {
            Some(doing) if doing.call.is_some() && now < doing.until => Next::Wake(doing.until - now),
            Some(doing) if doing.call.is_some() => self.answered(world, history, load, params, None),
            Some(_) => self.send(world, load),
            None if more => {
                self.begin(now, history, load, params);
                self.send(world, load)
            }
            None => Next::Wake(Duration::from_secs(3600)),
        }
    }

    fn send(&mut self, world: &mut World, load: &Workload) -> Next {
        let peers = world.len();
        let pid: Pid = self.rng.index(peers);
        let Some(doing) = &mut self.doing else { return Next::Wake(load.pause) };
        doing.tries += 1;
        doing.until = world.now() + load.timeout + Duration::from_millis(500);
        let key = key_of(&doing.request).cloned();
        if let Some(key) = &key {
            let (number, tries, kind) = (doing.number, doing.tries, kind(&doing.request));
            let now = world.now();
            world
                .trace()
                .tell(now, Some(key), || format!("client -> p{pid} {key} #{number} {kind} (try {tries})"));
        }
        doing.call = world.call(pid, &doing.request);
        if doing.call.is_none() {
            // That peer is down; another one may be up.
            return Next::Wake(self.rng.time(Duration::from_millis(1), Duration::from_millis(100)));
        }
        Next::Wake(load.timeout + Duration::from_millis(501))
    }

    fn begin(&mut self, now: Duration, history: &mut History, load: &Workload, params: &ClusterParams) {
        let at = if self.rng.chance(load.hot) { 0 } else { self.rng.index(load.keys) };
        let Some(key) = load.key(at) else { return };
        let number = history.number();
        let timeout_ms = u32::try_from(load.timeout.as_millis()).unwrap_or(1000);
        let strict = self.rng.chance(load.strict);
        let named = self.rng.chance(load.quorums);
        let n = params.replicas() as u64;
        let quorum = named.then(|| u8::try_from(self.rng.between(1, n)).unwrap_or(1));
        let request = match self.supersede(at, &key) {
            None => Request::Get(Get { key, quorum, strict, timeout_ms }),
            Some((deletes, supersede, supersedes)) => {
                let padding = usize::try_from(self.rng.below(load.padding + 1)).unwrap_or(0);
                let value = (!deletes).then(|| history::value(number, padding));
                let operation = history::operation(number);
                let options = WriteOptions {
                    supersede,
                    quorum,
                    strict,
                    operation,
                    retry: false,
                    timeout_ms,
                    hop: Hop::Client,
                };
                let quorum = quorum.map_or_else(|| params.write_quorum(), usize::from);
                history.begin(Write {
                    number,
                    key: key.clone(),
                    operation,
                    value: value.clone(),
                    supersedes,
                    strict,
                    quorum,
                    invoked: now,
                    acked: None,
                    refused: false,
                });
                match value {
                    Some(value) => Request::Put { key, value, ttl_ms: None, options },
                    None => Request::Delete { key, options },
                }
            }
        };
        self.doing = Some(Doing { request, number, tries: 0, call: None, invoked: now, until: now });
    }

    // Whether to write, and over what; none for a get. Keys with an even number are only written with
    // contexts of gets, or blindly, so that what supersedes what is known exactly.
    fn supersede(&mut self, at: usize, key: &Key) -> Option<(bool, Supersede, Supersedes)> {
        let exact = at.is_multiple_of(2);
        let choice = self.rng.below(100);
        let deletes = self.rng.chance(180);
        match choice {
            0..=44 => None,
            45..=52 => Some((false, Supersede::Blind, Supersedes::Nothing)),
            53..=74 if !exact => Some((deletes, Supersede::Current, Supersedes::Current)),
            _ => {
                let (context, supersedes) = self.known.get(key).cloned()?;
                if exact && matches!(supersedes, Supersedes::Before(_)) {
                    return None;
                }
                Some((deletes, Supersede::Context(context), supersedes))
            }
        }
    }

    /// An answer came, or the peer asked is gone.
    pub fn answered(
        &mut self,
        world: &mut World,
        history: &mut History,
        load: &Workload,
        params: &ClusterParams,
        response: Option<Response>,
    ) -> Next {
        let now = world.now();
        let Some(mut doing) = self.doing.take() else { return Next::Wake(load.pause) };
        let Some(key) = key_of(&doing.request).cloned() else { return Next::Wake(load.pause) };
        let told = response.as_ref().map_or_else(|| "no answer".to_owned(), brief);
        let number = doing.number;
        world.trace().tell(now, Some(&key), || format!("client <- {key} #{number} {told}"));
        let pause = self.rng.time(Duration::from_millis(1), load.pause);
        match (&mut doing.request, response) {
            (Request::Get(get), Some(response)) => {
                let (context, values) = match response {
                    Response::Found { context, siblings, .. } => {
                        (context, siblings.into_iter().map(|s| s.value).collect::<Vec<_>>())
                    }
                    Response::NotFound { context, .. } => (context, Vec::new()),
                    _ => {
                        history.reads_failed += 1;
                        return Next::Wake(pause);
                    }
                };
                history.reads += 1;
                let seen = values.iter().filter_map(|v| history::number_of(v)).collect();
                self.known.insert(key.clone(), (context, Supersedes::Seen(seen)));
                let quorum = get.quorum.map_or_else(|| params.read_quorum(), usize::from);
                let (strict, invoked) = (get.strict, doing.invoked);
                let read = Read { key, strict, quorum, invoked, answered: now, values };
                return Next::Judge(read, pause);
            }
            (Request::Get(_), None) => history.reads_failed += 1,
            (
                Request::Put { options, .. } | Request::Delete { options, .. },
                Some(Response::Written { hinted, .. }),
            ) if options.strict && hinted > 0 => {
                return Next::Wronged(key, format!("{hinted} stand-ins count for a strict write"));
            }
            (_, Some(Response::Written { context, .. })) => {
                history.acked(&key, doing.number, now);
                // Not more often: it covers what its client has not seen.
                if self.rng.chance(200) {
                    self.known.insert(key, (context, Supersedes::Before(now)));
                } else {
                    self.known.remove(&key);
                }
            }
            // A delete that found nothing to delete.
            (_, Some(Response::NotFound { .. })) => {}
            (_, Some(Response::Failed(Failure::BadContext(why)))) => {
                return Next::Wronged(key, why.to_string());
            }
            (Request::Put { options, .. } | Request::Delete { options, .. }, _) => {
                if doing.tries < TRIES_MAX && self.rng.chance(600) {
                    options.retry = true;
                    doing.call = None;
                    self.doing = Some(doing);
                }
            }
            (_, _) => {}
        }
        Next::Wake(pause)
    }
}

fn key_of(request: &Request) -> Option<&Key> {
    match request {
        Request::Put { key, .. } | Request::Delete { key, .. } | Request::Locate { key } => Some(key),
        Request::Get(get) => Some(&get.key),
        Request::Status
        | Request::Leave
        | Request::Remove { .. }
        | Request::Weight { .. }
        | Request::Repair { .. }
        | Request::RepairProgress { .. }
        | Request::Snapshot { .. } => None,
    }
}

fn kind(request: &Request) -> String {
    let options = |o: &WriteOptions| {
        let supersede = match &o.supersede {
            Supersede::Context(_) => "context",
            Supersede::Current => "current",
            Supersede::Blind => "blind",
        };
        format!("{supersede} W={:?} strict={} retry={}", o.quorum, o.strict, o.retry)
    };
    match request {
        Request::Put { options: o, .. } => format!("put {}", options(o)),
        Request::Delete { options: o, .. } => format!("delete {}", options(o)),
        Request::Get(get) => format!("get R={:?} strict={}", get.quorum, get.strict),
        Request::Status => "status".to_owned(),
        Request::Leave => "leave".to_owned(),
        Request::Remove { peer, .. } => format!("remove {peer}"),
        Request::Weight { weight } => format!("weight {weight}"),
        Request::Repair { .. } => "repair".to_owned(),
        Request::RepairProgress { .. } => "repair progress".to_owned(),
        Request::Snapshot { .. } => "snapshot".to_owned(),
        Request::Locate { .. } => "locate".to_owned(),
    }
}

fn brief(response: &Response) -> String {
    match response {
        Response::Written { acks, .. } => format!("written, {acks} acks"),
        Response::Found { siblings, .. } => {
            let numbers: Vec<_> = siblings.iter().filter_map(|s| history::number_of(&s.value)).collect();
            format!("found {numbers:?}")
        }
        Response::NotFound { .. } => "found nothing".to_owned(),
        Response::Failed(failure) => format!("failed: {failure}"),
        Response::Status(_)
        | Response::Located(_)
        | Response::Repair(_)
        | Response::Snapshot(_)
        | Response::Accepted => "told".to_owned(),
    }
}
