//! `henge-rpc` beside libp2p's request-response: the same messages, the same transports, one run.
//!
//! Two processes over loopback, each with a current-thread runtime: this one asks, a copy of it answers. For every
//! transport and number of requests in flight both are measured in turn, several times, and the best of each counts,
//! because whatever else the machine does only ever makes them slower. The processor time per request, of both
//! processes together, hardly depends on that: on a busy machine it is the figure to compare (Linux only).
//!
//! `cargo bench -p henge-rpc [-- --seconds 1 --rounds 3 --transport tcp|quic --in-flight 1,64]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a benchmark ends by panicking, and measures time"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use hdrhistogram::Histogram;
use henge_rpc::{Config, Event};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use serde::{Deserialize, Serialize};

const REQUEST_BYTES: usize = 256;
const RESPONSE_BYTES: usize = 1024;
const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/rpc/1");

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    #[serde(with = "bytes")]
    payload: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Response {
    #[serde(with = "bytes")]
    payload: Vec<u8>,
}

/// CBOR byte strings; serde's own `Vec<u8>` is an array of numbers.
mod bytes {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// What the two behaviours have in common, as far as this benchmark goes.
trait Contender: NetworkBehaviour + Sized {
    const NAME: &str;
    type Id: std::hash::Hash + Eq + Send;

    fn make() -> Self;
    fn ask(&mut self, peer: &PeerId) -> Self::Id;
    /// Answers requests; gives the id where the event is a response.
    fn handle(&mut self, event: Self::ToSwarm) -> Option<Self::Id>;
}

fn request() -> Request {
    Request { payload: vec![1; REQUEST_BYTES] }
}

fn response() -> Response {
    Response { payload: vec![2; RESPONSE_BYTES] }
}

type Henge = henge_rpc::Behaviour<Request, Response>;

impl Contender for Henge {
    const NAME: &str = "henge-rpc";
    type Id = henge_rpc::RequestId;

    fn make() -> Self {
        Self::new(PROTOCOL, Config::default())
    }

    fn ask(&mut self, peer: &PeerId) -> Self::Id {
        self.send_request(peer, request())
    }

    fn handle(&mut self, event: Self::ToSwarm) -> Option<Self::Id> {
        match event {
            Event::Request { channel, .. } => {
                let _ = self.send_response(channel, response());
                None
            }
            Event::Response { id, .. } => Some(id),
            Event::OutboundFailure { error, .. } => panic!("{error}"),
            // The other process ends with requests open.
            Event::InboundFailure { .. } => None,
        }
    }
}

type Libp2p = request_response::cbor::Behaviour<Request, Response>;

impl Contender for Libp2p {
    const NAME: &str = "request-response";
    type Id = request_response::OutboundRequestId;

    fn make() -> Self {
        // Its own limit on streams is 100; more requests than that are to be in flight.
        let config = request_response::Config::default().with_max_concurrent_streams(1000);
        Self::new([(PROTOCOL, ProtocolSupport::Full)], config)
    }

    fn ask(&mut self, peer: &PeerId) -> Self::Id {
        self.send_request(peer, request())
    }

    fn handle(&mut self, event: Self::ToSwarm) -> Option<Self::Id> {
        match event {
            request_response::Event::Message { message, .. } => match message {
                request_response::Message::Request { channel, .. } => {
                    let _ = self.send_response(channel, response());
                    None
                }
                request_response::Message::Response { request_id, .. } => Some(request_id),
            },
            request_response::Event::OutboundFailure { error, .. } => panic!("{error}"),
            request_response::Event::ResponseSent { .. } | request_response::Event::InboundFailure { .. } => {
                None
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    fn listen_address(self) -> Multiaddr {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
        .parse()
        .unwrap()
    }
}

fn build<C: Contender>() -> Swarm<C> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| C::make())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// Listens, prints the address and answers until it is killed or its standard input ends.
async fn serve<C: Contender>(transport: Transport) {
    let mut swarm = build::<C>();
    swarm.listen_on(transport.listen_address()).unwrap();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                println!("{}", address.with(Protocol::P2p(*swarm.local_peer_id())));
                std::io::stdout().flush().unwrap();
            }
            SwarmEvent::Behaviour(event) => {
                swarm.behaviour_mut().handle(event);
            }
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

/// Keeps `in_flight` requests open for `time` after a warm-up.
async fn drive<C: Contender>(server: u32, address: Multiaddr, in_flight: usize, time: Duration) -> Figures {
    let Some(Protocol::P2p(peer)) = address.iter().last() else { panic!("no peer id in {address}") };
    let mut swarm = build::<C>();
    swarm.dial(address).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    let mut open = HashMap::new();
    for _ in 0..in_flight {
        open.insert(swarm.behaviour_mut().ask(&peer), Instant::now());
    }
    let begin = Instant::now() + time / 4;
    let end = begin + time;
    let mut cpu_before = None;
    loop {
        let SwarmEvent::Behaviour(event) = swarm.select_next_some().await else { continue };
        let Some(id) = swarm.behaviour_mut().handle(event) else { continue };
        let now = Instant::now();
        let asked = open.remove(&id).expect("every answer has a question");
        if now >= end {
            break;
        }
        if now >= begin {
            cpu_before.get_or_insert_with(|| cpu(server));
            histogram.record((now - asked).as_nanos() as u64).unwrap();
        }
        open.insert(swarm.behaviour_mut().ask(&peer), now);
    }
    let cpu_us = (cpu(server) - cpu_before.unwrap_or_default()).as_secs_f64() * 1e6;
    Figures {
        per_second: histogram.len() as f64 / time.as_secs_f64(),
        p50_us: histogram.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: histogram.value_at_quantile(0.99) as f64 / 1e3,
        cpu_us: cpu_us / histogram.len() as f64,
    }
}

/// Processor time that this process and the server have used; nothing where there is no `/proc`.
fn cpu(server: u32) -> Duration {
    let of = |process: &str| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name of the program may contain spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    };
    // Clock ticks, 100 per second on every Linux of the last decades.
    Duration::from_millis(10 * (of("self") + of(&server.to_string())))
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(name: &str, transport: Transport) -> (Server, Multiaddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", name, "--transport", transport.name()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Server(child), line.trim().parse().unwrap())
}

fn measure<C: Contender + Send>(transport: Transport, in_flight: usize, time: Duration, best: &mut Figures) {
    let (server, address) = spawn(C::NAME, transport);
    // Whatever goes wrong, the run ends.
    let limit = time * 4 + Duration::from_secs(10);
    let figures = run(async move {
        let driving = drive::<C>(server.0.id(), address, in_flight, time);
        tokio::time::timeout(limit, driving).await.expect("stalled")
    });
    if figures.per_second > best.per_second {
        *best = figures;
    }
}

/// On a task of a current-thread runtime: what `block_on` itself polls costs it extra system calls.
fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(runtime.spawn(future)).unwrap()
}

/// The value after `--name` on the command line.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() {
    let transport = option("--transport").map(|name| match name.as_str() {
        "tcp" => Transport::Tcp,
        "quic" => Transport::Quic,
        other => panic!("unknown transport {other}"),
    });
    if let Some(name) = option("--serve") {
        let transport = transport.unwrap_or(Transport::Tcp);
        match name == Henge::NAME {
            true => run(serve::<Henge>(transport)),
            false => run(serve::<Libp2p>(transport)),
        }
        return;
    }
    let time = Duration::from_secs_f64(option("--seconds").map_or(1.0, |text| text.parse().unwrap()));
    let rounds: usize = option("--rounds").map_or(3, |text| text.parse().unwrap());
    let in_flight = option("--in-flight").unwrap_or_else(|| "1,16,64,256".into());
    let only = option("--only");
    println!("{REQUEST_BYTES} B request, {RESPONSE_BYTES} B response, best of {rounds} rounds of {time:?}\n");
    println!(
        "| transport | in flight | request-response /s (p50/p99 µs) | henge-rpc /s (p50/p99 µs) | throughput | p50 |"
    );
    println!("|---|---|---|---|---|---|");
    let transports = transport.map_or_else(|| vec![Transport::Tcp, Transport::Quic], |one| vec![one]);
    for transport in transports {
        for in_flight in in_flight.split(',').map(|text| text.parse().unwrap()) {
            let (mut theirs, mut ours) = (Figures::default(), Figures::default());
            for _ in 0..rounds {
                if only.as_deref() != Some(Henge::NAME) {
                    measure::<Libp2p>(transport, in_flight, time, &mut theirs);
                }
                if only.as_deref() != Some(Libp2p::NAME) {
                    measure::<Henge>(transport, in_flight, time, &mut ours);
                }
            }
            row(transport, in_flight, theirs, ours);
        }
    }
}

fn row(transport: Transport, in_flight: usize, theirs: Figures, ours: Figures) {
    let show = |figures: Figures| {
        let Figures { per_second, p50_us, p99_us, cpu_us } = figures;
        format!("{per_second:.0} ({p50_us:.0}/{p99_us:.0}), {cpu_us:.1}")
    };
    println!(
        "| {} | {in_flight} | {} | {} | {:.1} × | {:.1} × lower | {:.1} × less |",
        transport.name(),
        show(theirs),
        show(ours),
        ours.per_second / theirs.per_second,
        theirs.p50_us / ours.p50_us,
        theirs.cpu_us / ours.cpu_us,
    );
}
