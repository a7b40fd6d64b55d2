//! One connection: requests of this peer on the substream that it opens, requests of the remote on the one that
//! the remote opens.
//!
//! Nothing comes from the behaviour through the swarm: the handler takes its work from the [`Link`], which wakes it.

mod inbound;
mod outbound;
mod reader;
mod substream;
mod upgrade;
mod writer;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::StreamProtocol;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionHandler, ConnectionId, StreamUpgradeError, SubstreamProtocol};
use serde::de::DeserializeOwned;
use void::Void;

use crate::link::{BATCH_BYTES, Link};
use crate::{KeepAlive, OutboundFailure, PeerFault, ResponseChannel};
use inbound::Inbound;
use outbound::Outbound;
use upgrade::Upgrade;

/// Messages and bytes that one event carries at most, so that one busy connection leaves room for the others.
const BATCH_MESSAGES: usize = 256;
const BATCH_READ_BYTES: usize = 4 * BATCH_BYTES;

/// What a handler tells the behaviour. Messages come in batches: an event of the swarm costs more than a message.
#[derive(Debug)]
pub enum ToBehaviour<Req, Res> {
    /// Requests of the remote.
    Requests(Vec<(ResponseChannel, Req)>),
    /// Outcomes of requests of this peer, by their number.
    Answers(Vec<(u64, Result<Res, OutboundFailure>)>),
    /// The outbound substream ended: requests up to this number that have no outcome are lost.
    Lost { up_to: u64, fault: Option<PeerFault> },
    /// The remote does not speak the protocol.
    Unsupported,
    /// Opening the substream failed repeatedly.
    OpenFailed,
    /// The inbound substream ended.
    InboundEnded { unanswered: usize, fault: Option<PeerFault> },
    /// A request was not a `Req`, and its sender was told.
    UndecodableRequest,
}

/// The handler of one connection.
#[derive(Debug)]
pub struct Handler<Req, Res> {
    link: Arc<Link>,
    connection: ConnectionId,
    protocol: StreamProtocol,
    outbound: Outbound,
    inbound: Option<Inbound>,
    events: VecDeque<ToBehaviour<Req, Res>>,
}

impl<Req, Res> Handler<Req, Res> {
    pub(crate) fn new(link: Arc<Link>, connection: ConnectionId, protocol: StreamProtocol) -> Self {
        Self { link, connection, protocol, outbound: Outbound::new(), inbound: None, events: VecDeque::new() }
    }

    fn on_dial_upgrade_error(&mut self, error: StreamUpgradeError<Void>) {
        let event = match error {
            StreamUpgradeError::NegotiationFailed => ToBehaviour::Unsupported,
            StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => {
                if !self.outbound.on_open_failure() {
                    return;
                }
                ToBehaviour::OpenFailed
            }
            StreamUpgradeError::Apply(never) => void::unreachable(never),
        };
        self.outbound.close();
        self.link.lock().block(self.connection);
        self.events.push_back(event);
    }
}

impl<Req, Res> ConnectionHandler for Handler<Req, Res>
where
    Req: DeserializeOwned + Debug + Send + 'static,
    Res: DeserializeOwned + Debug + Send + 'static,
{
    type FromBehaviour = Void;
    type ToBehaviour = ToBehaviour<Req, Res>;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        let protocol = self.link.config().serve().then(|| self.protocol.clone());
        SubstreamProtocol::new(Upgrade { protocol }, ())
    }

    fn connection_keep_alive(&self) -> bool {
        match self.link.config().keep_alive() {
            KeepAlive::Always => true,
            KeepAlive::WhileOpen | KeepAlive::WhileBusy => {
                self.link.lock().is_busy(self.connection)
                    || !self.outbound.is_idle()
                    || self.inbound.as_ref().is_some_and(|inbound| !inbound.is_idle())
            }
        }
    }

    fn on_behaviour_event(&mut self, event: Void) {
        void::unreachable(event)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, (), Self::ToBehaviour>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        let wanted = self.link.lock().enter(self.connection, cx.waker());
        if wanted && self.outbound.begin_opening() {
            let upgrade = Upgrade { protocol: Some(self.protocol.clone()) };
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(upgrade, ()),
            });
        }
        self.poll_outbound(cx);
        self.poll_inbound(cx);
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event)),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: mut stream,
                info: (),
            }) => {
                if self.link.config().keep_alive() == KeepAlive::WhileBusy {
                    stream.ignore_for_keep_alive();
                }
                self.outbound.open(stream, self.link.config().max_frame_bytes());
            }
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: mut stream,
                info: (),
            }) => {
                if self.link.config().keep_alive() == KeepAlive::WhileBusy {
                    stream.ignore_for_keep_alive();
                }
                self.open_inbound(stream);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info: () }) => {
                self.on_dial_upgrade_error(error);
            }
            // Our upgrade cannot fail, and which protocols the remote offers shows when we ask for ours.
            ConnectionEvent::ListenUpgradeError(_)
            | ConnectionEvent::AddressChange(_)
            | ConnectionEvent::LocalProtocolsChange(_)
            | ConnectionEvent::RemoteProtocolsChange(_)
            | _ => {}
        }
    }
}
