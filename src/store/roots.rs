//! The nodes that partitions are, remembered until a record below them changes.

use henge_types::tree::{LEAF_DEPTH, Node, Summary};
use henge_types::{Partition, PartitionCount};

/// One slot for each partition. Bounded by [`henge_types::limits::PARTITIONS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Roots {
    slots: Vec<Slot>,
    counted: u64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Slot {
    #[default]
    Unknown,
    /// Somebody reads it from the leaves. What changes meanwhile makes that worthless.
    Read(Reading),
    Known(Summary),
}

/// Names one reading of the leaves of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading(u64);

impl Roots {
    /// What is known of `partition`, or the name under which to say so later.
    pub(super) fn look(&mut self, count: PartitionCount, partition: Partition) -> Result<Summary, Reading> {
        if self.slots.len() != count.len() {
            self.slots = vec![Slot::Unknown; count.len()];
        }
        self.counted += 1;
        let reading = Reading(self.counted);
        match self.slots.get_mut(partition.index()) {
            Some(Slot::Known(summary)) => Ok(*summary),
            Some(slot) => {
                *slot = Slot::Read(reading);
                Err(reading)
            }
            None => Err(reading),
        }
    }

    /// `partition` was read, and is this unless it changed meanwhile.
    pub(super) fn learn(&mut self, partition: Partition, reading: Reading, summary: Summary) {
        if let Some(slot @ Slot::Read(_)) = self.slots.get_mut(partition.index())
            && matches!(slot, Slot::Read(last) if *last == reading)
        {
            *slot = Slot::Known(summary);
        }
    }

    /// Records below `leaf` changed.
    pub(super) fn forget(&mut self, leaf: Node) {
        let bits = self.slots.len().checked_ilog2().unwrap_or(0);
        let at = leaf.index() >> u32::from(LEAF_DEPTH).saturating_sub(bits);
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at)) {
            *slot = Slot::Unknown;
        }
    }
}
