//! The alphabet of henge: what every protocol and every peer spells the same way.
//!
//! | room | holds |
//! |---|---|
//! | [`key`], [`position`] | keys, their positions, the partitions of the ring |
//! | [`clock`], [`record`], [`digest`] | dots, clocks, records as dotted causal containers, their digests |
//! | [`context`] | the opaque causality token that a get returns and a put takes |
//! | [`cluster`] | ring id, ring secret, and the parameters fixed when a ring is born |
//! | [`member`], [`accusation`] | signed member records, and signed accusations against members |
//! | [`custody`], [`voters`] | what each member has, who votes |
//! | [`tree`] | the hash tree over all records of a store |
//! | [`codec`] | CBOR with a version byte for what is stored, strict decoding for all |
//! | [`limits`] | every bound, with its reason |
//!
//! Nothing here does I/O, reads a clock or draws randomness.

pub mod accusation;
pub mod clock;
pub mod cluster;
pub mod codec;
pub mod context;
pub mod custody;
pub mod digest;
pub mod key;
pub mod limits;
pub mod member;
pub mod position;
pub mod record;
pub mod time;
pub mod tree;
pub mod voters;

pub use accusation::{Accusation, AccusationError, Cause, SignedAccusation};
pub use clock::{ActorId, Clock, Dot};
pub use cluster::{ClusterName, ClusterParams, ParamsError, RingId, RingSecret};
pub use codec::DecodeError;
pub use context::{Context, ContextError};
pub use custody::{Custody, CustodyDigest, CustodyMap};
pub use digest::RecordDigest;
pub use key::{Key, KeyError};
pub use libp2p_identity::PeerId;
pub use member::{Incarnation, MemberError, MemberRecord, MemberState, SignedMember, Suspect, Weight, Zone};
pub use multiaddr::Multiaddr;
pub use position::{Partition, PartitionCount, Position};
pub use record::{Applied, Content, OperationId, Record, Sibling, Write, WriteError};
pub use time::Now;
pub use voters::{Voter, Voters, VotersDigest};
