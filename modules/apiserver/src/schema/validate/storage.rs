//! Volumes, claims and their classes.

use serde_json::Value;

use super::{Check, items};
use crate::schema::error::FieldError;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn claim(check: &mut Check<'_>) {
    modes(check);
    if check.at("/spec/resources/requests/storage").is_none() {
        check.push(FieldError::required("spec.resources[storage]", ""));
    }
    check.one_of("/spec/volumeMode", &["Block", "Filesystem"]);
    let frozen = |spec: Option<&Value>| {
        let mut spec = spec.and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|name, _| {
            !matches!(name.as_str(), "resources" | "volumeAttributesClassName" | "volumeName")
        });
        spec
    };
    let (was, is) = (check.was("/spec/volumeName"), check.at("/spec/volumeName"));
    if check.old.is_some()
        && (frozen(check.at("/spec")) != frozen(check.was("/spec")) || (was.is_some() && was != is))
    {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName \
            for bound claims";
        check.push(FieldError::forbidden("spec", detail));
    }
}

pub(super) fn volume(check: &mut Check<'_>) {
    modes(check);
    if check.at("/spec/capacity").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
        check.push(FieldError::required("spec.capacity", ""));
    }
    check.one_of("/spec/persistentVolumeReclaimPolicy", &["Delete", "Recycle", "Retain"]);
    let common = [
        "capacity",
        "accessModes",
        "claimRef",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "mountOptions",
        "volumeMode",
        "nodeAffinity",
        "volumeAttributesClassName",
    ];
    let sources: Vec<&String> = check
        .at("/spec")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| !common.contains(&name.as_str()))
        .collect();
    if sources.is_empty() {
        check.push(FieldError::required("spec", "must specify a volume type"));
    }
    for source in sources.into_iter().skip(1) {
        let detail = "may not specify more than 1 volume type";
        check.push(FieldError::forbidden(format!("spec.{source}"), detail));
    }
}

fn modes(check: &mut Check<'_>) {
    let spec = check.at("/spec").unwrap_or(&Value::Null);
    let modes = items(spec, "accessModes");
    if modes.is_empty() {
        check.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter(|mode| !mode.as_str().is_some_and(|mode| MODES.contains(&mode))) {
        check.push(FieldError::not_supported("spec.accessModes", mode, &MODES));
    }
}

pub(super) fn class(check: &mut Check<'_>) {
    check.require("/provisioner");
    check.one_of("/reclaimPolicy", &["Delete", "Retain"]);
    check.one_of("/volumeBindingMode", &["Immediate", "WaitForFirstConsumer"]);
    if check.old.is_none() {
        return;
    }
    for name in ["provisioner", "parameters", "reclaimPolicy"] {
        let pointer = format!("/{name}");
        if check.at(&pointer) != check.was(&pointer) {
            check.push(FieldError::forbidden(name, &format!("updates to {name} are forbidden.")));
        }
    }
    check.immutable("/volumeBindingMode");
}
