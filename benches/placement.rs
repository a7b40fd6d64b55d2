//! How long a placement takes, how even it is, and what a join or a leave moves:
//! `cargo bench --bench placement`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use henge::placement::{Placed, Placement};
use henge_types::{ClusterParams, Partition, PeerId, Weight, Zone};
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn time(count: u32, kind: &Kind, params: &ClusterParams) -> Result<(), Box<dyn Error>> {
    let peers = peers(count, kind)?;
    let mut took: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            black_box(Placement::compute(black_box(&peers), params));
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_unstable_by(f64::total_cmp);
    let [best, median, worst] = [0, ROUNDS / 2, ROUNDS - 1].map(|i| took.get(i).copied().unwrap_or(f64::NAN));
    println!("{count:>6} {:<26} {best:>9.2} {median:>10.2} {worst:>10.2}", kind.0);
    Ok(())
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
