//! The WebSocket listener against friendly, foreign, broken and hostile peers, over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cloudcore::ws::WsIncoming;
use futures::{SinkExt, StreamExt};
use link_ws::authority::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wire::Codec;
use wire::link::{Accepted, Frame, Identity, Incoming, LinkError, ListenOn};

const FRAME_BYTES_MAX: usize = 1 << 20;
/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<TlsStream<TcpStream>>;
type Refusal = Result<(Socket, Response<Option<Vec<u8>>>), Error>;

struct Cloud {
    authority: Authority,
    incoming: WsIncoming,
    _files: tempfile::TempDir,
}

impl Cloud {
    async fn start(handshake_timeout: Duration, handshakes_max: usize) -> Self {
        let authority = Authority::new("KubeEdge");
        let files = tempfile::tempdir().expect("a directory");
        let tls = authority.issue("KubeEdge", &["localhost", "127.0.0.1"]).write(files.path());
        let on = ListenOn {
            address: "127.0.0.1".to_owned(),
            port: 0,
            tls,
            handshake_timeout,
            handshakes_max,
            frame_bytes_max: FRAME_BYTES_MAX,
        };
        let incoming = WsIncoming::bind(on).await.expect("it listens");
        Self { authority, incoming, _files: files }
    }

    fn address(&self) -> SocketAddr {
        self.incoming.address()
    }

    async fn accept(&mut self) -> Accepted {
        timeout(PATIENCE, self.incoming.accept()).await.expect("a connection comes").expect("it listens")
    }

    async fn tls(&self, client: rustls::ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address()).await.expect("it listens");
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
        let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
        connector.connect(name, stream).await
    }

    async fn upgrade(
        &self,
        client: rustls::ClientConfig,
        headers: &[(&'static str, &'static str)],
    ) -> Refusal {
        let stream = self.tls(client).await.map_err(Error::Io)?;
        let url = format!("wss://localhost:{}/any/path", self.address().port());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let unlimited = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        client_async_with_config(request, stream, Some(unlimited)).await
    }

    async fn edge(&self, name: &'static str) -> Socket {
        let client = self.authority.client(&format!("system:node:{name}"));
        let headers = [("node_id", name), ("connectionuse", "msg")];
        self.upgrade(client, &headers).await.expect("the edge is welcome").0
    }
}

async fn cloud() -> Cloud {
    Cloud::start(PATIENCE, 8).await
}

fn is_refused(outcome: &Refusal, status: u16) -> bool {
    matches!(outcome, Err(Error::Http(response)) if response.status().as_u16() == status)
}

#[tokio::test]
async fn an_edge_with_a_certificate_is_accepted_under_its_name_and_frames_pass_both_ways() {
    let mut cloud = cloud().await;
    let mut edge = cloud.edge("edge-1").await;
    let mut accepted = cloud.accept().await;
    assert_eq!(accepted.identity, Identity::Certificate("system:node:edge-1".to_owned()));
    assert_eq!((accepted.claimed.as_str(), accepted.codec), ("edge-1", Codec::KubeEdge));
    edge.send(Message::Text(Utf8Bytes::from_static("up"))).await.expect("sent");
    assert_eq!(accepted.link.reader.next().await, Ok(Frame::Text(Bytes::from_static(b"up"))));
    edge.send(Message::Ping(Bytes::from_static(b"?"))).await.expect("sent");
    accepted.link.writer.send(Frame::Binary(Bytes::from_static(b"down"))).await.expect("sent");
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(Message::Binary(_))) {
        let message = tokio::select! {
            biased;
            frame = accepted.link.reader.next() => panic!("the edge sent nothing more: {frame:?}"),
            message = edge.next() => message,
        };
        seen.push(message.expect("open").expect("a message"));
    }
    assert_eq!(seen.last(), Some(&Message::Binary(Bytes::from_static(b"down"))));
    accepted.link.writer.close().await;
    drop(accepted);
    let ended = async { while !matches!(edge.next().await, None | Some(Ok(Message::Close(_)) | Err(_))) {} };
    assert!(timeout(PATIENCE, ended).await.is_ok(), "the edge sees the end");
}

#[tokio::test]
async fn the_codec_that_the_edge_offers_is_chosen_and_named_in_the_answer() {
    let mut cloud = cloud().await;
    let client = cloud.authority.client("system:node:edge-1");
    let headers = [("node_id", "edge-1"), ("connectionuse", "msg"), (Codec::HEADER, "native.v1")];
    let (_edge, answer) = cloud.upgrade(client, &headers).await.expect("the edge is welcome");
    assert_eq!(answer.headers().get(Codec::HEADER), Some(&HeaderValue::from_static("native.v1")));
    assert_eq!(cloud.accept().await.codec, Codec::Native);
}

#[tokio::test]
async fn a_certificate_of_another_node_does_not_speak_for_the_claimed_one() {
    let mut cloud = cloud().await;
    let client = cloud.authority.client("system:node:edge-2");
    let headers = [("node_id", "edge-1"), ("connectionuse", "msg")];
    match cloud.upgrade(client, &headers).await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status().as_u16(), 403);
            let said = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
            assert_eq!(said.trim(), r#"the certificate is of "system:node:edge-2", not of the node edge-1"#);
        }
        other => panic!("it is refused: {other:?}"),
    }
    let client = cloud.authority.client("system:node:edge-2");
    let no_name = [("node_id", "Not a name"), ("connectionuse", "msg")];
    assert!(is_refused(&cloud.upgrade(client, &no_name).await, 400));
    let _edge = cloud.edge("edge-2").await;
    assert_eq!(cloud.accept().await.claimed, "edge-2", "nobody came before");
}

#[tokio::test]
async fn peers_without_a_certificate_of_the_authority_do_not_get_in() {
    let mut cloud = cloud().await;
    let headers = [("node_id", "edge-1"), ("connectionuse", "msg")];
    let stranger = Authority::new("KubeEdge");
    let foreign = stranger.client_that_trusts(&cloud.authority, "system:node:edge-1");
    assert!(cloud.upgrade(foreign, &headers).await.is_err(), "a certificate of another authority");
    let anonymous = cloud.authority.client_without_certificate();
    assert!(cloud.upgrade(anonymous, &headers).await.is_err(), "no certificate");
    let _edge = cloud.edge("edge-1").await;
    assert_eq!(cloud.accept().await.claimed, "edge-1", "nobody came before");
}

#[tokio::test]
async fn upgrades_that_upstream_s_edge_would_not_send_are_refused_with_a_reason() {
    let mut cloud = cloud().await;
    for headers in [&[("connectionuse", "msg")][..], &[("node_id", "edge-1")], &[]] {
        let client = cloud.authority.client("system:node:edge-1");
        let outcome = cloud.upgrade(client, headers).await;
        assert!(is_refused(&outcome, 400), "{headers:?}");
    }
    let _edge = cloud.edge("edge-1").await;
    assert_eq!(cloud.accept().await.claimed, "edge-1");
}

#[tokio::test]
async fn garbage_before_and_within_tls_ends_only_its_own_connection() {
    let mut cloud = cloud().await;
    let mut stream = TcpStream::connect(cloud.address()).await.expect("it listens");
    stream.write_all(&[0xAA; 4096]).await.expect("sent");
    let mut stream = cloud.tls(cloud.authority.client("system:node:edge-1")).await.expect("TLS");
    stream.write_all(b"\x00\x01garbage\r\n\r\n").await.expect("sent");
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the listener ends the connection");
    let mut flood = cloud.tls(cloud.authority.client("system:node:edge-1")).await.expect("TLS");
    let header = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let flooded = async { while flood.write_all(&header).await.is_ok() {} };
    assert!(timeout(PATIENCE, flooded).await.is_ok(), "headers without end are refused");
    let _edge = cloud.edge("edge-1").await;
    assert_eq!(cloud.accept().await.claimed, "edge-1");
}

#[tokio::test]
async fn a_frame_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let mut cloud = cloud().await;
    let client = cloud.authority.client("system:node:edge-1");
    let headers = [("node_id", "edge-1"), ("connectionuse", "msg")];
    let (edge, _) = cloud.upgrade(client, &headers).await.expect("the edge is welcome");
    let mut accepted = cloud.accept().await;
    let mut raw = edge.into_inner();
    let size: u64 = 100 << 20;
    let head = [&[0x82, 0xFF][..], &size.to_be_bytes(), &[1, 2, 3, 4]].concat();
    raw.write_all(&head).await.expect("sent");
    raw.flush().await.expect("sent");
    let outcome = timeout(PATIENCE, accepted.link.reader.next()).await.expect("refused at the head");
    assert!(matches!(outcome, Err(LinkError::TooLarge { max: FRAME_BYTES_MAX, .. })), "{outcome:?}");
}

#[tokio::test]
async fn fragments_that_add_up_beyond_the_limit_are_refused() {
    let mut cloud = cloud().await;
    let mut edge = cloud.edge("edge-1").await;
    let mut accepted = cloud.accept().await;
    let sending = async {
        use tokio_tungstenite::tungstenite::protocol::frame::Frame as Fragment;
        use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
        let mut code = OpCode::Data(Data::Binary);
        while edge.send(Message::Frame(Fragment::message(vec![0; 256 << 10], code, false))).await.is_ok() {
            code = OpCode::Data(Data::Continue);
        }
    };
    let reading = async {
        let outcome = accepted.link.reader.next().await;
        assert!(matches!(outcome, Err(LinkError::TooLarge { .. })), "{outcome:?}");
        drop(accepted);
    };
    let both = async { tokio::join!(sending, reading) };
    assert!(timeout(PATIENCE, both).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_stalls_in_its_handshake_gives_its_place_back() {
    let mut cloud = Cloud::start(Duration::from_millis(300), 1).await;
    let _silent = TcpStream::connect(cloud.address()).await.expect("it listens");
    let half = cloud.tls(cloud.authority.client("system:node:edge-1"));
    let mut half = timeout(PATIENCE, half).await.expect("its turn comes").expect("TLS");
    half.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let edge = timeout(PATIENCE, cloud.edge("edge-2")).await;
    assert!(edge.is_ok(), "its turn comes after the stalled ones");
    assert_eq!(cloud.accept().await.claimed, "edge-2");
}

#[tokio::test]
async fn peers_that_stall_give_way_while_an_edge_waits() {
    let long = Duration::from_secs(12);
    let mut cloud = Cloud::start(long, 2).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(TcpStream::connect(cloud.address()).await.expect("the system takes it"));
    }
    let entered = async {
        let _edge = cloud.edge("edge-1").await;
        cloud.accept().await.claimed
    };
    assert_eq!(timeout(long, entered).await.as_deref(), Ok("edge-1"), "nobody waits for their timeouts");
}

#[tokio::test]
async fn an_edge_that_vanishes_ends_its_link_and_no_other() {
    let mut cloud = cloud().await;
    let first = cloud.edge("edge-1").await;
    let mut first_accepted = cloud.accept().await;
    let mut second = cloud.edge("edge-2").await;
    let mut second_accepted = cloud.accept().await;
    drop(first);
    assert_eq!(first_accepted.link.reader.next().await, Err(LinkError::Closed));
    second.send(Message::Text(Utf8Bytes::from_static("still here"))).await.expect("sent");
    assert_eq!(second_accepted.link.reader.next().await, Ok(Frame::Text(Bytes::from_static(b"still here"))));
}

#[tokio::test]
async fn certificate_files_that_are_of_no_use_are_named() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("KubeEdge");
    let good = authority.issue("KubeEdge", &["localhost"]).write(files.path());
    let garbage = files.path().join("garbage.pem");
    std::fs::write(&garbage, "no PEM").expect("written");
    let missing = files.path().join("missing.pem");
    for bad in [&garbage, &missing] {
        for tls in [
            wire::link::TlsFiles { ca: bad.clone(), ..good.clone() },
            wire::link::TlsFiles { certificate: bad.clone(), ..good.clone() },
            wire::link::TlsFiles { key: bad.clone(), ..good.clone() },
        ] {
            let on = ListenOn {
                address: "127.0.0.1".to_owned(),
                port: 0,
                tls,
                handshake_timeout: PATIENCE,
                handshakes_max: 1,
                frame_bytes_max: FRAME_BYTES_MAX,
            };
            match WsIncoming::bind(on).await {
                Err(LinkError::Local(text)) => {
                    let name = bad.file_name().and_then(|name| name.to_str()).expect("a name");
                    assert!(text.contains(name), "{text}");
                }
                other => panic!("the file is of no use: {other:?}"),
            }
        }
    }
}
