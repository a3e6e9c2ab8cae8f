//! The edge's and the cloud's ends over QUIC together, over loopback and through a relay.

mod relay;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cloudcore::quic::QuicIncoming;
use edgecore::dial::NetDialer;
use link_ws::authority::Authority;
use protocol::NodeName;
use tokio::time::timeout;
use wire::Codec;
use wire::conformance::{Promise, check};
use wire::link::{
    Accepted, DialTo, Dialed, Dialer, Frame, Identity, Incoming, Link, LinkError, ListenOn, TlsFiles,
    Transport,
};

use crate::relay::Relay;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const LEFT_BYTES_MAX: usize = 4 << 20;
const RIGHT_BYTES_MAX: usize = 1 << 20;

struct Cloud {
    authority: Authority,
    incoming: QuicIncoming,
    files: tempfile::TempDir,
}

impl Cloud {
    async fn start() -> Self {
        Self::start_with(PATIENCE, 8).await
    }

    async fn start_with(handshake_timeout: Duration, handshakes_max: usize) -> Self {
        let authority = Authority::new("KubeEdge");
        let files = tempfile::tempdir().expect("a directory");
        let tls = authority.issue("KubeEdge", &["127.0.0.1"]).write(files.path());
        let on = ListenOn {
            address: "127.0.0.1".to_owned(),
            port: 0,
            tls,
            handshake_timeout,
            handshakes_max,
            frame_bytes_max: RIGHT_BYTES_MAX,
        };
        let look = Duration::from_millis(50);
        let incoming = QuicIncoming::bind_looking_every(look, on).await.expect("it listens");
        Self { authority, incoming, files }
    }

    fn server(&self) -> String {
        self.incoming.address().to_string()
    }

    async fn accept(&mut self) -> Accepted {
        timeout(PATIENCE, self.incoming.accept()).await.expect("a connection comes").expect("it listens")
    }

    /// Lets a node in, by whatever way `server` is.
    async fn admit(&mut self, name: &str, server: String) -> (Link, Link) {
        let edge = Edge::new(&self.authority, name);
        let (dialed, accepted) = tokio::join!(edge.dial(server, name), self.accept());
        assert_eq!(accepted.claimed, name);
        (dialed.expect("it is let in").link, accepted.link)
    }
}

struct Edge {
    tls: TlsFiles,
    _files: tempfile::TempDir,
}

impl Edge {
    /// Makes an edge with the certificate of a node.
    fn new(authority: &Authority, of: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let tls = authority.issue(&format!("system:node:{of}"), &[]).write(files.path());
        Self { tls, _files: files }
    }

    async fn dial(&self, server: String, claimed: &str) -> Result<Dialed, LinkError> {
        NetDialer.dial(self.dial_to(server, claimed)).await
    }

    fn dial_to(&self, server: String, claimed: &str) -> DialTo {
        DialTo {
            transport: Transport::Quic,
            server,
            node: NodeName::parse(claimed).expect("a name"),
            project: String::new(),
            codecs: vec![Codec::Native],
            tls: self.tls.clone(),
            handshake_timeout: PATIENCE,
            frame_bytes_max: LEFT_BYTES_MAX,
        }
    }
}

fn refusal(outcome: Result<Dialed, LinkError>) -> String {
    match outcome {
        Err(LinkError::Handshake(text)) => text,
        other => panic!("it is refused, and not for the transport's sake: {other:?}"),
    }
}

/// Sees a frame pass each way.
async fn exchange(left: &mut Link, right: &mut Link, word: &'static str) {
    let frame = Frame::Binary(Bytes::from_static(word.as_bytes()));
    let both = async {
        left.writer.send(frame.clone()).await.expect("the link is up");
        assert_eq!(right.reader.next().await, Ok(frame.clone()));
        right.writer.send(frame.clone()).await.expect("the link is up");
        assert_eq!(left.reader.next().await, Ok(frame.clone()));
    };
    timeout(PATIENCE, both).await.expect("frames pass");
}

#[tokio::test]
async fn a_quic_link_keeps_every_promise() {
    let mut cloud = Cloud::start().await;
    let edge = Edge::new(&cloud.authority, "edge-1");
    for promise in Promise::ALL {
        let dialed = edge.dial(cloud.server(), "edge-1").await.expect("the cloud is what it should be");
        let accepted = cloud.accept().await;
        assert_eq!(accepted.identity, Identity::Certificate("system:node:edge-1".to_owned()));
        assert_eq!((dialed.codec, accepted.codec), (Codec::Native, Codec::Native));
        assert_eq!(accepted.transport, Transport::Quic);
        let checked = check(promise, dialed.link, accepted.link, RIGHT_BYTES_MAX);
        timeout(PATIENCE, checked).await.unwrap_or_else(|_| panic!("{promise:?} is kept in time"));
    }
}

#[tokio::test]
async fn an_edge_whose_address_changes_keeps_its_link() {
    let mut cloud = Cloud::start().await;
    let relay = Relay::start(cloud.incoming.address()).await;
    let (mut left, mut right) = cloud.admit("edge-1", relay.server()).await;
    exchange(&mut left, &mut right, "before").await;
    for _ in 0..3 {
        let before = relay.outer();
        relay.rebind().await;
        assert_ne!(relay.outer(), before);
        exchange(&mut left, &mut right, "after").await;
    }
    let large = Frame::Binary(Bytes::from(vec![7; RIGHT_BYTES_MAX]));
    let (sent, read) = tokio::join!(left.writer.send(large.clone()), right.reader.next());
    assert_eq!((sent, read), (Ok(()), Ok(large)), "the new path is as wide as the old one");
}

#[tokio::test]
async fn a_certificate_of_another_node_is_refused_and_both_ends_say_why() {
    let mut cloud = Cloud::start().await;
    let edge = Edge::new(&cloud.authority, "edge-2");
    let said = refusal(edge.dial(cloud.server(), "edge-1").await);
    let why = r#"the certificate is of "system:node:edge-2", not of the node edge-1"#;
    assert_eq!(said, format!("the cloud refused the link: {why}"));
    cloud.admit("edge-2", cloud.server()).await;
}

#[tokio::test]
async fn an_edge_of_another_authority_is_refused() {
    let mut cloud = Cloud::start().await;
    let mut stranger = Edge::new(&Authority::new("KubeEdge"), "edge-1");
    stranger.tls.ca = cloud.files.path().join("ca.crt");
    let said = refusal(stranger.dial(cloud.server(), "edge-1").await);
    assert!(said.starts_with("received fatal alert"), "{said}");
    cloud.admit("edge-1", cloud.server()).await;
}

#[tokio::test]
async fn a_cloud_of_another_authority_or_another_host_is_not_trusted() {
    let cloud = Cloud::start().await;
    let edge = Edge::new(&Authority::new("KubeEdge"), "edge-1");
    let said = refusal(edge.dial(cloud.server(), "edge-1").await);
    assert!(said.contains("invalid peer certificate"), "{said}");
    let edge = Edge::new(&cloud.authority, "edge-1");
    let other_name = format!("localhost:{}", cloud.incoming.address().port());
    let said = refusal(edge.dial(other_name, "edge-1").await);
    assert!(said.contains("not valid for name"), "{said}");
}

#[tokio::test]
async fn where_nobody_listens_the_dial_ends_and_names_the_server() {
    let cloud = Cloud::start().await;
    let (edge, server) = (Edge::new(&cloud.authority, "edge-1"), cloud.server());
    drop(cloud);
    match edge.dial(server.clone(), "edge-1").await {
        Err(LinkError::Transport(text)) => assert!(text.contains(&format!("{server}/udp")), "{text}"),
        other => panic!("nobody listens: {other:?}"),
    }
    let limit = Duration::from_millis(100);
    let hasty = DialTo { handshake_timeout: limit, ..edge.dial_to(server, "edge-1") };
    assert_eq!(NetDialer.dial(hasty).await.err(), Some(LinkError::HandshakeTimeout(limit)));
}

#[tokio::test]
async fn handshakes_that_stall_give_way_and_addresses_are_doubted_meanwhile() {
    let long = Duration::from_secs(12);
    let mut cloud = Cloud::start_with(long, 1).await;
    let edge = Edge::new(&cloud.authority, "edge-1");
    let stalling = Relay::start(cloud.incoming.address()).await;
    stalling.pass_up(1);
    let mut stalled = Box::pin(edge.dial(stalling.server(), "edge-1"));
    let relay = Relay::start(cloud.incoming.address()).await;
    let entering = async {
        stalling.passed_up(1).await;
        cloud.admit("edge-2", relay.server()).await
    };
    let (mut left, mut right) = tokio::select! {
        biased;
        outcome = &mut stalled => panic!("it waits for its answer: {outcome:?}"),
        entered = timeout(long, entering) => entered.expect("nobody waits for the stalled one's timeout"),
    };
    exchange(&mut left, &mut right, "in").await;
    assert!(relay.retries() > 0, "its address was doubted");
    assert_eq!(stalling.retries(), 0, "the first one's was not");
}

#[tokio::test]
async fn certificates_that_change_are_used_from_the_next_connection_on() {
    let mut cloud = Cloud::start().await;
    let (mut left, mut right) = cloud.admit("edge-1", cloud.server()).await;
    let old = std::mem::replace(&mut cloud.authority, Authority::new("KubeEdge"));
    rewrite(&cloud.authority, cloud.files.path());
    let edge = Edge::new(&cloud.authority, "edge-2");
    let replaced = async {
        loop {
            match edge.dial(cloud.server(), "edge-2").await {
                Ok(dialed) => return dialed,
                Err(LinkError::Handshake(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("it is a question of trust: {error}"),
            }
        }
    };
    let _dialed = timeout(PATIENCE, replaced).await.expect("the files are looked at");
    let said = refusal(Edge::new(&old, "edge-1").dial(cloud.server(), "edge-1").await);
    assert!(said.contains("invalid peer certificate"), "{said}");
    exchange(&mut left, &mut right, "a link goes on with what it began with").await;
}

fn rewrite(authority: &Authority, directory: &Path) {
    let _files = authority.issue("KubeEdge", &["127.0.0.1"]).write(directory);
}

#[tokio::test]
async fn a_port_that_an_ended_listener_holds_is_had_again() {
    let mut cloud = Cloud::start().await;
    let port = cloud.incoming.address().port();
    let (left, right) = cloud.admit("edge-1", cloud.server()).await;
    let Cloud { authority, incoming, files } = cloud;
    let again = ListenOn {
        address: "127.0.0.1".to_owned(),
        port,
        tls: authority.issue("KubeEdge", &["127.0.0.1"]).write(files.path()),
        handshake_timeout: PATIENCE,
        handshakes_max: 8,
        frame_bytes_max: RIGHT_BYTES_MAX,
    };
    drop((incoming, left, right));
    let incoming = QuicIncoming::bind_looking_every(PATIENCE, again).await.expect("it listens");
    let mut cloud = Cloud { authority, incoming, files };
    cloud.admit("edge-1", cloud.server()).await;
}
