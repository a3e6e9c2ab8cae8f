//! Creating, reading, changing and deleting single objects.

use crate::cluster::{Cluster, MAPS, config_map};
use serde_json::{Value, json};

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let cluster = Cluster::new().await;
    let made = cluster.create(MAPS, config_map("a")).await;
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["creationTimestamp"], "2023-11-14T22:13:20Z");
    let path = format!("{MAPS}/a");
    assert_eq!(cluster.get(&path).await, made);

    let mut changed = made.clone();
    changed["data"]["k"] = "w".into();
    let (code, changed) = cluster.send("PUT", &path, changed).await;
    assert_eq!((code, &changed["data"]["k"]), (200, &json!("w")), "{changed}");
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);

    let (code, gone) = cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!((code, gone["status"].as_str()), (200, Some("Success")), "{gone}");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    let (code, missing) = cluster.send("GET", &path, Value::Null).await;
    assert_eq!((code, missing["message"].as_str()), (404, Some("configmaps \"a\" not found")));
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    let (code, status) = cluster.send("POST", MAPS, config_map("a")).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("AlreadyExists")));
    assert_eq!(status["message"], "configmaps \"a\" already exists");
}

#[tokio::test]
async fn a_stale_write_is_refused() {
    let cluster = Cluster::new().await;
    let first = cluster.create(MAPS, config_map("a")).await;
    let path = format!("{MAPS}/a");
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    assert_eq!(cluster.send("PUT", &path, second).await.0, 200);
    let mut stale = first;
    stale["data"]["k"] = "3".into();
    let (code, status) = cluster.send("PUT", &path, stale).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(cluster.get(&path).await["data"]["k"], "2");
}

#[tokio::test]
async fn a_change_of_nothing_makes_no_new_version() {
    let cluster = Cluster::new().await;
    let made = cluster.create(MAPS, config_map("a")).await;
    cluster.clock.advance(10);
    let (_, same) = cluster.send("PUT", &format!("{MAPS}/a"), made.clone()).await;
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let (_, same) = cluster.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "v"}})).await;
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn names_are_generated() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"generateName": "job-"}});
    let (one, two) = (cluster.create(MAPS, body.clone()).await, cluster.create(MAPS, body).await);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    assert!(name(&one).starts_with("job-") && name(&one).len() == "job-".len() + 5, "{}", name(&one));
    assert_ne!(name(&one), name(&two));
    let (code, status) = cluster.send("POST", MAPS, json!({"metadata": {}})).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cluster = Cluster::new().await;
    let path = format!("{MAPS}?dryRun=All");
    let tried = cluster.create(&path, config_map("a")).await;
    assert_eq!(tried["metadata"].get("resourceVersion"), None, "what is not stored has no version");
    assert_eq!(cluster.send("GET", &format!("{MAPS}/a"), Value::Null).await.0, 404);
    let made = cluster.create(MAPS, config_map("a")).await;
    let (code, tried) =
        cluster.patch(&format!("{MAPS}/a?dryRun=All"), "merge", json!({"data": {"k": "x"}})).await;
    assert_eq!((code, &tried["data"]["k"]), (200, &json!("x")));
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&tried), version(&made), "kubectl diff shows no other version");
    assert_eq!(cluster.send("DELETE", &format!("{MAPS}/a?dryRun=All"), Value::Null).await.0, 200);
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await["data"]["k"], "v");
}

#[tokio::test]
async fn a_deletion_checks_its_preconditions() {
    let cluster = Cluster::new().await;
    let made = cluster.create(MAPS, config_map("a")).await;
    let path = format!("{MAPS}/a");
    let (code, status) = cluster.send("DELETE", &path, json!({"preconditions": {"uid": "other"}})).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    let (code, _) = cluster.send("DELETE", &path, json!({"preconditions": {"resourceVersion": "1"}})).await;
    assert_eq!(code, 409);
    let uid = &made["metadata"]["uid"];
    assert_eq!(cluster.send("DELETE", &path, json!({"preconditions": {"uid": uid}})).await.0, 200);
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let cluster = Cluster::new().await;
    let mut held = config_map("a");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(MAPS, held).await;
    let path = format!("{MAPS}/a");
    let (code, object) = cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(object["metadata"]["deletionTimestamp"], "2023-11-14T22:13:20Z");
    let add = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    assert_eq!(cluster.patch(&path, "merge", add).await.0, 422);
    let (code, _) = cluster.patch(&path, "merge", json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    assert_eq!(cluster.send("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_put_creates_only_what_it_may() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.send("PUT", &format!("{MAPS}/a"), config_map("a")).await.0, 404);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}});
    assert_eq!(cluster.send("PUT", &format!("{leases}/l"), lease).await.0, 201);
}

#[tokio::test]
async fn what_does_not_fit_the_path_is_refused() {
    let cluster = Cluster::new().await;
    for (method, path, body, code) in [
        ("POST", MAPS, json!({"metadata": {"name": "a", "namespace": "other"}}), 400),
        ("POST", MAPS, json!({"kind": "Pod", "metadata": {"name": "a"}}), 400),
        ("POST", MAPS, json!({"apiVersion": "v2", "metadata": {"name": "a"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "a", "resourceVersion": "4"}}), 400),
        ("POST", MAPS, json!("x"), 400),
        ("POST", "/api/v1/configmaps", config_map("a"), 405),
        ("POST", "/api/v1/namespaces/none/configmaps", config_map("a"), 404),
        ("GET", "/api/v1/namespaces/default/nodes", Value::Null, 404),
        ("GET", "/api/v1/configmaps/a", Value::Null, 404),
        ("GET", "/apis/none/v1/things", Value::Null, 404),
        ("GET", "/nonsense", Value::Null, 404),
        ("PUT", MAPS, config_map("a"), 405),
        ("BREW", MAPS, Value::Null, 405),
        ("DELETE", "/api/v1/namespaces", Value::Null, 405),
    ] {
        let (answered, status) = cluster.send(method, path, body).await;
        assert_eq!(answered, code, "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(3 << 20)}});
    assert_eq!(cluster.send("POST", MAPS, body).await.0, 413);
}

#[tokio::test]
async fn a_typed_client_that_writes_back_what_it_read_changes_nothing() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "web", "annotations": {}}, "spec": {
        "selector": {"matchLabels": {"app": "web"}, "matchExpressions": []},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeSelector": {}, "volumes": [],
            "containers": [{"name": "c", "image": "busybox", "env": []}]}}}});
    let made = cluster.create(path, deployment).await;
    // What Go's types leave out when they are written.
    let mut written = made.clone();
    let spec = &mut written["spec"]["template"]["spec"];
    for name in ["nodeSelector", "volumes"] {
        spec.as_object_mut().expect("a pod's spec").remove(name);
    }
    spec["containers"][0].as_object_mut().expect("a container").remove("env");
    written["spec"]["selector"].as_object_mut().expect("a selector").remove("matchExpressions");
    let (code, same) = cluster.send("PUT", &format!("{path}/web"), written).await;
    assert_eq!((code, &same["metadata"]["generation"]), (200, &json!(1)), "{same}");
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}
