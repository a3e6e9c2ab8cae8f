//! Pods and the templates of pods.

mod containers;
mod volumes;

use serde_json::{Map, Value};

pub(super) use containers::port_number;

use super::names;
use super::{Check, items, metadata, text};
use crate::schema::error::FieldError;

const FROZEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks a pod.
pub(super) fn pod(check: &mut Check<'_>) {
    let spec = check.at("/spec").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    pod_spec(check, &spec, "spec");
    if let Some(old) = check.old {
        update(check, old.get("spec").unwrap_or(&Value::Null), &spec);
    }
}

/// Checks a write of ephemeral containers.
pub(super) fn ephemeral(check: &mut Check<'_>) {
    let spec = check.at("/spec").cloned().unwrap_or(Value::Null);
    pod_spec(check, &spec, "spec");
}

/// Checks the name of a part of a pod, a container or a volume; `seen` are the names of others.
fn part_name(check: &mut Check<'_>, name: &str, at: &str, seen: &mut Vec<String>) {
    let at = format!("{at}.name");
    if name.is_empty() {
        check.push(FieldError::required(at, ""));
        return;
    }
    for problem in names::label(name) {
        check.push(FieldError::invalid(at.clone(), &Value::from(name), &problem));
    }
    if seen.iter().any(|other| other == name) {
        check.push(FieldError::duplicate(at, &Value::from(name)));
    }
    seen.push(name.to_owned());
}

/// Checks the template of pods in a field such as `template` or `spec/template`.
pub(super) fn template(check: &mut Check<'_>, pointer: &str) {
    let field = pointer.replace('/', ".");
    let at = |rest: &str| format!("/{pointer}/{rest}");
    metadata::labels(check, &at("metadata/labels"), &format!("{field}.metadata.labels"));
    metadata::annotations(check, &at("metadata/annotations"), &format!("{field}.metadata.annotations"));
    let spec = check.at(&at("spec")).cloned().unwrap_or_else(|| Value::Object(Map::new()));
    pod_spec(check, &spec, &format!("{field}.spec"));
    if !items(&spec, "ephemeralContainers").is_empty() {
        let field = format!("{field}.spec.ephemeralContainers");
        check.push(FieldError::forbidden(field, "ephemeral containers not allowed in pod template"));
    }
}

fn pod_spec(check: &mut Check<'_>, spec: &Value, at: &str) {
    let volumes = volumes::check(check, spec, at);
    let mut seen = Vec::new();
    for (list, required) in [("initContainers", false), ("containers", true), ("ephemeralContainers", false)]
    {
        let found = items(spec, list);
        if required && found.is_empty() {
            check.push(FieldError::required(format!("{at}.{list}"), ""));
        }
        for (index, container) in found.iter().enumerate() {
            let at = format!("{at}.{list}[{index}]");
            containers::check(check, container, &at, &volumes, &mut seen);
        }
    }
    for (name, known) in [
        ("restartPolicy", &["Always", "OnFailure", "Never"][..]),
        ("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ] {
        match spec.get(name) {
            None | Some(Value::Null) => check.push(FieldError::required(format!("{at}.{name}"), "")),
            Some(value) if value.as_str().is_some_and(|text| known.contains(&text)) => {}
            Some(value) => check.push(FieldError::not_supported(format!("{at}.{name}"), value, known)),
        }
    }
    named(check, spec, at, "serviceAccountName", names::subdomain);
    named(check, spec, at, "nodeName", names::subdomain);
    named(check, spec, at, "hostname", names::label);
    named(check, spec, at, "subdomain", names::label);
    named(check, spec, at, "priorityClassName", names::subdomain);
    if let Some(value) =
        spec.get("activeDeadlineSeconds").filter(|value| value.as_i64().is_some_and(|s| s < 1))
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        check.push(FieldError::invalid(format!("{at}.activeDeadlineSeconds"), value, detail));
    }
    for (key, value) in spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        let field = format!("{at}.nodeSelector");
        for problem in names::qualified(key) {
            check.push(FieldError::invalid(&field, &Value::from(key.clone()), &problem));
        }
        for problem in names::label_value(value.as_str().unwrap_or_default()) {
            check.push(FieldError::invalid(&field, value, &problem));
        }
    }
    for (index, toleration) in items(spec, "tolerations").iter().enumerate() {
        self::toleration(check, toleration, &format!("{at}.tolerations[{index}]"));
    }
}

fn named(check: &mut Check<'_>, spec: &Value, at: &str, name: &str, rule: fn(&str) -> Vec<String>) {
    let value = text(spec, name);
    if value.is_empty() {
        return;
    }
    for problem in rule(value) {
        check.push(FieldError::invalid(format!("{at}.{name}"), &Value::from(value), &problem));
    }
}

fn toleration(check: &mut Check<'_>, toleration: &Value, at: &str) {
    let (key, operator, effect) =
        (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
    if !key.is_empty() {
        for problem in names::qualified(key) {
            check.push(FieldError::invalid(format!("{at}.key"), &Value::from(key), &problem));
        }
    } else if operator != "Exists" {
        let detail =
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        check.push(FieldError::invalid(format!("{at}.operator"), &Value::from(operator), detail));
    }
    match operator {
        "" | "Equal" => {}
        "Exists" if text(toleration, "value").is_empty() => {}
        "Exists" => {
            let detail = "value must be empty when `operator` is 'Exists'";
            check.push(FieldError::invalid(format!("{at}.operator"), &toleration["value"], detail));
        }
        _ => {
            let known = ["Equal", "Exists"];
            check.push(FieldError::not_supported(format!("{at}.operator"), &Value::from(operator), &known));
        }
    }
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check.push(FieldError::not_supported(format!("{at}.effect"), &Value::from(effect), &known));
    }
    if toleration.get("tolerationSeconds").is_some_and(|seconds| !seconds.is_null()) && effect != "NoExecute"
    {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        check.push(FieldError::invalid(format!("{at}.effect"), &Value::from(effect), detail));
    }
}

/// Allows the few changes that a pod takes after its creation.
fn update(check: &mut Check<'_>, old: &Value, new: &Value) {
    let mut allowed = old.clone();
    let Value::Object(fields) = &mut allowed else { return };
    for list in ["containers", "initContainers"] {
        let images: Vec<Option<Value>> =
            items(new, list).iter().map(|container| container.get("image").cloned()).collect();
        if let Some(Value::Array(containers)) = fields.get_mut(list)
            && containers.len() == images.len()
        {
            for (container, image) in containers.iter_mut().zip(images) {
                if let (Value::Object(container), Some(image)) = (container, image) {
                    container.insert("image".to_owned(), image);
                }
            }
        }
    }
    let mut take = |name: &str| match new.get(name) {
        Some(value) => drop(fields.insert(name.to_owned(), value.clone())),
        None => drop(fields.remove(name)),
    };
    let seconds = |spec: &Value, name: &str| spec.get(name).and_then(Value::as_i64);
    let sooner = match (seconds(old, "activeDeadlineSeconds"), seconds(new, "activeDeadlineSeconds")) {
        (Some(old), Some(new)) => new <= old,
        (None, _) => true,
        (Some(_), None) => false,
    };
    if sooner {
        take("activeDeadlineSeconds");
    }
    if items(old, "tolerations").iter().all(|toleration| items(new, "tolerations").contains(toleration)) {
        take("tolerations");
    }
    if items(new, "schedulingGates").iter().all(|gate| items(old, "schedulingGates").contains(gate)) {
        take("schedulingGates");
    }
    if seconds(old, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0)
        && seconds(new, "terminationGracePeriodSeconds") == Some(1)
    {
        take("terminationGracePeriodSeconds");
    }
    if allowed != *new {
        check.push(FieldError::forbidden("spec", FROZEN));
    }
}
