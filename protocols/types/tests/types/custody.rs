//! Custody maps: two bits for each partition, and their digest.

use bytes::Bytes;
use henge_types::codec;
use henge_types::limits::PARTITIONS_MAX;
use henge_types::{Custody, CustodyMap, Partition, PartitionCount};
use proptest::prelude::*;

const ALL: [Custody; 3] = [Custody::None, Custody::Part, Custody::Full];

fn maps() -> impl Strategy<Value = CustodyMap> {
    (0..=10_u32, prop::sample::select(&ALL[..]), prop::collection::vec((any::<u32>(), 0..3_usize), 0..40))
        .prop_map(|(bits, uniform, sets)| {
            let count = PartitionCount::new(1 << bits).unwrap();
            let mut map = CustodyMap::uniform(count, uniform);
            for (at, custody) in sets {
                map.set(Partition(at % count.get()), ALL[custody]);
            }
            map
        })
}

proptest! {
    #[test]
    fn a_map_survives_its_encoding(map in maps()) {
        let bytes = codec::encode(&map).unwrap();
        let decoded: CustodyMap = codec::decode(&bytes).unwrap();
        prop_assert_eq!(decoded.digest(), map.digest());
        prop_assert_eq!(decoded, map);
    }

    #[test]
    fn a_changed_custody_changes_the_digest(map in maps(), at: u32) {
        let partition = Partition(at % map.len() as u32);
        let before = map.get(partition);
        for custody in ALL {
            let mut other = map.clone();
            other.set(partition, custody);
            prop_assert_eq!(other.get(partition), custody);
            prop_assert_eq!(other.digest() == map.digest(), custody == before);
        }
    }

    #[test]
    fn the_differences_are_where_two_maps_say_something_else(one in maps(), other in maps()) {
        let other = if one.len() == other.len() { other } else { one.clone() };
        let differ: Vec<Partition> = one.differences(&other).collect();
        let expected = one.iter().filter(|(partition, custody)| other.get(*partition) != *custody);
        prop_assert_eq!(differ, expected.map(|(partition, _)| partition).collect::<Vec<_>>());
    }

    #[test]
    fn the_counts_add_up(map in maps()) {
        prop_assert_eq!(ALL.iter().map(|custody| map.count(*custody)).sum::<usize>(), map.len());
        prop_assert!(map.iter().all(|(partition, custody)| map.get(partition) == custody));
        prop_assert_eq!(map.iter().count(), map.len());
    }
}

#[test]
fn maps_of_other_lengths_have_other_digests() {
    let digests = [1, 2, 4, 8]
        .map(|count| CustodyMap::uniform(PartitionCount::new(count).unwrap(), Custody::None).digest());
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest));
    }
}

#[test]
fn beyond_the_map_there_is_nothing() {
    let mut map = CustodyMap::uniform(PartitionCount::new(4).unwrap(), Custody::Full);
    map.set(Partition(4), Custody::Part);
    assert_eq!(map.get(Partition(4)), Custody::None);
    assert_eq!(map.count(Custody::Full), 4);
    assert_eq!(format!("{map:?}"), "CustodyMap(4 full, 0 part of 4)");
}

#[test]
fn the_largest_map_is_small_on_the_wire() {
    let mut map = CustodyMap::uniform(PartitionCount::new(PARTITIONS_MAX).unwrap(), Custody::Full);
    assert_eq!(Bytes::from(map.clone()).len(), 6);
    map.set(Partition(65_535), Custody::Part);
    assert_eq!(Bytes::from(map).len(), 5 + 65_536 / 4);
}

#[test]
fn what_is_no_map_is_refused() {
    let no_maps: [&[u8]; 12] = [
        &[],
        &[0, 0, 0, 0],
        &[0, 0, 0, 0, 4],
        &[0, 0, 0, 0, 4, 3],
        &[0, 0, 0, 0, 4, 2, 2],
        &[0, 0, 0, 0, 3, 2],
        &[0, 0xff, 0xff, 0xff, 0xff, 2],
        &[1, 0, 0, 0, 4, 0b1100_0000],
        &[1, 0, 0, 0, 4],
        &[1, 0, 0, 0, 8, 0],
        &[1, 0, 0, 0, 4, 0, 0],
        &[2, 0, 0, 0, 4, 0],
    ];
    for bytes in no_maps {
        assert!(CustodyMap::try_from(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
}
