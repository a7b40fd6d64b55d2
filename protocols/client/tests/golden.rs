//! The bytes of every message. A change here is a change of protocol: clients and peers of other
//! versions have to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::fmt::Debug;

use common::{PEER_SEED, context, delete, get, key, located, options, peer, put, snapshot, status};
use henge_client::{
    BadContext, BeginSnapshot, Failure, Hop, Request, Response, Snapshot, SnapshotState, Supersede, Value,
    WriteOptions,
};
use henge_types::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One line for each: its name, and its bytes in hex.
const GOLDEN: &str = include_str!("golden.txt");

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = codec::encode(value).unwrap();
    assert_eq!(codec::decode::<T>(&bytes).unwrap(), *value);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert_eq!(line, Some(hex.as_str()), "\n{name} {hex}");
}

#[test]
fn requests() {
    check("request.put", &put());
    let supersede = Supersede::Context(context());
    let options = WriteOptions { supersede, quorum: Some(3), strict: true, ..options() };
    let value = b"blue"[..].into();
    check("request.put.full", &Request::Put { key: key(), value, ttl_ms: Some(60_000), options });
    check("request.delete", &delete());
    let options = WriteOptions { hop: Hop::StandIn, ..common::options() };
    check("request.delete.stand_in", &Request::Delete { key: key(), options });
    check("request.get", &Request::Get(get()));
    check("request.status", &Request::Status);
    check("request.leave", &Request::Leave);
    check("request.remove", &Request::Remove { peer: peer(2), force: true });
    let begin = BeginSnapshot { directory: "/backup/1".to_owned(), bytes_per_second: 33_554_432 };
    check("request.snapshot", &Request::Snapshot { begin: Some(begin) });
    check("request.snapshot.look", &Request::Snapshot { begin: None });
    check("request.locate", &Request::Locate { key: key() });
}

#[test]
fn responses() {
    check("response.written", &Response::Written { context: context(), acks: 2, hinted: 0 });
    check("response.written.hinted", &Response::Written { context: context(), acks: 2, hinted: 1 });
    let sibling = |expires_at| Value { value: b"blue"[..].into(), written_at: 1_700_000_000_000, expires_at };
    let siblings = vec![sibling(None), sibling(Some(1_700_000_060_000))];
    check("response.found", &Response::Found { context: context(), siblings, answers: 2, hinted: 1 });
    check("response.not_found", &Response::NotFound { context: context(), answers: 2, hinted: 0 });
    check("response.status", &Response::Status(status()));
    let newcomer = henge_client::Status {
        peer: peer(PEER_SEED),
        cluster: "henge".to_owned(),
        ring: None,
        params: None,
        members: Vec::new(),
        hints: Vec::new(),
        counters: Vec::new(),
    };
    check("response.status.newcomer", &Response::Status(newcomer));
    check("response.snapshot.none", &Response::Snapshot(None));
    let failed = SnapshotState::Failed { reason: "the disk is full".to_owned() };
    let states = [("running", SnapshotState::Running), ("done", SnapshotState::Done), ("failed", failed)];
    for (name, state) in states {
        let snapshot = Snapshot { state, ..snapshot() };
        check(&format!("response.snapshot.{name}"), &Response::Snapshot(Some(snapshot)));
    }
    check("response.accepted", &Response::Accepted);
    check("response.located", &Response::Located(located()));
}

#[test]
fn failures() {
    let failed = |name: &str, failure| check(&format!("failed.{name}"), &Response::Failed(failure));
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
