//! How long a placement takes, how even it is, what a join or a leave moves, and what following the
//! custody of members takes: `cargo bench --bench placement`.

use std::collections::BTreeSet;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use henge::ownership::Ownership;
use henge::placement::{Placed, Placement};
use henge::rebalance::{Around, Rebalance};
use henge_membership::{Update, View};
use henge_types::member::Signer;
use henge_types::{
    ClusterParams, Custody, CustodyMap, Incarnation, MemberRecord, MemberState, Now, Partition, PeerId,
    RingId, SignedMember, Weight, Zone,
};
use sha2::{Digest, Sha256};

const ROUNDS: usize = 20;

/// The name, and weight and zone of a peer by its number.
type Kind = (&'static str, fn(u32) -> (u16, Option<u32>));

const KINDS: &[Kind] = &[
    ("equal", |_| (1, None)),
    ("2 zones", |n| (1, Some(n % 2))),
    ("5 zones", |n| (1, Some(n % 5))),
    ("weights 1, 2", |n| (1 + u16::from(n % 3 == 0), None)),
    ("weights 1, 2; 5 zones", |n| (1 + u16::from(n % 4 > 1), Some(n % 5))),
];

/// Shares that can only just be had, or cannot.
const EXTREMES: &[Kind] = &[
    ("weights 1 to 4", |n| (1 + u16::try_from(n % 4).unwrap_or(0), None)),
    ("one peer alone in a zone", |n| (1, Some(n.min(1)))),
];

fn main() -> Result<(), Box<dyn Error>> {
    let params = ClusterParams::default();
    println!("{params}");
    println!("\n{:>6} {:<26} {:>9} {:>10} {:>10}", "peers", "time", "best ms", "median ms", "worst ms");
    for count in [5, 100, 1000] {
        for kind in KINDS.iter().chain(EXTREMES) {
            time(count, kind, &params)?;
        }
    }
    println!(
        "\n{:>6} {:<26} {:>9} {:>10} {:>10}",
        "peers", "load / share, moved / opt.", "fullest", "emptiest", "moved"
    );
    for count in [5, 10, 50, 100] {
        for kind in KINDS {
            quality(count, kind, &params)?;
        }
    }
    println!(
        "\n{:>6} {:<26} {:>9} {:>10} {:>10}",
        "peers", "voters of all, and a plan", "best ms", "median ms", "worst ms"
    );
    for count in [4, 100] {
        Members::settled(count, &params)?.time_changes()?;
    }
    Ok(())
}

fn peers(count: u32, (_, kind): &Kind) -> Result<Vec<Placed>, Box<dyn Error>> {
    (0..count).map(|number| placed(number, kind(number))).collect()
}

fn placed(number: u32, (weight, zone): (u16, Option<u32>)) -> Result<Placed, Box<dyn Error>> {
    // A peer id as Ed25519 keys have them: the key itself, in its protobuf.
    let mut id = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    id.extend_from_slice(&Sha256::digest(number.to_be_bytes()));
    let zone = zone.map(|zone| Zone::new(format!("zone-{zone}"))).transpose()?;
    Ok(Placed { peer: PeerId::from_bytes(&id)?, weight: Weight::new(weight)?, zone })
}

fn time(count: u32, kind: &Kind, params: &ClusterParams) -> Result<(), Box<dyn Error>> {
    let peers = peers(count, kind)?;
    let took = (0..ROUNDS).map(|_| timed(|| drop(black_box(Placement::compute(black_box(&peers), params)))));
    print(count, kind.0, took.collect());
    Ok(())
}

/// In milliseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

fn print(count: u32, what: &str, mut took: Vec<f64>) {
    took.sort_unstable_by(f64::total_cmp);
    let [best, median, worst] = [0, ROUNDS / 2, ROUNDS - 1].map(|i| took.get(i).copied().unwrap_or(f64::NAN));
    println!("{count:>6} {what:<26} {best:>9.2} {median:>10.2} {worst:>10.2}");
}

const RING: RingId = RingId([1; 16]);

/// Leaves signatures out of the figures.
struct Trusting;

impl Signer for Trusting {
    fn sign(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn verify(&self, _: &PeerId, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

/// Members that are full for what they own.
struct Members {
    params: ClusterParams,
    view: View,
    custody: Vec<(PeerId, CustodyMap)>,
    counter: u64,
}

impl Members {
    fn settled(count: u32, params: &ClusterParams) -> Result<Self, Box<dyn Error>> {
        let peers = (0..count).map(|n| placed(n, (1, None))).collect::<Result<Vec<_>, _>>()?;
        let placement = Placement::compute(&peers, params);
        let view = View::new(RING, params.partitions());
        let mut members = Self { params: *params, view, custody: Vec::new(), counter: 0 };
        for Placed { peer, .. } in peers {
            let mut custody = CustodyMap::uniform(params.partitions(), Custody::None);
            placement.owned_partitions(&peer).for_each(|partition| custody.set(partition, Custody::Full));
            members.declare(peer, &custody)?;
            members.custody.push((peer, custody));
        }
        Ok(members)
    }

    fn declare(&mut self, peer: PeerId, custody: &CustodyMap) -> Result<(), Box<dyn Error>> {
        self.counter += 1;
        let record = MemberRecord {
            ring: RING,
            peer,
            incarnation: Incarnation(1),
            counter: self.counter,
            state: MemberState::Active,
            weight: Weight::default(),
            zone: None,
            addresses: Vec::new(),
            custody: custody.digest(),
            records: 0,
            wire: (1, 1),
            suspects: Vec::new(),
            evictions: 0,
        };
        let update =
            Update { member: SignedMember::sign(record, &Trusting)?, custody: Some(custody.clone()) };
        let now = Now { monotonic: Duration::ZERO, unix_ms: 0 };
        self.view.merge(update, &Trusting, now)?;
        Ok(())
    }

    /// From nothing, and after one member became part of 512 partitions or full again.
    fn time_changes(mut self) -> Result<(), Box<dyn Error>> {
        let count = u32::try_from(self.custody.len())?;
        let mut ownership = Ownership::new(RING, self.params);
        let from_nothing =
            (0..ROUNDS).map(|_| timed(|| self.look(&mut Ownership::new(RING, self.params)))).collect();
        print(count, "from nothing", from_nothing);
        self.look(&mut ownership);
        let (peer, mut custody) = self.custody.first().cloned().ok_or("no peers")?;
        let some: Vec<Partition> =
            custody.iter().filter(|(_, c)| *c == Custody::Full).map(|(p, _)| p).take(512).collect();
        let mut took = Vec::new();
        for round in 0..ROUNDS {
            let to = if round % 2 == 0 { Custody::Part } else { Custody::Full };
            some.iter().for_each(|partition| custody.set(*partition, to));
            self.declare(peer, &custody)?;
            took.push(timed(|| self.look(&mut ownership)));
        }
        print(count, "512 changed", took);
        print(count, "nothing changed", (0..ROUNDS).map(|_| timed(|| self.look(&mut ownership))).collect());
        Ok(())
    }

    fn look(&self, ownership: &mut Ownership) {
        let Some((me, _)) = self.custody.last() else { return };
        let none = BTreeSet::new();
        let around =
            Around { me: *me, params: &self.params, closing: &none, leftovers: &none, pulled: &none };
        let partitions = self.params.partitions().all().map(|p| (p, ownership.voters(&self.view, p)));
        black_box(Rebalance::default().plan(&around, partitions, |_| true));
    }
}

/// The fullest and the emptiest peer in relation to their shares, and what a run of ten joins and ten
/// leaves moves in relation to the shares of those who come and go.
fn quality(count: u32, kind: &Kind, params: &ClusterParams) -> Result<(), Box<dyn Error>> {
    let mut all = peers(count, kind)?;
    let mut now = Placement::compute(&all, params);
    let loads: Vec<f64> = all.iter().map(|p| now.owned(&p.peer) as f64 / share(&all, p, params)).collect();
    let fullest = loads.iter().copied().fold(f64::NAN, f64::max);
    let emptiest = loads.iter().copied().fold(f64::NAN, f64::min);
    let (mut total, mut optimum) = (0.0, 0.0);
    for number in count..count + 10 {
        all.push(placed(number, kind.1(number))?);
        let joined = Placement::compute(&all, params);
        total += moved(&now, &joined);
        optimum += all.last().map_or(0.0, |p| share(&all, p, params));
        let gone = number as usize % all.len();
        optimum += all.get(gone).map_or(0.0, |p| share(&all, p, params));
        let mut fewer = all.clone();
        fewer.remove(gone);
        total += moved(&joined, &Placement::compute(&fewer, params));
        now = joined;
    }
    println!("{count:>6} {:<26} {fullest:>9.4} {emptiest:>10.4} {:>10.4}", kind.0, total / optimum);
    Ok(())
}

fn share(all: &[Placed], of: &Placed, params: &ClusterParams) -> f64 {
    let total: f64 = all.iter().map(|p| f64::from(p.weight.get())).sum();
    f64::from(params.partitions().get()) * params.replicas() as f64 * f64::from(of.weight.get()) / total
}

fn moved(from: &Placement, to: &Placement) -> f64 {
    let gained = |p: Partition| to.owners(p).filter(|peer| !from.is_owner(p, peer)).count();
    to.params().partitions().all().map(gained).sum::<usize>() as f64
}
