//! One request on its way, and what becomes of it when it gets no answer. A value: the clock is passed in.

use std::time::Duration;

use henge_client::{Failure, Get, Request, Response, TIMEOUT_DEFAULT_MS, TIMEOUT_MAX_MS, WriteOptions};
use henge_rpc::OutboundFailure;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::handle::Call;

/// What the answer may take beyond the time that the peer has.
const MARGIN: Duration = Duration::from_millis(500);

/// How often one request is sent at most.
const TRIES_MAX: u8 = 4;

/// A request and its caller.
#[derive(Debug)]
pub(super) struct Pending {
    call: Call,
    deadline: Instant,
    tries: u8,
    /// Whether an earlier try may have reached a peer.
    sent: bool,
}

/// What a failure says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No peer has seen it.
    NotSent,
    /// A peer may have acted on it; another try is worth it.
    MaybeSent,
    /// A peer may have acted on it; another try would end the same way, or too late.
    Lost,
    /// No peer will take it.
    Refused,
}

impl Pending {
    pub(super) fn new(mut call: Call, now: Instant) -> Self {
        let deadline = now + timeout(&mut call.request) + MARGIN;
        Self { call, deadline, tries: 0, sent: false }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether nobody waits for the answer, or no time is left for one.
    pub(super) fn is_abandoned(&self) -> bool {
        self.call.reply.is_closed()
    }

    /// What to send: a further try says that it is one, and leaves the peer the time that is left.
    pub(super) fn next_try(&mut self, now: Instant) -> Request {
        self.tries += 1;
        let mut request = self.call.request.clone();
        if self.tries > 1 {
            let left = self.deadline.saturating_duration_since(now).saturating_sub(MARGIN);
            let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            if let Some(timeout_ms) = timeout_ms(&mut request) {
                *timeout_ms = left_ms.min(*timeout_ms);
            }
            if let Request::Put { options, .. } | Request::Delete { options, .. } = &mut request {
                options.retry |= self.sent;
            }
        }
        request
    }

    /// Hands the answer to the caller, unless it is one that another peer may better: then it gives the
    /// request back.
    pub(super) fn on_answer(mut self, response: Response, now: Instant) -> Option<Self> {
        let may_be_done = match &response {
            Response::Failed(Failure::NotReady) => false,
            // Others may have the write already.
            Response::Failed(Failure::Store { .. }) => true,
            Response::Failed(_)
            | Response::Written { .. }
            | Response::Found { .. }
            | Response::NotFound { .. }
            | Response::Status(_)
            | Response::Located(_)
            | Response::Repair(_)
            | Response::Snapshot(_)
            | Response::Accepted => {
                self.answer(response);
                return None;
            }
        };
        if self.tries >= TRIES_MAX || now >= self.deadline || self.is_abandoned() {
            self.answer(response);
            return None;
        }
        self.sent |= may_be_done;
        Some(self)
    }

    /// Hands the answer to the caller.
    pub(super) fn answer(self, response: Response) {
        // A peer that cannot even begin with a write knows nothing of an earlier try of it.
        if self.sent
            && self.is_write()
            && let Response::Failed(
                failure @ (Failure::Overloaded
                | Failure::NotReady
                | Failure::NotReplica
                | Failure::Store { .. }),
            ) = &response
        {
            let reason = format!("the connection was lost after the write was sent, and then {failure}");
            return self.reply(Err(RequestError::Unknown { reason }));
        }
        self.reply(Ok(response));
    }

    /// A try failed: gives the request back if it is worth another.
    pub(super) fn on_failure(mut self, error: &OutboundFailure, now: Instant) -> Option<Self> {
        let fate = fate(error);
        self.sent |= matches!(fate, Fate::MaybeSent | Fate::Lost);
        match fate {
            Fate::NotSent | Fate::MaybeSent => {
                if self.is_abandoned() {
                    None
                } else if self.tries < TRIES_MAX && now < self.deadline {
                    Some(self)
                } else {
                    self.fail(error.to_string());
                    None
                }
            }
            Fate::Lost => {
                self.fail(error.to_string());
                None
            }
            Fate::Refused => {
                let failure = Failure::BadRequest { reason: error.to_string() };
                self.reply(Ok(Response::Failed(failure)));
                None
            }
        }
    }

    /// Tells the caller that there is no answer.
    pub(super) fn fail(self, reason: String) {
        let error = match (self.sent, self.is_write()) {
            (false, _) => RequestError::Unreachable { reason },
            (true, true) => RequestError::Unknown { reason },
            (true, false) => RequestError::NoAnswer { reason },
        };
        self.reply(Err(error));
    }

    fn reply(self, result: Result<Response, RequestError>) {
        // An `Err` means that the caller has given up.
        let _ = self.call.reply.send(result);
    }

    fn is_write(&self) -> bool {
        matches!(self.call.request, Request::Put { .. } | Request::Delete { .. })
    }
}

fn timeout(request: &mut Request) -> Duration {
    let ms = timeout_ms(request).map_or(TIMEOUT_DEFAULT_MS, |ms| *ms);
    Duration::from_millis(ms.clamp(1, TIMEOUT_MAX_MS).into())
}

/// How long the peer may take, where the request says so.
fn timeout_ms(request: &mut Request) -> Option<&mut u32> {
    match request {
        Request::Put { options: WriteOptions { timeout_ms, .. }, .. }
        | Request::Delete { options: WriteOptions { timeout_ms, .. }, .. }
        | Request::Get(Get { timeout_ms, .. }) => Some(timeout_ms),
        Request::Status
        | Request::Locate { .. }
        | Request::Leave
        | Request::Remove { .. }
        | Request::Weight { .. }
        | Request::Repair { .. }
        | Request::RepairProgress { .. }
        | Request::Snapshot { .. } => None,
    }
}

/// Whether a failure is one of the connection, and so of everything on it.
pub(super) fn is_of_connection(error: &OutboundFailure) -> bool {
    matches!(
        error,
        OutboundFailure::DialFailure
            | OutboundFailure::NotConnected
            | OutboundFailure::ConnectionClosed
            | OutboundFailure::UnsupportedProtocol
            | OutboundFailure::OpenFailed
            | OutboundFailure::Refused
            | OutboundFailure::Fault(_)
    )
}

fn fate(error: &OutboundFailure) -> Fate {
    match error {
        OutboundFailure::DialFailure
        | OutboundFailure::NotConnected
        | OutboundFailure::UnsupportedProtocol
        | OutboundFailure::OpenFailed
        | OutboundFailure::Full { .. } => Fate::NotSent,
        OutboundFailure::ConnectionClosed
        | OutboundFailure::Refused
        | OutboundFailure::Overloaded
        | OutboundFailure::Fault(_) => Fate::MaybeSent,
        OutboundFailure::TooLarge { .. }
        | OutboundFailure::Unserialisable
        | OutboundFailure::UndecodableRequest => Fate::Refused,
        // The enum may grow; what is not known may have been done.
        OutboundFailure::Timeout | OutboundFailure::ResponseTooLarge { .. } | _ => Fate::Lost,
    }
}

#[cfg(test)]
mod tests;
