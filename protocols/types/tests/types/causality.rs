//! Clocks, and the walk of Dynamo §4.4 (figure 3) to the letter.

use std::cmp::Ordering;

use henge_types::{Clock, Dot, Record};
use proptest::prelude::*;

use crate::common::{clock, dot, dots, merged, put};

const SX: u8 = 1;
const SY: u8 = 2;
const SZ: u8 = 3;

#[test]
fn d1_to_d5_walk_as_in_the_paper() {
    let d1 = {
        let mut at_sx = Record::new();
        put(&mut at_sx, dot(SX, 1), &clock([]), 1);
        at_sx
    };
    assert_eq!(*d1.clock(), clock([(SX, 1)]));

    let d2 = {
        let mut at_sx = d1.clone();
        put(&mut at_sx, dot(SX, 2), d1.clock(), 2);
        at_sx
    };
    assert_eq!(*d2.clock(), clock([(SX, 2)]));
    assert_eq!(dots(&d2), [dot(SX, 2)], "D2 descends from D1 and overwrites it");
    assert_eq!(merged(&d1, &d2), d2, "a replica that has D1 garbage-collects it on D2");

    let d3 = {
        let mut at_sy = merged(&Record::new(), &d2);
        put(&mut at_sy, dot(SY, 1), d2.clock(), 3);
        at_sy
    };
    assert_eq!(*d3.clock(), clock([(SX, 2), (SY, 1)]));
    assert_eq!(dots(&d3), [dot(SY, 1)]);

    let d4 = {
        let mut at_sz = merged(&Record::new(), &d2);
        put(&mut at_sz, dot(SZ, 1), d2.clock(), 4);
        at_sz
    };
    assert_eq!(*d4.clock(), clock([(SX, 2), (SZ, 1)]));
    assert_eq!(dots(&d4), [dot(SZ, 1)]);
    assert_eq!(d3.clock().partial_cmp(d4.clock()), None, "D3 and D4 are concurrent");

    // "A node that is aware of D1 or D2, upon receiving D4 […], can determine that D1 and D2 are
    // overwritten. A node that is aware of D3 and receives D4 will find no causal relation."
    for old in [&d1, &d2] {
        assert_eq!(merged(old, &d4), d4);
    }
    let both = merged(&d3, &d4);
    assert_eq!(dots(&both), [dot(SY, 1), dot(SZ, 1)]);
    let context = both.clock().clone();
    assert_eq!(context, clock([(SX, 2), (SY, 1), (SZ, 1)]), "the summary of both clocks");

    let d5 = {
        let mut at_sx = d2.clone();
        put(&mut at_sx, dot(SX, 3), &context, 5);
        at_sx
    };
    assert_eq!(*d5.clock(), clock([(SX, 3), (SY, 1), (SZ, 1)]));
    assert_eq!(dots(&d5), [dot(SX, 3)]);
    for earlier in [&d1, &d2, &d3, &d4, &both] {
        let after = merged(earlier, &d5);
        assert_eq!(dots(&after), [dot(SX, 3)], "D5 reconciles all that came before");
        assert_eq!(after.digest(), d5.digest());
    }
}

const S0: u8 = 0;
const S1: u8 = 1;

/// D([s0,1],[s1,1]): s1 wrote on top of s0.
fn s0_then_s1() -> Record {
    let mut record = Record::new();
    put(&mut record, dot(S0, 1), &clock([]), 1);
    put(&mut record, dot(S1, 1), &clock([(S0, 1)]), 2);
    assert_eq!(*record.clock(), clock([(S0, 1), (S1, 1)]));
    record
}

#[test]
fn an_ancestor_is_overwritten() {
    // D([s0,1],[s1,1]) → D([s0,1],[s1,2])
    let ancestor = s0_then_s1();
    let mut descendant = ancestor.clone();
    put(&mut descendant, dot(S1, 2), ancestor.clock(), 3);
    assert_eq!(*descendant.clock(), clock([(S0, 1), (S1, 2)]));
    assert_eq!(ancestor.clock().partial_cmp(descendant.clock()), Some(Ordering::Less));
    assert_eq!(merged(&ancestor, &descendant), descendant);
    assert_eq!(merged(&descendant, &ancestor), descendant);
    assert_eq!(dots(&descendant), [dot(S1, 2)]);
}

#[test]
fn siblings_are_both_kept() {
    // D([s0,1],[s1,2]) ∥ D([s0,2],[s1,1])
    let base = s0_then_s1();
    let [mut at_s1, mut at_s0] = [base.clone(), base.clone()];
    put(&mut at_s1, dot(S1, 2), base.clock(), 3);
    put(&mut at_s0, dot(S0, 2), base.clock(), 4);
    assert_eq!(*at_s1.clock(), clock([(S0, 1), (S1, 2)]));
    assert_eq!(*at_s0.clock(), clock([(S0, 2), (S1, 1)]));
    assert_eq!(at_s1.clock().partial_cmp(at_s0.clock()), None);
    let both = merged(&at_s1, &at_s0);
    assert_eq!(dots(&both), [dot(S0, 2), dot(S1, 2)]);
    assert_eq!(*both.clock(), clock([(S0, 2), (S1, 2)]));
}

#[test]
fn a_put_without_a_context_makes_a_sibling() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([]), 1);
    put(&mut record, dot(1, 2), &clock([]), 2);
    assert_eq!(dots(&record), [dot(1, 1), dot(1, 2)]);
    // A context that saw the first write only leaves the second one alone.
    put(&mut record, dot(1, 3), &clock([(1, 1)]), 3);
    assert_eq!(dots(&record), [dot(1, 2), dot(1, 3)]);
}

fn clocks() -> impl Strategy<Value = Clock> {
    prop::collection::vec((0..6_u8, 0..4_u64), 0..8)
        .prop_map(|entries| entries.into_iter().map(|(number, counter)| dot(number, counter)).collect())
}

fn join(a: &Clock, b: &Clock) -> Clock {
    let mut joined = a.clone();
    assert_eq!(joined.join(b), joined != *a, "join says truly whether it learned something");
    joined
}

proptest! {
    #[test]
    fn clocks_are_partially_ordered_and_join_is_their_least_upper_bound(
        a in clocks(), b in clocks(), c in clocks(),
    ) {
        prop_assert_eq!(a.partial_cmp(&a), Some(Ordering::Equal));
        prop_assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
        prop_assert_eq!(a.partial_cmp(&b) == Some(Ordering::Equal), a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        let ab = join(&a, &b);
        prop_assert!(a <= ab && b <= ab);
        if a <= c && b <= c {
            prop_assert!(ab <= c);
        }
        prop_assert_eq!(&ab, &join(&b, &a));
        prop_assert_eq!(join(&ab, &c), join(&a, &join(&b, &c)));
        for number in 0..6 {
            let actor = dot(number, 1).actor;
            prop_assert_eq!(ab.get(&actor), a.get(&actor).max(b.get(&actor)));
        }
    }

    #[test]
    fn a_clock_is_the_same_however_it_is_built(
        entries in prop::collection::vec((0..6_u8, 0..4_u64), 0..12),
    ) {
        let dots: Vec<Dot> = entries.iter().map(|(number, counter)| dot(*number, *counter)).collect();
        let mut advanced = Clock::new();
        dots.iter().for_each(|dot| advanced.advance(*dot));
        let collected: Clock = dots.iter().copied().collect();
        prop_assert_eq!(&advanced, &collected);
        prop_assert!(collected.iter().is_sorted());
        prop_assert!(dots.iter().all(|dot| collected.covers(dot)));
        prop_assert_eq!(collected.is_empty(), dots.iter().all(|dot| dot.counter == 0));
    }
}
