//! Two peers in one program: one asks a thousand questions at once, the other answers them.
//!
//! `cargo run -p henge-rpc --example greet`

use std::error::Error;
use std::time::Duration;

use futures::StreamExt;
use henge_rpc::{Behaviour, Config, Event};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Greet {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    text: String,
}

type Rpc = Behaviour<Greet, Greeting>;

fn peer() -> Result<Swarm<Rpc>, Box<dyn Error>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        // Without `nodelay` a lone request may wait 40 ms for the operating system to send it.
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| {
            let config = Config::default().with_request_timeout(Duration::from_secs(5));
            Rpc::new(StreamProtocol::new("/example/greet/1"), config)
        })?
        .build())
}

async fn answer(mut swarm: Swarm<Rpc>) {
    loop {
        if let SwarmEvent::Behaviour(Event::Request { channel, request, .. }) = swarm.select_next_some().await
        {
            let response = Greeting { text: format!("Hello {}", request.name) };
            // An error gives the response back: whoever asked is gone.
            let _ = swarm.behaviour_mut().send_response(channel, response);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut server = peer()?;
    server.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
            break address;
        }
    };
    let server_id = *server.local_peer_id();
    tokio::spawn(answer(server));

    let mut client = peer()?;
    // No need to dial: the first request does.
    client.add_peer_address(server_id, address);
    for number in 0..1000 {
        client.behaviour_mut().send_request(&server_id, Greet { name: format!("number {number}") });
    }
    let mut answers = 0;
    while answers < 1000 {
        if let SwarmEvent::Behaviour(event) = client.select_next_some().await {
            match event {
                Event::Response { id, response, .. } => {
                    answers += 1;
                    if answers % 250 == 0 {
                        println!("request {id}: {}", response.text);
                    }
                }
                Event::OutboundFailure { error, .. } => return Err(error.into()),
                Event::Request { .. } | Event::InboundFailure { .. } => {}
            }
        }
    }
    Ok(())
}
