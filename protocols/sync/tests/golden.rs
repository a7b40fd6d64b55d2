//! The bytes of every message. A change here is a change of protocol: peers of other versions have
//! to be thought of.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use bytes::Bytes;
use henge_sync::{Answer, Head, Request, Response};
use henge_testing::Golden;
use henge_types::{
    ActorId, Clock, Content, Dot, Key, OperationId, Partition, Record, RecordDigest, RingId, VotersDigest,
    Write,
};

const GOLDEN: Golden = Golden(include_str!("golden.txt"));

fn head(voters: Option<&'static [u8]>) -> Head {
    let voters = voters.map(Bytes::from_static);
    Head { ring: RingId([0xa5; 16]), salt: [0x5a; 8], width: 4, durable: voters.is_some(), voters }
}

fn records() -> Vec<(Key, Record)> {
    let mut record = Record::new();
    let write = Write {
        dot: Dot { actor: ActorId([0x0a; 16]), counter: 7 },
        supersede: Clock::new(),
        content: Content::Value(Bytes::from_static(b"blue")),
        written_at: 1_700_000_000_000,
        expires_at: None,
        operation: OperationId([0x0b; 16]),
    };
    record.apply(&write).unwrap();
    vec![(Key::new(Bytes::from_static(b"sky")).unwrap(), record)]
}

#[test]
fn requests() {
    let entries =
        vec![(Partition(0), VotersDigest([0x0d; 16])), (Partition(16_383), VotersDigest([0x0e; 16]))];
    GOLDEN.check("request.compare", &Request::Compare { ring: RingId([0xa5; 16]), entries });
    let (partition, voters) = (Partition(16_383), VotersDigest([0x0e; 16]));
    let dead = vec![(Key::new(Bytes::from_static(b"sky")).unwrap(), RecordDigest([0x0f; 32]))];
    let collect = Request::Collect { ring: RingId([0xa5; 16]), partition, voters, dead, forget: true };
    GOLDEN.check("request.collect", &collect);
    let nodes = Bytes::from_static(&[5, 0x80, 1]);
    let hashes = Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let partitions = Bytes::from_static(&[0, 2, 3]);
    let groups = Request::Groups { head: head(None), partitions, size: 2, hashes: hashes.clone() };
    GOLDEN.check("request.groups", &groups);
    let (depth, voters) = (20, Some([0x0d; 32].as_slice()));
    GOLDEN.check(
        "request.nodes",
        &Request::Nodes { head: head(voters), depth, nodes: nodes.clone(), hashes: hashes.clone() },
    );
    let counts = Bytes::from_static(&[2, 0]);
    GOLDEN.check(
        "request.items",
        &Request::Items { head: head(None), depth, nodes: nodes.clone(), counts, hashes },
    );
    GOLDEN.check("request.fetch", &Request::Fetch { head: head(None), depth: 52, nodes });
    GOLDEN.check("request.push", &Request::Push { head: head(Some(&[0x0d; 16])), records: records() });
}

#[test]
fn responses() {
    let answers = vec![Answer::Stale, Answer::Empty, Answer::Occupied];
    GOLDEN.check("response.compared", &Response::Compared { answers });
    GOLDEN.check("response.collected", &Response::Collected { agreed: vec![true, false] });
    let stale = Bytes::from_static(&[0, 4, 1]);
    GOLDEN.check(
        "response.codes",
        &Response::Codes { stale: stale.clone(), codes: Bytes::from_static(&[0b10_01_00]) },
    );
    let found = Bytes::from_static(&[2, 0b10, 1, 2, 3, 4, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0]);
    GOLDEN.check("response.items", &Response::Items { stale: stale.clone(), found });
    GOLDEN.check(
        "response.records",
        &Response::Records { stale: stale.clone(), covered: 1, records: records() },
    );
    GOLDEN.check("response.pushed", &Response::Pushed { stale, codes: Bytes::from_static(&[1]) });
    GOLDEN.check("response.refused", &Response::Refused);
}
