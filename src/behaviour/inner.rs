//! The behaviours inside: gossip, and one `rpc` for each protocol, so that large messages of one
//! do not hold up small ones of another.

use std::fmt::Debug;
use std::time::Duration;

use henge_types::ClusterName;
use libp2p::StreamProtocol;
use libp2p::gossipsub::{
    self, ConfigBuilderError, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, ValidationMode,
    WhitelistSubscriptionFilter,
};
use libp2p::swarm::{InvalidProtocol, NetworkBehaviour};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::core::{Request, Response};

/// Largest frame of gossip: a member record, or the ids of one round of gossip, which gossipsub
/// keeps below 16 KiB.
const GOSSIP_FRAME_MAX_BYTES: usize = 32 << 10;
/// When gossipsub first looks after its mesh. Its own 5 s serve programs that start with many
/// bootstrap peers; a ring begins with one.
const GOSSIP_INITIAL_DELAY: Duration = Duration::from_millis(500);

/// What the derived behaviour is made of.
#[derive(Debug, NetworkBehaviour)]
pub struct Inner {
    pub(super) gossip: Gossip,
    pub(super) membership: Rpc<Membership>,
    pub(super) quorum: Rpc<Quorum>,
    pub(super) sync: Rpc<Sync>,
    pub(super) client: Rpc<Client>,
    pub(super) handoff: Rpc<Handoff>,
}

pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;
pub(super) type Rpc<P> = henge_rpc::Behaviour<<P as Protocol>::Req, <P as Protocol>::Res>;

/// Why a cluster's name makes no protocol names. Cannot be with the names that are allowed.
#[derive(Debug, Error)]
pub(super) enum InnerError {
    #[error(transparent)]
    Protocol(#[from] InvalidProtocol),
    #[error(transparent)]
    Gossip(#[from] ConfigBuilderError),
    #[error("{0}")]
    GossipBehaviour(&'static str),
}

/// How many protocols there are.
pub(super) const PROTOCOLS: usize = 5;

/// One of henge's own protocols, for code that is the same for all.
pub trait Protocol {
    /// What is asked.
    type Req: Serialize + DeserializeOwned + Debug + Send + 'static;
    /// What is answered.
    type Res: Serialize + DeserializeOwned + Debug + Send + 'static;
    /// Below [`PROTOCOLS`].
    const INDEX: usize;
    /// Between the cluster's name and the version.
    const NAME: &'static str;
    /// Largest frame.
    const FRAME_MAX_BYTES: usize;
    /// Its behaviour.
    fn of(inner: &mut Inner) -> &mut henge_rpc::Behaviour<Self::Req, Self::Res>;
    /// For the core.
    fn request(request: Self::Req) -> Request;
    /// For the core.
    fn response(response: Self::Res) -> Response;
}

macro_rules! protocol {
    ($name:ident, $field:ident, $module:ident, $index:literal) => {
        #[doc = concat!("See [`", stringify!($module), "`].")]
        #[derive(Debug)]
        pub struct $name;

        impl Protocol for $name {
            type Req = $module::Request;
            type Res = $module::Response;
            const INDEX: usize = $index;
            const NAME: &'static str = $module::PROTOCOL;
            const FRAME_MAX_BYTES: usize = $module::FRAME_MAX_BYTES;

            fn of(inner: &mut Inner) -> &mut Rpc<Self> {
                &mut inner.$field
            }

            fn request(request: Self::Req) -> Request {
                Request::$name(request)
            }

            fn response(response: Self::Res) -> Response {
                Response::$name(response)
            }
        }
    };
}

protocol!(Membership, membership, henge_membership, 0);
protocol!(Quorum, quorum, henge_quorum, 1);
protocol!(Sync, sync, henge_sync, 2);
protocol!(Client, client, henge_client, 3);
protocol!(Handoff, handoff, henge_handoff, 4);

impl Inner {
    pub(super) fn new(cluster: &ClusterName) -> Result<Self, InnerError> {
        Ok(Self {
            gossip: gossip(cluster)?,
            membership: rpc::<Membership>(cluster)?,
            quorum: rpc::<Quorum>(cluster)?,
            sync: rpc::<Sync>(cluster)?,
            client: rpc::<Client>(cluster)?,
            handoff: rpc::<Handoff>(cluster)?,
        })
    }
}

/// On which members publish their records.
pub(super) fn topic(cluster: &ClusterName) -> IdentTopic {
    IdentTopic::new(format!("/henge/{cluster}/members"))
}

fn rpc<P: Protocol>(cluster: &ClusterName) -> Result<Rpc<P>, InnerError> {
    let name = StreamProtocol::try_from_owned(format!("/henge/{cluster}/{}", P::NAME))?;
    let config = henge_rpc::Config::default()
        .with_max_frame_bytes(P::FRAME_MAX_BYTES)
        .with_max_queued_bytes_per_peer(2 * P::FRAME_MAX_BYTES)
        .with_max_inbound_bytes_per_peer(2 * P::FRAME_MAX_BYTES)
        // The core knows the addresses of members, dials them itself, and wants to hear at once
        // that it should ask another one.
        .with_dial_on_request(false);
    Ok(henge_rpc::Behaviour::new(name, config))
}

fn gossip(cluster: &ClusterName) -> Result<Gossip, InnerError> {
    let topic = topic(cluster);
    let config = gossipsub::ConfigBuilder::default()
        // Not the name of everybody's gossipsub: the embedding program may run one of its own.
        .protocol_id_prefix(format!("/henge/{cluster}/meshsub"))
        // Member records are signed by their own peers, and the core checks each once. A signature
        // around it would be checked for every copy, 45 µs each.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| MessageId::from(Sha256::digest(&message.data).to_vec()))
        .max_transmit_size(GOSSIP_FRAME_MAX_BYTES)
        .heartbeat_initial_delay(GOSSIP_INITIAL_DELAY)
        // To the mesh only. Sending each heartbeat to all members as well would cost as much again
        // as the mesh in rings of a dozen peers, and ever more in larger ones.
        .flood_publish(false)
        .build()?;
    let filter = WhitelistSubscriptionFilter([topic.hash()].into());
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .map_err(InnerError::GossipBehaviour)?;
    gossip.subscribe(&topic).map_err(|_| InnerError::GossipBehaviour("the topic is not allowed"))?;
    Ok(gossip)
}
