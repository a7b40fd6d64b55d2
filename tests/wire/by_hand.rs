//! A client that knows only the page: it speaks to a real peer byte by byte, without a swarm.

use std::time::Duration;

use ciborium::Value;
use futures::future::poll_fn;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use henge::config::Config;
use henge::node::{Node, NodeConfig};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, noise, tcp, yamux};

use crate::example::{frame, golden, negotiation};

const PATIENCE: Duration = Duration::from_secs(30);

/// A substream to the peer at `address`, with nothing negotiated on it yet.
async fn connect(address: Multiaddr) -> SubstreamBox {
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&Keypair::generate_ed25519()).unwrap())
        .multiplex(yamux::Config::default());
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, muxer) = transport.dial(address, options).unwrap().await.unwrap();
    let mut muxer = StreamMuxerBox::new(muxer);
    let substream = poll_fn(|cx| {
        let _ = muxer.poll_unpin(cx);
        muxer.poll_outbound_unpin(cx)
    })
    .await
    .unwrap();
    // Reads and writes of the substream wait for somebody to drive the connection.
    tokio::spawn(async move { while poll_fn(|cx| muxer.poll_unpin(cx)).await.is_ok() {} });
    substream
}

async fn negotiate(substream: &mut SubstreamBox) {
    for name in ["/multistream/1.0.0", "/henge/henge/client/1"] {
        let line = negotiation(name);
        substream.write_all(&line).await.unwrap();
        substream.flush().await.unwrap();
        let mut echo = vec![0; line.len()];
        substream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, line);
    }
}

/// Sends one frame, and reads one: kind, id, body.
async fn ask(substream: &mut SubstreamBox, frame: &[u8]) -> (u8, u64, Vec<u8>) {
    substream.write_all(frame).await.unwrap();
    substream.flush().await.unwrap();
    read(substream).await
}

async fn read(substream: &mut SubstreamBox) -> (u8, u64, Vec<u8>) {
    let mut head = [0; 13];
    substream.read_exact(&mut head).await.unwrap();
    let [a, b, c, d, kind, id @ ..] = head;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize - 9];
    substream.read_exact(&mut body).await.unwrap();
    (kind, u64::from_be_bytes(id), body)
}

/// The value at `path` of a response.
fn at(body: &[u8], path: &[&str]) -> Value {
    let value: Value = ciborium::from_reader(body).unwrap();
    path.iter().fold(value, |value, key| {
        let fields = value.into_map().unwrap();
        let found = fields.into_iter().find(|(name, _)| name.as_text() == Some(key));
        found.unwrap_or_else(|| panic!("no {key} of {path:?}")).1
    })
}

#[tokio::test]
async fn a_stranger_with_the_page_in_hand_puts_and_gets() {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = NodeConfig::in_memory().with_config(Config::new()).with_listen(listen);
    let node = Node::start(config).await.unwrap();
    let talk = async {
        let mut substream = connect(node.addresses().first().unwrap().clone()).await;
        negotiate(&mut substream).await;

        let put = golden("request.put");
        let (kind, id, body) = loop {
            let answer = ask(&mut substream, &frame(0, 1, &put)).await;
            // A peer that has just begun is not ready yet, and says so.
            if at(&answer.2, &[]).as_map().unwrap().first().unwrap().0 != Value::from("failed") {
                break answer;
            }
        };
        assert_eq!((kind, id), (1, 1));
        assert_eq!(at(&body, &["written", "acks"]), Value::from(1));

        let (kind, id, body) = ask(&mut substream, &frame(0, 2, &golden("request.get"))).await;
        assert_eq!((kind, id), (1, 2));
        let siblings = at(&body, &["found", "siblings"]).into_array().unwrap();
        let fields = siblings.first().unwrap().as_map().unwrap();
        assert!(fields.contains(&(Value::from("value"), Value::Bytes(b"blue".to_vec()))));

        // All at once, without waiting for the names to come back.
        let mut eager = connect(node.addresses().first().unwrap().clone()).await;
        let names = ["/multistream/1.0.0", "/henge/henge/client/1"].map(negotiation).concat();
        let request = frame(0, 1, &golden("request.locate"));
        eager.write_all(&[names.as_slice(), &request].concat()).await.unwrap();
        eager.flush().await.unwrap();
        eager.read_exact(&mut vec![0; names.len()]).await.unwrap();
        let (kind, _, body) = read(&mut eager).await;
        assert_eq!(kind, 1);
        assert_eq!(at(&body, &["located", "position"]), Value::from(0xdc3d_50da_8dac_041f_u64));
        assert_eq!(at(&body, &["located", "partition"]), Value::from(14_095));

        // What is no request is answered with the code that the page gives it.
        assert_eq!(ask(&mut substream, &frame(0, 3, b"\x66nonsen")).await, (2, 3, vec![0]));
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an answer in time");
    node.stop().await;
}
