//! A program with a swarm of its own, which already runs gossipsub, identify and ping, and takes
//! part in a henge cluster with one behaviour more.
//!
//! `cargo run --example embed` starts a ring; `cargo run --example embed /ip4/…/tcp/…/p2p/…` joins it.

use std::error::Error;
use std::sync::Arc;

use henge::behaviour::Behaviour as Henge;
use henge::config::Config;
use henge::event::Event;
use henge::handle::Handle;
use henge::store::{memory::Memory, worker::Durability};
use libp2p::futures::StreamExt as _;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, SwarmBuilder, gossipsub, identify, noise, ping, tcp, yamux};

#[derive(NetworkBehaviour)]
struct Program {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    henge: Henge,
}

#[tokio::main]
#[expect(clippy::wildcard_enum_match_arm, reason = "a swarm has many events, and an example needs few")]
async fn main() -> Result<(), Box<dyn Error>> {
    let join = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<Multiaddr>, _>>()?;
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let config = Config::new().with_join(join);
            Ok(Program {
                gossip: gossipsub::Behaviour::new(
                    gossipsub::MessageAuthenticity::Signed(key.clone()),
                    gossipsub::Config::default(),
                )?,
                identify: identify::Behaviour::new(identify::Config::new("/program/1".into(), key.public())),
                ping: ping::Behaviour::default(),
                henge: Henge::new(config, key, Arc::new(Memory::new()), Durability::default())?,
            })
        })?
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let handle = swarm.behaviour().henge.handle();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(ProgramEvent::Henge(Event::Ready)) => {
                tokio::spawn(work(handle.clone()));
            }
            SwarmEvent::Behaviour(ProgramEvent::Henge(event)) => println!("{event:?}"),
            SwarmEvent::NewListenAddr { address, .. } => {
                println!("join with: {address}/p2p/{}", swarm.local_peer_id());
            }
            // The rest is the program's own.
            _ => {}
        }
    }
}

/// Any task may put and get; the swarm only has to be polled.
async fn work(henge: Handle) {
    match henge.get("visits").await {
        Ok(got) => println!("visits so far: {:?}", got.single()),
        Err(error) => println!("{error}"),
    }
    match henge.put("visits", "one more").await {
        Ok(written) => println!("written by {} replicas", written.acks),
        Err(error) => println!("{error}"),
    }
}
