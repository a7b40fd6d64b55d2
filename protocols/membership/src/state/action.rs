//! What a [`State`](super::State) asks of its caller.

use std::time::Duration;

use bytes::Bytes;
use henge_types::{ClusterParams, Incarnation, PeerId, RingId, RingSecret};
use thiserror::Error;

use super::own::Reservation;
use crate::fault::Fault;
use crate::message::{Refusal, Request};

/// Numbers a request, so that its outcome finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a [`State`](super::State) asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send `request` to `peer`, and give its outcome to
    /// [`State::on_response`](super::State::on_response).
    Send {
        /// To whom.
        peer: PeerId,
        /// Comes back with the outcome.
        token: Token,
        /// When to give up.
        timeout: Duration,
        /// What.
        request: Request,
    },
    /// Publish on the topic of the cluster.
    Publish {
        /// As [`encode_gossip`](crate::encode_gossip) makes it.
        payload: Bytes,
    },
    /// Save the view; it may replace one that is not saved yet. At most one in a second.
    Persist {
        /// The stored form of [`SavedView`](crate::SavedView).
        view: Bytes,
    },
    /// Save this durably, then call [`State::handle_reserved`](super::State::handle_reserved). Until
    /// then this peer signs nothing beyond what was reserved before.
    Reserve {
        /// What to save.
        reservation: Reservation,
    },
    /// The newcomer is let in: save these, for a restart.
    Joined {
        /// The ring.
        ring: RingId,
        /// Its secret.
        secret: RingSecret,
        /// What it was born with: the same as this peer was started with.
        params: ClusterParams,
    },
    /// The ring knows a later life of this peer than its store does: the store was rolled back,
    /// or another process has the same identity. This peer is reborn with custody of nothing; what
    /// its store has is to be declared anew, as part at most.
    Reborn {
        /// The new incarnation.
        incarnation: Incarnation,
    },
    /// This peer was evicted, and goes on in a new life with custody of nothing: as [`Action::Reborn`], but
    /// its store has all that it had. Whether that may still be declared depends on how long ago it was.
    Evicted {
        /// The new incarnation.
        incarnation: Incarnation,
        /// When it was evicted: the last of the accusations that were needed, by the clock of its author.
        at_unix_ms: u64,
    },
    /// [`View::generation`](crate::View::generation) rose.
    Changed {
        /// To this.
        generation: u64,
        /// What [`View::placed_generation`](crate::View::placed_generation) is now.
        placed_generation: u64,
    },
    /// The verdict on a member changed: see [`State::is_down`](super::State::is_down).
    Health {
        /// Who.
        peer: PeerId,
        /// Whether it is taken to be gone from now on.
        down: bool,
    },
    /// A member came into the view: it may be dialled.
    NewMember {
        /// Who.
        peer: PeerId,
    },
    /// `peer` will not have this peer, or this peer not it. Where [`Refusal::is_final`], it is not
    /// asked to join again, and a newcomer that has nobody else to ask should stop and show why.
    /// Otherwise it is asked again every [`RETRY`](crate::limits::RETRY), and refuses again.
    Refused {
        /// Who was asked.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// `peer` did what no honest peer of this ring does.
    Fault {
        /// Who brought it.
        peer: PeerId,
        /// What.
        fault: Fault,
    },
}

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// The remote does not speak the protocol: another cluster's name is another protocol.
    #[error("it does not speak the protocol")]
    Unsupported,
    /// Time-out, broken connection, full queue, unreadable response: it may work another time.
    #[error("it did not answer")]
    Lost,
}

/// What to tell gossipsub about a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    /// Pass it on.
    Forward,
    /// Do not pass it on: it is old, of another ring, or from a newer version.
    Ignore,
    /// Do not pass it on, and hold it against the peer it came from: no honest peer sends it.
    Reject,
}
