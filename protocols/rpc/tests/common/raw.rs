//! A peer that speaks the protocol by hand: it opens and accepts substreams and leaves the bytes to the test.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, SinkExt as _, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandlerEvent};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    SubstreamProtocol, SwarmEvent, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use tokio::task::JoinHandle;
use void::Void;

use super::PROTOCOL;

#[derive(Debug, Clone, Copy)]
pub struct Upgrade;

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(PROTOCOL)
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Void;
    type Future = Ready<Result<Stream, Void>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Void;
    type Future = Ready<Result<Stream, Void>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

#[derive(Debug, Default)]
pub struct Handler {
    open: usize,
    streams: VecDeque<Stream>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ();
    type ToBehaviour = Stream;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, (): ()) {
        self.open += 1;
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, (), Stream>> {
        if let Some(stream) = self.streams.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if self.open > 0 {
            self.open -= 1;
            let protocol = SubstreamProtocol::new(Upgrade, ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(event) => self.streams.push_back(event.protocol),
            ConnectionEvent::FullyNegotiatedOutbound(event) => self.streams.push_back(event.protocol),
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
pub struct Raw {
    events: VecDeque<ToSwarm<Stream, ()>>,
}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = Handler;
    type ToSwarm = Stream;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, stream: Stream) {
        self.events.push_back(ToSwarm::GenerateEvent(stream));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Stream, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A raw peer that runs by itself and hands over every substream that the other side opens.
pub async fn accepting() -> (PeerId, Multiaddr, mpsc::Receiver<Stream>) {
    let mut swarm = Swarm::new_ephemeral_tokio(|_| Raw::default());
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    let peer = *swarm.local_peer_id();
    (peer, address, run(swarm))
}

/// A raw peer that runs by itself and opens one substream to `address`, with the name that it goes by.
pub fn opening(peer: PeerId, address: Multiaddr) -> (PeerId, impl Future<Output = Stream>) {
    let (own, mut streams) = opening_several(peer, address, 1);
    (own, async move { streams.next().await.expect("the raw peer runs on") })
}

/// The same with several substreams on one connection, each opened when the one before was taken.
pub fn opening_several(peer: PeerId, address: Multiaddr, count: usize) -> (PeerId, mpsc::Receiver<Stream>) {
    let mut swarm = Swarm::new_ephemeral_tokio(|_| Raw::default());
    let own = *swarm.local_peer_id();
    swarm.dial(address).unwrap();
    let (mut sender, receiver) = mpsc::channel(0);
    tokio::spawn(async move {
        let mut left = count;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => open(&mut swarm, peer),
                SwarmEvent::Behaviour(stream) => {
                    let mut sending = sender.send(stream);
                    while let Either::Right(_) = select(&mut sending, swarm.next()).await {}
                    left -= 1;
                    if left > 0 {
                        open(&mut swarm, peer);
                    }
                }
                _ => {}
            }
        }
    });
    (own, receiver)
}

fn open(swarm: &mut Swarm<Raw>, peer_id: PeerId) {
    let event = ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event: () };
    swarm.behaviour_mut().events.push_back(event);
}

fn run(mut swarm: Swarm<Raw>) -> mpsc::Receiver<Stream> {
    let (mut sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(stream) = swarm.select_next_some().await {
                let _ = sender.try_send(stream);
            }
        }
    });
    receiver
}

/// A frame as its bytes.
pub fn frame(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 9).to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
}

/// A whole frame with a value in it.
pub fn message<T: serde::Serialize>(kind: u8, id: u64, value: &T) -> Vec<u8> {
    frame(kind, id, &cbor4ii::serde::to_vec(Vec::new(), value).unwrap())
}

/// Reads one frame: kind, id, body. `None` when the substream ends.
pub async fn read_frame(stream: &mut Stream) -> Option<(u8, u64, Vec<u8>)> {
    let mut head = [0; 13];
    stream.read_exact(&mut head).await.ok()?;
    let (length, rest) = head.split_first_chunk::<4>()?;
    let (kind, id) = rest.split_first()?;
    let mut body = vec![0; u32::from_be_bytes(*length) as usize - 9];
    stream.read_exact(&mut body).await.ok()?;
    Some((*kind, u64::from_be_bytes(id.try_into().ok()?), body))
}

/// Writes by itself, so that a test can watch what comes of it from the first byte. The substream stays open as long
/// as the handle is awaited or kept, unless it is to be closed.
pub fn write(mut stream: Stream, bytes: Vec<u8>, close: bool) -> JoinHandle<Stream> {
    tokio::spawn(async move {
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        if close {
            stream.close().await.unwrap();
        }
        stream
    })
}
