use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::ports::{ImageId, RuntimeCondition};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_211_442 + seconds)
}

fn machine(runtime: &str) -> Machine {
    Machine {
        facts: NodeFacts {
            addresses: vec!["192.0.2.2".parse().expect("v4"), "2001:db8::2".parse().expect("v6")],
            cpu_millis: 2000,
            memory_bytes: 24_684_100 << 10,
            storage_bytes: 264_212_084 << 10,
            operating_system: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..NodeFacts::default()
        },
        usage: None,
        runtime: Some(RuntimeVersion { name: runtime.to_owned(), version: "1.6.20".to_owned() }),
        runtime_status: Ok(RuntimeStatus::default()),
        images: Vec::new(),
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let list = status["conditions"].as_array().expect("conditions");
    list.iter().find(|condition| condition["type"] == kind).expect("the condition")
}

#[test]
fn a_node_registers_as_upstreams_does() {
    let config = EdgedConfig::default();
    let machine = machine("containerd");
    let status = status("edge-1", &config, &machine, &json!({}), at(0));
    let node = object("edge-1", &config, &machine, &status);
    assert_eq!(
        node["metadata"]["labels"],
        json!({"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": "edge-1", "kubernetes.io/os": "linux",
            "node-role.kubernetes.io/agent": "", "node-role.kubernetes.io/edge": ""})
    );
    assert_eq!(node["spec"], json!({}));
    assert_eq!(
        status["capacity"],
        json!({"cpu": "2", "memory": "24684100Ki", "ephemeral-storage": "264212084Ki", "pods": "110"})
    );
    assert_eq!(
        status["allocatable"],
        json!({"cpu": "2", "memory": "24581700Ki", "ephemeral-storage": "243497856615", "pods": "110"})
    );
    assert_eq!(status["nodeInfo"]["containerRuntimeVersion"], "containerd://1.6.20");
    assert_eq!(
        condition(&status, "Ready"),
        &json!({"type": "Ready", "status": "True", "reason": "EdgeReady",
            "message": "edge is posting ready status",
            "lastHeartbeatTime": "2026-11-20T21:50:42Z", "lastTransitionTime": "2026-11-20T21:50:42Z"})
    );
}

#[test]
fn a_hollow_node_says_so_wherever_it_is_looked_at() {
    let config = EdgedConfig::default();
    let machine = machine(crate::hollow::NAME);
    let status = status("edge-1", &config, &machine, &json!({}), at(0));
    let node = object("edge-1", &config, &machine, &status);
    assert_eq!(node["metadata"]["labels"][RUNTIME_MARK], "hollow");
    assert!(node["metadata"]["annotations"][RUNTIME_MARK].as_str().expect("text").contains("no container"));
    assert!(condition(&status, "Ready")["message"].as_str().expect("text").contains("hollow"));
    assert!(status["nodeInfo"]["containerRuntimeVersion"].as_str().expect("text").starts_with("hollow://"));
}

#[test]
fn a_broken_runtime_makes_the_node_not_ready() {
    let config = EdgedConfig::default();
    let mut machine = machine("containerd");
    machine.runtime_status = Ok(RuntimeStatus {
        conditions: vec![RuntimeCondition {
            kind: "NetworkReady".to_owned(),
            holds: false,
            reason: "NetworkPluginNotReady".to_owned(),
            message: "cni config uninitialized".to_owned(),
        }],
    });
    let shown = status("edge-1", &config, &machine, &json!({}), at(0));
    let ready = condition(&shown, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("KubeletNotReady")));
    assert_eq!(
        ready["message"],
        "container network is not ready: NetworkPluginNotReady: cni config uninitialized"
    );
    machine.runtime_status = Err("connection refused".to_owned());
    let shown = status("edge-1", &config, &machine, &json!({}), at(0));
    assert_eq!(condition(&shown, "Ready")["status"], "False");
}

#[test]
fn pressure_follows_the_thresholds() {
    let config = EdgedConfig::default();
    let mut machine = machine("containerd");
    machine.usage = Some(NodeUsage {
        memory_available_bytes: 99 << 20,
        storage_available_bytes: 20,
        storage_bytes: 100,
        inodes_available: 4,
        inodes: 100,
        pids_available: 1,
    });
    let shown = status("edge-1", &config, &machine, &json!({}), at(0));
    assert_eq!(condition(&shown, "MemoryPressure")["status"], "True");
    assert_eq!(condition(&shown, "DiskPressure")["status"], "True");
    assert_eq!(condition(&shown, "PIDPressure")["status"], "False");
}

#[test]
fn a_heartbeat_is_no_difference_but_is_sent() {
    let config = EdgedConfig::default();
    let machine = machine("containerd");
    let before = status("edge-1", &config, &machine, &json!({}), at(0));
    let after = status("edge-1", &config, &machine, &before, at(10));
    assert!(!differs(&before, &after));
    assert_eq!(
        condition(&after, "Ready")["lastTransitionTime"],
        condition(&before, "Ready")["lastTransitionTime"]
    );
    let patch: Value =
        serde_json::from_slice(&status_patch(&before, &after).expect("a patch")).expect("JSON");
    assert_eq!(patch["status"].as_object().expect("an object").keys().collect::<Vec<_>>(), ["conditions"]);
    assert_eq!(status_patch(&after, &after), None);
}

#[test]
fn the_images_of_a_status_are_bounded() {
    let image = |size_bytes: u64| Image {
        id: ImageId::new(size_bytes.to_string()),
        tags: vec![format!("i:{size_bytes}"); 9],
        digests: Vec::new(),
        size_bytes,
        user: None,
        username: String::new(),
    };
    assert_eq!(images(0, &[image(1)]), None);
    let shown = images(2, &[image(1), image(3), image(2)]).expect("a list");
    assert_eq!((&shown[0]["sizeBytes"], &shown[1]["sizeBytes"]), (&json!(3), &json!(2)));
    assert_eq!(shown.as_array().map(Vec::len), Some(2));
    assert_eq!(shown[0]["names"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_lease_is_made_once_and_then_renewed() {
    let first = lease("edge-1", Some("u1"), None, 40, at(0));
    assert_eq!(first["metadata"]["ownerReferences"][0]["uid"], "u1");
    let mut stored = first;
    stored["metadata"]["resourceVersion"] = json!("7");
    let renewed = lease("edge-1", None, Some(&stored), 40, at(10));
    assert_eq!(renewed["metadata"], stored["metadata"]);
    assert_eq!(renewed["spec"]["renewTime"], "2026-11-20T21:50:52.000000Z");
}
