//! Data-driven tests of the decision.

use serde_json::{Value, json};

use super::*;
use crate::node::NodeFacts;
use crate::pod::Seen;

fn node(name: &str, more: Value) -> Value {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "pods": "110" } },
    });
    merge(&mut node, &more);
    node
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": { "containers": [{ "name": "c" }] },
    });
    merge(&mut pod["spec"], &spec);
    pod
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn asks(requests: Value) -> Value {
    json!({ "containers": [{ "name": "c", "resources": { "requests": requests } }] })
}

fn read(pod: Value) -> Seen {
    Seen::read(&serde_json::from_value(pod).expect("a valid pod"), "default-scheduler")
}

fn pending(pod: Value) -> PendingPod {
    match read(pod) {
        Seen::Pending(pod) => *pod,
        other => panic!("{other:?} is not pending"),
    }
}

fn cluster(nodes: &[Value], placed: &[(&str, Value)]) -> BTreeMap<String, NodeState> {
    let mut states: BTreeMap<String, NodeState> = nodes
        .iter()
        .map(|node| NodeFacts::of(&serde_json::from_value(node.clone()).expect("a valid node")))
        .map(|facts| (facts.name.clone(), NodeState { facts, ..NodeState::default() }))
        .collect();
    for (node, spec) in placed {
        let demand = pending(pod("placed", spec.clone())).demand;
        states.get_mut(*node).expect("a known node").place(&demand);
    }
    states
}

#[track_caller]
fn check(spec: Value, nodes: &[Value], placed: &[(&str, Value)], expected: &str) {
    let decision = schedule(&pending(pod("p", spec)), &cluster(nodes, placed));
    let decision = match &decision {
        Decision::Bind(node) => node.as_str(),
        Decision::Unschedulable(why) => why.as_str(),
    };
    assert_eq!(decision, expected);
}

#[test]
fn without_nodes_there_is_nothing_to_choose() {
    check(json!({}), &[], &[], "no nodes available to schedule pods");
}

#[test]
fn a_pod_goes_where_most_is_left() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    check(json!({}), &nodes, &[], "a");
    check(json!({}), &nodes, &[("a", asks(json!({ "cpu": "1" })))], "b");
    check(json!({}), &nodes, &[("a", json!({})), ("b", asks(json!({ "memory": "3Gi" })))], "a");
}

#[test]
fn equal_nodes_are_told_apart_by_pods_and_name() {
    let nodes = [node("b", json!({})), node("a", json!({}))];
    check(json!({}), &nodes, &[], "a");
    let huge = json!({ "status": { "allocatable": { "cpu": "1M", "memory": "1Pi" } } });
    let nodes = [node("a", huge.clone()), node("b", huge)];
    check(json!({}), &nodes, &[("a", json!({}))], "b");
}

#[test]
fn what_does_not_fit_is_named_per_resource() {
    let one = [node("a", json!({ "status": { "allocatable": { "example.com/gpu": "1" } } }))];
    let cases = [
        (json!({ "cpu": "2" }), "a"),
        (json!({ "cpu": "2001m" }), "0/1 nodes are available: 1 Insufficient cpu."),
        (
            json!({ "cpu": "3", "memory": "5Gi" }),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
        ),
        (
            json!({ "ephemeral-storage": "11Gi" }),
            "0/1 nodes are available: 1 Insufficient ephemeral-storage.",
        ),
        (json!({ "example.com/gpu": "1" }), "a"),
        (json!({ "example.com/gpu": "2" }), "0/1 nodes are available: 1 Insufficient example.com/gpu."),
        (json!({ "example.com/tpu": "1" }), "0/1 nodes are available: 1 Insufficient example.com/tpu."),
        (json!({ "example.com/tpu": "0" }), "a"),
    ];
    for (requests, expected) in cases {
        check(asks(requests), &one, &[], expected);
    }
    check(
        asks(json!({ "cpu": "1500m" })),
        &one,
        &[("a", asks(json!({ "cpu": "501m" })))],
        "0/1 nodes are available: 1 Insufficient cpu.",
    );
    check(asks(json!({ "cpu": "1500m" })), &one, &[("a", asks(json!({ "cpu": "500m" })))], "a");
}

#[test]
fn a_node_is_full_by_number_of_pods() {
    let nodes = [node("a", json!({ "status": { "allocatable": { "pods": "1" } } }))];
    check(json!({}), &nodes, &[("a", json!({}))], "0/1 nodes are available: 1 Too many pods.");
}

#[test]
fn reasons_are_counted_and_sorted_as_kube_scheduler_does() {
    let taint =
        |key: &str| json!({ "spec": { "taints": [{ "key": key, "value": "x", "effect": "NoSchedule" }] } });
    let nodes = [
        node("a", taint("first")),
        node("b", taint("first")),
        node("c", json!({ "spec": { "unschedulable": true } })),
        node("d", json!({ "status": { "allocatable": { "cpu": "500m" } } })),
    ];
    check(
        asks(json!({ "cpu": "1" })),
        &nodes,
        &[],
        "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable, \
         2 node(s) had untolerated taint {first: x}.",
    );
}

#[test]
fn taints_keep_away_who_does_not_tolerate_them() {
    let lost = json!({ "spec": { "taints": [
        { "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" },
        { "key": "node.kubernetes.io/unreachable", "effect": "NoSchedule" },
    ] } });
    let nodes = [node("a", lost)];
    let key = "node.kubernetes.io/unreachable";
    let refused =
        "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.";
    check(json!({}), &nodes, &[], refused);
    let default = json!({ "tolerations": [
        { "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }] });
    check(default, &nodes, &[], refused);
    check(json!({ "tolerations": [{ "key": key, "operator": "Exists" }] }), &nodes, &[], "a");
}

#[test]
fn a_cordoned_node_is_left_alone_unless_tolerated() {
    let nodes = [node("a", json!({ "spec": { "unschedulable": true } }))];
    check(json!({}), &nodes, &[], "0/1 nodes are available: 1 node(s) were unschedulable.");
    let daemon = json!({ "tolerations": [
        { "key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule" }] });
    check(daemon, &nodes, &[], "a");
}

#[test]
fn selectors_and_ports_are_checked_before_resources() {
    let nodes = [node("a", json!({})), node("b", json!({ "metadata": { "labels": { "disk": "ssd" } } }))];
    check(json!({ "nodeSelector": { "disk": "ssd" } }), &nodes, &[], "b");
    check(
        json!({ "nodeSelector": { "disk": "tape" } }),
        &nodes,
        &[],
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    );
    let web = json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 80 }] }] });
    check(web.clone(), &nodes, &[("a", web.clone())], "b");
    check(
        web.clone(),
        &nodes,
        &[("a", web.clone()), ("b", web)],
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.",
    );
}

#[test]
fn preferences_outweigh_what_is_left() {
    let nodes = [
        node("a", json!({})),
        node("b", json!({ "metadata": { "labels": { "disk": "ssd" } } })),
        node("c", json!({ "spec": { "taints": [{ "key": "old", "effect": "PreferNoSchedule" }] } })),
    ];
    let prefers = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 1, "preference": { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] } }] } } });
    check(prefers, &nodes, &[("b", asks(json!({ "cpu": "1" })))], "b");
    let busy = asks(json!({ "cpu": "1900m", "memory": "3Gi" }));
    check(json!({}), &nodes, &[("a", busy.clone()), ("b", busy)], "a");
}
