//! Every hop by the real codecs: what cannot be encoded and decoded again is a failure of the run.

use henge::core::{Request, Response};
use henge_types::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One message as bytes, with the protocol that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    protocol: Protocol,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Membership,
    Quorum,
    Sync,
    Handoff,
    Client,
}

impl Frame {
    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is of the membership protocol.
    #[must_use]
    pub fn is_membership(&self) -> bool {
        self.protocol == Protocol::Membership
    }
}

fn encode<T: Serialize>(protocol: Protocol, max: usize, message: &T) -> Result<Frame, String> {
    let bytes = codec::encode(message).map_err(|e| e.to_string())?;
    if bytes.len() > max {
        return Err(format!("a {protocol:?} frame of {} bytes", bytes.len()));
    }
    Ok(Frame { protocol, bytes })
}

fn decode<T: DeserializeOwned>(frame: &Frame) -> Result<T, String> {
    codec::decode(&frame.bytes).map_err(|e| e.to_string())
}

const MEMBERSHIP_MAX: usize = 4 << 20;

/// The bytes of a request.
///
/// # Errors
/// Why it cannot be sent.
pub fn encode_request(request: &Request) -> Result<Frame, String> {
    match request {
        Request::Membership(m) => encode(Protocol::Membership, MEMBERSHIP_MAX, m),
        Request::Quorum(m) => encode(Protocol::Quorum, henge_quorum::FRAME_MAX_BYTES, m),
        Request::Sync(m) => encode(Protocol::Sync, henge_sync::FRAME_MAX_BYTES, m),
        Request::Handoff(m) => encode(Protocol::Handoff, henge_handoff::FRAME_MAX_BYTES, m),
        Request::Client(m) => encode(Protocol::Client, henge_client::FRAME_MAX_BYTES, m),
    }
}

/// The bytes of a response.
///
/// # Errors
/// Why it cannot be sent.
pub fn encode_response(response: &Response) -> Result<Frame, String> {
    match response {
        Response::Membership(m) => encode(Protocol::Membership, MEMBERSHIP_MAX, m),
        Response::Quorum(m) => encode(Protocol::Quorum, henge_quorum::FRAME_MAX_BYTES, m),
        Response::Sync(m) => encode(Protocol::Sync, henge_sync::FRAME_MAX_BYTES, m),
        Response::Handoff(m) => encode(Protocol::Handoff, henge_handoff::FRAME_MAX_BYTES, m),
        Response::Client(m) => encode(Protocol::Client, henge_client::FRAME_MAX_BYTES, m),
    }
}

/// The request in a frame.
///
/// # Errors
/// Why it cannot be read.
pub fn decode_request(frame: &Frame) -> Result<Request, String> {
    Ok(match frame.protocol {
        Protocol::Membership => Request::Membership(decode(frame)?),
        Protocol::Quorum => Request::Quorum(decode(frame)?),
        Protocol::Sync => Request::Sync(decode(frame)?),
        Protocol::Handoff => Request::Handoff(decode(frame)?),
        Protocol::Client => Request::Client(decode(frame)?),
    })
}

/// The response in a frame.
///
/// # Errors
/// Why it cannot be read.
pub fn decode_response(frame: &Frame) -> Result<Response, String> {
    Ok(match frame.protocol {
        Protocol::Membership => Response::Membership(decode(frame)?),
        Protocol::Quorum => Response::Quorum(decode(frame)?),
        Protocol::Sync => Response::Sync(decode(frame)?),
        Protocol::Handoff => Response::Handoff(decode(frame)?),
        Protocol::Client => Response::Client(decode(frame)?),
    })
}
