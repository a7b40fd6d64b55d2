//! Connections that break, come back, or are several.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::*;
use henge_rpc::{Config, Event, InboundFailure, KeepAlive, OutboundFailure, RequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, allow_block_list, noise, tcp, yamux};
use libp2p_swarm_test::SwarmExt as _;

/// A swarm that knows the address of the other one, a window of one request, and three requests: one held by the
/// second swarm, two that wait.
struct Scene {
    first: Swarm<Rpc>,
    second: Swarm<Rpc>,
    peer: PeerId,
    ids: Vec<RequestId>,
    channel: ResponseChannel,
    connection: ConnectionId,
}

async fn scene(config: Config, connections: usize) -> Scene {
    let mut first = swarm(config.with_max_in_flight_per_peer(1));
    let mut second = swarm(patient());
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address.clone());
    for _ in 0..connections {
        let opts =
            DialOpts::peer_id(peer).addresses(vec![address.clone()]).condition(PeerCondition::Always).build();
        first.dial(opts).unwrap();
    }
    let mut established = 0;
    until(&mut first, &mut second, |_, _, side| {
        if let Side::First(SwarmEvent::ConnectionEstablished { .. })
        | Side::Second(SwarmEvent::ConnectionEstablished { .. }) = side
        {
            established += 1;
        }
        (established == 2 * connections).then_some(())
    })
    .await;
    let ids: Vec<_> = (0..3).map(|number| first.behaviour_mut().send_request(&peer, ask(number))).collect();
    let (channel, connection) = until(&mut first, &mut second, |_, _, side| match side {
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, connection, .. })) => {
            Some((channel, connection))
        }
        _ => None,
    })
    .await;
    let pending = first.behaviour().pending(&peer);
    assert_eq!((pending.in_flight, pending.queued), (1, 2));
    Scene { first, second, peer, ids, channel, connection }
}

#[tokio::test]
async fn what_was_sent_fails_with_its_connection_and_what_was_not_goes_out_on_the_next() {
    let Scene { mut first, mut second, peer, ids, channel, connection } = scene(patient(), 1).await;
    assert!(second.close_connection(connection));
    let (mut found, mut left) = (Vec::new(), None);
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::Behaviour(Event::InboundFailure { error, .. })) => left = Some(error),
            Side::Second(SwarmEvent::Behaviour(Event::Request {
                channel, request, connection: new, ..
            })) => {
                assert_ne!(new, connection);
                second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
            }
            Side::Second(_) => {}
        }
        (found.len() == 3).then_some(())
    })
    .await;
    let closed = OutboundFailure::ConnectionClosed;
    assert_eq!(found, [(ids[0], Err(closed)), (ids[1], Ok(told(1))), (ids[2], Ok(told(2)))]);
    assert_eq!(left, Some(InboundFailure::ConnectionClosed { unanswered: 1 }));
    assert!(!channel.is_open());
    assert_eq!(second.behaviour_mut().send_response(channel, told(0)), Err(told(0)));
    assert!(first.behaviour().is_connected(&peer));
}

#[tokio::test]
async fn what_was_not_sent_moves_to_another_connection() {
    // Without leave to dial: only the second connection can take them.
    let config = patient().with_dial_on_request(false);
    let Scene { mut first, mut second, ids, connection, channel: _channel, .. } = scene(config, 2).await;
    assert!(second.close_connection(connection));
    let mut found = Vec::new();
    until(&mut first, &mut second, |_, second, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::Behaviour(Event::Request {
                channel,
                request,
                connection: other,
                ..
            })) => {
                assert_ne!(other, connection);
                second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
            }
            Side::Second(_) => {}
        }
        (found.len() == 3).then_some(())
    })
    .await;
    let closed = OutboundFailure::ConnectionClosed;
    assert_eq!(found, [(ids[0], Err(closed)), (ids[1], Ok(told(1))), (ids[2], Ok(told(2)))]);
}

#[tokio::test]
async fn the_death_of_an_unused_connection_changes_nothing() {
    let Scene { mut first, mut second, ids, connection, channel, .. } = scene(patient(), 2).await;
    // The other one: closing it must not disturb the request that is held.
    let mut others = Vec::new();
    for id in 0..10_000 {
        let id = ConnectionId::new_unchecked(id);
        if id != connection && second.close_connection(id) {
            others.push(id);
        }
    }
    assert_eq!(others.len(), 1);
    until(&mut first, &mut second, |_, _, side| match side {
        Side::First(SwarmEvent::ConnectionClosed { num_established, .. }) => {
            (num_established == 1).then_some(())
        }
        Side::First(event) => {
            assert!(outcome(event).is_none());
            None
        }
        Side::Second(_) => None,
    })
    .await;
    second.behaviour_mut().send_response(channel, told(0)).unwrap();
    let found = outcomes(&mut first, &mut second, 3).await;
    assert_eq!(found, [(ids[0], Ok(told(0))), (ids[1], Ok(told(1))), (ids[2], Ok(told(2)))]);
}

#[tokio::test]
async fn without_leave_to_dial_what_waits_fails_with_the_last_connection() {
    let config = patient().with_dial_on_request(false);
    let Scene { mut first, mut second, ids, connection, .. } = scene(config, 1).await;
    assert!(second.close_connection(connection));
    let found = outcomes(&mut first, &mut second, 3).await;
    assert_eq!(found, ids.iter().map(|id| (*id, Err(OutboundFailure::ConnectionClosed))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_peer_that_is_gone_for_good_fails_what_waits_as_a_dial_failure() {
    let Scene { mut first, second, ids, channel, .. } = scene(patient(), 1).await;
    drop((second, channel));
    let mut found = Vec::new();
    until_alone(&mut first, |_, event| {
        found.extend(outcome(event));
        (found.len() == 3).then_some(())
    })
    .await;
    let expected =
        [OutboundFailure::ConnectionClosed, OutboundFailure::DialFailure, OutboundFailure::DialFailure];
    assert_eq!(found, ids.into_iter().zip(expected.map(Err)).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_on_a_hundred_connections_in_turn_are_all_answered() {
    let (mut first, mut second) = (swarm(patient()), swarm(patient()));
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address);
    for number in 0..100 {
        let id = first.behaviour_mut().send_request(&peer, ask(number));
        assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Ok(told(number)))]);
        first.disconnect_peer_id(peer).unwrap();
        until(&mut first, &mut second, |first, second, _| {
            let gone =
                !first.behaviour().is_connected(&peer) && !second.behaviour().is_connected(&id_of(first));
            gone.then_some(())
        })
        .await;
    }
}

#[derive(libp2p::swarm::NetworkBehaviour)]
struct Guarded {
    rpc: Rpc,
    // After `rpc`, which has made a handler by the time that this one says no.
    blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
}

#[tokio::test]
async fn a_peer_that_closes_every_connection_is_not_dialed_without_end() {
    let mut first = swarm(patient());
    let mut second = Swarm::new_ephemeral_tokio(|_| Guarded {
        rpc: Rpc::new(PROTOCOL, patient()),
        blocked: allow_block_list::Behaviour::default(),
    });
    let (address, _) = second.listen().await;
    let peer = id_of(&second);
    second.behaviour_mut().blocked.block_peer(id_of(&first));
    first.add_peer_address(peer, address);
    let id = first.behaviour_mut().send_request(&peer, ask(0));
    let mut connections = 0;
    let (found, error) = until(&mut first, &mut second, |_, _, side| match side {
        Side::First(SwarmEvent::ConnectionEstablished { .. }) => {
            connections += 1;
            None
        }
        Side::First(event) => outcome(event),
        Side::Second(_) => None,
    })
    .await;
    assert_eq!(found, id);
    assert!(
        matches!(error, Err(OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure)),
        "{error:?}"
    );
    assert!(connections <= 4, "{connections} connections");
    assert!(!second.behaviour().rpc.is_connected(&id_of(&first)));
}

/// Over TCP with an idle time-out short enough to wait for.
fn impatient(keep_alive: KeepAlive) -> Swarm<Rpc> {
    libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Rpc::new(PROTOCOL, patient().with_keep_alive(keep_alive)))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_millis(50)))
        .build()
}

async fn listening(swarm: &mut Swarm<Rpc>) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    until_alone(swarm, |_, event| match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address),
        _ => None,
    })
    .await
}

async fn impatient_pair(keep_alive: KeepAlive) -> (Swarm<Rpc>, Swarm<Rpc>) {
    let (mut first, mut second) = (impatient(keep_alive), impatient(keep_alive));
    let address = listening(&mut second).await;
    let peer = id_of(&second);
    first.add_peer_address(peer, address);
    (first, second)
}

#[tokio::test]
async fn the_address_of_a_connection_that_this_peer_dialed_is_remembered() {
    let (mut first, mut second) = connected(patient(), patient()).await;
    let peer = id_of(&second);
    first.disconnect_peer_id(peer).unwrap();
    until(&mut first, &mut second, |first, _, _| (!first.behaviour().is_connected(&peer)).then_some(()))
        .await;
    let id = first.behaviour_mut().send_request(&peer, ask(0));
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(id, Ok(told(0)))]);
}

#[tokio::test]
async fn by_default_a_connection_outlives_its_requests() {
    let (mut first, mut second) = impatient_pair(KeepAlive::WhileOpen).await;
    let peer = id_of(&second);
    first.behaviour_mut().send_request(&peer, ask(0));
    outcomes(&mut first, &mut second, 1).await;
    assert!(quiet(&mut first, &mut second, Duration::from_millis(500)).await.is_empty());
    assert!(first.behaviour().is_connected(&peer));
}

#[tokio::test]
async fn an_older_connection_is_let_go_once_its_requests_are_answered() {
    let (mut first, mut second) = impatient_pair(KeepAlive::WhileOpen).await;
    let peer = id_of(&second);
    let held = first.behaviour_mut().send_request(&peer, ask(0));
    let (channel, older) = until(&mut first, &mut second, |_, _, side| match side {
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, connection, .. })) => {
            Some((channel, connection))
        }
        _ => None,
    })
    .await;
    first.dial(DialOpts::peer_id(peer).condition(PeerCondition::Always).build()).unwrap();
    until(&mut first, &mut second, |_, _, side| match side {
        Side::First(SwarmEvent::ConnectionEstablished { .. }) => Some(()),
        _ => None,
    })
    .await;
    let sent = first.behaviour_mut().send_request(&peer, ask(1));
    let (newer, number) = until(&mut first, &mut second, |_, second, side| match side {
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, request, connection, .. })) => {
            second.behaviour_mut().send_response(channel, told(request.number)).unwrap();
            Some((connection, request.number))
        }
        _ => None,
    })
    .await;
    assert_eq!(number, 1);
    assert_ne!(newer, older);
    assert_eq!(outcomes(&mut first, &mut second, 1).await, [(sent, Ok(told(1)))]);
    assert!(quiet(&mut first, &mut second, Duration::from_millis(200)).await.is_empty());
    assert!(channel.is_open(), "what it carries holds it");

    second.behaviour_mut().send_response(channel, told(0)).unwrap();
    let (mut closed, mut found) = (None, Vec::new());
    until(&mut first, &mut second, |_, _, side| {
        match side {
            Side::First(event) => found.extend(outcome(event)),
            Side::Second(SwarmEvent::ConnectionClosed { connection_id, .. }) => closed = Some(connection_id),
            Side::Second(_) => {}
        }
        closed.filter(|_| found.len() == 1)
    })
    .await;
    assert_eq!((found, closed), (vec![(held, Ok(told(0)))], Some(older)));
    assert!(first.behaviour().is_connected(&peer));
}

#[tokio::test]
async fn while_busy_a_connection_lasts_as_long_as_its_requests() {
    let (mut first, mut second) = impatient_pair(KeepAlive::WhileBusy).await;
    let peer = id_of(&second);
    first.behaviour_mut().send_request(&peer, ask(0));
    let channel = until(&mut first, &mut second, |_, _, side| match side {
        Side::Second(SwarmEvent::Behaviour(Event::Request { channel, .. })) => Some(channel),
        _ => None,
    })
    .await;
    assert!(quiet(&mut first, &mut second, Duration::from_millis(500)).await.is_empty());
    assert!(first.behaviour().is_connected(&peer), "an unanswered request holds it");
    second.behaviour_mut().send_response(channel, told(0)).unwrap();
    assert!(outcomes(&mut first, &mut second, 1).await[0].1.is_ok());
    until(&mut first, &mut second, |first, _, _| (!first.behaviour().is_connected(&peer)).then_some(()))
        .await;
}

#[tokio::test]
async fn a_connection_can_be_held_without_any_request() {
    let (mut first, mut second) = impatient_pair(KeepAlive::Always).await;
    let peer = id_of(&second);
    first.dial(peer).unwrap();
    until(&mut first, &mut second, |first, second, _| {
        (first.behaviour().is_connected(&peer) && second.behaviour().is_connected(&id_of(first)))
            .then_some(())
    })
    .await;
    assert!(quiet(&mut first, &mut second, Duration::from_millis(500)).await.is_empty());
    assert!(first.behaviour().is_connected(&peer));
}
