//! Small helpers to fill in JSON objects.

use serde_json::{Map, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Sets a field that is absent or null.
pub(super) fn fill(object: &mut Object, name: &str, value: impl Into<Value>) {
    if object.get(name).is_none_or(Value::is_null) {
        object.insert(name.to_owned(), value.into());
    }
}

/// Sets a text that is absent, null or empty.
pub(super) fn fill_text(object: &mut Object, name: &str, value: &str) {
    if object.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
        object.insert(name.to_owned(), Value::from(value));
    }
}

/// Sets a number that is absent, null or zero.
pub(super) fn fill_number(object: &mut Object, name: &str, value: i64) {
    if object.get(name).and_then(Value::as_i64).unwrap_or(0) == 0 {
        object.insert(name.to_owned(), Value::from(value));
    }
}

/// Returns a part that is an object, making an empty one if it is absent.
pub(super) fn part<'a>(object: &'a mut Object, name: &str) -> &'a mut Object {
    let slot = object.entry(name.to_owned()).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was made an object above")
}

/// Returns a part if it is an object.
pub(super) fn existing<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    object.get_mut(name).and_then(Value::as_object_mut)
}

/// Runs over the objects of a list.
pub(super) fn each(object: &mut Object, name: &str, mut change: impl FnMut(&mut Object)) {
    if let Some(Value::Array(items)) = object.get_mut(name) {
        items.iter_mut().filter_map(Value::as_object_mut).for_each(&mut change);
    }
}

/// Returns a text, or an empty one.
pub(super) fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns whether a flag is set.
pub(super) fn is_true(object: &Object, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool) == Some(true)
}
