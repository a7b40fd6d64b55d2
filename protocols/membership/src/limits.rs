//! The bounds and periods of membership, each with its reason. Bounds on member records
//! themselves are in [`henge_types::limits`].

use std::time::Duration;

use henge_types::limits::{
    ACCUSATION_MAX_BYTES, MEMBER_RECORD_MAX_BYTES, MEMBERS_MAX, PARTITIONS_MAX, SIGNATURE_MAX_BYTES,
};

/// Updates in one message. The largest (a full record and a map of 2^16 partitions) has less than
/// 25 KiB, so that a full message stays below a frame of 4 MiB. What does not fit follows in the
/// next exchange.
pub const UPDATES_MAX: usize = 128;
/// Accused peers in one message.
pub const ACCUSED_MAX: usize = 16;
/// Accusations in one message, all together: the longest proof has those of just more than half of the
/// largest view.
pub const ACCUSATIONS_MAX: usize = MEMBERS_MAX / 2 + 1;
/// Accusations that wait for more, all together. Further ones are left out: they come again with a later
/// exchange, and those that clear themselves by a new record of the accused make room. An operator's is
/// never among them.
pub const PENDING_MAX: usize = 2 * MEMBERS_MAX;
/// Entries in the summary of an exchange: one for each member of the largest view. The same bound holds for
/// its evictions.
pub const SUMMARY_MAX: usize = MEMBERS_MAX;
/// Largest gossip payload, in bytes: a record, its signature, and their framing.
pub const GOSSIP_MAX_BYTES: usize = MEMBER_RECORD_MAX_BYTES + SIGNATURE_MAX_BYTES + 64;
/// Connected peers that are looked after: all members, and as many that may become one.
pub const LINKS_MAX: usize = 2 * MEMBERS_MAX;
/// Peers that a newcomer asks to let it in.
pub const JOIN_TARGETS_MAX: usize = 64;
/// Up to so many members, a peer sends its own declarations straight to each connected member;
/// in larger rings that would cost too much at every change, and gossip carries them.
pub const DIRECT_MEMBERS_MAX: usize = 64;
/// Faults after which the rest of a message is not read.
pub const FAULTS_PER_MESSAGE_MAX: usize = 8;
/// Actions that may wait before further [`Action::Fault`](crate::Action::Fault)s are only counted.
/// All other actions are bounded by what causes them.
pub const ACTIONS_MAX: usize = 1024;

/// Counters reserved at a time: at one heartbeat per second more than an hour. A restart skips
/// what is left of a block.
pub const COUNTER_BLOCK: u64 = 4096;

/// Shortest time between two heartbeats.
pub const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
/// Heartbeats per second in the whole ring. Each reaches a peer about six times and costs 20-70 µs
/// of its time, so this is below one percent of a core in a ring of any size.
pub const HEARTBEATS_PER_SECOND: u32 = 20;
/// Shortest time between two exchanges of views.
pub const EXCHANGE_MIN: Duration = Duration::from_secs(10);
/// Heartbeat intervals between two exchanges: a summary grows with the ring as the heartbeat
/// interval does, so that the bytes per second stay the same.
pub const EXCHANGE_HEARTBEATS: u32 = 10;
/// Shortest time between two publications of the own record outside the heartbeat.
pub const PUBLISH_MIN: Duration = Duration::from_secs(1);
/// Shortest time between two savings of the view.
pub const PERSIST_MIN: Duration = Duration::from_secs(1);
/// Added to [`PERSIST_MIN`] for each member: a large view is saved less often.
pub const PERSIST_PER_MEMBER: Duration = Duration::from_millis(10);
/// After how long a failed request is tried again.
pub const RETRY: Duration = Duration::from_secs(1);
/// How long a custody map is waited for before it is fetched: its owner may be sending it.
pub const FETCH_DELAY: Duration = Duration::from_millis(100);
/// Shortest time between two incarnations, so that two processes with one identity do not race
/// each other without end.
pub const REBIRTH_MIN: Duration = Duration::from_secs(10);

/// After how long an unanswered request is given up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Successors that a peer probes: each member is watched by three, of which one may be gone itself and
/// one cut off from it.
pub const PROBE_TARGETS: usize = 3;
/// From one probe of a member to the next.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long an answer to a probe is waited for: many round trips around the world, so that what is
/// missed is a peer that does not run.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// After how long a probe that was lost is repeated, if there is time left to wait for the answer.
pub const PROBE_RETRY: Duration = Duration::from_millis(250);
/// Failed probes in a row that make a suspicion. One may meet a short stall; with two, a peer that
/// stopped is accused after 3.1 s at the latest.
pub const PROBE_FAILURES: u32 = 2;
/// Heartbeat intervals after which a heartbeat is overdue, together with [`OVERDUE_MARGIN`]: with
/// their jitter, three in a row were lost.
pub const OVERDUE_HEARTBEATS: u32 = 3;
/// See [`OVERDUE_HEARTBEATS`]: time for a round of gossip to repair a loss.
pub const OVERDUE_MARGIN: Duration = Duration::from_secs(1);
/// Members that have to suspect another before it is down: one alone may have lost its own connection.
/// In a ring of two there is but one.
pub const ACCUSERS: usize = 2;
/// A timer that is looked after so much later than it was due shows that this peer did not run: more
/// than any scheduling delay of a healthy machine, less than [`PROBE_TIMEOUT`].
pub const LATE: Duration = Duration::from_millis(500);
/// How much longer a peer that was late again and again waits before it suspects others.
pub const STRETCH_MAX: u32 = 8;
/// After so long without lateness it waits half as long.
pub const CALM_AFTER: Duration = Duration::from_secs(10);

/// Shortest lease: see [`State::has_lease`](crate::State::has_lease). Any eviction takes longer.
pub const LEASE_MIN: Duration = Duration::from_secs(60);
/// Heartbeat intervals in the shortest lease of a large ring: one more than makes a heartbeat overdue.
pub const LEASE_HEARTBEATS: u32 = 4;
/// After a sleep this long, what waited in buffers says nothing of the present. A shorter one changes
/// little on a lease.
pub const WAKING_AFTER: Duration = Duration::from_secs(10);
/// How long after such a sleep nothing is taken for fresh: until the buffers are read.
pub const WAKING: Duration = Duration::from_secs(1);

// The largest messages fit into a frame of 4 MiB: full updates, an accused peer, an accusation, and
// entries of a summary, each with its framing.
const FRAME_BYTES: usize = 4 << 20;
const UPDATE_MAX_BYTES: usize =
    MEMBER_RECORD_MAX_BYTES + SIGNATURE_MAX_BYTES + PARTITIONS_MAX as usize / 4 + 128;
const ACCUSED_MAX_BYTES: usize = MEMBER_RECORD_MAX_BYTES + SIGNATURE_MAX_BYTES + 64;
const SIGNED_ACCUSATION_MAX_BYTES: usize = ACCUSATION_MAX_BYTES + SIGNATURE_MAX_BYTES + 24;
const KNOWN_MAX_BYTES: usize = 180;
const EVICTED_MAX_BYTES: usize = 64;
const _: () = assert!(
    UPDATES_MAX * UPDATE_MAX_BYTES
        + ACCUSED_MAX * ACCUSED_MAX_BYTES
        + ACCUSATIONS_MAX * SIGNED_ACCUSATION_MAX_BYTES
        < FRAME_BYTES
);
const _: () = assert!(SUMMARY_MAX * (KNOWN_MAX_BYTES + EVICTED_MAX_BYTES) < FRAME_BYTES);
