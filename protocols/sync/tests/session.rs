//! Sessions of two stores: what they move, what they tell, and what disturbs them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test may panic")]
#![allow(clippy::wildcard_enum_match_arm, clippy::too_many_lines, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{Calm, Store, World, all, key, record, run, terms};
use henge_sync::{End, Fault, Mode, Outcome, Request, Response, Session};
use henge_types::{Partition, Record, VotersDigest};
use proptest::prelude::*;

fn store(records: impl IntoIterator<Item = (u64, Record)>) -> Store {
    Store { records: records.into_iter().map(|(n, record)| (key(n), record)).collect(), ..Store::default() }
}

fn same(n: u64) -> Store {
    store((0..n).map(|n| (n, record(&[(1, n + 1)]))))
}

fn voters(count: u32) -> BTreeMap<Partition, VotersDigest> {
    (0..count).map(|p| (Partition(p), VotersDigest([p as u8; 16]))).collect()
}

fn session(count: u32, mode: Mode, salt: u64) -> Session {
    let voters = (mode != Mode::Both).then(|| voters(count));
    Session::new(terms(count, mode, salt), all(count), voters)
}

#[test]
fn peers_in_sync_find_out_in_one_round_trip() {
    for mode in [Mode::Both, Mode::Pull, Mode::Push] {
        let (mut here, mut there) = (same(200), same(200));
        let (report, traffic) = run(session(64, mode, 1), 64, &mut here, &mut there, &mut Calm);
        assert_eq!((report.end, traffic.messages), (End::Complete, 2));
        assert!(report.outcomes.len() == 64 && report.outcomes.values().all(|o| *o == Outcome::InSync));
    }
}

#[test]
fn empty_partitions_are_acquired_in_one_round_trip() {
    let (mut here, mut there) = (Store::default(), Store::default());
    let (report, traffic) = run(session(1 << 14, Mode::Pull, 1), 1 << 14, &mut here, &mut there, &mut Calm);
    assert_eq!((report.end, traffic.messages), (End::Complete, 2));
    assert_eq!(report.outcomes.len(), 1 << 14);
}

#[test]
fn the_younger_version_travels_and_the_older_does_not() {
    let (mut here, mut there) = (same(300), same(300));
    for n in 0..20 {
        let store = if n % 2 == 0 { &mut here } else { &mut there };
        store.merge(&key(n), &record(&[(1, n + 1), (2, 1_000 + n)]));
    }
    let (report, _) = run(session(64, Mode::Both, 3), 64, &mut here, &mut there, &mut Calm);
    assert_eq!(here.digests(), there.digests());
    assert_eq!((report.progress.records_pulled, report.progress.records_pushed), (10, 10));
}

#[test]
fn a_newcomer_pulls_whole_partitions_and_one_that_leaves_pushes_them() {
    for count in [1, 2, 64, 1 << 14] {
        let (mut empty, mut full) = (Store::default(), same(3_000));
        let (report, _) = run(session(count, Mode::Pull, 1), count, &mut empty, &mut full, &mut Calm);
        assert_eq!((report.end, report.progress.records_pulled), (End::Complete, 3_000));
        assert_eq!(empty.digests(), full.digests());
        assert_eq!(full.merges, 0, "pulling changes nothing there");
        let mut other = Store::default();
        let (report, _) = run(session(count, Mode::Push, 1), count, &mut full, &mut other, &mut Calm);
        assert_eq!((report.end, report.progress.records_pushed), (End::Complete, 3_000));
        assert_eq!(other.digests(), full.digests());
    }
}

/// What is equal there may be on no disk yet.
#[test]
fn a_push_that_finds_no_difference_waits_for_the_disk() {
    let (mut here, mut there) = (same(10), Store::default());
    for (key, record) in here.records.clone() {
        there.merge(&key, &record);
    }
    assert!(!there.unsynced.is_empty());
    run(session(64, Mode::Push, 1), 64, &mut here, &mut there, &mut Calm);
    assert!(there.unsynced.is_empty());
}

struct Sees(VotersDigest);
impl World for Sees {
    fn accepts(&self, partition: Partition, voters: Option<VotersDigest>) -> bool {
        partition.0.is_multiple_of(2) || voters == Some(self.0)
    }
}

#[test]
fn partitions_under_other_voters_are_stale_and_nothing_of_them_is_stored() {
    for mode in [Mode::Pull, Mode::Push] {
        let (mut here, mut there) = (same(400), same(200));
        let (report, _) =
            run(session(64, mode, 1), 64, &mut here, &mut there, &mut Sees(VotersDigest([7; 16])));
        assert_eq!(report.end, End::Complete);
        for (partition, outcome) in &report.outcomes {
            let stale = partition.0 % 2 == 1 && partition.0 != 7;
            assert_eq!(*outcome == Outcome::Stale, stale, "{partition}: {outcome:?}");
        }
        let odd = |store: &Store| {
            let inside = |k: &&henge_types::Key| {
                let p = k.position().0 >> 58;
                p % 2 == 1 && p != 7
            };
            store.records.keys().filter(inside).count()
        };
        assert_eq!(odd(&there), odd(&same(200)));
    }
}

#[test]
fn what_cannot_be_read_there_is_not_acquired() {
    let (mut here, mut there) = (Store::default(), same(100));
    there.damaged.insert(key(5));
    there.records.remove(&key(5));
    let (report, _) = run(session(64, Mode::Pull, 1), 64, &mut here, &mut there, &mut Calm);
    let at = key(5).position().partition(terms(64, Mode::Pull, 1).count);
    assert_eq!(report.outcomes[&at], Outcome::Stale);
    assert!(report.outcomes.iter().all(|(p, o)| *p == at || *o != Outcome::Stale));
}

#[test]
fn what_cannot_be_read_here_is_not_given_up() {
    let (mut here, mut there) = (same(100), same(50));
    here.damaged.insert(key(70));
    let (report, _) = run(session(64, Mode::Push, 1), 64, &mut here, &mut there, &mut Calm);
    let at = key(70).position().partition(terms(64, Mode::Push, 1).count);
    assert!(matches!(report.outcomes[&at], Outcome::Left { .. }), "{:?}", report.outcomes[&at]);
    assert_eq!(report.left, [key(70)]);
}

/// Both write on while they are compared.
struct Busy {
    counter: u64,
    until: u64,
}
impl World for Busy {
    fn between(&mut self, here: &mut Store, there: &mut Store) {
        if self.counter < self.until {
            self.counter += 1;
            let n = self.counter * 7 % 500;
            let store = if self.counter.is_multiple_of(2) { here } else { there };
            store.merge(&key(n), &record(&[(3 + (self.counter % 2) as u8, 5_000 + self.counter)]));
        }
    }
}

/// A network that loses every so many answers.
struct Lossy(u64, u64);
impl World for Lossy {
    fn response(&mut self, _: &Request, response: Response) -> Option<Response> {
        self.0 += 1;
        (!self.0.is_multiple_of(self.1)).then_some(response)
    }
}

#[test]
fn a_session_that_breaks_off_is_gone_on_with_by_the_next() {
    let (mut here, mut there) = (same(2_000), store((1_000..4_000).map(|n| (n, record(&[(1, n + 1)])))));
    let mut lossy = Lossy(0, 12);
    let mut left = Vec::new();
    for salt in 0..100 {
        let (report, _) = run(session(64, Mode::Both, salt), 64, &mut here, &mut there, &mut lossy);
        left.push(3_000 - here.records.keys().filter(|k| there.records.contains_key(*k)).count().min(3_000));
        if report.end == End::Complete {
            break;
        }
        assert_eq!(report.end, End::Lost);
        assert!(report.outcomes.values().any(|o| *o == Outcome::Unfinished));
    }
    assert_eq!(here.digests(), there.digests(), "{left:?}");
    assert_eq!(here.records.len(), 4_000);
}

/// Answers that no peer of this protocol gives.
struct Hostile(u64, Bend);
type Bend = fn(&Request, Response) -> Response;
impl World for Hostile {
    fn response(&mut self, request: &Request, response: Response) -> Option<Response> {
        self.0 = self.0.saturating_sub(1);
        Some(if self.0 == 0 { (self.1)(request, response) } else { response })
    }
}

#[test]
fn what_the_other_peer_does_wrong_ends_the_session_and_is_named() {
    let bent: [(Bend, Fault); 5] = [
        (|_, _| Response::Compared { answers: Vec::new() }, Fault::Unexpected),
        (|_, _| Response::Pushed { stale: Bytes::new(), codes: Bytes::from(vec![0; 9]) }, Fault::Unexpected),
        (
            |_, _| Response::Codes { stale: Bytes::new(), codes: Bytes::from(vec![0; 1 << 20]) },
            Fault::Malformed,
        ),
        (
            |_, r| match r {
                Response::Codes { codes, .. } => {
                    Response::Codes { stale: Bytes::from_static(b"\x07"), codes }
                }
                other => other,
            },
            Fault::Malformed,
        ),
        (
            |_, r| match r {
                Response::Records { stale, covered, mut records } => {
                    records.push((key(999_999), record(&[(9, 9)])));
                    Response::Records { stale, covered, records }
                }
                other => other,
            },
            Fault::Unasked,
        ),
    ];
    for (bend, fault) in bent {
        let mut seen = false;
        for after in 1..10 {
            let (mut here, mut there) = (same(300), same(310));
            let world = &mut Hostile(after, bend);
            let (report, _) = run(session(64, Mode::Both, 1), 64, &mut here, &mut there, world);
            seen |= report.end == End::Fault(fault);
            assert!(!here.records.contains_key(&key(999_999)));
        }
        assert!(seen, "{fault:?}");
    }
}

#[test]
fn a_thousand_differences_cost_half_as_much_as_their_records_at_most() {
    // A quarter of the target's size: as many items to a leaf would only make it cheaper.
    let mut here = same(4_000);
    let mut there = here.clone();
    let mut bytes = 0;
    for n in 0..1_000 {
        let (at, new) = (key(n * 4), record(&[(2, 10_000 + n)]));
        bytes += at.as_bytes().len() + henge_types::codec::encode(&new).unwrap().len();
        let store = if n % 2 == 0 { &mut here } else { &mut there };
        store.records.insert(at, new);
    }
    for n in 0..1_000 {
        // The other side is behind, not apart.
        let (a, b) = (here.records[&key(n * 4)].clone(), there.records[&key(n * 4)].clone());
        let older = if n % 2 == 0 { (&mut there, a) } else { (&mut here, b) };
        older.0.records.remove(&key(n * 4));
    }
    let (_, traffic) = run(session(64, Mode::Both, 9), 64, &mut here, &mut there, &mut Calm);
    assert_eq!(here.digests(), there.digests());
    let ratio = traffic.bytes as f64 / bytes as f64;
    assert!(ratio < 1.5, "{ratio}: {traffic:?}");
}

#[derive(Debug, Clone)]
enum Difference {
    Here,
    There,
    Both { older: bool },
    Fork,
}

fn difference() -> impl Strategy<Value = (u64, Difference)> {
    let kind = prop_oneof![
        Just(Difference::Here),
        Just(Difference::There),
        any::<bool>().prop_map(|older| Difference::Both { older }),
        Just(Difference::Fork),
    ];
    (0..600u64, kind)
}

fn differing(differences: &[(u64, Difference)]) -> (Store, Store) {
    let (mut here, mut there) = (same(400), same(400));
    for (at, (n, difference)) in differences.iter().enumerate() {
        let counter = 10_000 + at as u64;
        match difference {
            Difference::Here => {
                here.merge(&key(*n), &record(&[(2, counter)]));
            }
            Difference::There => {
                there.merge(&key(*n), &record(&[(2, counter)]));
            }
            Difference::Both { older } => {
                let store = if *older { &mut there } else { &mut here };
                store.merge(&key(*n), &record(&[(4, counter)]));
            }
            Difference::Fork => {
                here.merge(&key(*n), &record(&[(5, counter)]));
                there.merge(&key(*n), &record(&[(6, counter)]));
            }
        }
    }
    (here, there)
}

fn union(here: &Store, there: &Store) -> Store {
    let mut all = here.clone();
    for (key, record) in &there.records {
        all.merge(key, record);
    }
    all
}

fn covers(store: &Store, other: &Store) -> bool {
    other
        .records
        .iter()
        .all(|(key, record)| store.records.get(key).is_some_and(|stored| !stored.clone().merge(record)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_session_moves_the_difference_and_nothing_else(
        differences in prop::collection::vec(difference(), 0..80), bits in 0..15u32, salt: u64,
    ) {
        let count = 1 << bits;
        let (here, there) = differing(&differences);
        let all_of_both = union(&here, &there);
        let (before, after) = (here.digests(), there.digests());
        let differ = all_of_both.records.keys().filter(|k| before.get(*k) != after.get(*k)).count();
        for mode in [Mode::Both, Mode::Pull, Mode::Push] {
            let (mut a, mut b) = (here.clone(), there.clone());
            let (report, _) = run(session(count, mode, salt), count, &mut a, &mut b, &mut Calm);
            prop_assert_eq!(report.end, End::Complete);
            match mode {
                Mode::Both => {
                    prop_assert!(a.digests() == all_of_both.digests());
                    prop_assert!(b.digests() == all_of_both.digests());
                }
                Mode::Pull => prop_assert!(a.digests() == all_of_both.digests() && b.digests() == there.digests()),
                Mode::Push => prop_assert!(b.digests() == all_of_both.digests() && a.digests() == here.digests()),
            }
            let moved = report.progress.records_pulled + report.progress.records_pushed;
            prop_assert!(moved <= 2 * differ as u64, "{} moved for {} that differ", moved, differ);
        }
    }

    #[test]
    fn what_there_was_at_the_beginning_is_there_in_the_end_whatever_is_written_meanwhile(
        differences in prop::collection::vec(difference(), 0..60), until in 0..200u64, salt: u64,
    ) {
        let (here, there) = differing(&differences);
        for mode in [Mode::Both, Mode::Pull, Mode::Push] {
            let (mut a, mut b) = (here.clone(), there.clone());
            let world = &mut Busy { counter: 0, until };
            let (report, _) = run(session(64, mode, salt), 64, &mut a, &mut b, world);
            prop_assert_eq!(report.end, End::Complete);
            prop_assert!(mode == Mode::Push || covers(&a, &there));
            prop_assert!(mode == Mode::Pull || covers(&b, &here));
            let (quiet, _) = run(session(64, Mode::Both, salt ^ 1), 64, &mut a, &mut b, &mut Calm);
            prop_assert_eq!(quiet.end, End::Complete);
            prop_assert!(a.digests() == b.digests());
        }
    }

    #[test]
    fn lost_answers_and_new_sessions_come_to_the_same(
        differences in prop::collection::vec(difference(), 0..60), each in 2..9u64, salt: u64,
    ) {
        let (mut a, mut b) = differing(&differences);
        let all_of_both = union(&a, &b);
        let mut lossy = Lossy(0, each + 8);
        let ended = (0..400).find(|n| {
            let session = session(64, Mode::Both, salt.wrapping_add(*n));
            run(session, 64, &mut a, &mut b, &mut lossy).0.end == End::Complete
        });
        prop_assert!(ended.is_some());
        prop_assert!(a.digests() == all_of_both.digests());
        prop_assert!(b.digests() == all_of_both.digests());
    }

    #[test]
    fn answers_of_any_bytes_end_in_a_report(
        bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4u8, after in 1..12u64, covered: u32,
    ) {
        struct Noise(u64, Response);
        impl World for Noise {
            fn response(&mut self, _: &Request, response: Response) -> Option<Response> {
                self.0 = self.0.saturating_sub(1);
                Some(if self.0 == 0 { self.1.clone() } else { response })
            }
        }
        let (bytes, stale) = (Bytes::from(bytes), Bytes::new());
        let response = match kind {
            0 => Response::Codes { stale, codes: bytes },
            1 => Response::Items { stale, found: bytes },
            2 => Response::Records { stale: bytes, covered, records: Vec::new() },
            _ => Response::Pushed { stale, codes: bytes },
        };
        let (mut a, mut b) = (same(100), same(120));
        let (report, _) = run(session(64, Mode::Both, 1), 64, &mut a, &mut b, &mut Noise(after, response));
        prop_assert_eq!(report.outcomes.len(), 64);
    }

    #[test]
    fn requests_of_any_bytes_are_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..100), other in prop::collection::vec(any::<u8>(), 0..100),
        kind in 0..4u8, depth: u8, size: u32, width: u8,
    ) {
        let head = henge_sync::Head {
            ring: common::RING, salt: [1; 8], width, durable: depth % 2 == 0, voters: None,
        };
        let (a, b) = (Bytes::from(bytes), Bytes::from(other));
        let request = match kind {
            0 => Request::Groups { head, partitions: a, size, hashes: b },
            1 => Request::Nodes { head, depth, nodes: a, hashes: b },
            2 => Request::Items { head, depth, nodes: a.clone(), counts: a, hashes: b },
            _ => Request::Fetch { head, depth, nodes: a },
        };
        let count = terms(64, Mode::Both, 1).count;
        common::respond(request, &mut same(50), count, &Calm);
    }
}
