//! Pods: what is added to them, binding, graceful deletion, eviction, logs, status.

use std::sync::{Arc, Mutex};

use crate::cluster::{Cluster, PODS, pod};
use apiserver::NodeLogs;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::NodeName;
use protocol::edge::{LogError, LogStream, ReadPodLog};
use serde_json::{Value, json};

fn bound(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = "edge-01".into();
    pod
}

#[tokio::test]
async fn a_new_pod_gets_its_account_its_token_and_its_tolerations() {
    let cluster = Cluster::new().await;
    let mut body = pod("a");
    body["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
    let made = cluster.create(PODS, body).await;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["status"]["phase"], "Pending", "a status is not taken from who creates a pod");
    assert!(made["status"].get("podIP").is_none(), "{made}");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(made["spec"]["volumes"][0]["name"], mount["name"]);
    let tolerations = made["spec"]["tolerations"].as_array().expect("there are some");
    assert_eq!(tolerations.len(), 2);

    let mut unknown = pod("b");
    unknown["spec"]["serviceAccountName"] = "robot".into();
    let (code, status) = cluster.send("POST", PODS, unknown).await;
    assert_eq!(code, 403);
    assert!(
        status["message"].as_str().is_some_and(|text| text.contains("serviceaccount \"robot\" not found")),
        "{status}"
    );
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new().await;
    cluster.create(PODS, pod("a")).await;
    let binding = |node: &str| json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": node}});
    let path = format!("{PODS}/a/binding");
    let (code, status) = cluster.send("POST", &path, binding("edge-01")).await;
    assert_eq!((code, status["status"].as_str()), (201, Some("Success")));
    let found = cluster.get(&format!("{PODS}/a")).await;
    assert_eq!(found["spec"]["nodeName"], "edge-01");
    assert_eq!(found["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(cluster.send("POST", &path, binding("edge-02")).await.0, 409);
    assert_eq!(cluster.send("POST", &path, json!({"target": {}})).await.0, 422);
    assert_eq!(cluster.send("POST", &format!("{PODS}/b/binding"), binding("x")).await.0, 400);
    let nameless = json!({"target": {"name": "x"}});
    assert_eq!(cluster.send("POST", &format!("{PODS}/none/binding"), nameless).await.0, 404);
}

#[tokio::test]
async fn an_unbound_pod_goes_at_once_and_a_bound_one_when_its_node_says_so() {
    let cluster = Cluster::new().await;
    cluster.create(PODS, pod("free")).await;
    cluster.send("DELETE", &format!("{PODS}/free"), Value::Null).await;
    assert_eq!(cluster.send("GET", &format!("{PODS}/free"), Value::Null).await.0, 404);

    cluster.create(PODS, bound("a")).await;
    let path = format!("{PODS}/a");
    let (code, object) = cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!((code, &object["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(30)));
    assert_eq!(object["metadata"]["deletionTimestamp"], "2023-11-14T22:13:50Z");
    let (_, again) = cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!(again["metadata"], object["metadata"], "a deletion under way is not begun again");
    let (_, shorter) = cluster.send("DELETE", &path, json!({"gracePeriodSeconds": 5})).await;
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "2023-11-14T22:13:25Z");
    assert_eq!(cluster.send("DELETE", &path, json!({"gracePeriodSeconds": 0})).await.0, 200);
    assert_eq!(cluster.send("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let cluster = Cluster::new().await;
    cluster.create(PODS, pod("a")).await;
    let path = format!("{PODS}/a");
    let change = json!({"metadata": {"labels": {"n": "1"}}, "spec": {"nodeName": "stolen"}, "status": {"phase": "Running"}});
    let (code, object) = cluster.patch(&format!("{path}/status"), "strategic-merge", change).await;
    assert_eq!((code, &object["status"]["phase"]), (200, &json!("Running")), "{object}");
    assert!(object["spec"].get("nodeName").is_none(), "a status write leaves the spec alone");
    let (code, object) = cluster
        .patch(&path, "merge", json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"l": "1"}}}))
        .await;
    assert_eq!((code, &object["status"]["phase"]), (200, &json!("Running")), "{object}");
    assert_eq!(object["metadata"]["labels"]["l"], "1");
    assert_eq!(cluster.get(&format!("{path}/status")).await["status"]["phase"], "Running");
}

#[tokio::test]
async fn an_eviction_spends_a_disruption_budget() {
    let cluster = Cluster::new().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    cluster.create(budgets, budget).await;
    cluster.create(PODS, bound("a")).await;
    cluster.patch(&format!("{PODS}/a/status"), "merge", json!({"status": {"phase": "Running"}})).await;
    let path = format!("{PODS}/a/eviction");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let (code, status) = cluster.send("POST", &path, eviction.clone()).await;
    assert_eq!(
        (code, &status["details"]["causes"][0]["reason"]),
        (429, &json!("DisruptionBudget")),
        "{status}"
    );
    let allowed = json!({"status": {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0, "expectedPods": 1}});
    let (code, object) = cluster.patch(&format!("{budgets}/b/status"), "merge", allowed).await;
    assert_eq!(code, 200, "{object}");
    assert_eq!(cluster.send("POST", &path, eviction).await.0, 201);
    assert!(cluster.get(&format!("{PODS}/a")).await["metadata"].get("deletionTimestamp").is_some());
    assert_eq!(cluster.get(&format!("{budgets}/b")).await["status"]["disruptionsAllowed"], 0);
}

#[derive(Debug, Default)]
struct Logs(Mutex<Vec<(NodeName, ReadPodLog)>>);

impl NodeLogs for Logs {
    fn read(
        &self,
        node: &NodeName,
        request: ReadPodLog,
    ) -> Option<BoxFuture<'static, Result<LogStream, LogError>>> {
        let previous = request.previous;
        self.0.lock().expect("nothing panics").push((node.clone(), request));
        Some(
            async move {
                if previous {
                    return Err(LogError::BadRequest("previous terminated container not found".to_owned()));
                }
                let (send, receive) = tokio::sync::mpsc::channel(4);
                for line in ["one\n", "two\n"] {
                    send.send(Ok(Bytes::from(line))).await.expect("there is room");
                }
                Ok(LogStream(receive))
            }
            .boxed(),
        )
    }
}

#[tokio::test]
async fn a_log_is_read_from_the_node_of_the_pod() {
    let logs = Arc::new(Logs::default());
    let port: Arc<dyn NodeLogs> = logs.clone();
    let cluster = Cluster::with(|options| options.logs = port).await;
    cluster.create(PODS, bound("a")).await;
    let (code, text) = cluster
        .send("GET", &format!("{PODS}/a/log?follow=true&tailLines=7&timestamps=true"), Value::Null)
        .await;
    assert_eq!((code, text.as_str()), (200, Some("one\ntwo\n")));
    let asked = logs.0.lock().expect("nothing panics").pop().expect("the node was asked");
    assert_eq!((asked.0.as_str(), asked.1.container.as_deref()), ("edge-01", Some("main")));
    assert!(asked.1.follow && asked.1.timestamps && asked.1.tail_lines == Some(7));
    let (code, status) = cluster.send("GET", &format!("{PODS}/a/log?previous=true"), Value::Null).await;
    assert_eq!((code, status["message"].as_str()), (400, Some("previous terminated container not found")));
    assert_eq!(cluster.send("GET", &format!("{PODS}/a/log?container=no"), Value::Null).await.0, 400);
    assert_eq!(cluster.send("GET", &format!("{PODS}/none/log"), Value::Null).await.0, 404);
    cluster.create(PODS, pod("free")).await;
    assert_eq!(cluster.send("GET", &format!("{PODS}/free/log"), Value::Null).await.0, 400);
}

#[tokio::test]
async fn without_a_way_to_the_nodes_a_log_says_so() {
    let cluster = Cluster::new().await;
    cluster.create(PODS, bound("a")).await;
    let (code, status) = cluster.send("GET", &format!("{PODS}/a/log"), Value::Null).await;
    assert_eq!((code, status["reason"].as_str()), (501, Some("NotImplemented")));
    assert_eq!(cluster.send("POST", &format!("{PODS}/a/exec?command=ls"), Value::Null).await.0, 501);
}
