//! The node as the API shows it: its object, its status, its lease.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::config::{EdgedConfig, Threshold};
use crate::patch;
use crate::ports::{Image, NodeFacts, NodeUsage, RuntimeStatus, RuntimeVersion};
use crate::quantity::{format_bytes, format_cpu, parse_milli, parse_units};
use crate::time::{rfc3339, rfc3339_micro};

/// The version that a node reports: the Kubernetes release whose kubelet it stands for, then ours.
pub const KUBELET_VERSION: &str = concat!("v1.32.10-kubeedge-beehive-v", env!("CARGO_PKG_VERSION"));

/// The label and annotation by which a node that runs nothing real is known.
pub const RUNTIME_MARK: &str = "beehive.io/runtime";

/// The namespace of node leases.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What is known of the machine and its runtime at one moment.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The machine.
    pub facts: NodeFacts,
    /// What is left of it; `None` if that could not be told.
    pub usage: Option<NodeUsage>,
    /// The runtime; `None` while it cannot be reached.
    pub runtime: Option<RuntimeVersion>,
    /// Whether the runtime works, or why that cannot be told.
    pub runtime_status: Result<RuntimeStatus, String>,
    /// The images that the runtime has.
    pub images: Vec<Image>,
}

/// What the node can give, and what of it pods may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocatable {
    /// CPU in thousandths.
    pub cpu_millis: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Storage.
    pub storage_bytes: u64,
}

/// Returns what pods may use.
#[must_use]
pub fn allocatable(config: &EdgedConfig, facts: &NodeFacts) -> Allocatable {
    let kubelet = &config.tailored_kubelet_config;
    let reserved = |resource: &str, milli: bool| -> u64 {
        let amount = |map: &BTreeMap<String, String>| {
            let text = map.get(resource)?;
            let value = if milli { parse_milli(text)? } else { i128::from(parse_units(text)?) };
            u64::try_from(value).ok()
        };
        amount(&kubelet.system_reserved).unwrap_or(0) + amount(&kubelet.kube_reserved).unwrap_or(0)
    };
    let kept = |signal: &str, total: u64| {
        let text = kubelet.eviction_hard.get(signal);
        text.and_then(|text| Threshold::parse(text)).map_or(0, |threshold| threshold.of(total))
    };
    let memory = reserved("memory", false) + kept("memory.available", facts.memory_bytes);
    let storage = reserved("ephemeral-storage", false) + kept("nodefs.available", facts.storage_bytes);
    Allocatable {
        cpu_millis: facts.cpu_millis.saturating_sub(reserved("cpu", true)),
        memory_bytes: facts.memory_bytes.saturating_sub(memory),
        storage_bytes: facts.storage_bytes.saturating_sub(storage),
    }
}

/// Returns the node's addresses: the configured one first.
#[must_use]
pub fn addresses(config: &EdgedConfig, facts: &NodeFacts) -> Vec<IpAddr> {
    match config.node_ip.parse::<IpAddr>() {
        Ok(own) => vec![own],
        Err(_) => {
            // One address of each family, as a dual-stack node has.
            let first = facts.addresses.first().copied();
            let other = first.and_then(|first| {
                facts.addresses.iter().copied().find(|address| address.is_ipv4() != first.is_ipv4())
            });
            first.into_iter().chain(other).collect()
        }
    }
}

/// Makes the node's labels, which are kept up after registration too.
#[must_use]
pub fn labels(name: &str, config: &EdgedConfig, facts: &NodeFacts, hollow: bool) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("beta.kubernetes.io/arch", facts.architecture.as_str()),
        ("beta.kubernetes.io/os", facts.operating_system.as_str()),
        ("kubernetes.io/arch", facts.architecture.as_str()),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", facts.operating_system.as_str()),
        ("node-role.kubernetes.io/agent", ""),
        ("node-role.kubernetes.io/edge", ""),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if hollow {
        labels.insert(RUNTIME_MARK.to_owned(), "hollow".to_owned());
    }
    labels.extend(config.node_labels.clone());
    labels
}

/// Makes the node's object.
#[must_use]
pub fn object(name: &str, config: &EdgedConfig, machine: &Machine, status: &Value) -> Value {
    let hollow = is_hollow(machine);
    let mut annotations = Map::new();
    annotations.insert("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), json!("true"));
    if hollow {
        annotations.insert(RUNTIME_MARK.to_owned(), json!(HOLLOW_MESSAGE));
    }
    let taints: Vec<Value> = config
        .tailored_kubelet_config
        .register_with_taints
        .iter()
        .map(|taint| json!({ "key": taint.key, "value": taint.value, "effect": taint.effect }))
        .collect();
    let mut spec = Map::new();
    if !taints.is_empty() {
        spec.insert("taints".to_owned(), Value::Array(taints));
    }
    if !config.register_schedulable {
        spec.insert("unschedulable".to_owned(), json!(true));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels(name, config, &machine.facts, hollow),
            "annotations": annotations,
        },
        "spec": spec,
        "status": status,
    })
}

/// Tells whether the runtime is the one that runs nothing.
#[must_use]
pub fn is_hollow(machine: &Machine) -> bool {
    machine.runtime.as_ref().is_some_and(|runtime| runtime.name == crate::hollow::NAME)
}

const HOLLOW_MESSAGE: &str = "pods run on the hollow runtime: no container on this node is real";

/// Makes the node's status.
#[must_use]
pub fn status(name: &str, config: &EdgedConfig, machine: &Machine, before: &Value, now: SystemTime) -> Value {
    let facts = &machine.facts;
    let kubelet = &config.tailored_kubelet_config;
    let usable = allocatable(config, facts);
    let capacity = json!({
        "cpu": format_cpu(facts.cpu_millis),
        "memory": format_bytes(facts.memory_bytes),
        "ephemeral-storage": format_bytes(facts.storage_bytes),
        "pods": kubelet.max_pods.to_string(),
    });
    let allocatable = json!({
        "cpu": format_cpu(usable.cpu_millis),
        "memory": format_bytes(usable.memory_bytes),
        "ephemeral-storage": usable.storage_bytes.to_string(),
        "pods": kubelet.max_pods.to_string(),
    });
    let mut addresses: Vec<Value> = addresses(config, facts)
        .into_iter()
        .map(|address| json!({ "type": "InternalIP", "address": address.to_string() }))
        .collect();
    addresses.push(json!({ "type": "Hostname", "address": name }));
    let mut status = json!({
        "capacity": capacity,
        "allocatable": allocatable,
        "conditions": conditions(config, machine, before, now),
        "addresses": addresses,
        "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet.read_only_port } },
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.system_uuid,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel_version,
            "osImage": facts.os_image,
            "containerRuntimeVersion":
                machine.runtime.as_ref().map_or_else(|| "unknown://".to_owned(), ToString::to_string),
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": facts.operating_system,
            "architecture": facts.architecture,
        },
    });
    if let Some(images) = images(kubelet.node_status_max_images, &machine.images) {
        status["images"] = images;
    }
    status
}

fn images(max: i64, images: &[Image]) -> Option<Value> {
    /// How many names of one image are shown, as kubelet bounds them.
    const NAMES_MAX: usize = 5;
    let max = if max < 0 { usize::MAX } else { usize::try_from(max).unwrap_or(0) };
    if max == 0 {
        return None;
    }
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by(|a, b| (b.size_bytes, &a.id).cmp(&(a.size_bytes, &b.id)));
    let list = images.into_iter().take(max).map(|image| {
        let names: Vec<&String> = image.digests.iter().chain(&image.tags).take(NAMES_MAX).collect();
        json!({ "names": names, "sizeBytes": image.size_bytes })
    });
    Some(Value::Array(list.collect()))
}

struct Condition {
    kind: &'static str,
    holds: bool,
    reason: String,
    message: String,
}

fn conditions(config: &EdgedConfig, machine: &Machine, before: &Value, now: SystemTime) -> Vec<Value> {
    let held = before.get("conditions").and_then(Value::as_array);
    pressures(config, machine)
        .into_iter()
        .chain([readiness(machine)])
        .map(|condition| {
            let status = if condition.holds { "True" } else { "False" };
            let same = held
                .into_iter()
                .flatten()
                .find(|held| held["type"] == condition.kind && held["status"] == status)
                .and_then(|held| held["lastTransitionTime"].as_str());
            json!({
                "type": condition.kind,
                "status": status,
                "lastHeartbeatTime": rfc3339(now),
                "lastTransitionTime": same.map_or_else(|| rfc3339(now), ToOwned::to_owned),
                "reason": condition.reason,
                "message": condition.message,
            })
        })
        .collect()
}

fn pressures(config: &EdgedConfig, machine: &Machine) -> [Condition; 3] {
    let eviction = &config.tailored_kubelet_config.eviction_hard;
    let short = |signal: &str, left: u64, total: u64| {
        let threshold = eviction.get(signal).and_then(|text| Threshold::parse(text));
        threshold.is_some_and(|threshold| left < threshold.of(total))
    };
    let usage = machine.usage.as_ref();
    let memory = usage
        .is_some_and(|u| short("memory.available", u.memory_available_bytes, machine.facts.memory_bytes));
    let disk = usage.is_some_and(|u| {
        short("nodefs.available", u.storage_available_bytes, u.storage_bytes)
            || (u.inodes > 0 && short("nodefs.inodesFree", u.inodes_available, u.inodes))
    });
    let pids = usage.is_some_and(|u| u.pids_available == 0);
    let make = |kind, holds, reasons: [&str; 2], messages: [&str; 2]| Condition {
        kind,
        holds,
        reason: reasons[usize::from(holds)].to_owned(),
        message: messages[usize::from(holds)].to_owned(),
    };
    [
        make(
            "MemoryPressure",
            memory,
            ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
            ["kubelet has sufficient memory available", "kubelet has insufficient memory available"],
        ),
        make(
            "DiskPressure",
            disk,
            ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
            ["kubelet has no disk pressure", "kubelet has disk pressure"],
        ),
        make(
            "PIDPressure",
            pids,
            ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
            ["kubelet has sufficient PID available", "kubelet has insufficient PID available"],
        ),
    ]
}

fn readiness(machine: &Machine) -> Condition {
    let problem = match &machine.runtime_status {
        Err(why) => Some(format!("container runtime status check may not have completed yet: {why}")),
        Ok(status) => {
            let broken: Vec<String> = status
                .conditions
                .iter()
                .filter(|c| !c.holds && ["RuntimeReady", "NetworkReady"].contains(&c.kind.as_str()))
                .map(|c| {
                    let part = if c.kind == "NetworkReady" { "network" } else { "runtime" };
                    format!("container {part} is not ready: {}: {}", c.reason, c.message)
                })
                .collect();
            (!broken.is_empty()).then(|| broken.join(", "))
        }
    };
    let (holds, reason, message) = match problem {
        Some(message) => (false, "KubeletNotReady", message),
        None if is_hollow(machine) => {
            (true, "EdgeReady", format!("edge is posting ready status; {HOLLOW_MESSAGE}"))
        }
        None => (true, "EdgeReady", "edge is posting ready status".to_owned()),
    };
    Condition { kind: "Ready", holds, reason: reason.to_owned(), message }
}

/// Tells whether two statuses differ in more than their heartbeats.
#[must_use]
pub fn differs(a: &Value, b: &Value) -> bool {
    let strip = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastHeartbeatTime"] = Value::Null;
        }
        status
    };
    strip(a) != strip(b)
}

/// What is known of a status of which is not known what it is: that it may have addresses.
#[must_use]
pub fn doubted_status() -> Value {
    json!({ "addresses": null })
}

/// Makes the patch that brings the node's status from `known` to `wanted`.
#[must_use]
pub fn status_patch(known: &Value, wanted: &Value) -> Option<Bytes> {
    let mut status = Map::new();
    for (field, after) in wanted.as_object().into_iter().flatten() {
        let before = known.get(field);
        let change = match field.as_str() {
            "conditions" => patch::conditions(before, Some(after)),
            "addresses" if before != Some(after) => Some(addresses_patch(before, after)),
            _ => (before != Some(after)).then(|| after.clone()),
        };
        if let Some(change) = change {
            status.insert(field.clone(), change);
        }
    }
    (!status.is_empty()).then(|| Bytes::from(json!({ "status": status }).to_string()))
}

/// Addresses are merged by type, so that two of one type need the list replaced as a whole.
fn addresses_patch(before: Option<&Value>, after: &Value) -> Value {
    let list = after.as_array().map(Vec::as_slice).unwrap_or_default();
    if before.is_some() { patch::replacing(list) } else { Value::Array(list.to_vec()) }
}

/// Makes the node's lease, renewed now, of what is known of it.
#[must_use]
pub fn lease(
    name: &str,
    node_uid: Option<&str>,
    known: Option<&Value>,
    duration_s: u32,
    now: SystemTime,
) -> Value {
    let mut lease = known.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "namespace": LEASE_NAMESPACE },
            "spec": {},
        })
    });
    if let Some(uid) = node_uid {
        lease["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }]);
    }
    lease["spec"]["holderIdentity"] = json!(name);
    lease["spec"]["leaseDurationSeconds"] = json!(duration_s);
    lease["spec"]["renewTime"] = json!(rfc3339_micro(now));
    lease
}

#[cfg(test)]
mod tests;
