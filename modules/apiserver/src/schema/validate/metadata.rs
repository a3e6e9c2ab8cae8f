//! The metadata that all objects share.

use serde_json::Value;

use super::names;
use super::{Check, items, text};
use crate::registry::Resource;
use crate::schema::error::FieldError;

const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Checks the metadata of an object.
pub(super) fn check(resource: &Resource, check: &mut Check<'_>) {
    name(resource, check);
    namespace(resource, check);
    labels(check, "/metadata/labels", "metadata.labels");
    annotations(check, "/metadata/annotations", "metadata.annotations");
    finalizers(check);
    owners(check);
    if check.old.is_some() {
        for pointer in
            ["/metadata/name", "/metadata/namespace", "/metadata/uid", "/metadata/creationTimestamp"]
        {
            check.immutable(pointer);
        }
    }
}

/// Returns the rule for the names of a resource's objects.
fn name_rule(resource: &Resource) -> fn(&str) -> Vec<String> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => names::old_label,
        ("", "namespaces") => names::label,
        ("rbac.authorization.k8s.io", _) => names::path_part,
        _ => names::subdomain,
    }
}

fn name(resource: &Resource, check: &mut Check<'_>) {
    let name = check.text("/metadata/name");
    if name.is_empty() {
        check.push(FieldError::required("metadata.name", "name or generateName is required"));
        return;
    }
    if check.old.is_some() {
        return;
    }
    for problem in name_rule(resource)(name) {
        check.push(FieldError::invalid("metadata.name", &Value::from(name), &problem));
    }
}

fn namespace(resource: &Resource, check: &mut Check<'_>) {
    let namespace = check.text("/metadata/namespace");
    if !resource.namespaced {
        if !namespace.is_empty() {
            check.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
    } else if namespace.is_empty() {
        check.push(FieldError::required("metadata.namespace", ""));
    } else {
        for problem in names::label(namespace) {
            check.push(FieldError::invalid("metadata.namespace", &Value::from(namespace), &problem));
        }
    }
}

/// Checks labels.
pub(super) fn labels(check: &mut Check<'_>, pointer: &str, field: &str) {
    for (key, value) in check.at(pointer).and_then(Value::as_object).into_iter().flatten() {
        for problem in names::qualified(key) {
            check.push(FieldError::invalid(field, &Value::from(key.clone()), &problem));
        }
        for problem in names::label_value(value.as_str().unwrap_or_default()) {
            check.push(FieldError::invalid(field, value, &problem));
        }
    }
}

/// Checks annotations.
pub(super) fn annotations(check: &mut Check<'_>, pointer: &str, field: &str) {
    let mut bytes = 0;
    for (key, value) in check.at(pointer).and_then(Value::as_object).into_iter().flatten() {
        for problem in names::qualified(&key.to_lowercase()) {
            check.push(FieldError::invalid(field, &Value::from(key.clone()), &problem));
        }
        bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        check.push(FieldError::too_long(field, ANNOTATIONS_BYTES_MAX));
    }
}

fn finalizers(check: &mut Check<'_>) {
    let finalizers =
        check.at("/metadata/finalizers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for finalizer in finalizers {
        let name = finalizer.as_str().unwrap_or_default();
        let problems = names::qualified(name);
        for problem in problems {
            check.push(FieldError::invalid("metadata.finalizers", finalizer, &problem));
        }
    }
    let deleting = check.was("/metadata/deletionTimestamp").is_some();
    if deleting {
        let before =
            check.was("/metadata/finalizers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let added: Vec<&str> =
            finalizers.iter().filter(|name| !before.contains(name)).filter_map(Value::as_str).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            );
            check.push(FieldError::forbidden("metadata.finalizers", &detail));
        }
    }
}

fn owners(check: &mut Check<'_>) {
    let metadata = check.at("/metadata").unwrap_or(&Value::Null);
    let mut controllers = Vec::new();
    for (index, owner) in items(metadata, "ownerReferences").iter().enumerate() {
        let at = |name: &str| format!("metadata.ownerReferences[{index}].{name}");
        for (name, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let value = text(owner, name);
            if value.is_empty() {
                check.push(FieldError::invalid(at(name), &Value::from(value), detail));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            controllers.push(format!("{}/{}", text(owner, "kind"), text(owner, "name")));
        }
    }
    if controllers.len() > 1 {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}",
            controllers.join(" and ")
        );
        let value = metadata.get("ownerReferences").cloned().unwrap_or(Value::Null);
        check.push(FieldError::invalid("metadata.ownerReferences", &value, &detail));
    }
}
