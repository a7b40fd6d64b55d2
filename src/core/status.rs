//! What this peer tells about its ring.

use henge_client::status::{
    ACCUSERS_MAX, Accuser, HintQueue, Located, LocatedVoter, Member, MemberPhase, Status,
};
use henge_types::{Custody, Key, MemberState, PeerId};

use super::Core;
use super::operations::count;

impl Core {
    pub(super) fn status(&mut self) -> Status {
        let view = self.membership.view();
        let now = self.now.monotonic;
        if let Some(member) = &mut self.member {
            member.ownership.refresh(view);
        }
        let placement = self.member.as_ref().map(|m| m.ownership.placement());
        let accusers = |peer: &PeerId| {
            let accusers = self.membership.accusers(peer).into_iter().take(ACCUSERS_MAX);
            accusers
                .map(|(peer, since)| Accuser { peer, since_ms: millis(now.saturating_sub(since)) })
                .collect()
        };
        let row = |(peer, known): (&PeerId, &henge_membership::Member)| {
            let record = known.record();
            let custody = known.custody();
            let owned = placement.map_or(0, |p| p.owned(peer));
            let (full, part) = (custody.count(Custody::Full), custody.count(Custody::Part));
            let all = placement
                .is_some_and(|p| p.owned_partitions(peer).all(|one| custody.get(one) == Custody::Full));
            Member {
                peer: *peer,
                incarnation: record.incarnation,
                state: record.state,
                phase: phase(record.state, all, full + part > owned),
                weight: record.weight.get(),
                zone: record.zone.clone(),
                heartbeat_age_ms: if *peer == self.me {
                    0
                } else {
                    millis(now.saturating_sub(known.heard_at()))
                },
                connected: *peer == self.me || self.links.is_connected(peer),
                partitions: count(owned),
                full: count(full),
                part: count(part),
                keys: record.records,
                addresses: record.addresses.clone(),
                down: self.membership.is_down(peer),
                accusers: accusers(peer),
            }
        };
        Status {
            peer: self.me,
            cluster: self.config.cluster().as_str().to_owned(),
            ring: self.ring(),
            params: self.member.as_ref().map(|m| m.ring.params),
            members: view.iter().map(row).collect(),
            hints: self.handoff.queues.iter().map(|queue| self.hint_queue(queue)).collect(),
            counters: self.counters(),
        }
    }

    fn hint_queue(&self, queue: &crate::store::HintQueue) -> HintQueue {
        HintQueue {
            primary: queue.primary,
            count: queue.count,
            bytes: queue.bytes,
            oldest_age_ms: self.now.unix_ms.saturating_sub(queue.oldest_unix_ms),
        }
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let (s, t) = (&self.stats, &self.syncs.totals);
        let (acquiring, giving) = self.member.as_ref().map_or((0, 0), |m| m.rebalance.under_way());
        [
            ("operations_in_flight", self.operations.len() as u64),
            ("store_ops_in_flight", self.stores.len() as u64),
            ("read_repairs", s.read_repairs),
            ("sync_sessions_in_flight", self.syncs.running() as u64),
            ("sync_sessions", t.sessions),
            ("sync_sessions_in_sync", t.in_sync),
            ("sync_records_received", t.received.records),
            ("sync_records_sent", t.sent.records),
            ("sync_bytes_received", t.received.bytes),
            ("sync_bytes_sent", t.sent.bytes),
            ("partitions_acquiring", acquiring as u64),
            ("partitions_giving_up", giving as u64),
            ("stale_answers", s.stale),
            ("peer_faults", s.faults),
            ("records_damaged", s.damaged),
            ("records_repaired", s.repaired),
            ("actors_renewed", s.actors_renewed),
            ("hints_waiting", self.handoff.queues.iter().map(|queue| queue.count).sum()),
            ("hints_waiting_bytes", self.handoff.queues.iter().map(|queue| queue.bytes).sum()),
            ("records_collected", s.collected),
            ("hints_delivered", s.hints_delivered),
            ("hints_not_taken", s.hints_not_taken),
            ("hints_quarantined", s.hints_quarantined),
            ("hints_refused", s.hints_refused),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    pub(super) fn locate(&mut self, key: &Key) -> Option<Located> {
        let partition = self.partition_of(key);
        let voters = self.voters(partition)?;
        let view = self.membership.view();
        let voter = |v: &henge_types::Voter| LocatedVoter {
            peer: v.peer,
            owner: v.owner,
            custody: v.custody,
            zone: view.get(&v.peer).and_then(|m| m.record().zone.clone()),
        };
        let voters = voters.as_slice().iter().map(voter).collect();
        Some(Located { position: key.position(), partition, voters })
    }
}

fn phase(state: MemberState, has_all: bool, has_more: bool) -> MemberPhase {
    match state {
        MemberState::Active if !has_all => MemberPhase::Joining,
        MemberState::Active if has_more => MemberPhase::Moving,
        MemberState::Active => MemberPhase::Settled,
        MemberState::Leaving => MemberPhase::Leaving,
        MemberState::Left => MemberPhase::Left,
    }
}

fn millis(age: std::time::Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
