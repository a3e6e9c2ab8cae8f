//! The server of certificates, as clients on a socket see it.

use std::sync::Arc;
use std::time::Duration;

use apiserver::NoNodeLogs;
use beehive::SystemClock;
use cloudcore::enrol::Enrolment;
use cloudcore::{Embedded, EmbeddedOptions};
use cloudhub::CloudHubConfig;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use store::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_client_that_writes_all_of_a_body_nobody_wants_reads_the_refusal() {
    let directory = tempfile::tempdir().expect("a directory");
    let embedded = Embedded::open(EmbeddedOptions {
        store: Arc::new(MemoryStore::new()),
        directory: directory.path().join("kube-api"),
        address: ([127, 0, 0, 1], 0).into(),
        logs: Arc::new(NoNodeLogs),
    });
    let embedded = embedded.await.expect("it opens");
    let mut config = CloudHubConfig {
        tls_ca_file: directory.path().join("ca.crt"),
        tls_ca_key_file: directory.path().join("ca.key"),
        tls_cert_file: directory.path().join("server.crt"),
        tls_private_key_file: directory.path().join("server.key"),
        ..CloudHubConfig::default()
    };
    config.https.address = "127.0.0.1".to_owned();
    config.https.port = 0;
    let desk = Enrolment::open(&config, embedded.client(), Arc::new(SystemClock)).await.expect("it opens");

    let mut roots = RootCertStore::empty();
    roots.add(desk.authority()).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(tls));
    let chunk = vec![0; 1 << 20];
    for _ in 0..5 {
        let request = async {
            let stream = TcpStream::connect(desk.address()).await.expect("it listens");
            let name = ServerName::try_from("localhost").expect("it is a name");
            let mut stream = tls.connect(name, stream).await.expect("it is trusted");
            let head = b"GET /edge.crt HTTP/1.1\r\nHost: cloud\r\nNodeName: edge-1\r\nContent-Length: 16777216\r\n\r\n";
            stream.write_all(head).await.expect("the head is taken");
            for _ in 0..16 {
                stream.write_all(&chunk).await.expect("the server throws it away");
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("the answer is there, and an end");
            answer
        };
        let answer = timeout(PATIENCE, request).await.expect("it is answered in time");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.ends_with("token is empty"), "{answer}");
    }
}
