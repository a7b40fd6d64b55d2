//! Which partitions hold anything.

use std::collections::BTreeSet;

use ::fjall::Keyspace;
use henge_types::{Partition, PartitionCount, Position};

use super::{Fjall, error};
use crate::store::{StoreError, StoreResult};

impl Fjall {
    /// Jumps from one occupied partition to the next, so that empty ones cost nothing.
    pub(super) fn occupied(&self, count: PartitionCount, asked: &[Partition]) -> StoreResult {
        match self.occupied_in(&[&self.records, &self.damaged], count, asked) {
            Ok(found) => StoreResult::Occupied(asked.iter().copied().filter(|p| found.contains(p)).collect()),
            Err(error) => StoreResult::Failed(error),
        }
    }

    /// The same of some keyspaces.
    pub(super) fn occupied_in(
        &self,
        keyspaces: &[&Keyspace],
        count: PartitionCount,
        asked: &[Partition],
    ) -> Result<BTreeSet<Partition>, StoreError> {
        let wanted: BTreeSet<Partition> = asked.iter().copied().collect();
        let mut found = BTreeSet::new();
        for keyspace in keyspaces {
            let mut next = wanted.first().copied();
            while let Some(from) = next {
                let Some(at) = self.first_occupied(keyspace, from, count)? else { break };
                if wanted.contains(&at) {
                    found.insert(at);
                }
                let beyond = Partition(at.0.saturating_add(1));
                next = wanted.range(beyond..).next().copied();
            }
        }
        Ok(found)
    }

    /// The first partition from `from` on that holds anything.
    fn first_occupied(
        &self,
        keyspace: &Keyspace,
        from: Partition,
        count: PartitionCount,
    ) -> Result<Option<Partition>, StoreError> {
        let start = from.first_position(count).0.to_be_bytes();
        match keyspace.range(start..).next().map(::fjall::Guard::key) {
            None => Ok(None),
            Some(Ok(place)) => Ok(Some(Position::of_hash(&place).partition(count))),
            // What cannot be read was written once: it counts as held.
            Some(Err(e)) if error::is_damage(&e) => Ok(Some(from)),
            Some(Err(e)) => Err(self.error(&e)),
        }
    }
}
