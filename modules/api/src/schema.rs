//! From what `schemars` makes of a type to a schema that a Kubernetes API server takes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Returns the structural schema of a type.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.transforms.clear();
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

fn tidy(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("title");
    unwrap_option(fields);
    gather_words(fields);
    // What may be absent has no default but the one that is asked for.
    fields.remove("default");
    if let Some(default) = fields.remove("x-default") {
        fields.insert("default".to_owned(), default);
    }
    // Go's `int` and `float64` have no format in a schema.
    if matches!(fields.get("format").and_then(Value::as_str), Some("int" | "double")) {
        fields.remove("format");
    }
    match fields.get_mut("additionalProperties") {
        Some(Value::Bool(true)) => {
            fields.remove("additionalProperties");
            fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
        Some(values) => tidy(values),
        None => {}
    }
    if let Some(items) = fields.get_mut("items") {
        tidy(items);
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
}

/// A value that may be absent may not be null: the schema is that of the value.
fn unwrap_option(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = fields.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            fields.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let is_null = |choice: &Value| choice["type"] == "null";
    let Some(Value::Array(choices)) = fields.get_mut("anyOf") else { return };
    let before = choices.len();
    choices.retain(|choice| !is_null(choice));
    if let ([Value::Object(only)], true) = (choices.as_slice(), choices.len() < before) {
        let only = only.clone();
        fields.remove("anyOf");
        for (name, value) in only {
            // The field's own description says more than that of its type.
            fields.entry(name).or_insert(value);
        }
        unwrap_option(fields);
    }
}

/// Words that each have a description are a list of choices; a structural schema has an `enum`.
fn gather_words(fields: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = fields.get("oneOf") else { return };
    let words: Option<Vec<Value>> = choices
        .iter()
        .map(|choice| {
            choice.get("const").or_else(|| choice["enum"].as_array().and_then(|all| all.first())).cloned()
        })
        .collect();
    if let Some(words) = words {
        fields.remove("oneOf");
        fields.insert("type".to_owned(), json!("string"));
        fields.insert("enum".to_owned(), Value::Array(words));
    }
}
