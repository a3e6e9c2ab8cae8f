//! Configuration, roles and other small kinds.

use serde_json::Value;

use super::names;
use super::{Check, items, text};
use crate::schema::error::FieldError;

const BYTES_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

pub(super) fn config_map(check: &mut Check<'_>) {
    let plain = keys(check, "data");
    let binary = keys(check, "binaryData");
    for key in plain.iter().filter(|key| binary.contains(key)) {
        let detail = "duplicate of key present in binaryData";
        check.push(FieldError::invalid(format!("data[{key}]"), &Value::from(key.clone()), detail));
    }
    size(check, &["data", "binaryData"], "");
    frozen(check, &["data", "binaryData"]);
}

pub(super) fn secret(check: &mut Check<'_>) {
    let keys = keys(check, "data");
    size(check, &["data"], "data");
    let kind = check.text("/type").to_owned();
    let needed: &[&str] = match kind.as_str() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| !keys.iter().any(|known| known == *key)) {
        check.push(FieldError::required(format!("data[{key}]"), ""));
    }
    if kind == "kubernetes.io/basic-auth" && !keys.iter().any(|key| key == "username" || key == "password") {
        check.push(FieldError::required("data[username]", ""));
        check.push(FieldError::required("data[password]", ""));
    }
    check.immutable("/type");
    frozen(check, &["data"]);
}

fn keys(check: &mut Check<'_>, field: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, _) in check.at(&format!("/{field}")).and_then(Value::as_object).into_iter().flatten() {
        for problem in names::config_key(key) {
            check.push(FieldError::invalid(format!("{field}[{key}]"), &Value::from(key.clone()), &problem));
        }
        keys.push(key.clone());
    }
    keys
}

fn size(check: &mut Check<'_>, fields: &[&str], at: &str) {
    let bytes: usize = fields
        .iter()
        .filter_map(|field| check.at(&format!("/{field}"))?.as_object())
        .flatten()
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum();
    if bytes > BYTES_MAX {
        check.push(FieldError::too_long(at, BYTES_MAX));
    }
}

fn frozen(check: &mut Check<'_>, fields: &[&str]) {
    if check.was("/immutable").and_then(Value::as_bool) != Some(true) {
        return;
    }
    if check.at("/immutable").and_then(Value::as_bool) != Some(true) {
        check.push(FieldError::forbidden("immutable", FROZEN));
    }
    for field in fields {
        let pointer = format!("/{field}");
        if check.at(&pointer) != check.was(&pointer) {
            check.push(FieldError::forbidden(*field, FROZEN));
        }
    }
}

pub(super) fn event(check: &mut Check<'_>) {
    let own = check.text("/metadata/namespace");
    let about = check.text("/involvedObject/namespace");
    let fits = if about.is_empty() { matches!(own, "" | "default" | "kube-system") } else { own == about };
    if !fits && check.old.is_none() {
        let detail = "does not match event.namespace";
        check.push(FieldError::invalid("involvedObject.namespace", &Value::from(about), detail));
    }
}

pub(super) fn quota(check: &mut Check<'_>) {
    for (name, value) in check.at("/spec/hard").and_then(Value::as_object).into_iter().flatten() {
        for problem in names::qualified(name) {
            check.push(FieldError::invalid(
                format!("spec.hard[{name}]"),
                &Value::from(name.clone()),
                &problem,
            ));
        }
        if value.as_str().is_some_and(|amount| amount.starts_with('-')) {
            let detail = "must be greater than or equal to 0";
            check.push(FieldError::invalid(format!("spec.hard[{name}]"), value, detail));
        }
    }
}

pub(super) fn lease(check: &mut Check<'_>) {
    for name in ["leaseDurationSeconds", "leaseTransitions"] {
        let Some(value) = check.at(&format!("/spec/{name}")) else { continue };
        let (least, detail) = if name == "leaseDurationSeconds" {
            (1, "must be greater than 0")
        } else {
            (0, "must be greater than or equal to 0")
        };
        if value.as_i64().is_some_and(|number| number < least) {
            check.push(FieldError::invalid(format!("spec.{name}"), value, detail));
        }
    }
}

pub(super) fn role(check: &mut Check<'_>) {
    let object = check.new;
    for (index, rule) in items(object, "rules").iter().enumerate() {
        let at = |name: &str| format!("rules[{index}].{name}");
        let has = |name: &str| !items(rule, name).is_empty();
        if !has("verbs") {
            check.push(FieldError::required(at("verbs"), "verbs must contain at least one value"));
        }
        if has("nonResourceURLs") {
            if ["apiGroups", "resources", "resourceNames"].into_iter().any(has) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                check.push(FieldError::invalid(at("nonResourceURLs"), &rule["nonResourceURLs"], detail));
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            check.push(FieldError::required(at("apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            check.push(FieldError::required(at("resources"), detail));
        }
    }
}

pub(super) fn role_binding(check: &mut Check<'_>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let object = check.new;
    let reference = object.get("roleRef").unwrap_or(&Value::Null);
    if text(reference, "apiGroup") != GROUP {
        check.push(FieldError::not_supported(
            "roleRef.apiGroup",
            &Value::from(text(reference, "apiGroup")),
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if text(object, "kind") == "ClusterRoleBinding" {
        &["ClusterRole"]
    } else {
        &["Role", "ClusterRole"]
    };
    if !kinds.contains(&text(reference, "kind")) {
        check.push(FieldError::not_supported("roleRef.kind", &Value::from(text(reference, "kind")), kinds));
    }
    check.require("/roleRef/name");
    if check.old.is_some() && check.at("/roleRef") != check.was("/roleRef") {
        let shown = FieldError::invalid("roleRef", &Value::Null, "");
        let message = format!(
            "Invalid value: rbac.RoleRef{{APIGroup:{:?}, Kind:{:?}, Name:{:?}}}: cannot change roleRef",
            text(reference, "apiGroup"),
            text(reference, "kind"),
            text(reference, "name")
        );
        check.push(FieldError { message, ..shown });
    }
    for (index, subject) in items(object, "subjects").iter().enumerate() {
        let at = |name: &str| format!("subjects[{index}].{name}");
        if text(subject, "name").is_empty() {
            check.push(FieldError::required(at("name"), ""));
        }
        match text(subject, "kind") {
            "ServiceAccount" if text(subject, "namespace").is_empty() => {
                check.push(FieldError::required(at("namespace"), ""));
            }
            "ServiceAccount" | "User" | "Group" => {}
            other => {
                let known = ["ServiceAccount", "User", "Group"];
                check.push(FieldError::not_supported(at("kind"), &Value::from(other), &known));
            }
        }
    }
}

pub(super) fn priority_class(check: &mut Check<'_>) {
    let name = check.text("/metadata/name");
    let value = check.at("/value").and_then(Value::as_i64).unwrap_or(0);
    if name.starts_with("system-") && !matches!(name, "system-cluster-critical" | "system-node-critical") {
        let detail = "priority class names with 'system-' prefix are reserved for system use only";
        check.push(FieldError::forbidden("metadata.name", detail));
    } else if value > 1_000_000_000 && !name.starts_with("system-") {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        check.push(FieldError::forbidden("value", detail));
    }
    check.one_of("/preemptionPolicy", &["PreemptLowerPriority", "Never"]);
    if check.old.is_some() && check.at("/value") != check.was("/value") {
        check.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    check.immutable("/preemptionPolicy");
}

pub(super) fn runtime_class(check: &mut Check<'_>) {
    check.require("/handler");
    let handler = check.text("/handler");
    if !handler.is_empty() {
        for problem in names::label(handler) {
            check.push(FieldError::invalid("handler", &Value::from(handler), &problem));
        }
    }
    check.immutable("/handler");
}
