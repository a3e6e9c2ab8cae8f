//! Custom resource definitions and their objects.

use crate::cluster::{Cluster, MAPS, config_map};
use apiserver::Upkeep;
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 1, "default": 3}, "color": {"type": "string"}}},
        "status": {"type": "object", "properties": {
            "size": {"type": "integer"}, "selector": {"type": "string"}}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
                    "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector"}}}]}})
}

fn thing(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"color": "red"}})
}

#[tokio::test]
async fn a_definition_is_served_at_once() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.send("GET", THINGS, Value::Null).await.0, 404);
    let made = cluster.create(CRDS, definition()).await;
    let conditions = made["status"]["conditions"].as_array().expect("there are some");
    assert!(conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True"), "{made}");
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "ThingList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    let mut watch = cluster.watch(&format!("{THINGS}?watch=1")).await;
    let object = cluster.create(THINGS, thing("a")).await;
    assert_eq!(object["spec"], json!({"color": "red", "size": 3}));
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(watch.step().await, "ADDED a");
    let list = cluster.get(THINGS).await;
    assert_eq!(list["kind"], "ThingList");
    assert_eq!(list["items"][0]["kind"], "Thing");
    let groups = cluster.get("/apis").await;
    assert!(
        groups["groups"].as_array().is_some_and(|groups| groups.iter().any(|g| g["name"] == "example.com"))
    );
}

#[tokio::test]
async fn custom_objects_have_status_scale_and_selectable_fields() {
    let cluster = Cluster::new().await;
    cluster.create(CRDS, definition()).await;
    cluster.create(THINGS, thing("a")).await;
    let path = format!("{THINGS}/a");
    let (code, object) =
        cluster.patch(&path, "merge", json!({"status": {"size": 9}, "spec": {"size": 5}})).await;
    assert_eq!((code, object.get("status")), (200, None), "{object}");
    assert_eq!(object["metadata"]["generation"], 2);
    let (code, object) = cluster
        .patch(&format!("{path}/status"), "merge", json!({"status": {"size": 4}, "spec": {"size": 7}}))
        .await;
    assert_eq!((code, &object["status"]["size"], &object["spec"]["size"]), (200, &json!(4), &json!(5)));
    assert_eq!(object["metadata"]["generation"], 2);
    let scale = cluster.get(&format!("{path}/scale")).await;
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["replicas"]),
        (&json!("Scale"), &json!(5), &json!(4))
    );
    let (code, scale) =
        cluster.patch(&format!("{path}/scale"), "merge", json!({"spec": {"replicas": 8}})).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(8)), "{scale}");
    assert_eq!(cluster.get(&path).await["spec"]["size"], 8);
    assert_eq!(cluster.patch(&path, "strategic-merge", json!({})).await.0, 415);
    let red = cluster.get(&format!("{THINGS}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!(red["items"].as_array().map(Vec::len), Some(1));
    let (code, status) =
        cluster.send("GET", &format!("{THINGS}?fieldSelector=spec.size%3D1"), Value::Null).await;
    assert_eq!(code, 400, "{status}");
}

#[tokio::test]
async fn a_custom_object_has_to_fit_its_schema() {
    let cluster = Cluster::new().await;
    cluster.create(CRDS, definition()).await;
    let mut bad = thing("a");
    bad["spec"]["size"] = 0.into();
    let (code, status) = cluster.send("POST", THINGS, bad).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")), "{status}");
    let mut unknown = thing("a");
    unknown["spec"]["shape"] = "round".into();
    let (code, status) =
        cluster.send("POST", &format!("{THINGS}?fieldValidation=Strict"), unknown.clone()).await;
    assert_eq!(code, 400, "{status}");
    let made = cluster.create(THINGS, unknown).await;
    assert!(made["spec"].get("shape").is_none(), "unknown fields are dropped");
    let mut blind = made;
    blind["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(cluster.send("PUT", &format!("{THINGS}/a"), blind).await.0, 422);
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_with_it() {
    let cluster = Cluster::new().await;
    cluster.create(CRDS, definition()).await;
    cluster.create(THINGS, thing("a")).await;
    let path = format!("{CRDS}/things.example.com");
    let (code, object) = cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!(code, 200, "{object}");
    assert_eq!(cluster.send("POST", THINGS, thing("late")).await.0, 405);
    let mut upkeep = Upkeep::default();
    cluster.server.maintain(&mut upkeep).await.expect("the store works");
    assert_eq!(cluster.send("GET", &path, Value::Null).await.0, 404);
    assert_eq!(cluster.send("GET", THINGS, Value::Null).await.0, 404);
    cluster.create(CRDS, definition()).await;
    assert_eq!(cluster.get(THINGS).await["items"], json!([]));
}

#[tokio::test]
async fn definitions_and_their_objects_survive_a_crash() {
    let cluster = Cluster::new().await;
    cluster.create(CRDS, definition()).await;
    let made = cluster.create(THINGS, thing("a")).await;
    let cluster = cluster.crash().await;
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await, made);
    cluster.create(MAPS, config_map("still-works")).await;
}

#[tokio::test]
async fn the_kinds_of_kubeedge_are_there_from_the_beginning() {
    let cluster = Cluster::new().await;
    let records = "/apis/reliablesyncs.kubeedge.io/v1alpha1/namespaces/default/objectsyncs";
    let record = json!({"apiVersion": "reliablesyncs.kubeedge.io/v1alpha1", "kind": "ObjectSync",
        "metadata": {"name": "n.u"}, "spec": {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"},
        "status": {"objectResourceVersion": "7"}});
    let made = cluster.create(records, record).await;
    assert_eq!(made["spec"]["objectKind"], "Pod");
    assert!(made["status"].is_null(), "the status is a resource of its own");
    let (code, _) =
        cluster.send("GET", "/apis/reliablesyncs.kubeedge.io/v1alpha1/clusterobjectsyncs", Value::Null).await;
    assert_eq!(code, 200);
    let definition = cluster.get(&format!("{CRDS}/objectsyncs.reliablesyncs.kubeedge.io")).await;
    assert_eq!(definition["spec"]["scope"], "Namespaced");
}

/// An object of each kind of KubeEdge: its version, its path and its spec.
const SAMPLES: [(&str, &str, &str, &str); 12] = [
    (
        "devices.kubeedge.io/v1beta1",
        "namespaces/default/devicemodels",
        "DeviceModel",
        r#"{"protocol": "modbus", "properties": [{"name": "t", "type": "INT", "accessMode": "ReadOnly", "minimum": "1"}]}"#,
    ),
    (
        "devices.kubeedge.io/v1beta1",
        "namespaces/default/devices",
        "Device",
        r#"{"nodeName": "edge-1", "deviceModelRef": {"name": "m"}, "protocol": {"protocolName": "modbus", "configData": {"slaveID": 1}}}"#,
    ),
    ("devices.kubeedge.io/v1beta1", "namespaces/default/devicestatuses", "DeviceStatus", "{}"),
    (
        "devices.kubeedge.io/v1alpha2",
        "namespaces/default/devicemodels",
        "DeviceModel",
        r#"{"properties": [{"name": "t", "type": {"int": {"accessMode": "ReadWrite", "maximum": 100}}}]}"#,
    ),
    (
        "rules.kubeedge.io/v1",
        "namespaces/default/ruleendpoints",
        "RuleEndpoint",
        r#"{"ruleEndpointType": "rest"}"#,
    ),
    (
        "rules.kubeedge.io/v1",
        "namespaces/default/rules",
        "Rule",
        r#"{"source": "a", "sourceResource": {"path": "/a"}, "target": "b", "targetResource": {"topic": "t"}}"#,
    ),
    ("apps.kubeedge.io/v1alpha1", "nodegroups", "NodeGroup", r#"{"nodes": ["edge-1"]}"#),
    (
        "apps.kubeedge.io/v1alpha1",
        "namespaces/default/edgeapplications",
        "EdgeApplication",
        r#"{"workloadScope": {"targetNodeGroups": [{"name": "g", "overriders": {"replicas": 2, "resourcesOverriders":
         [{"containerName": "c", "value": {"limits": {"cpu": 1, "memory": "64Mi"}}}]}}]},
         "workloadTemplate": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}]}}"#,
    ),
    ("operations.kubeedge.io/v1alpha2", "nodeupgradejobs", "NodeUpgradeJob", r#"{"version": "v1.22.0"}"#),
    (
        "operations.kubeedge.io/v1alpha2",
        "imageprepulljobs",
        "ImagePrePullJob",
        r#"{"imagePrePullTemplate": {"images": ["nginx"]}}"#,
    ),
    (
        "operations.kubeedge.io/v1alpha2",
        "configupdatejobs",
        "ConfigUpdateJob",
        r#"{"updateFields": {"modules.edgeHub.heartbeat": "10"}}"#,
    ),
    (
        "policy.kubeedge.io/v1alpha1",
        "namespaces/default/serviceaccountaccesses",
        "ServiceAccountAccess",
        r#"{"serviceAccount": {"metadata": {"name": "a", "namespace": "default"}}, "accessRoleBinding": [{"rules": [{"verbs": ["get"]}]}]}"#,
    ),
];

#[tokio::test]
async fn every_kind_of_kubeedge_takes_an_object() {
    let cluster = Cluster::new().await;
    for (number, (api_version, path, kind, spec)) in SAMPLES.into_iter().enumerate() {
        let spec: Value = serde_json::from_str(spec).expect("JSON");
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": format!("o{number}")},
                            "spec": spec});
        let made = cluster.create(&format!("/apis/{api_version}/{path}"), object).await;
        assert_eq!(made["spec"], spec, "{kind}: nothing is lost");
    }
    let wrong = json!({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "x"},
        "spec": {"properties": [{"name": "t", "type": "COMPLEX"}]}});
    let path = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicemodels";
    let (code, status) = cluster.send("POST", path, wrong).await;
    assert_eq!(code, 422, "{status}");
    assert!(status["message"].as_str().is_some_and(|it| it.contains("spec.properties[0].type")), "{status}");
}

#[tokio::test]
async fn a_definition_of_an_earlier_version_is_replaced_and_one_that_somebody_changed_is_not() {
    const WRITTEN: &str = "beehive.kubeedge.io/definition";
    let cluster = Cluster::new().await;
    let path = |plural: &str| format!("{CRDS}/{plural}.devices.kubeedge.io");
    let short = json!({"spec": {"names": {"shortNames": ["old"]}}});
    for plural in ["devices", "devicemodels"] {
        let (code, old) = cluster.patch(&path(plural), "merge", short.clone()).await;
        assert_eq!((code, &old["metadata"]["generation"]), (200, &json!(2)));
    }
    // An earlier server would have written the first of them so.
    let mark = json!({"metadata": {"annotations": {WRITTEN: "0123456789abcdef/2"}}});
    assert_eq!(cluster.patch(&path("devices"), "merge", mark).await.0, 200);
    let mark = json!({"metadata": {"annotations": {WRITTEN: "0123456789abcdef/1"}}});
    assert_eq!(cluster.patch(&path("devicemodels"), "merge", mark).await.0, 200);
    let cluster = cluster.crash().await;
    let replaced = cluster.get(&path("devices")).await;
    assert!(replaced["spec"]["names"]["shortNames"].is_null(), "{replaced}");
    assert_eq!(replaced["metadata"]["generation"], 3);
    let kept = cluster.get(&path("devicemodels")).await;
    assert_eq!(kept["spec"]["names"]["shortNames"], json!(["old"]));
    let cluster = cluster.crash().await;
    assert_eq!(cluster.get(&path("devices")).await, replaced, "once");
}
