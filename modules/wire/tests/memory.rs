//! The in-memory network keeps the promises of a link and of its ports.

use std::time::Duration;

use bytes::Bytes;
use protocol::NodeName;
use wire::conformance::{Promise, check};
use wire::link::{DialTo, Dialer, Frame, Identity, LinkError, ListenOn, Listener, TlsFiles, Transport};
use wire::{Codec, MemoryLimits, MemoryNetwork, link_pair};

fn tls() -> TlsFiles {
    TlsFiles { ca: "-".into(), certificate: "-".into(), key: "-".into() }
}

fn listen_on() -> ListenOn {
    ListenOn {
        address: "127.0.0.1".to_owned(),
        port: 10000,
        tls: tls(),
        handshake_timeout: Duration::from_secs(1),
        handshakes_max: 1,
        frame_bytes_max: 1024,
    }
}

fn dial_to(node: &str) -> DialTo {
    DialTo {
        transport: Transport::WebSocket,
        server: "127.0.0.1:10000".to_owned(),
        node: NodeName::parse(node).expect("a name"),
        project: String::new(),
        codecs: vec![Codec::Native, Codec::KubeEdge],
        tls: tls(),
        handshake_timeout: Duration::from_secs(1),
        frame_bytes_max: 2048,
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_link_keeps_every_promise() {
    for promise in Promise::ALL {
        let (left, right) = link_pair(16, 2048, 1024);
        check(promise, left, right, 1024).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_is_connected_to_the_cloud_that_listens() {
    let network = MemoryNetwork::default();
    let refused = network.dial(dial_to("edge-1")).await;
    assert!(matches!(refused, Err(LinkError::Transport(_))), "nobody listens: {refused:?}");
    let mut incoming = network.listen(listen_on()).await.expect("it listens");
    let mut dialed = network.clone().dial(dial_to("edge-1")).await.expect("it listens");
    let mut accepted = incoming.accept().await.expect("it listens");
    assert_eq!((accepted.claimed.as_str(), &accepted.identity), ("edge-1", &Identity::SameProcess));
    assert_eq!((dialed.codec, accepted.codec), (Codec::Native, Codec::Native));
    let large = Frame::Binary(Bytes::from(vec![1; 1500]));
    accepted.link.writer.send(large.clone()).await.expect("the link is up");
    assert_eq!(dialed.link.reader.next().await, Ok(large.clone()), "each end has its own limit");
    dialed.link.writer.send(large).await.expect("the link is up");
    let outcome = accepted.link.reader.next().await;
    assert_eq!(outcome, Err(LinkError::TooLarge { size: 1500, max: 1024 }));
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_does_not_accept_makes_edges_wait_and_then_give_up() {
    let network = MemoryNetwork::new(MemoryLimits { frames_max: 1, backlog_max: 1 });
    let incoming = network.listen(listen_on()).await.expect("it listens");
    let _first = network.dial(dial_to("edge-1")).await.expect("one may wait");
    let second = network.dial(dial_to("edge-2")).await;
    assert_eq!(second.err(), Some(LinkError::HandshakeTimeout(Duration::from_secs(1))));
    drop(incoming);
    assert!(matches!(network.dial(dial_to("edge-3")).await, Err(LinkError::Transport(_))));
}

#[tokio::test(start_paused = true)]
async fn the_newest_listener_takes_the_place_of_the_older() {
    let network = MemoryNetwork::default();
    let mut older = network.listen(listen_on()).await.expect("it listens");
    let mut newer = network.listen(listen_on()).await.expect("it listens");
    assert!(matches!(older.accept().await, Err(LinkError::Closed)));
    let _dialed = network.dial(dial_to("edge-1")).await.expect("it listens");
    assert_eq!(newer.accept().await.expect("it listens").claimed, "edge-1");
}
