#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here says so")]

use std::collections::{BTreeMap, BTreeSet};

use henge_types::{ClusterParams, Partition, PeerId, Position, Weight, Zone};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::Config;
use proptest::{collection, option, prop_assert, prop_assert_eq, proptest};
use sha2::{Digest, Sha256};

use super::assign::Assigner;
use super::{Placed, Placement, Zones, shares};

/// A peer id as Ed25519 keys have them: the key itself, in its protobuf.
fn id(number: u32) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend_from_slice(&Sha256::digest(number.to_be_bytes()));
    PeerId::from_bytes(&bytes).unwrap()
}

fn placed(number: u32, weight: u16, zone: Option<u32>) -> Placed {
    let zone = zone.map(|zone| Zone::new(format!("zone-{zone}")).unwrap());
    Placed { peer: id(number), weight: Weight::new(weight).unwrap(), zone }
}

/// The weight and the zone of a peer by its number.
type Kind = fn(u32) -> (u16, Option<u32>);

/// `count` peers whose weight and zone follow from their number.
fn peers(count: u32, kind: Kind) -> Vec<Placed> {
    (0..count)
        .map(|number| (number, kind(number)))
        .map(|(number, (weight, zone))| placed(number, weight, zone))
        .collect()
}

fn equal(_: u32) -> (u16, Option<u32>) {
    (1, None)
}

fn small(partitions: u32) -> ClusterParams {
    ClusterParams::default().with_partitions(partitions).unwrap()
}

/// Q · N · w/Σw, as it would be if partitions could be cut.
fn share(peers: &[Placed], of: &Placed, params: &ClusterParams) -> f64 {
    let total: f64 = peers.iter().map(|p| f64::from(p.weight.get())).sum();
    f64::from(params.partitions().get()) * params.replicas() as f64 * f64::from(of.weight.get()) / total
}

/// The fullest peer, in relation to its share.
fn fullest(peers: &[Placed], params: &ClusterParams) -> f64 {
    let placement = Placement::compute(peers, params);
    peers.iter().map(|p| placement.owned(&p.peer) as f64 / share(peers, p, params)).fold(0.0, f64::max)
}

/// How many replicas have to be copied to go from one table to the other.
fn moved(from: &Placement, to: &Placement) -> usize {
    let gained = |p: Partition| to.owners(p).filter(|peer| !from.is_owner(p, peer)).count();
    to.params().partitions().all().map(gained).sum()
}

fn zone_count<'a>(placed: impl Iterator<Item = &'a Placed>) -> usize {
    let (mut named, mut unnamed) = (BTreeSet::new(), 0);
    for peer in placed {
        match &peer.zone {
            Some(zone) => _ = named.insert(zone),
            None => unnamed += 1,
        }
    }
    named.len() + unnamed
}

/// What holds of every table, of feasible weights and zones or not. Peers are distinct.
fn check(placed: &[Placed], params: &ClusterParams) -> Placement {
    let placement = Placement::compute(placed, params);
    let replicas = params.replicas().min(placed.len());
    let spread = replicas.min(zone_count(placed.iter()));
    let mut loads: BTreeMap<PeerId, usize> = placed.iter().map(|p| (p.peer, 0)).collect();
    for partition in params.partitions().all() {
        let owners: Vec<PeerId> = placement.owners(partition).collect();
        assert_eq!(owners.len(), replicas);
        let of_table: Vec<&Placed> = placed.iter().filter(|p| owners.contains(&p.peer)).collect();
        assert_eq!(of_table.len(), replicas, "owners are distinct and placed");
        assert_eq!(zone_count(of_table.into_iter()), spread, "owners are spread over zones");
        let in_ring_order: Vec<PeerId> = placement.walk(partition).filter(|p| owners.contains(p)).collect();
        assert_eq!(owners, in_ring_order);
        owners.iter().for_each(|owner| *loads.get_mut(owner).unwrap() += 1);
    }
    let mut sorted: Vec<&Placed> = placed.iter().collect();
    sorted.sort();
    let weights: Vec<u64> = sorted.iter().map(|p| u64::from(p.weight.get())).collect();
    let bounds = shares::bounds(&weights, &Zones::of(&sorted), params.partitions().get(), replicas);
    for (peer, bound) in sorted.iter().zip(bounds) {
        assert_eq!(placement.owned(&peer.peer), loads[&peer.peer]);
        assert!(loads[&peer.peer] <= bound as usize, "{} of {bound}", loads[&peer.peer]);
    }
    placement
}

#[test]
fn the_table_of_known_peers_never_changes() {
    let placement = Placement::compute(
        &peers(12, |n| (1 + (n % 3) as u16, (n % 6 != 0).then_some(n % 4))),
        &ClusterParams::default(),
    );
    let mut hash = Sha256::new();
    for partition in placement.params().partitions().all() {
        placement.owners(partition).for_each(|owner| hash.update(owner.to_bytes()));
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "75a6ddcdce5dffc12cc9587fa543a5878574cdf4fabfd10853e3341346a2c804");
}

#[test]
fn nobody_owns_a_ring_of_nobody() {
    let placement = Placement::empty(&small(8));
    assert_eq!(placement.owners(Partition(3)).len(), 0);
    assert_eq!(placement.walk(Partition(3)).count(), 0);
    assert_eq!(placement.owned(&id(0)), 0);
}

#[test]
fn everybody_owns_everything_where_there_are_no_more_than_n_peers() {
    for count in 1..=3 {
        for partitions in [1, 2, 64] {
            let placed = peers(count, |n| (1 + 20 * (n % 2) as u16, Some(n % 2)));
            let placement = check(&placed, &small(partitions));
            assert!(placed.iter().all(|p| placement.owned(&p.peer) == partitions as usize));
        }
    }
}

#[test]
fn a_partition_that_the_ring_does_not_have_has_no_owners() {
    let placement = Placement::compute(&peers(5, equal), &small(64));
    for unknown in [64, u32::MAX] {
        assert_eq!(placement.owners(Partition(unknown)).count(), 0);
        assert_eq!(placement.walk(Partition(unknown)).count(), 0);
        assert!(!placement.is_owner(Partition(unknown), &id(0)));
    }
}

#[test]
fn a_walk_meets_every_peer_once_in_the_order_of_its_nearest_token() {
    let params = small(64).with_tokens_per_weight(8).unwrap();
    let placed = peers(9, |n| (1 + (n % 2) as u16, Some(n % 2)));
    let placement = Placement::compute(&placed, &params);
    for partition in params.partitions().all() {
        let first = partition.first_position(params.partitions()).0;
        let mut nearest: Vec<(u64, PeerId)> = placed
            .iter()
            .map(|p| {
                let tokens =
                    (0..8 * u32::from(p.weight.get())).map(|index| Position::of_token(&p.peer, index).0);
                (tokens.map(|token| token.wrapping_sub(first)).min().unwrap(), p.peer)
            })
            .collect();
        nearest.sort();
        let expected: Vec<PeerId> = nearest.into_iter().map(|(_, peer)| peer).collect();
        assert_eq!(placement.walk(partition).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn owners_are_the_first_distinct_peers_clockwise_while_nobody_is_full() {
    // Dynamo §4.3 and §6.2, strategy 3.
    let params = small(1024);
    let placement = Placement::compute(&peers(20, equal), &params);
    let first = super::visiting_order(&params).into_iter().take(500);
    for partition in first {
        let walk: Vec<PeerId> = placement.walk(partition).take(3).collect();
        assert_eq!(placement.owners(partition).collect::<Vec<_>>(), walk);
    }
}

#[test]
fn the_partitions_that_a_peer_owns_are_those_that_name_it() {
    let placement = Placement::compute(&peers(7, equal), &small(256));
    for peer in placement.peers() {
        let owned: Vec<Partition> = placement.owned_partitions(peer).collect();
        assert_eq!(owned.len(), placement.owned(peer));
        assert!(owned.iter().all(|p| placement.owners(*p).any(|owner| owner == *peer)));
    }
    assert_eq!(placement.owned_partitions(&id(99)).count(), 0);
}

#[test]
fn of_several_entries_for_one_peer_the_largest_counts() {
    let params = small(64);
    let mut placed = peers(6, |n| (1, Some(n % 2)));
    placed[2] = super::tests::placed(2, 4, Some(1));
    let expected = Placement::compute(&placed, &params);
    placed.push(super::tests::placed(2, 1, Some(7)));
    placed.insert(0, super::tests::placed(2, 4, None));
    assert_eq!(Placement::compute(&placed, &params), expected);
}

#[test]
fn peers_without_a_zone_are_zones_of_their_own() {
    let params = small(1024);
    let unnamed = Placement::compute(&peers(8, equal), &params);
    let named = Placement::compute(&peers(8, |n| (1, Some(n))), &params);
    let common = Placement::compute(&peers(8, |_| (1, Some(0))), &params);
    assert_eq!(unnamed, named);
    assert_eq!(unnamed, common);
}

#[test]
fn naming_the_zones_one_peer_after_the_other_overloads_nobody() {
    let params = ClusterParams::default();
    for named in 0..=12 {
        let placed: Vec<Placed> = (0..12).map(|n| placed(n, 1, (n < named).then_some(n % 4))).collect();
        assert!(fullest(&placed, &params) <= 1.06, "{named} named");
    }
}

/// Bounds for unzoned peers of these weights.
fn bounds(weights: &[u64], partitions: u32, replicas: usize) -> Vec<u32> {
    let zones = Zones { of: vec![0; weights.len()], count: 1 };
    shares::bounds(weights, &zones, partitions, replicas)
}

#[test]
fn a_peer_too_heavy_for_its_share_owns_everything_and_leaves_the_others_theirs() {
    // 3 · 64 / 68 of the partitions would be 2.8 of each.
    assert_eq!(bounds(&[64, 1, 1, 1, 1], 1000, 3), [1000, 525, 525, 525, 525]);
    assert_eq!(bounds(&[64, 64, 1, 1], 1000, 3), [1000, 1000, 525, 525]);
}

#[test]
fn a_zone_too_small_for_its_share_covers_every_partition() {
    let zones = Zones { of: vec![0, 1, 1, 1, 1, 1], count: 2 };
    assert_eq!(shares::bounds(&[1; 6], &zones, 1000, 3), [1000, 420, 420, 420, 420, 420]);
}

#[test]
fn a_zone_too_large_for_its_share_gets_each_partition_once() {
    let zones = Zones { of: vec![0, 0, 0, 0, 0, 0, 1, 2, 3, 3], count: 4 };
    let large = [175; 6];
    let bounds = shares::bounds(&[1; 10], &zones, 1000, 3);
    assert_eq!(bounds[..6], large);
    assert_eq!(bounds[6..], [525; 4]);
}

#[test]
fn a_walk_that_ends_short_takes_the_least_loaded_above_the_bound() {
    let zones = Zones { of: vec![0, 0, 1, 1], count: 2 };
    let mut assigner = Assigner::new(&[2, 1, 1, 0], &zones, 4, 3);
    let mut owners = [0; 3];
    for left in (1..=4).rev() {
        assigner.assign([2, 0, 1, 2, 3].into_iter(), left, &mut owners);
        let mut distinct = owners.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 3);
        let ranks: Vec<usize> =
            owners.iter().map(|o| [2, 0, 1, 3].iter().position(|p| p == o).unwrap()).collect();
        assert!(ranks.is_sorted(), "in ring order");
    }
    assert_eq!(assigner.loads().sum::<u32>(), 12);
}

/// Feasible weights and zones, also such that are only just so.
const FEASIBLE: &[(&str, Kind)] = &[
    ("equal", equal),
    ("two zones", |n| (1, Some(n % 2))),
    ("five zones", |n| (1, Some(n % 5))),
    ("one in three twice as large", |n| (1 + u16::from(n % 3 == 0), None)),
    ("weights and zones", |n| (1 + (n % 4 / 2) as u16, Some(n % 5))),
];

#[test]
fn the_fullest_peer_is_within_6_percent_of_its_share() {
    let params = ClusterParams::default();
    for count in [5, 10, 50, 100] {
        for (name, kind) in FEASIBLE {
            let fullest = fullest(&peers(count, *kind), &params);
            assert!(fullest <= 1.06, "{name}, {count} peers: {fullest}");
        }
    }
}

#[test]
fn peers_and_zones_that_must_own_every_partition_overload_nobody() {
    let params = ClusterParams::default();
    let heavy = peers(11, |n| (if n == 0 { 5 } else { 1 }, None));
    assert!(fullest(&heavy, &params) <= 1.06, "one peer has a third of the weight");
    let three = peers(12, |n| (1, Some(n % 3)));
    assert!(fullest(&three, &params) <= 1.06, "three zones for three replicas");
    let small = peers(12, |n| (1, Some(u32::from(n < 4))));
    assert!(fullest(&small, &params) <= 1.06, "the smaller of two zones has a third of the weight");
    let large = peers(12, |n| (1, Some(if n < 4 { 0 } else { 1 + n % 4 })));
    assert!(fullest(&large, &params) <= 1.06, "the largest of five zones has a third of the weight");
}

/// Moved by a run of joins from `count` on and by as many leaves, in relation to the shares of
/// those who come and go.
fn movement(count: u32, kind: Kind, runs: u32) -> f64 {
    let params = ClusterParams::default();
    let (mut total, mut optimum) = (0.0, 0.0);
    let mut before = Placement::compute(&peers(count, kind), &params);
    for joined in 1..=runs {
        let all = peers(count + joined, kind);
        let after = Placement::compute(&all, &params);
        total += moved(&before, &after) as f64;
        optimum += share(&all, all.last().unwrap(), &params);
        before = after;
        let left: Vec<Placed> = all.iter().filter(|p| p.peer != id(joined)).cloned().collect();
        total += moved(&before, &Placement::compute(&left, &params)) as f64;
        optimum += share(&all, &all[joined as usize], &params);
    }
    total / optimum
}

#[test]
fn a_join_or_leave_moves_no_more_than_a_tenth_above_the_optimum() {
    let weighted: Kind = |n| (1 + u16::from(n % 3 == 0), None);
    for (count, runs) in [(5, 4), (10, 4), (50, 2), (100, 2)] {
        for kind in [equal, weighted] {
            let moved = movement(count, kind, runs);
            assert!((0.9..=1.1).contains(&moved), "{count} peers: {moved}");
        }
    }
}

#[test]
fn a_join_or_leave_that_makes_zones_uneven_moves_no_more_than_a_third_above_the_optimum() {
    // A walk over zones gives a large one less than its share: the bound has to give it more.
    for (name, kind) in FEASIBLE {
        let moved = movement(10, *kind, 5);
        assert!(moved <= 1.33, "{name}: {moved}");
    }
}

/// What happens to a ring.
#[derive(Debug, Clone)]
enum Change {
    Join { weight: u16, zone: Option<u32> },
    Leave { which: usize },
    Reweigh { which: usize, weight: u16 },
    Move { which: usize, zone: Option<u32> },
}

fn change() -> impl Strategy<Value = Change> {
    let zone = || option::weighted(0.8, 0u32..6);
    prop_oneof![
        4 => (1u16..6, zone()).prop_map(|(weight, zone)| Change::Join { weight, zone }),
        3 => any::<usize>().prop_map(|which| Change::Leave { which }),
        1 => (any::<usize>(), 1u16..65).prop_map(|(which, weight)| Change::Reweigh { which, weight }),
        1 => (any::<usize>(), zone()).prop_map(|(which, zone)| Change::Move { which, zone }),
    ]
}

/// The peers after each of `changes`; numbers are given once.
fn history(changes: &[Change]) -> Vec<Vec<Placed>> {
    let mut now: Vec<Placed> = Vec::new();
    let mut all = Vec::new();
    for (number, change) in (0..).zip(changes) {
        let count = now.len().max(1);
        match change {
            Change::Join { weight, zone } => now.push(placed(number, *weight, *zone)),
            Change::Leave { which } if !now.is_empty() => _ = now.swap_remove(which % count),
            Change::Reweigh { which, weight } if !now.is_empty() => {
                now[which % count].weight = Weight::new(*weight).unwrap();
            }
            Change::Move { which, zone } if !now.is_empty() => {
                now[which % count].zone = placed(0, 1, *zone).zone;
            }
            Change::Leave { .. } | Change::Reweigh { .. } | Change::Move { .. } => {}
        }
        all.push(now.clone());
    }
    all
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn every_table_of_a_sequence_is_sound(
        changes in collection::vec(change(), 1..30),
        bits in 0u32..9,
        tokens in prop_oneof![Just(1u16), Just(16), Just(64)],
        replicas in 1u8..6,
    ) {
        let params = ClusterParams::new(replicas).unwrap().with_partitions(1 << bits).unwrap();
        let params = params.with_tokens_per_weight(tokens).unwrap();
        for peers in history(&changes) {
            check(&peers, &params);
        }
    }

    #[test]
    fn the_order_and_history_of_insertion_do_not_matter(
        changes in collection::vec(change(), 1..30),
        by in any::<usize>(),
    ) {
        let mut peers = history(&changes).pop().unwrap();
        let placement = Placement::compute(&peers, &small(64));
        let by = by % peers.len().max(1);
        peers.rotate_left(by);
        prop_assert_eq!(&Placement::compute(&peers, &small(64)), &placement);
        peers.reverse();
        prop_assert_eq!(&Placement::compute(&peers, &small(64)), &placement);
        peers.sort();
        prop_assert_eq!(&Placement::compute(&peers, &small(64)), &placement);
    }

    #[test]
    fn bounds_are_five_percent_above_the_share_wherever_every_share_can_be(
        weights in collection::vec(1u64..65, 3..60),
        bits in 0u32..17,
    ) {
        let (q, sum) = (1u32 << bits, weights.iter().sum::<u64>());
        let feasible = weights.iter().all(|w| w * 3 <= sum);
        for (weight, bound) in weights.iter().zip(bounds(&weights, q, 3)) {
            let exact = (21 * u64::from(q) * 3 * weight).div_ceil(20 * sum).min(u64::from(q));
            prop_assert!(u64::from(bound) >= exact.min(u64::from(q)) || !feasible);
            prop_assert!(u64::from(bound) == exact || !feasible);
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 1024, ..Config::default() })]

    #[test]
    fn bounds_hold_also_where_few_zones_must_be_covered_by_many_replicas(
        peers in collection::btree_map(0u32..1000, (1u16..65, 0u32..5), 2..24),
        bits in 0u32..7,
        replicas in 3u8..7,
    ) {
        let params = ClusterParams::new(replicas).unwrap().with_partitions(1 << bits).unwrap();
        let params = params.with_tokens_per_weight(1).unwrap();
        let zone = |zone: u32| Some(zone % u32::from(replicas - 1));
        check(&peers.into_iter().map(|(n, (w, z))| placed(n, w, zone(z))).collect::<Vec<_>>(), &params);
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn joins_and_leaves_move_little_more_than_those_who_come_and_go_own(
        first in 0u32..1_000_000,
        start in 5u32..16,
        steps in collection::vec(option::weighted(0.45, any::<usize>()), 10),
    ) {
        let params = small(4096);
        let mut peers: Vec<Placed> = (0..start).map(|n| placed(first + n, 1, None)).collect();
        let mut before = Placement::compute(&peers, &params);
        let (mut total, mut optimum) = (0.0, 0.0);
        for (number, step) in (first + start..).zip(steps) {
            let among = peers.len();
            match step {
                Some(which) if among > 5 => _ = peers.swap_remove(which % among),
                Some(_) | None => peers.push(placed(number, 1, None)),
            }
            optimum += 4096.0 * 3.0 / among.max(peers.len()) as f64;
            let after = Placement::compute(&peers, &params);
            total += moved(&before, &after) as f64;
            before = after;
        }
        prop_assert!(total <= 1.1 * optimum, "{}", total / optimum);
    }
}
