//! What the light client promises, against peers that follow a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use henge::client::{AttemptError, Client, Config, ConnectError};
use henge::error::RequestError;
use henge_client::{Request, Response};
use henge_types::ClusterName;
use libp2p::{Multiaddr, PeerId};
use support::memory::Memory;
use support::scripted::{Say, Scripted};

/// A peer where all is well.
fn healthy(listen: &str) -> Scripted {
    let mut memory = Memory::default();
    Scripted::start("henge", listen, move |request| Say::answer(memory.answer(request)))
}

/// A peer that answers questions about the ring, and does `say` with puts and gets.
fn only_placement(say: fn() -> Say) -> Scripted {
    let mut memory = Memory::default();
    Scripted::over_tcp(move |request| match request {
        Request::Put { .. } | Request::Delete { .. } | Request::Get(_) => say(),
        _ => Say::answer(memory.answer(request)),
    })
}

async fn connect(addresses: &[Multiaddr]) -> Client {
    Client::connect(addresses.to_vec(), Config::new()).await.expect("connects")
}

async fn refusal(address: Multiaddr, config: Config) -> AttemptError {
    match Client::connect(vec![address], config).await {
        Err(ConnectError::Failed { attempts }) => attempts[0].error.clone(),
        other => panic!("expected a failed attempt, not {other:?}"),
    }
}

/// An address on loopback where nobody listens.
fn nobody() -> Multiaddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

#[tokio::test]
async fn reads_what_it_wrote_over_tcp_and_quic_with_and_without_the_peers_id() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let peer = healthy(listen);
        for address in [peer.address.clone(), peer.full_address()] {
            let client = connect(&[address]).await;
            assert_eq!(client.peer(), peer.peer);
            client.handle().put("key", "value").await.unwrap();
            let got = client.handle().get("key").await.unwrap();
            assert_eq!(got.single().unwrap(), "value");
            client.close().await;
        }
    }
}

#[tokio::test]
async fn a_thousand_requests_at_a_time_all_get_their_answers() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[peer.full_address()]).await;
    let puts = (0..3000u32).map(|n| client.handle().put(n.to_string(), n.to_string()).into_future());
    futures::future::try_join_all(puts).await.unwrap();
    let got = client.handle().get("2999").await.unwrap();
    assert_eq!(got.single().unwrap(), "2999");
}

#[tokio::test]
async fn values_of_the_largest_size_wait_for_room_instead_of_failing() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[peer.full_address()]).await;
    let value = vec![7u8; 1 << 20];
    let puts = (0..40u32)
        .map(|n| client.handle().put(n.to_string(), value.clone()).timeout(support::PATIENCE).into_future());
    futures::future::try_join_all(puts).await.unwrap();
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[nobody(), peer.full_address()]).await;
    assert_eq!(client.peer(), peer.peer);
}

#[tokio::test]
async fn an_address_without_a_peer_is_refused_with_the_systems_reason() {
    let error = refusal(nobody(), Config::new()).await;
    assert!(matches!(&error, AttemptError::Unreachable { reason } if reason.contains("refused")), "{error}");
    let all = Client::connect(vec![nobody(), nobody()], Config::new()).await.unwrap_err();
    assert!(matches!(all, ConnectError::Failed { attempts } if attempts.len() == 2));
}

#[tokio::test]
async fn another_peer_than_the_address_names_is_refused() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let expected = PeerId::random();
    let error = refusal(peer.address.clone().with_p2p(expected).unwrap(), Config::new()).await;
    assert_eq!(error, AttemptError::WrongPeer { expected, actual: peer.peer });
}

#[tokio::test]
async fn a_peer_of_another_cluster_is_refused() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let cluster = ClusterName::new("other").unwrap();
    let error = refusal(peer.full_address(), Config::new().with_cluster(cluster.clone())).await;
    assert_eq!(error, AttemptError::WrongCluster { peer: peer.peer, cluster });
}

#[tokio::test]
async fn a_peer_that_never_answers_is_given_up() {
    let peer = Scripted::over_tcp(|_| Say::Nothing);
    let config = Config::new().with_attempt_timeout(Duration::from_millis(300));
    let error = refusal(peer.full_address(), config).await;
    assert!(matches!(error, AttemptError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_write_goes_on_at_another_peer_under_the_same_operation() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let script = |hang_up: bool| {
        let (seen, mut memory) = (seen.clone(), Memory::default());
        move |request: Request| {
            if let Request::Put { options, .. } = &request {
                seen.lock().unwrap().push((options.operation, options.retry));
                if hang_up {
                    return Say::HangUp;
                }
            }
            Say::answer(memory.answer(request))
        }
    };
    let (first, second) = (Scripted::over_tcp(script(true)), Scripted::over_tcp(script(false)));
    let client = connect(&[first.full_address(), second.full_address()]).await;
    let put = client.handle().put("key", "value");
    let operation = put.operation();
    put.await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(operation, false), (operation, true)]);
    assert_eq!(client.handle().get("key").await.unwrap().single().unwrap(), "value");
}

#[tokio::test]
async fn when_every_peer_hangs_up_a_write_is_unknown_and_a_read_has_no_answer() {
    let peer = only_placement(|| Say::HangUp);
    let client = connect(&[peer.full_address()]).await;
    let put = client.handle().put("key", "value").await;
    assert!(matches!(put, Err(RequestError::Unknown { .. })), "{put:?}");
    let get = client.handle().get("key").await;
    assert!(matches!(get, Err(RequestError::NoAnswer { .. })), "{get:?}");
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_for_a_write() {
    let peer = only_placement(|| Say::Nothing);
    let client = connect(&[peer.full_address()]).await;
    let put = client.handle().put("key", "value").timeout(Duration::from_millis(100)).await;
    assert!(matches!(put, Err(RequestError::Unknown { .. })), "{put:?}");
}

#[tokio::test]
async fn a_frozen_peer_is_left_for_another() {
    let mut asked = 0;
    let mut memory = Memory::default();
    let frozen = Scripted::over_tcp(move |request| {
        asked += 1;
        if asked == 1 { Say::answer(memory.answer(request)) } else { Say::Nothing }
    });
    let other = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[frozen.full_address(), other.full_address()]).await;
    assert_eq!(client.peer(), frozen.peer);
    client.handle().put("key", "value").await.unwrap();
}

/// A peer that tells of another one, and does `say` with what comes after the put that follows.
fn telling_of(other: &Scripted, say: fn() -> Say) -> Scripted {
    let (mut memory, other) = (Memory::default(), (other.peer, other.address.clone()));
    let (mut has_told, mut is_gone) = (false, false);
    Scripted::over_tcp(move |request| {
        if is_gone {
            return say();
        }
        is_gone = has_told && matches!(request, Request::Put { .. });
        let Response::Status(mut status) = memory.answer(Request::Status) else { unreachable!() };
        if matches!(request, Request::Status) {
            has_told = true;
            (status.members[0].peer, status.members[0].addresses) = (other.0, vec![other.1.clone()]);
            return Say::answer(Response::Status(status));
        }
        Say::answer(memory.answer(request))
    })
}

#[tokio::test]
async fn another_member_is_learnt_and_gone_on_with_when_the_only_peer_given_hangs_up_or_hangs() {
    for say in [|| Say::HangUp, || Say::Nothing] {
        let other = healthy("/ip4/127.0.0.1/tcp/0");
        let first = telling_of(&other, say);
        let client = connect(&[first.full_address()]).await;
        let deadline = support::now() + support::PATIENCE;
        while client.addresses().len() == 1 {
            assert!(support::now() < deadline, "the other is learnt");
            client.handle().get("key").await.unwrap();
        }
        assert_eq!(client.addresses(), [first.full_address(), other.full_address()]);
        for value in ["last of the first", "first of the other"] {
            client.handle().put("key", value).await.unwrap();
        }
        assert_eq!(client.handle().get("key").await.unwrap().single().unwrap(), "first of the other");
    }
}

#[tokio::test]
async fn who_does_not_want_to_learn_does_not_ask() {
    let asked = Arc::new(Mutex::new(0));
    let (count, mut memory) = (asked.clone(), Memory::default());
    let peer = Scripted::over_tcp(move |request| {
        *count.lock().unwrap() += u32::from(matches!(request, Request::Status));
        Say::answer(memory.answer(request))
    });
    let config = Config::new().with_learn_members(false);
    let client = Client::connect(vec![peer.full_address()], config).await.unwrap();
    // Longer than a client waits that does want to.
    let until = support::now() + Duration::from_millis(800);
    while support::now() < until {
        client.handle().get("key").await.unwrap();
    }
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_serves_nobody_yet_is_left_for_another() {
    let first = only_placement(|| Say::answer(Response::Failed(henge_client::Failure::NotReady)));
    let other = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[first.full_address(), other.full_address()]).await;
    client.handle().put("key", "value").await.unwrap();
    assert_eq!(client.handle().get("key").await.unwrap().single().unwrap(), "value");
}

#[tokio::test]
async fn a_slow_answer_of_a_live_peer_is_waited_for() {
    let peer = Arc::new(Mutex::new(0));
    let puts = peer.clone();
    let slow = only_placement(|| Say::Nothing);
    let other = Scripted::over_tcp(move |request| {
        if matches!(request, Request::Put { .. }) {
            *puts.lock().unwrap() += 1;
        }
        Say::answer(Memory::default().answer(request))
    });
    let client = connect(&[slow.full_address(), other.full_address()]).await;
    let put = client.handle().put("key", "value").timeout(Duration::from_millis(2_500)).await;
    assert!(matches!(put, Err(RequestError::Unknown { .. })), "{put:?}");
    assert_eq!(*peer.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_is_gone_and_never_saw_the_request_is_unreachable() {
    let peer = healthy("/ip4/127.0.0.1/tcp/0");
    let client = connect(&[peer.full_address()]).await;
    drop(peer);
    // The loss of the connection may be noticed before or after the request was sent.
    let get = client.handle().get("key").await;
    assert!(matches!(get, Err(RequestError::Unreachable { .. } | RequestError::NoAnswer { .. })), "{get:?}");
    let get = client.handle().get("key").await;
    assert!(matches!(get, Err(RequestError::Unreachable { .. })), "{get:?}");
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let peer = only_placement(|| Say::answer(Response::Failed(henge_client::Failure::Overloaded)));
    let client = connect(&[peer.full_address()]).await;
    let put = client.handle().put("key", "value").await;
    assert_eq!(put, Err(RequestError::Failed(henge_client::Failure::Overloaded)));
}
