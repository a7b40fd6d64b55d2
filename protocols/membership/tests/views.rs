//! The laws of merging: whoever saw the same updates knows the same, in whatever order they came.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic, and a test looks at what it is about"
)]

mod common;

use common::{Cheap, RING, at, count, hashed_peer, map, peer, plain, record, signed, with_map};
use henge_membership::{Fault, Merged, SavedView, Update, View};
use henge_types::codec::Stored;
use henge_types::{
    Custody, CustodyMap, Incarnation, MemberError, MemberState, Partition, RingId, SignedMember, Weight, Zone,
};
use proptest::prelude::*;
use proptest::sample::SizeRange;

fn merge(view: &mut View, update: Update) -> Result<Merged, Fault> {
    view.merge(update, &Cheap(peer(9)), at(5))
}

fn view_of(updates: &[Update]) -> View {
    let mut view = View::new(RING, count());
    for update in updates {
        merge(&mut view, update.clone()).unwrap();
    }
    view
}

fn records(view: &View) -> Vec<SignedMember> {
    view.iter().map(|(_, member)| member.signed().clone()).collect()
}

fn generations(view: &View) -> (u64, u64) {
    (view.generation(), view.placed_generation())
}

#[test]
fn the_higher_incarnation_wins_and_then_the_higher_counter() {
    let mut view = View::new(RING, count());
    let mut put =
        |incarnation, counter| merge(&mut view, plain(record(peer(1), incarnation, counter))).unwrap();
    assert_eq!(put(1, 5), Merged::New);
    assert_eq!(put(1, 6), Merged::Newer);
    assert_eq!(put(1, 6), Merged::Same);
    assert_eq!(put(1, 5), Merged::Older);
    assert_eq!(put(2, 0), Merged::Newer);
    assert_eq!(put(1, 9), Merged::Older);
}

#[test]
fn a_heartbeat_raises_no_generation_and_each_thing_that_counts_does() {
    let mut view = view_of(&[plain(record(peer(1), 1, 0))]);
    let mut counter = 0;
    let mut rises = |change: &dyn Fn(&mut henge_types::MemberRecord)| {
        counter += 1;
        let mut next = view.get(&peer(1)).unwrap().record().clone();
        next.counter = counter;
        change(&mut next);
        let before = generations(&view);
        merge(&mut view, plain(next)).unwrap();
        let after = generations(&view);
        (after.0 - before.0, after.1 - before.1)
    };
    assert_eq!(rises(&|_| {}), (0, 0));
    assert_eq!(rises(&|r| r.records = 7), (0, 0));
    assert_eq!(rises(&|r| r.addresses = vec!["/memory/1".parse().unwrap()]), (0, 0));
    assert_eq!(rises(&|r| r.weight = Weight::new(2).unwrap()), (1, 1));
    assert_eq!(rises(&|r| r.zone = Some(Zone::new("a").unwrap())), (1, 1));
    assert_eq!(rises(&|r| r.incarnation = Incarnation(2)), (1, 0));
    assert_eq!(rises(&|r| r.state = MemberState::Leaving), (1, 1));
    assert_eq!(rises(&|r| r.state = MemberState::Left), (1, 0));
}

#[test]
fn a_custody_map_counts_when_it_is_the_one_of_the_newest_record() {
    let mut view = view_of(&[with_map(record(peer(1), 1, 0), map(Custody::Full))]);
    let full = generations(&view);

    let mut newer = record(peer(1), 1, 1);
    newer.custody = map(Custody::Part).digest();
    merge(&mut view, plain(newer)).unwrap();
    assert_eq!(*view.get(&peer(1)).unwrap().custody(), map(Custody::Full), "the last one known, for now");
    assert_eq!(generations(&view), full);
    assert_eq!(view.needs_custody().collect::<Vec<_>>(), [&peer(1)]);
    assert!(view.update(&peer(1)).unwrap().custody.is_none(), "it is not passed on as current");

    // An older record may bring it: the digest in the newest one is what vouches for it.
    merge(&mut view, with_map(record(peer(1), 1, 0), map(Custody::Part))).unwrap();
    assert_eq!(*view.get(&peer(1)).unwrap().custody(), map(Custody::Part));
    assert_eq!(generations(&view), (full.0 + 1, full.1));
    assert_eq!(view.needs_custody().count(), 0);
}

#[test]
fn a_new_life_of_a_store_inherits_no_custody() {
    let mut view = view_of(&[with_map(record(peer(1), 1, 0), map(Custody::Full))]);
    let mut reborn = record(peer(1), 2, 0);
    reborn.custody = map(Custody::Part).digest();
    merge(&mut view, plain(reborn)).unwrap();
    assert_eq!(*view.get(&peer(1)).unwrap().custody(), map(Custody::None));
}

#[test]
fn what_is_no_record_of_this_ring_changes_nothing() {
    let known = with_map(record(peer(1), 1, 1), map(Custody::Full));
    let mut view = view_of(std::slice::from_ref(&known));
    let mut other_ring = record(peer(2), 1, 1);
    other_ring.ring = RingId([9; 16]);
    let forged =
        Update { member: SignedMember::sign(record(peer(1), 1, 2), &Cheap(peer(2))).unwrap(), custody: None };
    let mut wrong_map = with_map(record(peer(1), 1, 2), map(Custody::Full));
    wrong_map.custody = Some(map(Custody::Part));
    let mut wrong_length = wrong_map.clone();
    wrong_length.custody =
        Some(CustodyMap::uniform(henge_types::PartitionCount::new(2).unwrap(), Custody::Full));
    let hostile = [
        (plain(other_ring), Fault::OtherRing { ring: RingId([9; 16]) }),
        (forged, Fault::Member(MemberError::Signature { peer: peer(1) })),
        (plain(record(hashed_peer(), 1, 1)), Fault::Member(MemberError::HashedKey { peer: hashed_peer() })),
        (wrong_map, Fault::Custody { peer: peer(1) }),
        (wrong_length, Fault::Custody { peer: peer(1) }),
    ];
    let before = (view.summary(), generations(&view));
    for (update, fault) in hostile {
        assert_eq!(merge(&mut view, update), Err(fault));
        assert_eq!((view.summary(), generations(&view)), before);
    }
}

#[test]
fn a_signature_is_not_checked_where_the_record_is_no_news() {
    struct Never;
    impl henge_types::member::Signer for Never {
        fn sign(&self, _: &[u8]) -> Vec<u8> {
            Vec::new()
        }
        fn verify(&self, _: &henge_types::PeerId, _: &[u8], _: &[u8]) -> bool {
            panic!("checked")
        }
    }
    let mut view = view_of(&[plain(record(peer(1), 1, 5))]);
    for counter in [5, 4] {
        view.merge(plain(record(peer(1), 1, counter)), &Never, at(6)).unwrap();
    }
}

#[test]
fn a_saved_view_comes_back_the_same() {
    let mut packed = map(Custody::Part);
    packed.set(Partition(3), Custody::Full);
    let mut unknown_map = record(peer(2), 3, 4);
    unknown_map.custody = map(Custody::Full).digest();
    let view = view_of(&[with_map(record(peer(1), 1, 1), packed), plain(unknown_map)]);
    let saved = view.to_saved().unwrap();
    let read = SavedView::from_stored(&saved.to_stored().unwrap()).unwrap();
    assert_eq!(read, saved);
    assert_eq!(read.member(&peer(2)).unwrap().incarnation, Incarnation(3));
    let again = view_of(&read.members.into_iter().map(|saved| saved.known).collect::<Vec<_>>());
    assert_eq!(again.summary(), view.summary());
    assert_eq!(again.needs_custody().collect::<Vec<_>>(), view.needs_custody().collect::<Vec<_>>());
}

// Few peers, lives and counters, so that updates meet; also different records with one number.
fn updates(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Update>> {
    let one = (1u8..4, 1u64..3, 0u64..4, 1u16..3, 0usize..3, any::<bool>()).prop_map(
        |(who, incarnation, counter, weight, custody, carried)| {
            let mut made = record(peer(who), incarnation, counter);
            made.weight = Weight::new(weight).unwrap();
            let custody = map([Custody::None, Custody::Part, Custody::Full][custody]);
            made.custody = custody.digest();
            Update { member: signed(made), custody: carried.then_some(custody) }
        },
    );
    prop::collection::vec(one, size)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_of_updates_gives_the_same_records(
        (updates, shuffled) in updates(0..12).prop_flat_map(|u| (Just(u.clone()), Just(u).prop_shuffle()))
    ) {
        prop_assert_eq!(records(&view_of(&updates)), records(&view_of(&shuffled)));
    }

    #[test]
    fn merging_views_is_commutative_associative_and_idempotent(
        a in updates(0..6), b in updates(0..6), c in updates(0..6)
    ) {
        let pass = |from: &View, to: &mut View| {
            for saved in from.to_saved().unwrap().members {
                merge(to, saved.known).unwrap();
            }
        };
        let joined = |x: &[Update], y: &[Update]| {
            let mut view = view_of(x);
            pass(&view_of(y), &mut view);
            view
        };
        prop_assert_eq!(records(&joined(&a, &b)), records(&joined(&b, &a)));
        let mut left = joined(&a, &b);
        pass(&view_of(&c), &mut left);
        let mut right = view_of(&a);
        pass(&joined(&b, &c), &mut right);
        prop_assert_eq!(records(&left), records(&right));

        let (facts, steps) = (left.summary(), generations(&left));
        let itself = left.clone();
        pass(&itself, &mut left);
        prop_assert_eq!((left.summary(), generations(&left)), (facts, steps));
    }

    #[test]
    fn a_map_held_is_the_right_one_or_known_to_be_missing(updates in updates(0..12)) {
        let view = view_of(&updates);
        for (who, member) in view.iter() {
            let right = member.custody().digest() == member.record().custody;
            prop_assert_eq!(right, !view.needs_custody().any(|missing| missing == who));
        }
    }

    #[test]
    fn a_generation_rises_exactly_when_what_depends_on_it_changes(updates in updates(1..12)) {
        let placed = |view: &View| -> Vec<_> {
            view.iter().map(|(id, m)| (*id, m.record().state, m.record().weight)).collect()
        };
        let voting = |view: &View| -> Vec<_> {
            view.iter().map(|(_, m)| (m.record().incarnation, m.custody().clone())).collect()
        };
        let mut view = View::new(RING, count());
        for update in updates {
            let old = view.clone();
            merge(&mut view, update).unwrap();
            let moved = placed(&old) != placed(&view);
            prop_assert_eq!(view.placed_generation() > old.placed_generation(), moved);
            prop_assert_eq!(view.generation() > old.generation(), moved || voting(&old) != voting(&view));
        }
    }
}
