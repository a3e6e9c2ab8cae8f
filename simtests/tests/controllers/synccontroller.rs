//! The sync controller: records say what nodes have acknowledged, and few writes make them.

use std::collections::BTreeSet;
use std::time::Duration;

use ::synccontroller::{SyncController, SyncControllerConfig};
use beehive::Probe;
use protocol::cloud::{Acknowledged, ChangesAcknowledged, NodeSettled, ReadRecords};
use protocol::{Kept, Namespace, NodeName, ObjectKey, ObjectName, ResourceType, ResourceVersion, Uid};
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

const RECORDS: &str = "/apis/reliablesyncs.kubeedge.io/v1alpha1/namespaces/default/objectsyncs";
const CLUSTER_RECORDS: &str = "/apis/reliablesyncs.kubeedge.io/v1alpha1/clusterobjectsyncs";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    make_node(&cluster).await;
    cluster
}

async fn make_node(cluster: &Cluster) {
    let labels = json!({ "node-role.kubernetes.io/edge": "" });
    cluster.create("/api/v1/nodes", json!({ "metadata": { "name": "n", "labels": labels } })).await;
}

async fn start(cluster: &Cluster) -> Probe<SyncController> {
    Probe::<SyncController>::new(SyncControllerConfig::default(), cluster.client()).start().await
}

fn node() -> NodeName {
    NodeName::parse("n").expect("a name")
}

fn kept(resource: &str, kind: &str, name: &str, uid: &str, version: u32) -> Kept {
    let namespace = (resource != "node").then(|| Namespace::parse("default").expect("a namespace"));
    let (resource, name) =
        (ResourceType::parse(resource).expect("a type"), ObjectName::parse(name).expect("a name"));
    Kept {
        key: ObjectKey { resource, namespace, name },
        uid: Uid::parse(uid).expect("a uid"),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        version: ResourceVersion::new(&version.to_string()),
    }
}

fn pod(uid: &str, version: u32) -> Kept {
    kept("pod", "Pod", &format!("pod-{uid}"), uid, version)
}

async fn acknowledge(probe: &Probe<SyncController>, session: u64, kept: impl IntoIterator<Item = Kept>) {
    let changes = kept.into_iter().map(Acknowledged::Kept).collect();
    probe.send(ChangesAcknowledged { node: node(), session, changes }).await;
}

/// Returns each record's name and version.
async fn records(cluster: &Cluster, path: &str) -> Vec<(String, String)> {
    let list = cluster.get(path).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let record =
        |item: &Value| (text(&item["metadata"]["name"]), text(&item["status"]["objectResourceVersion"]));
    list["items"].as_array().expect("a list").iter().map(record).collect()
}

async fn expect(cluster: &Cluster, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
    until(&format!("{expected:?}"), async || records(cluster, RECORDS).await == expected).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn records_have_kubeedge_s_names_and_fields() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 7), kept("node", "Node", "n", "nn", 8)]).await;
    expect(&cluster, &[("n.u", "7")]).await;
    let record = cluster.get(&format!("{RECORDS}/n.u")).await;
    assert_eq!(
        record["spec"],
        json!({ "objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "pod-u" })
    );
    assert_eq!(record["status"], json!({ "objectResourceVersion": "7" }));
    until("the node's", async || records(&cluster, CLUSTER_RECORDS).await == [("n.nn".into(), "8".into())])
        .await;

    let gone = Acknowledged::Gone { key: pod("u", 7).key, uid: Some(pod("u", 7).uid) };
    probe.send(ChangesAcknowledged { node: node(), session: 1, changes: vec![gone] }).await;
    expect(&cluster, &[]).await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_thousand_acknowledged_changes_of_an_object_are_few_writes() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 1)]).await;
    expect(&cluster, &[("n.u", "1")]).await;
    let before = cluster.writes();
    for version in 2..=1000 {
        acknowledge(&probe, 1, [pod("u", version)]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    expect(&cluster, &[("n.u", "1000")]).await;
    assert!(cluster.writes() - before <= 2, "{} writes", cluster.writes() - before);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_many_objects_of_a_new_node_are_written_at_the_rate_that_is_allowed() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    probe.advance(Duration::from_secs(5)).await;
    acknowledge(&probe, 1, (0..100).map(|number| pod(&format!("u{number}"), 1))).await;
    let per_second = SyncControllerConfig::default().writes_per_second;
    let mut seconds = 0;
    while cluster.writes() < 200 {
        probe.advance(Duration::from_secs(1)).await;
        seconds += 1;
        let writes = cluster.writes();
        assert!(writes <= per_second * (seconds + 1), "{writes} writes after {seconds} s");
    }
    assert!(seconds <= 11, "{seconds} s");
    assert_eq!(records(&cluster, RECORDS).await.len(), 100);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_crash_lost_is_right_again_when_the_node_says_what_it_holds() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, ["a", "b", "c"].map(|uid| pod(uid, 1))).await;
    expect(&cluster, &[("n.a", "1"), ("n.b", "1"), ("n.c", "1")]).await;
    acknowledge(&probe, 1, [pod("a", 2), pod("d", 2)]).await;
    drop(probe);

    let probe = start(&cluster).await;
    let wanted = ["a", "c", "d", "e"].map(|uid| pod(uid, 0).uid).into_iter().collect::<BTreeSet<_>>();
    let settled = NodeSettled {
        node: node(),
        session: 2,
        types: vec![ResourceType::POD],
        kept: vec![pod("a", 2), pod("c", 1), pod("d", 2)],
        wanted,
    };
    probe.send(settled).await;
    expect(&cluster, &[("n.a", "2"), ("n.c", "1"), ("n.d", "2")]).await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn records_go_with_their_node_and_those_of_missing_nodes_at_the_start() {
    let cluster = cluster().await;
    cluster
        .create(
            RECORDS,
            json!({ "apiVersion": "reliablesyncs.kubeedge.io/v1alpha1", "kind": "ObjectSync",
        "metadata": { "name": "gone.long.ago.u" }, "spec": { "objectKind": "Pod" } }),
        )
        .await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 7)]).await;
    expect(&cluster, &[("n.u", "7")]).await;
    cluster.delete("/api/v1/nodes/n").await;
    expect(&cluster, &[]).await;
    make_node(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 8)]).await;
    expect(&cluster, &[("n.u", "8")]).await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cluster_without_the_kinds_is_asked_again_until_it_has_them() {
    let cluster = cluster().await;
    let mut definitions = Vec::new();
    for name in ["objectsyncs", "clusterobjectsyncs"] {
        let path = format!("{DEFINITIONS}/{name}.reliablesyncs.kubeedge.io");
        let definition = cluster.get(&path).await;
        definitions
            .push(json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": definition["metadata"]["name"] }, "spec": definition["spec"] }));
        cluster.delete(&path).await;
    }
    cluster.maintain().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 7)]).await;
    probe.advance(Duration::from_secs(600)).await;
    assert_eq!(cluster.writes(), 0);
    for definition in definitions {
        cluster.create(DEFINITIONS, definition).await;
    }
    expect(&cluster, &[("n.u", "7")]).await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_api_server_that_is_away_is_written_to_when_it_is_back() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 1)]).await;
    expect(&cluster, &[("n.u", "1")]).await;
    cluster.cut(true);
    acknowledge(&probe, 1, [pod("u", 2), pod("v", 2)]).await;
    probe.advance(Duration::from_secs(300)).await;
    cluster.cut(false);
    expect(&cluster, &[("n.u", "2"), ("n.v", "2")]).await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_asks_what_a_node_keeps_waits_until_the_records_were_read() {
    let cluster = cluster().await;
    let probe = start(&cluster).await;
    acknowledge(&probe, 1, [pod("u", 7), kept("node", "Node", "n", "nn", 8)]).await;
    expect(&cluster, &[("n.u", "7")]).await;
    until("the node's", async || !records(&cluster, CLUSTER_RECORDS).await.is_empty()).await;
    probe.stop().await;

    let probe = start(&cluster).await;
    let told = probe.ask(ReadRecords { node: node() }).await.expect("an answer");
    let told: Vec<_> =
        told.iter().map(|held| (held.key.to_string(), held.uid.as_ref().map_or("", Uid::as_str))).collect();
    assert_eq!(told, [("node n".to_owned(), "nn"), ("pod default/pod-u".to_owned(), "u")]);
    probe.stop().await;
}
