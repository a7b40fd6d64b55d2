//! One negotiated substream with its buffers.

use libp2p::Stream;

use super::reader::Reader;
use super::writer::Writer;

#[derive(Debug)]
pub(crate) struct Substream {
    pub(crate) stream: Stream,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Substream {
    pub(crate) fn new(stream: Stream, frame_limit: usize) -> Self {
        Self { stream, reader: Reader::new(frame_limit), writer: Writer::default() }
    }
}
