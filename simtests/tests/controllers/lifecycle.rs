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
