//! The volumes of a pod.

use serde_json::Value;

use crate::schema::error::FieldError;
use crate::schema::validate::pods::part_name;
use crate::schema::validate::{Check, items, text};

/// What must be named inside of some sources.
const REQUIRED: [(&str, &str); 7] = [
    ("configMap", "name"),
    ("secret", "secretName"),
    ("hostPath", "path"),
    ("persistentVolumeClaim", "claimName"),
    ("csi", "driver"),
    ("nfs", "server"),
    ("nfs", "path"),
];

/// Checks the volumes of a pod and returns their names.
pub(super) fn check(check: &mut Check<'_>, spec: &Value, at: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let at = format!("{at}.volumes[{index}]");
        part_name(check, text(volume, "name"), &at, &mut seen);
        source(check, volume, &at);
    }
    seen
}

fn source(check: &mut Check<'_>, volume: &Value, at: &str) {
    let sources: Vec<(&String, &Value)> =
        volume.as_object().into_iter().flatten().filter(|(name, _)| *name != "name").collect();
    if sources.is_empty() {
        check.push(FieldError::required(at, "must specify a volume type"));
    }
    for (kind, _) in sources.iter().skip(1) {
        let detail = "may not specify more than 1 volume type";
        check.push(FieldError::forbidden(format!("{at}.{kind}"), detail));
    }
    for (kind, field) in REQUIRED {
        if volume.get(kind).is_some_and(|source| text(source, field).is_empty()) {
            check.push(FieldError::required(format!("{at}.{kind}.{field}"), ""));
        }
    }
    for kind in ["configMap", "secret", "downwardAPI", "projected"] {
        let Some(source) = volume.get(kind) else { continue };
        let at = format!("{at}.{kind}");
        if let Some(mode) = source.get("defaultMode").filter(|mode| !is_mode(mode)) {
            let detail = "must be a number between 0 and 0777 (octal), both inclusive";
            check.push(FieldError::invalid(format!("{at}.defaultMode"), mode, detail));
        }
        for (index, item) in items(source, "items").iter().enumerate() {
            self::item(check, item, &format!("{at}.items[{index}]"), kind != "downwardAPI");
        }
    }
}

fn is_mode(mode: &Value) -> bool {
    mode.as_i64().is_some_and(|mode| (0..=0o777).contains(&mode))
}

fn item(check: &mut Check<'_>, item: &Value, at: &str, keyed: bool) {
    if keyed && text(item, "key").is_empty() {
        check.push(FieldError::required(format!("{at}.key"), ""));
    }
    let path = text(item, "path");
    if path.is_empty() {
        check.push(FieldError::required(format!("{at}.path"), ""));
    } else if path.starts_with('/') {
        check.push(FieldError::invalid(format!("{at}.path"), &Value::from(path), "must be a relative path"));
    } else if path.split('/').any(|part| part == "..") {
        check.push(FieldError::invalid(format!("{at}.path"), &Value::from(path), "must not contain '..'"));
    }
    if let Some(mode) = item.get("mode").filter(|mode| !is_mode(mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        check.push(FieldError::invalid(format!("{at}.mode"), mode, detail));
    }
}
