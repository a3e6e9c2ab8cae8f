//! What objects may say.

mod config;
mod definition;
mod metadata;
mod names;
mod network;
mod pods;
mod storage;
mod structural;
mod workloads;

use serde_json::Value;

use super::error::{FieldError, FieldErrors};
use crate::registry::{Registry, Resource};

/// Checks an object; without an old one this is a create.
#[must_use]
pub fn validate(
    _registry: &Registry,
    resource: &Resource,
    old: Option<&Value>,
    new: &Value,
    subresource: &str,
) -> FieldErrors {
    let mut check = Check { new, old, errors: FieldErrors::default() };
    metadata::check(resource, &mut check);
    if let Some(custom) = &resource.custom {
        structural::check(&custom.schema, &mut check);
        return check.errors;
    }
    match subresource {
        "" => specific(resource, &mut check),
        "ephemeralcontainers" => pods::ephemeral(&mut check),
        _ => {}
    }
    check.errors
}

fn specific(resource: &Resource, check: &mut Check<'_>) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pods::pod(check),
        ("", "podtemplates") => pods::template(check, "template"),
        ("", "configmaps") => config::config_map(check),
        ("", "secrets") => config::secret(check),
        ("", "services") => network::service(check),
        ("", "events") => config::event(check),
        ("", "resourcequotas") => config::quota(check),
        ("", "persistentvolumeclaims") => storage::claim(check),
        ("", "persistentvolumes") => storage::volume(check),
        ("", "replicationcontrollers") => workloads::replication_controller(check),
        ("apps", "deployments") => workloads::deployment(check),
        ("apps", "replicasets") => workloads::replica_set(check),
        ("apps", "statefulsets") => workloads::stateful_set(check),
        ("apps", "daemonsets") => workloads::daemon_set(check),
        ("batch", "jobs") => workloads::job(check),
        ("batch", "cronjobs") => workloads::cron_job(check),
        ("autoscaling", _) => workloads::autoscaler(check),
        ("policy", "poddisruptionbudgets") => workloads::disruption_budget(check),
        ("coordination.k8s.io", _) => config::lease(check),
        ("discovery.k8s.io", _) => network::endpoint_slice(check),
        ("networking.k8s.io", "ingresses") => network::ingress(check),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => config::role(check),
        ("rbac.authorization.k8s.io", _) => config::role_binding(check),
        ("storage.k8s.io", "storageclasses") => storage::class(check),
        ("scheduling.k8s.io", _) => config::priority_class(check),
        ("node.k8s.io", _) => config::runtime_class(check),
        ("apiextensions.k8s.io", _) => definition::check(check),
        _ => {}
    }
}

/// Returns what the writer should be told although the object is stored.
#[must_use]
pub fn warnings(registry: &Registry, resource: &Resource, object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(deprecation) = resource.custom.as_ref().and_then(|custom| custom.deprecation.clone()) {
        warnings.push(deprecation);
    }
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        warnings.extend(registry.clone().upsert_crd(object).unwrap_or_default());
    }
    warnings
}

/// An object under inspection.
struct Check<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
    errors: FieldErrors,
}

impl<'a> Check<'a> {
    fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.new.pointer(pointer).filter(|value| !value.is_null())
    }

    fn was(&self, pointer: &str) -> Option<&'a Value> {
        self.old?.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn push(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Requires a text that is not empty.
    fn require(&mut self, pointer: &str) {
        if self.at(pointer).is_none_or(|value| value.as_str() == Some("")) {
            self.push(FieldError::required(field(pointer), ""));
        }
    }

    /// Requires a text to be one of the known ones.
    fn one_of(&mut self, pointer: &str, known: &[&str]) {
        match self.at(pointer) {
            None => self.push(FieldError::required(field(pointer), "")),
            Some(value) if value.as_str().is_some_and(|text| known.contains(&text)) => {}
            Some(value) => self.push(FieldError::not_supported(field(pointer), value, known)),
        }
    }

    /// Requires a number not to be negative.
    fn not_negative(&mut self, pointer: &str) {
        if let Some(value) = self.at(pointer)
            && value.as_i64().is_some_and(|number| number < 0)
        {
            self.push(FieldError::invalid(field(pointer), value, "must be greater than or equal to 0"));
        }
    }

    /// Requires a value to be as it was before.
    fn immutable(&mut self, pointer: &str) {
        if self.old.is_some() && self.at(pointer) != self.was(pointer) {
            let value = self.at(pointer).cloned().unwrap_or(Value::Null);
            self.push(FieldError::invalid(field(pointer), &value, "field is immutable"));
        }
    }
}

/// Writes a pointer as field paths are written.
fn field(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
