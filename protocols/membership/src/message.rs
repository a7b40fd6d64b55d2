//! What peers say to each other about who is in the ring.
//!
//! Everything is CBOR: structures are maps with text keys, so that a field can be added.

use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::{
    ClusterName, ClusterParams, CustodyDigest, CustodyMap, DecodeError, Incarnation, MemberState, PeerId,
    RingId, RingSecret, SignedAccusation, SignedMember,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fault::Fault;
use crate::limits::{ACCUSATIONS_MAX, ACCUSED_MAX, GOSSIP_MAX_BYTES, SUMMARY_MAX, UPDATES_MAX};

/// What is known of one member: its record, and its custody map where the sender has the one of
/// this very record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What the member says of itself.
    pub member: SignedMember,
    /// Its custody map. Left out where the receiver has it, or the sender has none that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<CustodyMap>,
}

/// A peer that is accused: a record of the life that it is accused in, which shows that it began that life
/// itself, and accusations against it. They may be enough to evict it, or wait for more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accused {
    /// Its record.
    pub member: SignedMember,
    /// All of them against that life.
    pub accusations: Vec<SignedAccusation>,
}

/// How much the sender knows of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The member.
    pub peer: PeerId,
    /// The incarnation in the newest record.
    pub incarnation: Incarnation,
    /// The state in the newest record.
    pub state: MemberState,
    /// The counter in the newest record.
    pub counter: u64,
    /// The digest of the custody map that the sender holds; of the empty map if it holds none.
    pub custody: CustodyDigest,
}

/// What one peer asks of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// "Let me in": from a newcomer, or from a member that was told to join.
    Join {
        /// What the sender was started with.
        params: ClusterParams,
        /// The ring it is a member of; none for a newcomer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring: Option<RingId>,
    },
    /// "This is what I know": the anti-entropy of views.
    Exchange {
        /// The sender's ring.
        ring: RingId,
        /// All that it knows, in the order of the peer ids.
        summary: Vec<Known>,
        /// Who was evicted, and the last life that was ended so, in the order of the peer ids.
        evicted: Vec<(PeerId, Incarnation)>,
        /// A digest of the accusations that wait for more; 0 for none.
        pending: u64,
    },
    /// "You do not know this yet", unasked.
    Push {
        /// The sender's ring.
        ring: RingId,
        /// The news.
        updates: Vec<Update>,
        /// Those against whom there is something new.
        accused: Vec<Accused>,
    },
    /// "Tell me all about these", custody maps included.
    Fetch {
        /// The sender's ring.
        ring: RingId,
        /// Whom it asks about.
        peers: Vec<PeerId>,
    },
    /// "Are you there?"
    Probe {
        /// The sender's ring.
        ring: RingId,
    },
}

/// What the other answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Join`]: everything that makes a member.
    Welcome {
        /// The ring.
        ring: RingId,
        /// Its secret.
        secret: RingSecret,
        /// What it was born with.
        params: ClusterParams,
        /// Its members; those beyond a full message follow by [`Request::Exchange`].
        updates: Vec<Update>,
        /// Those who were evicted; the same holds for them.
        accused: Vec<Accused>,
    },
    /// To [`Request::Exchange`].
    Exchanged {
        /// What the answering peer knows better.
        updates: Vec<Update>,
        /// Whom the asking peer knows better.
        wanted: Vec<PeerId>,
        /// Whose eviction the asking peer does not know, and if the accusations that wait differ, those
        /// that wait here.
        accused: Vec<Accused>,
    },
    /// To [`Request::Push`]: taken note of.
    Pushed,
    /// To [`Request::Fetch`]: what is known of those asked about.
    Updates {
        /// Unknown peers are left out.
        updates: Vec<Update>,
    },
    /// To [`Request::Probe`]: yes.
    Alive {
        /// The newest record of the answering peer, which may be news.
        member: SignedMember,
    },
    /// To any request: not with you.
    Refused(Refusal),
}

/// Why one peer does not talk to another about membership, in words for the one that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// Rings never merge.
    #[error(
        "that peer belongs to another ring, {ring}, and rings never merge: join a peer of your own ring, \
         or start with an empty data directory to join that one"
    )]
    OtherRing {
        /// The ring of the refusing peer.
        ring: RingId,
    },
    /// The rings could not work with each other's numbers.
    #[error(
        "that ring was born with {params}, and this peer was started with other numbers: start it with the same"
    )]
    OtherParams {
        /// What the ring of the refusing peer was born with.
        params: ClusterParams,
    },
    /// Protocols carry the name of their cluster, so peers of two clusters understand nothing of
    /// each other.
    #[error(
        "that peer does not speak for a cluster named \"{cluster}\": it has another cluster name, or is no henge \
         peer; give both the same cluster name"
    )]
    OtherCluster {
        /// The name that this peer was started with.
        cluster: ClusterName,
    },
    /// The peer asked is itself still looking for a ring.
    #[error(
        "that peer is in no ring itself yet: join one that is, or start the first peer of the ring with \
         nobody to join"
    )]
    NotMember,
    /// The request was over a bound.
    #[error("that peer does not read messages this long: the versions of the two differ too much")]
    TooMany,
}

impl Refusal {
    /// Whether asking the same peer again cannot help: somebody has to start one of the two
    /// differently.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::OtherRing { .. } | Self::OtherParams { .. } | Self::OtherCluster { .. } => true,
            Self::NotMember | Self::TooMany => false,
        }
    }
}

impl Request {
    /// The ring that the sender is a member of.
    #[must_use]
    pub fn ring(&self) -> Option<RingId> {
        match self {
            Self::Join { ring, .. } => *ring,
            Self::Exchange { ring, .. }
            | Self::Push { ring, .. }
            | Self::Fetch { ring, .. }
            | Self::Probe { ring } => Some(*ring),
        }
    }

    pub(crate) fn check_bounds(&self) -> Result<(), Fault> {
        match self {
            Self::Join { .. } | Self::Probe { .. } => Ok(()),
            Self::Exchange { summary, evicted, .. } => at_most("summary entries", summary.len(), SUMMARY_MAX)
                .and_then(|()| at_most("evicted peers", evicted.len(), SUMMARY_MAX)),
            Self::Push { updates, accused, .. } => check_news(updates, accused),
            Self::Fetch { peers, .. } => at_most("peers", peers.len(), UPDATES_MAX),
        }
    }
}

impl Response {
    pub(crate) fn check_bounds(&self) -> Result<(), Fault> {
        match self {
            Self::Updates { updates } => check_news(updates, &[]),
            Self::Welcome { updates, accused, .. } => check_news(updates, accused),
            Self::Exchanged { updates, wanted, accused } => {
                check_news(updates, accused).and_then(|()| at_most("wanted peers", wanted.len(), UPDATES_MAX))
            }
            Self::Pushed | Self::Alive { .. } | Self::Refused(_) => Ok(()),
        }
    }
}

fn check_news(updates: &[Update], accused: &[Accused]) -> Result<(), Fault> {
    at_most("updates", updates.len(), UPDATES_MAX)?;
    at_most("accused peers", accused.len(), ACCUSED_MAX)?;
    at_most("accusations", accused.iter().map(|one| one.accusations.len()).sum(), ACCUSATIONS_MAX)
}

/// As many of them, from the first on, as one message takes.
pub(crate) fn fitting(accused: impl Iterator<Item = Accused>) -> Vec<Accused> {
    let mut room = ACCUSATIONS_MAX;
    let fits = |one: &Accused| {
        let left = room.checked_sub(one.accusations.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    accused.take_while(fits).take(ACCUSED_MAX).collect()
}

pub(crate) fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), Fault> {
    if count <= max { Ok(()) } else { Err(Fault::TooMany { what, count, max }) }
}

/// What members publish. Custody maps are not gossiped: they are pushed or fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gossip {
    /// What a member says of itself.
    Member(SignedMember),
    /// What a member says against another.
    Accusation(SignedAccusation),
}

impl Stored for Gossip {
    const VERSION: u8 = 1;
}

/// The payload that carries `gossip`: a version byte, then its CBOR.
///
/// # Errors
/// As for [`henge_types::codec::encode`]; no gossip causes it.
pub fn encode_gossip(gossip: &Gossip) -> Result<Bytes, DecodeError> {
    gossip.to_stored().map(Bytes::from)
}

/// Reads a gossip payload. The signature is not checked yet.
///
/// # Errors
/// [`Fault::TooMany`] for a payload over [`GOSSIP_MAX_BYTES`], else [`Fault::Undecodable`].
pub fn decode_gossip(payload: &[u8]) -> Result<Gossip, Fault> {
    at_most("bytes", payload.len(), GOSSIP_MAX_BYTES)?;
    Gossip::from_stored(payload).map_err(Fault::Undecodable)
}
