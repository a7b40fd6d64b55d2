//! Requests to other peers over libp2p, many at a time: one long-lived substream per peer carries length-prefixed
//! frames with ids, instead of one negotiated substream per request.
//!
//! [`Behaviour`] is a `NetworkBehaviour` for any program on libp2p. It reads and writes any two serde types as CBOR:
//!
//! ```
//! use henge_rpc::{Behaviour, Config, Event};
//! use libp2p::StreamProtocol;
//!
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! struct Question(String);
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! struct Answer(u64);
//!
//! let mut rpc = Behaviour::<Question, Answer>::new(StreamProtocol::new("/oracle/1"), Config::default());
//! # let peer = libp2p::PeerId::random();
//! let id = rpc.send_request(&peer, Question("the meaning of everything".into()));
//!
//! # fn on_event(rpc: &mut Behaviour<Question, Answer>, event: Event<Question, Answer>) {
//! match event {
//!     Event::Request { channel, request, .. } => {
//!         let _ = rpc.send_response(channel, Answer(request.0.len() as u64));
//!     }
//!     Event::Response { id, response, .. } => println!("{id}: {response:?}"),
//!     Event::OutboundFailure { id, error, .. } => println!("{id}: {error}"),
//!     Event::InboundFailure { peer, error, .. } => println!("{peer}: {error}"),
//! }
//! # }
//! ```
//!
//! # On the wire
//!
//! Each side opens one substream per connection that it uses, under the protocol name given to [`Behaviour::new`];
//! its requests and the answers to them are on that one. The opener keeps its sending side open for as long as it
//! wants answers. Answers come in any order. All numbers are big-endian.
//!
//! | frame | length | kind | id | body |
//! |---|---|---|---|---|
//! | bytes | 4 | 1 | 8 | length − 9 |
//! | request, opener → acceptor | | 0 | chosen by the opener, rising | CBOR |
//! | response, acceptor → opener | | 1 | that of the request | CBOR |
//! | failure, acceptor → opener | | 2 | that of the request | a code, see below |
//!
//! | failure code | then | means |
//! |---|---|---|
//! | 0 | | the body of the request is not one |
//! | 1 | u64 bytes, u64 limit | the response would be too large |
//! | 2 | | the request was dropped without a response |
//! | 3 | | the response was discarded: too many wait to be read |
//!
//! # What can go wrong
//!
//! | what | the requester sees | the responder sees |
//! |---|---|---|
//! | no connection, no address | [`OutboundFailure::DialFailure`], `NotConnected` | |
//! | another protocol | `UnsupportedProtocol` | |
//! | no answer in time | `Timeout`; a late answer is dropped and counted | |
//! | the connection breaks | `ConnectionClosed` for what was sent; the rest goes out on another or a new connection | [`InboundFailure::ConnectionClosed`], and `send_response` gives the response back |
//! | too much waits | `Full` | |
//! | request over the limit | `TooLarge`, before anything is sent | |
//! | response over the limit | `ResponseTooLarge` | `ResponseTooLarge` |
//! | request that does not decode | `UndecodableRequest` | `UndecodableRequest`; the substream goes on |
//! | response that does not decode | `Fault`; the substream goes on | |
//! | channel dropped | `Refused`, at once | |
//! | frame over the limit, garbage, a cut frame | `Fault` for all that was sent | `Fault`; the substream is closed, the connection stays |
//!
//! # Bounds
//!
//! All are in [`Config`], and all hold against a remote that does not keep to anything. Requests wait in one queue per
//! peer, bounded in bytes; a window bounds how many are in flight; a peer with too many unanswered requests here, in
//! number or in bytes, or that does not read its responses, is not read from. Buffers grow with the bytes that arrive,
//! never with the length that a header announces, and bodies nest at most 128 deep. What a decoded value takes is up
//! to its type: a list of large structs with many defaults takes more than its bytes.
//!
//! # Differences to libp2p's request-response
//!
//! One substream instead of one per request, so there is no negotiation, no limit on streams and no timer per request;
//! the price is that a large message delays the small ones behind it. Use one behaviour per kind of traffic: each has
//! its own substream. Answers need no event of their own when they are sent. A request that was not sent survives its
//! connection.

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
