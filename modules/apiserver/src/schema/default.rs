//! What the server fills in.

mod network;
mod pods;
mod small;
mod structural;
mod workloads;

use serde_json::Value;

use super::edit::Object;
use super::quantity::Quantity;
use super::types::{Field, Scalar, Shape, Types};
use crate::registry::{Registry, Resource};

/// Fills in what the object leaves out, as a real server does; doing it again changes nothing.
pub fn default(registry: &Registry, resource: &Resource, object: &mut Value) {
    if let Some(custom) = &resource.custom {
        structural::fill(&custom.schema, object);
        return;
    }
    canonical(registry.types(), &resource.shape, object);
    let Value::Object(object) = object else { return };
    fill(&resource.group, &resource.version, &resource.plural, object);
}

fn fill(group: &str, version: &str, plural: &str, object: &mut Object) {
    match (group, plural) {
        ("", "pods") => pods::pod(object),
        ("", "podtemplates") => pods::template(object, "template"),
        ("", "replicationcontrollers") => workloads::replication_controller(object),
        ("apps", "replicasets") => workloads::replica_set(object),
        ("apps", "deployments") => workloads::deployment(object),
        ("apps", "statefulsets") => workloads::stateful_set(object),
        ("apps", "daemonsets") => workloads::daemon_set(object),
        ("batch", "jobs") => workloads::job(object),
        ("batch", "cronjobs") => workloads::cron_job(object),
        ("autoscaling", "horizontalpodautoscalers") => workloads::autoscaler(object, version),
        ("", "services") => network::service(object),
        ("", "endpoints") => network::endpoints(object),
        ("discovery.k8s.io", "endpointslices") => network::endpoint_slice(object),
        ("networking.k8s.io", "networkpolicies") => network::policy(object),
        ("", "secrets") => small::secret(object),
        ("", "namespaces") => small::namespace(object),
        ("", "nodes") => small::node(object),
        ("", "persistentvolumeclaims") => small::claim(object),
        ("", "persistentvolumes") => small::volume(object),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => small::role_binding(object),
        ("storage.k8s.io", "storageclasses") => small::storage_class(object),
        ("storage.k8s.io", "csidrivers") => small::csi_driver(object),
        ("scheduling.k8s.io", "priorityclasses") => small::priority_class(object),
        ("apiextensions.k8s.io", _) => small::definition(object),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => small::webhooks(object, plural.starts_with("mutating")),
        _ => {}
    }
}

/// Writes amounts in their one form, and times in UTC, and leaves out lists and maps that are empty: a typed
/// client cannot say them, and its next write of the object would be a change.
fn canonical(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Named(_) | Shape::Inline(_), Value::Object(fields)) => {
            let Some(built) = types.resolve(shape) else { return };
            for (name, value) in fields.iter_mut() {
                if let Some(field) = built.fields.get(name.as_str()) {
                    canonical(types, &field.shape, value);
                }
            }
            fields.retain(|name, value| {
                !built.fields.get(name.as_str()).is_some_and(|field| is_nothing(field, value))
            });
        }
        (Shape::Map(inner, _), Value::Object(entries)) => {
            entries.values_mut().for_each(|value| canonical(types, inner, value));
        }
        (Shape::List(item, _), Value::Array(items)) => {
            items.iter_mut().for_each(|value| canonical(types, item, value));
        }
        (Shape::Scalar(Scalar::Quantity), value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if let Some(quantity) = Quantity::parse(&text) {
                *value = Value::from(quantity.canonical());
            }
        }
        (Shape::Scalar(scalar @ (Scalar::Time | Scalar::MicroTime)), value) => {
            let Some(Ok(time)) = value.as_str().map(str::parse::<jiff::Timestamp>) else { return };
            let format = match scalar {
                Scalar::Time => "%Y-%m-%dT%H:%M:%SZ",
                _ => "%Y-%m-%dT%H:%M:%S.%6fZ",
            };
            *value = Value::from(time.strftime(format).to_string());
        }
        _ => {}
    }
}

fn is_nothing(field: &Field, value: &Value) -> bool {
    let is_empty = match (&field.shape, value) {
        (Shape::List(..), Value::Array(items)) => items.is_empty(),
        (Shape::Map(..), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    };
    is_empty && !field.always && !field.pointer
}

#[cfg(test)]
mod tests;
