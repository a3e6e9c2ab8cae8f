//! Parts of objects that conversions between versions move.

use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Sets a field of a part that is there; what is no object stays for validation to refuse.
pub(super) fn put(object: &mut Value, part: &str, field: &str, value: Value) {
    if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) {
        part.insert(field.to_owned(), value);
    }
}

pub(super) fn take(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    object.get_mut(part).and_then(Value::as_object_mut)?.remove(field)
}

pub(super) fn annotate(object: &mut Value, name: &str, value: &Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Object::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(name.to_owned(), value.to_string().into());
    }
}

/// Takes an annotation that holds JSON; one that does not is somebody else's, and stays.
pub(super) fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut)?;
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut)?;
    let value = serde_json::from_str(annotations.get(name)?.as_str()?).ok()?;
    annotations.remove(name);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    Some(value)
}
