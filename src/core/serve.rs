//! The replica at work: other peers' reads, writes and comparisons.

use henge_quorum as quorum;
use henge_quorum::{Refusal, Want};
use henge_sync as sync;
use henge_types::{Custody, Key, Partition, PeerId, Record, RingId, VotersDigest, WriteError};

use super::Core;
use super::io::{ChannelId, Output, Response};
use super::next::{AfterRequest, AfterStore, AfterSync, Under};
use crate::coordinator::get::Answer;
use crate::store::{ReadOp, StoreResult, WriteOp};

use super::reading::Lost;

/// Store operations under way at one peer. Beyond, other peers' requests are refused.
pub(super) const STORE_OPS_MAX: usize = 1 << 14;

impl Core {
    pub(super) fn handle_quorum_request(&mut self, channel: ChannelId, request: quorum::Request) {
        let (ring, key) = match &request {
            quorum::Request::Write { ring, key, .. }
            | quorum::Request::Read { ring, key, .. }
            | quorum::Request::Keep { ring, key, .. }
            | quorum::Request::Hint { ring, key } => (*ring, key),
        };
        let partition = match self.admits(ring) {
            Ok(count) => key.position().partition(count),
            Err(refusal) => return self.answer(channel, quorum::Response::Refused(refusal)),
        };
        // A voter answers as one, and nobody else does.
        let stands_in = matches!(request, quorum::Request::Keep { .. } | quorum::Request::Hint { .. });
        if self.has_custody(partition) == stands_in {
            return self.answer_stale(channel, partition);
        }
        match request {
            quorum::Request::Write { voters, key, record, strict, .. } => {
                let own = self.actor(partition);
                let under = Under { channel, partition, voters, strict };
                let next = AfterStore::Write { under, key: key.clone() };
                self.write(WriteOp::Merge { key, record, own }, next);
            }
            quorum::Request::Read { voters, key, want, strict, .. } => {
                let under = Under { channel, partition, voters, strict };
                let next = AfterStore::Read { under, key: key.clone(), want };
                self.read(ReadOp::Get { key }, next);
            }
            quorum::Request::Keep { .. } if self.is_parting() => {
                self.answer(channel, quorum::Response::Refused(Refusal::NotMember));
            }
            quorum::Request::Keep { primary, key, record, .. } => {
                let op = self.merge_hint(key.clone(), primary, record);
                self.write(op, AfterStore::Keep { channel, key, primary });
            }
            quorum::Request::Hint { key, .. } => {
                self.read(ReadOp::Hint { key: key.clone() }, AfterStore::Hint { channel, key });
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    pub(super) fn on_hint_read(&mut self, channel: ChannelId, key: Key, result: StoreResult) {
        self.look_after_hint(key, self.me, &result);
        let response = match result {
            StoreResult::Hint(hint) => quorum::Response::Hint(hint),
            other => quorum::Response::Refused(self.refusal(other)),
        };
        self.answer(channel, response);
    }

    /// A record is kept for a voter that is away; the ack follows once that is durable.
    pub(super) fn on_kept(
        &mut self,
        channel: ChannelId,
        (key, primary): (Key, PeerId),
        result: StoreResult,
    ) -> Option<AfterSync> {
        self.look_after_hint(key, primary, &result);
        if matches!(result, StoreResult::Merged { .. }) {
            return Some(AfterSync::Keep { channel });
        }
        let refusal = self.refusal(result);
        self.answer(channel, quorum::Response::Refused(refusal));
        None
    }

    /// This peer keeps a hint of its own accord.
    pub(super) fn on_kept_for(&mut self, (key, primary): (Key, PeerId), result: StoreResult) {
        self.look_after_hint(key, primary, &result);
        if !matches!(result, StoreResult::Merged { .. }) {
            let refusal = self.refusal(result);
            tracing::debug!(%primary, %refusal, "a hint is not kept");
        }
    }

    /// Counts a hint that there is no room for, and puts one aside that cannot be read.
    pub(super) fn look_after_hint(&mut self, key: Key, primary: PeerId, result: &StoreResult) {
        if matches!(result, StoreResult::Refused(WriteError::HintsFull { .. })) {
            self.stats.hints_refused += 1;
        } else if *result == StoreResult::Damaged {
            self.quarantine_hint(key, primary, false);
        }
    }

    // What a store that did not do what was asked means for whoever asked.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    fn refusal(&mut self, result: StoreResult) -> Refusal {
        match result {
            StoreResult::Refused(WriteError::TooLarge { .. }) => Refusal::TooLarge,
            StoreResult::Refused(WriteError::HintsFull { .. }) => Refusal::HintsFull,
            StoreResult::Damaged => Refusal::Damaged,
            StoreResult::Failed(error) => {
                self.on_store_failed(error);
                Refusal::Store
            }
            other => {
                tracing::error!(?other, "the store answered with something else");
                Refusal::Store
            }
        }
    }

    pub(super) fn admits(&self, ring: RingId) -> Result<henge_types::PartitionCount, Refusal> {
        let member = self.member.as_ref().filter(|_| self.serves()).ok_or(Refusal::NotMember)?;
        if member.ring.ring != ring {
            return Err(Refusal::OtherRing { ring: member.ring.ring });
        }
        if self.stores.len() >= STORE_OPS_MAX {
            return Err(Refusal::Overloaded);
        }
        Ok(member.ring.params.partitions())
    }

    // A partition that is being given up takes nothing any more: what came in after the look
    // whether it is empty would be lost with it.
    pub(super) fn has_custody(&mut self, partition: Partition) -> bool {
        let me = self.me;
        let mine = |v: std::sync::Arc<henge_types::Voters>| v.get(&me).map(|v| v.custody);
        let custody = self.voters(partition).and_then(mine);
        !matches!(custody, None | Some(Custody::None)) && !self.is_closing(partition)
    }

    // Whether the voters of `partition` are still the ones that a request went by. Asked when it
    // is answered, not when it comes: what was acknowledged under voters without a newcomer must be
    // in the store before the newcomer may look there.
    pub(super) fn sees(&mut self, partition: Partition, voters: VotersDigest) -> bool {
        self.voters_are_saved(partition)
            && self.has_custody(partition)
            && self.voters(partition).is_some_and(|v| v.digest() == voters)
    }

    fn answer_stale(&mut self, channel: ChannelId, partition: Partition) {
        let members = self.voters_members(partition);
        self.answer(channel, quorum::Response::Stale { members });
    }

    // Why this peer cannot answer what it was asked, if it cannot: its voters are others by now, or it
    // may have been evicted.
    fn objection(&mut self, under: Under) -> Option<quorum::Response> {
        if under.strict && !self.has_lease() {
            Some(quorum::Response::Refused(Refusal::NoLease))
        } else if self.sees(under.partition, under.voters) {
            None
        } else {
            Some(quorum::Response::Stale { members: self.voters_members(under.partition) })
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    pub(super) fn on_replica_read(&mut self, under: Under, key: &Key, want: Want, result: StoreResult) {
        if let Some(objection) = self.objection(under) {
            return self.answer(under.channel, objection);
        }
        let response = match result {
            StoreResult::Record(record) => match want {
                Want::Record => quorum::Response::Record(record),
                Want::Digest => quorum::Response::Digest(record.digest()),
            },
            StoreResult::Damaged => {
                self.on_damaged(key);
                quorum::Response::Refused(Refusal::Damaged)
            }
            other => quorum::Response::Refused(self.refusal(other)),
        };
        self.answer(under.channel, response);
    }

    /// A merge was executed; the ack follows once it is durable.
    pub(super) fn on_replica_write(
        &mut self,
        under: Under,
        key: &Key,
        result: StoreResult,
    ) -> Option<AfterSync> {
        match self.merged(under.partition, key, result) {
            Ok(()) => Some(AfterSync::Write { under }),
            Err(refusal) => {
                self.answer(under.channel, quorum::Response::Refused(refusal));
                None
            }
        }
    }

    /// What a merge of any origin means for this peer.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a store has no other answer to this")]
    pub(super) fn merged(
        &mut self,
        partition: Partition,
        key: &Key,
        result: StoreResult,
    ) -> Result<(), Refusal> {
        match result {
            StoreResult::Merged { rolled_back, damaged, .. } => {
                if rolled_back {
                    self.renew_actor(partition);
                }
                if damaged {
                    self.on_damaged(key);
                }
                Ok(())
            }
            other => Err(self.refusal(other)),
        }
    }

    /// A merged write is durable.
    pub(super) fn on_replica_synced(&mut self, under: Under) {
        let response = self.objection(under).unwrap_or(quorum::Response::Written);
        self.answer(under.channel, response);
    }

    pub(super) fn handle_sync_request(&mut self, channel: ChannelId, request: sync::Request) {
        let refused = Response::Sync(sync::Response::Refused);
        let ring = match &request {
            sync::Request::Compare { ring, .. } | sync::Request::Collect { ring, .. } => *ring,
            sync::Request::Groups { head, .. }
            | sync::Request::Nodes { head, .. }
            | sync::Request::Items { head, .. }
            | sync::Request::Fetch { head, .. }
            | sync::Request::Push { head, .. } => head.ring,
        };
        let Ok(count) = self.admits(ring) else { return self.respond(channel, refused) };
        let entries = match request {
            sync::Request::Compare { entries, .. } => entries,
            sync::Request::Collect { partition, voters, dead, forget, .. } => {
                return self.handle_collect(channel, partition, voters, dead, forget);
            }
            session @ (sync::Request::Groups { .. }
            | sync::Request::Nodes { .. }
            | sync::Request::Items { .. }
            | sync::Request::Fetch { .. }
            | sync::Request::Push { .. }) => return self.answer_session(channel, count, session),
        };
        if entries.len() > sync::ENTRIES_MAX {
            return self.respond(channel, refused);
        }
        let partitions = entries.iter().map(|(p, _)| *p).filter(|p| count.contains(*p)).collect();
        self.read(ReadOp::Occupied { count, partitions }, AfterStore::Compare { channel, entries });
    }

    pub(super) fn on_compared(
        &mut self,
        channel: ChannelId,
        entries: &[(Partition, VotersDigest)],
        result: StoreResult,
    ) {
        let StoreResult::Occupied(occupied) = result else {
            return self.respond(channel, Response::Sync(sync::Response::Refused));
        };
        let occupied: std::collections::BTreeSet<Partition> = occupied.into_iter().collect();
        let answers = entries
            .iter()
            .map(|(partition, voters)| match self.sees(*partition, *voters) {
                false => sync::Answer::Stale,
                true if occupied.contains(partition) => sync::Answer::Occupied,
                true => sync::Answer::Empty,
            })
            .collect();
        self.respond(channel, Response::Sync(sync::Response::Compared { answers }));
    }

    /// Brings `behind` up to `record`, which a read put together: read repair (Dynamo §5).
    pub(super) fn repair(
        &mut self,
        key: &Key,
        voters: &henge_types::Voters,
        record: &Record,
        behind: Vec<PeerId>,
    ) {
        let Some(ring) = self.ring() else { return };
        let partition = self.partition_of(key);
        for peer in behind {
            self.stats.read_repairs += 1;
            let (key, record) = (key.clone(), record.clone());
            if peer == self.me {
                // It may have been given up since it was read.
                if !self.has_custody(partition) {
                    continue;
                }
                let own = self.actor(partition);
                let next = AfterStore::Repair { partition, key: key.clone() };
                self.write(WriteOp::Merge { key, record, own }, next);
            } else {
                let strict = false;
                let request = quorum::Request::Write { ring, voters: voters.digest(), key, record, strict };
                self.request(peer, super::io::Request::Quorum(request), AfterRequest::Repair);
            }
        }
    }

    /// What another replica said to a read or write: its answer, or why it does not count.
    pub(super) fn word(
        &mut self,
        peer: PeerId,
        result: Result<Response, super::io::RequestFailure>,
    ) -> Result<Option<Answer>, Lost> {
        match result {
            Ok(Response::Quorum(quorum::Response::Written)) => Ok(None),
            Ok(Response::Quorum(quorum::Response::Record(record))) => Ok(Some(record.into())),
            Ok(Response::Quorum(quorum::Response::Digest(digest))) => Ok(Some(digest.into())),
            Ok(Response::Quorum(quorum::Response::Stale { members })) => {
                self.stats.stale += 1;
                self.learn(peer, members);
                Err(Lost::Stale)
            }
            Ok(Response::Quorum(quorum::Response::Refused(refusal))) => {
                tracing::debug!(%peer, %refusal, "a replica refused");
                Err(if matches!(refusal, Refusal::TooLarge | Refusal::NoLease) {
                    Lost::Refused
                } else {
                    Lost::Failed
                })
            }
            Ok(
                Response::Quorum(quorum::Response::Hint(_))
                | Response::Membership(_)
                | Response::Sync(_)
                | Response::Handoff(_)
                | Response::Client(_),
            )
            | Err(_) => Err(Lost::Failed),
        }
    }

    fn answer(&mut self, channel: ChannelId, response: quorum::Response) {
        self.respond(channel, Response::Quorum(response));
    }

    pub(super) fn respond(&mut self, channel: ChannelId, response: Response) {
        self.outputs.push_back(Output::Respond { channel, response });
    }
}
