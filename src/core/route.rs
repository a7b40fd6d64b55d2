//! From each input to the part that handles it. Only routes.

use henge_types::PeerId;

use super::io::{ChannelId, Input, Request, RequestFailure, RequestId, Response};
use super::next::{AfterRequest, AfterStore, AfterSync, Save, Timer};
use super::operations::Origin;
use super::reading::Lost;
use super::{Core, Phase};
use crate::event::Event;
use crate::store::{StoreResult, Ticket};

impl Core {
    pub(super) fn route(&mut self, input: Input) {
        match input {
            Input::Connected { peer } => self.on_connected(peer),
            Input::Disconnected { peer } => self.on_disconnected(&peer),
            Input::ConnectionBroken { peer } => self.on_connection_broken(peer),
            Input::Dialed { peer, address } => self.on_dialed(peer, &address),
            Input::DialFailed { peer, address, reason } => self.on_dial_failed(peer, address, reason),
            Input::Request { peer, channel, request } => self.on_request(peer, channel, request),
            Input::Response { request, result } => self.on_response(request, result),
            Input::Gossip { data } => self.on_gossip(&data),
            Input::Stored { ticket, result, durable } => self.on_stored(ticket, result, durable),
            Input::Durable { through } => self.on_durable(through),
            Input::Poisoned(error) => self.on_store_failed(error),
            Input::Command { command, request } => {
                self.handle_client_request(Origin::Command(command), request);
            }
            Input::Addresses(addresses) => self.on_addresses(addresses),
            Input::Records(records) => self.on_records(records),
            Input::Stop => self.stop(),
        }
    }

    fn on_gossip(&mut self, data: &[u8]) {
        // Who relayed it says nothing about who wrote it: faults of gossip are nobody's.
        let relay = self.membership.on_gossip(self.me, data, self.now);
        tracing::trace!(?relay, "gossip");
    }

    fn on_request(&mut self, peer: PeerId, channel: ChannelId, request: Request) {
        match request {
            Request::Membership(henge_membership::Request::Join { .. }) if !self.serves() => {
                // Its view does not hold itself yet: whoever got that would think itself alone
                // in the ring, and full.
                let refusal = henge_membership::Response::Refused(henge_membership::Refusal::NotMember);
                self.respond(channel, Response::Membership(refusal));
            }
            Request::Membership(request) => {
                let response = self.membership.on_request(peer, request, self.now);
                self.respond(channel, Response::Membership(response));
            }
            Request::Quorum(request) => self.handle_quorum_request(channel, request),
            Request::Sync(request) => self.handle_sync_request(channel, request),
            Request::Handoff(request) => self.handle_handoff_request(channel, request),
            Request::Client(request) => self.handle_client_request(Origin::Channel(channel), request),
        }
    }

    fn on_response(&mut self, id: RequestId, result: Result<Response, RequestFailure>) {
        let Some((peer, next, sent)) = self.requests.remove(&id) else { return };
        let took = self.now.monotonic.saturating_sub(sent);
        if let Err(RequestFailure::Fault { reason }) = &result {
            self.fault(peer, reason.clone());
        }
        if next.is_quick() {
            self.links.on_settled(&peer, result.is_ok().then_some(took), self.now.monotonic);
        }
        match next {
            AfterRequest::Membership { token } => self.on_membership_response(peer, token, result),
            AfterRequest::Compare => self.on_compare_answer(peer, result),
            AfterRequest::Collect { partition } => self.on_collect_answer(partition, peer, result),
            AfterRequest::Session { id } => self.on_session_response(id, result),
            AfterRequest::Deliver { primary, keys } => self.on_delivered(peer, primary, keys, result),
            AfterRequest::Read { attempt } => {
                self.links.on_round_trip(peer, took);
                let word = self.word(peer, result).and_then(|answer| answer.ok_or(Lost::Failed));
                self.on_read_word(attempt, peer, word);
            }
            AfterRequest::Hint { attempt } => {
                let hint = match result {
                    Ok(Response::Quorum(henge_quorum::Response::Hint(hint))) => Ok(hint),
                    other => self.word(peer, other).map(|_| None).map_err(drop),
                };
                self.on_hint_word(attempt, peer, hint);
            }
            AfterRequest::Write { attempt, key, covered } => {
                let word = self.word(peer, result).map(drop);
                self.on_write_word((attempt, key, covered), peer, word);
            }
            AfterRequest::Keep { attempt, key, primary } => {
                let kept = self.word(peer, result).is_ok();
                self.on_kept_word((attempt, key, primary), peer, kept);
            }
            AfterRequest::Repair => drop(self.word(peer, result)),
            AfterRequest::Forward { attempt } => {
                let result = match result {
                    Ok(Response::Client(response)) => Ok(response),
                    Ok(_) => Err(RequestFailure::Fault { reason: "an answer of the wrong kind".to_owned() }),
                    Err(failure) => Err(failure),
                };
                self.on_forwarded(attempt, result);
            }
        }
    }

    fn on_stored(&mut self, ticket: Ticket, result: StoreResult, durable: bool) {
        let Some(next) = self.stores.remove(&ticket) else { return };
        self.writes.remove(&ticket);
        if let Some(after) = self.on_executed(next, result) {
            if durable {
                self.on_synced(after);
            } else {
                self.unsynced.push_back((ticket, after));
            }
        }
    }

    fn on_durable(&mut self, through: Ticket) {
        while let Some((ticket, after)) = self.unsynced.pop_front() {
            if ticket > through {
                self.unsynced.push_front((ticket, after));
                return;
            }
            self.on_synced(after);
        }
    }

    fn on_executed(&mut self, next: AfterStore, result: StoreResult) -> Option<AfterSync> {
        match next {
            AfterStore::OwnRead { attempt } => self.on_own_read(attempt, result),
            AfterStore::KeptHere { attempt } => self.on_kept_here(attempt, result),
            AfterStore::OwnWrite { attempt } => return self.on_own_write(attempt, result),
            AfterStore::Read { under, key, want } => self.on_replica_read(under, &key, want, result),
            AfterStore::Write { under, key } => return self.on_replica_write(under, &key, result),
            AfterStore::Hint { channel, key } => self.on_hint_read(channel, key, result),
            AfterStore::Keep { channel, key, primary } => {
                return self.on_kept(channel, (key, primary), result);
            }
            AfterStore::Kept { key, primary } => self.on_kept_for((key, primary), result),
            AfterStore::KeepLater { key, primary } => {
                if let StoreResult::Record(record) = result {
                    self.keep_myself(key, primary, record);
                }
            }
            AfterStore::Repair { partition, key } => {
                if let Err(refusal) = self.merged(partition, &key, result) {
                    tracing::debug!(%key, %refusal, "a read repair of the local record failed");
                }
            }
            AfterStore::Undamage { key } => {
                self.undamaging.remove(&key);
                if result == StoreResult::Repaired {
                    self.stats.repaired += 1;
                    self.event(Event::RecordRepaired { key });
                }
            }
            AfterStore::Compare { channel, entries } => self.on_compared(channel, &entries, result),
            AfterStore::Sync { asker, merged } => return self.on_store_answer(asker, merged, result),
            AfterStore::DamagedKeys => {
                if let StoreResult::DamagedKeys(keys) = result {
                    keys.iter().for_each(|key| self.repair_damaged(key));
                }
            }
            AfterStore::GiveUp => self.on_looked_into_closing(result),
            AfterStore::Leftovers => self.on_leftovers(result),
            AfterStore::Freed { partition } => self.on_freed(partition, result),
            AfterStore::HintQueues => self.on_hint_queues(result),
            AfterStore::Hints { primary } => self.on_hints(primary, result),
            AfterStore::OwnHint { primary, key } => return self.on_own_hint(primary, key, result),
            AfterStore::HintDropped { primary } => self.on_hint_dropped(primary, result),
            AfterStore::HintQuarantined { primary, key, queued } => {
                self.on_hint_quarantined((primary, key, queued), result);
            }
            AfterStore::Taken { channel, at, partition, key } => {
                return self.on_taken((channel, at, partition, key), result);
            }
            AfterStore::LastHints { after } => self.on_last_hints(after, &result),
            AfterStore::Dead => self.on_dead(result),
            AfterStore::Collected { asker, forget } => {
                return Some(self.on_collected(asker, forget, result));
            }
            AfterStore::Weight { origin, weighed } => {
                return self.on_weight_stored(origin, weighed, result);
            }
            AfterStore::Saved(save) => {
                if let StoreResult::Failed(error) = result {
                    self.wake_at(super::SAVE_AGAIN_AFTER, Timer::SaveAgain);
                    self.on_store_failed(error);
                } else {
                    // It counts once a crash cannot take it back.
                    return Some(AfterSync::Saved(save));
                }
            }
        }
        None
    }

    fn on_synced(&mut self, after: AfterSync) {
        match after {
            AfterSync::OwnWrite { op } => self.on_own_synced(op),
            AfterSync::Saved(save) => self.on_saved(save),
            AfterSync::Weight { origin, weighed } => self.on_weight_saved(origin, weighed),
            AfterSync::OwnHint { primary, key } => self.on_own_hint_synced(primary, key),
            AfterSync::Taken { channel, at } => {
                self.on_taken_as(channel, at, henge_handoff::Outcome::Merged);
            }
            AfterSync::Write { under } => self.on_replica_synced(under),
            AfterSync::Sync { asker, known } => self.on_known(asker, known),
            AfterSync::Collected { asker, forget, agreed } => {
                self.on_collected_durably(asker, forget, agreed);
            }
            AfterSync::Keep { channel } => {
                self.respond(channel, Response::Quorum(henge_quorum::Response::Written));
            }
        }
    }

    fn on_saved(&mut self, save: Save) {
        match save {
            Save::Counters { dots, records } => {
                self.dots.on_reserved(dots);
                if let Some(reservation) = records {
                    self.membership.handle_reserved(reservation, self.now);
                    if self.phase == Phase::Starting && self.member.is_some() {
                        self.phase = Phase::Serving;
                        self.rebalance();
                        self.wake_for_anti_entropy();
                        self.wake_at(std::time::Duration::ZERO, Timer::Gone);
                        self.wake_at(std::time::Duration::ZERO, Timer::Collect);
                        self.look_for_hints();
                    }
                }
            }
            Save::Custody { change, stretches } => self.on_custody_saved(change, stretches),
            Save::Stop => self.outputs.push_back(super::Output::Stopped),
            Save::View { generation } => self.on_view_saved(generation),
            Save::Ring => {}
        }
    }

    fn stop(&mut self) {
        if self.phase == Phase::Poisoned {
            self.outputs.push_back(super::Output::Stopped);
            return;
        }
        self.phase = Phase::Stopping;
        // Saved after every write that is on its way, and synced with them: that makes it clean.
        self.save_counters(self.dots.asked(), true);
        let waiting: Vec<_> = self.operations.keys().copied().collect();
        for op in waiting {
            self.on_deadline(op);
        }
    }
}
