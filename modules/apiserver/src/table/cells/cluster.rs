//! Nodes, volumes, roles and other things of the whole cluster.

use serde_json::Value;

use super::{NONE, Row, UNSET, text};
use crate::table::age::human;

const UNKNOWN: &str = "<unknown>";

pub(super) fn node(row: &Row<'_>) -> Vec<Value> {
    let address = |kind: &str| {
        row.items("/status/addresses")
            .iter()
            .find(|address| text(address, "type") == kind)
            .map_or(NONE, |address| text(address, "address"))
    };
    let mut cells = row.with_age(vec![Value::from(node_status(row)), Value::from(roles(row))]);
    cells.extend([
        row.value("/status/nodeInfo/kubeletVersion", ""),
        Value::from(address("InternalIP")),
        Value::from(address("ExternalIP")),
        row.value("/status/nodeInfo/osImage", UNKNOWN),
        row.value("/status/nodeInfo/kernelVersion", UNKNOWN),
        row.value("/status/nodeInfo/containerRuntimeVersion", UNKNOWN),
    ]);
    cells
}

fn node_status(row: &Row<'_>) -> String {
    let ready = row.items("/status/conditions").iter().find(|condition| text(condition, "type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.is_true("/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(row: &Row<'_>) -> String {
    let mut roles: Vec<&str> = row
        .at("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

pub(super) fn component_status(row: &Row<'_>) -> Vec<Value> {
    let healthy = row.items("/conditions").iter().find(|condition| text(condition, "type") == "Healthy");
    let (status, message, error) = match healthy {
        Some(condition) => {
            let status = if text(condition, "status") == "True" { "Healthy" } else { "Unhealthy" };
            (status, text(condition, "message"), text(condition, "error"))
        }
        None => ("Unknown", "", ""),
    };
    vec![row.name(), Value::from(status), Value::from(message), Value::from(error)]
}

fn access_modes(modes: &[Value]) -> String {
    let modes: Vec<&str> = modes
        .iter()
        .filter_map(|mode| match mode.as_str()? {
            "ReadWriteOnce" => Some("RWO"),
            "ReadOnlyMany" => Some("ROX"),
            "ReadWriteMany" => Some("RWX"),
            "ReadWriteOncePod" => Some("RWOP"),
            _ => None,
        })
        .collect();
    modes.join(",")
}

pub(super) fn claim(row: &Row<'_>) -> Vec<Value> {
    let phase = if row.is_deleting() { Value::from("Terminating") } else { row.value("/status/phase", "") };
    let bound = !row.text("/spec/volumeName").is_empty();
    let when_bound = |text: String| Value::from(if bound { text } else { String::new() });
    let mut cells = row.with_age(vec![
        phase,
        row.value("/spec/volumeName", ""),
        when_bound(row.text("/status/capacity/storage").to_owned()),
        when_bound(access_modes(row.items("/status/accessModes"))),
        row.value("/spec/storageClassName", ""),
        row.value("/spec/volumeAttributesClassName", UNSET),
    ]);
    cells.push(row.value("/spec/volumeMode", UNSET));
    cells
}

pub(super) fn volume(row: &Row<'_>) -> Vec<Value> {
    let phase = if row.is_deleting() { Value::from("Terminating") } else { row.value("/status/phase", "") };
    let claim = match row.at("/spec/claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        None => String::new(),
    };
    let mut cells = row.with_age(vec![
        row.value("/spec/capacity/storage", ""),
        Value::from(access_modes(row.items("/spec/accessModes"))),
        row.value("/spec/persistentVolumeReclaimPolicy", ""),
        phase,
        Value::from(claim),
        row.value("/spec/storageClassName", ""),
        row.value("/spec/volumeAttributesClassName", UNSET),
        row.value("/status/reason", ""),
    ]);
    cells.push(row.value("/spec/volumeMode", UNSET));
    cells
}

pub(super) fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let duration = match row.at("/spec/expirationSeconds").and_then(Value::as_i64) {
        Some(seconds) => human(seconds),
        None => NONE.to_owned(),
    };
    let has =
        |kind: &str| row.items("/status/conditions").iter().any(|condition| text(condition, "type") == kind);
    let mut states: Vec<&str> = Vec::new();
    if has("Denied") {
        states.push("Denied");
    } else if has("Approved") {
        states.push("Approved");
    } else {
        states.push("Pending");
    }
    if has("Failed") {
        states.push("Failed");
    }
    if !row.text("/status/certificate").is_empty() {
        states.push("Issued");
    }
    vec![
        row.name(),
        row.age(),
        row.value("/spec/signerName", NONE),
        row.value("/spec/username", ""),
        Value::from(duration),
        Value::from(states.join(",")),
    ]
}

pub(super) fn role_binding(row: &Row<'_>) -> Vec<Value> {
    let role = format!("{}/{}", row.text("/roleRef/kind"), row.text("/roleRef/name"));
    let mut cells = row.with_age(vec![Value::from(role)]);
    for kind in ["User", "Group", "ServiceAccount"] {
        let names: Vec<String> = row
            .items("/subjects")
            .iter()
            .filter(|subject| text(subject, "kind") == kind)
            .map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", text(subject, "namespace"), text(subject, "name")),
                _ => text(subject, "name").to_owned(),
            })
            .collect();
        cells.push(Value::from(names.join(", ")));
    }
    cells
}

pub(super) fn csi_driver(row: &Row<'_>) -> Vec<Value> {
    let join = |items: &[Value], pick: &dyn Fn(&Value) -> String, empty: &str| {
        if items.is_empty() { empty.to_owned() } else { items.iter().map(pick).collect::<Vec<_>>().join(",") }
    };
    let tokens = join(row.items("/spec/tokenRequests"), &|token| text(token, "audience").to_owned(), UNSET);
    let modes = join(
        row.items("/spec/volumeLifecycleModes"),
        &|mode| mode.as_str().unwrap_or_default().to_owned(),
        NONE,
    );
    let required = |pointer: &str| row.at(pointer).and_then(Value::as_bool).unwrap_or(true);
    row.with_age(vec![
        Value::from(required("/spec/attachRequired")),
        Value::from(row.is_true("/spec/podInfoOnMount")),
        Value::from(row.is_true("/spec/storageCapacity")),
        Value::from(tokens),
        Value::from(row.is_true("/spec/requiresRepublish")),
        Value::from(modes),
    ])
}

pub(super) fn storage_class(row: &Row<'_>) -> Vec<Value> {
    let default = row.at("/metadata/annotations").is_some_and(|annotations| {
        text(annotations, "storageclass.kubernetes.io/is-default-class") == "true"
    });
    let mut cells = row.with_age(vec![
        row.value("/provisioner", ""),
        row.value("/reclaimPolicy", "Delete"),
        row.value("/volumeBindingMode", "Immediate"),
        Value::from(row.is_true("/allowVolumeExpansion")),
    ]);
    if default {
        cells[0] = Value::from(format!("{} (default)", super::name(row.object)));
    }
    cells
}

pub(super) fn attachment(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![
        row.value("/spec/attacher", ""),
        row.value("/spec/source/persistentVolumeName", ""),
        row.value("/spec/nodeName", ""),
        Value::from(row.is_true("/status/attached")),
    ])
}

pub(super) fn admission_policy(row: &Row<'_>) -> Vec<Value> {
    let kind = match row.at("/spec/paramKind") {
        Some(kind) => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")),
        None => UNSET.to_owned(),
    };
    row.with_age(vec![row.count("/spec/validations"), Value::from(kind)])
}

pub(super) fn admission_binding(row: &Row<'_>) -> Vec<Value> {
    let reference = match row.at("/spec/paramRef") {
        Some(reference) => match text(reference, "namespace") {
            "" => text(reference, "name").to_owned(),
            namespace => format!("{namespace}/{}", text(reference, "name")),
        },
        None => UNSET.to_owned(),
    };
    row.with_age(vec![row.value("/spec/policyName", ""), Value::from(reference)])
}

pub(super) fn priority_class(row: &Row<'_>) -> Vec<Value> {
    let mut cells =
        row.with_age(vec![Value::from(row.number("/value")), Value::from(row.is_true("/globalDefault"))]);
    cells.push(row.value("/preemptionPolicy", "PreemptLowerPriority"));
    cells
}
