#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::NetworkBehaviour as _;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, ListenError, ListenFailure,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::link::{BATCH_BYTES, Taken};

use super::*;

type Rpc = Behaviour<String, String>;

fn rpc(config: Config) -> Rpc {
    Rpc::new(StreamProtocol::new("/test/1"), config)
}

fn connection(id: usize) -> ConnectionId {
    ConnectionId::new_unchecked(id)
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener { local_addr: Multiaddr::empty(), send_back_addr: Multiaddr::empty() }
}

fn establish(rpc: &mut Rpc, peer: PeerId, id: usize) {
    let address = Multiaddr::empty();
    let _ = rpc.handle_established_inbound_connection(connection(id), peer, &address, &address).unwrap();
    rpc.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id: connection(id),
        endpoint: &endpoint(),
        failed_addresses: &[],
        other_established: 0,
    }));
}

fn close(rpc: &mut Rpc, peer: PeerId, id: usize) {
    rpc.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id: peer,
        connection_id: connection(id),
        endpoint: &endpoint(),
        cause: None,
        remaining_established: 0,
    }));
}

fn denied() -> ConnectionDenied {
    ConnectionDenied::new(std::io::Error::other("no"))
}

/// Which connection the last dial has, if the behaviour asked for one.
fn dialed(rpc: &mut Rpc) -> Option<ConnectionId> {
    rpc.events.drain(..).rev().find_map(|event| match event {
        ToSwarm::Dial { opts } => Some(opts.connection_id()),
        _ => None,
    })
}

fn fail_dial(rpc: &mut Rpc, peer: PeerId, connection_id: ConnectionId, error: &DialError) {
    rpc.on_swarm_event(FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }));
}

fn failures(rpc: &mut Rpc) -> Vec<OutboundFailure> {
    let events = rpc.events.drain(..);
    events
        .filter_map(|event| match event {
            ToSwarm::GenerateEvent(Event::OutboundFailure { error, .. }) => Some(error),
            _ => None,
        })
        .collect()
}

#[test]
fn a_peer_is_forgotten_with_its_last_connection() {
    let (mut rpc, peer) = (rpc(Config::default()), PeerId::random());
    establish(&mut rpc, peer, 1);
    establish(&mut rpc, peer, 2);
    close(&mut rpc, peer, 1);
    assert_eq!((rpc.peers.len(), rpc.is_connected(&peer)), (1, true));
    close(&mut rpc, peer, 2);
    assert_eq!((rpc.peers.len(), rpc.is_connected(&peer)), (0, false));
}

#[test]
fn a_denied_connection_leaves_nothing_behind() {
    let (mut rpc, peer, address) = (rpc(Config::default()), PeerId::random(), Multiaddr::empty());
    let _ = rpc.handle_established_inbound_connection(connection(1), peer, &address, &address).unwrap();
    rpc.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
        local_addr: &address,
        send_back_addr: &address,
        error: &ListenError::Denied { cause: denied() },
        connection_id: connection(1),
        peer_id: Some(peer),
    }));
    assert_eq!(rpc.peers.len(), 0);
    let role = Endpoint::Dialer;
    let _ = rpc
        .handle_established_outbound_connection(connection(2), peer, &address, role, PortUse::New)
        .unwrap();
    fail_dial(&mut rpc, peer, connection(2), &DialError::Denied { cause: denied() });
    assert_eq!(rpc.peers.len(), 0);
}

#[test]
fn a_peer_with_requests_in_the_program_is_forgotten_when_they_are_answered() {
    let (mut rpc, peer, other) = (rpc(Config::default()), PeerId::random(), PeerId::random());
    establish(&mut rpc, peer, 1);
    let link = rpc.peers.get(&peer).unwrap().link.clone();
    let epoch = link.begin_inbound(connection(1));
    link.admit(connection(1), 1, 10);
    let channel = ResponseChannel::new(link, connection(1), epoch, 1, 10);
    close(&mut rpc, peer, 1);
    assert_eq!((rpc.peers.len(), rpc.pending(&peer).inbound), (1, 1));
    assert_eq!(rpc.send_response(channel, String::new()), Err(String::new()));
    assert_eq!(rpc.pending(&peer).inbound, 0);
    establish(&mut rpc, other, 2);
    close(&mut rpc, other, 2);
    assert_eq!(rpc.peers.len(), 0);
}

#[test]
fn a_refusal_without_a_connection_leaves_nothing_behind() {
    let mut rpc = rpc(Config::default().with_dial_on_request(false));
    for _ in 0..3 {
        rpc.send_request(&PeerId::random(), String::new());
    }
    assert_eq!((failures(&mut rpc).len(), rpc.peers.len()), (3, 0));
}

#[test]
fn only_the_failure_of_its_own_dial_ends_what_waits() {
    let (mut rpc, peer) = (rpc(Config::default()), PeerId::random());
    rpc.send_request(&peer, String::new());
    let ours = dialed(&mut rpc).unwrap();
    fail_dial(&mut rpc, peer, connection(999_999), &DialError::Aborted);
    assert_eq!(failures(&mut rpc), []);
    fail_dial(&mut rpc, peer, ours, &DialError::Aborted);
    assert_eq!(failures(&mut rpc), [OutboundFailure::DialFailure]);
    assert_eq!(rpc.peers.len(), 0);
}

#[test]
fn a_dial_of_somebody_else_is_waited_for() {
    let (mut rpc, peer) = (rpc(Config::default()), PeerId::random());
    rpc.send_request(&peer, String::new());
    let ours = dialed(&mut rpc).unwrap();
    let condition = PeerCondition::DisconnectedAndNotDialing;
    fail_dial(&mut rpc, peer, ours, &DialError::DialPeerConditionFalse(condition));
    rpc.send_request(&peer, String::new());
    assert_eq!((dialed(&mut rpc), rpc.pending(&peer).queued), (None, 2));
    fail_dial(&mut rpc, peer, connection(999_999), &DialError::Aborted);
    assert_eq!(failures(&mut rpc), [OutboundFailure::DialFailure, OutboundFailure::DialFailure]);
}

#[test]
fn a_slot_that_another_peer_took_over_does_not_mix_up_requests() {
    let (mut rpc, peer, other) = (rpc(Config::default()), PeerId::random(), PeerId::random());
    let old = rpc.send_request(&peer, String::new());
    let ours = dialed(&mut rpc).unwrap();
    fail_dial(&mut rpc, peer, ours, &DialError::Aborted);
    let new = rpc.send_request(&other, String::new());
    assert_eq!(old.slot, new.slot);
    rpc.cancel(old);
    assert_eq!(rpc.pending(&other).queued, 1);
    rpc.cancel(new);
    assert_eq!(rpc.pending(&other).queued, 0);
}

#[test]
fn requests_go_to_the_newest_connection_and_to_an_older_one_when_that_dies() {
    let (mut rpc, peer) = (rpc(Config::default()), PeerId::random());
    establish(&mut rpc, peer, 1);
    let link = rpc.peers.get(&peer).unwrap().link.clone();
    let mut buffer = Vec::with_capacity(BATCH_BYTES);
    let taken = |up_to| Some(Taken { count: 1, up_to });
    rpc.send_request(&peer, String::new());
    assert_eq!(link.take_requests(connection(1), &mut buffer), taken(1));
    establish(&mut rpc, peer, 2);
    assert!(link.lock().is_retired(connection(1)));
    rpc.send_request(&peer, String::new());
    assert_eq!(link.take_requests(connection(1), &mut buffer), None);
    assert_eq!(link.take_requests(connection(2), &mut buffer), taken(2));
    // What went out on the older one is lost with that alone.
    close(&mut rpc, peer, 1);
    assert_eq!(failures(&mut rpc), [OutboundFailure::ConnectionClosed]);
    assert_eq!(rpc.pending(&peer).in_flight, 1);
    establish(&mut rpc, peer, 3);
    close(&mut rpc, peer, 3);
    assert_eq!(failures(&mut rpc), [OutboundFailure::ConnectionClosed]);
    assert!(!link.lock().is_retired(connection(2)));
    rpc.send_request(&peer, String::new());
    assert_eq!(link.take_requests(connection(2), &mut buffer), taken(3));
}

#[test]
fn an_earlier_deadline_than_all_before_wakes_the_task_that_sets_the_timer() {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (mut rpc, peer) = (rpc(Config::default()), PeerId::random());
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    establish(&mut rpc, peer, 1);
    let mut woken_by_request_within = |seconds| {
        while rpc.poll(&mut Context::from_waker(&waker)).is_ready() {}
        flag.0.store(false, Ordering::Relaxed);
        rpc.send_request_within(&peer, String::new(), Duration::from_secs(seconds));
        flag.0.load(Ordering::Relaxed)
    };
    assert!(woken_by_request_within(100));
    assert!(!woken_by_request_within(200));
    assert!(woken_by_request_within(50));
}
