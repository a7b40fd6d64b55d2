#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use super::*;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn partitions(count: u32) -> Vec<Partition> {
    (0..count).map(Partition).collect()
}

fn repair(members: u8, count: u32) -> Repair {
    let shared = (1..=members).map(|n| (peer(n), partitions(count)));
    Repair::new(RepairId(7), None, shared, Duration::from_secs(1))
}

/// A session about `slice` that ended so, with this outcome for each.
fn report(end: End, slice: &[Partition], outcome: Outcome) -> Report {
    let progress =
        Progress { items_covered: 10, records_pulled: 1, bytes_pulled: 100, ..Progress::default() };
    let outcomes = slice.iter().map(|p| (*p, outcome)).collect();
    Report { end, outcomes, left: Vec::new(), progress }
}

fn told(repair: &Repair) -> Told {
    repair.tell(Duration::from_secs(3), |_| None)
}

fn states(repair: &Repair) -> Vec<RepairState> {
    told(repair).members.iter().map(|member| member.state).collect()
}

#[test]
fn every_shared_partition_is_compared_once_with_each_member_in_slices() {
    let mut repair = repair(2, 1_200);
    let all = partitions(1_200);
    let mut seen: BTreeMap<PeerId, Vec<Partition>> = BTreeMap::new();
    let mut sessions = 0;
    while let Some((peer, slice)) = repair.next(|_| Some(all.clone())) {
        assert!(slice.len() <= SLICE_PARTITIONS);
        assert!(repair.next(|other| (*other == peer).then(|| all.clone())).is_none(), "one at a time");
        repair.on_session(&peer, &report(End::Complete, &slice, Outcome::InSync));
        seen.entry(peer).or_default().extend(slice);
        sessions += 1;
    }
    assert!(repair.is_over());
    assert_eq!(sessions, 2 * 1_200_usize.div_ceil(SLICE_PARTITIONS));
    for mut compared in seen.into_values() {
        compared.sort();
        assert_eq!(compared, all);
    }
    let told = told(&repair);
    assert_eq!((told.elapsed_ms, told.keys_compared, told.records_pulled), (2_000, 60, 6));
    assert!(told.members.iter().all(|m| (m.partitions, m.compared) == (1_200, 1_200)));
}

#[test]
fn two_members_are_not_asked_for_the_same_at_once() {
    let mut repair = repair(2, 1_200);
    let all = partitions(1_200);
    let (one, first) = repair.next(|_| Some(all.clone())).unwrap();
    let (other, second) = repair.next(|_| Some(all.clone())).unwrap();
    assert_ne!(one, other);
    assert!(first.iter().all(|p| !second.contains(p)), "{first:?} {second:?}");
}

#[test]
fn a_repair_of_one_partition_is_with_those_that_have_it() {
    let shared = [(peer(1), partitions(9)), (peer(2), partitions(5))];
    let mut repair = Repair::new(RepairId(7), Some(Partition(7)), shared.into_iter(), Duration::ZERO);
    assert_eq!(repair.next(|_| Some(partitions(9))), Some((peer(1), vec![Partition(7)])));
    assert_eq!(told(&repair).members.len(), 1);
    assert!(repair.covers(Some(Partition(7))) && !repair.covers(Some(Partition(8))) && !repair.covers(None));
    let nobody = Repair::new(RepairId(7), Some(Partition(9)), [].into_iter(), Duration::ZERO);
    assert!(nobody.is_over());
}

#[test]
fn what_is_not_shared_any_more_does_not_count() {
    let mut repair = repair(1, 10);
    let (_, slice) = repair.next(|_| Some(partitions(6))).unwrap();
    assert_eq!(slice, partitions(6));
    let mut report = report(End::Complete, &slice, Outcome::Moved { pulled: 1, pushed: 0 });
    report.outcomes.insert(Partition(0), Outcome::Stale);
    repair.on_session(&peer(1), &report);
    let member = told(&repair).members[0];
    assert_eq!((member.partitions, member.compared, member.state), (5, 5, RepairState::Through));
}

#[test]
fn a_member_that_is_away_for_long_is_given_up_and_the_others_are_not() {
    let mut repair = repair(2, 10);
    let away = |n| move |other: &PeerId| *other == peer(n);
    let free = |other: &PeerId| (*other != peer(1)).then(|| partitions(10));
    repair.look(away(1));
    repair.look(away(1));
    let (other, slice) = repair.next(free).unwrap();
    assert_eq!(other, peer(2));
    // That one answers no look, it compares.
    repair.look(away(2));
    assert_eq!(states(&repair), [RepairState::Waiting, RepairState::Comparing]);
    repair.look(away(1));
    assert_eq!(states(&repair), [RepairState::Unreachable, RepairState::Comparing]);
    repair.on_session(&other, &report(End::Complete, &slice, Outcome::InSync));
    assert!(repair.is_over());
    assert_eq!(states(&repair), [RepairState::Unreachable, RepairState::Through]);
}

#[test]
fn a_session_that_fails_is_tried_again_after_a_look_and_not_for_ever() {
    for (end, state) in [(End::Lost, RepairState::Unreachable), (End::Refused, RepairState::Failed)] {
        let mut repair = repair(1, 10);
        let fails = |repair: &mut Repair, end| {
            let (peer, slice) = repair.next(|_| Some(partitions(10))).unwrap();
            let mut report = report(end, &slice, Outcome::Unfinished);
            report.outcomes.insert(slice[0], Outcome::InSync);
            repair.on_session(&peer, &report);
        };
        fails(&mut repair, end);
        assert_eq!(repair.next(|_| Some(partitions(10))), None, "not before a look");
        repair.look(|_| false);
        let (one, slice) = repair.next(|_| Some(partitions(10))).unwrap();
        assert_eq!(slice.len(), 9, "what was compared stays so");
        repair.on_session(&one, &report(End::Complete, &slice, Outcome::InSync));
        assert_eq!(states(&repair), [RepairState::Through]);

        let mut repair = self::repair(1, 10);
        for _ in 0..FAILURES_MAX {
            assert!(!repair.is_over());
            fails(&mut repair, end);
            repair.look(|_| false);
        }
        assert_eq!(states(&repair), [state]);
        let member = told(&repair).members[0];
        assert_eq!((member.partitions, member.compared), (10, u32::from(FAILURES_MAX)));
    }
}

#[test]
fn what_a_session_under_way_has_done_counts() {
    let mut repair = repair(2, 10);
    let (one, _) = repair.next(|_| Some(partitions(10))).unwrap();
    let done = Progress { items_covered: 5, records_pushed: 2, bytes_pushed: 64, ..Progress::default() };
    let told = repair.tell(Duration::from_secs(2), |peer| (*peer == one).then_some((done, 4)));
    assert_eq!((told.keys_compared, told.records_pushed, told.bytes_pushed), (5, 2, 64));
    let compared: Vec<u32> = told.members.iter().map(|m| m.compared).collect();
    assert_eq!(compared, [6, 0]);
    assert!(!told.is_over());
}
