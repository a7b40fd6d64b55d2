//! The bytes of every message. A change here is a change of protocol: clients and peers of other
//! versions have to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{PEER_SEED, context, delete, get, key, located, options, peer, put, repair, snapshot, status};
use henge_client::{
    BadContext, BeginSnapshot, Failure, Hop, Repair, Request, Response, Snapshot, SnapshotState, Supersede,
    Value, WriteOptions,
};
use henge_testing::Golden;
use henge_types::Partition;

const GOLDEN: Golden = Golden(include_str!("golden.txt"));

#[test]
fn requests() {
    GOLDEN.check("request.put", &put());
    let supersede = Supersede::Context(context());
    let options = WriteOptions { supersede, quorum: Some(3), strict: true, ..options() };
    let value = b"blue"[..].into();
    GOLDEN.check("request.put.full", &Request::Put { key: key(), value, ttl_ms: Some(60_000), options });
    GOLDEN.check("request.delete", &delete());
    let options = WriteOptions { hop: Hop::StandIn, ..common::options() };
    GOLDEN.check("request.delete.stand_in", &Request::Delete { key: key(), options });
    GOLDEN.check("request.get", &Request::Get(get()));
    GOLDEN.check("request.status", &Request::Status);
    GOLDEN.check("request.leave", &Request::Leave);
    GOLDEN.check("request.remove", &Request::Remove { peer: peer(2), force: true });
    GOLDEN.check("request.weight", &Request::Weight { weight: 2 });
    GOLDEN.check("request.repair", &Request::Repair { partition: None });
    GOLDEN.check("request.repair.one", &Request::Repair { partition: Some(Partition(9)) });
    GOLDEN.check("request.repair_progress", &Request::RepairProgress { id: repair().id });
    let begin = BeginSnapshot { directory: "/backup/1".to_owned(), bytes_per_second: 33_554_432 };
    GOLDEN.check("request.snapshot", &Request::Snapshot { begin: Some(begin) });
    GOLDEN.check("request.snapshot.look", &Request::Snapshot { begin: None });
    GOLDEN.check("request.locate", &Request::Locate { key: key() });
}

#[test]
fn responses() {
    GOLDEN.check("response.written", &Response::Written { context: context(), acks: 2, hinted: 0 });
    GOLDEN.check("response.written.hinted", &Response::Written { context: context(), acks: 2, hinted: 1 });
    let sibling = |expires_at| Value { value: b"blue"[..].into(), written_at: 1_700_000_000_000, expires_at };
    let siblings = vec![sibling(None), sibling(Some(1_700_000_060_000))];
    GOLDEN.check("response.found", &Response::Found { context: context(), siblings, answers: 2, hinted: 1 });
    GOLDEN.check("response.not_found", &Response::NotFound { context: context(), answers: 2, hinted: 0 });
    GOLDEN.check("response.status", &Response::Status(status()));
    let newcomer = henge_client::Status {
        peer: peer(PEER_SEED),
        cluster: "henge".to_owned(),
        ring: None,
        params: None,
        members: Vec::new(),
        hints: Vec::new(),
        counters: Vec::new(),
    };
    GOLDEN.check("response.status.newcomer", &Response::Status(newcomer));
    GOLDEN.check("response.snapshot.none", &Response::Snapshot(None));
    let failed = SnapshotState::Failed { reason: "the disk is full".to_owned() };
    let states = [("running", SnapshotState::Running), ("done", SnapshotState::Done), ("failed", failed)];
    for (name, state) in states {
        let snapshot = Snapshot { state, ..snapshot() };
        GOLDEN.check(&format!("response.snapshot.{name}"), &Response::Snapshot(Some(snapshot)));
    }
    GOLDEN.check("response.accepted", &Response::Accepted);
    GOLDEN.check("response.repair", &Response::Repair(repair()));
    let one = Repair { partition: Some(Partition(9)), members: Vec::new(), ..repair() };
    GOLDEN.check("response.repair.one", &Response::Repair(one));
    GOLDEN.check("response.located", &Response::Located(located()));
}

#[test]
fn failures() {
    let failed = |name: &str, failure| GOLDEN.check(&format!("failed.{name}"), &Response::Failed(failure));
    failed("unavailable", Failure::Unavailable { needed: 2, got: 1 });
    failed("unknown", Failure::Unknown { needed: 2, got: 1 });
    failed("value_too_large", Failure::ValueTooLarge { bytes: 1_048_577 });
    failed("record_too_large", Failure::RecordTooLarge { bytes: 4_194_305 });
    failed("too_many_siblings", Failure::TooManySiblings { siblings: 100 });
    failed("clock_full", Failure::ClockFull { entries: 1024 });
    failed("bad_context.malformed", Failure::BadContext(BadContext::Malformed));
    failed("bad_context.other_ring", Failure::BadContext(BadContext::OtherRing));
    failed("bad_context.other_key", Failure::BadContext(BadContext::OtherKey));
    failed("bad_context.forged", Failure::BadContext(BadContext::Forged));
    failed("bad_request", Failure::BadRequest { reason: "a quorum of 0: use 1 or more".to_owned() });
    failed("not_ready", Failure::NotReady);
    failed("overloaded", Failure::Overloaded);
    failed("store", Failure::Store { reason: "no space left".to_owned() });
    failed("not_replica", Failure::NotReplica);
}
