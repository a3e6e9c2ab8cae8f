//! A node whose certificate ended joins again with a token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiserver::NoNodeLogs;
use beehive::{Clock, SystemClock};
use cloudcore::enrol::Enrolment as Desk;
use cloudcore::{Embedded, EmbeddedOptions};
use cloudhub::CloudHubConfig;
use edgecore::enrol::Enrolment;
use edgehub::{EdgeHubConfig, Token};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use protocol::NodeName;
use store::MemoryStore;
use tokio::time::{interval, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemClock.now() + self.0
    }
}

async fn desk(embedded: &Embedded, days: u32, clock: Arc<dyn Clock>) -> (Desk, String) {
    let mut config = CloudHubConfig { edge_cert_signing_duration: days, ..CloudHubConfig::default() };
    config.https.address = "127.0.0.1".to_owned();
    config.https.port = 0;
    for path in [&mut config.tls_ca_file, &mut config.tls_ca_key_file, &mut config.tls_cert_file] {
        *path = "/nonexistent/beehive".into();
    }
    config.tls_private_key_file = "/nonexistent/beehive".into();
    let desk = Desk::open(&config, embedded.client(), clock).await.expect("it opens");
    let secrets: Api<Secret> = Api::namespaced(embedded.client(), "kubeedge");
    let data = secrets.get("tokensecret").await.expect("it is kept").data.expect("it has values");
    (desk, String::from_utf8(data["tokendata"].0.clone()).expect("a text"))
}

#[tokio::test]
async fn a_node_whose_certificate_ended_joins_again_with_a_token_and_without_one_says_so() {
    let home = tempfile::tempdir().expect("a directory");
    let embedded = Embedded::open(EmbeddedOptions {
        store: Arc::new(MemoryStore::new()),
        directory: home.path().join("kube-api"),
        address: ([127, 0, 0, 1], 0).into(),
        logs: Arc::new(NoNodeLogs),
    });
    let embedded = embedded.await.expect("it opens");
    let (first, token) = desk(&embedded, 1, Arc::new(SystemClock)).await;
    let mut config = EdgeHubConfig {
        http_server: format!("https://{}", first.address()),
        token: Token::new(&token),
        tls_ca_file: home.path().join("ca.crt"),
        tls_cert_file: home.path().join("edge.crt"),
        tls_private_key_file: home.path().join("edge.key"),
        ..EdgeHubConfig::default()
    };
    let node = NodeName::parse("edge-1").expect("a name");
    let edge = |config: &EdgeHubConfig, clock| Enrolment::new(config, node.clone(), clock).expect("a server");
    edge(&config, Arc::new(SystemClock)).ensure().await.expect("it joins");
    let ended = std::fs::read(&config.tls_cert_file).expect("it is there");

    // Two days later.
    let (later, token) = desk(&embedded, 1, Arc::new(Ahead(DAY * 2))).await;
    config.http_server = format!("https://{}", later.address());
    config.token = Token::default();
    let late = edge(&config, Arc::new(Ahead(DAY * 2)));
    late.ensure().await.expect("a node that once joined runs its pods without the cloud");
    let waited = timeout(Duration::from_millis(300), late.maintain()).await;
    assert!(waited.is_err(), "it goes on");
    assert_eq!(std::fs::read(&config.tls_cert_file).expect("it is there"), ended, "there is no token");

    config.token = Token::new(&token);
    let late = edge(&config, Arc::new(Ahead(DAY * 2)));
    let replaced = async {
        let mut look = interval(Duration::from_millis(10));
        while std::fs::read(&config.tls_cert_file).expect("it is always there") == ended {
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
    timeout(PATIENCE, replaced).await.expect("it joins again");
}
