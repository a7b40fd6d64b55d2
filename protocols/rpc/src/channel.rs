//! The way back to the requester.

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::frame::Failure;
use crate::link::{Delivery, Link};

/// The right to answer one request, once, through [`Behaviour::send_response`](crate::Behaviour::send_response).
///
/// Dropping it tells the requester `Refused` at once. While it lives, the request counts towards
/// [`Config::max_inbound_in_flight`](crate::Config::max_inbound_in_flight).
#[derive(Debug)]
#[must_use = "dropping the channel refuses the request"]
pub struct ResponseChannel {
    link: Arc<Link>,
    connection: ConnectionId,
    epoch: u64,
    id: u64,
    request_bytes: usize,
    answered: bool,
}

impl ResponseChannel {
    pub(crate) fn new(
        link: Arc<Link>,
        connection: ConnectionId,
        epoch: u64,
        id: u64,
        request_bytes: usize,
    ) -> Self {
        Self { link, connection, epoch, id, request_bytes, answered: false }
    }

    /// Whether the requester is still connected: if not, the work for the answer can be saved.
    pub fn is_open(&self) -> bool {
        self.link.is_open(self.connection, self.epoch)
    }

    /// Who asks.
    pub fn peer(&self) -> PeerId {
        self.link.peer()
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Hands the frame to the connection.
    pub(crate) fn answer(mut self, frame: &[u8]) -> Delivery {
        self.finish(frame)
    }

    /// Tells the requester why there is no response.
    pub(crate) fn fail(mut self, failure: Failure) -> Delivery {
        self.finish_with(failure)
    }

    fn finish_with(&mut self, failure: Failure) -> Delivery {
        let mut frame = Vec::with_capacity(32);
        failure.write(&mut frame, self.id);
        self.finish(&frame)
    }

    fn finish(&mut self, frame: &[u8]) -> Delivery {
        self.answered = true;
        self.link.answer(self.connection, self.epoch, self.request_bytes, self.id, frame)
    }
}

impl Drop for ResponseChannel {
    fn drop(&mut self) {
        if !self.answered {
            self.finish_with(Failure::Refused);
        }
    }
}
