//! The edge's end over QUIC against what is no cloud of ours, over loopback: it says that another transport
//! may do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edgecore::dial::NetDialer;
use link_ws::authority::Authority;
use protocol::NodeName;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use tokio::net::UdpSocket;
use wire::Codec;
use wire::link::{DialTo, Dialer, LinkError, Transport};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn dial(authority: &Authority, server: SocketAddr) -> String {
    let files = tempfile::tempdir().expect("a directory");
    let to = DialTo {
        transport: Transport::Quic,
        server: server.to_string(),
        node: NodeName::parse("edge-1").expect("a name"),
        project: String::new(),
        codecs: vec![Codec::Native],
        tls: authority.issue("system:node:edge-1", &[]).write(files.path()),
        handshake_timeout: PATIENCE,
        frame_bytes_max: 1 << 20,
    };
    match NetDialer.dial(to).await {
        Err(LinkError::Transport(text)) => text,
        other => panic!("another transport may do: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_is_left() {
    let authority = Authority::new("KubeEdge");
    let mut tls = authority.server(&["127.0.0.1"]);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("it listens");
    let server = endpoint.local_addr().expect("an address");
    let serving = async {
        while let Some(incoming) = endpoint.accept().await {
            assert!(incoming.await.is_err(), "they have no protocol in common");
        }
    };
    let said = tokio::select! {
        biased;
        () = serving => panic!("it goes on serving"),
        said = dial(&authority, server) => said,
    };
    assert!(said.contains("NoApplicationProtocol"), "{said}");
}

/// Answers as a server does that speaks only versions from before the standard, as KubeEdge's.
async fn older(socket: &UdpSocket) {
    let mut packet = vec![0; 1 << 16];
    loop {
        let (size, from) = socket.recv_from(&mut packet).await.expect("a packet");
        let ids = packet.get(5..size).expect("a long header");
        let (to, rest) = ids.split_at(1 + usize::from(ids[0]));
        let of = &rest[..=usize::from(rest[0])];
        let answer = [&[0x80, 0, 0, 0, 0][..], of, to, b"Q044", b"Q043"].concat();
        socket.send_to(&answer, from).await.expect("it is sent");
    }
}

#[tokio::test]
async fn a_server_of_before_the_standard_is_left() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (authority, server) = (Authority::new("KubeEdge"), socket.local_addr().expect("an address"));
    let said = tokio::select! {
        biased;
        () = older(&socket) => panic!("it goes on serving"),
        said = dial(&authority, server) => said,
    };
    assert!(said.contains("no version of QUIC that is known here"), "{said}");
}
