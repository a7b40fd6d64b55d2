//! Henge on real swarms, over the memory transport: what only the swarm can break.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use henge::behaviour::Behaviour as Henge;
use henge::config::Config;
use henge::error::RequestError;
use henge::event::Event;
use henge::handle::Handle;
use henge::store::memory::Memory;
use henge::store::worker::Durability;
use henge_types::ClusterName;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, gossipsub, identify, ping};
use libp2p_swarm_test::SwarmExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Far more than any of it takes, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(60);
/// Events that may wait for a test.
const EVENTS_MAX: usize = 4096;

/// A swarm that runs on a task of its own until it is dropped.
struct Running<E> {
    peer: PeerId,
    address: Multiaddr,
    handle: Handle,
    events: mpsc::Receiver<SwarmEvent<E>>,
    stop: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<E: Debug> Running<E> {
    /// The first thing that `wanted` makes of an event.
    async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(SwarmEvent<E>) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the swarm runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("no {what} in {DEADLINE:?}"))
    }

    fn address_with_peer(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer))
    }
}

impl Running<Event> {
    async fn ready(&mut self) {
        self.wait("readiness", |event| matches!(event, SwarmEvent::Behaviour(Event::Ready)).then_some(()))
            .await;
    }
}

/// How to find henge in a behaviour.
trait Has {
    fn henge(&mut self) -> &mut Henge;
}

impl Has for Henge {
    fn henge(&mut self) -> &mut Henge {
        self
    }
}

async fn run<B>(behaviour: impl FnOnce(Keypair) -> B) -> Running<B::ToSwarm>
where
    B: NetworkBehaviour<ToSwarm: Debug> + Has + Send,
{
    let mut swarm = Swarm::new_ephemeral_tokio(behaviour);
    let peer = *swarm.local_peer_id();
    let handle = swarm.behaviour_mut().henge().handle();
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    swarm.listen_on(Protocol::Memory(0).into()).unwrap();
    let address = loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => break address,
            event => sender.try_send(event).unwrap(),
        }
    };
    let (stop, mut stopped) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                event = swarm.select_next_some() => {
                    let _ = sender.try_send(event);
                }
                Some(()) = stopped.recv() => swarm.behaviour_mut().henge().stop(),
            }
        }
    });
    Running { peer, address, handle, events, stop, task }
}

fn henge(config: Config, key: &Keypair) -> Henge {
    Henge::new(config, key, Arc::new(Memory::new()), Durability::default()).unwrap()
}

fn joining(address: Multiaddr) -> Config {
    Config::new().with_join(vec![address])
}

fn named(config: Config, cluster: &str) -> Config {
    config.with_cluster(ClusterName::new(cluster).unwrap())
}

async fn peer(config: Config) -> Running<Event> {
    run(|key| henge(config, &key)).await
}

async fn value(handle: &Handle, key: &'static str) -> Option<Vec<u8>> {
    handle.get(key).await.unwrap().single().map(|value| value.to_vec())
}

#[tokio::test]
async fn two_peers_find_each_other_and_each_reads_what_the_other_wrote() {
    let mut first = peer(Config::new()).await;
    first.ready().await;
    let mut second = peer(joining(first.address.clone())).await;
    second.ready().await;
    first.handle.put("a", "first").await.unwrap();
    second.handle.put("b", "second").await.unwrap();
    assert_eq!(value(&second.handle, "a").await.unwrap(), b"first");
    assert_eq!(value(&first.handle, "b").await.unwrap(), b"second");
}

#[tokio::test]
async fn a_third_peer_that_knows_one_member_meets_the_other() {
    let mut first = peer(Config::new()).await;
    first.ready().await;
    let mut second = peer(joining(first.address_with_peer())).await;
    second.ready().await;
    let mut third = peer(joining(second.address_with_peer())).await;
    let (one, three) = (first.peer, third.peer);
    let (mut met, mut ready) = (false, false);
    let both = |event| {
        met |= connected(&event, one).is_some();
        ready |= matches!(event, SwarmEvent::Behaviour(Event::Ready));
        (met && ready).then_some(())
    };
    third.wait("connection", both).await;
    first.wait("connection", |event| connected(&event, three)).await;
    third.handle.put("key", "value").await.unwrap();
    assert_eq!(value(&first.handle, "key").await.unwrap(), b"value");
}

fn connected<E>(event: &SwarmEvent<E>, peer: PeerId) -> Option<()> {
    matches!(event, SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == peer).then_some(())
}

#[tokio::test]
async fn a_caller_that_gives_up_harms_nobody() {
    let mut only = peer(Config::new()).await;
    only.ready().await;
    for _ in 0..100 {
        let put = tokio::spawn(only.handle.put("key", "value").into_future());
        put.abort();
    }
    only.handle.put("key", "last").await.unwrap();
    assert_eq!(value(&only.handle, "key").await.unwrap(), b"last");
}

#[tokio::test]
async fn a_peer_that_has_stopped_says_so_to_the_program_and_to_its_callers() {
    let mut only = peer(Config::new()).await;
    only.ready().await;
    only.stop.send(()).await.unwrap();
    only.wait("end", |event| matches!(event, SwarmEvent::Behaviour(Event::Stopped)).then_some(())).await;
    assert_eq!(only.handle.get("key").await.unwrap_err(), RequestError::Stopped);
}

#[tokio::test]
async fn peers_of_two_clusters_refuse_each_other_and_say_why() {
    let mut one = peer(named(Config::new(), "one")).await;
    one.ready().await;
    let mut other = peer(named(joining(one.address_with_peer()), "other")).await;
    let why = |event| match event {
        SwarmEvent::Behaviour(Event::Refused { refusal, .. }) => Some(refusal.to_string()),
        SwarmEvent::Behaviour(Event::JoinFailed { failure, .. }) => Some(failure.to_string()),
        _ => None,
    };
    let why = other.wait("refusal", why).await;
    assert!(why.contains("cluster"), "{why}");
    assert!(matches!(other.handle.get("key").await, Err(RequestError::Failed(_))));
}

#[tokio::test]
async fn an_address_where_another_peer_answers_is_told_with_both_names() {
    let mut first = peer(Config::new()).await;
    first.ready().await;
    let expected = PeerId::random();
    let mut second = peer(joining(first.address.clone().with(Protocol::P2p(expected)))).await;
    let reason = second.wait("failure", unreachable).await;
    assert!(reason.contains(&first.peer.to_string()), "{reason}");
    assert!(reason.contains(&expected.to_string()), "{reason}");
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told() {
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let mut lonely = peer(joining(address.clone())).await;
    let told = lonely.wait("failure", |event| match event {
        SwarmEvent::Behaviour(Event::JoinUnreachable { address, .. }) => address,
        _ => None,
    });
    assert_eq!(told.await, address);
}

fn unreachable(event: SwarmEvent<Event>) -> Option<String> {
    match event {
        SwarmEvent::Behaviour(Event::JoinUnreachable { reason, .. }) => Some(reason),
        _ => None,
    }
}

/// A program with the behaviours that most programs have.
#[derive(NetworkBehaviour)]
struct Program {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    henge: Henge,
}

impl Has for Program {
    fn henge(&mut self) -> &mut Henge {
        &mut self.henge
    }
}

fn program(config: Config, key: &Keypair) -> Program {
    let authenticity = gossipsub::MessageAuthenticity::Signed(key.clone());
    let mut gossip: gossipsub::Behaviour =
        gossipsub::Behaviour::new(authenticity, gossipsub::Config::default()).unwrap();
    let topic = gossipsub::IdentTopic::new("news");
    gossip.subscribe(&topic).unwrap();
    Program {
        gossip,
        identify: identify::Behaviour::new(identify::Config::new("/program/1".to_owned(), key.public())),
        ping: ping::Behaviour::default(),
        henge: henge(config, key),
    }
}

fn program_ready(event: SwarmEvent<ProgramEvent>) -> Option<()> {
    matches!(event, SwarmEvent::Behaviour(ProgramEvent::Henge(Event::Ready))).then_some(())
}

#[tokio::test]
async fn henge_and_the_behaviours_of_its_program_do_not_disturb_each_other() {
    let mut first = run(|key| program(Config::new(), &key)).await;
    first.wait("readiness", program_ready).await;
    let config = joining(first.address.clone());
    let mut second = run(|key| program(config, &key)).await;

    let (mut pinged, mut protocols, mut subscribed, mut ready) = (false, Vec::new(), Vec::new(), false);
    let all = |event| {
        match event {
            SwarmEvent::Behaviour(ProgramEvent::Ping(ping)) => pinged |= ping.result.is_ok(),
            SwarmEvent::Behaviour(ProgramEvent::Identify(identify::Event::Received { info, .. })) => {
                protocols = info.protocols;
            }
            SwarmEvent::Behaviour(ProgramEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) => {
                subscribed.push(topic.to_string());
            }
            SwarmEvent::Behaviour(ProgramEvent::Henge(Event::Ready)) => ready = true,
            _ => {}
        }
        (pinged && !protocols.is_empty() && !subscribed.is_empty() && ready).then_some(())
    };
    second.wait("working program", all).await;
    // The two gossips are two protocols, and neither hears of the other's topics.
    assert_eq!(subscribed, ["news"]);
    let named = |name: &str| protocols.iter().filter(|p| p.as_ref().contains(name)).count();
    assert!(named("/meshsub/1.1.0") == 2 && named("/henge/henge/meshsub/1.1.0") == 1, "{protocols:?}");

    first.handle.put("key", "value").await.unwrap();
    assert_eq!(value(&second.handle, "key").await.unwrap(), b"value");
}

/// A program that limits its connections.
#[derive(NetworkBehaviour)]
struct Limited {
    limits: connection_limits::Behaviour,
    henge: Henge,
}

impl Has for Limited {
    fn henge(&mut self) -> &mut Henge {
        &mut self.henge
    }
}

fn limited(limits: ConnectionLimits, config: Config, key: &Keypair) -> Limited {
    Limited { limits: connection_limits::Behaviour::new(limits), henge: henge(config, key) }
}

#[tokio::test]
async fn connections_that_the_program_does_not_allow_are_not_made() {
    let mut first = peer(Config::new()).await;
    first.ready().await;
    let config = joining(first.address_with_peer());
    let none = ConnectionLimits::default().with_max_established_outgoing(Some(0));
    let mut second = run(|key| limited(none, config, &key)).await;
    let reason = second.wait("failure", |event| match event {
        SwarmEvent::Behaviour(LimitedEvent::Henge(Event::JoinUnreachable { reason, .. })) => Some(reason),
        SwarmEvent::ConnectionEstablished { .. } => panic!("a connection was made"),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason.contains("does not allow"), "{reason}");
}

#[tokio::test]
async fn connections_beyond_a_limit_of_the_program_are_denied_and_the_others_work() {
    let one = ConnectionLimits::default().with_max_established_incoming(Some(1));
    let mut first = run(|key| limited(one, Config::new(), &key)).await;
    let ready =
        |event| matches!(event, SwarmEvent::Behaviour(LimitedEvent::Henge(Event::Ready))).then_some(());
    first.wait("readiness", ready).await;
    let mut second = peer(joining(first.address_with_peer())).await;
    second.ready().await;
    let third = peer(joining(first.address_with_peer())).await;
    let denied = |event| match event {
        SwarmEvent::IncomingConnectionError { .. } => Some(()),
        SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == third.peer => {
            panic!("a second connection was let in")
        }
        _ => None,
    };
    first.wait("denial", denied).await;
    second.handle.put("key", "value").await.unwrap();
    assert_eq!(value(&first.handle, "key").await.unwrap(), b"value");
}

#[tokio::test]
async fn a_connection_to_a_peer_without_henge_is_not_held_open() {
    let mut stranger = Swarm::new_ephemeral_tokio(|_| ping::Behaviour::default());
    stranger.listen_on(Protocol::Memory(0).into()).unwrap();
    let address = stranger
        .wait(
            |event| if let SwarmEvent::NewListenAddr { address, .. } = event { Some(address) } else { None },
        )
        .await;
    tokio::spawn(stranger.loop_on_next());
    let mut lonely = peer(joining(address)).await;
    lonely
        .wait("connection", |event| matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(()))
        .await;
    lonely
        .wait("end of it", |event| matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(()))
        .await;
}
