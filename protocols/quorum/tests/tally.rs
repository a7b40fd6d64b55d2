//! The tally against a model that tries out everything that may still happen.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use henge_quorum::{Tally, Verdict};
use henge_types::voters::ReadNeed;
use henge_types::{Custody, Incarnation, Partition, PeerId, RingId, Voter, Voters};
use libp2p_identity::Keypair;
use proptest::prelude::*;

const CUSTODIES: [Custody; 3] = [Custody::None, Custody::Part, Custody::Full];

fn peer(number: usize) -> PeerId {
    let seed = u8::try_from(number + 1).unwrap();
    Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id()
}

fn voters(custodies: &[Custody]) -> Voters {
    let voter = |(number, custody): (usize, &Custody)| Voter {
        peer: peer(number),
        incarnation: Incarnation(1),
        owner: true,
        custody: *custody,
    };
    Voters::new(RingId([1; 16]), Partition(0), custodies.iter().enumerate().map(voter).collect())
}

/// Whether these answers are enough.
fn enough(need: ReadNeed, custodies: &[Custody], answered: impl Fn(usize) -> bool) -> bool {
    let answers: Vec<_> = custodies.iter().enumerate().filter(|(at, _)| answered(*at)).collect();
    let full = answers.iter().filter(|(_, custody)| **custody == Custody::Full).count();
    answers.len() >= need.answers && full >= need.full
}

/// `heard` has, for each voter, whether its answer counted, or nothing while it is waited for.
fn model(need: ReadNeed, custodies: &[Custody], heard: &[Option<bool>]) -> (bool, bool) {
    let met = enough(need, custodies, |at| heard.get(at).copied().flatten() == Some(true));
    let may_be_met = (0_u32..1 << custodies.len()).any(|future| {
        enough(need, custodies, |at| heard.get(at).copied().flatten().unwrap_or(future >> at & 1 == 1))
    });
    (met, may_be_met)
}

#[derive(Debug, Clone)]
struct Case {
    custodies: Vec<Custody>,
    need: ReadNeed,
    /// Who speaks, and whether it counts; also strangers, and voters who spoke before.
    words: Vec<(usize, bool)>,
}

fn case() -> impl Strategy<Value = Case> {
    let custodies = prop::collection::vec(prop::sample::select(&CUSTODIES[..]), 0..7);
    let words = prop::collection::vec((0_usize..8, any::<bool>()), 0..16);
    (custodies, 0_usize..6, 0_usize..4, words).prop_map(|(custodies, answers, full, words)| Case {
        custodies,
        need: ReadNeed { answers, full },
        words,
    })
}

proptest! {
    /// Met as soon as it is, failed as soon as nothing that may still come can help.
    #[test]
    fn the_verdict_is_that_of_every_possible_future(case in case()) {
        let mut tally = Tally::read(&voters(&case.custodies), case.need);
        let mut heard = vec![None; case.custodies.len()];
        for (number, counts) in case.words {
            tally.add(&peer(number), counts);
            if let Some(word) = heard.get_mut(number) {
                word.get_or_insert(counts);
            }
            let (met, may_be_met) = model(case.need, &case.custodies, &heard);
            let got = heard.iter().filter(|word| **word == Some(true)).count();
            match tally.verdict() {
                Verdict::Met => prop_assert!(met),
                Verdict::Pending => prop_assert!(!met && may_be_met),
                Verdict::Failed { needed, got: told } => {
                    prop_assert!(!may_be_met);
                    prop_assert_eq!(told, got);
                    prop_assert!(needed > got, "{} needed, {} came", needed, got);
                }
            }
            prop_assert_eq!(tally.got(), got);
            let waiting: Vec<_> = tally.waiting().collect();
            let unheard = heard.iter().enumerate().filter(|(_, word)| word.is_none());
            prop_assert_eq!(waiting, unheard.map(|(at, _)| peer(at)).collect::<Vec<_>>());
        }
    }

    /// A verdict that was given is never taken back, and the order of the answers is nothing to it.
    #[test]
    fn a_verdict_stays_and_the_order_does_not_matter(case in case()) {
        let voters = voters(&case.custodies);
        let mut seen = std::collections::BTreeSet::new();
        let mut words = case.words;
        words.retain(|(number, _)| seen.insert(*number));
        let (mut forwards, mut backwards) = (Tally::read(&voters, case.need), Tally::read(&voters, case.need));
        let mut last = forwards.verdict();
        for (number, counts) in &words {
            forwards.add(&peer(*number), *counts);
            let verdict = forwards.verdict();
            match last {
                Verdict::Pending => {}
                Verdict::Met => prop_assert_eq!(verdict, Verdict::Met),
                Verdict::Failed { .. } => {
                    let failed = matches!(verdict, Verdict::Failed { .. });
                    prop_assert!(failed);
                }
            }
            last = verdict;
        }
        for (number, counts) in words.iter().rev() {
            backwards.add(&peer(*number), *counts);
        }
        prop_assert_eq!(backwards.verdict(), last);
    }

    /// Asking those that [`Tally::missing`] counts, and no fewer, can be enough.
    #[test]
    fn what_is_missing_is_what_would_be_enough(case in case()) {
        let mut tally = Tally::read(&voters(&case.custodies), case.need);
        for (number, counts) in case.words {
            tally.add(&peer(number), counts);
        }
        let missing = tally.missing();
        prop_assert!(missing.answers >= missing.full);
        prop_assert_eq!(missing.answers == 0, tally.verdict() == Verdict::Met);
        let waiting: Vec<_> = tally.waiting().collect();
        let (full, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|p| tally.is_full(p));
        let chosen = full.iter().take(missing.full).chain(others.iter().chain(full.iter().skip(missing.full)));
        let mut asked = tally.clone();
        chosen.take(missing.answers).for_each(|peer| asked.add(peer, true));
        let possible = !matches!(tally.verdict(), Verdict::Failed { .. });
        prop_assert_eq!(asked.verdict() == Verdict::Met, possible);
    }
}

#[test]
fn two_of_three_is_met_by_any_two_and_failed_by_any_two() {
    let three = voters(&[Custody::Full; 3]);
    let mut tally = Tally::write(&three, 2);
    tally.add(&peer(2), true);
    assert_eq!(tally.verdict(), Verdict::Pending);
    tally.add(&peer(0), false);
    assert_eq!(tally.verdict(), Verdict::Pending);
    let mut lost = tally.clone();
    tally.add(&peer(1), true);
    assert_eq!(tally.verdict(), Verdict::Met);
    lost.add(&peer(1), false);
    assert_eq!(lost.verdict(), Verdict::Failed { needed: 2, got: 1 });
}

#[test]
fn a_second_answer_of_one_peer_and_the_answer_of_a_stranger_change_nothing() {
    let mut tally = Tally::write(&voters(&[Custody::Full; 3]), 2);
    tally.add(&peer(0), true);
    tally.add(&peer(0), true);
    tally.add(&peer(7), true);
    assert_eq!((tally.verdict(), tally.got()), (Verdict::Pending, 1));
    tally.add(&peer(1), false);
    tally.add(&peer(1), true);
    assert_eq!((tally.verdict(), tally.got()), (Verdict::Pending, 1));
}

/// Design: a write needs one ack from a full voter, a newcomer's alone do not do.
#[test]
fn acks_without_a_full_voter_are_no_quorum_and_the_reply_says_one_more_is_needed() {
    let mut tally = Tally::write(&voters(&[Custody::Part, Custody::Part, Custody::Full]), 2);
    tally.add(&peer(0), true);
    tally.add(&peer(1), true);
    assert_eq!((tally.verdict(), tally.needed()), (Verdict::Pending, 3));
    tally.add(&peer(2), false);
    assert_eq!(tally.verdict(), Verdict::Failed { needed: 3, got: 2 });
}

#[test]
fn more_answers_than_there_are_voters_can_never_come() {
    let tally = Tally::read(&voters(&[Custody::Full; 2]), ReadNeed { answers: 3, full: 2 });
    assert_eq!(tally.verdict(), Verdict::Failed { needed: 3, got: 0 });
    let nobody = Tally::write(&voters(&[]), 1);
    assert_eq!(nobody.verdict(), Verdict::Failed { needed: 1, got: 0 });
}
