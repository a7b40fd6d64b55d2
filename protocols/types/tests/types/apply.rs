//! Applying writes: what is refused, what is repeated, what is remembered, what is live.

use bytes::Bytes;
use henge_types::codec::Stored;
use henge_types::limits::{
    CLOCK_MAX, OPERATION_TTL_MS, OPERATIONS_MAX, RECORD_MAX_BYTES, SIBLINGS_MAX, VALUE_MAX_BYTES,
};
use henge_types::{ActorId, Applied, Clock, Content, Dot, Record, Write, WriteError};

use crate::common::{NOW, clock, dot, dots, merged, operation, put, refused, value, write};

/// The n-th of many actors.
fn many(number: u32) -> ActorId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ActorId(id)
}

fn of_many(numbers: std::ops::Range<u32>) -> Clock {
    numbers.map(|number| Dot { actor: many(number), counter: 1 }).collect()
}

#[test]
fn a_hundred_siblings_are_the_most() {
    let mut record = Record::new();
    for counter in 1..=SIBLINGS_MAX as u64 {
        put(&mut record, dot(1, counter), &clock([]), counter as u32);
    }
    let blind = write(dot(1, 101), &clock([]), 101);
    assert_eq!(refused(&mut record, &blind), WriteError::TooManySiblings { siblings: SIBLINGS_MAX });
    // A context that supersedes one makes room for one.
    put(&mut record, dot(1, 101), &clock([(1, 1)]), 101);
    assert_eq!(record.siblings().len(), SIBLINGS_MAX);
    let seen = record.clock().clone();
    put(&mut record, dot(1, 102), &seen, 102);
    assert_eq!(dots(&record), [dot(1, 102)]);
}

#[test]
fn a_full_clock_refuses_puts() {
    let last = CLOCK_MAX as u32 - 1;
    let mut record = Record::new();
    put(&mut record, Dot { actor: many(last), counter: 1 }, &of_many(0..last), 1);
    assert_eq!(record.clock().len(), CLOCK_MAX);
    for actor in [many(0), many(last), many(9999)] {
        let write = write(Dot { actor, counter: 2 }, record.clock(), 2);
        assert_eq!(refused(&mut record, &write), WriteError::ClockFull { entries: CLOCK_MAX });
    }
}

#[test]
fn a_context_lifts_no_clock_over_its_limit() {
    let last = CLOCK_MAX as u32 - 1;
    let mut record = Record::new();
    put(&mut record, dot(255, 1), &of_many(0..10), 1);
    // 11 entries known, `last` in the context, and a new actor or one of those.
    let new = write(Dot { actor: many(last), counter: 1 }, &of_many(0..last), 2);
    assert_eq!(refused(&mut record, &new), WriteError::ClockFull { entries: 11 });
    put(&mut record, dot(255, 2), &of_many(0..last), 2);
    assert_eq!(record.clock().len(), CLOCK_MAX);
}

#[test]
fn a_record_stays_under_four_mebibytes() {
    let mut record = Record::new();
    let big = |counter: u64| Write {
        content: Content::Value(Bytes::from(vec![7; VALUE_MAX_BYTES])),
        ..write(dot(1, counter), &clock([]), counter as u32)
    };
    for counter in 1..=3 {
        assert_eq!(record.apply(&big(counter)), Ok(Applied::Written));
    }
    let WriteError::TooLarge { bytes } = refused(&mut record, &big(4)) else { panic!("another error") };
    assert!(bytes > RECORD_MAX_BYTES);
    assert!(record.to_stored().unwrap().len() <= RECORD_MAX_BYTES);
    let one = Write { supersede: clock([(1, 1)]), ..big(4) };
    assert_eq!(record.apply(&one), Ok(Applied::Written), "one out, one in");
}

#[test]
fn a_newer_dot_of_its_own_reveals_a_store_that_was_rolled_back() {
    let mut record = Record::new();
    put(&mut record, dot(1, 5), &clock([]), 1);
    for used in [0, 4, 5] {
        let again = write(dot(1, used), &clock([]), 2);
        assert_eq!(refused(&mut record, &again), WriteError::RolledBack);
    }
    // A reader saw the sixth write of this actor, which this store does not have.
    let missing = write(dot(1, 9), &clock([(1, 6)]), 2);
    assert_eq!(refused(&mut record, &missing), WriteError::RolledBack);
    // The same put by a new actor of that peer goes through, and supersedes what was seen.
    put(&mut record, dot(2, 9), &clock([(1, 6)]), 2);
    assert_eq!(dots(&record), [dot(2, 9)]);
    let unused = write(dot(3, 0), &clock([]), 3);
    assert_eq!(refused(&mut record, &unused), WriteError::RolledBack, "dots count from 1");
}

#[test]
fn a_retry_changes_nothing_here_or_elsewhere() {
    let mut here = Record::new();
    put(&mut here, dot(1, 1), &clock([]), 1);
    let mut there = merged(&Record::new(), &here);
    for record in [&mut here, &mut there] {
        let before = record.clone();
        let retry = write(dot(2, 1), &clock([]), 1);
        assert_eq!(record.apply(&retry), Ok(Applied::Repeated(dot(1, 1))));
        assert_eq!(*record, before);
    }
    // Also when the first try has been superseded since.
    put(&mut here, dot(1, 2), &clock([(1, 1)]), 2);
    assert_eq!(here.apply(&write(dot(1, 3), &clock([]), 1)), Ok(Applied::Repeated(dot(1, 1))));
    assert_eq!(dots(&here), [dot(1, 2)]);
    assert_eq!(here.find_operation(&operation(1)), Some(dot(1, 1)));
    assert_eq!(here.find_operation(&operation(3)), None);
}

/// A record after `count` puts, each superseding the last, by actor 1.
fn after(count: u32) -> Record {
    let mut record = Record::new();
    for number in 1..=count {
        let seen = record.clock().clone();
        put(&mut record, dot(1, number.into()), &seen, number);
    }
    record
}

#[test]
fn the_last_32_operations_are_remembered() {
    let record = after(OPERATIONS_MAX as u32 + 1);
    assert_eq!(record.find_operation(&operation(1)), None);
    assert_eq!(record.find_operation(&operation(2)), Some(dot(1, 2)));
    let both = merged(&record, &after(10));
    assert_eq!(both, record, "what was forgotten here does not push out what is newer");
}

#[test]
fn operations_are_remembered_for_ten_minutes() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([]), 1);
    let written = NOW + 1;
    let at =
        |written_at, number: u32| Write { written_at, ..write(dot(1, number.into()), &clock([]), number) };
    record.apply(&at(written + OPERATION_TTL_MS - 1, 2)).unwrap();
    assert_eq!(record.find_operation(&operation(1)), Some(dot(1, 1)));
    record.apply(&at(written + OPERATION_TTL_MS, 3)).unwrap();
    assert_eq!(record.find_operation(&operation(1)), Some(dot(1, 1)), "it is a sibling");
    record.apply(&Write { supersede: clock([(1, 1)]), ..at(written + OPERATION_TTL_MS, 4) }).unwrap();
    assert_eq!(record.find_operation(&operation(1)), None);
    assert_eq!(record.find_operation(&operation(2)), Some(dot(1, 2)));
}

#[test]
fn a_coordinator_with_a_slow_clock_remembers_its_own_writes() {
    let mut record = after(OPERATIONS_MAX as u32 + 8);
    let late = Write { written_at: NOW - 60_000, ..write(dot(2, 1), &clock([]), 99) };
    assert_eq!(record.apply(&late), Ok(Applied::Written));
    assert_eq!(record.apply(&Write { dot: dot(2, 2), ..late }), Ok(Applied::Repeated(dot(2, 1))));
}

#[test]
fn an_operation_of_a_broken_clock_is_not_remembered_for_ever() {
    let mut record = Record::new();
    let ahead = Write { written_at: u64::MAX, ..write(dot(1, 1), &clock([]), 1) };
    record.apply(&ahead).unwrap();
    put(&mut record, dot(1, 2), &clock([(1, 1)]), 2);
    assert_eq!(record.find_operation(&operation(1)), None);
    assert_eq!(record.find_operation(&operation(2)), Some(dot(1, 2)));
}

#[test]
fn an_expired_value_reads_as_a_tombstone_and_keeps_its_dot_and_digest() {
    let mut record = Record::new();
    let expiring = Write { expires_at: Some(NOW + 500), ..write(dot(1, 1), &clock([]), 1) };
    record.apply(&expiring).unwrap();
    let digest = record.digest();
    assert_eq!(record.live(NOW + 499).count(), 1);
    assert_eq!(record.live(NOW + 500).count(), 0, "the moment of expiry is expired");
    assert_eq!(record.siblings()[0].live(NOW + 500), None);
    assert_eq!(dots(&record), [dot(1, 1)]);
    assert_eq!(record.digest(), digest);
    // It goes on superseding what it superseded.
    let mut old = Record::new();
    put(&mut old, dot(2, 1), &clock([]), 2);
    let mut over = old.clone();
    over.apply(&Write { supersede: clock([(2, 1)]), ..expiring }).unwrap();
    assert_eq!(merged(&old, &over).live(NOW + 500).count(), 0);
}

#[test]
fn a_tombstone_is_no_value_but_a_sibling() {
    let mut record = after(1);
    record.apply(&Write { content: Content::Tombstone, ..write(dot(1, 2), &clock([(1, 1)]), 2) }).unwrap();
    assert_eq!(record.live(NOW).count(), 0);
    assert_eq!(dots(&record), [dot(1, 2)]);
    assert!(!record.is_empty());
    // A write that did not see the deletion stays beside it.
    put(&mut record, dot(2, 1), &clock([]), 3);
    let live: Vec<_> = record.live(NOW).map(|(sibling, bytes)| (sibling.dot, bytes.clone())).collect();
    assert_eq!(live, [(dot(2, 1), Bytes::from("value 3"))]);
}

#[test]
fn a_retry_taken_for_a_new_write_elsewhere_shows_once() {
    let [mut here, mut there] = [Record::new(), Record::new()];
    put(&mut here, dot(1, 1), &clock([]), 1);
    put(&mut there, dot(2, 1), &clock([]), 1);
    put(&mut there, dot(2, 2), &clock([]), 2);
    let both = merged(&here, &there);
    assert_eq!(both.siblings().len(), 3);
    let live: Vec<_> = both.live(NOW).map(|(sibling, _)| sibling.dot).collect();
    assert_eq!(live, [dot(1, 1), dot(2, 2)]);
}

#[test]
fn the_later_expiry_of_two_tries_counts() {
    let tried = |number: u8, expires_at| {
        let mut record = Record::new();
        record
            .apply(&Write { expires_at: Some(expires_at), ..write(dot(number, 1), &clock([]), 1) })
            .unwrap();
        record
    };
    let both = merged(&tried(1, NOW + 100), &tried(2, NOW + 200));
    let live: Vec<_> = both.live(NOW + 150).map(|(sibling, _)| sibling.dot).collect();
    assert_eq!(live, [dot(2, 1)]);
}

#[test]
fn the_digest_speaks_of_siblings_and_clock_and_not_of_operations() {
    let base = after(2);
    let digest_of = |change: &dyn Fn(&mut Write)| {
        let mut record = base.clone();
        let mut write = write(dot(1, 3), base.clock(), 3);
        change(&mut write);
        record.apply(&write).unwrap();
        record.digest()
    };
    let digests = [
        base.digest(),
        digest_of(&|_| {}),
        digest_of(&|w| w.content = value("value 4")),
        digest_of(&|w| w.content = Content::Tombstone),
        digest_of(&|w| w.content = value("")),
        digest_of(&|w| w.written_at += 1),
        digest_of(&|w| w.expires_at = Some(0)),
        digest_of(&|w| w.expires_at = Some(1)),
        digest_of(&|w| w.operation = operation(4)),
        digest_of(&|w| w.dot = dot(1, 4)),
        digest_of(&|w| w.supersede = clock([])),
        digest_of(&|w| w.supersede.advance(dot(9, 1))),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "digest {at} is one of the earlier ones");
    }
    // The same write on a replica that never had what it supersedes, nor its operation.
    let over = write(dot(2, 1), base.clock(), 5);
    let [mut here, mut there] = [base, Record::new()];
    here.apply(&over).unwrap();
    there.apply(&over).unwrap();
    assert_ne!(here, there);
    assert_eq!(here.digest(), there.digest());
}
