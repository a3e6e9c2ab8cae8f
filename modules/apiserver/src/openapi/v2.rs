//! The v2 document, made from the parts of the v3 ones.

use serde_json::{Map, Value, json};

use super::schemas::PREFIX;
use super::{info, paths, schemas};
use crate::registry::{Registry, Resource};

const DEFINITIONS: &str = "#/definitions/";

/// Returns the document of everything that is served.
pub(super) fn document(registry: &Registry) -> Value {
    let resources: Vec<&Resource> = registry.resources().map(AsRef::as_ref).collect();
    let mut definitions = schemas::of(registry, &resources);
    for (_, definition) in definitions.iter_mut() {
        schema(definition);
    }
    let mut paths = Map::new();
    for resource in resources {
        paths::add(resource, &mut paths);
    }
    for (_, path) in paths.iter_mut() {
        self::path(path);
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions})
}

/// Turns a schema into what v2 knows: no references with siblings in `allOf`, no `oneOf`.
fn schema(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(all)) = fields.get("allOf")
                && let [only] = all.as_slice()
                && let Some(target) = only.get("$ref").cloned()
            {
                fields.remove("allOf");
                fields.remove("default");
                fields.insert("$ref".to_owned(), target);
            }
            for unknown in ["oneOf", "anyOf", "not", "nullable"] {
                fields.remove(unknown);
            }
            if fields.get("format").is_some_and(|format| format == "int-or-string") {
                fields.insert("type".to_owned(), Value::from("string"));
            }
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix(PREFIX)
            {
                *target = format!("{DEFINITIONS}{name}");
            }
            fields.values_mut().for_each(schema);
        }
        Value::Array(items) => items.iter_mut().for_each(schema),
        _ => {}
    }
}

fn path(path: &mut Value) {
    let Value::Object(fields) = path else { return };
    if let Some(Value::Array(parameters)) = fields.get_mut("parameters") {
        parameters.iter_mut().for_each(parameter);
    }
    for method in ["get", "put", "post", "delete", "patch"] {
        if let Some(Value::Object(operation)) = fields.get_mut(method) {
            self::operation(operation);
        }
    }
}

/// Moves a parameter's schema into the parameter itself.
fn parameter(parameter: &mut Value) {
    let Value::Object(fields) = parameter else { return };
    if let Some(Value::Object(schema)) = fields.remove("schema") {
        fields.extend(schema);
    }
}

fn operation(operation: &mut Map<String, Value>) {
    operation.insert("consumes".to_owned(), json!(["*/*"]));
    operation.insert("produces".to_owned(), json!(["application/json", "application/yaml"]));
    operation.insert("schemes".to_owned(), json!(["https"]));
    let body = operation.remove("requestBody").and_then(|mut body| first_schema(&mut body));
    let mut parameters = match operation.remove("parameters") {
        Some(Value::Array(parameters)) => parameters,
        _ => Vec::new(),
    };
    parameters.iter_mut().for_each(parameter);
    if let Some(mut found) = body {
        schema(&mut found);
        parameters.insert(0, json!({"in": "body", "name": "body", "required": true, "schema": found}));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), Value::from(parameters));
    }
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for response in responses.values_mut() {
            if let Some(mut found) = first_schema(response) {
                schema(&mut found);
                if let Value::Object(fields) = response {
                    fields.remove("content");
                    fields.insert("schema".to_owned(), found);
                }
            }
        }
    }
}

fn first_schema(owner: &mut Value) -> Option<Value> {
    let content = owner.get_mut("content")?.as_object_mut()?;
    content.values_mut().next()?.get_mut("schema").map(Value::take)
}
