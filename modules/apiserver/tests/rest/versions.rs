//! One object in two versions: autoscalers, devices and their models.

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

const OLDER: &str = "/apis/devices.kubeedge.io/v1alpha2/namespaces/default";
const NEWER: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default";

/// The model and the device of KubeEdge's temperature tutorial.
async fn temperature(cluster: &Cluster) -> Value {
    let kind = json!({"string": {"accessMode": "ReadWrite", "defaultValue": ""}});
    let properties = json!([{"name": "temperature-status", "description": "in degrees", "type": kind}]);
    let model = json!({"apiVersion": "devices.kubeedge.io/v1alpha2", "kind": "DeviceModel",
        "metadata": {"name": "temperature-model"}, "spec": {"properties": properties}});
    let made = cluster.create(&format!("{OLDER}/devicemodels"), model.clone()).await;
    assert_eq!(made["spec"], model["spec"]);
    let terms = json!([{"matchExpressions": [{"key": "", "operator": "In", "values": ["edge-1"]}]}]);
    let desired = json!({"metadata": {"type": "string"}, "value": ""});
    let device = json!({"apiVersion": "devices.kubeedge.io/v1alpha2", "kind": "Device",
        "metadata": {"name": "temperature", "labels": {"description": "temperature"}},
        "spec": {"deviceModelRef": {"name": "temperature-model"}, "nodeSelector": {"nodeSelectorTerms": terms}},
        "status": {"twins": [{"propertyName": "temperature-status", "desired": desired}]}});
    let made = cluster.create(&format!("{OLDER}/devices"), device.clone()).await;
    assert_eq!((&made["spec"], &made["status"]), (&device["spec"], &device["status"]), "{made}");
    made
}

/// Writes what the device reported, as the device controller does.
async fn report(cluster: &Cluster, owner: &str, value: &str) {
    let owner = json!([{"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "name": "temperature",
        "uid": owner}]);
    let twin = json!({"propertyName": "temperature-status", "observedDesired": {"value": ""},
        "reported": {"value": value}});
    let status = json!({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus",
        "metadata": {"name": "temperature", "ownerReferences": owner},
        "status": {"twins": [twin], "state": "online", "lastOnlineTime": "2026-01-01T00:00:00Z"}});
    cluster.create(&format!("{NEWER}/devicestatuses"), status).await;
}

#[tokio::test]
async fn a_device_of_the_older_version_is_one_of_the_newer() {
    let cluster = Cluster::new().await;
    let made = temperature(&cluster).await;
    let newer = cluster.get(&format!("{NEWER}/devices/temperature")).await;
    assert_eq!(newer["apiVersion"], "devices.kubeedge.io/v1beta1");
    assert_eq!(newer["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!((&newer["spec"]["nodeName"], &newer["status"]), (&json!("edge-1"), &Value::Null), "{newer}");
    assert_eq!(newer["spec"]["properties"][0]["desired"]["value"], "", "{newer}");
    let model = cluster.get(&format!("{NEWER}/devicemodels/temperature-model")).await;
    assert_eq!(model["spec"]["properties"][0]["type"], "STRING", "{model}");
    let wanted =
        json!({"status": {"twins": [{"propertyName": "temperature-status", "desired": {"value": "20"}}]}});
    let path = format!("{OLDER}/devices/temperature");
    let (code, patched) = cluster.patch(&path, "merge", wanted).await;
    assert_eq!(code, 200, "{patched}");
    let newer = cluster.get(&format!("{NEWER}/devices/temperature")).await;
    assert_eq!(newer["spec"]["properties"][0]["desired"]["value"], "20", "{newer}");
    assert_eq!(newer["spec"]["nodeName"], "edge-1");
}

#[tokio::test]
async fn what_a_device_reported_is_shown_with_it_in_both_versions() {
    let cluster = Cluster::new().await;
    let made = temperature(&cluster).await;
    report(&cluster, made["metadata"]["uid"].as_str().expect("a uid"), "24").await;
    let newer = cluster.get(&format!("{NEWER}/devices/temperature")).await;
    assert_eq!(newer["status"]["twins"][0]["reported"]["value"], "24", "{newer}");
    assert_eq!(newer["status"]["state"], "online");
    assert_eq!(
        newer["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"],
        "it did not change"
    );
    let older = cluster.get(&format!("{OLDER}/devices")).await;
    let twin = &older["items"][0]["status"]["twins"][0];
    assert_eq!(
        (&twin["reported"]["value"], &twin["desired"]["value"]),
        (&json!("24"), &json!("")),
        "{older}"
    );
    // Who writes back what he read changes nothing.
    let mut again = older["items"][0].clone();
    again["apiVersion"] = json!("devices.kubeedge.io/v1alpha2");
    again["kind"] = json!("Device");
    let (code, written) = cluster.send("PUT", &format!("{OLDER}/devices/temperature"), again).await;
    assert_eq!(
        (code, &written["metadata"]["generation"]),
        (200, &made["metadata"]["generation"]),
        "{written}"
    );
}

#[tokio::test]
async fn what_an_earlier_device_of_the_name_reported_is_not_shown() {
    let cluster = Cluster::new().await;
    temperature(&cluster).await;
    report(&cluster, "another", "24").await;
    let newer = cluster.get(&format!("{NEWER}/devices/temperature")).await;
    assert_eq!(newer["status"], Value::Null, "{newer}");
}
