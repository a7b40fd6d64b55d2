//! Who stands in for a voter that is away: the next healthy peers of the walk (Dynamo §4.6).

use henge_types::{PeerId, Zone};

/// Up to this many peers are looked at for one partition: enough for every replica of it, and a
/// bound where a large part of the ring is down.
pub const FALLBACKS_MAX: usize = 8;

/// The peers that may stand in for voters of a partition, the best first: those of zones in which
/// no voter is healthy come before the others, and both are in the order of `walk`, which has
/// healthy peers that are no voters. `taken` are the zones of the healthy voters.
pub fn choose(walk: impl Iterator<Item = (PeerId, Option<Zone>)>, mut taken: Vec<Zone>) -> Vec<PeerId> {
    let (mut spread, mut rest) = (Vec::new(), Vec::new());
    for (peer, zone) in walk {
        // A peer without a zone is a zone of its own.
        let free = zone.as_ref().is_none_or(|zone| !taken.contains(zone));
        if free {
            taken.extend(zone);
            spread.push(peer);
            if spread.len() == FALLBACKS_MAX {
                return spread;
            }
        } else if rest.len() < FALLBACKS_MAX {
            rest.push(peer);
        }
    }
    spread.extend(rest);
    spread.truncate(FALLBACKS_MAX);
    spread
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::new(name).unwrap()
    }

    #[test]
    fn zones_without_a_healthy_voter_come_first_and_each_once() {
        let walk = [(1, "attic"), (2, "cellar"), (3, "cellar"), (4, "shed"), (5, "attic")]
            .map(|(n, name)| (peer(n), Some(zone(name))));
        let chosen = choose(walk.into_iter(), vec![zone("attic")]);
        assert_eq!(chosen, [2, 4, 1, 3, 5].map(peer));
    }

    #[test]
    fn without_zones_the_walk_decides() {
        let walk = (1..20).map(|n| (peer(n), None));
        assert_eq!(choose(walk, Vec::new()), (1..9).map(peer).collect::<Vec<_>>());
    }
}
