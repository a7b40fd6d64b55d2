//! The substream that carries requests of the remote and the answers to them.

use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use serde::de::DeserializeOwned;

use super::substream::Substream;
use super::{BATCH_MESSAGES, BATCH_READ_BYTES, Handler, ToBehaviour};
use crate::body;
use crate::frame::{Failure, Front, Kind};
use crate::link::{Link, Room};
use crate::{PeerFault, ResponseChannel};

#[derive(Debug)]
pub(crate) struct Inbound {
    substream: Substream,
    epoch: u64,
}

/// Why the substream is given up.
enum End {
    Closed,
    Fault(PeerFault),
}

/// What one turn of reading brought.
struct Batch<Req> {
    requests: Vec<(ResponseChannel, Req)>,
    bytes: usize,
    undecodable: usize,
}

impl Inbound {
    pub(crate) fn is_idle(&self) -> bool {
        self.substream.writer.is_idle()
    }
}

impl<Req: DeserializeOwned, Res> Handler<Req, Res> {
    /// A remote that opens a second substream has given up the first: one per connection is the bound.
    pub(crate) fn open_inbound(&mut self, stream: Stream) {
        if self.inbound.is_some() {
            self.end_inbound(End::Closed);
        }
        let substream = Substream::new(stream, self.link.config().max_frame_bytes());
        self.inbound = Some(Inbound { substream, epoch: self.link.begin_inbound(self.connection) });
    }

    pub(crate) fn poll_inbound(&mut self, cx: &mut Context<'_>) {
        let Some(inbound) = &mut self.inbound else { return };
        let Substream { stream, writer, .. } = &mut inbound.substream;
        let (link, connection) = (&self.link, self.connection);
        let written = writer.poll(cx, stream, |buffer| link.take_responses(connection, buffer));
        let room = link.room(connection);
        let mut batch = Batch { requests: Vec::new(), bytes: 0, undecodable: 0 };
        let read = inbound.read_requests(cx, link, connection, room, &mut batch);
        if !batch.requests.is_empty() {
            link.admit(connection, batch.requests.len(), batch.bytes);
            self.events.push_back(ToBehaviour::Requests(batch.requests));
        }
        self.events.extend((0..batch.undecodable).map(|_| ToBehaviour::UndecodableRequest));
        match (read, written) {
            (Err(end), _) => self.end_inbound(end),
            (Ok(()), Err(_)) => self.end_inbound(End::Closed),
            (Ok(()), Ok(())) => {}
        }
    }

    fn end_inbound(&mut self, end: End) {
        self.inbound = None;
        let unanswered = self.link.end_inbound(self.connection);
        let fault = match end {
            End::Closed => None,
            End::Fault(fault) => Some(fault),
        };
        self.events.push_back(ToBehaviour::InboundEnded { unanswered, fault });
    }
}

impl Inbound {
    fn read_requests<Req: DeserializeOwned>(
        &mut self,
        cx: &mut Context<'_>,
        link: &Arc<Link>,
        connection: ConnectionId,
        room: Room,
        batch: &mut Batch<Req>,
    ) -> Result<(), End> {
        let Substream { stream, reader, .. } = &mut self.substream;
        let mut read_bytes = 0;
        let most = room.requests.min(BATCH_MESSAGES);
        while batch.requests.len() + batch.undecodable < most && batch.bytes < room.bytes {
            match reader.front().map_err(End::Fault)? {
                Front::Whole { frame, bytes } => {
                    if frame.kind != Kind::Request {
                        return Err(End::Fault(frame.kind.unexpected()));
                    }
                    let id = frame.id;
                    match body::decode(frame.body) {
                        Some(request) => {
                            let channel =
                                ResponseChannel::new(link.clone(), connection, self.epoch, id, bytes);
                            batch.requests.push((channel, request));
                            batch.bytes += bytes;
                        }
                        None => {
                            link.reject(connection, id, Failure::UndecodableRequest);
                            batch.undecodable += 1;
                        }
                    }
                    reader.consume(bytes);
                }
                Front::Partial { .. } if read_bytes > BATCH_READ_BYTES && !batch.requests.is_empty() => break,
                Front::Partial { .. } => match reader.poll_fill(cx, stream) {
                    Poll::Ready(Ok(0)) if reader.is_empty() => return Err(End::Closed),
                    Poll::Ready(Ok(0)) => return Err(End::Fault(PeerFault::Truncated)),
                    Poll::Ready(Ok(count)) => read_bytes += count,
                    Poll::Ready(Err(_)) => return Err(End::Closed),
                    Poll::Pending => break,
                },
            }
        }
        Ok(())
    }
}
