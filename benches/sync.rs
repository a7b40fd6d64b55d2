//! Range sync between two stores: `cargo bench --bench sync`. Takes some minutes.
//!
//! Two stores in memory in one process, each message through the real codec and a frame's head of 13
//! bytes. `HENGE_BENCH_KEYS` sets how many keys they have in common (1,000,000), with values of 100 bytes.
//! Of those that differ, a quarter each is missing here, missing there, older here and older there.
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use henge::store::memory::Memory;
use henge::store::{ReadOp, Store, StoreResult, WriteOp};
use henge_sync::{
    BATCH_BYTES, Effect, End, ITEMS_MAX, Known, Merged, Mode, Question, Responder, Response, Session, Step,
    Terms,
};
use henge_types::{
    ActorId, Clock, Content, Dot, Key, OperationId, Partition, PartitionCount, Record, RingId, VotersDigest,
    Write, codec,
};

/// Before each body: length, kind, id.
const FRAME_HEAD_BYTES: u64 = 13;

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let keys = std::env::var("HENGE_BENCH_KEYS").ok().and_then(|value| value.parse().ok());
    let keys: u64 = keys.unwrap_or(if full { 1_000_000 } else { 2_000 });
    let stores = [Memory::new(), Memory::new()];
    for first in (0..keys).step_by(1_000) {
        let merges: Vec<WriteOp> =
            (first..(first + 1_000).min(keys)).map(|n| merge(n, record(&[(1, n + 1)]))).collect();
        for store in &stores {
            store.write(merges.clone());
            store.sync().unwrap();
        }
    }
    let begin = Instant::now();
    read_roots(&stores[0]);
    println!("{keys} keys in common; all roots from the leaves: {:.2} s", begin.elapsed().as_secs_f64());
    println!(
        "{:8} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7} {:>8} {:>9}",
        "mode",
        "differing",
        "messages",
        "bytes there",
        "bytes here",
        "differ bytes",
        "ratio",
        "per key",
        "seconds"
    );
    let mut version = 1;
    for differing in [0, 10, 1_000, 100_000] {
        let differing = differing.min(keys / 2);
        for mode in [Mode::Both, Mode::Pull, Mode::Push] {
            version += 1;
            let bytes = differ(&stores, mode, keys, differing, version);
            measure(&stores, mode, differing, bytes);
        }
    }
}

/// Makes `differing` keys differ, and tells the encoded bytes of what has to travel.
fn differ(stores: &[Memory; 2], mode: Mode, keys: u64, differing: u64, version: u64) -> u64 {
    let mut bytes = 0;
    let stride = keys / differing.max(1);
    for at in 0..differing {
        let old = at * stride;
        let missing = at % 2 == 0;
        let there = match mode {
            Mode::Both => at / 2 % 2 == 0,
            Mode::Pull => true,
            Mode::Push => false,
        };
        let (number, new) = if missing {
            let number = version << 40 | at;
            (number, record(&[(1, number)]))
        } else {
            (old, record(&[(1, old + 1), (version as u8, old + 1)]))
        };
        let op = merge(number, new);
        let store = &stores[usize::from(there)];
        store.write(vec![op]);
        let key = key(number);
        let StoreResult::Record(now) = store.read(&ReadOp::Get { key: key.clone() }) else { panic!() };
        bytes += (key.as_bytes().len() + codec::encode(&now).unwrap().len()) as u64;
    }
    stores.iter().for_each(|store| store.sync().unwrap());
    bytes
}

fn measure(stores: &[Memory; 2], mode: Mode, differing: u64, differing_bytes: u64) {
    let count = PartitionCount::default();
    let terms = Terms { ring: RingId([1; 16]), count, mode, salt: differing.to_be_bytes() };
    let voters: BTreeMap<Partition, VotersDigest> = count.all().map(|p| (p, VotersDigest([3; 16]))).collect();
    let mut session = Session::new(terms, count.all().collect(), (mode != Mode::Both).then_some(voters));
    let (mut messages, mut to_there, mut to_here) = (0u64, 0, 0);
    let begin = Instant::now();
    let mut effect = session.start();
    let report = loop {
        effect = match effect {
            Effect::Done(report) => break report,
            Effect::Ask(question) => session.on_known(answer(&stores[0], count, question)),
            Effect::Send(request) => {
                let body = codec::encode(&request).unwrap();
                to_there += body.len() as u64 + FRAME_HEAD_BYTES;
                let response = respond(&stores[1], count, &body);
                to_here += response.len() as u64 + FRAME_HEAD_BYTES;
                messages += 2;
                session.on_response(Some(codec::decode(&response).unwrap()))
            }
        };
    };
    let time: Duration = begin.elapsed();
    assert_eq!(report.end, End::Complete);
    let moved = report.progress.records_pulled + report.progress.records_pushed;
    assert!(moved >= differing, "{moved} of {differing} moved");
    assert_eq!(read_roots(&stores[0]), read_roots(&stores[1]), "the stores differ");
    let all = to_there + to_here;
    let per = |by: u64| if by == 0 { "-".to_owned() } else { format!("{:.2}", all as f64 / by as f64) };
    println!(
        "{:8} {differing:>9} {messages:>9} {to_there:>12} {to_here:>12} {differing_bytes:>12} {:>7} {:>8} {:>9.2}",
        format!("{mode:?}"),
        per(differing_bytes),
        per(differing),
        time.as_secs_f64(),
    );
}

fn respond(store: &Memory, count: PartitionCount, body: &[u8]) -> Vec<u8> {
    let accepts = |_: Partition, _: Option<VotersDigest>| true;
    let (mut responder, mut question) =
        Responder::begin(codec::decode(body).unwrap(), count, &accepts).unwrap();
    let response: Response = loop {
        match responder.on_known(answer(store, count, question), &accepts) {
            Step::Ask(next, ask) => (responder, question) = (next, ask),
            Step::Respond(response) => break response,
        }
    };
    codec::encode(&response).unwrap()
}

/// What the core will do with a question.
fn answer(store: &Memory, count: PartitionCount, question: Question) -> Known {
    let result = match question {
        Question::Roots(partitions) => store.read(&ReadOp::Roots { count, partitions }),
        Question::Nodes(nodes) => store.read(&ReadOp::Nodes { count, nodes }),
        Question::Items(nodes) => store.read(&ReadOp::Items { count, nodes, items_max: ITEMS_MAX }),
        Question::Records(keys) => store.read(&ReadOp::Records { keys, bytes_max: BATCH_BYTES }),
        Question::Merge(records) => {
            let records = records.into_iter().map(|(key, record)| (key, record, None)).collect();
            let result = store.write(vec![WriteOp::MergeMany { records }]).remove(0);
            store.sync().unwrap();
            result
        }
    };
    match result {
        StoreResult::Summaries { summaries, damaged } => Known::Summaries { summaries, damaged },
        StoreResult::Items { items, damaged } => Known::Items { items, damaged },
        StoreResult::Records(records) => Known::Records(records),
        StoreResult::MergedMany(merged) => {
            let merged = merged.into_iter().map(|merged| match merged {
                Ok(merged) if merged.ahead => Merged::Ahead,
                Ok(_) => Merged::Same,
                Err(_) => Merged::Refused,
            });
            Known::Merged(merged.collect())
        }
        _ => Known::Failed,
    }
}

fn read_roots(store: &Memory) -> StoreResult {
    let count = PartitionCount::default();
    store.read(&ReadOp::Roots { count, partitions: count.all().collect() })
}

fn key(number: u64) -> Key {
    Key::new(format!("key/{number:016x}").into_bytes()).unwrap()
}

fn merge(number: u64, record: Record) -> WriteOp {
    WriteOp::Merge { key: key(number), record, own: None }
}

/// Each write supersedes the one before.
fn record(writes: &[(u8, u64)]) -> Record {
    let mut record = Record::new();
    for (who, counter) in writes {
        let mut operation = [*who; 16];
        operation[..8].copy_from_slice(&counter.to_be_bytes());
        let seen: Clock = record.clock().clone();
        let write = Write {
            dot: Dot { actor: ActorId([*who; 16]), counter: *counter },
            supersede: seen,
            content: Content::Value(Bytes::from(vec![*who; 100])),
            written_at: 1_700_000_000_000 + u64::from(*who) * 1_000,
            expires_at: None,
            operation: OperationId(operation),
        };
        record.apply(&write).unwrap();
    }
    record
}
