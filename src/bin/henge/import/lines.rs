//! Lines of bounded length.

use std::io::{BufRead, Read};

use super::source::Bad;

/// Longest line: a value of the largest size with every byte escaped as `\u00XX`, and a key.
const LINE_MAX_BYTES: usize = 7 << 20;

/// The lines of a reader, numbered from 1, without their ends.
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
    bytes_read: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0, bytes_read: 0, ended: false }
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line. After an error of the reader there is none; after a line that is too long, there is.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, &[u8]), Bad>> {
        if self.ended {
            return None;
        }
        self.line.clear();
        self.number += 1;
        let mut limited = (&mut self.reader).take(LINE_MAX_BYTES as u64 + 1);
        match limited.read_until(b'\n', &mut self.line) {
            Ok(0) => {
                self.ended = true;
                return None;
            }
            Ok(count) => self.bytes_read += count as u64,
            Err(error) => {
                self.ended = true;
                return Some(Err(self.bad(format!("cannot be read: {error}"))));
            }
        }
        if self.line.len() > LINE_MAX_BYTES && !self.line.ends_with(b"\n") {
            self.skip_to_end();
            return Some(Err(self.bad(format!("is too long: a line has up to {LINE_MAX_BYTES} bytes"))));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Some(Ok((self.number, line.strip_suffix(b"\r").unwrap_or(line))))
    }

    fn bad(&self, reason: String) -> Bad {
        Bad { name: format!("line {}", self.number), reason }
    }

    /// An error here is met again by the next line.
    fn skip_to_end(&mut self) {
        if let Ok(count) = self.reader.skip_until(b'\n') {
            self.bytes_read += count as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Result<(u64, Vec<u8>), String>> {
        let mut lines = Lines::new(text);
        let mut all = Vec::new();
        while let Some(line) = lines.next() {
            all.push(line.map(|(number, line)| (number, line.to_vec())).map_err(|bad| bad.name));
        }
        all
    }

    #[test]
    fn lines_end_at_newlines_with_or_without_carriage_return() {
        let expected =
            [Ok((1, b"a".to_vec())), Ok((2, b"b\rc".to_vec())), Ok((3, vec![])), Ok((4, b"d".to_vec()))];
        assert_eq!(all(b"a\nb\rc\r\n\nd"), expected);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_too_long_is_named_and_the_next_is_read() {
        let mut text = vec![b'x'; LINE_MAX_BYTES + 2];
        text.extend(b"\nshort");
        assert_eq!(all(&text), [Err("line 1".to_owned()), Ok((2, b"short".to_vec()))]);
    }

    #[test]
    fn a_line_of_exactly_the_largest_length_is_read() {
        let mut text = vec![b'x'; LINE_MAX_BYTES];
        text.push(b'\n');
        assert_eq!(all(&text), [Ok((1, vec![b'x'; LINE_MAX_BYTES]))]);
    }
}
