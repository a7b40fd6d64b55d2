//! Two swarms, a message type, and waiting with a deadline.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part of this module")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

pub mod raw;

use std::time::Duration;

use futures::future::{Either, select};
use henge_rpc::{Behaviour, Config, Event, OutboundFailure, RequestId};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use serde::{Deserialize, Serialize};

pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/rpc/1");

/// Long enough for a slow machine, short enough to fail.
pub const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub number: u64,
    pub padding: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub number: u64,
    pub padding: Vec<u8>,
}

pub type Rpc = Behaviour<Ask, Told>;
pub type RpcEvent = Event<Ask, Told>;

pub fn ask(number: u64) -> Ask {
    Ask { number, padding: Vec::new() }
}

pub fn big_ask(number: u64, bytes: usize) -> Ask {
    Ask { number, padding: vec![7; bytes] }
}

pub fn told(number: u64) -> Told {
    Told { number, padding: Vec::new() }
}

/// The defaults, with a time-out that strikes only where the test has failed anyway.
pub fn patient() -> Config {
    Config::default().with_request_timeout(2 * DEADLINE)
}

pub fn swarm(config: Config) -> Swarm<Rpc> {
    Swarm::new_ephemeral_tokio(|_| Rpc::new(PROTOCOL, config))
}

/// Two swarms with one connection over the memory transport; the first one dialed.
pub async fn connected(first: Config, second: Config) -> (Swarm<Rpc>, Swarm<Rpc>) {
    let (mut first, mut second) = (swarm(first), swarm(second));
    second.listen().with_memory_addr_external().await;
    first.connect(&mut second).await;
    (first, second)
}

/// Which of the two swarms something happened in.
#[derive(Debug)]
pub enum Side<A, B> {
    First(A),
    Second(B),
}

/// Polls both swarms until `pick` finds what it waits for.
pub async fn until<A, B, T>(
    first: &mut Swarm<A>,
    second: &mut Swarm<B>,
    mut pick: impl FnMut(
        &mut Swarm<A>,
        &mut Swarm<B>,
        Side<SwarmEvent<A::ToSwarm>, SwarmEvent<B::ToSwarm>>,
    ) -> Option<T>,
) -> T
where
    A: NetworkBehaviour,
    B: NetworkBehaviour,
{
    use futures::StreamExt as _;
    let search = async {
        loop {
            let side = match select(first.next(), second.next()).await {
                Either::Left((event, _)) => Side::First(event.expect("swarms do not end")),
                Either::Right((event, _)) => Side::Second(event.expect("swarms do not end")),
            };
            if let Some(found) = pick(first, second, side) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.expect("what was waited for did not happen")
}

/// Polls one swarm until `pick` finds what it waits for.
pub async fn until_alone<A: NetworkBehaviour, T>(
    swarm: &mut Swarm<A>,
    mut pick: impl FnMut(&mut Swarm<A>, SwarmEvent<A::ToSwarm>) -> Option<T>,
) -> T {
    use futures::StreamExt as _;
    let search = async {
        loop {
            let event = swarm.select_next_some().await;
            if let Some(found) = pick(swarm, event) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.expect("what was waited for did not happen")
}

/// Polls a swarm while `task` runs. The events are dropped.
pub async fn alongside<A: NetworkBehaviour, T>(swarm: &mut Swarm<A>, task: impl Future<Output = T>) -> T {
    use futures::StreamExt as _;
    let both = async {
        let mut task = std::pin::pin!(task);
        loop {
            match select(task, swarm.next()).await {
                Either::Left((result, _)) => return result,
                Either::Right((_, rest)) => task = rest,
            }
        }
    };
    tokio::time::timeout(DEADLINE, both).await.expect("the task did not end")
}

/// An outcome of a request of the first swarm.
pub type Outcome = (RequestId, Result<Told, OutboundFailure>);

/// The outcome in an event of the requester, if it is one.
pub fn outcome(event: SwarmEvent<RpcEvent>) -> Option<Outcome> {
    match event {
        SwarmEvent::Behaviour(Event::Response { id, response, .. }) => Some((id, Ok(response))),
        SwarmEvent::Behaviour(Event::OutboundFailure { id, error, .. }) => Some((id, Err(error))),
        _ => None,
    }
}

/// Runs both swarms, the second one answering each request with its number, until the first has `count` outcomes.
pub async fn outcomes(first: &mut Swarm<Rpc>, second: &mut Swarm<Rpc>, count: usize) -> Vec<Outcome> {
    let mut found = Vec::new();
    until(first, second, |_, second, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                let _ = second.behaviour_mut().send_response(channel, told(request.number));
            }
            Side::Second(_) => {}
        }
        (found.len() >= count).then_some(())
    })
    .await;
    found
}

/// Runs both swarms for a while in which nothing is expected to happen, and gives what did.
pub async fn quiet(
    first: &mut Swarm<Rpc>,
    second: &mut Swarm<Rpc>,
    time: Duration,
) -> Vec<Side<RpcEvent, RpcEvent>> {
    use futures::StreamExt as _;
    let mut seen = Vec::new();
    let _ = tokio::time::timeout(time, async {
        loop {
            match select(first.next(), second.next()).await {
                Either::Left((Some(SwarmEvent::Behaviour(event)), _)) => seen.push(Side::First(event)),
                Either::Right((Some(SwarmEvent::Behaviour(event)), _)) => seen.push(Side::Second(event)),
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    })
    .await;
    seen
}

pub fn id_of<B: NetworkBehaviour>(swarm: &Swarm<B>) -> PeerId {
    *swarm.local_peer_id()
}
