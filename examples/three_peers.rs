//! Three peers in one process: put at one, get at another.
//!
//! `cargo run --release --example three_peers`

use std::error::Error;

use henge::config::Config;
use henge::event::Event;
use henge::node::{Node, NodeConfig, NodeEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The first one starts a ring; the others join through it.
    let mut first = Node::start(NodeConfig::in_memory()).await?;
    ready(&mut first).await;
    let join = || Config::new().with_join(first.addresses().to_vec());
    let mut second = Node::start(NodeConfig::in_memory().with_config(join())).await?;
    let mut third = Node::start(NodeConfig::in_memory().with_config(join())).await?;
    ready(&mut second).await;
    ready(&mut third).await;

    let written = first.handle().put("circle", "of stones").await?;
    println!("{} replicas have it", written.acks);

    let got = third.handle().get("circle").await?;
    for sibling in &got.siblings {
        println!("circle = {}", String::from_utf8_lossy(&sibling.value));
    }

    for node in [third, second, first] {
        node.stop().await;
    }
    Ok(())
}

async fn ready(node: &mut Node) {
    while let Some(event) = node.next_event().await {
        println!("{}: {event:?}", node.peer());
        if event == NodeEvent::Henge(Event::Ready) {
            return;
        }
    }
}
