#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use henge_types::{Incarnation, RingId, Voter};

use super::*;

const ONE: Partition = Partition(1);

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

/// This peer is 0, and owns a partition that three others have.
fn voters() -> Arc<Voters> {
    let voter = |n: u8| {
        let custody = if n == 0 { Custody::Part } else { Custody::Full };
        Voter { peer: peer(n), incarnation: Incarnation(1), owner: n < 3, custody }
    };
    Arc::new(Voters::new(RingId([1; 16]), ONE, (0..4).map(voter).collect()))
}

fn plan(rebalance: &mut Rebalance, pulled: &[Partition], reachable: &[u8]) -> Plan {
    let (params, none) = (ClusterParams::default(), BTreeSet::new());
    let pulled = pulled.iter().copied().collect();
    let around = Around { me: peer(0), params: &params, closing: &none, leftovers: &none, pulled: &pulled };
    let reachable: Vec<PeerId> = reachable.iter().copied().map(peer).collect();
    rebalance.plan(&around, [(ONE, voters())].into_iter(), |peer| reachable.contains(peer))
}

fn asked(entries: &BTreeMap<PeerId, Entries>) -> Vec<PeerId> {
    entries.keys().copied().collect()
}

#[test]
fn a_partition_is_pulled_from_one_voter_after_the_other() {
    let mut rebalance = Rebalance::default();
    assert_eq!(asked(&plan(&mut rebalance, &[], &[1, 2, 3]).compare), [peer(1), peer(2)], "N − W + 1");
    for n in [1, 2] {
        rebalance.on_compared(&peer(n), Some(vec![Answer::Occupied]));
    }
    let first = plan(&mut rebalance, &[], &[1, 2, 3]);
    assert_eq!(asked(&first.pull), [peer(1)]);
    // The first seems to be away while its records still come.
    assert_eq!(asked(&plan(&mut rebalance, &[ONE], &[2, 3]).pull), []);

    let outcomes = BTreeMap::from([(ONE, Outcome::Moved { pulled: 7, pushed: 0 })]);
    rebalance.on_pulled(peer(1), &first.pull[&peer(1)], &outcomes);
    let second = plan(&mut rebalance, &[], &[1, 2, 3]);
    assert_eq!((asked(&second.pull), second.full), (vec![peer(2)], vec![]));
    let outcomes = BTreeMap::from([(ONE, Outcome::InSync)]);
    rebalance.on_pulled(peer(2), &second.pull[&peer(2)], &outcomes);
    assert_eq!(plan(&mut rebalance, &[], &[1, 2, 3]).full, [ONE]);
}
