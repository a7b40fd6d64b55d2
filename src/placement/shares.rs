//! How many partitions each peer may own at most.

use henge_types::limits::WEIGHT_MAX;

use super::Zones;

/// Shares are counted in 2^-40 of a partition: Q (up to 2^16) and a sum over peers leave room
/// in 64 and 128 bits.
const FRACTION_BITS: u32 = 40;

/// The bound is 21/20 of the share (our choice: 5 % above the mean is what a walk of 256 tokens
/// keeps to for most peers anyway, so few partitions move on account of it).
const BOUND: (u64, u64) = (21, 20);

/// A share is up to WEIGHT_MAX units too large, because its level is rounded up. The bound forgives
/// more than that and far less than the smallest step that exact bounds can differ by.
const FORGIVEN: u64 = (BOUND.1 << FRACTION_BITS) >> 30;
const _: () = assert!(FORGIVEN > BOUND.0 * (WEIGHT_MAX as u64));

/// The most partitions that each peer may own: ceil(1.05 · share), at most Q.
///
/// The share is Q · N · w/Σw wherever that can be. It cannot where it is more than the Q
/// partitions there are; where a zone of many zones would have to own a partition twice; where
/// a zone of few zones would not cover every partition. Such a peer or zone gets exactly Q, and
/// the others share what is left, or lacking, by their weights: min(Q, w · level) with one level
/// for all, which is raised until the shares add up to Q · N. So there always is a table within
/// the bounds.
///
/// `replicas` is N, or the number of peers where they are fewer.
pub(super) fn bounds(weights: &[u64], zones: &Zones, partitions: u32, replicas: usize) -> Vec<u32> {
    let all = u64::from(partitions) << FRACTION_BITS;
    let mut of_zone = vec![0; zones.count];
    for (weight, zone) in weights.iter().zip(&zones.of) {
        if let Some(sum) = of_zone.get_mut(*zone as usize) {
            *sum += weight;
        }
    }
    // For each peer its weight, and the level at which its zone owns exactly Q.
    let peers: Vec<(u64, u64)> = weights
        .iter()
        .zip(&zones.of)
        .map(|(weight, zone)| (*weight, of_zone.get(*zone as usize).map_or(0, |sum| all.div_ceil(*sum))))
        .collect();
    let apart = zones.count > replicas;
    let share = |level: u64, (weight, once): (u64, u64)| {
        let level = if apart { level.min(once) } else { level.max(once) };
        (weight * level).min(all)
    };
    let needed = u128::from(all) * replicas as u128;
    let enough = |level| peers.iter().map(|peer| u128::from(share(level, *peer))).sum::<u128>() >= needed;
    let level = lowest(all, enough);
    let unit = BOUND.1 << FRACTION_BITS;
    peers
        .iter()
        .map(|peer| (share(level, *peer) * BOUND.0).saturating_sub(FORGIVEN).div_ceil(unit))
        .map(|bound| u32::try_from(bound).unwrap_or(partitions).min(partitions))
        .collect()
}

/// The lowest number up to `most` for which `enough` holds; `most` if it holds for none below.
fn lowest(most: u64, enough: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
