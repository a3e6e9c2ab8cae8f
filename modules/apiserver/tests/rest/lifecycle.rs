//! What happens to objects without a request.

use std::time::Duration;

use crate::cluster::{Cluster, MAPS, PODS, config_map, pod};
use apiserver::Upkeep;
use serde_json::{Value, json};

async fn maintain(cluster: &Cluster) {
    cluster.server.maintain(&mut Upkeep::default()).await.expect("the store works");
}

async fn exists(cluster: &Cluster, path: &str) -> bool {
    cluster.send("GET", path, Value::Null).await.0 == 200
}

fn owned(name: &str, owner: &Value) -> Value {
    let mut object = config_map(name);
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "blockOwnerDeletion": true,
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]);
    object
}

#[tokio::test]
async fn a_cluster_begins_with_its_namespaces_accounts_and_service() {
    let cluster = Cluster::new().await;
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let found = cluster.get(&format!("/api/v1/namespaces/{namespace}")).await;
        assert_eq!(found["status"]["phase"], "Active");
        assert!(exists(&cluster, &format!("/api/v1/namespaces/{namespace}/serviceaccounts/default")).await);
        assert!(
            exists(&cluster, &format!("/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")).await
        );
    }
    let service = cluster.get("/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_contents_with_it() {
    let cluster = Cluster::new().await;
    cluster.create("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let maps = "/api/v1/namespaces/n/configmaps";
    cluster.create(maps, config_map("a")).await;
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(maps, held).await;
    let (code, namespace) = cluster.send("DELETE", "/api/v1/namespaces/n", Value::Null).await;
    assert_eq!((code, namespace["status"]["phase"].as_str()), (200, Some("Terminating")), "{namespace}");
    let (code, status) = cluster.send("POST", maps, config_map("late")).await;
    assert_eq!((code, &status["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));

    maintain(&cluster).await;
    assert!(!exists(&cluster, &format!("{maps}/a")).await);
    assert!(exists(&cluster, "/api/v1/namespaces/n").await, "something holds it still");
    cluster.patch(&format!("{maps}/held"), "merge", json!({"metadata": {"finalizers": null}})).await;
    maintain(&cluster).await;
    assert!(!exists(&cluster, "/api/v1/namespaces/n").await);
}

#[tokio::test]
async fn the_namespaces_of_the_system_cannot_be_deleted() {
    let cluster = Cluster::new().await;
    let (code, status) = cluster.send("DELETE", "/api/v1/namespaces/default", Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(status["message"], "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn what_nobody_owns_any_longer_is_collected() {
    let cluster = Cluster::new().await;
    let top = cluster.create(MAPS, config_map("top")).await;
    let middle = cluster.create(MAPS, owned("middle", &top)).await;
    cluster.create(MAPS, owned("bottom", &middle)).await;
    let mut foreign = config_map("foreign");
    foreign["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "other.io/v1", "kind": "Elsewhere", "name": "x", "uid": "unknown"}]);
    cluster.create(MAPS, foreign).await;
    maintain(&cluster).await;
    assert!(exists(&cluster, &format!("{MAPS}/bottom")).await);
    cluster.send("DELETE", &format!("{MAPS}/top"), Value::Null).await;
    maintain(&cluster).await;
    assert!(!exists(&cluster, &format!("{MAPS}/middle")).await);
    assert!(!exists(&cluster, &format!("{MAPS}/bottom")).await);
    assert!(
        exists(&cluster, &format!("{MAPS}/foreign")).await,
        "the absence of what is not served says nothing"
    );
}

#[tokio::test]
async fn an_owner_among_several_may_go() {
    let cluster = Cluster::new().await;
    let (one, two) =
        (cluster.create(MAPS, config_map("one")).await, cluster.create(MAPS, config_map("two")).await);
    let mut both = owned("both", &one);
    let references = both["metadata"]["ownerReferences"].as_array_mut().expect("there is one");
    references.push(owned("x", &two)["metadata"]["ownerReferences"][0].clone());
    cluster.create(MAPS, both).await;
    cluster.send("DELETE", &format!("{MAPS}/one"), Value::Null).await;
    maintain(&cluster).await;
    let left = cluster.get(&format!("{MAPS}/both")).await;
    let owners = left["metadata"]["ownerReferences"].as_array().expect("one is left");
    assert_eq!((owners.len(), &owners[0]["name"]), (1, &json!("two")));
}

#[tokio::test]
async fn a_foreground_deletion_waits_for_dependents() {
    let cluster = Cluster::new().await;
    let top = cluster.create(MAPS, config_map("top")).await;
    let mut held = owned("held", &top);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(MAPS, held).await;
    let path = format!("{MAPS}/top");
    let (_, object) = cluster.send("DELETE", &path, json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(object["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    maintain(&cluster).await;
    assert!(exists(&cluster, &path).await, "its dependent is held");
    cluster.patch(&format!("{MAPS}/held"), "merge", json!({"metadata": {"finalizers": null}})).await;
    maintain(&cluster).await;
    assert!(!exists(&cluster, &format!("{MAPS}/held")).await);
    assert!(!exists(&cluster, &path).await);
}

#[tokio::test]
async fn an_orphaning_deletion_spares_dependents() {
    let cluster = Cluster::new().await;
    let top = cluster.create(MAPS, config_map("top")).await;
    cluster.create(MAPS, owned("child", &top)).await;
    cluster.send("DELETE", &format!("{MAPS}/top"), json!({"propagationPolicy": "Orphan"})).await;
    maintain(&cluster).await;
    maintain(&cluster).await;
    assert!(!exists(&cluster, &format!("{MAPS}/top")).await);
    let child = cluster.get(&format!("{MAPS}/child")).await;
    assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
}

#[tokio::test]
async fn events_expire() {
    let cluster = Cluster::new().await;
    let events = "/api/v1/namespaces/default/events";
    let event = |name: &str| {
        json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
               "reason": "Tested", "message": "m", "type": "Normal"})
    };
    cluster.create(events, event("old")).await;
    cluster.clock.advance(3000);
    cluster.create(events, event("fresh")).await;
    cluster.clock.advance(1000);
    cluster.server.expire_events(Duration::from_secs(3600)).await.expect("the store works");
    assert!(!exists(&cluster, &format!("{events}/old")).await);
    assert!(exists(&cluster, &format!("{events}/fresh")).await);
}

#[tokio::test]
async fn pods_of_a_node_that_is_gone_are_deleted_after_a_while() {
    let cluster = Cluster::new().await;
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = "gone".into();
    cluster.create(PODS, bound).await;
    cluster.create(PODS, pod("unbound")).await;
    let (mut upkeep, patience) = (Upkeep::default(), Duration::from_secs(40));
    cluster.server.collect_pods(&mut upkeep, patience).await.expect("the store works");
    cluster.clock.advance(39);
    cluster.server.collect_pods(&mut upkeep, patience).await.expect("the store works");
    assert!(exists(&cluster, &format!("{PODS}/bound")).await);
    cluster.clock.advance(2);
    cluster.server.collect_pods(&mut upkeep, patience).await.expect("the store works");
    assert!(!exists(&cluster, &format!("{PODS}/bound")).await);
    assert!(exists(&cluster, &format!("{PODS}/unbound")).await);
}
