use std::path::Path;
use std::time::Duration;

use henge_types::Multiaddr;

use super::{Node, NodeConfig, NodeEvent};
use crate::config::Config;
use crate::error::StartError;
use crate::event::Event;
use crate::store::StoreError;

const DEADLINE: Duration = Duration::from_secs(60);

async fn wait<T>(node: &mut Node, mut wanted: impl FnMut(NodeEvent) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(node.next_event().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap()
}

async fn ready(node: &mut Node) {
    wait(node, |event| (event == NodeEvent::Henge(Event::Ready)).then_some(())).await;
}

async fn started(path: &Path) -> Node {
    let mut node = Node::start(NodeConfig::new(path)).await.unwrap();
    ready(&mut node).await;
    node
}

async fn failed(config: NodeConfig) -> StartError {
    Node::start(config).await.unwrap_err()
}

fn memory_at(address: &Multiaddr) -> NodeConfig {
    NodeConfig::in_memory().with_listen(vec![without_peer(address)])
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    address.pop();
    address
}

#[tokio::test]
async fn a_node_that_starts_again_is_the_same_peer_at_the_same_addresses_with_the_same_records() {
    let path = tempfile::tempdir().unwrap();
    let first = started(path.path()).await;
    let (peer, addresses) = (first.peer(), first.addresses().to_vec());
    first.handle().put("key", "value").await.unwrap();
    assert!(first.stop().await);

    let second = started(path.path()).await;
    assert_eq!(second.peer(), peer);
    assert_eq!(second.addresses(), addresses);
    let got = second.handle().get("key").await.unwrap();
    assert_eq!(got.single().unwrap().as_ref(), b"value");
    assert!(second.stop().await);
}

#[tokio::test]
async fn a_port_of_the_last_time_that_is_taken_is_replaced_and_told() {
    let path = tempfile::tempdir().unwrap();
    let first = started(path.path()).await;
    let tcp = first.addresses().iter().find(|address| address.to_string().contains("/tcp/")).unwrap().clone();
    assert!(first.stop().await);

    let other = Node::start(memory_at(&tcp)).await.unwrap();
    let mut second = Node::start(NodeConfig::new(path.path())).await.unwrap();
    let from = wait(&mut second, |event| match event {
        NodeEvent::Moved { from, .. } => Some(from),
        NodeEvent::Listening { .. }
        | NodeEvent::NotListening { .. }
        | NodeEvent::Henge(_)
        | NodeEvent::Missed { .. } => None,
    });
    assert_eq!(from.await, without_peer(&tcp));
    assert!(!second.addresses().contains(&tcp));
    assert!(second.addresses().len() == 2, "{:?}", second.addresses());
    other.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_given_address_that_is_taken_is_told_with_its_name_for_tcp_and_quic() {
    let first = Node::start(NodeConfig::in_memory()).await.unwrap();
    for taken in first.addresses() {
        let error = failed(memory_at(taken)).await;
        assert!(error.to_string().contains(&without_peer(taken).to_string()), "{error}");
        assert!(error.to_string().contains("another program listens there"), "{error}");
    }
    first.stop().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_told() {
    for address in ["/ip4/192.0.2.1/tcp/0", "/dns4/localhost/tcp/0", "/ip4/127.0.0.1/udp/0"] {
        let error = failed(NodeConfig::in_memory().with_listen(vec![address.parse().unwrap()])).await;
        assert!(matches!(&error, StartError::Listen { address: told, .. } if told.to_string() == address));
    }
}

#[tokio::test]
async fn one_port_serves_both_versions_of_ip() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        // A machine without IPv6 has nothing to check.
        return;
    }
    let listen = |port: u16| {
        let text = [format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")];
        text.map(|text| text.parse().unwrap()).to_vec()
    };
    let free = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap().local_addr().unwrap().port();
    let node = Node::start(NodeConfig::in_memory().with_listen(listen(free))).await.unwrap();
    let port = format!("/tcp/{free}");
    assert!(node.addresses().iter().all(|address| address.to_string().contains(&port)));
    node.stop().await;
}

#[tokio::test]
async fn a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let path = tempfile::tempdir().unwrap();
    let first = started(path.path()).await;
    let error = failed(NodeConfig::new(path.path())).await;
    assert!(matches!(error, StartError::Store(StoreError::InUse { .. })), "{error}");
    first.handle().put("key", "value").await.unwrap();
    assert!(first.stop().await);
}

#[tokio::test]
async fn a_directory_of_another_cluster_is_refused() {
    let path = tempfile::tempdir().unwrap();
    assert!(started(path.path()).await.stop().await);
    let other = Config::new().with_cluster(henge_types::ClusterName::new("other").unwrap());
    let error = failed(NodeConfig::new(path.path()).with_config(other)).await;
    assert!(matches!(error, StartError::Config(_)), "{error}");
    // What was refused can be used as before.
    assert!(started(path.path()).await.stop().await);
}

#[tokio::test]
async fn a_node_that_is_dropped_lets_go_of_its_directory() {
    let path = tempfile::tempdir().unwrap();
    drop(started(path.path()).await);
    let again = async {
        loop {
            if let Ok(node) = Node::start(NodeConfig::new(path.path())).await {
                return node;
            }
        }
    };
    tokio::time::timeout(DEADLINE, again).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_listen_to_events_learns_how_many_it_missed() {
    let mut node = Node::start(NodeConfig::in_memory()).await.unwrap();
    ready(&mut node).await;
    // More than can wait.
    let (sender, events) = tokio::sync::broadcast::channel(1);
    for _ in 0..3 {
        sender.send(NodeEvent::Missed { events: 0 }).unwrap();
    }
    node.events = events;
    assert_eq!(node.next_event().await, Some(NodeEvent::Missed { events: 2 }));
    node.stop().await;
}
