#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use henge_membership::{Config, Start, State, Update};
use henge_types::member::Signer;
use henge_types::{Cause, ClusterName, MemberRecord, Now, RingSecret, SignedMember, Weight, Zone};
use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_assert_eq, prop_oneof, proptest};

use super::*;

const RING: RingId = RingId([1; 16]);
const NOW: Now = Now { monotonic: Duration::from_secs(1), unix_ms: 1_000_000 };
const ME: u8 = 0;
const PEERS: u8 = 7;

fn params() -> ClusterParams {
    ClusterParams::default().with_partitions(32).unwrap()
}

fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

/// Everybody's signature is the same.
struct Trusting;

impl Signer for Trusting {
    fn sign(&self, _: &[u8]) -> Vec<u8> {
        vec![7]
    }

    fn verify(&self, _: &PeerId, _: &[u8], signature: &[u8]) -> bool {
        signature == [7]
    }
}

/// What happens to one member.
#[derive(Debug, Clone)]
enum Change {
    Custody(Vec<(u32, Custody)>),
    CustodyEverywhere(Custody),
    /// Its map follows later, with its next change.
    MapMissing(Custody),
    NewLife,
    State(MemberState),
    Weight(u16),
    Zone(bool),
    Evict,
}

fn changes() -> impl Strategy<Value = (u8, Change)> {
    let custody = || proptest::sample::select(&[Custody::None, Custody::Part, Custody::Full][..]);
    let some = collection::vec((0..32u32, custody()), 1..6);
    let state = proptest::sample::select(&[MemberState::Active, MemberState::Leaving, MemberState::Left][..]);
    let change = prop_oneof![
        5 => some.prop_map(Change::Custody),
        2 => custody().prop_map(Change::CustodyEverywhere),
        1 => custody().prop_map(Change::MapMissing),
        1 => state.prop_map(Change::State),
        1 => (1..3u16).prop_map(Change::Weight),
        1 => any::<bool>().prop_map(Change::Zone),
        1 => proptest::strategy::Just(Change::NewLife),
        1 => proptest::strategy::Just(Change::Evict),
    ];
    (1..PEERS, change)
}

/// A peer that hears of the others.
struct World {
    state: State,
    others: BTreeMap<u8, (MemberRecord, CustodyMap)>,
}

impl World {
    fn new() -> Self {
        let config = Config::new(peer(ME), ClusterName::default(), params());
        let birth = Start::Birth { ring: RING, secret: RingSecret([2; 32]) };
        let mut state = State::new(config, birth, Box::new(Trusting), NOW);
        while let Some(action) = state.poll_action() {
            if let henge_membership::Action::Reserve { reservation } = action {
                state.handle_reserved(reservation, NOW);
            }
        }
        Self { state, others: BTreeMap::new() }
    }

    fn change(&mut self, n: u8, change: Change) {
        let nothing = CustodyMap::uniform(params().partitions(), Custody::None);
        let (record, custody) = self.others.entry(n).or_insert_with(|| (newcomer(n), nothing.clone()));
        record.counter += 1;
        let mut is_told = true;
        match change {
            Change::Custody(some) => some.into_iter().for_each(|(p, to)| custody.set(Partition(p), to)),
            Change::CustodyEverywhere(to) => *custody = CustodyMap::uniform(params().partitions(), to),
            Change::MapMissing(to) => {
                *custody = CustodyMap::uniform(params().partitions(), to);
                is_told = false;
            }
            Change::NewLife => {
                *record = MemberRecord { incarnation: Incarnation(record.incarnation.0 + 1), ..newcomer(n) };
                *custody = nothing;
            }
            Change::State(state) => record.state = record.state.max(state),
            Change::Weight(weight) => record.weight = Weight::new(weight).unwrap(),
            Change::Zone(named) => record.zone = named.then(|| Zone::new("a").unwrap()),
            Change::Evict => {
                // Who was evicted, or left, cannot be once more.
                let _ = self.state.accuse(peer(n), Cause::Removed, NOW);
                return;
            }
        }
        record.custody = custody.digest();
        let member = SignedMember::sign(record.clone(), &Trusting).unwrap();
        let update = Update { member, custody: is_told.then(|| custody.clone()) };
        self.state.on_updates(peer(n), vec![update], NOW);
    }
}

fn newcomer(n: u8) -> MemberRecord {
    MemberRecord {
        ring: RING,
        peer: peer(n),
        incarnation: Incarnation(1),
        counter: 0,
        state: MemberState::Active,
        weight: Weight::default(),
        zone: None,
        addresses: vec![],
        custody: CustodyMap::uniform(params().partitions(), Custody::None).digest(),
        records: 0,
        wire: (1, 1),
        suspects: vec![],
        evictions: 0,
    }
}

fn all_voters(ownership: &mut Ownership, view: &View) -> Vec<Arc<Voters>> {
    params().partitions().all().map(|partition| ownership.voters(view, partition)).collect()
}

proptest! {
    /// Looked at after some of the changes only, so that one look follows several of them.
    #[test]
    fn what_was_kept_is_what_would_be_computed_from_nothing(
        changes in collection::vec((changes(), any::<bool>()), 1..40),
    ) {
        let mut world = World::new();
        let mut kept = Ownership::new(RING, params());
        let mut last: Option<(u64, Vec<Arc<Voters>>)> = None;
        for ((n, change), look) in changes {
            world.change(n, change);
            if look {
                let mut anew = Ownership::new(RING, params());
                let view = world.state.view();
                let voters = all_voters(&mut kept, view);
                prop_assert_eq!(&voters, &all_voters(&mut anew, view));
                prop_assert_eq!(kept.placement(), anew.placement());
                if let Some((then, were)) = last {
                    for partition in params().partitions().all().filter(|p| kept.since(view, *p) <= then) {
                        prop_assert_eq!(&voters[partition.index()], &were[partition.index()]);
                    }
                }
                last = Some((view.generation(), voters));
            }
        }
    }
}

#[test]
fn one_change_of_custody_leaves_the_other_partitions_alone() {
    let mut world = World::new();
    for n in 1..PEERS {
        world.change(n, Change::CustodyEverywhere(Custody::Full));
    }
    let mut ownership = Ownership::new(RING, params());
    let before = all_voters(&mut ownership, world.state.view());
    world.change(3, Change::Custody(vec![(5, Custody::None)]));
    let view = world.state.view();
    let after = all_voters(&mut ownership, view);
    let mut since = |partition| ownership.since(view, partition) == view.generation();
    assert_eq!(params().partitions().all().filter(|p| since(*p)).collect::<Vec<_>>(), [Partition(5)]);
    let others = before.iter().zip(&after).filter(|(before, after)| !Arc::ptr_eq(before, after)).count();
    assert_eq!(others, 1);
    assert_ne!(before[5], after[5]);
}
