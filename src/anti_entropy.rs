//! With whom to look next whether both have the same (Dynamo §4.7).

use std::collections::BTreeSet;

use henge_types::PeerId;

/// Goes round the members; those that were away come first.
#[derive(Debug, Default)]
pub struct AntiEntropy {
    last: Option<PeerId>,
    // Bounded by the members: only those are put in.
    soon: BTreeSet<PeerId>,
}

impl AntiEntropy {
    /// `peer` was away: it may have missed something.
    pub fn on_back(&mut self, peer: PeerId) {
        self.soon.insert(peer);
    }

    /// With whom of `others`, which are sorted, to begin now. Those that are busy with this peer keep
    /// their turn.
    pub fn next(&mut self, others: &[PeerId], is_busy: impl Fn(&PeerId) -> bool) -> Option<PeerId> {
        self.soon.retain(|peer| others.binary_search(peer).is_ok());
        if let Some(peer) = self.soon.iter().find(|peer| !is_busy(peer)).copied() {
            self.soon.remove(&peer);
            return Some(peer);
        }
        let after = |peer: &&PeerId| self.last.is_none_or(|last| **peer > last);
        let free = || others.iter().filter(|peer| !is_busy(peer));
        let next = free().find(after).or(free().next()).copied()?;
        self.last = Some(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn it_goes_round_and_takes_those_that_were_away_first() {
        let peer = |n| PeerId::from_bytes(&[0, 1, n]).unwrap();
        let mut others = [1, 2, 3].map(peer);
        others.sort();
        let mut round = AntiEntropy::default();
        let next = |round: &mut AntiEntropy| round.next(&others, |_| false).unwrap();
        let first: Vec<_> = (0..4).map(|_| next(&mut round)).collect();
        assert_eq!(first, [others[0], others[1], others[2], others[0]]);
        round.on_back(others[2]);
        round.on_back(peer(9));
        assert_eq!([next(&mut round), next(&mut round)], [others[2], others[1]], "9 is no member");
        assert_eq!(round.next(&[], |_| false), None);
    }

    #[test]
    fn those_that_are_busy_are_left_for_later() {
        let peer = |n| PeerId::from_bytes(&[0, 1, n]).unwrap();
        let mut others = [1, 2, 3].map(peer);
        others.sort();
        let mut round = AntiEntropy::default();
        round.on_back(others[1]);
        assert_eq!(round.next(&others, |peer| *peer == others[1]), Some(others[0]));
        assert_eq!(round.next(&others, |_| true), None);
        assert_eq!(round.next(&others, |_| false), Some(others[1]), "it was away");
        assert_eq!(round.next(&others, |_| false), Some(others[1]), "its turn");
    }
}
