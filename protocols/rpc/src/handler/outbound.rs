//! The substream that carries requests of this peer and the answers to them.

use std::task::{Context, Poll};

use libp2p::Stream;
use serde::de::DeserializeOwned;

use super::substream::Substream;
use super::{BATCH_MESSAGES, BATCH_READ_BYTES, Handler, ToBehaviour};
use crate::body;
use crate::frame::{Failure, Frame, Front, Kind};
use crate::{OutboundFailure, PeerFault};

/// Attempts to open a substream in a row before those who wait are told.
const OPEN_ATTEMPTS: u8 = 3;

#[derive(Debug)]
pub(crate) struct Outbound {
    state: State,
    open_failures: u8,
    /// The last request taken: an answer to a later one is a fault.
    sent_up_to: u64,
    /// Requests taken for the open substream that the remote has not answered.
    in_flight: usize,
}

#[derive(Debug)]
enum State {
    Closed,
    Opening,
    Open(Box<Substream>),
}

/// Why the substream is given up.
enum End {
    Closed,
    Fault(PeerFault),
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self { state: State::Closed, open_failures: 0, sent_up_to: 0, in_flight: 0 }
    }

    /// Returns whether a substream is to be asked for.
    pub(crate) fn begin_opening(&mut self) -> bool {
        let closed = matches!(self.state, State::Closed);
        if closed {
            self.state = State::Opening;
        }
        closed
    }

    pub(crate) fn open(&mut self, stream: Stream, frame_limit: usize) {
        self.open_failures = 0;
        self.in_flight = 0;
        self.state = State::Open(Box::new(Substream::new(stream, frame_limit)));
    }

    /// Returns whether it is time to give up.
    pub(crate) fn on_open_failure(&mut self) -> bool {
        self.state = State::Closed;
        self.open_failures += 1;
        self.open_failures >= OPEN_ATTEMPTS
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.open_failures = 0;
    }

    pub(crate) fn is_idle(&self) -> bool {
        match &self.state {
            State::Closed => true,
            State::Opening => false,
            State::Open(substream) => substream.writer.is_idle(),
        }
    }
}

impl<Req, Res: DeserializeOwned> Handler<Req, Res> {
    pub(crate) fn poll_outbound(&mut self, cx: &mut Context<'_>) {
        let State::Open(substream) = &mut self.outbound.state else { return };
        let Substream { stream, writer, .. } = &mut **substream;
        let (link, connection) = (&self.link, self.connection);
        let (sent_up_to, in_flight) = (&mut self.outbound.sent_up_to, &mut self.outbound.in_flight);
        let written = writer.poll(cx, stream, |buffer| {
            if let Some(taken) = link.take_requests(connection, buffer) {
                *sent_up_to = taken.up_to;
                *in_flight += taken.count;
            }
        });
        // What the remote said before it closed is worth reading even when writing fails.
        let mut answers = Vec::new();
        let read = read_answers(substream, *sent_up_to, cx, &mut answers);
        if !answers.is_empty() {
            *in_flight = in_flight.saturating_sub(answers.len());
            self.events.push_back(ToBehaviour::Answers(answers));
        }
        let end = match (read, written) {
            (Err(end), _) => end,
            (Ok(()), Err(_)) => End::Closed,
            (Ok(()), Ok(())) => {
                // Nothing holds a connection open that carries no requests any more.
                if self.outbound.in_flight == 0 && self.link.lock().is_retired(self.connection) {
                    self.outbound.close();
                }
                return;
            }
        };
        self.outbound.close();
        let fault = match end {
            End::Closed => None,
            End::Fault(fault) => Some(fault),
        };
        self.events.push_back(ToBehaviour::Lost { up_to: self.outbound.sent_up_to, fault });
    }
}

fn read_answers<Res: DeserializeOwned>(
    substream: &mut Substream,
    sent_up_to: u64,
    cx: &mut Context<'_>,
    answers: &mut Vec<(u64, Result<Res, OutboundFailure>)>,
) -> Result<(), End> {
    let mut read_bytes = 0;
    while answers.len() < BATCH_MESSAGES {
        match substream.reader.front().map_err(End::Fault)? {
            Front::Whole { frame, bytes } => {
                answers.push((frame.id, read_answer(frame, sent_up_to).map_err(End::Fault)?));
                substream.reader.consume(bytes);
            }
            Front::Partial { .. } if read_bytes > BATCH_READ_BYTES && !answers.is_empty() => break,
            Front::Partial { .. } => match substream.reader.poll_fill(cx, &mut substream.stream) {
                Poll::Ready(Ok(0)) if substream.reader.is_empty() => return Err(End::Closed),
                Poll::Ready(Ok(0)) => return Err(End::Fault(PeerFault::Truncated)),
                Poll::Ready(Ok(count)) => read_bytes += count,
                Poll::Ready(Err(_)) => return Err(End::Closed),
                Poll::Pending => break,
            },
        }
    }
    Ok(())
}

/// The outer error ends the substream, the inner one only this request.
fn read_answer<Res: DeserializeOwned>(
    frame: Frame<'_>,
    sent_up_to: u64,
) -> Result<Result<Res, OutboundFailure>, PeerFault> {
    if frame.id > sent_up_to {
        return Err(PeerFault::UnexpectedId { id: frame.id });
    }
    match frame.kind {
        Kind::Response => {
            Ok(body::decode(frame.body).ok_or(OutboundFailure::Fault(PeerFault::UndecodableResponse)))
        }
        Kind::Failure => Ok(Err(match Failure::read(frame.body)? {
            Failure::UndecodableRequest => OutboundFailure::UndecodableRequest,
            Failure::ResponseTooLarge { bytes, limit } => OutboundFailure::ResponseTooLarge { bytes, limit },
            Failure::Refused => OutboundFailure::Refused,
            Failure::Overloaded => OutboundFailure::Overloaded,
        })),
        Kind::Request => Err(frame.kind.unexpected()),
    }
}
