//! The transports and the runtime of real programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::HashMap;

use common::*;
use futures::StreamExt as _;
use henge_rpc::Event;
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, SwarmBuilder, noise, tcp, yamux};

fn full_swarm() -> Swarm<Rpc> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| Rpc::new(PROTOCOL, patient()))
        .unwrap()
        .build()
}

/// Mixed sizes, both sides on their own tasks, more requests than any window holds.
async fn thousands_of_requests_over(address: &str) {
    const COUNT: u64 = 3_000;
    let mut server = full_swarm();
    server.listen_on(address.parse().unwrap()).unwrap();
    let address = until_alone(&mut server, |_, event| match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address),
        _ => None,
    })
    .await;
    let peer = id_of(&server);
    let serving = tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(Event::Request { channel, request, .. }) =
                server.select_next_some().await
            {
                let answer = Told { number: request.number, padding: request.padding };
                server.behaviour_mut().send_response(channel, answer).unwrap();
            }
        }
    });
    let mut client = full_swarm();
    client.add_peer_address(peer, address);
    let size = |number: u64| if number.is_multiple_of(500) { 300_000 } else { number as usize % 700 };
    let mut sent: HashMap<_, _> = (0..COUNT)
        .map(|number| (client.behaviour_mut().send_request(&peer, big_ask(number, size(number))), number))
        .collect();
    until_alone(&mut client, |_, event| {
        if let Some((id, result)) = outcome(event) {
            let (number, answer) = (sent.remove(&id).expect("one outcome each"), result.unwrap());
            assert_eq!((answer.number, answer.padding.len()), (number, size(number)));
        }
        sent.is_empty().then_some(())
    })
    .await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_over_tcp() {
    thousands_of_requests_over("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_over_quic() {
    thousands_of_requests_over("/ip4/127.0.0.1/udp/0/quic-v1").await;
}
