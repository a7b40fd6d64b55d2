//! Contexts: opaque, printable, and worth nothing to a forger.

use henge_types::codec;
use henge_types::limits::{CLOCK_MAX, CONTEXT_MAX_BYTES};
use henge_types::{ActorId, Clock, Context, ContextError, Dot, Key, RingId, RingSecret};
use proptest::prelude::*;

use crate::common::{RING, clock};

const SECRET: RingSecret = RingSecret([0x5e; 32]);

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn sealed() -> Context {
    Context::seal(RING, &SECRET, &key("stone"), &clock([(1, 2), (3, 400)]))
}

/// A token of these bytes, as a client could send it.
fn token(bytes: &[u8]) -> Result<Context, ContextError> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).parse()
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        entries in prop::collection::vec((any::<[u8; 16]>(), any::<u64>()), 0..40),
        name in prop::collection::vec(any::<u8>(), 1..1025), ring: [u8; 16], secret: [u8; 32],
    ) {
        let seen: Clock = entries.into_iter().map(|(id, counter)| Dot { actor: ActorId(id), counter }).collect();
        let (ring, secret, key) = (RingId(ring), RingSecret(secret), Key::new(name).unwrap());
        let context = Context::seal(ring, &secret, &key, &seen);
        let printed = context.to_string();
        prop_assert!(printed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let parsed: Context = printed.parse().unwrap();
        prop_assert_eq!(&parsed, &context);
        prop_assert_eq!(parsed.unsealed_clock(), Some(seen.clone()));
        prop_assert_eq!(parsed.open(ring, &secret, &key), Ok(seen));
        let sent: Context = codec::decode(&codec::encode(&context).unwrap()).unwrap();
        prop_assert_eq!(sent, context);
    }

    #[test]
    fn any_text_is_a_token_or_an_error(text in "\\PC{0,120}", ascii in "[A-Za-z0-9_-]{0,200}") {
        for text in [text, ascii] {
            if let Ok(context) = text.parse::<Context>() {
                prop_assert!(context.open(RING, &SECRET, &key("stone")).is_err());
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let honest = sealed();
    for at in 0..honest.as_bytes().len() {
        for bit in 0..8 {
            let mut forged = honest.as_bytes().to_vec();
            forged[at] ^= 1 << bit;
            let opened = token(&forged).unwrap().open(RING, &SECRET, &key("stone"));
            assert!(opened.is_err(), "bit {bit} of byte {at} was believed");
        }
    }
}

#[test]
fn every_truncated_or_extended_token_is_refused() {
    let honest = sealed();
    for length in 0..honest.as_bytes().len() {
        let opened = token(&honest.as_bytes()[..length]).and_then(|t| t.open(RING, &SECRET, &key("stone")));
        assert!(opened.is_err(), "the first {length} bytes were believed");
    }
    let longer = [honest.as_bytes(), &[0]].concat();
    assert!(token(&longer).unwrap().open(RING, &SECRET, &key("stone")).is_err());
}

#[test]
fn the_error_says_what_is_wrong() {
    let honest = sealed();
    assert_eq!(honest.open(RingId([1; 16]), &SECRET, &key("stone")), Err(ContextError::OtherRing));
    assert_eq!(honest.open(RING, &SECRET, &key("stones")), Err(ContextError::OtherKey));
    assert_eq!(honest.open(RING, &RingSecret([0; 32]), &key("stone")), Err(ContextError::Forged));
    let mut newer = honest.as_bytes().to_vec();
    newer[0] = 2;
    let opened = token(&newer).unwrap().open(RING, &SECRET, &key("stone"));
    assert_eq!(opened, Err(ContextError::Version { found: 2 }));
    for text in ["", "é", "====", "AAAA", "not a token", &"A".repeat(10_000_000)] {
        assert_eq!(text.parse::<Context>(), Err(ContextError::Malformed));
    }
}

#[test]
fn a_token_pasted_with_its_line_end_opens() {
    let pasted = format!(" {}\n", sealed());
    assert_eq!(pasted.parse::<Context>(), Ok(sealed()));
}

#[test]
fn the_largest_clock_fits_a_token() {
    let full: Clock = (0..CLOCK_MAX as u128)
        .map(|id| Dot { actor: ActorId((id << 64).to_be_bytes()), counter: u64::MAX })
        .collect();
    let context = Context::seal(RING, &SECRET, &key("stone"), &full);
    assert!(context.as_bytes().len() <= CONTEXT_MAX_BYTES);
    assert_eq!(context.to_string().parse::<Context>().unwrap().open(RING, &SECRET, &key("stone")), Ok(full));
}
