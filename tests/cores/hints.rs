//! Hinted handoff (Dynamo §4.6): what a store keeps for others reaches them.

use bytes::Bytes;
use henge::core::{Request as PeerRequest, Response as PeerResponse};
use henge::store::{ReadOp, StoreResult, WriteOp};
use henge_handoff::{DELIVER_MAX, Refusal};
use henge_types::{ActorId, Applied, Clock, Content, Dot, Record, RingId, Write};

use super::*;

const UNIX_MS: u64 = 1_700_000_000_000;

pub(super) fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

/// What a fallback made of a key: write `n` of an actor of its own.
pub(super) fn record(n: u64) -> Record {
    let mut operation = [9; 16];
    operation[..8].copy_from_slice(&n.to_be_bytes());
    let write = Write {
        dot: Dot { actor: ActorId([9; 16]), counter: n },
        supersede: Clock::new(),
        content: Content::Value(Bytes::from(format!("hint {n}"))),
        written_at: UNIX_MS,
        expires_at: None,
        operation: OperationId(operation),
    };
    let mut record = Record::new();
    assert_eq!(record.apply(&write), Ok(Applied::Written));
    record
}

impl World {
    fn hint(&self, at: usize, primary: PeerId, name: &str, n: u64, now_unix_ms: u64) {
        let (key, record) = (key(name), record(n));
        let op = WriteOp::MergeHint { key, primary, record, now_unix_ms, max_bytes: u64::MAX };
        let result = self.peers[at].store.write(vec![op]).remove(0);
        assert!(matches!(result, StoreResult::Merged { changed: true, .. }), "{result:?}");
    }

    fn hints(&self, at: usize, primary: PeerId, names: &[String]) {
        for (n, name) in (1..).zip(names) {
            self.hint(at, primary, name, n, UNIX_MS);
        }
    }

    /// How many hints wait, and how many lie in quarantine.
    fn waiting(&self, at: usize) -> (u64, u64) {
        let result = self.peers[at].store.read(&ReadOp::HintQueues);
        let StoreResult::HintQueues { queues, quarantined } = result else { panic!("{result:?}") };
        (queues.iter().map(|queue| queue.count).sum(), quarantined)
    }

    pub(super) fn values(&self, at: usize, name: &str) -> Vec<String> {
        let result = self.peers[at].store.read(&ReadOp::Get { key: key(name) });
        let StoreResult::Record(record) = result else { panic!("{result:?}") };
        record.live(UNIX_MS).map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    fn has_all(&self, at: usize, names: &[String]) -> bool {
        (1..).zip(names).all(|(n, name)| self.values(at, name) == [format!("hint {n}")])
    }

    pub(super) fn pause(&mut self, time: Duration) {
        let later = self.now + time;
        self.run("a pause", |w| w.now >= later);
    }

    pub(super) fn counter(&mut self, at: usize, name: &str) -> u64 {
        let Response::Status(status) = self.ask(at, Request::Status) else { panic!("no status") };
        status.counters.iter().find(|(counter, _)| counter == name).unwrap().1
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key {n}")).collect()
}

#[test]
fn a_primary_that_comes_back_gets_what_it_missed_in_batches_merged_with_what_it_has() {
    let mut world = three();
    written(&world.put(0, "key 0", "before", Supersede::Current, Some(3)));
    world.kill(2);
    let names = names(2 * DELIVER_MAX + 10);
    world.hints(0, world.ids[2], &names);
    world.pause(Duration::from_secs(5));
    assert_eq!(world.waiting(0).0, names.len() as u64, "nobody else takes it");
    let Response::Status(status) = world.ask(0, Request::Status) else { panic!("no status") };
    assert_eq!((status.hints[0].primary, status.hints[0].count), (world.ids[2], names.len() as u64));

    world.restart(2, &[]);
    world.run("all is handed over", |w| w.waiting(0).0 == 0);
    let mut siblings = world.values(2, "key 0");
    siblings.sort();
    assert_eq!(siblings, ["before", "hint 1"]);
    assert!((2..).zip(&names[1..]).all(|(n, name)| world.values(2, name) == [format!("hint {n}")]));
    assert!(world.values(1, "key 1").is_empty(), "a hint is for its primary");
    let deliveries = world.trace.iter().filter(|line| line.contains("Handoff(Deliver {")).count();
    assert_eq!(deliveries, 3);
    world.pause(Duration::from_secs(2));
    assert_eq!(world.counter(0, "hints_delivered"), names.len() as u64);
    assert_eq!(world.counter(0, "hints_waiting"), 0);
}

#[test]
fn a_sender_that_restarts_goes_on_with_what_is_left() {
    let mut world = three();
    let names = names(3 * DELIVER_MAX);
    world.hints(0, world.ids[2], &names);
    let left = 2 * DELIVER_MAX as u64;
    world.run("one batch is handed over", |w| w.waiting(0).0 <= left);
    assert!(world.waiting(0).0 > 0);
    world.kill(0);
    world.pause(Duration::from_secs(1));
    assert!(!world.has_all(2, &names));
    world.restart(0, &[]);
    world.run("all is handed over", |w| w.waiting(0).0 == 0);
    assert!(world.has_all(2, &names));
}

#[test]
fn a_primary_that_goes_away_in_the_middle_gets_the_rest_when_it_is_back() {
    let mut world = three();
    let names = names(3 * DELIVER_MAX);
    world.hints(1, world.ids[2], &names);
    world.run("a batch is on its way", |w| w.trace.iter().any(|line| line.contains("Handoff(Deliver {")));
    world.kill(2);
    world.pause(Duration::from_secs(20));
    assert_eq!(world.waiting(1).0, names.len() as u64, "no word, no drop");
    world.restart(2, &[]);
    world.run("all is handed over", |w| w.waiting(1).0 == 0);
    assert!(world.has_all(2, &names));
}

#[test]
fn what_waits_for_nobody_of_the_ring_goes_to_all_voters() {
    let mut world = three();
    world.kill(2);
    let (stranger, names) = (peer_id(7), names(5));
    world.hints(0, stranger, &names);
    world.pause(Duration::from_secs(10));
    assert_eq!(world.waiting(0).0, 5, "one voter does not have it");
    world.restart(2, &[]);
    world.run("all is handed over", |w| w.waiting(0).0 == 0);
    assert!((0..3).all(|at| world.has_all(at, &names)));
}

#[test]
fn old_and_damaged_hints_go_to_quarantine_and_the_others_to_their_primary() {
    let mut world = three();
    world.kill(2);
    let primary = world.ids[2];
    let too_old = 5 * 24 * 3_600_000 + 60_000;
    world.hint(0, primary, "old", 1, UNIX_MS - too_old);
    world.hint(0, primary, "almost", 2, UNIX_MS - too_old + 3_600_000);
    world.hint(0, primary, "damaged", 3, UNIX_MS);
    world.hint(0, primary, "young", 4, UNIX_MS);
    assert!(world.peers[0].store.damage_hint(&key("damaged")));
    world.restart(2, &[]);
    world.run("nothing waits", |w| w.waiting(0).0 == 0);
    assert_eq!(world.waiting(0).1, 2);
    assert_eq!(world.values(2, "almost"), ["hint 2"]);
    assert_eq!(world.values(2, "young"), ["hint 4"]);
    assert!(world.values(2, "old").is_empty() && world.values(2, "damaged").is_empty());
    world.pause(Duration::from_secs(1));
    assert_eq!(world.counter(0, "hints_quarantined"), 2);
    let told = world.trace.iter().filter(|line| line.contains("HintQuarantined")).count();
    assert_eq!(told, 2);
}

#[test]
fn a_delivery_of_another_ring_is_refused_and_an_empty_one_answered() {
    let mut world = three();
    let ring = {
        let Response::Status(status) = world.ask(0, Request::Status) else { panic!("no status") };
        status.ring.unwrap()
    };
    let mut deliver = |ring: RingId, records: Vec<(Key, Record)>| {
        let request = PeerRequest::Handoff(henge_handoff::Request::Deliver { ring, records });
        let (peer, channel) = (world.ids[1], ChannelId(1));
        let now = world.clock();
        world.peers[0].core.handle(Input::Request { peer, channel, request }, now);
        while let Some(output) = world.peers[0].core.poll_output() {
            if let Output::Respond { channel: ChannelId(1), response } = output {
                return response;
            }
        }
        panic!("no answer");
    };
    let refused = henge_handoff::Response::Refused(Refusal::OtherRing { ring });
    let answer = deliver(RingId([7; 16]), vec![(key("a"), record(1))]);
    assert_eq!(answer, PeerResponse::Handoff(refused));
    let nothing = henge_handoff::Response::Delivered { results: vec![] };
    assert_eq!(deliver(ring, vec![]), PeerResponse::Handoff(nothing));
}
