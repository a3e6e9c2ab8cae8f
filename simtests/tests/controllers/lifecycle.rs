//! The node lifecycle controller: silent nodes are marked, and marked no longer when they speak.

use std::time::Duration;

use ::scheduler::{NodeLifecycle, NodeLifecycleConfig};
use beehive::Probe;
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

const NODE: &str = "/api/v1/nodes/n";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady" }]);
    let node = json!({ "metadata": { "name": "n" }, "status": { "conditions": ready } });
    cluster.create("/api/v1/nodes", node).await;
    let lease = json!({ "metadata": { "name": "n", "namespace": "kube-node-lease" },
                        "spec": { "holderIdentity": "n", "renewTime": "2026-01-01T00:00:00.000000Z" } });
    cluster.create(LEASES, lease).await;
    cluster
}

async fn renew(cluster: &Cluster, second: u32) {
    let at = format!("2026-01-01T00:{:02}:{:02}.000000Z", second / 60, second % 60);
    cluster.merge(&format!("{LEASES}/n"), json!({ "spec": { "renewTime": at } })).await;
}

async fn ready(cluster: &Cluster) -> Value {
    let conditions = cluster.get(NODE).await["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Ready").expect("a condition")
}

async fn taints(cluster: &Cluster) -> Vec<String> {
    let taints = cluster.get(NODE).await["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    taints.iter().map(|taint| format!("{}:{}", text(&taint["key"]), text(&taint["effect"]))).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_is_marked_when_its_lease_expires_and_cleared_when_it_returns() {
    let cluster = cluster().await;
    let probe = Probe::<NodeLifecycle>::new(NodeLifecycleConfig::default(), cluster.client()).start().await;
    for second in (10..=120).step_by(10) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&cluster, second).await;
    }
    assert_eq!(ready(&cluster).await["status"], "True");
    assert_eq!(taints(&cluster).await, [""; 0]);

    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(ready(&cluster).await["status"], "True", "the grace period is not over");
    until("it is marked", async || ready(&cluster).await["status"] == "Unknown").await;
    let condition = ready(&cluster).await;
    assert_eq!(condition["reason"], "NodeStatusUnknown");
    assert_eq!(condition["message"], "Kubelet stopped posting node status.");
    let unreachable =
        ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];
    until("it is tainted", async || taints(&cluster).await == unreachable).await;

    renew(&cluster, 600).await;
    let conditions = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady" }]);
    cluster.merge(&format!("{NODE}/status"), json!({ "status": { "conditions": conditions } })).await;
    until("it is cleared", async || taints(&cluster).await.is_empty()).await;
    assert_eq!(ready(&cluster).await["status"], "True");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_outage_of_the_api_is_not_the_silence_of_nodes() {
    let cluster = cluster().await;
    let probe = Probe::<NodeLifecycle>::new(NodeLifecycleConfig::default(), cluster.client()).start().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.cut(true);
    tokio::time::sleep(Duration::from_secs(600)).await;
    cluster.cut(false);
    for second in (30..=300).step_by(10) {
        renew(&cluster, second).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(ready(&cluster).await["status"], "True", "{second} s");
    }
    assert_eq!(taints(&cluster).await, [""; 0]);
    until("it is marked when it is silent", async || ready(&cluster).await["status"] == "Unknown").await;
    probe.stop().await;
}

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn make_pod(cluster: &Cluster, name: &str, tolerations: Value) {
    let spec = json!({ "nodeName": "n", "containers": [{ "name": "c", "image": "busybox" }], "tolerations": tolerations });
    cluster.create(PODS, json!({ "metadata": { "name": name }, "spec": spec })).await;
}

async fn leaving(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.get(PODS).await;
    let pods = pods["items"].as_array().expect("a list").iter();
    let leaving = pods.filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
    leaving.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_pods_that_say_for_how_long_leave_a_silent_node() {
    let cluster = cluster().await;
    let probe = Probe::<NodeLifecycle>::new(NodeLifecycleConfig::default(), cluster.client()).start().await;
    let unreachable = |seconds: u32| {
        json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                 "tolerationSeconds": seconds }])
    };
    make_pod(&cluster, "stays", json!([])).await;
    make_pod(&cluster, "an-hour", unreachable(3600)).await;
    make_pod(&cluster, "a-minute", unreachable(60)).await;
    until("it is tainted", async || !taints(&cluster).await.is_empty()).await;
    probe.advance(Duration::from_secs(50)).await;
    assert_eq!(leaving(&cluster).await, [""; 0]);
    probe.advance(Duration::from_secs(20)).await;
    assert_eq!(leaving(&cluster).await, ["a-minute"], "and it is there until its node has ended it");
    let pod = cluster.get(&format!("{PODS}/a-minute")).await;
    let conditions = pod["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions.iter().any(|condition| condition["reason"] == "DeletionByTaintManager"),
        "{conditions:?}"
    );
    probe.advance(Duration::from_secs(3600)).await;
    assert_eq!(leaving(&cluster).await, ["a-minute", "an-hour"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_taint_of_a_user_drives_pods_away_as_in_kubernetes() {
    let cluster = cluster().await;
    let probe = Probe::<NodeLifecycle>::new(NodeLifecycleConfig::default(), cluster.client()).start().await;
    make_pod(&cluster, "goes", json!([])).await;
    make_pod(&cluster, "tolerates", json!([{ "key": "repair", "operator": "Exists" }])).await;
    let taints = json!([{ "key": "repair", "value": "now", "effect": "NoExecute" }]);
    cluster.merge(NODE, json!({ "spec": { "taints": taints } })).await;
    until("one leaves", async || leaving(&cluster).await == ["goes"]).await;
    probe.stop().await;
}
