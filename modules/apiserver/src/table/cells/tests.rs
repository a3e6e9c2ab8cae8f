use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::Registry;

fn cells(group: &str, plural: &str, object: &Value) -> Vec<Value> {
    let registry = Registry::builtin();
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = registry.find(group, version, plural).unwrap();
    super::cells(resource, object, Timestamp::from_second(600).unwrap())
}

fn check_pod(pod: &Value, ready: &str, status: &str, restarts: &str) {
    let cells = cells("", "pods", pod);
    assert_eq!(cells[1..4], [json!(ready), json!(status), json!(restarts)], "{pod}");
}

#[test]
fn the_status_of_a_pod_tells_what_its_containers_do() {
    let pod = |status: Value| {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        "status": status})
    };
    check_pod(&pod(json!({"phase": "Pending"})), "0/2", "Pending", "0");
    let running = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    check_pod(
        &pod(json!({"phase": "Running", "containerStatuses": [running, running]})),
        "2/2",
        "Running",
        "0",
    );
    let waiting = |reason: &str| {
        json!({"ready": false, "restartCount": 3, "state": {"waiting": {"reason": reason}},
        "lastState": {"terminated": {"finishedAt": "1970-01-01T00:05:00Z"}}})
    };
    check_pod(
        &pod(json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff"), running]})),
        "1/2",
        "CrashLoopBackOff",
        "3 (5m ago)",
    );
    let ended = |code: i64, reason: &str| json!({"ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason}}});
    check_pod(
        &pod(json!({"phase": "Failed", "containerStatuses": [ended(1, "Error"), ended(0, "Completed")]})),
        "0/2",
        "Error",
        "0",
    );
    check_pod(
        &pod(
            json!({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed"), ended(0, "Completed")]}),
        ),
        "0/2",
        "Completed",
        "0",
    );
    check_pod(
        &pod(json!({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running]})),
        "1/2",
        "NotReady",
        "0",
    );
    check_pod(
        &pod(json!({"phase": "Failed", "containerStatuses": [ended(137, ""), ended(0, "Completed")]})),
        "0/2",
        "ExitCode:137",
        "0",
    );
    check_pod(&pod(json!({"phase": "Failed", "reason": "Evicted"})), "0/2", "Evicted", "0");
    check_pod(
        &pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]})),
        "0/2",
        "SchedulingGated",
        "0",
    );
}

#[test]
fn a_deleted_pod_is_terminating_until_it_ended() {
    let pod = |phase: &str, reason: &str| {
        json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"containers": [{}]}, "status": {"phase": phase, "reason": reason}})
    };
    check_pod(&pod("Running", ""), "0/1", "Terminating", "0");
    check_pod(&pod("Succeeded", ""), "0/1", "Succeeded", "0");
    check_pod(&pod("Running", "NodeLost"), "0/1", "Unknown", "0");
}

#[test]
fn init_containers_come_first() {
    let pod = |statuses: Value| {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}],
        "initContainers": [{"name": "i"}, {"name": "j"}]},
        "status": {"phase": "Pending", "initContainerStatuses": statuses,
        "containerStatuses": [{"restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]}})
    };
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
    check_pod(&pod(json!([{"name": "i", "state": {"running": {}}}])), "0/1", "Init:0/2", "0");
    check_pod(
        &pod(json!([done, {"name": "j", "state": {"waiting": {"reason": "PodInitializing"}}}])),
        "0/1",
        "Init:1/2",
        "0",
    );
    check_pod(
        &pod(
            json!([{"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
        ),
        "0/1",
        "Init:Error",
        "2",
    );
    check_pod(
        &pod(json!([{"name": "i", "state": {"waiting": {"reason": "ImagePullBackOff"}}}])),
        "0/1",
        "Init:ImagePullBackOff",
        "0",
    );
    check_pod(&pod(json!([done, done])), "0/1", "PodInitializing", "0");
}

#[test]
fn sidecars_count_as_containers() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}],
        "initContainers": [{"name": "s", "restartPolicy": "Always"}]}, "status": {"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    check_pod(&pod, "2/2", "Running", "1");
}

#[test]
fn wide_cells_of_pods_follow() {
    let pod = json!({"metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"nodeName": "n", "containers": [{}], "readinessGates": [{"conditionType": "g"}]},
        "status": {"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]}});
    assert_eq!(
        cells("", "pods", &pod)[4..],
        [json!("10m"), json!("1.2.3.4"), json!("n"), json!("<none>"), json!("0/1")]
    );
}

#[test]
fn nodes_show_readiness_roles_and_addresses() {
    let node = json!({"metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:00:00Z",
        "labels": {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": "", "x": "y"}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6", "containerRuntimeVersion": "c://1"}}});
    assert_eq!(
        json!(cells("", "nodes", &node)),
        json!([
            "n",
            "Ready,SchedulingDisabled",
            "agent,edge",
            "10m",
            "v1",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6",
            "c://1"
        ])
    );
    let silent = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    assert_eq!(cells("", "nodes", &silent)[1..4], [json!("NotReady"), json!("<none>"), json!("<unknown>")]);
}

#[test]
fn workloads_show_their_numbers() {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}}},
        "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}});
    assert_eq!(
        json!(cells("apps", "deployments", &deployment)),
        json!(["d", "1/3", 2, 1, "<unknown>", "x,y", "i,j", "a=b"])
    );
    let job = json!({"metadata": {"name": "j"}, "spec": {"completions": 2}, "status": {"succeeded": 1,
        "startTime": "1970-01-01T00:00:00Z", "conditions": [{"type": "Failed", "status": "True"}]}});
    assert_eq!(json!(cells("batch", "jobs", &job)[..4]), json!(["j", "Failed", "1/2", "10m"]));
    let cron = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "suspend": false}, "status": {"active": [{}]}});
    assert_eq!(
        json!(cells("batch", "cronjobs", &cron)[1..6]),
        json!(["* * * * *", "<none>", "False", 1, "<none>"])
    );
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "maxReplicas": 5, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}});
    assert_eq!(
        json!(cells("autoscaling", "horizontalpodautoscalers", &scaler)[1..6]),
        json!(["Deployment/d", "cpu: <unknown>/80%", "<unset>", "5", "0"])
    );
}

#[test]
fn services_show_their_addresses_and_ports() {
    let service = |kind: &str, more: Value| {
        let mut service = json!({"metadata": {"name": "s"}, "spec": {"type": kind, "clusterIP": "10.0.0.1",
            "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "nodePort": 30001, "protocol": "TCP"}]}});
        service["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cells("", "services", &service)
    };
    assert_eq!(
        json!(service("ClusterIP", json!({}))[1..5]),
        json!(["ClusterIP", "10.0.0.1", "<none>", "80/TCP,443:30001/TCP"])
    );
    assert_eq!(service("LoadBalancer", json!({}))[3], "<pending>");
    assert_eq!(service("ExternalName", json!({"externalName": "x.y"}))[3], "x.y");
    assert_eq!(service("ClusterIP", json!({"externalIPs": ["1.1.1.1", "2.2.2.2"]}))[3], "1.1.1.1,2.2.2.2");
}

#[test]
fn events_show_when_what_and_where() {
    let event = json!({"metadata": {"name": "e"}, "firstTimestamp": "1970-01-01T00:00:00Z",
        "lastTimestamp": "1970-01-01T00:09:00Z", "count": 4, "type": "Warning", "reason": "BackOff",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
        "source": {"component": "kubelet", "host": "n"}, "message": "it failed\n"});
    assert_eq!(
        json!(cells("", "events", &event)),
        json!([
            "60s",
            "Warning",
            "BackOff",
            "pod/p",
            "spec.containers{a}",
            "kubelet, n",
            "it failed",
            "10m",
            4,
            "e"
        ])
    );
    let newer = json!({"metadata": {"name": "e"}, "eventTime": "1970-01-01T00:08:00.000000Z", "regarding": {"kind": "Node"},
        "reportingController": "c", "note": "n"});
    assert_eq!(
        json!(cells("events.k8s.io", "events", &newer)),
        json!(["2m", "", "", "node", "", "c", "n", "2m", 1, "e"])
    );
}

#[test]
fn endpoints_are_listed_up_to_three() {
    let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"ports": [{"port": 80}, {"port": 443}],
        "addresses": [{"ip": "1"}, {"ip": "2"}]}]});
    assert_eq!(cells("", "endpoints", &endpoints)[1], "1:80,1:443,2:80 + 1 more...");
    assert_eq!(cells("", "endpoints", &json!({}))[1], "<none>");
}

#[test]
fn claims_show_their_volume_once_bound() {
    let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}});
    assert_eq!(
        json!(cells("", "persistentvolumeclaims", &claim)),
        json!(["c", "Bound", "v", "1Gi", "RWO,ROX", "fast", "<unset>", "<unknown>", "Filesystem"])
    );
}
