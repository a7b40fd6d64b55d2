#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn connection(id: usize) -> ConnectionId {
    ConnectionId::new_unchecked(id)
}

/// A link with connections 1 to `count`, all established, and the counts of how often each was woken.
fn link(config: Config, count: usize) -> (Link, Vec<Arc<Count>>) {
    let link = Link::new(PeerId::random(), Arc::new(config));
    let wakes: Vec<_> = (0..count).map(|_| Arc::new(Count::default())).collect();
    for (id, count) in (1..).zip(&wakes) {
        let mut state = link.lock();
        state.add_lane(connection(id));
        state.establish(connection(id));
        state.enter(connection(id), &count.clone().into());
    }
    (link, wakes)
}

fn woken(wakes: &[Arc<Count>]) -> Vec<usize> {
    wakes.iter().map(|count| count.0.load(Ordering::Relaxed)).collect()
}

#[test]
fn a_burst_of_requests_is_one_wake_of_the_chosen_connection() {
    let (link, wakes) = link(Config::default(), 2);
    for id in 1..=10 {
        link.lock().enqueue(id, b"frame");
    }
    // Being retired woke the first one.
    assert_eq!(woken(&wakes), [1, 1]);
    assert!(link.lock().enter(connection(2), &wakes.last().unwrap().clone().into()));
    link.lock().enqueue(11, b"frame");
    assert_eq!(woken(&wakes), [1, 2]);
}

#[test]
fn the_bound_on_unanswered_requests_is_shared_by_all_connections_of_a_peer() {
    let (link, wakes) = link(Config::default().with_max_inbound_in_flight(2), 2);
    let epoch = link.begin_inbound(connection(1));
    link.begin_inbound(connection(2));
    link.admit(connection(1), 2, 100);
    assert_eq!(link.room(connection(2)).requests, 0);
    // An answer on the first connection lets the second one read on.
    assert_eq!(link.answer(connection(1), epoch, 50, 1, b"frame"), Delivery::Accepted);
    assert_eq!(woken(&wakes), [1, 1]);
    assert_eq!(link.room(connection(2)).requests, 1);
}

#[test]
fn an_answer_to_an_earlier_substream_goes_nowhere_and_still_makes_room() {
    let (link, _) = link(Config::default(), 1);
    let old = link.begin_inbound(connection(1));
    link.admit(connection(1), 1, 100);
    assert_eq!(link.end_inbound(connection(1)), 1);
    let new = link.begin_inbound(connection(1));
    assert_ne!(old, new);
    assert!(!link.is_open(connection(1), old) && link.is_open(connection(1), new));
    assert_eq!(link.answer(connection(1), old, 100, 1, b"frame"), Delivery::Closed);
    let mut out = Vec::new();
    link.take_responses(connection(1), &mut out);
    assert_eq!((out.len(), link.lock().unanswered()), (0, 0));
}

#[test]
fn a_connection_that_failed_to_open_is_used_again_when_it_is_the_last() {
    let (link, _) = link(Config::default(), 2);
    let mut state = link.lock();
    state.enqueue(1, b"frame");
    state.block(connection(2));
    assert!(state.fail_over(connection(2)));
    let removed = state.remove_lane(connection(1));
    assert!(!removed.stranded);
    assert!(state.enter(connection(2), Waker::noop()));
}

#[test]
fn with_every_connection_failing_nothing_takes_over_and_later_requests_try_again() {
    let (link, _) = link(Config::default(), 2);
    let mut state = link.lock();
    state.enqueue(1, b"frame");
    state.block(connection(2));
    assert!(state.fail_over(connection(2)));
    state.block(connection(1));
    assert!(!state.fail_over(connection(1)));
    assert_eq!(state.give_up(), 1);
    state.enqueue(2, b"frame");
    assert!(state.enter(connection(2), Waker::noop()));
}

#[test]
fn responses_that_nobody_reads_are_bounded_and_stop_the_reading() {
    let (link, _) = link(Config::default().with_max_queued_bytes_per_peer(200_000), 1);
    let epoch = link.begin_inbound(connection(1));
    let frame = vec![0; 90_000];
    assert_eq!(link.answer(connection(1), epoch, 0, 1, &frame), Delivery::Accepted);
    assert!(link.room(connection(1)).requests > 0);
    assert_eq!(link.answer(connection(1), epoch, 0, 2, &frame), Delivery::Accepted);
    assert_eq!(link.room(connection(1)).requests, 0);
    assert_eq!(link.answer(connection(1), epoch, 0, 3, &frame), Delivery::Overloaded { waiting: 180_000 });
    let mut out = Vec::new();
    link.take_responses(connection(1), &mut out);
    assert!(out.len() < 180_100 && link.room(connection(1)).requests > 0);
}
