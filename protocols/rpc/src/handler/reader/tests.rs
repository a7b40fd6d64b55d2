#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::io::Cursor;
use futures::task::noop_waker_ref;

use super::*;
use crate::frame::{Frame, Kind, begin, finish};

const LIMIT: usize = 1 << 20;

/// Gives a few bytes at a time.
struct Trickle {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl AsyncRead for Trickle {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let step = self.step.min(buf.len());
        Pin::new(&mut self.bytes).poll_read(cx, buf.get_mut(..step).unwrap())
    }
}

fn fill(reader: &mut Reader, stream: &mut (impl AsyncRead + Unpin)) -> usize {
    match reader.poll_fill(&mut Context::from_waker(noop_waker_ref()), stream) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => unreachable!("these streams never wait"),
    }
}

fn frames(bodies: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, length) in bodies.iter().enumerate() {
        let start = begin(&mut bytes, Kind::Request, id as u64);
        bytes.extend(std::iter::repeat_n(id as u8, *length));
        finish(&mut bytes, start);
    }
    bytes
}

#[test]
fn frames_are_found_however_the_bytes_arrive() {
    let bodies = [0, 1, 5000, 70_000, 3, 900_000, 0, 12];
    for step in [1013, 4096, 65_536, usize::MAX] {
        let mut stream = Trickle { bytes: Cursor::new(frames(&bodies)), step };
        let mut reader = Reader::new(LIMIT);
        let mut found = 0;
        loop {
            match reader.front().unwrap() {
                Front::Whole { frame: Frame { id, body, .. }, bytes } => {
                    assert_eq!((id, body.len()), (found as u64, *bodies.get(found).unwrap()));
                    assert!(body.iter().all(|byte| *byte == found as u8));
                    found += 1;
                    reader.consume(bytes);
                }
                Front::Partial { .. } => {
                    if fill(&mut reader, &mut stream) == 0 {
                        break;
                    }
                }
            }
        }
        assert_eq!((found, reader.is_empty()), (bodies.len(), true));
        assert!(reader.buffer.len() <= BATCH_BYTES, "the memory of the large frame is given back");
    }
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_the_header() {
    let mut bytes = (LIMIT as u32).to_be_bytes().to_vec();
    bytes.push(0);
    let mut stream = Trickle { bytes: Cursor::new(bytes), step: usize::MAX };
    let mut reader = Reader::new(LIMIT);
    fill(&mut reader, &mut stream);
    assert_eq!(reader.front(), Ok(Front::Partial { bytes: LENGTH_BYTES + LIMIT }));
    fill(&mut reader, &mut stream);
    assert!(reader.buffer.len() <= SMALL_BYTES);
}
