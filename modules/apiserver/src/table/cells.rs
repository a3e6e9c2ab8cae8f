//! The cells of built-in resources, worded as kubectl users know them.

mod cluster;
mod core;
mod network;
mod pods;
mod workloads;

use jiff::Timestamp;
use serde_json::Value;

use super::age::since;
use crate::registry::Resource;

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

/// Returns the cells of one object, in the order of its resource's columns.
pub(super) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let row = Row { object, now };
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pods::pod(&row),
        ("", "nodes") => cluster::node(&row),
        ("", "events") => core::event(&row, false),
        ("events.k8s.io", "events") => core::event(&row, true),
        ("", "componentstatuses") => cluster::component_status(&row),
        ("", "configmaps") => core::config_map(&row),
        ("", "endpoints") => network::endpoints(&row),
        ("", "namespaces") => core::namespace(&row),
        ("", "persistentvolumeclaims") => cluster::claim(&row),
        ("", "persistentvolumes") => cluster::volume(&row),
        ("", "podtemplates") => workloads::pod_template(&row),
        ("", "replicationcontrollers") => workloads::replicas(&row, true),
        ("", "resourcequotas") => core::quota(&row),
        ("", "secrets") => core::secret(&row),
        ("", "serviceaccounts") => core::service_account(&row),
        ("", "services") => network::service(&row),
        ("apps", "controllerrevisions") => workloads::controller_revision(&row),
        ("apps", "daemonsets") => workloads::daemon_set(&row),
        ("apps", "deployments") => workloads::deployment(&row),
        ("apps", "replicasets") => workloads::replicas(&row, false),
        ("apps", "statefulsets") => workloads::stateful_set(&row),
        ("autoscaling", _) => workloads::autoscaler(&row),
        ("batch", "cronjobs") => workloads::cron_job(&row),
        ("batch", "jobs") => workloads::job(&row),
        ("certificates.k8s.io", _) => cluster::signing_request(&row),
        ("networking.k8s.io", "ingressclasses") => network::ingress_class(&row),
        ("networking.k8s.io", "ingresses") => network::ingress(&row),
        ("networking.k8s.io", "networkpolicies") => network::policy(&row),
        ("policy", "poddisruptionbudgets") => workloads::disruption_budget(&row),
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings") => cluster::role_binding(&row),
        ("storage.k8s.io", "csidrivers") => cluster::csi_driver(&row),
        ("storage.k8s.io", "csinodes") => row.with_age(vec![row.count("/spec/drivers")]),
        ("storage.k8s.io", "storageclasses") => cluster::storage_class(&row),
        ("storage.k8s.io", "volumeattachments") => cluster::attachment(&row),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => row.with_age(vec![row.count("/webhooks")]),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => cluster::admission_policy(&row),
        ("admissionregistration.k8s.io", _) => cluster::admission_binding(&row),
        ("scheduling.k8s.io", _) => cluster::priority_class(&row),
        ("coordination.k8s.io", _) => row.with_age(vec![row.value("/spec/holderIdentity", "")]),
        ("node.k8s.io", _) => row.with_age(vec![row.value("/handler", "")]),
        ("discovery.k8s.io", _) => network::endpoint_slice(&row),
        _ => vec![row.name(), row.value("/metadata/creationTimestamp", "<unknown>")],
    }
}

/// Returns the name of an object.
pub(super) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// An object on its way to become cells.
struct Row<'a> {
    object: &'a Value,
    now: Timestamp,
}

impl<'a> Row<'a> {
    fn name(&self) -> Value {
        Value::from(name(self.object))
    }

    fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.object.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> i64 {
        self.at(pointer).and_then(Value::as_i64).unwrap_or(0)
    }

    fn is_true(&self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    fn items(&self, pointer: &str) -> &'a [Value] {
        self.at(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Returns a text, or another one in place of an empty one.
    fn value(&self, pointer: &str, empty: &str) -> Value {
        let text = self.text(pointer);
        Value::from(if text.is_empty() { empty } else { text })
    }

    /// Returns how many parts something has.
    fn count(&self, pointer: &str) -> Value {
        Value::from(self.size(pointer))
    }

    fn size(&self, pointer: &str) -> usize {
        match self.at(pointer) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        }
    }

    fn since(&self, pointer: &str) -> String {
        since(self.at(pointer), self.now)
    }

    fn age(&self) -> Value {
        Value::from(self.since("/metadata/creationTimestamp"))
    }

    /// Puts the name before and the age after some cells.
    fn with_age(&self, mut cells: Vec<Value>) -> Vec<Value> {
        cells.insert(0, self.name());
        cells.push(self.age());
        cells
    }

    fn is_deleting(&self) -> bool {
        self.at("/metadata/deletionTimestamp").is_some()
    }

    /// Returns the names and the images of a pod template's containers.
    fn containers(&self, pointer: &str) -> [Value; 2] {
        let containers = self.items(pointer);
        let joined = |key: &str| {
            Value::from(containers.iter().map(|container| text(container, key)).collect::<Vec<_>>().join(","))
        };
        [joined("name"), joined("image")]
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Writes labels as `a=b,c=d`.
fn labels(value: Option<&Value>) -> String {
    match value.and_then(Value::as_object) {
        Some(labels) if !labels.is_empty() => labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(","),
        _ => NONE.to_owned(),
    }
}

/// Writes a label selector as text.
fn selector(value: Option<&Value>) -> String {
    let text = value.map(crate::registry::selector_text).unwrap_or_default();
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// Joins at most `max` texts and says how many more there are.
fn joined(texts: &[String], max: usize, separator: &str) -> String {
    if texts.len() <= max {
        return texts.join(",");
    }
    format!(
        "{}{separator}{} more...",
        texts.iter().take(max).cloned().collect::<Vec<_>>().join(","),
        texts.len() - max
    )
}

#[cfg(test)]
mod tests;
