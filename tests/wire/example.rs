//! The worked example of the page: a put and its answer, to the last byte.

use henge_client::{Request, Response};
use henge_types::codec::decode;

use crate::listing::Listing;
use crate::{README, unhex};

const GOLDEN: &str = include_str!("../../protocols/client/tests/golden.txt");

/// What the page says before the names of protocols: the length that multistream-select counts
/// includes the line's end.
pub(crate) fn negotiation(name: &str) -> Vec<u8> {
    [&[u8::try_from(name.len() + 1).unwrap()][..], name.as_bytes(), b"\n"].concat()
}

pub(crate) fn golden(name: &str) -> Vec<u8> {
    unhex(GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap())
}

/// A frame by the page's words: length, kind, id, body.
pub(crate) fn frame(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&u32::try_from(9 + body.len()).unwrap().to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
}

fn listing(kind: u8, word: &str, body: &[u8]) -> String {
    let frame = frame(kind, 1, body);
    let mut listing = Listing::default();
    let length = frame.len() - 4;
    listing.line(frame.get(..4).unwrap(), 0, &format!("{length} bytes follow"));
    listing.line(frame.get(4..5).unwrap(), 0, word);
    listing.line(frame.get(5..13).unwrap(), 0, "id 1");
    listing.cbor(body);
    listing.into_text()
}

fn names() -> String {
    let mut listing = Listing::default();
    for name in ["/multistream/1.0.0", "/henge/henge/client/1"] {
        listing.line(&negotiation(name), 0, &format!("{name} and a line feed"));
    }
    listing.into_text()
}

#[track_caller]
fn check(listing: &str) {
    let block = format!("```text\n{listing}```");
    assert!(README.contains(&block), "protocols/README.md should have\n\n{block}\n");
}

#[test]
fn the_negotiation_on_the_page_is_what_is_sent() {
    check(&names());
}

#[test]
fn the_put_on_the_page_is_what_is_sent() {
    let body = golden("request.put");
    assert!(matches!(decode(&body), Ok(Request::Put { .. })));
    check(&listing(0, "request", &body));
}

#[test]
fn the_answer_on_the_page_is_what_is_sent() {
    let body = golden("response.written");
    assert!(matches!(decode(&body), Ok(Response::Written { .. })));
    check(&listing(1, "response", &body));
}
