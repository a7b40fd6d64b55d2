//! The checker bites: each deliberate bug is caught within its number of seeds.
#![allow(missing_docs, reason = "tests")]

use henge_sim::mutations::Mutation;

fn first_caught(mutation: Mutation) -> Option<u64> {
    (1..=mutation.caught_within()).find(|seed| mutation.scenario(*seed).run().violation.is_some())
}

#[test]
fn every_deliberate_bug_is_caught() {
    let missed: Vec<&str> = Mutation::ALL
        .into_iter()
        .filter(|mutation| first_caught(*mutation).is_none())
        .map(Mutation::name)
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn what_provokes_a_bug_breaks_nothing_without_it() {
    for mutation in Mutation::ALL {
        for seed in 1..6 {
            let broken = mutation.scenario(seed).with_mutation(None).run().violation;
            assert_eq!(broken.map(|v| v.to_string()), None, "{mutation}, seed {seed}");
        }
    }
}
