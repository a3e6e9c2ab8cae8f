//! The cloud's certificates change while it runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::NoNodeLogs;
use beehive::SystemClock;
use cloudcore::enrol::Enrolment;
use cloudcore::ws::WsIncoming;
use cloudcore::{Embedded, EmbeddedOptions};
use cloudhub::CloudHubConfig;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use link_ws::fingerprint;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use store::MemoryStore;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsConnector;
use wire::link::{ListenOn, TlsFiles};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the cloud looks.
const OFTEN: Duration = Duration::from_millis(20);

/// An authority as an operator has one: a certificate and its key.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "operator");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { params, key, certificate }
    }

    /// Writes its two files.
    fn write(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, self.certificate.pem()).expect("written");
        std::fs::write(key, self.key.serialize_pem()).expect("written");
    }

    /// Issues a certificate for the loopback address, writes its two files and returns it.
    fn issue(&self, certificate: &Path, key: &Path) -> CertificateDer<'static> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let own = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let issued = params.signed_by(&own, &issuer).expect("a certificate");
        std::fs::write(key, own.serialize_pem()).expect("written");
        std::fs::write(certificate, issued.pem()).expect("written");
        issued.der().clone()
    }
}

struct Cloud {
    embedded: Embedded,
    desk: Enrolment,
    config: CloudHubConfig,
    _directory: tempfile::TempDir,
}

impl Cloud {
    /// Opens a cloud whose files `write` has written, or not.
    async fn open(write: impl FnOnce(&CloudHubConfig)) -> Self {
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
        write(&config);
        let desk =
            Enrolment::open_looking_every(OFTEN, &config, embedded.client(), Arc::new(SystemClock)).await;
        Self { embedded, desk: desk.expect("it opens"), config, _directory: directory }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.embedded.client(), "kubeedge")
    }

    async fn value(&self, secret: &str, key: &str) -> Vec<u8> {
        let data = self.secrets().get(secret).await.expect("it is kept").data.expect("it has values");
        data[key].0.clone()
    }

    async fn listen(&self) -> WsIncoming {
        let unused = || "/nonexistent".into();
        let files = TlsFiles { ca: unused(), certificate: unused(), key: unused() };
        WsIncoming::bind_with(on(files), &self.desk.certificates()).await.expect("it listens")
    }
}

fn on(tls: TlsFiles) -> ListenOn {
    ListenOn {
        address: "127.0.0.1".to_owned(),
        port: 0,
        tls,
        handshake_timeout: PATIENCE,
        handshakes_max: 4,
        frame_bytes_max: 1 << 20,
    }
}

/// Returns the certificate that a server shows, if it is of this authority.
async fn shown(at: SocketAddr, authority: &CertificateDer<'static>) -> Option<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.get_ref().1.peer_certificates()?.first().map(|leaf| leaf.clone().into_owned())
}

async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let waiting = async {
        let mut look = interval(OFTEN);
        while !holds().await {
            look.tick().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it comes to hold");
}

#[tokio::test]
async fn a_certificate_in_files_is_replaced_without_a_restart_and_a_broken_one_is_not_taken() {
    let authority = Authority::new();
    let cloud = Cloud::open(|config| {
        authority.write(&config.tls_ca_file, &config.tls_ca_key_file);
        authority.issue(&config.tls_cert_file, &config.tls_private_key_file);
    })
    .await;
    let links = cloud.listen().await;
    let root = authority.certificate.der().clone();
    let first = shown(links.address(), &root).await.expect("it is of the authority");
    assert_eq!(shown(cloud.desk.address(), &root).await.as_ref(), Some(&first), "one for both ports");

    std::fs::write(&cloud.config.tls_cert_file, "-----BEGIN CERTIFICATE-----\n").expect("written");
    tokio::time::sleep(OFTEN * 10).await;
    assert_eq!(shown(links.address(), &root).await.as_ref(), Some(&first), "what is broken is not taken");

    let second = authority.issue(&cloud.config.tls_cert_file, &cloud.config.tls_private_key_file);
    until(async || shown(links.address(), &root).await.as_ref() == Some(&second)).await;
    until(async || shown(cloud.desk.address(), &root).await.as_ref() == Some(&second)).await;
    assert_eq!(cloud.value("cloudcoresecret", "cloudcoredata").await, second.to_vec());
}

#[tokio::test]
async fn another_authority_in_the_secret_signs_and_is_in_the_token_without_a_restart() {
    let cloud = Cloud::open(|_| {}).await;
    let links = cloud.listen().await;
    let before = CertificateDer::from(cloud.value("casecret", "cadata").await);
    assert!(shown(links.address(), &before).await.is_some());

    let other = Authority::new();
    let root = other.certificate.der().clone();
    let data = [("cadata", root.to_vec()), ("cakeydata", other.key.serialize_der())];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect();
    let patch = Secret { data: Some(data), ..Secret::default() };
    cloud.secrets().patch("casecret", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("written");
    let expected = fingerprint(&root);
    until(async || cloud.value("tokensecret", "tokendata").await.starts_with(expected.as_bytes())).await;
    assert!(shown(links.address(), &root).await.is_some(), "the cloud's own certificate is of it");
    assert!(shown(cloud.desk.address(), &root).await.is_some());
    assert!(shown(links.address(), &before).await.is_none());
}

#[tokio::test]
async fn an_authority_whose_secret_is_deleted_stays_and_is_written_again() {
    let cloud = Cloud::open(|_| {}).await;
    let links = cloud.listen().await;
    let root = CertificateDer::from(cloud.value("casecret", "cadata").await);
    for secret in ["casecret", "cloudcoresecret"] {
        cloud.secrets().delete(secret, &Default::default()).await.expect("deleted");
    }
    let is_there = async || cloud.secrets().get_opt("casecret").await.expect("an answer").is_some();
    until(is_there).await;
    assert_eq!(cloud.value("casecret", "cadata").await, root.to_vec());
    assert!(shown(links.address(), &root).await.is_some());
}

#[tokio::test]
async fn files_of_a_listener_without_a_desk_are_replaced_too() {
    let files = tempfile::tempdir().expect("a directory");
    let path = |name: &str| files.path().join(name);
    let tls = TlsFiles { ca: path("ca.crt"), certificate: path("own.crt"), key: path("own.key") };
    let authority = Authority::new();
    authority.write(&tls.ca, &path("ca.key"));
    let first = authority.issue(&tls.certificate, &tls.key);
    let links = WsIncoming::bind_looking_every(OFTEN, on(tls.clone())).await.expect("it listens");
    let root = authority.certificate.der().clone();
    assert_eq!(shown(links.address(), &root).await, Some(first));
    let second = authority.issue(&tls.certificate, &tls.key);
    until(async || shown(links.address(), &root).await.as_ref() == Some(&second)).await;
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_a_node_that_asks() {
    let cloud = Cloud::open(|_| {}).await;
    let root = CertificateDer::from(cloud.value("casecret", "cadata").await);
    let mut silent = Vec::new();
    for _ in 0..256 {
        silent.push(TcpStream::connect(cloud.desk.address()).await.expect("it listens"));
    }
    // Without anybody's giving way this would take the ten seconds of a handshake.
    let asked = timeout(Duration::from_secs(8), shown(cloud.desk.address(), &root)).await;
    assert!(asked.expect("a place is left in time").is_some());
    drop(silent);
}
