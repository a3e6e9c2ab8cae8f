//! Nodes that are away for long while the cloud goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use edged::ports::{ContainerState, Sandbox};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use simtests::{Direction, Failure, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);
const EDGE: &str = "edge-01";
/// What the pod `bounded` says of nodes that cannot be reached.
const TOLERATED: Duration = Duration::from_secs(300);

fn pod(name: &str, tolerations: &Value) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": EDGE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "tolerations": tolerations,
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
            "volumes": [{ "name": "config", "configMap": { "name": "config" } }],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

fn pods(kube: &Client) -> Api<Pod> {
    Api::default_namespaced(kube.clone())
}

fn create(sim: &mut Sim, kube: &Client, name: &str, tolerations: &Value) {
    let created = sim.block_on(pods(kube).create(&PostParams::default(), &pod(name, tolerations)));
    created.expect("the API server is there");
}

/// Starts a cloud and an edge with the pods `stays`, `bounded` and `deleted`, and waits until they run.
fn start(sim: &mut Sim) -> Result<Client, Failure> {
    sim.cloud("")?;
    sim.edge(EDGE, "")?;
    let kube = sim.kube();
    sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
    let mut map = ConfigMap::default();
    map.metadata.name = Some("config".to_owned());
    map.data = Some(BTreeMap::from([("key".to_owned(), "old".to_owned())]));
    let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
    sim.block_on(maps.create(&PostParams::default(), &map)).expect("the API server is there");
    let bounded = json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                           "tolerationSeconds": TOLERATED.as_secs() }]);
    for (name, tolerations) in [("stays", json!([])), ("bounded", bounded), ("deleted", json!([]))] {
        create(sim, &kube, name, &tolerations);
        sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, name, "Running").await)?;
    }
    Ok(kube)
}

fn cut_off(sim: &mut Sim) {
    sim.allow_log("the node is silent");
    sim.allow_log("the cloud was not reached");
    for direction in Direction::BOTH {
        sim.cut(EDGE, direction);
    }
}

/// Tells whether a pod is being deleted; `None` if it does not exist.
fn is_leaving(sim: &mut Sim, kube: &Client, name: &str) -> Option<bool> {
    let pod = sim.block_on(pods(kube).get_opt(name)).expect("the API server is there")?;
    Some(pod.metadata.deletion_timestamp.is_some())
}

/// Returns each pod's sandbox as the runtime has it.
fn running(sim: &mut Sim) -> BTreeMap<String, Sandbox> {
    sim.containers(EDGE).into_iter().map(|sandbox| (sandbox.pod.name.clone(), sandbox)).collect()
}

/// Counts what the node was told so far.
fn told(sim: &Sim) -> usize {
    let is_change = |line: &&str| line.contains("edgecontroller -> cloudhub SendToNode Asked");
    sim.trace().lines().filter(is_change).count()
}

/// A node goes away, its pods are deleted, made and changed meanwhile, and it returns.
fn away(sim: &mut Sim, time: Duration) -> Result<(), Failure> {
    let kube = start(sim)?;
    let before = running(sim);
    let told_before = told(sim);
    cut_off(sim);
    sim.run_for(2 * MINUTE)?;
    sim.block_on(pods(&kube).delete("deleted", &DeleteParams::default())).expect("it is there");
    create(sim, &kube, "made", &json!([]));
    let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
    for value in ["newer", "new"] {
        let patch = Patch::Merge(json!({ "data": { "key": value } }));
        sim.block_on(maps.patch("config", &PatchParams::default(), &patch)).expect("it is there");
    }
    assert_eq!(is_leaving(sim, &kube, "bounded"), Some(false), "its time is not over");
    sim.until("it is marked for deletion", TOLERATED, async || {
        let pod = pods(&kube).get("bounded").await;
        pod.is_ok_and(|pod| pod.metadata.deletion_timestamp.is_some())
    })?;
    // Nobody looks at the cluster meanwhile: that would take longer than all that happens in it.
    let left = time - 2 * MINUTE - TOLERATED;
    sim.block_on(async move { tokio::time::sleep(left).await });
    assert_eq!(running(sim), before, "the node goes on with its work");
    for (name, leaving) in [("stays", false), ("made", false), ("deleted", true), ("bounded", true)] {
        assert_eq!(is_leaving(sim, &kube, name), Some(leaving), "{name}");
    }
    let [_, down_before] = sim.link_bytes(EDGE);
    sim.heal_link(EDGE);
    sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
    for name in ["deleted", "bounded"] {
        sim.until("it is gone", MINUTE, async || cluster::pod_is_gone(&kube, name).await)?;
    }
    sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, "made", "Running").await)?;
    sim.run_for(2 * MINUTE)?;
    let after = running(sim);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["made", "stays"]);
    assert_eq!(after["stays"], before["stays"], "nothing of it was restarted");
    let uid = after["stays"].pod.uid.clone();
    let config = sim.volume(EDGE, &uid, "config").expect("it is mounted");
    assert_eq!(config["key"], "new");
    // The config map, three pods with the ends of two, and the node's own object as it becomes ready.
    let told = told(sim) - told_before;
    assert!(told <= 10, "the node was told {told} changes");
    let [_, down] = sim.link_bytes(EDGE);
    assert!(down - down_before < 64 << 10, "the node was sent {} bytes", down - down_before);
    Ok(())
}

#[test]
fn a_node_that_was_away_for_ten_minutes_is_told_the_difference() {
    simtests::check(1, |sim| away(sim, 10 * MINUTE));
}

#[test]
fn a_node_that_was_away_for_an_hour_is_told_the_difference() {
    simtests::check(2, |sim| away(sim, 60 * MINUTE));
}

#[test]
fn a_node_that_was_away_for_a_month_is_told_the_difference() {
    // Once, since the shorter ones are compared already; and unless it is optimised, it is a few hours.
    let hours = if cfg!(debug_assertions) { 6 } else { 30 * 24 };
    let outcome = simtests::run(6, |sim| away(sim, hours * 60 * MINUTE));
    assert!(outcome.failure.is_none(), "{outcome}");
}

#[test]
fn a_node_that_returns_in_time_keeps_its_pods_and_has_all_their_time_again() {
    simtests::check(3, |sim| {
        let kube = start(sim)?;
        let before = running(sim);
        for _ in 0..2 {
            cut_off(sim);
            sim.run_for(TOLERATED - MINUTE / 2)?;
            sim.heal_link(EDGE);
            sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
            sim.run_for(MINUTE)?;
        }
        assert_eq!(is_leaving(sim, &kube, "bounded"), Some(false));
        assert_eq!(running(sim), before);
        Ok(())
    });
}

#[test]
fn a_node_whose_object_was_deleted_registers_anew_and_restarts_nothing() {
    simtests::check(4, |sim| {
        let kube = start(sim)?;
        let before = running(sim);
        let nodes: Api<Node> = Api::all(kube.clone());
        let first = sim.block_on(nodes.get(EDGE)).expect("it is there").metadata.uid;
        sim.block_on(nodes.delete(EDGE, &DeleteParams::default())).expect("it is there");
        sim.allow_log("the API does not have this node any more");
        sim.until("it is registered anew", MINUTE / 2, async || {
            nodes.get_opt(EDGE).await.is_ok_and(|node| node.is_some_and(|node| node.metadata.uid != first))
        })?;
        sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
        sim.run_for(2 * MINUTE)?;
        assert_eq!(running(sim), before);
        let patch = Patch::Merge(json!({ "data": { "key": "new" } }));
        let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
        sim.block_on(maps.patch("config", &PatchParams::default(), &patch)).expect("it is there");
        sim.run_for(2 * MINUTE)?;
        let config = sim.volume(EDGE, &before["stays"].pod.uid, "config").expect("it is mounted");
        assert_eq!(config["key"], "new", "it is told of changes as before");
        Ok(())
    });
}

#[test]
fn an_autonomous_pod_stays_whatever_it_tolerates() {
    simtests::check(5, |sim| {
        let kube = start(sim)?;
        let tolerations = json!([{ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
                                   "operator": "Exists", "tolerationSeconds": 10 }]);
        let mut autonomous = pod("autonomous", &tolerations);
        let label = ("app-offline.kubeedge.io".to_owned(), "autonomy".to_owned());
        autonomous.metadata.labels = Some(BTreeMap::from([label]));
        sim.block_on(pods(&kube).create(&PostParams::default(), &autonomous)).expect("accepted");
        create(sim, &kube, "impatient", &tolerations);
        for name in ["autonomous", "impatient"] {
            sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, name, "Running").await)?;
        }
        cut_off(sim);
        sim.run_for(10 * MINUTE)?;
        assert_eq!(is_leaving(sim, &kube, "autonomous"), Some(false));
        assert_eq!(is_leaving(sim, &kube, "impatient"), Some(true));
        let is_running = |sandbox: &Sandbox| {
            sandbox
                .containers
                .iter()
                .all(|container| matches!(container.state, ContainerState::Running { .. }))
        };
        assert!(running(sim).values().all(is_running), "nobody told the node");
        Ok(())
    });
}
