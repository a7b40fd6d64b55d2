#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::task::noop_waker_ref;

use super::*;

/// Takes up to `room` bytes, `step` at a time, and counts the flushes.
struct Drain {
    taken: Vec<u8>,
    room: usize,
    step: usize,
    flushes: usize,
}

impl AsyncWrite for Drain {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.step).min(self.room);
        if count == 0 {
            return Poll::Pending;
        }
        self.room -= count;
        self.taken.extend_from_slice(bytes.get(..count).unwrap());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll(writer: &mut Writer, drain: &mut Drain, batches: &mut Vec<Vec<u8>>) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let refill = |buffer: &mut Vec<u8>| {
        if !batches.is_empty() {
            buffer.extend(batches.remove(0));
        }
    };
    writer.poll(&mut cx, drain, refill).unwrap();
}

#[test]
fn several_batches_are_one_flush() {
    let mut drain = Drain { taken: Vec::new(), room: usize::MAX, step: 3, flushes: 0 };
    let mut writer = Writer::default();
    let mut batches = vec![vec![1; 10], vec![2; 10], vec![3; 10]];
    poll(&mut writer, &mut drain, &mut batches);
    assert_eq!((drain.taken.len(), drain.flushes, writer.is_idle()), (30, 1, true));
    // Nothing new, nothing to flush.
    poll(&mut writer, &mut drain, &mut batches);
    assert_eq!(drain.flushes, 1);
}

#[test]
fn what_was_written_is_flushed_before_the_rest_finds_room() {
    let mut drain = Drain { taken: Vec::new(), room: 15, step: 8, flushes: 0 };
    let mut writer = Writer::default();
    let mut batches = vec![vec![1; 10], vec![2; 10], vec![3; 10]];
    poll(&mut writer, &mut drain, &mut batches);
    assert_eq!((drain.taken.len(), drain.flushes, writer.is_idle(), batches.len()), (15, 1, false, 1));
    drain.room = 100;
    poll(&mut writer, &mut drain, &mut batches);
    assert_eq!(drain.taken, [vec![1; 10], vec![2; 10], vec![3; 10]].concat());
    assert_eq!((drain.flushes, writer.is_idle()), (2, true));
}

#[test]
fn an_endless_supply_ends_a_turn() {
    let mut drain = Drain { taken: Vec::new(), room: usize::MAX, step: usize::MAX, flushes: 0 };
    let mut writer = Writer::default();
    let mut batches = vec![vec![1; BATCH_BYTES]; 100];
    poll(&mut writer, &mut drain, &mut batches);
    assert_eq!((drain.taken.len(), drain.flushes, batches.len()), (TURN_BYTES, 1, 96));
}
