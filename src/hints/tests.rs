#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const NOW: Duration = Duration::from_secs(100);
const RATE: u64 = 1_000_000;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn key(name: &'static str) -> Key {
    Key::new(name).unwrap()
}

fn delivery(primaries: &[u8]) -> Delivery {
    let mut delivery = Delivery::new(RATE);
    primaries.iter().for_each(|n| delivery.on_queue(peer(*n), NOW));
    delivery
}

fn read(n: u8, after: Option<Key>) -> Read {
    Read { primary: peer(n), after }
}

fn found(hints: usize, last: &'static str, more: bool) -> Found {
    Found { hints, bytes: 0, last: Some(key(last)), more }
}

const NOTHING: Found = Found { hints: 0, bytes: 0, last: None, more: false };

#[test]
fn a_queue_is_read_batch_by_batch_until_nothing_is_left() {
    let mut delivery = delivery(&[1]);
    assert_eq!(delivery.due(NOW, |_| true), [read(1, None)]);
    assert_eq!(delivery.due(NOW, |_| true), [], "one batch at a time");
    delivery.on_read(&peer(1), found(2, "b", true), NOW);
    delivery.on_settled(&peer(1), Settled::Done, NOW);
    assert_eq!(delivery.due(NOW, |_| true), []);
    delivery.on_settled(&peer(1), Settled::Done, NOW);
    assert_eq!(delivery.due(NOW, |_| true), [read(1, Some(key("b")))]);
    delivery.on_read(&peer(1), found(1, "c", false), NOW);
    delivery.on_settled(&peer(1), Settled::Done, NOW);
    assert_eq!(delivery.due(NOW, |_| true), [read(1, None)], "something may have come meanwhile");
    delivery.on_read(&peer(1), NOTHING, NOW);
    assert_eq!(delivery.primaries().count(), 0);
    assert_eq!(delivery.next_due(|_| true), None);
}

#[test]
fn who_is_not_ready_is_not_read_for() {
    let mut delivery = delivery(&[1, 2]);
    assert_eq!(delivery.due(NOW, |p| *p == peer(2)), [read(2, None)]);
    assert_eq!(delivery.next_due(|_| false), None);
    assert_eq!(delivery.next_due(|_| true), Some(NOW));
}

#[test]
fn what_is_kept_holds_up_nothing_and_is_tried_after_a_pause_that_grows() {
    let mut delivery = delivery(&[1]);
    let mut now = NOW;
    for pause in [PAUSE_MIN, PAUSE_MIN * 2, PAUSE_MIN * 4] {
        assert_eq!(delivery.due(now, |_| true), [read(1, None)]);
        delivery.on_read(&peer(1), found(1, "a", true), now);
        delivery.on_settled(&peer(1), Settled::Kept, now);
        assert_eq!(delivery.due(now, |_| true), [read(1, Some(key("a")))], "the others have their turn");
        delivery.on_read(&peer(1), found(1, "b", false), now);
        delivery.on_settled(&peer(1), Settled::Done, now);
        assert_eq!(delivery.due(now, |_| true), []);
        assert_eq!(delivery.next_due(|_| true), Some(now + pause));
        now += pause;
    }
    delivery.on_reachable(&peer(1), now - Duration::from_millis(1));
    assert_eq!(delivery.due(now, |_| true), [read(1, None)]);
}

#[test]
fn who_fails_is_left_alone_at_once_until_it_is_there_again() {
    let mut delivery = delivery(&[1, 2]);
    delivery.due(NOW, |_| true);
    delivery.on_read(&peer(1), found(2, "b", true), NOW);
    delivery.on_settled(&peer(1), Settled::Done, NOW);
    delivery.on_settled(&peer(1), Settled::Failed, NOW);
    delivery.on_read_failed(&peer(2), NOW);
    assert_eq!(delivery.due(NOW, |_| true), []);
    delivery.on_reachable(&peer(1), NOW);
    assert_eq!(delivery.due(NOW, |_| true), [read(1, None)]);
    assert_eq!(delivery.due(NOW + PAUSE_MIN, |_| true), [read(2, None)]);
}

#[test]
fn a_pass_that_ends_with_nothing_is_a_pass() {
    let mut delivery = delivery(&[1]);
    delivery.due(NOW, |_| true);
    delivery.on_read(&peer(1), found(1, "a", true), NOW);
    delivery.on_settled(&peer(1), Settled::Kept, NOW);
    assert_eq!(delivery.due(NOW, |_| true), [read(1, Some(key("a")))]);
    delivery.on_read(&peer(1), NOTHING, NOW);
    assert_eq!(delivery.next_due(|_| true), Some(NOW + PAUSE_MIN), "one was kept");
}

#[test]
fn all_primaries_share_one_rate() {
    let mut delivery = delivery(&[1, 2]);
    delivery.due(NOW, |_| true);
    let bytes = usize::try_from(RATE).unwrap();
    for n in [1, 2] {
        delivery.on_read(&peer(n), Found { bytes, ..found(1, "a", false) }, NOW);
        delivery.on_settled(&peer(n), Settled::Done, NOW);
    }
    let free = NOW + Duration::from_secs(2);
    assert_eq!(delivery.due(free - Duration::from_millis(1), |_| true), []);
    assert_eq!(delivery.next_due(|_| true), Some(free));
    assert_eq!(delivery.due(free, |_| true).len(), 2);
}
