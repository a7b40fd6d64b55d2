//! A peer that speaks the client protocol and answers by a script: for what a real peer seldom does.

use std::time::Duration;

use futures::StreamExt;
use henge_client::{FRAME_MAX_BYTES, PROTOCOL, Request, Response};
use henge_rpc::Event;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};

type Rpc = henge_rpc::Behaviour<Request, Response>;

/// What the script says to one request.
pub(crate) enum Say {
    /// This.
    Answer(Box<Response>),
    /// Nothing, ever.
    Nothing,
    /// Closes the connection.
    HangUp,
}

impl Say {
    pub(crate) fn answer(response: Response) -> Self {
        Self::Answer(Box::new(response))
    }
}

/// A running peer. It stops when this is dropped.
pub(crate) struct Scripted {
    /// Where it listens, without its id.
    pub(crate) address: Multiaddr,
    pub(crate) peer: PeerId,
    _stop: oneshot::Sender<()>,
}

impl Scripted {
    /// Starts on loopback, with a thread of its own.
    pub(crate) fn start(
        cluster: &str,
        listen: &str,
        script: impl FnMut(Request) -> Say + Send + 'static,
    ) -> Self {
        let (started, ready) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let protocol = StreamProtocol::try_from_owned(format!("/henge/{cluster}/{PROTOCOL}")).unwrap();
        let listen: Multiaddr = listen.parse().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let swarm = swarm(protocol);
                tokio::select! {
                    () = serve(swarm, listen, script, started) => {}
                    _ = stopped => {}
                }
            });
        });
        let (address, peer) = ready.recv_timeout(super::PATIENCE).expect("the scripted peer listens");
        Self { address, peer, _stop: stop }
    }

    /// Over TCP, in the default cluster.
    pub(crate) fn over_tcp(script: impl FnMut(Request) -> Say + Send + 'static) -> Self {
        Self::start("henge", "/ip4/127.0.0.1/tcp/0", script)
    }

    /// The address with the id of the peer.
    pub(crate) fn full_address(&self) -> Multiaddr {
        self.address.clone().with_p2p(self.peer).unwrap()
    }
}

fn swarm(protocol: StreamProtocol) -> Swarm<Rpc> {
    let config = henge_rpc::Config::default()
        .with_max_frame_bytes(FRAME_MAX_BYTES)
        .with_request_timeout(Duration::from_secs(30));
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| Rpc::new(protocol, config))
        .unwrap()
        .build()
}

async fn serve(
    mut swarm: Swarm<Rpc>,
    listen: Multiaddr,
    mut script: impl FnMut(Request) -> Say,
    started: std::sync::mpsc::SyncSender<(Multiaddr, PeerId)>,
) {
    swarm.listen_on(listen).unwrap();
    let (keep, _kept) = mpsc::channel(1024);
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                let _ = started.try_send((address, *swarm.local_peer_id()));
            }
            SwarmEvent::Behaviour(Event::Request { peer, channel, request, .. }) => match script(request) {
                Say::Answer(response) => {
                    let _ = swarm.behaviour_mut().send_response(channel, *response);
                }
                Say::Nothing => keep.try_send(channel).unwrap(),
                Say::HangUp => {
                    let _ = swarm.disconnect_peer_id(peer);
                    keep.try_send(channel).unwrap();
                }
            },
            _ => {}
        }
    }
}
