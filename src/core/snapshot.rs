//! A backup of what this peer has, and a peer that begins with one.

use std::path::PathBuf;

use henge_client::{BeginSnapshot, DIRECTORY_MAX_BYTES, Failure, Response};
use henge_types::{Custody, RingId};
use sha2::{Digest, Sha256};

use super::boot::first;
use super::io::{Asker, Output};
use super::operations::Origin;
use super::{Core, Phase};
use crate::actors::Stretches;
use crate::event::Event;
use crate::snapshot::{self, Of, Order};

impl Core {
    /// Asked how far a snapshot is, or to take one: of all partitions of which this peer has custody now.
    pub(super) fn handle_snapshot_request(&mut self, origin: Origin, begin: Option<BeginSnapshot>) {
        let order = begin.map(|begin| self.order(begin)).transpose();
        let asker = match origin {
            Origin::Channel(channel) => Asker::Channel(channel),
            Origin::Command(command) => Asker::Command(command),
            Origin::Core => return,
        };
        match order {
            Ok(begin) => self.outputs.push_back(Output::Snapshot { asker, begin }),
            Err(failure) => self.reply(origin, Response::Failed(failure)),
        }
    }

    fn order(&self, begin: BeginSnapshot) -> Result<Order, Failure> {
        let BeginSnapshot { directory, bytes_per_second } = begin;
        let refuse = |reason: &str| Failure::BadRequest { reason: reason.to_owned() };
        if directory.len() > DIRECTORY_MAX_BYTES {
            return Err(refuse("the path is too long: use up to 4096 bytes"));
        }
        if bytes_per_second == 0 {
            return Err(refuse("a snapshot at 0 bytes per second: use 1 or more"));
        }
        let member = self.member.as_ref().filter(|_| self.serves()).ok_or(Failure::NotReady)?;
        let of = Of {
            peer: self.me,
            ring: member.ring.ring,
            params: member.ring.params,
            custody: member.stretches.custody.clone(),
            now_unix_ms: self.now.unix_ms,
        };
        Ok(Order { directory: PathBuf::from(directory), bytes_per_second, of })
    }

    /// Whether what this peer was restored from may go into the ring that lets it in. If not, it says so,
    /// and nothing more: nobody has heard of it yet.
    pub(super) fn admits_origin(&mut self, ring: RingId) -> bool {
        let grace = self.config.gc_grace();
        let checked = self.origin.as_ref().map(|origin| origin.check(ring, self.now.unix_ms, grace));
        if let Some(Err(refusal)) = checked {
            self.phase = Phase::Stopping;
            self.expelled = true;
            self.event(Event::CannotRestore(refusal));
            return false;
        }
        true
    }
}

/// The custody and the actors that a peer begins with that was restored from `origin`.
///
/// Its stretches are counted from a random number. If it has the peer id of an earlier life, and its clock
/// went back so that even the incarnation is the same, its actors still are others.
pub(super) fn stretches(origin: &snapshot::Origin, seed: &[u8; 32]) -> Stretches {
    let mut stretches = Stretches::new(origin.params.partitions());
    let random = u64::from_be_bytes(first(Sha256::new().chain_update(b"stretches").chain_update(seed)));
    // Leaves as many numbers for the stretches to come.
    stretches.next = random >> 1;
    stretches.custody = origin.custody.clone();
    let held = origin.custody.iter().filter(|(_, custody)| *custody != Custody::None);
    stretches.begin(held.map(|(partition, _)| partition));
    stretches
}
