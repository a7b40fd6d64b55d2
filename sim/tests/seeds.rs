//! A fixed set of seeds, and the promise that a seed is a run.
#![allow(missing_docs, reason = "tests")]

use henge_sim::scenario::Scenario;

/// Seeds that every run of the tests goes through.
const SEEDS: std::ops::Range<u64> = 1..41;

#[test]
fn no_seed_of_the_fixed_set_breaks_a_promise() {
    let broken: Vec<String> = SEEDS
        .filter_map(|seed| Scenario::from_seed(seed).run().violation.map(|v| format!("seed {seed}: {v}")))
        .collect();
    assert!(
        broken.is_empty(),
        "replay with: cargo run --release -p henge-sim -- --seed N\n{}",
        broken.join("\n")
    );
}

#[test]
fn one_seed_twice_gives_one_trace() {
    for seed in [3, 17, 29] {
        let (once, twice) = (Scenario::from_seed(seed).run(), Scenario::from_seed(seed).run());
        assert_eq!(
            (once.hash, once.events, once.time),
            (twice.hash, twice.events, twice.time),
            "seed {seed}"
        );
    }
}

#[test]
fn writing_down_what_happens_changes_nothing() {
    let scenario = Scenario::from_seed(5);
    assert_eq!(scenario.run().hash, scenario.run_watched(None).hash);
}
