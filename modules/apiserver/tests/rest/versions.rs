//! One object in two versions: autoscalers.

use crate::cluster::Cluster;
use serde_json::{Value, json};

const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

/// What `kubectl autoscale deployment web --max=3 --cpu-percent=50` sends.
fn older(name: &str) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                 "maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
        "status": {"currentReplicas": 0, "desiredReplicas": 0}})
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_both_versions() {
    let cluster = Cluster::new().await;
    let made = cluster.create(V1, older("web")).await;
    assert_eq!(made["apiVersion"], "autoscaling/v1");
    assert_eq!((&made["spec"]["minReplicas"], &made["spec"]["metrics"]), (&json!(1), &Value::Null), "{made}");
    let newer = cluster.get(&format!("{V2}/web")).await;
    assert_eq!(newer["apiVersion"], "autoscaling/v2");
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50, "{newer}");
    assert_eq!(newer["spec"].get("targetCPUUtilizationPercentage"), None);
    for path in [V1, V2] {
        let list = cluster.get(path).await;
        assert_eq!(list["items"][0]["metadata"]["uid"], made["metadata"]["uid"], "{list}");
    }
}

#[tokio::test]
async fn a_write_of_the_older_version_keeps_what_only_the_newer_one_has() {
    let cluster = Cluster::new().await;
    let memory = json!({"type": "Resource", "resource":
        {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let mut newer = older("web");
    newer["apiVersion"] = "autoscaling/v2".into();
    newer["spec"] =
        json!({"scaleTargetRef": newer["spec"]["scaleTargetRef"], "maxReplicas": 3, "metrics": [memory]});
    cluster.create(V2, newer).await;
    let status = json!({"status": {"desiredReplicas": 2, "currentMetrics": null,
        "conditions": [{"type": "AbleToScale", "status": "True"}]}});
    let (code, written) = cluster.patch(&format!("{V2}/web/status"), "merge", status).await;
    assert_eq!(code, 200, "{written}");
    let patch = json!({"spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 60}});
    let (code, patched) = cluster.patch(&format!("{V1}/web"), "merge", patch).await;
    assert_eq!((code, &patched["spec"]["maxReplicas"]), (200, &json!(5)), "{patched}");
    let newer = cluster.get(&format!("{V2}/web")).await;
    let names: Vec<_> = newer["spec"]["metrics"].as_array().into_iter().flatten().collect();
    assert_eq!((&names[0]["resource"]["name"], names.get(1)), (&json!("cpu"), Some(&&memory)), "{newer}");
    assert_eq!(newer["status"]["conditions"][0]["type"], "AbleToScale", "{newer}");
    assert_eq!(newer["metadata"]["annotations"], Value::Null);
}
