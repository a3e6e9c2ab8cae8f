//! The WebSocket dialer and listener together keep the promises of a link.

use std::path::Path;
use std::time::Duration;

use cloudcore::ws::WsIncoming;
use edgecore::dial::NetDialer;
use protocol::NodeName;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use wire::Codec;
use wire::conformance::{Promise, check};
use wire::link::{DialTo, Dialer, Identity, Incoming, ListenOn, TlsFiles, Transport};

const PATIENCE: Duration = Duration::from_secs(60);
const LEFT_BYTES_MAX: usize = 4 << 20;
const RIGHT_BYTES_MAX: usize = 1 << 20;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "KubeEdge");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, name: &str, host: &str, to: &Path) -> TlsFiles {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let write = |file: &str, text: &str| {
            let path = to.join(format!("{host}-{file}"));
            std::fs::write(&path, text).expect("written");
            path
        };
        TlsFiles {
            ca: write("ca.crt", &self.certificate),
            certificate: write("own.crt", &certificate),
            key: write("own.key", &key.serialize_pem()),
        }
    }
}

#[tokio::test]
async fn a_websocket_link_keeps_every_promise() {
    let authority = Authority::new();
    let files = tempfile::tempdir().expect("a directory");
    let on = ListenOn {
        address: "127.0.0.1".to_owned(),
        port: 0,
        tls: authority.issue("KubeEdge", "127.0.0.1", files.path()),
        handshake_timeout: PATIENCE,
        handshakes_max: 4,
        frame_bytes_max: RIGHT_BYTES_MAX,
    };
    let mut incoming = WsIncoming::bind(on).await.expect("it listens");
    let to = DialTo {
        transport: Transport::WebSocket,
        server: incoming.address().to_string(),
        node: NodeName::parse("edge-1").expect("a name"),
        project: "p".to_owned(),
        codecs: vec![Codec::Native, Codec::KubeEdge],
        tls: authority.issue("system:node:edge-1", "edge-1", files.path()),
        handshake_timeout: PATIENCE,
        frame_bytes_max: LEFT_BYTES_MAX,
    };
    for promise in Promise::ALL {
        let dialed = NetDialer.dial(to.clone()).await.expect("the cloud is what it should be");
        let accepted = incoming.accept().await.expect("it listens");
        assert_eq!(accepted.identity, Identity::Certificate("system:node:edge-1".to_owned()));
        assert_eq!((dialed.codec, accepted.codec), (Codec::Native, Codec::Native));
        check(promise, dialed.link, accepted.link, RIGHT_BYTES_MAX).await;
    }
}
