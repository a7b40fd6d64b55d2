//! Requests and responses between two peers that keep to the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::*;
use henge_rpc::{Event, OutboundFailure};
use libp2p::swarm::SwarmEvent;
use libp2p_swarm_test::SwarmExt as _;

#[tokio::test]
async fn a_request_is_answered() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    let id = first.behaviour_mut().send_request(&peer, ask(7));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Ok(told(7)))]);
}

#[tokio::test]
async fn both_sides_ask_on_one_connection() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let (peer_of_first, peer_of_second) = (id_of(&second), id_of(&first));
    first.behaviour_mut().send_request(&peer_of_first, ask(1));
    second.behaviour_mut().send_request(&peer_of_second, ask(2));
    let (mut first_has, mut second_has) = (None, None);
    until(&mut first, &mut second, |first, second, side| {
        match side {
            Side::First(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                first.behaviour_mut().send_response(channel, told(request.number)).unwrap();
            }
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
            }
            Side::First(SwarmEvent::Behaviour(Event::Response { response, .. })) => {
                first_has = Some(response)
            }
            Side::Second(SwarmEvent::Behaviour(Event::Response { response, .. })) => {
                second_has = Some(response)
            }
            _ => {}
        }
        (first_has.is_some() && second_has.is_some()).then_some(())
    })
    .await;
    assert_eq!((first_has, second_has), (Some(told(1)), Some(told(2))));
}

#[tokio::test]
async fn thousands_of_answers_out_of_order_find_their_requests() {
    const COUNT: u64 = 5_000;
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    let sent: HashMap<_, _> =
        (0..COUNT).map(|number| (first.behaviour_mut().send_request(&peer, ask(number)), number)).collect();
    let mut held = Vec::new();
    let mut answered = HashMap::new();
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => {
                answered.extend(outcome(event).map(|(id, result)| (id, result.unwrap().number)))
            }
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                held.push((channel, request));
                // The window of both sides is 1,024: this many are there at once.
                if held.len() == 700 || held.last().is_some_and(|(_, request)| request.number == COUNT - 1) {
                    for (channel, request) in held.drain(..).rev() {
                        second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
                    }
                }
            }
            Side::Second(_) => {}
        }
        (answered.len() == sent.len()).then_some(())
    })
    .await;
    assert_eq!(answered, sent);
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    let padding: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    for number in 0..4 {
        first.behaviour_mut().send_request(&peer, Ask { number, padding: padding.clone() });
    }
    let mut answers = 0;
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => {
                if let Some((_, result)) = outcome(event) {
                    assert_eq!(result.unwrap().padding, padding);
                    answers += 1;
                }
            }
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                assert_eq!(request.padding, padding);
                let answer = Told { number: request.number, padding: request.padding };
                second.behaviour_mut().send_response(channel, answer).unwrap();
            }
            Side::Second(_) => {}
        }
        (answers == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_dials_a_peer_whose_address_is_known() {
    let (mut first, mut second) = (swarm(patient()), swarm(patient()));
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address);
    assert!(!first.behaviour().is_connected(&peer));
    let ids: Vec<_> = (0..3).map(|number| first.behaviour_mut().send_request(&peer, ask(number))).collect();
    let found = outcomes(&mut first, &mut second, 3).await;
    assert_eq!(found, [(ids[0], Ok(told(0))), (ids[1], Ok(told(1))), (ids[2], Ok(told(2)))]);
    assert!(first.behaviour().is_connected(&peer));
}

#[tokio::test]
async fn a_request_to_a_peer_without_address_fails_at_once() {
    let (mut first, mut second) = (swarm(patient()), swarm(patient()));
    let peer = id_of(&second);
    let id = first.behaviour_mut().send_request(&peer, ask(0));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Err(OutboundFailure::DialFailure))]);
    // The failed dial leaves nothing behind that would keep the next one from being tried.
    let id = first.behaviour_mut().send_request(&peer, ask(1));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Err(OutboundFailure::DialFailure))]);
}

#[tokio::test]
async fn without_leave_to_dial_a_request_fails_as_not_connected() {
    let (mut first, mut second) = (swarm(patient().with_dial_on_request(false)), swarm(patient()));
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address);
    let id = first.behaviour_mut().send_request(&peer, ask(0));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Err(OutboundFailure::NotConnected))]);
}

#[tokio::test]
async fn an_unanswered_request_times_out_alone() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    // Enough for the request to arrive on a machine that is busy with other things.
    let slow = first.behaviour_mut().send_request_within(&peer, ask(0), Duration::from_secs(1));
    let patient = first.behaviour_mut().send_request(&peer, ask(1));
    let mut held = Vec::new();
    let mut found = Vec::new();
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => {
                if let Some(outcome) = outcome(event) {
                    found.push(outcome);
                    // The late answer comes first, and must not be taken for the other one.
                    for (channel, number) in held.drain(..) {
                        second.behaviour_mut().send_response(channel, told(number)).unwrap();
                    }
                }
            }
            Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
                held.push((channel, request.number));
            }
            Side::Second(_) => {}
        }
        (found.len() == 2).then_some(())
    })
    .await;
    assert_eq!(found, [(slow, Err(OutboundFailure::Timeout)), (patient, Ok(told(1)))]);
    assert_eq!(first.behaviour().counters().late_responses, 1);
    assert_eq!(first.behaviour().pending(&peer).in_flight, 0);
}

#[tokio::test]
async fn a_request_that_waits_for_a_dial_times_out_too() {
    let mut first = swarm(patient());
    let mut second = swarm(patient());
    let peer = id_of(&second);
    // A listener of the operating system that accepts and then says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    first.add_peer_address(peer, format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
    let id = first.behaviour_mut().send_request_within(&peer, ask(0), Duration::from_millis(100));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Err(OutboundFailure::Timeout))]);
    assert_eq!(first.behaviour().pending(&peer).queued, 0);
}

#[tokio::test]
async fn a_cancelled_request_has_no_outcome() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    let unsent = first.behaviour_mut().send_request(&peer, ask(0));
    first.behaviour_mut().cancel(unsent);
    let sent = first.behaviour_mut().send_request(&peer, ask(1));
    let mut cancelled = false;
    let channel = until(&mut first, &mut second, |first, _, side| match side {
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, .. })) => {
            // The first one never left.
            assert_eq!(request.number, 1);
            first.behaviour_mut().cancel(sent);
            cancelled = true;
            Some(channel)
        }
        _ => None,
    })
    .await;
    assert_eq!(first.behaviour().pending(&peer).in_flight, 0);
    second.behaviour_mut().send_response(channel, told(1)).unwrap();
    let third = first.behaviour_mut().send_request(&peer, ask(2));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(third, Ok(told(2)))]);
    assert_eq!(first.behaviour().counters().late_responses, 1);
    // Cancelling what is done, twice too, does nothing.
    first.behaviour_mut().cancel(third);
    first.behaviour_mut().cancel(sent);
    assert_eq!(first.behaviour().pending(&peer).in_flight, 0);
}

#[tokio::test]
async fn a_dropped_channel_refuses_promptly() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    let id = first.behaviour_mut().send_request_within(&peer, ask(0), 2 * DEADLINE);
    let found = until(&mut first, &mut second, |_, _, side| match side {
        Side::First(event) => outcome(event),
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, .. })) => {
            drop(channel);
            None
        }
        Side::Second(_) => None,
    })
    .await;
    assert_eq!(found, (id, Err(OutboundFailure::Refused)));
    assert_eq!(second.behaviour().pending(&id_of(&first)).inbound, 0);
}
