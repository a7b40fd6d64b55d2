//! Pipelined request/response over one long-lived libp2p substream per peer

mod behaviour;
mod body;
mod channel;
mod clock;
mod config;
mod error;
mod event;
mod frame;
mod handler;
mod link;
mod queue;

pub use behaviour::Behaviour;
pub use channel::ResponseChannel;
pub use config::{Config, KeepAlive};
pub use error::{Bound, InboundFailure, OutboundFailure, PeerFault};
pub use event::{Counters, Event, Pending, RequestId};
pub use queue::QUEUED_REQUEST_BYTES;
