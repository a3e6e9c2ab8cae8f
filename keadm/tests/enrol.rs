//! Edges get their certificates of the cloud, over loopback, with an API server in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiserver::NoNodeLogs;
use beehive::{Clock, SystemClock};
use cloudcore::enrol::{EnrolError as DeskError, Enrolment as Desk, MaterialError};
use cloudcore::ws::WsIncoming;
use cloudcore::{Embedded, EmbeddedOptions};
use cloudhub::CloudHubConfig;
use edgecore::dial::NetDialer;
use edgecore::enrol::{EnrolError, Enrolment, RequestError};
use edgehub::{EdgeHubConfig, Token};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use protocol::NodeName;
use store::MemoryStore;
use tokio::time::{interval, timeout};
use wire::Codec;
use wire::link::{DialTo, Dialer, Identity, Incoming, ListenOn, Transport};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Cloud {
    embedded: Embedded,
    desk: Desk,
    config: CloudHubConfig,
    directory: tempfile::TempDir,
}

impl Cloud {
    async fn start() -> Self {
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
        let desk = open(&config, &embedded).await.expect("it opens");
        Self { embedded, desk, config, directory }
    }

    async fn secret(&self, name: &str, key: &str) -> Vec<u8> {
        let api: Api<Secret> = Api::namespaced(self.embedded.client(), "kubeedge");
        let data = api.get(name).await.expect("it is kept").data.expect("it has values");
        data[key].0.clone()
    }

    async fn token(&self) -> String {
        String::from_utf8(self.secret("tokensecret", "tokendata").await).expect("a text")
    }

    fn edge_config(&self, token: &str, directory: &Path) -> EdgeHubConfig {
        EdgeHubConfig {
            http_server: format!("https://{}", self.desk.address()),
            token: Token::new(token),
            tls_ca_file: directory.join("ca.crt"),
            tls_cert_file: directory.join("edge.crt"),
            tls_private_key_file: directory.join("edge.key"),
            ..EdgeHubConfig::default()
        }
    }
}

async fn open(config: &CloudHubConfig, embedded: &Embedded) -> Result<Desk, DeskError> {
    Desk::open(config, embedded.client(), Arc::new(SystemClock)).await
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).expect("a name")
}

fn edge(config: &EdgeHubConfig, name: &str) -> Enrolment {
    Enrolment::new(config, node(name), Arc::new(SystemClock)).expect("a server")
}

async fn ensure(config: &EdgeHubConfig, name: &str) -> Result<(), EnrolError> {
    timeout(PATIENCE, edge(config, name).ensure()).await.expect("it ends")
}

#[tokio::test]
async fn a_node_joins_with_the_token_and_its_link_is_known_by_its_name() {
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let config = cloud.edge_config(&cloud.token().await, home.path());
    ensure(&config, "edge-1").await.expect("it joins");
    let without_token = EdgeHubConfig { token: Token::default(), ..config.clone() };
    ensure(&without_token, "edge-1").await.expect("a certificate needs no token");

    let on = ListenOn {
        address: "127.0.0.1".to_owned(),
        port: 0,
        tls: config.tls(),
        handshake_timeout: PATIENCE,
        handshakes_max: 4,
        frame_bytes_max: 1 << 20,
    };
    let certificates = cloud.desk.certificates();
    let mut incoming = WsIncoming::bind_with(on, &certificates).await.expect("it listens");
    let to = DialTo {
        transport: Transport::WebSocket,
        server: incoming.address().to_string(),
        node: node("edge-1"),
        project: String::new(),
        codecs: vec![Codec::Native],
        tls: config.tls(),
        handshake_timeout: PATIENCE,
        frame_bytes_max: 1 << 20,
    };
    let (dialed, accepted) = tokio::join!(NetDialer.dial(to), incoming.accept());
    dialed.expect("the cloud is believed");
    let identity = accepted.expect("it listens").identity;
    assert_eq!(identity, Identity::Certificate("system:node:edge-1".to_owned()));
}

#[tokio::test]
async fn the_key_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let config = cloud.edge_config(&cloud.token().await, home.path());
    ensure(&config, "edge-1").await.expect("it joins");
    let mode = std::fs::metadata(&config.tls_private_key_file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_leaves_no_certificate() {
    let cloud = Cloud::start().await;
    let token = cloud.token().await;
    let (authority, jwt) = token.split_once('.').expect("four parts");
    let other = Cloud::start().await.token().await;
    let of_other = other.split_once('.').expect("four parts").1;
    for (token, expect) in [
        (String::new(), "edgeHub.token is empty"),
        (authority.to_owned(), "no join token"),
        (format!("{}.{jwt}", "0".repeat(64)), "is not the one of edgeHub.token"),
        (other.clone(), "is not the one of edgeHub.token"),
        (format!("{authority}.{of_other}"), "401 Unauthorized: token validation failure"),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let config = cloud.edge_config(&token, home.path());
        let error = ensure(&config, "edge-1").await.expect_err("it is refused");
        let told = node_config::Causes(&error).to_string();
        assert!(told.contains(expect), "{expect}: {told}");
        assert!(!error.may_pass(), "{told}");
        assert!(!told.contains(of_other) && !told.contains(jwt), "a token is secret: {told}");
        assert!(!config.tls_cert_file.exists());
    }
}

#[tokio::test]
async fn a_certificate_of_another_node_is_not_used_and_gets_none() {
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let mut config = cloud.edge_config(&cloud.token().await, home.path());
    ensure(&config, "edge-1").await.expect("it joins");
    config.token = Token::default();
    let error = ensure(&config, "edge-2").await.expect_err("it is edge-1's");
    assert!(error.to_string().contains(r#"is of "system:node:edge-1", and this node is edge-2"#), "{error}");
}

#[tokio::test]
async fn a_cloud_by_another_name_is_not_believed() {
    let cloud = Cloud::start().await;
    let mut config = cloud.config.clone();
    config.https.address = "127.0.0.2".to_owned();
    let desk = open(&config, &cloud.embedded).await.expect("it opens");
    let home = tempfile::tempdir().expect("a directory");
    let mut edge = cloud.edge_config(&cloud.token().await, home.path());
    edge.http_server = format!("https://{}", desk.address());
    match ensure(&edge, "edge-1").await {
        Err(EnrolError::Request(RequestError::Trust { problem, .. })) => {
            assert!(problem.contains("127.0.0.2"), "{problem}");
        }
        other => panic!("it is not believed: {other:?}"),
    }
    drop(desk);
    config.advertise_address = vec!["127.0.0.2".to_owned()];
    let desk = open(&config, &cloud.embedded).await.expect("it opens");
    edge.http_server = format!("https://{}", desk.address());
    ensure(&edge, "edge-1").await.expect("an advertised address is in the certificate");
}

#[tokio::test]
async fn a_cloud_that_starts_again_goes_on_with_what_the_secrets_hold() {
    let cloud = Cloud::start().await;
    let before =
        (cloud.secret("casecret", "cadata").await, cloud.secret("cloudcoresecret", "cloudcoredata").await);
    let token = cloud.token().await;
    let again = open(&cloud.config, &cloud.embedded).await.expect("it opens");
    let after =
        (cloud.secret("casecret", "cadata").await, cloud.secret("cloudcoresecret", "cloudcoredata").await);
    assert_eq!(before, after);
    let home = tempfile::tempdir().expect("a directory");
    let mut config = cloud.edge_config(&token, home.path());
    config.http_server = format!("https://{}", again.address());
    ensure(&config, "edge-1").await.expect("a token outlives the process");
}

#[tokio::test]
async fn half_a_pair_of_files_is_told() {
    let cloud = Cloud::start().await;
    std::fs::write(cloud.directory.path().join("ca.crt"), "text").expect("it is written");
    let error = open(&cloud.config, &cloud.embedded).await.expect_err("the key is missing");
    assert!(matches!(&error, DeskError::Material(MaterialError::Half { .. })), "{error:?}");
    assert!(!error.may_pass());
    std::fs::write(cloud.directory.path().join("ca.key"), "text").expect("it is written");
    let error = open(&cloud.config, &cloud.embedded).await.expect_err("it is no certificate");
    assert!(matches!(&error, DeskError::Material(MaterialError::Pem { .. })), "{error:?}");
}

#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemClock.now() + self.0
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_before_it_ends_without_a_token() {
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let mut config = cloud.edge_config(&cloud.token().await, home.path());
    ensure(&config, "edge-1").await.expect("it joins");
    let first = std::fs::read(&config.tls_cert_file).expect("it is there");
    config.token = Token::default();
    let late = Enrolment::new(&config, node("edge-1"), Arc::new(Ahead(DAY * 360))).expect("a server");
    let replaced = async {
        let mut look = interval(Duration::from_millis(10));
        while std::fs::read(&config.tls_cert_file).expect("it is always there") == first {
            look.tick().await;
        }
    };
    let replaced = async {
        tokio::select! {
            biased;
            () = replaced => {}
            () = late.maintain() => {}
        }
    };
    timeout(PATIENCE, replaced).await.expect("it is replaced");
    ensure(&config, "edge-1").await.expect("the new one is of use");
}
