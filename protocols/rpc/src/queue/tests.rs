#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::*;

/// A frame that can be told from others: its id, as often as its length says.
fn frame(id: u64, bytes: usize) -> Vec<u8> {
    vec![id as u8; bytes]
}

fn filled(ids: std::ops::RangeInclusive<u64>, bytes: usize) -> Queue {
    let mut queue = Queue::default();
    for id in ids {
        queue.push(id, &frame(id, bytes));
    }
    queue
}

#[test]
fn frames_leave_in_order_and_within_both_limits() {
    let mut queue = filled(1..=5, 10);
    let mut out = Vec::new();
    assert_eq!(queue.take(&mut out, 2, 1000), 2);
    assert_eq!(
        (out.as_slice(), queue.len(), queue.taken()),
        (&[frame(1, 10), frame(2, 10)].concat()[..], 3, 2)
    );
    // The frame that reaches the byte limit is the last one, and whole.
    out.clear();
    assert_eq!(queue.take(&mut out, 100, 11), 2);
    assert_eq!(out, [frame(3, 10), frame(4, 10)].concat());
    out.clear();
    assert_eq!((queue.take(&mut out, 0, 11), queue.take(&mut out, 100, 11)), (0, 1));
    assert_eq!((queue.len(), queue.counted_bytes(), queue.taken()), (0, 0, 5));
}

#[test]
fn a_removed_frame_does_not_leave_and_counts_no_more() {
    let mut queue = filled(1..=5, 10);
    assert!(queue.remove(1) && queue.remove(3) && queue.remove(5));
    assert!(!queue.remove(3) && !queue.remove(6));
    assert_eq!((queue.len(), queue.counted_bytes()), (2, 2 * (10 + QUEUED_REQUEST_BYTES)));
    let mut out = Vec::new();
    assert_eq!(queue.take(&mut out, 100, 1000), 2);
    assert_eq!(out, [frame(2, 10), frame(4, 10)].concat());
    assert!(queue.is_empty());
}

#[test]
fn clearing_counts_as_taken_and_the_queue_goes_on() {
    let mut queue = filled(1..=3, 10);
    queue.clear();
    assert_eq!((queue.len(), queue.counted_bytes(), queue.taken()), (0, 0, 3));
    queue.push(4, &frame(4, 3));
    let mut out = Vec::new();
    assert_eq!((queue.take(&mut out, 1, 1), out), (1, frame(4, 3)));
}

#[test]
fn gaps_are_squeezed_out() {
    let mut queue = filled(1..=4000, 300);
    for id in (1..=4000).filter(|id| id % 4 != 0) {
        assert!(queue.remove(id));
    }
    assert!(queue.bytes.len() <= 2 * 1000 * 300 + KEPT_BYTES, "{} bytes are kept", queue.bytes.len());
    let mut out = Vec::new();
    assert_eq!(queue.take(&mut out, usize::MAX, usize::MAX), 1000);
    assert_eq!(out, (1..=4000).filter(|id| id % 4 == 0).flat_map(|id| frame(id, 300)).collect::<Vec<_>>());
}

/// Any order of calls, beside the simplest thing that does the same.
#[test]
fn it_behaves_like_a_list() {
    let mut queue = Queue::default();
    let mut list: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut random = 1_u64;
    for id in 1..=20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (choice, number) = (random >> 60, (random >> 20) as usize % 400);
        if choice < 10 {
            queue.push(id, &frame(id, number));
            list.push((id, frame(id, number)));
        } else if choice < 14 && !list.is_empty() {
            let (id, _) = list.remove(number % list.len());
            assert!(queue.remove(id));
        } else {
            let mut out = Vec::new();
            let count = queue.take(&mut out, number % 5, usize::MAX);
            let expected: Vec<_> = list.drain(..(number % 5).min(list.len())).collect();
            assert_eq!(
                (count, out),
                (expected.len(), expected.into_iter().flat_map(|(_, frame)| frame).collect())
            );
        }
        assert_eq!(queue.len(), list.len());
        let bytes: usize = list.iter().map(|(_, frame)| frame.len() + QUEUED_REQUEST_BYTES).sum();
        assert_eq!(queue.counted_bytes(), bytes);
    }
}
