//! Kinds with little to fill in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::schema::edit::{Object, each, existing, fill, fill_number, fill_text, part, text};

pub(super) fn secret(object: &mut Object) {
    fill_text(object, "type", "Opaque");
    if let Some(Value::Object(plain)) = object.remove("stringData") {
        let data = part(object, "data");
        for (key, value) in plain {
            data.insert(key, Value::from(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

pub(super) fn namespace(object: &mut Object) {
    let metadata = part(object, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        fill_text(part(metadata, "labels"), "kubernetes.io/metadata.name", &name);
    }
}

pub(super) fn node(object: &mut Object) {
    if let Some(status) = existing(object, "status")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        let allocatable = part(status, "allocatable");
        for (name, amount) in capacity.as_object().into_iter().flatten() {
            fill(allocatable, name, amount.clone());
        }
    }
    let Some(spec) = existing(object, "spec") else { return };
    let one = text(spec, "podCIDR").to_owned();
    let first = spec.get("podCIDRs").and_then(|all| all.get(0)).and_then(Value::as_str).map(str::to_owned);
    match first {
        None if !one.is_empty() => {
            spec.insert("podCIDRs".to_owned(), json!([one]));
        }
        Some(first) if one.is_empty() => {
            spec.insert("podCIDR".to_owned(), Value::from(first));
        }
        _ => {}
    }
}

pub(super) fn claim(object: &mut Object) {
    fill_text(part(object, "spec"), "volumeMode", "Filesystem");
}

pub(super) fn volume(object: &mut Object) {
    let spec = part(object, "spec");
    fill_text(spec, "volumeMode", "Filesystem");
    fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    if let Some(path) = existing(spec, "hostPath") {
        fill(path, "type", "");
    }
}

pub(super) fn role_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    fill_text(part(object, "roleRef"), "apiGroup", GROUP);
    each(object, "subjects", |subject| {
        if matches!(text(subject, "kind"), "User" | "Group") {
            fill_text(subject, "apiGroup", GROUP);
        }
    });
}

pub(super) fn storage_class(object: &mut Object) {
    fill_text(object, "reclaimPolicy", "Delete");
    fill_text(object, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(object: &mut Object) {
    let spec = part(object, "spec");
    fill(spec, "attachRequired", true);
    for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill(spec, name, false);
    }
    fill_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    fill(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

pub(super) fn priority_class(object: &mut Object) {
    fill_text(object, "preemptionPolicy", "PreemptLowerPriority");
}

pub(super) fn definition(object: &mut Object) {
    let spec = part(object, "spec");
    let names = part(spec, "names");
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        fill_text(names, "singular", &kind.to_lowercase());
        fill_text(names, "listKind", &format!("{kind}List"));
    }
    fill_text(part(spec, "conversion"), "strategy", "None");
}

pub(super) fn webhooks(object: &mut Object, mutating: bool) {
    each(object, "webhooks", |webhook| {
        fill_text(webhook, "failurePolicy", "Fail");
        fill_text(webhook, "matchPolicy", "Equivalent");
        fill(webhook, "namespaceSelector", json!({}));
        fill(webhook, "objectSelector", json!({}));
        fill_number(webhook, "timeoutSeconds", 10);
        if mutating {
            fill_text(webhook, "reinvocationPolicy", "Never");
        }
        if let Some(config) = existing(webhook, "clientConfig")
            && let Some(service) = existing(config, "service")
        {
            fill_number(service, "port", 443);
        }
        each(webhook, "rules", |rule| fill_text(rule, "scope", "*"));
    });
}
