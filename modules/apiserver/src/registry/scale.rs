//! The scale subresource.

use serde_json::{Map, Value, json};

use super::resource::Resource;
use crate::schema::{FieldError, FieldErrors};

/// Returns the scale of an object; `None` when its resource has none.
#[must_use]
pub fn scale_of(resource: &Resource, object: &Value) -> Option<Value> {
    resource.subresource("scale")?;
    let (spec_path, status_path, selector) = paths(resource, object)?;
    let count = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let metadata = object.get("metadata")?;
    let mut kept = Map::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let mut spec = Map::new();
    if count(&spec_path) != 0 {
        spec.insert("replicas".to_owned(), Value::from(count(&spec_path)));
    }
    let mut status = Map::new();
    status.insert("replicas".to_owned(), Value::from(count(&status_path)));
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status.insert("selector".to_owned(), Value::from(selector));
    }
    Some(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept,
        "spec": spec, "status": status}))
}

/// Sets the replicas that a scale asks for.
///
/// # Errors
///
/// When the scale asks for a negative number, or is of another object.
pub fn apply_scale(resource: &Resource, object: &mut Value, scale: &Value) -> Result<(), FieldErrors> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().unwrap_or(-1),
    };
    let name = |value: &Value| value.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    let mut errors = FieldErrors::default();
    if replicas < 0 {
        let text = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.replicas", &Value::from(replicas), text));
    }
    if name(scale) != name(object) {
        let wrong = scale.pointer("/metadata/name").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid("metadata.name", &wrong, "must match the name of the scaled object"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let path = match &resource.custom {
        Some(custom) => custom.scale.as_ref().map_or_else(|| "/spec/replicas".to_owned(), |s| s.spec.clone()),
        None => "/spec/replicas".to_owned(),
    };
    set(object, &path, Value::from(replicas));
    Ok(())
}

/// Returns where the wanted and the present number stand, and the selector's text.
fn paths(resource: &Resource, object: &Value) -> Option<(String, String, Option<String>)> {
    if let Some(custom) = &resource.custom {
        let scale = custom.scale.as_ref()?;
        let selector =
            scale.selector.as_ref().and_then(|path| object.pointer(path)?.as_str().map(str::to_owned));
        return Some((scale.spec.clone(), scale.status.clone(), selector));
    }
    let selector = object.pointer("/spec/selector").map(|selector| {
        if resource.plural == "replicationcontrollers" {
            selector_text(&json!({ "matchLabels": selector }))
        } else {
            selector_text(selector)
        }
    });
    Some(("/spec/replicas".to_owned(), "/status/replicas".to_owned(), selector))
}

/// Writes a label selector as `a=b,c in (d,e)`.
#[must_use]
pub(crate) fn selector_text(selector: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        parts.extend(labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))));
    }
    if let Some(expressions) = selector.get("matchExpressions").and_then(Value::as_array) {
        for expression in expressions {
            let key = expression.get("key").and_then(Value::as_str).unwrap_or("");
            let mut values: Vec<&str> = expression
                .get("values")
                .and_then(Value::as_array)
                .map(|values| values.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            values.sort_unstable();
            let values = values.join(",");
            match expression.get("operator").and_then(Value::as_str) {
                Some("In") => parts.push(format!("{key} in ({values})")),
                Some("NotIn") => parts.push(format!("{key} notin ({values})")),
                Some("DoesNotExist") => parts.push(format!("!{key}")),
                _ => parts.push(key.to_owned()),
            }
        }
    }
    parts.join(",")
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut current = object;
    for part in pointer.split('/').skip(1) {
        if !current.is_object() {
            *current = json!({});
        }
        current = current
            .as_object_mut()
            .expect("it was made an object above")
            .entry(part.to_owned())
            .or_insert(Value::Null);
    }
    *current = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_deployment_has_a_scale() {
        let registry = Registry::builtin();
        let deployments = registry.find("apps", "v1", "deployments").unwrap();
        let mut object = json!({"metadata": {"name": "d", "namespace": "n", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "d"}}}, "status": {"replicas": 2}});
        let scale = scale_of(deployments, &object).unwrap();
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=d"}));
        assert_eq!(scale["metadata"], json!({"name": "d", "namespace": "n"}));

        apply_scale(deployments, &mut object, &json!({"metadata": {"name": "d"}, "spec": {"replicas": 5}}))
            .unwrap();
        assert_eq!(object["spec"]["replicas"], 5);
        let refused = apply_scale(
            deployments,
            &mut object,
            &json!({"metadata": {"name": "d"}, "spec": {"replicas": -1}}),
        );
        assert!(refused.is_err());
    }

    #[test]
    fn configmaps_have_none() {
        let registry = Registry::builtin();
        assert!(scale_of(registry.find("", "v1", "configmaps").unwrap(), &json!({"metadata": {}})).is_none());
    }
}
