//! What strict reads, strict writes and acquisitions need, by hand and by exhaustion.

use henge_types::voters::ReadNeed;
use henge_types::{ClusterParams, Custody, Incarnation, Partition, PeerId, RingId, Voter, Voters};
use proptest::prelude::*;

use crate::common::{RING, peer};

fn voter(seed: u8, custody: Custody) -> Voter {
    Voter { peer: peer(seed), incarnation: Incarnation(1), owner: true, custody }
}

/// Voters with these custodies: `f`ull, `p`art, `n`one.
fn voters(custodies: &str) -> Voters {
    let custody = |letter| match letter {
        'f' => Custody::Full,
        'p' => Custody::Part,
        _ => Custody::None,
    };
    let all = (0..).zip(custodies.chars()).map(|(seed, letter)| voter(seed, custody(letter)));
    Voters::new(RING, Partition(9), all.collect())
}

fn params(n: u8, r: u8, w: u8) -> ClusterParams {
    ClusterParams::new(n).unwrap().with_quorums(r, w).unwrap()
}

fn need(answers: usize, full: usize) -> ReadNeed {
    ReadNeed { answers, full }
}

#[test]
fn acks_of_a_strict_write() {
    let table = [
        // N, R, W, voters, W of the request, acks
        ((3, 2, 2), "", None, 1),
        ((3, 2, 2), "f", None, 1),
        ((3, 2, 2), "ff", None, 2),
        ((3, 2, 2), "fff", None, 2),
        ((3, 2, 2), "fffp", None, 3),
        ((3, 2, 2), "ffffpp", None, 5),
        ((3, 1, 3), "ff", None, 2),
        ((3, 1, 3), "ffff", None, 4),
        ((3, 3, 1), "f", None, 1),
        ((3, 3, 1), "fff", None, 1),
        ((3, 3, 1), "ffff", None, 2),
        ((5, 3, 3), "fffff", None, 3),
        ((5, 3, 3), "fffffff", None, 5),
        ((1, 1, 1), "fp", None, 2),
        // Not capped: what cannot be kept is refused.
        ((3, 2, 2), "f", Some(2), 2),
        ((3, 2, 2), "fff", Some(3), 3),
        ((3, 2, 2), "fff", Some(4), 4),
        // More than the cluster's: fewer are left out.
        ((3, 2, 2), "ffff", Some(2), 3),
        ((3, 2, 2), "ffff", Some(3), 4),
        ((3, 2, 2), "fffff", Some(7), 7),
        // Fewer than the cluster's: best effort, but never nothing.
        ((3, 2, 2), "ffff", Some(1), 1),
        ((3, 2, 2), "fff", Some(0), 1),
    ];
    for ((n, r, w), custodies, asked, acks) in table {
        let got = voters(custodies).write_need(&params(n, r, w), asked);
        assert_eq!(got, acks, "N={n} W={w}, voters {custodies:?}, asked for {asked:?}");
    }
}

#[test]
fn answers_of_a_strict_read() {
    let table = [
        ((3, 2, 2), "", None, need(1, 1)),
        ((3, 2, 2), "f", None, need(1, 1)),
        ((3, 2, 2), "fff", None, need(2, 2)),
        ((3, 2, 2), "ffp", None, need(2, 2)),
        ((3, 2, 2), "fpp", None, need(3, 1)),
        ((3, 2, 2), "fppp", None, need(4, 1)),
        ((3, 2, 2), "ffpn", None, need(2, 2)),
        // Nobody is full: not even all answers are enough.
        ((3, 2, 2), "ppn", None, need(3, 1)),
        ((3, 3, 1), "ffp", None, need(3, 2)),
        ((3, 3, 1), "ff", None, need(2, 2)),
        ((3, 2, 2), "fff", Some(1), need(1, 1)),
        ((3, 2, 2), "fff", Some(0), need(1, 1)),
        // Not capped.
        ((3, 2, 2), "ff", Some(3), need(3, 2)),
        ((3, 2, 2), "f", Some(2), need(2, 1)),
    ];
    for ((n, r, w), custodies, asked, expected) in table {
        let got = voters(custodies).read_need(&params(n, r, w), asked);
        assert_eq!(got, expected, "N={n} R={r}, voters {custodies:?}, asked for {asked:?}");
    }
}

#[test]
fn from_whom_a_voter_acquires() {
    // The voter that acquires is the first one.
    let table = [
        ((3, 2, 2), "p", need(0, 0)),
        ((3, 2, 2), "pff", need(2, 2)),
        ((3, 2, 2), "pfff", need(2, 2)),
        ((3, 2, 2), "pfp", need(2, 1)),
        ((3, 2, 2), "ppp", need(2, 0)),
        ((3, 1, 3), "pfff", need(1, 1)),
        ((3, 3, 1), "pfff", need(3, 3)),
        ((3, 3, 1), "pff", need(2, 2)),
        // What it has itself does not count.
        ((3, 2, 2), "fff", need(2, 2)),
    ];
    for ((n, r, w), custodies, expected) in table {
        let got = voters(custodies).acquire_need(&params(n, r, w), &peer(0));
        assert_eq!(got, expected, "N={n} W={w}, voters {custodies:?}");
    }
}

#[test]
fn voters_are_found_by_peer() {
    let all = voters("fp");
    assert_eq!(all.get(&peer(1)), Some(&voter(1, Custody::Part)));
    assert_eq!(all.get(&peer(2)), None);
    assert_eq!((all.len(), all.full(), all.is_empty()), (2, 1, false));
    assert!(voters("").is_empty());
}

#[test]
fn the_digest_tells_every_difference() {
    let base = vec![voter(1, Custody::Full), voter(2, Custody::Part)];
    let change = |apply: &dyn Fn(&mut Vec<Voter>)| {
        let mut changed = base.clone();
        apply(&mut changed);
        Voters::new(RING, Partition(9), changed).digest()
    };
    let digests = [
        change(&|_| {}),
        change(&|v| v[0].custody = Custody::Part),
        change(&|v| v[0].owner = false),
        change(&|v| v[0].incarnation = Incarnation(2)),
        change(&|v| v[0].peer = peer(3)),
        change(&|v| v.truncate(1)),
        change(&|v| v.push(voter(3, Custody::None))),
        Voters::new(RING, Partition(8), base.clone()).digest(),
        Voters::new(RingId([0; 16]), Partition(9), base.clone()).digest(),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "difference {at} is not told");
    }
}

/// A set of voters that answered, as bits.
#[derive(Clone, Copy)]
struct Set(u32);

impl Set {
    fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.and(other).0 != 0
    }
}

fn satisfies(set: Set, full: Set, need: ReadNeed) -> bool {
    set.len() >= need.answers && set.and(full).len() >= need.full
}

#[derive(Debug, Clone)]
struct Case {
    custodies: String,
    n: u8,
    r: u8,
    w: u8,
    asked_r: Option<usize>,
    asked_w: Option<usize>,
}

impl Case {
    fn full(&self) -> Set {
        let bits = self.custodies.chars().enumerate().filter(|(_, letter)| *letter == 'f');
        Set(bits.fold(0, |set, (at, _)| set | 1 << at))
    }

    fn sets(&self) -> impl Iterator<Item = Set> + Clone + use<> {
        (0..1 << self.custodies.len()).map(Set)
    }

    fn writes(&self) -> Vec<Set> {
        let (voters, full) = (voters(&self.custodies), self.full());
        let acks = voters.write_need(&params(self.n, self.r, self.w), self.asked_w);
        self.sets().filter(|set| satisfies(*set, full, need(acks, 1))).collect()
    }

    fn reads(&self) -> Vec<Set> {
        let (voters, full) = (voters(&self.custodies), self.full());
        let answers = voters.read_need(&params(self.n, self.r, self.w), self.asked_r);
        self.sets().filter(|set| satisfies(*set, full, answers)).collect()
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let quorums = (1..=5_u8).prop_flat_map(|n| (Just(n), 1..=n, 1..=n));
    let asked = || prop::option::of(1..=6_usize);
    ("[fpn]{0,7}", quorums, asked(), asked()).prop_map(|(custodies, (n, r, w), asked_r, asked_w)| Case {
        custodies,
        n,
        r,
        w,
        asked_r,
        asked_w,
    })
}

proptest! {
    #[test]
    fn every_strict_read_meets_every_strict_write(case in cases()) {
        let r = case.asked_r.unwrap_or(case.r.into());
        let w = case.asked_w.unwrap_or(case.w.into());
        // A smaller W than the cluster's holds while no more than the owners vote.
        let kept = w >= case.w.into() || case.custodies.len() <= case.n.into();
        prop_assume!(r + w > case.n.into() && kept);
        for write in case.writes() {
            for read in case.reads() {
                prop_assert!(write.meets(read), "write {:b} and read {:b}", write.0, read.0);
            }
        }
    }

    #[test]
    fn who_acquires_meets_every_strict_write_that_it_did_not_take_itself(case in cases()) {
        prop_assume!(!case.custodies.is_empty() && case.asked_w.is_none_or(|w| w >= case.w.into()));
        let me = Set(1);
        // It is not full yet: that is why it acquires.
        let case = Case { custodies: format!("p{}", &case.custodies[1..]), ..case };
        let wanted = voters(&case.custodies).acquire_need(&params(case.n, case.r, case.w), &peer(0));
        let full = case.full();
        for from in case.sets().filter(|set| !set.meets(me) && satisfies(*set, full, wanted)) {
            for write in case.writes() {
                prop_assert!(write.meets(from) || write.meets(me), "{:b} {:b}", write.0, from.0);
            }
        }
    }

    #[test]
    fn nobodys_silence_is_an_answer(case in cases()) {
        let nobody = Set(0);
        prop_assert!(!case.writes().iter().chain(&case.reads()).any(|set| set.0 == nobody.0));
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order(
        order in Just((0..6_u8).collect::<Vec<_>>()).prop_shuffle(), custodies in "[fpn]{6}",
    ) {
        let sorted = voters(&custodies);
        let shuffled = order.iter().map(|at| sorted.as_slice()[usize::from(*at)]).collect();
        let shuffled = Voters::new(RING, Partition(9), shuffled);
        prop_assert_eq!(shuffled.digest(), sorted.digest());
        let peers = |voters: &Voters| voters.as_slice().iter().map(|v| v.peer).collect::<Vec<PeerId>>();
        let expected: Vec<_> = order.iter().map(|seed| peer(*seed)).collect();
        prop_assert_eq!(peers(&shuffled), expected, "the preference order is kept");
    }
}
