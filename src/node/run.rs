//! The thread of a node.

use std::time::Duration;

use henge_types::Multiaddr;
use libp2p::Swarm;
use libp2p::futures::StreamExt as _;
use libp2p::swarm::SwarmEvent;
use tokio::runtime::Builder;
use tokio::sync::{broadcast, oneshot};
use tokio::time;

use super::listen::{self, Listener};
use super::swarm::{self, Parts, PartsEvent};
use super::{EVENTS_MAX, NodeConfig, NodeEvent, STOP_MAX, Started, with_peer};
use crate::error::StartError;
use crate::event::Event;

/// How long the system may take to say where a node listens.
const LISTEN_MAX: Duration = Duration::from_secs(10);
/// How long connections have to carry the last answers after the peer has stopped.
const GOODBYE: Duration = Duration::from_millis(50);

/// Where a node listens.
#[derive(Debug)]
struct Listening {
    /// Addresses for others, with the peer.
    addresses: Vec<Multiaddr>,
    /// Addresses to listen on the next time.
    remember: Vec<Multiaddr>,
}

/// Runs the swarm until each listener has an address.
async fn until_listening(
    swarm: &mut Swarm<Parts>,
    listeners: Vec<Listener>,
    events: &broadcast::Sender<NodeEvent>,
) -> Result<Listening, StartError> {
    let mut waiting = listeners;
    let mut listening = Listening { addresses: Vec::new(), remember: Vec::new() };
    let late = time::sleep(LISTEN_MAX);
    tokio::pin!(late);
    while let Some(first) = waiting.first() {
        let event = tokio::select! {
            event = swarm.select_next_some() => event,
            () = &mut late => {
                let reason = "the system does not say that it works".to_owned();
                return Err(StartError::Listen { address: first.asked.clone(), reason });
            }
        };
        if let SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } = &event
            && let Some(closed) = waiting.iter().find(|listener| listener.id == *listener_id)
        {
            return Err(StartError::Listen { address: closed.asked.clone(), reason: error.to_string() });
        }
        if let SwarmEvent::NewListenAddr { listener_id, address } = &event {
            listening.addresses.push(with_peer(address, *swarm.local_peer_id()));
            if let Some(index) = waiting.iter().position(|listener| listener.id == *listener_id) {
                let listener = waiting.remove(index);
                listening.remember.push(listen::with_port_of(&listener.asked, address));
            }
        }
        tell(swarm, event, events);
    }
    Ok(listening)
}

/// The whole life of a node, on its own thread.
pub(super) fn run(
    config: NodeConfig,
    started: oneshot::Sender<Result<Started, StartError>>,
    stop: oneshot::Receiver<()>,
    ended: oneshot::Sender<bool>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(StartError::Thread { reason: error.to_string() }));
            return;
        }
    };
    let saved = runtime.block_on(async move {
        match start(config).await {
            Ok((swarm, events, node)) => {
                // Whoever gave up waiting has dropped the other end of `stop` too.
                let _ = started.send(Ok(node));
                until_stopped(swarm, &events, stop).await
            }
            Err(error) => {
                let _ = started.send(Err(error));
                false
            }
        }
    });
    // With the connections that are still tasks of the runtime.
    drop(runtime);
    let _ = ended.send(saved);
}

async fn start(
    config: NodeConfig,
) -> Result<(Swarm<Parts>, broadcast::Sender<NodeEvent>, Started), StartError> {
    let NodeConfig { place, config, listen, durability } = config;
    let opened = swarm::open(place, config, durability)?;
    let handle = opened.behaviour.handle();
    let mut swarm = swarm::build(&opened.identity, opened.behaviour)?;
    let (sender, events) = broadcast::channel(EVENTS_MAX);
    let (listeners, moved) = listen::listen(&mut swarm, &listen, &opened.remembered)?;
    for event in moved {
        let _ = sender.send(event);
    }
    let Listening { addresses, remember } = until_listening(&mut swarm, listeners, &sender).await?;
    if let Some(directory) = opened.directory {
        directory.remember(&remember)?;
    }
    let node = Started { peer: *swarm.local_peer_id(), handle, listening: addresses, events };
    Ok((swarm, sender, node))
}

/// Runs the swarm until it has stopped. Says whether all was saved.
async fn until_stopped(
    mut swarm: Swarm<Parts>,
    events: &broadcast::Sender<NodeEvent>,
    mut stop: oneshot::Receiver<()>,
) -> bool {
    let mut stopping = false;
    let late = time::sleep(Duration::MAX);
    tokio::pin!(late);
    loop {
        tokio::select! {
            biased;
            // An error is a node that was dropped: as good as a request to stop.
            _ = &mut stop, if !stopping => {
                stopping = true;
                late.as_mut().reset(time::Instant::now() + STOP_MAX);
                swarm.behaviour_mut().henge.stop();
            }
            () = &mut late, if stopping => {
                tracing::warn!("the peer did not stop in time");
                return false;
            }
            event = swarm.select_next_some() => {
                if tell(&swarm, event, events) {
                    break;
                }
            }
        }
    }
    // The last answers are on their way to the connections.
    let goodbye = async {
        loop {
            let event = swarm.select_next_some().await;
            tell(&swarm, event, events);
        }
    };
    let _ = time::timeout(GOODBYE, goodbye).await;
    true
}

/// Tells the program, if it has an ear. Whether the peer has stopped.
fn tell(swarm: &Swarm<Parts>, event: SwarmEvent<PartsEvent>, events: &broadcast::Sender<NodeEvent>) -> bool {
    let me = *swarm.local_peer_id();
    let send = |event| {
        let _ = events.send(event);
    };
    if let SwarmEvent::Behaviour(PartsEvent::Henge(event)) = event {
        let stopped = event == Event::Stopped;
        send(NodeEvent::Henge(event));
        return stopped;
    } else if let SwarmEvent::NewListenAddr { address, .. } = event {
        send(NodeEvent::Listening { address: with_peer(&address, me) });
    } else if let SwarmEvent::ExpiredListenAddr { address, .. } = event {
        let reason = "the machine does not have the address any more".to_owned();
        send(NodeEvent::NotListening { address: with_peer(&address, me), reason });
    } else if let SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } = event {
        for address in addresses {
            send(NodeEvent::NotListening { address: with_peer(&address, me), reason: error.to_string() });
        }
    }
    false
}
