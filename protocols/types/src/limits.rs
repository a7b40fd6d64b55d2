//! Every bound on what a peer accepts, in one place.

/// Longest key, in bytes. Shortest is 1.
pub const KEY_MAX_BYTES: usize = 1024;
/// Longest value of one sibling, in bytes (typical use is under 10 KiB).
pub const VALUE_MAX_BYTES: usize = 1 << 20;
/// Largest encoded record (all siblings and the clock), in bytes.
pub const RECORD_MAX_BYTES: usize = 4 << 20;
/// Siblings of one record from which a warning is logged.
pub const SIBLINGS_WARN: usize = 25;
/// Siblings of one record at which a put is refused.
pub const SIBLINGS_MAX: usize = 100;
/// Clock entries of one record from which a warning is logged.
pub const CLOCK_WARN: usize = 64;
/// Clock entries of one record at which a put is refused.
pub const CLOCK_MAX: usize = 1024;
/// Operation ids that a record remembers, to recognise a retry.
pub const OPERATIONS_MAX: usize = 32;
/// How long a record remembers an operation id, in milliseconds.
pub const OPERATION_TTL_MS: u64 = 10 * 60 * 1000;
/// How far ahead of the coordinator's clock a timestamp may be, in milliseconds.
pub const TIMESTAMP_AHEAD_MS: u64 = 10 * 60 * 1000;
/// Longest zone name, in bytes.
pub const ZONE_MAX_BYTES: usize = 64;
/// Longest cluster name, in bytes.
pub const CLUSTER_NAME_MAX_BYTES: usize = 64;
/// Addresses in one member record; further ones are left out.
pub const ADDRESSES_MAX: usize = 16;
/// Longest address in a member record, in bytes.
pub const ADDRESS_MAX_BYTES: usize = 256;
/// Suspects in one member record; further ones are left out, the farthest on the ring first. With
/// the most of everything else, a record still has less than [`MEMBER_RECORD_MAX_BYTES`].
pub const SUSPECTS_MAX: usize = 48;
/// Largest encoded member record, in bytes.
pub const MEMBER_RECORD_MAX_BYTES: usize = 8 << 10;
/// Longest signature of a member record, in bytes (Ed25519 needs 64).
pub const SIGNATURE_MAX_BYTES: usize = 128;
/// Largest encoded accusation, in bytes: two peer ids, a ring, four numbers and their names.
pub const ACCUSATION_MAX_BYTES: usize = 224;
/// Members that one view holds. Records of further peers are refused and counted.
pub const MEMBERS_MAX: usize = 4096;
/// Largest weight of a peer. One unit is 256 tokens (`ClusterParams::tokens_per_weight`).
pub const WEIGHT_MAX: u16 = 64;
/// Most partitions of a ring (the default is 2^14).
pub const PARTITIONS_MAX: u32 = 1 << 16;
/// Most copies of each record that a cluster may ask for.
pub const REPLICAS_MAX: u8 = 16;
/// Longest reason in a decoding error, in bytes: it may quote what a remote sent.
pub const REASON_MAX_BYTES: usize = 256;
/// Longest context token, in bytes before base64: a full clock, its seal and framing.
pub const CONTEXT_MAX_BYTES: usize = CLOCK_MAX * 32 + 256;
