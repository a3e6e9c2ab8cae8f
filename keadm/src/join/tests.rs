//! Joins, right and wrong ones, against a real server of certificates over loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use apiserver::NoNodeLogs;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use beehive::{Clock, SystemClock};
use clap::Parser;
use cloudcore::enrol::Enrolment as Desk;
use cloudcore::{Embedded, EmbeddedOptions};
use cloudhub::CloudHubConfig;
use edgecore::certificate::CertificateFacts;
use edgecore::enrol::Registration;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use node_config::Causes;
use store::MemoryStore;
use tokio::net::TcpListener;

use super::*;
use crate::play::{NoServices, NotingServices, Played, survey};

/// A cloud that gives certificates, and a port that takes connections as the one of links would.
struct Cloud {
    embedded: Embedded,
    desk: Desk,
    links: TcpListener,
    _directory: tempfile::TempDir,
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
        let desk = Desk::open(&config, embedded.client(), Arc::new(SystemClock)).await.expect("it opens");
        let links = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { embedded, desk, links, _directory: directory }
    }

    async fn token(&self) -> String {
        let api: Api<Secret> = Api::namespaced(self.embedded.client(), "kubeedge");
        let data = api.get("tokensecret").await.expect("it is kept").data.expect("it has values");
        String::from_utf8(data["tokendata"].0.clone()).expect("a text")
    }

    async fn register(&self, name: &str) {
        let api: Api<Node> = Api::all(self.embedded.client());
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let node = Node { metadata, ..Node::default() };
        api.create(&PostParams::default(), &node).await.expect("it is made");
    }

    fn flags(&self, token: &str, root: &Path, more: &[&str]) -> Join {
        let links = self.links.local_addr().expect("an address");
        flags(
            &[
                "--cloudcore-ipport",
                &links.to_string(),
                "--certport",
                &self.desk.address().port().to_string(),
                "--token",
                token,
                "--edgenode-name",
                "edge-1",
                "--root",
                root.to_str().expect("a text"),
            ],
            more,
        )
    }
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    join: Join,
}

fn flags(line: &[&str], more: &[&str]) -> Join {
    let line = ["join"].iter().chain(line).chain(more);
    Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).join
}

fn machine() -> Played {
    Played { now: SystemClock.now(), ..Played::new() }
}

fn is_empty(root: &Path) -> bool {
    std::fs::read_dir(root).expect("it is readable").next().is_none()
}

#[tokio::test]
async fn a_node_joins_and_its_files_start_edgecore() {
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path();
    let more =
        ["-l", "zone=a,spot=true", "--set", "modules.edgeHub.heartbeat=20,modules.edged.runtime=hollow"];
    let token = cloud.token().await;
    run(cloud.flags(&token, root, &more), &machine(), &NoServices).await.expect("it joins");

    let certificate = CertificateFacts::of_file(&root.join("etc/kubeedge/certs/server.crt"));
    assert_eq!(certificate.expect("it is there").name, "system:node:edge-1");
    let path = root.join("etc/kubeedge/config/edgecore.yaml");
    let text = std::fs::read_to_string(&path).expect("it is written");
    assert!(!text.contains(&token), "the token is written nowhere");
    let loaded = node_config::load(
        Process::EdgeCore,
        &edgecore::inert_catalog(),
        Some(("edgecore.yaml", &text)),
        &std::collections::BTreeMap::new(),
    );
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    for (key, expect) in [
        ("modules.edged.hostnameOverride", "edge-1".into()),
        ("modules.edgeHub.heartbeat", 20.into()),
        ("modules.edged.nodeLabels", serde_json::json!({"zone": "a", "spot": "true"})),
        ("modules.edgeHub.httpServer", format!("https://{}", cloud.desk.address()).into()),
        ("database.dataSource", root.join("var/lib/kubeedge/edgecore.db").display().to_string().into()),
    ] {
        assert_eq!(loaded.get(key), Some(&expect), "{key}");
    }
    let unit = std::fs::read_to_string(root.join("etc/systemd/system/edgecore.service")).expect("written");
    assert!(
        unit.contains(&format!("ExecStart=/usr/local/bin/edgecore --config {}\n", path.display())),
        "{unit}"
    );

    let again =
        run(cloud.flags(&token, root, &more), &machine(), &NoServices).await.expect_err("it has joined");
    assert!(again.to_string().contains("this machine has joined already"), "{again}");
    let other = [&more[..], &["--rejoin", "--edgenode-name", "edge-2"]].concat();
    let error =
        run(cloud.flags(&token, root, &other), &machine(), &NoServices).await.expect_err("it is edge-1");
    assert!(error.to_string().contains(r#"is of "system:node:edge-1""#), "{error}");
    cloud.register("edge-1").await;
    let rejoin = [&more[..], &["--rejoin"]].concat();
    run(cloud.flags(&token, root, &rejoin), &machine(), &NoServices).await.expect("it is the same machine");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cloud = Cloud::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let flags = cloud.flags(&cloud.token().await, home.path(), &["--dry-run"]);
    run(flags, &machine(), &NoServices).await.expect("it would join");
    assert!(is_empty(home.path()));
}

/// Joins in a wrong way and returns what is said, after a look at what was left.
async fn refused(flags: Join, machine: &Played, root: &Path) -> String {
    let error = run(flags, machine, &NoServices).await.expect_err("it is wrong");
    assert!(is_empty(root), "{error}: something was left");
    Causes(&error).to_string()
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_its_cause_and_leaves_nothing() {
    let cloud = Cloud::start().await;
    let other = Cloud::start().await.token().await;
    let token = cloud.token().await;
    let (authority, jwt) = token.split_once('.').expect("four parts");
    let forged = other.split_once('.').expect("four parts").1;
    let ended = format!("{authority}.e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"exp":1000000000}"#));
    for (token, expect) in [
        ("", "--token is missing"),
        (jwt, "it was cut when it was copied"),
        (other.as_str(), "this is another cluster's cloud"),
        (ended.as_str(), "ended at 2001-09-09"),
        (format!("{authority}.{forged}").as_str(), "401 Unauthorized: token validation failure"),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let told = refused(cloud.flags(token, home.path(), &[]), &machine(), home.path()).await;
        assert!(told.contains(expect), "{expect}: {told}");
        assert!(!told.contains(jwt) || token.is_empty(), "a token is secret: {told}");
    }
}

#[tokio::test]
async fn the_protocol_of_the_hub_decides_what_a_file_says_of_both_transports() {
    let cloud = Cloud::start().await;
    let token = cloud.token().await;
    let home = tempfile::tempdir().expect("a directory");
    let hub = |more: &[&str], before: Option<&str>| {
        let flags = cloud.flags(&token, home.path(), more);
        super::plan::Plan::new(&flags, "edge-1", before, false).expect("it is a plan")
    };
    let over_quic = hub(&["--hub-protocol", "quic", "--cloudcore-ipport", "cloud"], None);
    assert!(over_quic.hub.quic.enable);
    assert_eq!(over_quic.hub.quic.server, "cloud:10001");
    assert_eq!(over_quic.hub.websocket_server(), "cloud:10000");
    let before =
        "modules: {edgeHub: {quic: {enable: true, server: 'old:10001'}, websocket: {enable: false}}}";
    let over_websocket = hub(&["--cloudcore-ipport", "cloud"], Some(before));
    assert!(!over_websocket.hub.quic.enable && over_websocket.hub.websocket.enable);
    assert_eq!(over_websocket.hub.websocket_server(), "cloud:10000");
}

#[tokio::test]
async fn a_wrong_flag_is_refused_with_what_to_write() {
    let cloud = Cloud::start().await;
    let token = cloud.token().await;
    for (more, expect) in [
        (["--edgenode-name", "Edge_1"], "is no DNS name"),
        (["--labels", "zone=a b"], "write them as key=value"),
        (
            ["--set", "modules.edgeHub.hartbeat=1"],
            "--set: modules.edgeHub.hartbeat: no such key; did you mean",
        ),
        (["--set", "modules.edgeHub.heartbeat=0"], "modules.edgeHub.heartbeat: must be"),
        (["--remote-runtime-endpoint", "tcp://1.2.3.4:5"], "write unix:///path/to/the.sock"),
        (["--cloudcore-ipport", "wss://cloud"], "leave the scheme and the path out"),
        (["--pre-run", "/nonexistent.sh"], "could not be run"),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let line = cloud.flags(&token, home.path(), &more);
        let told = refused(line, &machine(), home.path()).await;
        assert!(told.contains(expect), "{expect}: {told}");
    }
}

#[tokio::test]
async fn a_machine_or_a_cloud_that_is_not_ready_is_told_before_anything_is_written() {
    let cloud = Cloud::start().await;
    let token = cloud.token().await;
    cloud.register("edge-1").await;
    let links = cloud.links.local_addr().expect("an address").to_string();
    type Spoil = fn(&mut Played, &str);
    let cases: [(&str, Spoil); 6] = [
        ("name: the cluster has a node edge-1 already", |_, _| {}),
        ("clock: this machine says", |machine, _| machine.now += Duration::from_secs(86_400)),
        ("program: edgecore is neither in", |machine, _| machine.programs = false),
        ("runtime: no socket", |machine, _| machine.runtime = Err("no socket".to_owned())),
        ("link: 127.0.0.1:", |machine, links| {
            machine.unreachable.insert(links.to_owned());
        }),
        ("RuntimeReady does not hold", |machine, _| {
            let condition = edged::ports::RuntimeCondition {
                kind: "RuntimeReady".to_owned(),
                holds: false,
                reason: "Broken".to_owned(),
                message: String::new(),
            };
            machine.runtime.as_mut().expect("it answers").status.conditions.push(condition);
        }),
    ];
    for (expect, spoil) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let mut machine = machine();
        spoil(&mut machine, &links);
        let told = refused(cloud.flags(&token, home.path(), &[]), &machine, home.path()).await;
        assert!(told.contains(expect), "{expect}: {told}");
    }
}

#[tokio::test]
async fn a_cloud_that_is_away_is_said_with_the_port_to_open() {
    let cloud = Cloud::start().await;
    let token = cloud.token().await;
    let links = cloud.links.local_addr().expect("an address").to_string();
    let home = tempfile::tempdir().expect("a directory");
    let mut line = cloud.flags(&token, home.path(), &[]);
    line.certport = 1;
    let told = refused(line, &machine(), home.path()).await;
    assert!(told.contains("https://127.0.0.1:1: the cloud at 127.0.0.1:1 was not reached"), "{told}");
    let mut line = cloud.flags(&token, home.path(), &[]);
    line.cloudcore_ipport = links.replace("127.0.0.1", "nowhere.invalid");
    let told = refused(line, &machine(), home.path()).await;
    assert!(told.contains("nowhere.invalid is not resolved"), "{told}");
}

#[tokio::test]
async fn on_a_machine_of_its_own_edgecore_is_refused_beside_kubelet_and_without_root() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let authority = "a".repeat(64);
    let token = format!("{authority}.e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000}"#));
    let mut machine = Played { now, is_root: false, ..Played::new() };
    machine.cloud = Some(Box::new(move || Ok(survey(&authority, now, Registration::Unknown))));
    machine.runs("kubelet");
    machine.runs("edgecore");
    let line = flags(&["-e", "203.0.113.7:10000", "-t", &token, "--dry-run"], &[]);
    let services = NotingServices::default();
    let error = run(line, &machine, &services).await.expect_err("it is not ready");
    let told = error.to_string();
    for expect in
        ["keadm does not run as root", "kubelet runs as process 100", "edgecore runs as process 101"]
    {
        assert!(told.contains(expect), "{expect}: {told}");
    }
    assert_eq!(services.asked(), Vec::<String>::new());
}
