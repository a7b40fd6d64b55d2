//! Who is in the ring, and who of them is alive: signed member records, merged views, heartbeats and
//! probes (Dynamo §4.8).
//!
//! Each peer says of itself what it is (state, weight, zone, addresses, custody) in a record that
//! it signs, and raises a counter in it with every heartbeat. Whoever relays a record cannot change
//! it, and the newest one wins wherever it meets an older one; so all views of a ring become the
//! same. [`State`] decides when to speak, to whom, and what to believe. It does no I/O: gossip,
//! requests and disk are the caller's.
//!
//! # Messages
//!
//! | message | carried by | when | answer |
//! |---|---|---|---|
//! | [`Gossip::Member`] | gossip | each heartbeat; at a declaration, unless all members are told directly | – |
//! | [`Gossip::Accusation`] | gossip | a member accuses another | – |
//! | [`Request::Join`] | request | a newcomer meets a peer that it was told to join | [`Response::Welcome`] with ring, secret and view |
//! | [`Request::Exchange`] | request | on connecting; on another view; now and then with a random member | [`Response::Exchanged`]: what each knows better |
//! | [`Request::Push`] | request | own declarations in a small ring; what an exchange wanted | [`Response::Pushed`] |
//! | [`Request::Fetch`] | request | a record speaks of a custody map that is not known | [`Response::Updates`] |
//! | [`Request::Probe`] | request | to three members, every second | [`Response::Alive`] with the answering peer's record |
//!
//! Any of them may be answered by [`Response::Refused`], which says what to do about it.
//!
//! # Incarnations and counters
//!
//! Records of one peer are ordered by (incarnation, counter), and no two may share both. Counters
//! come from blocks that are reserved on disk before use ([`Reservation`]); a restart goes on
//! behind the last block. A new incarnation begins when the store was lost: max(Unix milliseconds,
//! last known + 1), where what is known comes with the welcome. A peer finds out that its store was
//! *rolled back*, or that the peer that welcomed it did not know its last life, when somebody shows
//! it a record of its own that it cannot have signed: one beyond its counters. What that life wrote
//! may be missing, so the peer is reborn ([`Action::Reborn`]) with custody of nothing. Reservations
//! name their incarnation, so even a crash in between repeats no number.
//!
//! # Failures
//!
//! A peer *suspects* a member when two probes in a row fail (there is no connection, or no answer within
//! a second), or when its heartbeat is overdue by more than three intervals and a second. It says so in
//! its own record ([`henge_types::Suspect`]). A member is *down* ([`State::is_down`], [`Action::Health`])
//! as long as two members name its newest record in an accusation; any newer record clears it, and
//! whoever hears itself accused publishes one. A peer whose timers come late discards its probes, counts
//! silence only in the time in which it ran, and waits up to eight times as long for a while. Being down
//! changes nothing in [`View::generation`]. The other side of it is [`State::has_lease`]: whether a
//! peer hears that the others still count on it.
//!
//! # Leaving and eviction
//!
//! A member that leaves says so in its record: active, leaving, left. These come before the counter in the
//! order of its records, so it never comes back in the same life; if it forgot that it leaves, the others
//! remind it. Who has left has no address any more: it is not dialled, probed or told anything, does not
//! vote, and the view keeps that it left.
//!
//! A member that does not leave by itself is evicted ([`State::accuse`]): by one accusation of an operator,
//! or by those of more than half of the members that were active when it was last heard of ([`Eviction`]
//! says how they are counted). The eviction ends one life of it. Its records of that life are ignored, and
//! answered with the proof; when it learns of it, it goes on in a new life ([`Action::Evicted`]). Evictions
//! spread with the views and are never forgotten. Until it learns of it, an evicted peer has no lease:
//! records carry a digest of the evictions that their author knows, and only those vouch for a peer that
//! know the same.
//!
//! # Limits
//!
//! All in [`limits`]. A view holds `MEMBERS_MAX` members, those who left and those who were evicted included, a message [`limits::UPDATES_MAX`]
//! updates, and each connected peer has at most one request of each kind in flight.
//!
//! # Where it differs from the paper
//!
//! - Dynamo's administrator adds and removes nodes by hand; here a peer joins by itself, and says
//!   itself what it is.
//! - Dynamo reconciles membership histories with one random peer each second. Here records are
//!   gossiped (a peer learns of a change within a round trip or two), and the exchange with a
//!   random peer is what remains for losses.
//! - Dynamo's nodes detect failures each for itself, by the requests that fail. Here members accuse, and
//!   two have to agree, so that one bad connection makes nobody hand its data over.
//! - Dynamo has seeds so that a ring does not split logically. Here a ring has an id, every member
//!   is saved with its addresses, and nobody is special.
//! - Tokens are not gossiped: they follow from peer id and weight.
//! - Records are signed, because they are relayed by peers that need not be trusted with the words
//!   of others.

mod fault;
pub mod limits;
mod message;
mod rng;
mod state;
mod view;

pub use fault::{Counters, Fault};
pub use message::{Accused, Gossip, Known, Refusal, Request, Response, Update, decode_gossip, encode_gossip};
pub use state::{
    Action, Config, Declaration, Failure, Phase, Relay, Reservation, Start, State, Token, WhyNot,
};
pub use view::{Eviction, Member, Merged, SavedMember, SavedView, View};

/// The name of the protocol, between the cluster's name and the version.
pub const PROTOCOL: &str = "membership/1";

/// Largest frame, in bytes: [`limits::UPDATES_MAX`] updates, each with a custody map of 2^16 partitions.
pub const FRAME_MAX_BYTES: usize = 4 << 20;
