//! Reads of three voters with R = 2, and who is asked in the place of those that are away.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use bytes::Bytes;
use henge_types::{ActorId, Clock, Dot, Incarnation, OperationId, Partition, RingId, Voter, Write};

use super::*;

const NEED: ReadNeed = ReadNeed { answers: 2, full: 2 };

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn voters() -> Voters {
    let voter = |n| Voter { peer: peer(n), incarnation: Incarnation(1), owner: true, custody: Custody::Full };
    Voters::new(RingId([1; 16]), Partition(0), (1..4).map(voter).collect())
}

fn record(counter: u64, content: Content) -> Record {
    let mut record = Record::new();
    let dot = |n: u64| Dot { actor: ActorId([u8::try_from(n).unwrap(); 16]), counter: 1 };
    let operation = OperationId([u8::try_from(counter).unwrap(); 16]);
    let (supersede, dot) = ((1..counter).map(dot).collect::<Clock>(), dot(counter));
    record.apply(&Write { dot, supersede, content, written_at: 1, expires_at: None, operation }).unwrap();
    record
}

fn value(counter: u64) -> Record {
    record(counter, Content::Value(Bytes::from_static(b"blue")))
}

fn start(reachable: &[u8], late: &[u8], rule: Rule) -> (Get, Vec<Ask>) {
    let order: Vec<PeerId> = reachable.iter().map(|n| peer(*n)).collect();
    let late = late.iter().map(|n| peer(*n)).collect();
    let fallbacks: &[PeerId] = if rule == Rule::Strict { &[] } else { &[peer(11), peer(12), peer(13)] };
    Get::start(&voters(), NEED, &order, late, rule, fallbacks)
}

fn whole(n: u8) -> Ask {
    Ask::Voter { peer: peer(n), want: Want::Record }
}

fn digest(n: u8) -> Ask {
    Ask::Voter { peer: peer(n), want: Want::Digest }
}

fn hint(n: u8) -> Ask {
    Ask::Hint { peer: peer(n) }
}

fn counts(outcome: &Outcome) -> (usize, usize) {
    let Outcome::Done { answers, hinted, .. } = outcome else { panic!("{outcome:?}") };
    (*answers, *hinted)
}

// What was read, and who has less.
fn merged(outcome: &Outcome) -> (RecordDigest, Vec<PeerId>) {
    let Outcome::Done { record, behind, .. } = outcome else { panic!("{outcome:?}") };
    (record.digest(), behind.clone())
}

#[test]
fn healthy_voters_are_asked_and_nobody_else() {
    let (mut get, asks) = start(&[1, 2, 3], &[], Rule::Sloppy);
    assert_eq!(asks, [whole(1), digest(2)]);
    assert_eq!(get.on_answer(peer(1), value(2)), []);
    assert_eq!(get.outcome(), Outcome::Pending);
    assert_eq!(get.on_answer(peer(2), value(1).digest()), [whole(2)], "no record explains its digest");
    assert_eq!(get.on_answer(peer(2), value(1)), []);
    let outcome = get.outcome();
    assert_eq!(counts(&outcome), (2, 0));
    assert_eq!(merged(&outcome), (value(2).digest(), vec![peer(2)]));
}

#[test]
fn with_one_voter_away_the_other_two_suffice() {
    let (_, asks) = start(&[2, 3], &[], Rule::Sloppy);
    assert_eq!(asks, [whole(2), digest(3)]);
}

#[test]
fn stand_ins_that_keep_the_key_count_like_the_voters_that_are_away() {
    let (mut get, asks) = start(&[3], &[], Rule::Sloppy);
    assert_eq!(asks, [whole(3), hint(11), hint(12)]);
    get.on_answer(peer(3), value(1));
    assert_eq!(get.outcome(), Outcome::Pending);
    get.on_hint(peer(12), Ok(Some(value(2))), &[]);
    let outcome = get.outcome();
    assert_eq!(counts(&outcome), (2, 1));
    assert_eq!(merged(&outcome), (value(2).digest(), vec![peer(3)]));
}

#[test]
fn what_everybody_knows_that_is_left_is_the_answer_of_a_sloppy_read_only() {
    let (mut get, _) = start(&[3], &[], Rule::Sloppy);
    get.on_hint(peer(11), Ok(None), &[]);
    get.on_answer(peer(3), value(1));
    assert_eq!(get.outcome(), Outcome::Pending, "a stand-in may know more");
    assert_eq!(get.on_hint(peer(12), Err(()), &[peer(11), peer(12), peer(13)]), [hint(13)]);
    get.on_hint(peer(13), Ok(None), &[]);
    assert_eq!(counts(&get.outcome()), (1, 0));

    let (mut get, asks) = start(&[3], &[], Rule::Strict);
    assert_eq!(asks, [whole(3)]);
    get.on_answer(peer(3), value(1));
    assert_eq!(get.outcome(), Outcome::Failed { needed: 2, got: 1, stale: false });
}

#[test]
fn without_a_full_voter_only_a_value_is_an_answer() {
    let (mut get, asks) = start(&[], &[], Rule::Sloppy);
    assert_eq!(asks, [hint(11), hint(12), hint(13)]);
    get.on_hint(peer(11), Ok(Some(record(1, Content::Tombstone))), &[]);
    get.on_hint(peer(12), Ok(Some(record(1, Content::Tombstone))), &[]);
    get.on_hint(peer(13), Ok(None), &[]);
    assert_eq!(get.outcome(), Outcome::Failed { needed: 2, got: 2, stale: false });

    let (mut get, _) = start(&[], &[], Rule::Sloppy);
    get.on_hint(peer(11), Ok(Some(value(1))), &[]);
    get.on_hint(peer(12), Ok(Some(value(2))), &[]);
    assert_eq!(counts(&get.outcome()), (2, 2));

    let (mut get, _) = start(&[], &[], Rule::BeforePut);
    for n in 11..14 {
        assert_eq!(get.outcome(), Outcome::Pending);
        get.on_hint(peer(n), Ok(None), &[]);
    }
    assert_eq!(counts(&get.outcome()), (0, 0), "a put goes on over nothing");
}

#[test]
fn late_voters_are_replaced_and_still_count_when_they_answer() {
    let (mut get, asks) = start(&[1, 2], &[], Rule::Sloppy);
    assert_eq!(asks, [whole(1), digest(2)]);
    get.on_answer(peer(2), value(1).digest());
    assert_eq!(
        get.on_late(BTreeSet::new(), &[peer(11), peer(12)]),
        [hint(11), hint(12)],
        "3 is lost, 1 is late"
    );
    assert_eq!(get.on_hint(peer(11), Ok(None), &[]), []);
    assert_eq!(get.outcome(), Outcome::Pending);
    get.on_answer(peer(1), value(1));
    assert_eq!(counts(&get.outcome()), (2, 0));

    // Known to be late from the start: others first, and nobody waits for it.
    let (mut get, asks) = start(&[2, 3, 1], &[1], Rule::Sloppy);
    assert_eq!(asks, [whole(2), digest(3)]);
    assert_eq!(get.on_lost(peer(3), false, &[peer(11), peer(12)]), [digest(1), hint(11), hint(12)]);
}

#[test]
fn a_get_does_not_fail_before_the_last_stand_in_that_was_asked_has_answered() {
    let all = [11, 12, 13];
    let (mut get, asks) = start(&[], &[], Rule::Sloppy);
    assert_eq!(asks, all.map(hint));
    assert_eq!(get.on_hint(peer(11), Ok(Some(value(1))), &all.map(peer)), []);
    assert_eq!(get.on_late(BTreeSet::new(), &all.map(peer)), []);
    get.on_hint(peer(13), Ok(None), &all.map(peer));
    assert_eq!(get.outcome(), Outcome::Pending);
    get.on_hint(peer(12), Ok(Some(value(1))), &[]);
    assert_eq!(counts(&get.outcome()), (2, 2));
}

#[test]
fn a_voter_that_sees_other_voters_makes_the_attempt_stale() {
    let (mut get, _) = start(&[1, 2], &[], Rule::Sloppy);
    get.on_answer(peer(1), value(1));
    get.on_lost(peer(2), true, &[peer(11)]);
    assert_eq!(get.outcome(), Outcome::Failed { needed: 2, got: 1, stale: true });
}
