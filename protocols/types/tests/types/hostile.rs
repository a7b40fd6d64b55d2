//! Bytes from anybody: no panic, no allocation that a mere length asks for, no quadratic work.

use henge_types::codec::{Stored, decode, encode};
use henge_types::{
    ActorId, Clock, ClusterName, ClusterParams, Content, Context, Custody, CustodyDigest, CustodyMap, Dot,
    Incarnation, Key, MemberRecord, MemberState, OperationId, Partition, PartitionCount, Position, Record,
    RecordDigest, RingId, RingSecret, Sibling, SignedMember, VotersDigest, Weight, Zone,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{Ed25519, NOW, RING, clock, dot, keypair, member, operation, put};

/// Decodes; what can be decoded must survive being encoded.
fn read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = decode(bytes).ok()?;
    assert_eq!(decode::<T>(&encode(&value).unwrap()).as_ref(), Ok(&value));
    let _ = format!("{value:?}");
    Some(value)
}

/// Reads `bytes` as everything that there is, and uses what comes out.
fn read_as_everything(bytes: &[u8]) {
    let records = [read::<Record>(bytes), Record::from_stored(bytes).ok()];
    for record in records.into_iter().flatten() {
        let mut other = Record::new();
        put(&mut other, dot(1, 1), &clock([]), 1);
        let (mut ours, mut theirs) = (other.clone(), record.clone());
        ours.merge(&record);
        theirs.merge(&other);
        assert_eq!(ours, theirs);
        ours.merge(&theirs);
        let _ = (ours.digest(), ours.live(NOW).count(), ours.find_operation(&operation(1)));
        assert!(encode(&record).unwrap().len() <= record.size_bytes());
    }
    if let Some(context) = read::<Context>(bytes) {
        let opened = context.open(RING, &RingSecret([1; 32]), &Key::new("k").unwrap());
        assert!(opened.is_err() && context.to_string().len() >= context.as_bytes().len());
    }
    if let Some(map) = read::<CustodyMap>(bytes) {
        let _ = (map.digest(), map.get(Partition(u32::MAX)));
    }
    if let Some(signed) = read::<SignedMember>(bytes) {
        let _ = signed.verify(&Ed25519(keypair(9)));
    }
    let _ = (read::<Key>(bytes), read::<Clock>(bytes), read::<Sibling>(bytes), read::<Dot>(bytes));
    let _ = (read::<ActorId>(bytes), read::<OperationId>(bytes), read::<MemberRecord>(bytes));
    let _ = (read::<MemberState>(bytes), read::<Incarnation>(bytes), read::<Weight>(bytes));
    let _ = (read::<Zone>(bytes), read::<ClusterParams>(bytes), read::<ClusterName>(bytes));
    let _ = (read::<RingId>(bytes), read::<RingSecret>(bytes), read::<Custody>(bytes));
    let _ = (read::<RecordDigest>(bytes), read::<VotersDigest>(bytes), read::<CustodyDigest>(bytes));
    let _ = (read::<Position>(bytes), read::<Partition>(bytes), read::<PartitionCount>(bytes));
}

/// An honest encoding of each compound type.
fn samples() -> Vec<Vec<u8>> {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([(2, 3)]), 1);
    put(&mut record, dot(3, 9), &clock([]), 2);
    let mut map = CustodyMap::uniform(PartitionCount::new(16).unwrap(), Custody::Full);
    let uniform = encode(&map).unwrap();
    map.set(Partition(3), Custody::Part);
    let signed = SignedMember::sign(member(1), &Ed25519(keypair(1))).unwrap();
    let key = Key::new("stone").unwrap();
    vec![
        encode(&record).unwrap(),
        record.to_stored().unwrap(),
        encode(record.clock()).unwrap(),
        encode(&Context::seal(RING, &RingSecret([2; 32]), &key, record.clock())).unwrap(),
        encode(&key).unwrap(),
        encode(&map).unwrap(),
        uniform,
        encode(&signed).unwrap(),
        encode(&member(1)).unwrap(),
        encode(&ClusterParams::default()).unwrap(),
        encode("full").unwrap(),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes);
    }

    /// Bytes that look like CBOR more often: heads of arrays, maps, strings and numbers.
    #[test]
    fn arbitrary_cbor_never_panics(
        bytes in prop::collection::vec(
            prop::sample::select(&[0x00, 0x01, 0x18, 0x1b, 0x40, 0x50, 0x58, 0x5f, 0x60, 0x80, 0x82, 0x83,
                0x85, 0x9f, 0xa1, 0xbf, 0xf6, 0xff, 0xc0, 0xfb][..]),
            0..80,
        ),
    ) {
        read_as_everything(&bytes);
    }

    #[test]
    fn damaged_encodings_never_panic(
        sample: Index, at: Index, cut: Index, byte: u8, insert in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let samples = samples();
        let mut bytes = samples[sample.index(samples.len())].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_as_everything(&bytes);
        bytes.splice(at..at, insert);
        read_as_everything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        read_as_everything(&bytes);
    }
}

/// Everywhere in each honest encoding, `head` instead of what follows.
fn everywhere(head: &[u8]) {
    for sample in samples() {
        for at in 0..=sample.len() {
            read_as_everything(&[&sample[..at], head].concat());
        }
    }
}

#[test]
fn nesting_cannot_exhaust_the_stack() {
    for open in [0x81, 0x9f, 0xc0, 0x5f] {
        everywhere(&[open; 2000]);
    }
    everywhere(&[0xa1, 0x00].repeat(2000));
}

#[cfg(target_os = "linux")]
#[test]
fn a_declared_length_allocates_nothing() {
    // Reserved is enough to tell: a length that were believed would take 256 GiB and more.
    let peak_kib = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak_kib();
    for head in [0x9b, 0xbb, 0x5b, 0x7b] {
        for length in [1_u64 << 38, 1 << 62, u64::MAX] {
            everywhere(&[&[head][..], &length.to_be_bytes()].concat());
        }
    }
    assert!(peak_kib() < before + (16 << 20), "more than 16 GiB were reserved");
}

/// A record of many siblings, as large as a frame lets in, and nearly all actors interleaved.
fn crowd(parity: u64) -> Record {
    let dots = || (1..=30_000_u64).map(|n| 2 * n + parity).map(|n| Dot { actor: wide(n), counter: 1 });
    let siblings: Vec<_> = dots()
        .map(|dot| Sibling {
            dot,
            content: Content::Value(bytes::Bytes::new()),
            written_at: NOW,
            expires_at: None,
            operation: OperationId(dot.actor.0),
        })
        .collect();
    let parts = (siblings, dots().collect::<Clock>(), Vec::<()>::new());
    decode(&encode(&parts).unwrap()).unwrap()
}

fn wide(number: u64) -> ActorId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ActorId(id)
}

#[test]
fn a_crowded_record_costs_no_square() {
    // The square would keep this test busy for minutes.
    let (mut odd, even) = (crowd(1), crowd(0));
    assert!(odd.merge(&even));
    assert!(!odd.merge(&even));
    assert_eq!(odd.live(NOW).count(), 60_000);
    assert_eq!(odd.clock().len(), 60_000);
}
