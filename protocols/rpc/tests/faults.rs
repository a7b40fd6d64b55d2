//! Remotes that do not keep to the protocol, or do not speak it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw;
use common::*;
use futures::{AsyncReadExt as _, StreamExt as _};
use henge_rpc::{Config, Event, InboundFailure, OutboundFailure, PeerFault};
use libp2p::swarm::{SwarmEvent, dummy};
use libp2p::{PeerId, Stream, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;

/// A requester with two requests on the substream of a raw peer, which has read both of them.
async fn two_requests(
    config: Config,
) -> (Swarm<Rpc>, PeerId, Stream, futures::channel::mpsc::Receiver<Stream>) {
    let (peer, address, mut streams) = raw::accepting().await;
    let mut swarm = swarm(config);
    swarm.add_peer_address(peer, address);
    swarm.behaviour_mut().send_request(&peer, ask(0));
    swarm.behaviour_mut().send_request(&peer, ask(1));
    let stream = alongside(&mut swarm, async {
        let mut stream = streams.next().await.unwrap();
        for expected in [1, 2] {
            let (kind, id, _) = raw::read_frame(&mut stream).await.unwrap();
            assert_eq!((kind, id), (0, expected));
        }
        stream
    })
    .await;
    (swarm, peer, stream, streams)
}

/// What the two requests end in after the raw peer has written `bytes`, and closed if asked to.
async fn outcomes_after(bytes: Vec<u8>, close: bool) -> Vec<Result<Told, OutboundFailure>> {
    let (mut swarm, peer, stream, mut streams) = two_requests(patient()).await;
    let _stream = raw::write(stream, bytes, close);
    let mut found = Vec::new();
    until_alone(&mut swarm, |_, event| {
        found.extend(outcome(event).map(|(_, result)| result));
        (found.len() == 2).then_some(())
    })
    .await;
    // The connection and the peer are fine: the next request goes out on a new substream.
    swarm.behaviour_mut().send_request(&peer, ask(2));
    let again = alongside(&mut swarm, async {
        let mut stream = streams.next().await.unwrap();
        raw::read_frame(&mut stream).await.unwrap().1
    })
    .await;
    assert_eq!(again, 3);
    found
}

fn fault(fault: PeerFault) -> Result<Told, OutboundFailure> {
    Err(OutboundFailure::Fault(fault))
}

#[tokio::test]
async fn an_answer_before_a_fault_still_counts() {
    let bytes = [raw::message(1, 1, &told(5)), raw::frame(77, 2, b"")].concat();
    let expected = [Ok(told(5)), fault(PeerFault::UnexpectedKind { kind: 77 })];
    assert_eq!(outcomes_after(bytes, false).await, expected);
}

#[tokio::test]
async fn an_answer_over_the_limit_fails_all_that_wait() {
    let limit = patient().max_frame_bytes();
    let error = PeerFault::Oversize { bytes: limit + 1, limit };
    let bytes = (limit as u32 + 1).to_be_bytes().to_vec();
    assert_eq!(outcomes_after(bytes, false).await, [fault(error), fault(error)]);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_a_fault() {
    let error = PeerFault::UnexpectedId { id: 3 };
    assert_eq!(outcomes_after(raw::message(1, 3, &told(0)), false).await, [fault(error), fault(error)]);
}

#[tokio::test]
async fn a_request_where_answers_belong_is_a_fault() {
    let error = PeerFault::UnexpectedKind { kind: 0 };
    assert_eq!(outcomes_after(raw::message(0, 1, &ask(0)), false).await, [fault(error), fault(error)]);
}

#[tokio::test]
async fn a_truncated_answer_is_a_fault() {
    let mut bytes = raw::message(1, 1, &told(0));
    bytes.pop();
    assert_eq!(outcomes_after(bytes, true).await, [fault(PeerFault::Truncated), fault(PeerFault::Truncated)]);
}

#[tokio::test]
async fn a_substream_that_ends_fails_what_it_carried_at_once() {
    let closed = Err(OutboundFailure::ConnectionClosed);
    assert_eq!(outcomes_after(Vec::new(), true).await, [closed.clone(), closed]);
}

#[tokio::test]
async fn an_undecodable_answer_fails_its_request_alone() {
    let (mut swarm, _, stream, _streams) = two_requests(patient()).await;
    let bytes = [raw::frame(1, 1, b"\xff\xff"), raw::message(1, 2, &told(6))].concat();
    let _stream = raw::write(stream, bytes, false);
    let mut found = Vec::new();
    until_alone(&mut swarm, |_, event| {
        found.extend(outcome(event).map(|(_, result)| result));
        (found.len() == 2).then_some(())
    })
    .await;
    assert_eq!(found, [fault(PeerFault::UndecodableResponse), Ok(told(6))]);
    assert_eq!(swarm.behaviour().counters().faults, 1);
}

/// A server, and a raw peer with a substream to it.
async fn asked_by_raw(config: Config) -> (Swarm<Rpc>, PeerId, Stream) {
    let mut server = swarm(config);
    let (address, _) = server.listen().with_memory_addr_external().await;
    let (raw_peer, stream) = raw::opening(id_of(&server), address);
    let stream = alongside(&mut server, stream).await;
    (server, raw_peer, stream)
}

/// The failure that the server reports after the raw peer has written `bytes`.
async fn failure_after(bytes: Vec<u8>, close: bool) -> InboundFailure {
    let (mut server, raw_peer, stream) = asked_by_raw(patient()).await;
    let stream = raw::write(stream, bytes, close);
    let mut held = Vec::new();
    let error = until_alone(&mut server, |_, event| match event {
        SwarmEvent::Behaviour(Event::InboundFailure { peer, error, .. }) => {
            assert_eq!(peer, raw_peer);
            Some(error)
        }
        SwarmEvent::Behaviour(Event::Request { channel, .. }) => {
            held.push(channel);
            None
        }
        _ => None,
    })
    .await;
    assert!(held.iter().all(|channel| !channel.is_open()));
    for channel in held {
        assert_eq!(server.behaviour_mut().send_response(channel, told(0)), Err(told(0)));
    }
    assert_eq!(server.behaviour().pending(&raw_peer).inbound, 0);
    // The substream is closed on the raw peer too.
    let rest = alongside(&mut server, async {
        let (mut rest, mut stream) = (Vec::new(), stream.await.unwrap());
        let _ = stream.read_to_end(&mut rest).await;
        rest
    })
    .await;
    assert_eq!(rest, []);
    error
}

#[tokio::test]
async fn a_request_over_the_limit_costs_the_substream() {
    let limit = patient().max_frame_bytes();
    let fault = PeerFault::Oversize { bytes: u32::MAX as usize, limit };
    let error = failure_after([raw::message(0, 1, &ask(0)), vec![255; 4]].concat(), false).await;
    assert_eq!(error, InboundFailure::Fault { fault, unanswered: 1 });
}

#[tokio::test]
async fn garbage_costs_the_substream() {
    let fault = PeerFault::UnexpectedKind { kind: b'T' };
    let garbage = b"\0\0\x30\x20T / HTTP/1.1\r\n".to_vec();
    assert_eq!(failure_after(garbage, false).await, InboundFailure::Fault { fault, unanswered: 0 });
    let fault = PeerFault::Undersize { bytes: 0 };
    assert_eq!(failure_after(vec![0; 100], false).await, InboundFailure::Fault { fault, unanswered: 0 });
    let fault = PeerFault::UnexpectedKind { kind: 1 };
    let answer = raw::message(1, 1, &told(0));
    assert_eq!(failure_after(answer, false).await, InboundFailure::Fault { fault, unanswered: 0 });
}

#[tokio::test]
async fn a_truncated_request_is_a_fault() {
    let mut bytes = [raw::message(0, 1, &ask(0)), raw::message(0, 2, &ask(0))].concat();
    bytes.pop();
    let expected = InboundFailure::Fault { fault: PeerFault::Truncated, unanswered: 1 };
    assert_eq!(failure_after(bytes, true).await, expected);
}

#[tokio::test]
async fn a_requester_that_leaves_is_reported_with_what_it_left() {
    let bytes = [raw::message(0, 1, &ask(0)), raw::message(0, 2, &ask(0))].concat();
    assert_eq!(failure_after(bytes, true).await, InboundFailure::ConnectionClosed { unanswered: 2 });
}

#[tokio::test]
async fn an_undecodable_request_is_answered_as_such_and_others_go_on() {
    let (mut server, raw_peer, stream) = asked_by_raw(patient()).await;
    let bytes = [raw::frame(0, 8, b"\xff"), raw::message(0, 9, &ask(3))].concat();
    let stream = raw::write(stream, bytes, false);
    let (mut undecodable, mut answered) = (false, false);
    until_alone(&mut server, |server, event| {
        match event {
            SwarmEvent::Behaviour(Event::InboundFailure { error, .. }) => {
                assert_eq!(error, InboundFailure::UndecodableRequest);
                undecodable = true;
            }
            SwarmEvent::Behaviour(Event::Request { peer, channel, request, .. }) => {
                assert_eq!((peer, &request), (raw_peer, &ask(3)));
                server.behaviour_mut().send_response(channel, told(4)).unwrap();
                answered = true;
            }
            _ => {}
        }
        (undecodable && answered).then_some(())
    })
    .await;
    let frames = alongside(&mut server, async {
        let mut stream = stream.await.unwrap();
        [raw::read_frame(&mut stream).await.unwrap(), raw::read_frame(&mut stream).await.unwrap()]
    })
    .await;
    assert_eq!((frames[0].0, frames[0].1, frames[0].2.as_slice()), (2, 8, &[0][..]));
    assert_eq!((frames[1].0, frames[1].1), (1, 9));
}

#[tokio::test]
async fn a_second_substream_on_a_connection_replaces_the_first() {
    let mut server = swarm(patient());
    let (address, _) = server.listen().with_memory_addr_external().await;
    let (_, mut streams) = raw::opening_several(id_of(&server), address, 2);
    let (mut channels, mut left) = (Vec::new(), None);
    for id in 1..=2 {
        let writing = async {
            let stream = streams.next().await.unwrap();
            raw::write(stream, raw::message(0, id, &ask(id)), false).await.unwrap()
        };
        let reading = until_alone(&mut server, |_, event| match event {
            SwarmEvent::Behaviour(Event::Request { channel, .. }) => Some(channel),
            SwarmEvent::Behaviour(Event::InboundFailure { error, .. }) => {
                left = Some(error);
                None
            }
            _ => None,
        });
        let (stream, channel) = futures::join!(writing, reading);
        channels.push((channel, stream));
    }
    assert_eq!(left, Some(InboundFailure::ConnectionClosed { unanswered: 1 }));
    assert_eq!(channels.iter().map(|(channel, _)| channel.is_open()).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_peer_with_another_protocol_is_unsupported() {
    let mut first = swarm(patient());
    let other = StreamProtocol::new("/test/other/1");
    let mut second = Swarm::new_ephemeral_tokio(|_| Rpc::new(other, patient()));
    second.listen().with_memory_addr_external().await;
    first.connect(&mut second).await;
    let peer = id_of(&second);
    // Twice: the first refusal must not get in the way of asking again.
    for number in 0..2 {
        let ids = [
            first.behaviour_mut().send_request(&peer, ask(number)),
            first.behaviour_mut().send_request(&peer, ask(number)),
        ];
        let found = outcomes(&mut first, &mut second, 2).await;
        assert_eq!(found, ids.map(|id| (id, Err(OutboundFailure::UnsupportedProtocol))));
    }
    assert_eq!(first.behaviour().pending(&peer), Default::default());
}

#[tokio::test]
async fn a_peer_with_another_behaviour_is_unsupported() {
    let mut first = swarm(patient());
    let mut second = Swarm::new_ephemeral_tokio(|_| dummy::Behaviour);
    second.listen().with_memory_addr_external().await;
    first.connect(&mut second).await;
    let id = first.behaviour_mut().send_request(&id_of(&second), ask(0));
    let found = until(&mut first, &mut second, |_, _, side| match side {
        Side::First(event) => outcome(event),
        Side::Second(_) => None,
    })
    .await;
    assert_eq!(found, (id, Err(OutboundFailure::UnsupportedProtocol)));
}

#[tokio::test]
async fn a_pure_client_is_not_asked_and_asks() {
    let (mut first, mut second) = connected(patient().with_serve(false), patient()).await;
    let (peer_of_first, peer_of_second) = (id_of(&second), id_of(&first));
    let refused = second.behaviour_mut().send_request(&peer_of_second, ask(0));
    let found = until(&mut first, &mut second, |_, _, side| match side {
        Side::First(_) => None,
        Side::Second(event) => outcome(event),
    })
    .await;
    assert_eq!(found, (refused, Err(OutboundFailure::UnsupportedProtocol)));
    let id = first.behaviour_mut().send_request(&peer_of_first, ask(1));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Ok(told(1)))]);
}
