//! Every bound is met and then holds: in flight, in bytes, per frame, on both sides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::raw;
use common::*;
use futures::{AsyncWriteExt as _, StreamExt as _};
use henge_rpc::{Bound, Config, Event, InboundFailure, OutboundFailure, QUEUED_REQUEST_BYTES};
use libp2p::swarm::SwarmEvent;
use libp2p_swarm_test::SwarmExt as _;

/// Time in which whatever could overrun a bound would do so.
const WHILE: Duration = Duration::from_millis(300);

/// How many requests the second swarm gets while it answers none, waiting for `at_least` and then for more than
/// these; and how many are answered when it then answers all.
async fn received_unanswered_then_all(first: Config, second: Config, at_least: usize) -> (usize, usize) {
    const COUNT: usize = 20;
    let (mut first, mut second) = connected(first, second).await;
    let peer = id_of(&second);
    for number in 0..COUNT {
        first.behaviour_mut().send_request(&peer, ask(number as u64));
    }
    let mut held = Vec::new();
    until(&mut first, &mut second, |_, _, side| {
        if let Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) = side {
            held.push((channel, request.number));
        }
        (held.len() >= at_least).then_some(())
    })
    .await;
    held.extend(quiet(&mut first, &mut second, WHILE).await.into_iter().filter_map(|side| match side {
        Side::Second(Event::Request { channel, request, .. }) => Some((channel, request.number)),
        _ => None,
    }));
    let at_first = held.len();
    assert_eq!(second.behaviour().pending(&id_of(&first)).inbound, at_first);
    for (channel, number) in held {
        second.behaviour_mut().send_response(channel, told(number)).unwrap();
    }
    let found = outcomes(&mut first, &mut second, COUNT).await;
    (at_first, found.into_iter().filter(|(_, result)| result.is_ok()).count())
}

#[tokio::test]
async fn no_more_than_the_window_is_in_flight() {
    let first = patient().with_max_in_flight_per_peer(4);
    assert_eq!(received_unanswered_then_all(first, patient(), 4).await, (4, 20));
}

#[tokio::test]
async fn a_server_reads_no_more_than_it_may_have_unanswered() {
    let second = patient().with_max_inbound_in_flight(3);
    assert_eq!(received_unanswered_then_all(patient(), second, 3).await, (3, 20));
}

#[tokio::test]
async fn a_server_reads_no_more_bytes_than_it_may_have_unanswered() {
    // A request has 32 bytes: the fourth one crosses the line.
    let second = patient().with_max_inbound_bytes_per_peer(110);
    assert_eq!(received_unanswered_then_all(patient(), second, 4).await, (4, 20));
}

#[tokio::test]
async fn dropped_requests_make_room_too() {
    let second = patient().with_max_inbound_in_flight(2);
    let (mut first, mut second) = connected(patient(), second).await;
    let peer = id_of(&second);
    for number in 0..50 {
        first.behaviour_mut().send_request(&peer, ask(number));
    }
    let mut refused = 0;
    until(&mut first, &mut second, |_, _, side| {
        match side {
            Side::First(event) => {
                if let Some((_, result)) = outcome(event) {
                    assert_eq!(result, Err(OutboundFailure::Refused));
                    refused += 1;
                }
            }
            Side::Second(event) => drop(event),
        }
        (refused == 50).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_timed_out_request_leaves_its_place_to_the_next() {
    let (mut first, mut second) = connected(patient().with_max_in_flight_per_peer(1), patient()).await;
    let peer = id_of(&second);
    let stuck = first.behaviour_mut().send_request_within(&peer, ask(0), Duration::from_millis(50));
    let next = first.behaviour_mut().send_request(&peer, ask(1));
    let (mut found, mut held) = (Vec::new(), Vec::new());
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                if request.number == 0 {
                    held.push(channel);
                } else {
                    second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
                }
            }
            Side::Second(_) => {}
        }
        (found.len() == 2).then_some(())
    })
    .await;
    assert_eq!(found, [(stuck, Err(OutboundFailure::Timeout)), (next, Ok(told(1)))]);
}

#[tokio::test]
async fn a_peer_that_never_reads_fills_the_queue_and_no_more() {
    const LIMIT: usize = 1 << 20;
    let (peer, address, mut streams) = raw::accepting().await;
    let mut first =
        swarm(patient().with_max_queued_bytes_per_peer(LIMIT).with_max_in_flight_per_peer(1 << 20));
    first.add_peer_address(peer, address);
    first.behaviour_mut().send_request(&peer, ask(0));
    let _unread = alongside(&mut first, async { streams.next().await.unwrap() }).await;
    // The window of the multiplexer and the buffers on the way take some; then the queue fills.
    let mut sent = 0;
    let refused = loop {
        let id = first.behaviour_mut().send_request(&peer, big_ask(sent, 10_000));
        let pending = first.behaviour().pending(&peer);
        assert!(pending.queued_bytes <= LIMIT, "{pending:?}");
        if first.behaviour().counters().full > 0 {
            break id;
        }
        sent += 1;
        assert!(sent < 10_000, "nothing bounds the queue");
        if sent % 50 == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(20), first.next()).await;
        }
    };
    let bound = Bound::QueuedBytes { limit: LIMIT };
    let found = until_alone(&mut first, |_, event| outcome(event)).await;
    assert_eq!(found, (refused, Err(OutboundFailure::Full { bound })));
    let pending = first.behaviour().pending(&peer);
    assert_eq!(pending.queued + pending.in_flight, sent as usize + 1);
    assert!(pending.queued_bytes + 10_000 + 2 * QUEUED_REQUEST_BYTES > LIMIT, "it was not full: {pending:?}");
}

#[tokio::test]
async fn requests_to_a_peer_that_never_reads_time_out() {
    let (peer, address, mut streams) = raw::accepting().await;
    let mut first = swarm(patient());
    first.add_peer_address(peer, address);
    first.behaviour_mut().send_request(&peer, ask(0));
    let _unread = alongside(&mut first, async { streams.next().await.unwrap() }).await;
    let time = Duration::from_millis(200);
    let ids: Vec<_> = (1..=200)
        .map(|number| first.behaviour_mut().send_request_within(&peer, big_ask(number, 10_000), time))
        .collect();
    let mut found = Vec::new();
    until_alone(&mut first, |_, event| {
        found.extend(outcome(event));
        (found.len() == 200).then_some(())
    })
    .await;
    found.sort_by_key(|(id, _)| *id);
    assert_eq!(found, ids.into_iter().map(|id| (id, Err(OutboundFailure::Timeout))).collect::<Vec<_>>());
    let pending = first.behaviour().pending(&peer);
    assert_eq!((pending.in_flight, pending.queued, pending.queued_bytes), (1, 0, 0));
}

#[tokio::test]
async fn the_queue_is_bounded_while_a_peer_is_dialed() {
    let mut first = swarm(patient().with_max_queued_bytes_per_peer(4 * QUEUED_REQUEST_BYTES));
    let mut second = swarm(patient());
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address);
    let ids: Vec<_> = (0..10).map(|number| first.behaviour_mut().send_request(&peer, ask(number))).collect();
    assert_eq!(first.behaviour().pending(&peer).queued, 3);
    let mut found = outcomes(&mut first, &mut second, 10).await;
    found.sort_by_key(|(id, _)| *id);
    for (index, (id, result)) in found.into_iter().enumerate() {
        assert_eq!(id, ids[index]);
        match result {
            Ok(answer) => assert!(index < 3 && answer == told(index as u64)),
            Err(error) => assert!(index >= 3 && matches!(error, OutboundFailure::Full { .. })),
        }
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_not_sent() {
    let (mut first, mut second) = connected(patient().with_max_frame_bytes(1000), patient()).await;
    let peer = id_of(&second);
    let id = first.behaviour_mut().send_request(&peer, big_ask(0, 2000));
    let found = outcomes(&mut first, &mut second, 1).await;
    let Err(OutboundFailure::TooLarge { bytes, limit: 1000 }) = found[0].1 else { panic!("{found:?}") };
    assert!(found[0].0 == id && bytes > 2000 && bytes < 2100, "{bytes}");
    let next = first.behaviour_mut().send_request(&peer, big_ask(1, 500));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(next, Ok(told(1)))]);
}

#[tokio::test]
async fn a_response_over_the_limit_is_reported_on_both_sides() {
    let (mut first, mut second) = connected(patient(), patient().with_max_frame_bytes(1000)).await;
    let peer = id_of(&second);
    let ids = [
        first.behaviour_mut().send_request(&peer, ask(0)),
        first.behaviour_mut().send_request(&peer, ask(1)),
    ];
    let (mut found, mut reported) = (Vec::new(), None);
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                let bytes = if request.number == 0 { 5000 } else { 5 };
                let answer = Told { number: request.number, padding: vec![0; bytes] };
                second.behaviour_mut().send_response(channel, answer).unwrap();
            }
            Side::Second(SwarmEvent::Behaviour(Event::InboundFailure { error, .. })) => {
                reported = Some(error)
            }
            Side::Second(_) => {}
        }
        (found.len() == 2 && reported.is_some()).then_some(())
    })
    .await;
    let Some(InboundFailure::ResponseTooLarge { bytes, limit: 1000 }) = reported else {
        panic!("{reported:?}")
    };
    let too_large = OutboundFailure::ResponseTooLarge { bytes: bytes as u64, limit: 1000 };
    assert_eq!(found[0], (ids[0], Err(too_large)));
    assert_eq!((found[1].0, found[1].1.as_ref().map(|told| told.number)), (ids[1], Ok(1)));
}

/// A requester that sends and sends and never reads an answer: the server stops listening to it.
#[tokio::test]
async fn a_requester_that_never_reads_is_not_served_without_end() {
    const LIMIT: usize = 1 << 20;
    const ANSWER_BYTES: usize = 100_000;
    let mut server = swarm(patient().with_max_queued_bytes_per_peer(LIMIT));
    let (address, _) = server.listen().with_memory_addr_external().await;
    let (_, stream) = raw::opening(id_of(&server), address);
    let mut stream = alongside(&mut server, stream).await;
    tokio::spawn(async move {
        for id in 1.. {
            if stream.write_all(&raw::message(0, id, &ask(id))).await.is_err()
                || stream.flush().await.is_err()
            {
                break;
            }
        }
    });
    let (mut served, mut overloaded) = (0_usize, 0_usize);
    // Until nothing comes any more.
    while let Ok(event) =
        tokio::time::timeout(if served > 2 { WHILE } else { DEADLINE }, server.select_next_some()).await
    {
        match event {
            SwarmEvent::Behaviour(Event::Request { channel, request, .. }) => {
                served += 1;
                let answer = Told { number: request.number, padding: vec![7; ANSWER_BYTES] };
                server.behaviour_mut().send_response(channel, answer).unwrap();
            }
            SwarmEvent::Behaviour(Event::InboundFailure { error, .. }) => {
                let InboundFailure::Overloaded { waiting, limit: LIMIT } = error else { panic!("{error:?}") };
                assert!(waiting <= LIMIT, "{waiting} bytes wait");
                overloaded += 1;
            }
            _ => {}
        }
        assert!(served < 600, "{served} were served");
    }
    // What the multiplexer took, what waits, and one turn of reading that was under way.
    let accepted = (served - overloaded) * ANSWER_BYTES;
    assert!(served > 2, "only {served} were served");
    assert!(accepted < LIMIT + (2 << 20), "{served} served, {overloaded} overloaded");
}
