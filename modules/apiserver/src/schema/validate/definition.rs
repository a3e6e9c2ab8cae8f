//! Custom resource definitions.

use serde_json::Value;

use super::names;
use super::{Check, items, text};
use crate::schema::error::FieldError;
use crate::table::jsonpath::JsonPath;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Checks a definition.
pub(super) fn check(check: &mut Check<'_>) {
    let spec = check.at("/spec").unwrap_or(&Value::Null);
    let (group, plural) = (text(spec, "group"), check.text("/spec/names/plural"));
    let wanted = format!("{plural}.{group}");
    if check.text("/metadata/name") != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        check.push(FieldError::invalid("metadata.name", &Value::from(check.text("/metadata/name")), detail));
    }
    if group.is_empty() {
        check.push(FieldError::required("spec.group", ""));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        check.push(FieldError::invalid("spec.group", &Value::from(group), detail));
    } else {
        for problem in names::subdomain(group) {
            check.push(FieldError::invalid("spec.group", &Value::from(group), &problem));
        }
    }
    check.one_of("/spec/scope", &["Cluster", "Namespaced"]);
    name(check, "plural", true);
    name(check, "singular", false);
    check.require("/spec/names/kind");
    check.require("/spec/names/listKind");
    if check.text("/spec/names/kind") == check.text("/spec/names/listKind") {
        let detail = "kind and listKind may not be the same";
        check.push(FieldError::invalid(
            "spec.names.listKind",
            &Value::from(check.text("/spec/names/listKind")),
            detail,
        ));
    }
    match check.text("/spec/conversion/strategy") {
        "None" => {}
        "Webhook" => {
            let detail = "conversion webhooks are not served here: use strategy None";
            check.push(FieldError::forbidden("spec.conversion.strategy", detail));
        }
        other => {
            let known = ["None", "Webhook"];
            check.push(FieldError::not_supported("spec.conversion.strategy", &Value::from(other), &known));
        }
    }
    versions(check, items(spec, "versions"));
    if check.old.is_some() {
        for pointer in ["/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural"] {
            check.immutable(pointer);
        }
    }
}

fn name(check: &mut Check<'_>, which: &str, required: bool) {
    let value = check.text(&format!("/spec/names/{which}"));
    let field = format!("spec.names.{which}");
    if value.is_empty() {
        if required {
            check.push(FieldError::required(field, ""));
        }
        return;
    }
    for problem in names::old_label(value) {
        check.push(FieldError::invalid(&field, &Value::from(value), &problem));
    }
}

fn versions(check: &mut Check<'_>, versions: &[Value]) {
    let is = |version: &&Value, key: &str| version.get(key).and_then(Value::as_bool) == Some(true);
    if versions.is_empty() {
        check.push(FieldError::required(
            "spec.versions",
            "must have exactly one version marked as storage version",
        ));
        return;
    }
    let stored = versions.iter().filter(|version| is(version, "storage")).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        check.push(FieldError::invalid("spec.versions", &Value::Array(versions.to_vec()), detail));
    }
    let mut seen = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(version, "name");
        for problem in names::old_label(name) {
            check.push(FieldError::invalid(format!("{at}.name"), &Value::from(name), &problem));
        }
        if seen.contains(&name) {
            check.push(FieldError::duplicate(format!("{at}.name"), &Value::from(name)));
        }
        seen.push(name);
        match version.pointer("/schema/openAPIV3Schema") {
            None | Some(Value::Null) => {
                check.push(FieldError::required(
                    format!("{at}.schema.openAPIV3Schema"),
                    "schemas are required",
                ));
            }
            Some(schema) => {
                let at = format!("{at}.schema.openAPIV3Schema");
                if text(schema, "type") != "object" {
                    let found = schema.get("type").cloned().unwrap_or_else(|| Value::from(""));
                    let detail = "must be object at the root";
                    let error = if text(schema, "type").is_empty() {
                        FieldError::required(format!("{at}.type"), detail)
                    } else {
                        FieldError::invalid(format!("{at}.type"), &found, detail)
                    };
                    check.push(error);
                }
                self::schema(check, schema, &at, true);
            }
        }
        columns(check, version, &at);
        scale(check, version, &at);
    }
}

fn columns(check: &mut Check<'_>, version: &Value, at: &str) {
    for (index, column) in items(version, "additionalPrinterColumns").iter().enumerate() {
        let at = format!("{at}.additionalPrinterColumns[{index}]");
        if text(column, "name").is_empty() {
            check.push(FieldError::required(format!("{at}.name"), ""));
        }
        let known = ["boolean", "date", "integer", "number", "string"];
        if !known.contains(&text(column, "type")) {
            let detail = "must be one of boolean,date,integer,number,string";
            check.push(FieldError::invalid(format!("{at}.type"), &Value::from(text(column, "type")), detail));
        }
        let path = text(column, "jsonPath");
        if path.is_empty() {
            check.push(FieldError::required(format!("{at}.jsonPath"), ""));
        } else if JsonPath::parse(path).is_none() {
            let detail = "must be a simple json path starting with .";
            check.push(FieldError::invalid(format!("{at}.jsonPath"), &Value::from(path), detail));
        }
    }
}

fn scale(check: &mut Check<'_>, version: &Value, at: &str) {
    let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) else {
        return;
    };
    for (name, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let path = text(scale, name);
        let at = format!("{at}.subresources.scale.{name}");
        if path.is_empty() {
            check.push(FieldError::required(at, ""));
        } else if !path.starts_with(root) {
            let detail = format!("should be a json path under {}", root.trim_end_matches('.'));
            check.push(FieldError::invalid(at, &Value::from(path), &detail));
        }
    }
}

/// Checks that a schema is structural: that each part says what it is.
fn schema(check: &mut Check<'_>, schema: &Value, at: &str, root: bool) {
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
    let kind = text(schema, "type");
    let any = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    if kind.is_empty() && !any && !root {
        check.push(FieldError::required(
            format!("{at}.type"),
            "must not be empty for specified object fields",
        ));
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        check.push(FieldError::not_supported(format!("{at}.type"), &Value::from(kind), &TYPES));
    }
    if kind == "array" && schema.get("items").is_none_or(Value::is_null) {
        check.push(FieldError::required(format!("{at}.items"), "must be specified"));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && regex::Regex::new(pattern).is_err()
    {
        let detail = "must be a valid regular expression, but isn't";
        check.push(FieldError::invalid(format!("{at}.pattern"), &Value::from(pattern), detail));
    }
    for forbidden in ["$ref", "definitions", "dependencies", "patternProperties", "id"] {
        if schema.get(forbidden).is_some_and(|value| !value.is_null() && value != "") {
            check.push(FieldError::forbidden(
                format!("{at}.{forbidden}"),
                &format!("{forbidden} is not supported"),
            ));
        }
    }
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_some_and(Value::is_object)
    {
        let detail = "additionalProperties and properties are mutual exclusive";
        check.push(FieldError::forbidden(format!("{at}.additionalProperties"), detail));
    }
    lists(check, schema, at);
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        self::schema(check, property, &format!("{at}.properties[{name}]"), false);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(found) = schema.get(inner).filter(|found| found.is_object()) {
            self::schema(check, found, &format!("{at}.{inner}"), false);
        }
    }
}

fn lists(check: &mut Check<'_>, schema: &Value, at: &str) {
    let keys = items(schema, "x-kubernetes-list-map-keys");
    match text(schema, "x-kubernetes-list-type") {
        "map" if keys.is_empty() => {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            check.push(FieldError::required(format!("{at}.x-kubernetes-list-map-keys"), detail));
        }
        "map" | "set" | "atomic" | "" => {}
        other => {
            let known = ["atomic", "map", "set"];
            let field = format!("{at}.x-kubernetes-list-type");
            check.push(FieldError::not_supported(field, &Value::from(other), &known));
        }
    }
}
