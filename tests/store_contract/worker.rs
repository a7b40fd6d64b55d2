//! The worker: order, groups, durability, bounds, and what it says when the store fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::poll_fn;
use henge::store::memory::Memory;
use henge::store::worker::{Done, Durability, Worker};
use henge::store::{MetaKey, ReadOp, Records, Store, StoreError, StoreOp, StoreResult, Ticket, WriteOp};
use henge_types::Record;

use crate::common::{blind, key, record_of, update, wait_for};

/// A store in memory whose syncs can be held up, and which counts.
#[derive(Default)]
struct Probe {
    memory: Memory,
    groups: Mutex<Vec<usize>>,
    syncs: AtomicUsize,
    syncing: AtomicUsize,
    held: AtomicBool,
}

impl Store for Probe {
    fn meta(&self, key: MetaKey) -> Result<Option<Bytes>, StoreError> {
        self.memory.meta(key)
    }

    fn read(&self, op: &ReadOp) -> StoreResult {
        self.memory.read(op)
    }

    fn write(&self, ops: Vec<WriteOp>) -> Vec<StoreResult> {
        self.groups.lock().unwrap().push(ops.len());
        self.memory.write(ops)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.syncing.fetch_add(1, Ordering::SeqCst);
        wait_for("the disk", || (!self.held.load(Ordering::SeqCst)).then_some(()));
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.memory.sync()
    }

    fn records(&self) -> u64 {
        self.memory.records()
    }

    fn snapshot(&self) -> Records {
        self.memory.snapshot()
    }
}

fn spawn(durability: Durability) -> (Arc<Probe>, Worker) {
    let probe = Arc::new(Probe::default());
    let worker = Worker::spawn(probe.clone(), durability).unwrap();
    (probe, worker)
}

fn next(worker: &mut Worker) -> Vec<Done> {
    let mut cx = Context::from_waker(Waker::noop());
    wait_for("results", || match worker.poll(&mut cx) {
        Poll::Ready(batch) => Some(batch),
        Poll::Pending => None,
    })
}

fn put(n: u64) -> StoreOp {
    StoreOp::Write(update(&key(format!("k{n}")), blind(1, n, "x")))
}

fn read(n: u64) -> StoreOp {
    StoreOp::Read(ReadOp::Get { key: key(format!("k{n}")) })
}

fn save() -> StoreOp {
    StoreOp::Write(WriteOp::Save { key: MetaKey::Counters, value: Bytes::from_static(b"\x01") })
}

fn submit(worker: &Worker, ticket: u64, op: StoreOp) {
    assert_eq!(worker.try_submit(Ticket(ticket), op), Ok(()));
}

/// The tickets that were executed, and whether they may be relied on.
fn stored(batch: &[Done]) -> Vec<(u64, bool)> {
    let told = |done: &Done| match done {
        Done::Stored { ticket, durable, .. } => Some((ticket.0, *durable)),
        Done::Durable { .. } | Done::Poisoned(_) => None,
    };
    batch.iter().filter_map(told).collect()
}

#[test]
fn results_come_before_the_fsync_and_durability_after_it() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, false)]);
    assert_eq!(probe.syncs.load(Ordering::SeqCst), 0);
    probe.held.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut worker), [Done::Durable { through: Ticket(1) }]);
    assert_eq!(probe.memory.unsynced(), 0);
}

#[test]
fn writes_that_wait_share_one_batch_and_one_fsync() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, false)]);
    (2..=100).for_each(|n| submit(&worker, n, put(n)));
    probe.held.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut worker), [Done::Durable { through: Ticket(1) }]);
    assert_eq!(stored(&next(&mut worker)), (2..=100).map(|n| (n, false)).collect::<Vec<_>>());
    assert_eq!(next(&mut worker), [Done::Durable { through: Ticket(100) }]);
    assert_eq!(*probe.groups.lock().unwrap(), [1, 99]);
    assert_eq!(probe.syncs.load(Ordering::SeqCst), 2);
}

#[test]
fn a_read_does_not_wait_for_an_fsync() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, false)]);
    wait_for("the fsync", || (probe.syncing.load(Ordering::SeqCst) == 1).then_some(()));
    submit(&worker, 2, read(1));
    assert_eq!(stored(&next(&mut worker)), [(2, true)]);
    probe.held.store(false, Ordering::SeqCst);
}

#[test]
fn what_changes_nothing_needs_no_fsync() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    let nothing = WriteOp::Merge { key: key("a"), record: Record::new(), own: None };
    submit(&worker, 1, StoreOp::Write(nothing));
    assert_eq!(stored(&next(&mut worker)), [(1, true)]);
    submit(&worker, 2, put(2));
    assert_eq!(stored(&next(&mut worker)), [(2, false)]);
    assert_eq!(next(&mut worker), [Done::Durable { through: Ticket(2) }]);
    assert_eq!(probe.syncs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_queue_gives_the_operation_back_and_empties_again() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    let refused = (1..10_000).find(|n| worker.try_submit(Ticket(*n), put(*n)) == Err(put(*n))).unwrap();
    assert!((512..=2048).contains(&refused), "{refused} operations fit");
    probe.held.store(false, Ordering::SeqCst);
    // The contract: poll until something comes, then submit again.
    while worker.try_submit(Ticket(refused), put(refused)).is_err() {
        block_on(poll_fn(|cx| worker.poll(cx)));
    }
    let rest = block_on(worker.close());
    assert_eq!(rest.last(), Some(&Done::Durable { through: Ticket(refused) }));
    assert_eq!(probe.records(), refused);
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, false)]);
    let large = Bytes::from(vec![0; 1 << 20]);
    let op = |n: u64| StoreOp::Write(update(&key("large"), blind(2, n, large.clone())));
    let refused = (2..1_000).find(|n| worker.try_submit(Ticket(*n), op(*n)).is_err()).unwrap();
    assert!(refused < 64, "{refused} MiB were queued");
    probe.held.store(false, Ordering::SeqCst);
}

#[test]
fn interval_and_os_promise_at_once_but_a_save_is_always_synced() {
    for durability in [Durability::Interval, Durability::Os] {
        let (probe, mut worker) = spawn(durability);
        submit(&worker, 1, put(1));
        assert_eq!(stored(&next(&mut worker)), [(1, true)]);
        probe.held.store(true, Ordering::SeqCst);
        submit(&worker, 2, save());
        assert_eq!(stored(&next(&mut worker)), [(2, false)]);
        probe.held.store(false, Ordering::SeqCst);
        assert_eq!(next(&mut worker), [Done::Durable { through: Ticket(2) }]);
    }
}

#[test]
fn interval_syncs_soon_and_os_when_it_closes() {
    let (probe, worker) = spawn(Durability::Interval);
    submit(&worker, 1, put(1));
    wait_for("the interval", || (probe.syncs.load(Ordering::SeqCst) == 1).then_some(()));
    assert_eq!(probe.memory.unsynced(), 0);

    let (probe, mut worker) = spawn(Durability::Os);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, true)]);
    assert_eq!(probe.memory.unsynced(), 1);
    assert_eq!(block_on(worker.close()), []);
    assert_eq!(probe.memory.unsynced(), 0);
}

#[test]
fn after_a_failed_fsync_nothing_is_acknowledged() {
    let (probe, mut worker) = spawn(Durability::Fsync);
    probe.held.store(true, Ordering::SeqCst);
    submit(&worker, 1, put(1));
    assert_eq!(stored(&next(&mut worker)), [(1, false)]);
    let error = StoreError::Poisoned { reason: "the disk is gone".to_owned() };
    probe.memory.fail_with(Some(error.clone()));
    submit(&worker, 2, put(2));
    probe.held.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut worker), [Done::Poisoned(error.clone())]);
    let failed =
        |n| Done::Stored { ticket: Ticket(n), result: StoreResult::Failed(error.clone()), durable: true };
    assert_eq!(next(&mut worker), [failed(2)]);
    probe.memory.fail_with(None);
    submit(&worker, 3, put(3));
    assert_eq!(next(&mut worker), [failed(3)]);
    assert_eq!(*probe.groups.lock().unwrap(), [1]);
    submit(&worker, 4, read(1));
    assert_eq!(stored(&next(&mut worker)), [(4, true)]);
}

#[test]
fn dropping_it_executes_and_syncs_what_was_submitted() {
    let (probe, worker) = spawn(Durability::Fsync);
    (1..=500).for_each(|n| submit(&worker, n, put(n)));
    (501..=900).for_each(|n| submit(&worker, n, read(n)));
    drop(worker);
    assert_eq!(probe.records(), 500);
    assert_eq!(probe.memory.unsynced(), 0);
    assert_eq!(record_of(&*probe, &key("k500")).siblings().len(), 1);
}
