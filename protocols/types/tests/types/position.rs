//! Positions and the partitions that they lie in.

use henge_types::limits::{KEY_MAX_BYTES, PARTITIONS_MAX};
use henge_types::{Key, KeyError, ParamsError, Partition, PartitionCount, Position};
use proptest::prelude::*;

fn counts() -> impl Strategy<Value = PartitionCount> {
    (0..=16_u32).prop_map(|bits| PartitionCount::new(1 << bits).unwrap())
}

proptest! {
    #[test]
    fn every_position_lies_in_its_partition(position: u64, count in counts()) {
        let position = Position(position);
        let partition = position.partition(count);
        prop_assert!(count.contains(partition));
        prop_assert!(partition.first_position(count) <= position);
        prop_assert!(position <= partition.last_position(count));
    }

    #[test]
    fn a_partition_is_the_top_bits(position: u64, count in counts()) {
        let expected = (u128::from(position) * u128::from(count.get())) >> 64;
        prop_assert_eq!(u128::from(Position(position).partition(count).0), expected);
    }
}

#[test]
fn partitions_tile_the_ring() {
    for count in [1, 2, 64, 1 << 14, PARTITIONS_MAX] {
        let count = PartitionCount::new(count).unwrap();
        let mut next = Some(0);
        for partition in count.all() {
            assert_eq!(Some(partition.first_position(count).0), next);
            let last = partition.last_position(count);
            assert_eq!(last.partition(count), partition);
            next = last.0.checked_add(1);
        }
        assert_eq!(next, None, "the last partition ends where the ring does");
        assert_eq!(count.all().len(), count.len());
    }
}

#[test]
fn one_partition_is_the_whole_ring() {
    let one = PartitionCount::new(1).unwrap();
    assert_eq!(one.bits(), 0);
    assert_eq!(Partition(0).first_position(one), Position(0));
    assert_eq!(Partition(0).last_position(one), Position(u64::MAX));
    assert_eq!(Position(u64::MAX).partition(one), Partition(0));
}

#[test]
fn the_finest_ring_has_65536_partitions() {
    let finest = PartitionCount::new(1 << 16).unwrap();
    assert_eq!(Position(u64::MAX).partition(finest), Partition(0xffff));
    assert_eq!(Partition(0xffff).first_position(finest), Position(0xffff << 48));
    assert_eq!(Partition(0).last_position(finest), Position((1 << 48) - 1));
    assert!(!finest.contains(Partition(1 << 16)));
    for count in [0, 3, 100, (1 << 16) + 1, 1 << 17, u32::MAX] {
        assert_eq!(PartitionCount::new(count), Err(ParamsError::Partitions { count }));
    }
}

#[test]
fn a_key_has_1_to_1024_bytes() {
    assert_eq!(Key::new(vec![]), Err(KeyError::Empty));
    assert!(Key::new(vec![0]).is_ok());
    assert!(Key::new(vec![0; KEY_MAX_BYTES]).is_ok());
    assert_eq!(Key::new(vec![0; KEY_MAX_BYTES + 1]), Err(KeyError::TooLong { bytes: KEY_MAX_BYTES + 1 }));
    assert_eq!(Key::new(vec![b'a', 0xff, b'\n']).unwrap().to_string(), r"a\xff\n");
}

#[test]
fn a_short_hash_counts_as_filled_with_zeros() {
    assert_eq!(Position::of_hash(&[1, 2]), Position(0x0102 << 48));
    assert_eq!(Position::of_hash(&[0; 32]), Position(0));
    assert_eq!(Position(0xab).to_string(), "00000000000000ab");
}
