//! CBOR (RFC 8949) as a listing for people: each item's bytes, and what they say.

use std::fmt::Write as _;

/// Bytes on one line.
const COLUMNS: usize = 16;

/// Lines of hex on the left and words on the right.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    text: String,
}

impl Listing {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// `bytes`, and what they say.
    pub(crate) fn line(&mut self, bytes: &[u8], depth: usize, what: &str) {
        for (row, bytes) in bytes.chunks(COLUMNS).enumerate() {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let what = if row == 0 { what } else { "" };
            let line =
                format!("{:<width$}{:indent$}{what}", hex.join(" "), "", width = 49, indent = 2 * depth);
            writeln!(self.text, "{}", line.trim_end()).unwrap();
        }
    }

    /// All of `cbor`, which is one item. Only what henge writes: definite lengths, no floats.
    pub(crate) fn cbor(&mut self, cbor: &[u8]) {
        assert_eq!(self.item(cbor, 0), b"", "one item");
    }

    /// The first item of `cbor`; returns the rest.
    fn item<'a>(&mut self, cbor: &'a [u8], depth: usize) -> &'a [u8] {
        let (kind, number, head) = head(cbor);
        let (bytes, mut rest) = cbor.split_at(head);
        let length = usize::try_from(number).unwrap();
        let whole = |content: usize| cbor.split_at(head + content);
        match kind {
            0 => self.line(bytes, depth, &number.to_string()),
            2 => {
                let (item, after) = whole(length);
                self.line(item, depth, &byte_string(item.get(head..).unwrap()));
                rest = after;
            }
            3 => {
                let (item, after) = whole(length);
                let text = str::from_utf8(item.get(head..).unwrap()).unwrap();
                self.line(item, depth, &format!("{text:?}"));
                rest = after;
            }
            4 | 5 => {
                let (what, items) = if kind == 4 { ("array", length) } else { ("map", 2 * length) };
                self.line(bytes, depth, &format!("{what} of {length}"));
                for at in 0..items {
                    // The value of a key stands further in than the key.
                    rest = self.item(rest, depth + 1 + usize::from(kind == 5 && at % 2 == 1));
                }
            }
            7 => self.line(bytes, depth, ["false", "true", "null"].get(length - 20).unwrap()),
            _ => panic!("an item of kind {kind}"),
        }
        rest
    }
}

/// Kind, number, and how many bytes both take.
fn head(cbor: &[u8]) -> (u8, u64, usize) {
    let first = *cbor.first().unwrap();
    let more = match first & 0x1f {
        0..=23 => return (first >> 5, u64::from(first & 0x1f), 1),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        other => panic!("additional information {other}"),
    };
    let number = cbor.get(1..=more).unwrap().iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (first >> 5, number, 1 + more)
}

fn byte_string(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => format!("{} bytes: {text}", bytes.len()),
        _ => format!("{} bytes", bytes.len()),
    }
}
