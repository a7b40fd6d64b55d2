//! What a peer tells about a repair: a comparison of what it has with all others, because somebody asked.

use henge_types::{Partition, PeerId};
use serde::{Deserialize, Serialize};

/// Names a repair of one peer; another one for each, also after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepairId(pub u64);

/// How far a repair is. All numbers are of this repair alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Its name.
    pub id: RepairId,
    /// The one partition that it is about; none where it is about all.
    pub partition: Option<Partition>,
    /// How long it has taken, in milliseconds.
    pub elapsed_ms: u64,
    /// With whom the peer compares, by peer id: those that had something in common with it at the beginning.
    pub members: Vec<RepairMember>,
    /// Keys that the peer had in the partitions compared, once for each comparison.
    pub keys_compared: u64,
    /// Records that came.
    pub records_pulled: u64,
    /// About how many bytes.
    pub bytes_pulled: u64,
    /// Records that went, and are durable there.
    pub records_pushed: u64,
    /// About how many bytes.
    pub bytes_pushed: u64,
    /// Records that could not be moved: damaged, or too large.
    pub records_left: u64,
}

/// How far a repair is with one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairMember {
    /// Who.
    pub peer: PeerId,
    /// How many partitions are to be compared with it. Those that both do not have any more do not count.
    pub partitions: u32,
    /// How many of them are.
    pub compared: u32,
    /// Whether more will be.
    pub state: RepairState,
}

/// Where a repair stands with one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairState {
    /// Its turn comes.
    Waiting,
    /// They compare.
    Comparing,
    /// All is compared.
    Through,
    /// Given up: it cannot be reached.
    Unreachable,
    /// Given up: one of the two refused, or failed, again and again.
    Failed,
}

impl Repair {
    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.members.iter().all(|member| member.state.is_final())
    }
}

impl RepairState {
    /// Whether nothing more comes.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Comparing => false,
            Self::Through | Self::Unreachable | Self::Failed => true,
        }
    }
}
