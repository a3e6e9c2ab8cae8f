//! Between the form that is kept and the one that is served: the two interfaces of events, versions of
//! autoscalers and of custom resources.
//!
//! Events are kept in their core form; the newer interface names many fields differently.

use serde_json::{Map, Value};

use super::resource::Resource;
use super::{autoscaling, devices};

/// The names of one field: core, events.k8s.io.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Returns whether the form that is kept differs from the served one in more than `apiVersion` and `kind`.
#[must_use]
pub fn converts(resource: &Resource) -> bool {
    resource.is("events.k8s.io", "events") || is_older_autoscaler(resource) || devices::are_older(resource)
}

fn is_older_autoscaler(resource: &Resource) -> bool {
    resource.is("autoscaling", "horizontalpodautoscalers") && resource.version == "v1"
}

/// Returns an object of the resource's version in the form that is kept.
#[must_use]
pub fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if resource.is("events.k8s.io", "events") {
        rename(&mut object, |(core, grouped)| (grouped, core));
        set_api_version(&mut object, "v1");
    } else if is_older_autoscaler(resource) {
        autoscaling::to_v2(&mut object);
        set_api_version(&mut object, "autoscaling/v2");
    } else if resource.is_custom() {
        if devices::are_older(resource) {
            devices::to_v1beta1(&mut object, &resource.plural);
        }
        let version = super::resource::api_version(&resource.group, &resource.storage_version);
        set_api_version(&mut object, &version);
    }
    object
}

/// Returns a kept object in the resource's version.
#[must_use]
pub fn from_storage(resource: &Resource, mut object: Value) -> Value {
    if resource.is("events.k8s.io", "events") {
        rename(&mut object, |(core, grouped)| (core, grouped));
    } else if is_older_autoscaler(resource) {
        autoscaling::to_v1(&mut object);
    } else if devices::are_older(resource) {
        devices::to_v1alpha2(&mut object, &resource.plural);
    }
    set_api_version(&mut object, &resource.api_version());
    object
}

/// Leaves out of an object what the form that is kept has no place for: a write of that is no change.
pub fn settle(resource: &Resource, object: &mut Value) {
    if devices::are_older(resource) {
        *object = from_storage(resource, to_storage(resource, object.take()));
    }
}

fn set_api_version(object: &mut Value, version: &str) {
    if let Value::Object(fields) = object {
        fields.insert("apiVersion".to_owned(), Value::from(version));
    }
}

fn rename(object: &mut Value, pair: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Value::Object(fields) = object else { return };
    let mut renamed = Map::new();
    for names in RENAMED {
        let (from, to) = pair(names);
        if let Some(value) = fields.remove(from) {
            renamed.insert(to.to_owned(), value);
        }
    }
    fields.append(&mut renamed);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    #[test]
    fn events_survive_the_way_there_and_back() {
        let registry = Registry::builtin();
        let grouped = registry.find("events.k8s.io", "v1", "events").unwrap();
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "reason": "r",
            "regarding": {"kind": "Pod"}, "reportingController": "c", "deprecatedCount": 2});
        let kept = to_storage(grouped, event.clone());
        assert_eq!(
            kept,
            json!({"apiVersion": "v1", "kind": "Event", "message": "n", "reason": "r",
            "involvedObject": {"kind": "Pod"}, "reportingComponent": "c", "count": 2})
        );
        assert_eq!(from_storage(grouped, kept), event);
    }
}
