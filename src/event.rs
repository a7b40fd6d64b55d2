//! What a peer tells the program that runs it.

use henge_types::{Key, Multiaddr, PeerId, RingId};

use crate::core::RequestFailure;
use crate::snapshot;
use crate::store::StoreError;

/// Something happened that the embedding program, or a person, may want to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A new ring was born here.
    RingBorn {
        /// Its id.
        ring: RingId,
    },
    /// This peer became a member of a ring.
    Joined {
        /// Its id.
        ring: RingId,
    },
    /// This peer serves: it is a member, and has acquired what can be acquired at once.
    Ready,
    /// This peer has left its ring: it has nothing any more that anybody needs, and may be stopped.
    Left,
    /// This peer was evicted, and is away for so long that what it has may bring back what was deleted
    /// since. It serves nothing; its data directory is as it was, and what the ring lacks can be imported from it.
    EvictedForGood,
    /// The ring cannot take in the snapshot that this peer was restored from. It serves nothing, and
    /// should be stopped; the ring has not heard of it.
    CannotRestore(snapshot::Refusal),
    /// Another member was met for the first time.
    MemberMet {
        /// Who.
        peer: PeerId,
    },
    /// A member is taken to be gone: enough members hear nothing of it.
    PeerDown {
        /// Who.
        peer: PeerId,
    },
    /// A member that was taken to be gone is there again.
    PeerUp {
        /// Who.
        peer: PeerId,
    },
    /// An address given to join through cannot be reached. It is tried again.
    JoinUnreachable {
        /// The address.
        address: Option<Multiaddr>,
        /// Why.
        reason: String,
    },
    /// A peer that this one tried to join through gave no answer. It is tried again.
    JoinFailed {
        /// Who.
        peer: PeerId,
        /// Why.
        failure: RequestFailure,
    },
    /// A peer refused this one: the two can never be in one ring.
    Refused {
        /// Who refused.
        peer: PeerId,
        /// Why.
        refusal: henge_membership::Refusal,
    },
    /// Every peer that this one was told to join refused it for good: it can never join as it was
    /// started, and should be stopped and started differently.
    CannotJoin,
    /// A peer broke the protocol. Counted, and otherwise ignored.
    PeerFault {
        /// Who.
        peer: PeerId,
        /// How.
        reason: String,
    },
    /// A stored record cannot be read; it is being repaired from its other replicas.
    RecordDamaged {
        /// The key.
        key: Key,
    },
    /// A damaged record is whole again.
    RecordRepaired {
        /// The key.
        key: Key,
    },
    /// A record that waited for a peer is not handed over any more: it is too old, or cannot be
    /// read. It is kept in quarantine.
    HintQuarantined {
        /// The key.
        key: Key,
        /// For whom it waited.
        primary: PeerId,
    },
    /// The store failed. Nothing is acknowledged from now on where a flush was what failed.
    StoreFailed(StoreError),
    /// The peer has stopped: all is saved, and the swarm need not be polled for it any more.
    Stopped,
}
