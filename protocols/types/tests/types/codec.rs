//! Encodings: exact, versioned, and decoded without trusting a length or a depth.

use bytes::Bytes;
use henge_types::codec::{Stored, decode, encode};
use henge_types::limits::REASON_MAX_BYTES;
use henge_types::{
    Clock, ClusterName, ClusterParams, Custody, DecodeError, Dot, MemberRecord, OperationId, Record, Sibling,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::common::{clock, dot, member, operation, put};
use crate::schedule::{World, steps};

proptest! {
    #[test]
    fn records_survive_their_encoding(schedule in steps(60, true)) {
        for record in World::play(&schedule, |_, _| {}).records() {
            prop_assert_eq!(&decode::<Record>(&encode(&record).unwrap()).unwrap(), &record);
            let stored = record.to_stored().unwrap();
            prop_assert_eq!(stored[0], 1);
            prop_assert_eq!(Record::from_stored(&stored), Ok(record));
        }
    }

    #[test]
    fn what_follows_a_value_is_counted_and_refused(rest in prop::collection::vec(any::<u8>(), 1..100)) {
        let bytes = [encode(&clock([(1, 2)])).unwrap(), rest.clone()].concat();
        prop_assert_eq!(decode::<Clock>(&bytes), Err(DecodeError::Trailing { bytes: rest.len() }));
    }
}

#[test]
fn a_value_that_is_cut_short_is_refused() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([(2, 3)]), 1);
    let stored = record.to_stored().unwrap();
    for length in 1..stored.len() {
        let error = Record::from_stored(&stored[..length]).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { .. }), "{length}: {error}");
    }
    assert_eq!(Record::from_stored(&[]), Err(DecodeError::Empty));
}

#[test]
fn a_newer_version_is_named() {
    let mut stored = Record::new().to_stored().unwrap();
    for found in [2, 255] {
        stored[0] = found;
        assert_eq!(Record::from_stored(&stored), Err(DecodeError::Newer { found, newest: 1 }));
    }
    stored[0] = 0;
    assert!(matches!(Record::from_stored(&stored), Err(DecodeError::Malformed { .. })));
    let error = DecodeError::Newer { found: 2, newest: 1 };
    assert!(error.to_string().contains("use the newer henge"));
}

/// A format in its second version, which can still read its first.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Second {
    text: String,
}

impl Stored for Second {
    const VERSION: u8 = 2;

    fn migrate(version: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        assert_eq!(version, 1);
        decode::<u64>(bytes).map(|number| Self { text: number.to_string() })
    }
}

#[test]
fn an_older_version_is_migrated() {
    assert_eq!(Second::from_stored(&[1, 0x07]), Ok(Second { text: "7".to_owned() }));
    let second = Second { text: "x".to_owned() };
    assert_eq!(Second::from_stored(&second.to_stored().unwrap()), Ok(second));
    assert!(Second::from_stored(&[1, 0x07, 0x07]).is_err());
}

/// The elements of a record, to write records that no replica would.
type Parts<'a> = (&'a [Sibling], &'a Clock, &'a [(OperationId, Dot, u64)]);

#[test]
fn a_record_that_breaks_its_own_rules_is_refused() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([]), 1);
    put(&mut record, dot(2, 1), &clock([]), 2);
    let [first, second] = record.siblings() else { panic!("two siblings") };
    let [first, second] = [first, second].map(Clone::clone);
    let mut zero = first.clone();
    zero.dot.counter = 0;
    let decodes = |parts: Parts<'_>| decode::<Record>(&encode(&parts).unwrap()).is_ok();
    let known = record.clock();
    let both = [first.clone(), second.clone()];
    let (one, two, three) =
        ((operation(9), dot(1, 1), 5), (operation(8), dot(2, 1), 6), (operation(7), dot(3, 1), 4));
    assert!(decodes((&both, known, &[two, one])));
    assert!(!decodes((&[second.clone(), first.clone()], known, &[])), "siblings out of order");
    assert!(!decodes((&[first.clone(), first.clone()], known, &[])), "one sibling twice");
    assert!(!decodes((&both, &clock([(1, 1)]), &[])), "a sibling that the clock does not know");
    assert!(!decodes((&[zero], known, &[])), "dots count from 1");
    assert!(!decodes((&both, known, &[one, two])), "operations out of order");
    assert!(!decodes((&both, known, &[one, one])), "one operation twice");
    assert!(!decodes((&both, known, &[one, three])), "an operation that the clock does not know");
    let many: Vec<_> = (0..33).map(|age| (operation(9), dot(1, 1), 50 - age)).collect();
    assert!(decodes((&both, known, &many[..32])));
    assert!(!decodes((&both, known, &many)), "33 operations");
}

#[test]
fn a_clock_has_one_form() {
    let decodes = |entries: &[(Bytes, u64)]| decode::<Clock>(&encode(entries).unwrap()).is_ok();
    let id = |byte, length| Bytes::from(vec![byte; length]);
    let (a, b) = (|| id(1, 16), || id(2, 16));
    assert!(decodes(&[(a(), 1), (b(), 1)]));
    assert!(!decodes(&[(b(), 1), (a(), 1)]));
    assert!(!decodes(&[(a(), 1), (a(), 2)]));
    assert!(!decodes(&[(a(), 0)]));
    assert!(!decodes(&[(id(1, 15), 1)]));
    assert!(!decodes(&[(id(1, 17), 1)]));
}

#[test]
fn parameters_are_checked_when_they_are_decoded() {
    #[derive(Clone, Serialize)]
    struct Repr {
        partitions: u32,
        replicas: u8,
        read_quorum: u8,
        write_quorum: u8,
        tokens_per_weight: u16,
    }
    let good = Repr { partitions: 64, replicas: 3, read_quorum: 1, write_quorum: 3, tokens_per_weight: 256 };
    let read = |repr: &Repr| decode::<ClusterParams>(&encode(repr).unwrap());
    let expected = ClusterParams::new(3).unwrap().with_partitions(64).unwrap().with_quorums(1, 3).unwrap();
    assert_eq!(read(&good), Ok(expected));
    assert_eq!(expected.to_string(), "N=3 R=1 W=3 Q=64 T=256");
    let bad = [
        Repr { partitions: 63, ..good.clone() },
        Repr { replicas: 0, ..good.clone() },
        Repr { replicas: 17, read_quorum: 9, write_quorum: 9, ..good.clone() },
        Repr { replicas: 255, ..good.clone() },
        Repr { read_quorum: 0, ..good.clone() },
        Repr { read_quorum: 4, ..good.clone() },
        Repr { write_quorum: 0, ..good.clone() },
        Repr { tokens_per_weight: 0, ..good.clone() },
        Repr { tokens_per_weight: 1025, ..good },
    ];
    for repr in bad {
        assert!(read(&repr).is_err());
    }
}

#[test]
fn a_reason_does_not_repeat_megabytes_of_input() {
    for name in ["x".repeat(1 << 20), "ж".repeat(1 << 19)] {
        let Err(DecodeError::Malformed { reason }) = decode::<ClusterName>(&encode(&name).unwrap()) else {
            panic!("a name of a mebibyte was accepted");
        };
        assert!(reason.len() <= REASON_MAX_BYTES && reason.contains("cluster name"));
    }
}

#[test]
fn words_are_text_and_unknown_ones_are_refused() {
    assert_eq!(decode::<Custody>(&encode("part").unwrap()), Ok(Custody::Part));
    assert!(decode::<Custody>(&encode("most").unwrap()).is_err());
    assert!(decode::<Custody>(&encode(&1).unwrap()).is_err());
}

/// `member(1)` with one more field, whose value is these bytes.
fn with_unknown_field(value: &[u8]) -> Vec<u8> {
    let mut bytes = encode(&member(1)).unwrap();
    bytes[0] += 1;
    bytes.extend(encode("unknown").unwrap());
    bytes.extend(value);
    bytes
}

#[test]
fn an_unknown_field_is_ignored_whatever_it_holds() {
    let known: [&[u8]; 6] = [&[0x07], &[0xf6], &[0x9f, 0xff], &[0xa1, 0x01, 0x80], &[0xc1, 0x00], &[0x60]];
    for value in known {
        assert_eq!(decode::<MemberRecord>(&with_unknown_field(value)), Ok(member(1)));
    }
    let nested = [vec![0x81; 200], vec![0x00]].concat();
    assert_eq!(decode::<MemberRecord>(&with_unknown_field(&nested)), Ok(member(1)));
}

#[test]
fn an_unknown_field_cannot_exhaust_the_stack() {
    const DEEP: usize = 1_000_000;
    for (open, rest) in [
        (&[0x81][..], &[0x00][..]),
        (&[0x9f], &[]),
        (&[0xa1, 0x00], &[0x00]),
        (&[0xbf, 0x00], &[]),
        (&[0xc0], &[0x00]),
        (&[0xd8, 0x20], &[0x00]),
        (&[0x5f], &[]),
    ] {
        let nested = [open.repeat(DEEP), rest.to_vec()].concat();
        let error = decode::<MemberRecord>(&with_unknown_field(&nested)).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { .. }), "{open:?}: {error}");
    }
}
