//! The WebSocket dialer against clouds that are what they should be, and others, over loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgecore::dial::NetDialer;
use futures::{SinkExt, StreamExt};
use link_ws::authority::Authority;
use protocol::NodeName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use wire::Codec;
use wire::link::{DialTo, Dialed, Dialer, Frame, LinkError, Transport};

const FRAME_BYTES_MAX: usize = 1 << 20;
/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cloud {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Cloud {
    async fn start(authority: &Authority, hosts: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        Self { listener, tls: TlsAcceptor::from(Arc::new(authority.server(hosts))) }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        self.tls.accept(stream).await
    }

    async fn accept(&self, answer: Answer<'_>) -> WebSocketStream<TlsStream<TcpStream>> {
        accept_hdr_async(self.tls().await.expect("TLS"), answer).await.expect("an upgrade")
    }
}

/// Answers an upgrade as upstream's cloud does, or with a codec, and keeps the request.
struct Answer<'a> {
    codec: Option<&'static str>,
    seen: &'a mut Vec<String>,
}

impl Callback for Answer<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        self.seen.push(request.uri().path().to_owned());
        for name in ["node_id", "project_id", "connectionuse", Codec::HEADER] {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            self.seen.push(value.unwrap_or_default().to_owned());
        }
        if let Some(codec) = self.codec {
            response.headers_mut().insert(Codec::HEADER, HeaderValue::from_static(codec));
        }
        Ok(response)
    }
}

struct Edge {
    authority: Authority,
    files: tempfile::TempDir,
}

impl Edge {
    fn new() -> Self {
        Self { authority: Authority::new("KubeEdge"), files: tempfile::tempdir().expect("a directory") }
    }

    fn dial_to(&self, server: String) -> DialTo {
        DialTo {
            transport: Transport::WebSocket,
            server,
            node: NodeName::parse("edge-1").expect("a name"),
            project: "p1".to_owned(),
            codecs: vec![Codec::Native, Codec::KubeEdge],
            tls: self.authority.issue("system:node:edge-1", &[]).write(self.files.path()),
            handshake_timeout: PATIENCE,
            frame_bytes_max: FRAME_BYTES_MAX,
        }
    }

    async fn dial(&self, cloud: &Cloud) -> Result<Dialed, LinkError> {
        NetDialer.dial(self.dial_to(cloud.address().to_string())).await
    }
}

fn handshake_error(outcome: Result<Dialed, LinkError>) -> String {
    match outcome {
        Err(LinkError::Handshake(text)) => text,
        other => panic!("the handshake fails: {other:?}"),
    }
}

#[tokio::test]
async fn the_edge_introduces_itself_as_upstream_s_does_and_takes_upstream_s_codec() {
    let edge = Edge::new();
    let cloud = Cloud::start(&edge.authority, &["127.0.0.1"]).await;
    let mut seen = Vec::new();
    let answer = Answer { codec: None, seen: &mut seen };
    let (dialed, mut accepted) = tokio::join!(edge.dial(&cloud), cloud.accept(answer));
    let mut dialed = dialed.expect("the cloud is what it should be");
    assert_eq!(dialed.codec, Codec::KubeEdge);
    assert_eq!(seen, ["/p1/edge-1/events", "edge-1", "p1", "msg", "native.v1"]);
    dialed.link.writer.send(Frame::Text(Bytes::from_static("<é>\n".as_bytes()))).await.expect("sent");
    let message = accepted.next().await.expect("open").expect("a message");
    assert_eq!(message, Message::Text(Utf8Bytes::from_static("<é>\n")));
    accepted.send(Message::Binary(Bytes::from_static(b"down"))).await.expect("sent");
    assert_eq!(dialed.link.reader.next().await, Ok(Frame::Binary(Bytes::from_static(b"down"))));
    drop(accepted);
    assert_eq!(dialed.link.reader.next().await, Err(LinkError::Closed));
}

#[tokio::test]
async fn the_native_codec_is_used_when_the_cloud_names_it_and_only_if_it_was_offered() {
    let edge = Edge::new();
    let cloud = Cloud::start(&edge.authority, &["127.0.0.1"]).await;
    let mut seen = Vec::new();
    let answer = Answer { codec: Some("native.v1"), seen: &mut seen };
    let (dialed, _accepted) = tokio::join!(edge.dial(&cloud), cloud.accept(answer));
    assert_eq!(dialed.expect("the cloud is what it should be").codec, Codec::Native);
    let to = DialTo { codecs: vec![Codec::KubeEdge], ..edge.dial_to(cloud.address().to_string()) };
    let mut seen = Vec::new();
    let answer = Answer { codec: Some("native.v1"), seen: &mut seen };
    let (dialed, _accepted) = tokio::join!(NetDialer.dial(to), cloud.accept(answer));
    handshake_error(dialed);
    assert_eq!(seen.last().map(String::as_str), Some(""), "nothing was offered");
}

#[tokio::test]
async fn a_cloud_with_a_certificate_of_another_host_or_authority_is_not_trusted() {
    let edge = Edge::new();
    let elsewhere = Cloud::start(&edge.authority, &["cloud.example", "127.0.0.2"]).await;
    let (dialed, accepted) = tokio::join!(edge.dial(&elsewhere), elsewhere.tls());
    assert!(handshake_error(dialed).contains("not valid for name"));
    assert!(accepted.is_err());
    let stranger = Cloud::start(&Authority::new("KubeEdge"), &["127.0.0.1"]).await;
    let (dialed, accepted) = tokio::join!(edge.dial(&stranger), stranger.tls());
    handshake_error(dialed);
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_refusal_of_the_cloud_is_repeated_to_the_operator() {
    let edge = Edge::new();
    let cloud = Cloud::start(&edge.authority, &["127.0.0.1"]).await;
    let refusing = async {
        let mut stream = cloud.tls().await.expect("TLS");
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
        stream.write_all(answer).await.expect("sent");
        stream.shutdown().await.expect("sent");
    };
    let (dialed, ()) = tokio::join!(edge.dial(&cloud), refusing);
    let text = handshake_error(dialed);
    assert!(text.contains("503"), "{text}");
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_link() {
    let edge = Edge::new();
    let cloud = Cloud::start(&edge.authority, &["127.0.0.1"]).await;
    let mut seen = Vec::new();
    let answer = Answer { codec: None, seen: &mut seen };
    let (dialed, accepted) = tokio::join!(edge.dial(&cloud), cloud.accept(answer));
    let mut raw = accepted.into_inner();
    let size: u64 = 100 << 20;
    raw.write_all(&[&[0x82, 0x7F][..], &size.to_be_bytes()].concat()).await.expect("sent");
    raw.flush().await.expect("sent");
    let mut dialed = dialed.expect("the cloud is what it should be");
    let outcome = dialed.link.reader.next().await;
    assert!(matches!(outcome, Err(LinkError::TooLarge { max: FRAME_BYTES_MAX, .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_cloud_that_never_answers_is_given_up() {
    let edge = Edge::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = silent.local_addr().expect("an address").to_string();
    let limit = Duration::from_millis(100);
    let to = DialTo { handshake_timeout: limit, ..edge.dial_to(address) };
    assert_eq!(NetDialer.dial(to).await.err(), Some(LinkError::HandshakeTimeout(limit)));
}

#[tokio::test]
async fn an_address_where_nobody_listens_and_files_that_are_of_no_use_are_named() {
    let edge = Edge::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        listener.local_addr().expect("an address").to_string()
    };
    match NetDialer.dial(edge.dial_to(closed.clone())).await {
        Err(LinkError::Transport(text)) => assert!(text.contains(&closed), "{text}"),
        other => panic!("nobody listens: {other:?}"),
    }
    let mut to = edge.dial_to(closed);
    to.tls.key = edge.files.path().join("missing.key");
    match NetDialer.dial(to).await {
        Err(LinkError::Local(text)) => assert!(text.contains("missing.key"), "{text}"),
        other => panic!("the key is missing: {other:?}"),
    }
}
