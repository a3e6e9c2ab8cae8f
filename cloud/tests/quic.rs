//! The QUIC listener against broken and hostile peers, over loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudcore::quic::QuicIncoming;
use link_ws::authority::Authority;
use quinn::{ApplicationClose, ClientConfig, Connection, ConnectionError, Endpoint, VarInt};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use wire::Codec;
use wire::link::{Accepted, Incoming, LinkError, ListenOn, TlsFiles};

const FRAME_BYTES_MAX: usize = 1 << 20;
/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an edge says first.
const INTRODUCTION: &[u8] = br#"{"node":"edge-1","codecs":["native.v1"]}"#;

struct Cloud {
    authority: Authority,
    incoming: QuicIncoming,
    _files: tempfile::TempDir,
}

impl Cloud {
    async fn start(handshake_timeout: Duration, handshakes_max: usize) -> Self {
        let authority = Authority::new("KubeEdge");
        let files = tempfile::tempdir().expect("a directory");
        let tls = authority.issue("KubeEdge", &["localhost"]).write(files.path());
        let on = listen_on(tls, handshake_timeout, handshakes_max);
        let incoming = QuicIncoming::bind_looking_every(PATIENCE, on).await.expect("it listens");
        Self { authority, incoming, _files: files }
    }

    async fn accept(&mut self) -> Accepted {
        timeout(PATIENCE, self.incoming.accept()).await.expect("a connection comes").expect("it listens")
    }

    async fn connect(&self, config: ClientConfig) -> Result<Connection, ConnectionError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::client(any).expect("a port");
        endpoint.connect_with(config, self.incoming.address(), "localhost").expect("a dial").await
    }

    async fn peer(&self, node: &str) -> Connection {
        let tls = self.authority.client(&format!("system:node:{node}"));
        self.connect(client(tls)).await.expect("TLS is content")
    }
}

fn listen_on(tls: TlsFiles, handshake_timeout: Duration, handshakes_max: usize) -> ListenOn {
    ListenOn {
        address: "127.0.0.1".to_owned(),
        port: 0,
        tls,
        handshake_timeout,
        handshakes_max,
        frame_bytes_max: FRAME_BYTES_MAX,
    }
}

fn client(tls: rustls::ClientConfig) -> ClientConfig {
    link_quic::client_config(tls).expect("TLS has what QUIC needs")
}

/// Makes a text frame.
fn text(content: &[u8]) -> Vec<u8> {
    let head = u8::try_from((content.len() << 1) | 1).expect("it is short");
    assert!(head < 0x80, "one byte is enough");
    [&[head], content].concat()
}

/// Returns how the cloud closed a connection.
async fn closed(connection: &Connection) -> (VarInt, String) {
    match timeout(PATIENCE, connection.closed()).await.expect("the cloud closes it") {
        ConnectionError::ApplicationClosed(ApplicationClose { error_code, reason }) => {
            (error_code, String::from_utf8_lossy(&reason).into_owned())
        }
        other => panic!("the cloud says why: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_introduction_is_refused_with_a_reason() {
    let mut cloud = Cloud::start(PATIENCE, 8).await;
    let another = r#"the certificate is of "system:node:edge-1", not of the node edge-2"#;
    for (said, expected) in [
        (text(b"garbage"), "the introduction: expected value at line 1 column 1"),
        (text(b"{}"), "the introduction: missing field `node` at line 1 column 2"),
        (vec![2, b'?'], "the introduction is no text"),
        (vec![0xff, 0xff, 0xff, 0xff, 0x7f], "a frame was too large"),
        (text(br#"{"node":"../x","codecs":[]}"#), "../x"),
        (text(br#"{"node":"edge-2","codecs":[]}"#), another),
        (text(br#"{"node":"edge-1","codecs":["x"]}"#), "only the native codec is spoken over QUIC"),
    ] {
        let peer = cloud.peer("edge-1").await;
        let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
        stream.write_all(&said).await.expect("it is sent");
        let (code, reason) = closed(&peer).await;
        assert!(reason.contains(expected), "{reason}");
        assert_ne!(code, VarInt::from_u32(0));
    }
    let peer = cloud.peer("edge-1").await;
    let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
    stream.write_all(&text(INTRODUCTION)).await.expect("it is sent");
    let accepted = cloud.accept().await;
    assert_eq!((accepted.claimed.as_str(), accepted.codec), ("edge-1", Codec::Native), "nobody came before");
}

#[tokio::test]
async fn a_frame_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let mut cloud = Cloud::start(PATIENCE, 8).await;
    let peer = cloud.peer("edge-1").await;
    let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
    stream.write_all(&text(INTRODUCTION)).await.expect("it is sent");
    let mut accepted = cloud.accept().await;
    let mut rest: usize = (100 << 20) << 1;
    let mut head = Vec::new();
    while rest > 0 {
        head.push((rest.to_le_bytes()[0] & 0x7f) | 0x80);
        rest >>= 7;
    }
    *head.last_mut().expect("a byte") &= 0x7f;
    stream.write_all(&head).await.expect("it is sent");
    let outcome = timeout(PATIENCE, accepted.link.reader.next()).await.expect("refused at the head");
    assert_eq!(outcome, Err(LinkError::TooLarge { size: 100 << 20, max: FRAME_BYTES_MAX }));
    assert_eq!(closed(&peer).await.1, "a frame was too large");
}

#[tokio::test]
async fn peers_without_a_certificate_or_without_our_protocol_do_not_get_in() {
    let mut cloud = Cloud::start(PATIENCE, 8).await;
    let anonymous = client(cloud.authority.client_without_certificate());
    let ended = match cloud.connect(anonymous).await {
        Ok(connection) => timeout(PATIENCE, connection.closed()).await.expect("it is ended"),
        Err(error) => error,
    };
    assert!(ended.to_string().contains("certificate"), "{ended}");
    let mut tls = cloud.authority.client("system:node:edge-1");
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let other = cloud.connect(ClientConfig::new(Arc::new(crypto))).await;
    assert!(other.is_err(), "another protocol");
    let peer = cloud.peer("edge-1").await;
    let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
    stream.write_all(&text(INTRODUCTION)).await.expect("it is sent");
    assert_eq!(cloud.accept().await.claimed, "edge-1", "nobody came before");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_ended_and_told_why() {
    let cloud = Cloud::start(Duration::from_millis(300), 8).await;
    let peer = cloud.peer("edge-1").await;
    assert_eq!(closed(&peer).await.1, "the handshake took too long");
}

#[tokio::test]
async fn a_peer_has_one_stream() {
    let mut cloud = Cloud::start(PATIENCE, 8).await;
    let peer = cloud.peer("edge-1").await;
    let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
    stream.write_all(&text(INTRODUCTION)).await.expect("it is sent");
    let _accepted = cloud.accept().await;
    for _ in 0..1000 {
        tokio::select! {
            biased;
            _ = peer.open_bi() => panic!("one is all"),
            _ = peer.open_uni() => panic!("none of that kind"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let mut cloud = Cloud::start(PATIENCE, 8).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for byte in [0x00, 0x40, 0xc0, 0xff] {
        for size in [0, 1, 20, 1200, 9000] {
            socket.send_to(&vec![byte; size], cloud.incoming.address()).await.expect("it is sent");
        }
    }
    let peer = cloud.peer("edge-1").await;
    let (mut stream, _answers) = peer.open_bi().await.expect("a stream");
    stream.write_all(&text(INTRODUCTION)).await.expect("it is sent");
    assert_eq!(cloud.accept().await.claimed, "edge-1");
}
