//! The scheduler: pods get nodes, or are told why not.

use std::collections::BTreeMap;
use std::time::Duration;

use ::scheduler::{Scheduler, SchedulerConfig};
use beehive::Probe;
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/namespaces/default/events";

async fn start(cluster: &Cluster) -> Probe<Scheduler> {
    Probe::<Scheduler>::new(SchedulerConfig::default(), cluster.client()).start().await
}

async fn add_node(cluster: &Cluster, name: &str, cpu: &str) {
    let node = json!({ "metadata": { "name": name },
                       "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" } } });
    cluster.create("/api/v1/nodes", node).await;
}

fn pod(name: &str, cpu: &str) -> Value {
    let container = json!({ "name": "c", "image": "busybox", "resources": { "requests": { "cpu": cpu } } });
    json!({ "metadata": { "name": name, "namespace": "default" }, "spec": { "containers": [container] } })
}

async fn items(cluster: &Cluster, path: &str) -> Vec<Value> {
    cluster.get(path).await["items"].as_array().cloned().unwrap_or_default()
}

async fn node_of(cluster: &Cluster, pod: &str) -> Value {
    cluster.get(&format!("{PODS}/{pod}")).await["spec"]["nodeName"].clone()
}

fn scheduled(pod: &Value) -> Option<Value> {
    let conditions = pod["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "PodScheduled").cloned()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_hundred_pods_at_once_are_bound_without_overcommitting() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        add_node(&cluster, name, "40").await;
    }
    let probe = start(&cluster).await;
    for index in 0..100 {
        cluster.create(PODS, pod(&format!("p{index}"), "1")).await;
    }
    until("all are bound", async || {
        items(&cluster, PODS).await.iter().all(|pod| pod["spec"]["nodeName"].is_string())
    })
    .await;
    let mut bound = BTreeMap::<String, u32>::new();
    for pod in items(&cluster, PODS).await {
        *bound.entry(pod["spec"]["nodeName"].as_str().expect("it is bound").to_owned()).or_default() += 1;
    }
    assert!(bound.len() == 3 && bound.values().all(|pods| (30..=40).contains(pods)), "{bound:?}");
    until("each binding is told", async || {
        let told = items(&cluster, EVENTS).await;
        told.iter().filter(|event| event["reason"] == "Scheduled").count() == 100
    })
    .await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_pod_without_a_node_is_told_why_and_bound_when_there_is_room() {
    let cluster = Cluster::new().await;
    add_node(&cluster, "small", "1").await;
    let probe = start(&cluster).await;
    cluster.create(PODS, pod("p", "2")).await;
    until("it is told", async || scheduled(&cluster.get(&format!("{PODS}/p")).await).is_some()).await;
    let condition = scheduled(&cluster.get(&format!("{PODS}/p")).await).expect("it is told");
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Unschedulable")));
    assert_eq!(condition["message"], "0/1 nodes are available: 1 Insufficient cpu.");
    assert!(condition["lastTransitionTime"].is_string());
    until("there is an event", async || {
        let told = items(&cluster, EVENTS).await;
        told.iter().any(|event| {
            event["reason"] == "FailedScheduling"
                && event["type"] == "Warning"
                && event["involvedObject"]["name"] == "p"
                && event["source"]["component"] == "default-scheduler"
        })
    })
    .await;

    add_node(&cluster, "large", "4").await;
    until("it is bound", async || node_of(&cluster, "p").await == "large").await;
    let pod = cluster.get(&format!("{PODS}/p")).await;
    assert_eq!(scheduled(&pod).expect("it is told")["status"], "True");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn room_that_a_pod_leaves_is_given_to_one_that_waits() {
    let cluster = Cluster::new().await;
    add_node(&cluster, "n", "1").await;
    let probe = start(&cluster).await;
    cluster.create(PODS, pod("first", "1")).await;
    until("the first is bound", async || node_of(&cluster, "first").await == "n").await;
    cluster.create(PODS, pod("second", "1")).await;
    until("the second is told", async || scheduled(&cluster.get(&format!("{PODS}/second")).await).is_some())
        .await;
    cluster.delete(&format!("{PODS}/first")).await;
    until("the second is bound", async || node_of(&cluster, "second").await == "n").await;
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn pods_of_others_are_left_alone() {
    let cluster = Cluster::new().await;
    add_node(&cluster, "n", "8").await;
    let probe = start(&cluster).await;
    let mut theirs = pod("theirs", "1");
    theirs["spec"]["schedulerName"] = json!("another");
    cluster.create(PODS, theirs).await;
    let mut named = pod("named", "1");
    named["spec"]["nodeName"] = json!("elsewhere");
    cluster.create(PODS, named).await;
    cluster.create(PODS, pod("ours", "1")).await;
    until("ours is bound", async || node_of(&cluster, "ours").await == "n").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(node_of(&cluster, "theirs").await, Value::Null);
    assert_eq!(node_of(&cluster, "named").await, "elsewhere");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_api_server_that_is_down_at_first_is_waited_for() {
    let cluster = Cluster::new().await;
    add_node(&cluster, "n", "8").await;
    cluster.create(PODS, pod("p", "1")).await;
    cluster.cut(true);
    let probe = start(&cluster).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(node_of(&cluster, "p").await, Value::Null);
    cluster.cut(false);
    until("it is bound", async || node_of(&cluster, "p").await == "n").await;
    probe.stop().await;
}
