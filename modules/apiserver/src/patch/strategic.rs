//! Strategic merge patches: lists merge by the keys of their types, and directives say the rest.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::types::{Field, Shape, Type, Types};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Applies a patch to an object of a shape.
pub(super) fn merge(
    types: &Types,
    shape: &Shape,
    object: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(bad("a strategic merge patch must be a JSON object"));
    };
    let original = object.as_object().cloned().unwrap_or_default();
    merge_object(types, Some(shape), original, patch).map(Value::Object)
}

fn bad(message: impl Into<String>) -> PatchError {
    PatchError::BadRequest(message.into())
}

/// What the type of an object says of one of its fields.
struct Hint<'a> {
    field: Option<&'a Field>,
    shape: Option<&'a Shape>,
}

fn hint<'a>(owner: Option<&'a Type>, values: Option<&'a Shape>, name: &str) -> Hint<'a> {
    let field = owner.and_then(|owner| owner.fields.get(name));
    Hint { field, shape: field.map(|field| &field.shape).or(values) }
}

fn merge_object(
    types: &Types,
    shape: Option<&Shape>,
    mut original: Object,
    patch: &Object,
) -> Result<Object, PatchError> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or("")) {
        Some("replace") => {
            let mut replaced = patch.clone();
            replaced.remove(PATCH);
            return Ok(without_directives(replaced));
        }
        Some("delete") => return Ok(Object::new()),
        Some("merge") | None => {}
        Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
    }
    retain_keys(&mut original, patch)?;
    let owner = shape.and_then(|shape| types.resolve(shape));
    let values = match shape {
        Some(Shape::Map(value, _)) => Some(value.as_ref()),
        _ => None,
    };
    for (key, value) in patch {
        if key == PATCH || key == RETAIN_KEYS {
            continue;
        }
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut original, name, value)?;
        } else if let Some(name) = key.strip_prefix(ELEMENT_ORDER) {
            if !patch.contains_key(name) {
                reorder(&mut original, &hint(owner, values, name), name, value)?;
            }
        } else {
            let order = patch.get(&format!("{ELEMENT_ORDER}{key}"));
            merge_field(types, &hint(owner, values, key), &mut original, key, value, order)?;
        }
    }
    Ok(original)
}

fn retain_keys(original: &mut Object, patch: &Object) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys: Vec<&str> = keys
        .as_array()
        .ok_or_else(|| bad("the value of $retainKeys must be a list"))?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let stray = patch
        .iter()
        .find(|(key, value)| !key.starts_with('$') && !value.is_null() && !keys.contains(&key.as_str()));
    if let Some((key, _)) = stray {
        return Err(bad(format!("the $retainKeys list does not hold the patched field {key}")));
    }
    original.retain(|key, _| keys.contains(&key.as_str()));
    Ok(())
}

fn merge_field(
    types: &Types,
    hint: &Hint<'_>,
    original: &mut Object,
    key: &str,
    value: &Value,
    order: Option<&Value>,
) -> Result<(), PatchError> {
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    let merges = hint.field.is_some_and(|field| field.patch.merge);
    let replaces = hint.field.is_some_and(|field| field.patch.replace);
    let merged = match (original.get_mut(key), value) {
        (Some(Value::Object(_)), Value::Object(_)) if replaces => clean(value.clone()),
        (Some(Value::Object(current)), Value::Object(patch)) => {
            Value::Object(merge_object(types, hint.shape, std::mem::take(current), patch)?)
        }
        (Some(Value::Array(current)), Value::Array(patch)) if merges => {
            Value::Array(merge_list(types, hint, std::mem::take(current), patch, order)?)
        }
        (None, Value::Array(patch)) if merges => {
            Value::Array(merge_list(types, hint, Vec::new(), patch, order)?)
        }
        _ => clean(value.clone()),
    };
    original.insert(key.to_owned(), merged);
    Ok(())
}

/// Merges a list whose strategy is merge.
fn merge_list(
    types: &Types,
    hint: &Hint<'_>,
    original: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, PatchError> {
    let key = hint.field.and_then(|field| field.patch.merge_key.as_deref());
    let server_order: Vec<Value> = original.iter().map(|item| identity(item, key)).collect();
    let mut merged = match key {
        Some(key) => {
            let item = match hint.shape {
                Some(Shape::List(item, _)) => Some(item.as_ref()),
                _ => None,
            };
            merge_items(types, item, key, original, patch)?
        }
        None => {
            let mut merged = original;
            for value in patch {
                if !merged.contains(value) {
                    merged.push(value.clone());
                }
            }
            merged
        }
    };
    if let Some(order) = order {
        merged = in_order(merged, key, order_identities(order, key)?, &server_order);
    }
    Ok(merged)
}

fn merge_items(
    types: &Types,
    item: Option<&Shape>,
    key: &str,
    mut original: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, PatchError> {
    let directive = |value: &Value| value.get(PATCH).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|value| directive(value).as_deref() == Some("replace")) {
        return Ok(patch.iter().filter(|value| directive(value).is_none()).cloned().map(clean).collect());
    }
    for value in patch {
        let Value::Object(fields) = value else {
            return Err(bad(format!("a list that merges by {key} holds something that is no object")));
        };
        if !fields.contains_key(key) {
            return Err(bad(format!("map: {value} does not contain declared merge key: {key}")));
        }
        let same = |candidate: &Value| candidate.get(key) == fields.get(key);
        match directive(value).as_deref() {
            Some("delete") => original.retain(|candidate| !same(candidate)),
            Some("merge") | None => match original.iter().position(same) {
                Some(at) => {
                    let current = original[at].as_object().cloned().unwrap_or_default();
                    original[at] = Value::Object(merge_object(types, item, current, fields)?);
                }
                None => original.push(clean(value.clone())),
            },
            Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
        }
    }
    Ok(original)
}

fn delete_from(original: &mut Object, name: &str, values: &Value) -> Result<(), PatchError> {
    let values =
        values.as_array().ok_or_else(|| bad(format!("the value of {DELETE_FROM}{name} must be a list")))?;
    if let Some(Value::Array(current)) = original.get_mut(name) {
        current.retain(|value| !values.contains(value));
    }
    Ok(())
}

fn reorder(original: &mut Object, hint: &Hint<'_>, name: &str, order: &Value) -> Result<(), PatchError> {
    let key = hint.field.and_then(|field| field.patch.merge_key.as_deref());
    if let Some(Value::Array(current)) = original.get_mut(name) {
        let server_order: Vec<Value> = current.iter().map(|item| identity(item, key)).collect();
        *current = in_order(std::mem::take(current), key, order_identities(order, key)?, &server_order);
    }
    Ok(())
}

fn identity(item: &Value, key: Option<&str>) -> Value {
    match key {
        Some(key) => item.get(key).cloned().unwrap_or(Value::Null),
        None => item.clone(),
    }
}

fn order_identities(order: &Value, key: Option<&str>) -> Result<Vec<Value>, PatchError> {
    let order = order.as_array().ok_or_else(|| bad("the value of $setElementOrder must be a list"))?;
    Ok(order.iter().map(|item| identity(item, key)).collect())
}

/// Puts the items that the patch orders into its order; the others keep their places among them.
fn in_order(merged: Vec<Value>, key: Option<&str>, order: Vec<Value>, server_order: &[Value]) -> Vec<Value> {
    let place = |item: &Value| order.iter().position(|wanted| *wanted == identity(item, key));
    let (mut ordered, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(item).is_some());
    ordered.sort_by_key(|item| place(item));
    let server_place = |item: &Value| server_order.iter().position(|known| *known == identity(item, key));
    let mut result = Vec::with_capacity(ordered.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in ordered {
        while let Some(other) = others.peek() {
            match (server_place(other), server_place(&item)) {
                (Some(left), Some(right)) if left < right => result.extend(others.next()),
                _ => break,
            }
        }
        result.push(item);
    }
    result.extend(others);
    result
}

/// Removes directives and nulls from a value that the original did not have.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => {
            let is_directive = |item: &Value| item.get(PATCH).is_some_and(|found| found != "merge");
            Value::Array(items.into_iter().filter(|item| !is_directive(item)).map(clean).collect())
        }
        other => other,
    }
}

fn without_directives(fields: Object) -> Object {
    fields
        .into_iter()
        .filter(|(key, value)| {
            !value.is_null()
                && key != PATCH
                && key != RETAIN_KEYS
                && !key.starts_with(DELETE_FROM)
                && !key.starts_with(ELEMENT_ORDER)
        })
        .map(|(key, value)| (key, clean(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: &str, object: &Value, patch: &Value, expected: &Value) {
        let types = Types::builtin();
        let shape = Shape::Named(kind.into());
        assert_eq!(merge(&types, &shape, object, patch).as_ref(), Ok(expected), "{patch}");
    }

    const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";

    #[test]
    fn containers_merge_by_name() {
        check(
            POD_SPEC,
            &json!({"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}, {"name": "b"}]}),
            &json!({"containers": [{"name": "a", "image": "2", "args": ["z"]}, {"name": "c", "image": null}]}),
            &json!({"containers": [{"name": "a", "image": "2", "args": ["z"]}, {"name": "b"}, {"name": "c"}]}),
        );
    }

    #[test]
    fn items_are_deleted_and_lists_replaced_by_directive() {
        let object = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        check(
            POD_SPEC,
            &object,
            &json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            &json!({"containers": [{"name": "b"}]}),
        );
        check(
            POD_SPEC,
            &object,
            &json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
            &json!({"containers": [{"name": "c"}]}),
        );
        check(
            POD_SPEC,
            &json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
            &json!({"securityContext": {"$patch": "replace", "runAsUser": 3}}),
            &json!({"securityContext": {"runAsUser": 3}}),
        );
        check(
            POD_SPEC,
            &json!({"securityContext": {"runAsUser": 1}}),
            &json!({"securityContext": {"$patch": "delete"}}),
            &json!({"securityContext": {}}),
        );
    }

    #[test]
    fn the_order_of_the_patch_wins_where_it_names_items() {
        check(
            POD_SPEC,
            &json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            &json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}),
            &json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}),
        );
        check(
            POD_SPEC,
            &json!({"containers": [{"name": "server"}, {"name": "a"}]}),
            &json!({"$setElementOrder/containers": [{"name": "n"}, {"name": "a"}],
                "containers": [{"name": "n"}]}),
            &json!({"containers": [{"name": "n"}, {"name": "server"}, {"name": "a"}]}),
        );
    }

    #[test]
    fn keys_that_are_not_retained_go() {
        check(
            "io.k8s.api.apps.v1.DeploymentSpec",
            &json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            &json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            &json!({"strategy": {"type": "Recreate"}}),
        );
        check(
            POD_SPEC,
            &json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            &json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}),
            &json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        );
    }

    #[test]
    fn primitive_lists_merge_and_shrink() {
        check(
            "io.k8s.api.core.v1.Pod",
            &json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}}}),
            &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"],
                "$setElementOrder/finalizers": ["c", "b"], "labels": {"x": null, "y": "2"}}}),
            &json!({"metadata": {"finalizers": ["c", "b"], "labels": {"y": "2"}}}),
        );
    }

    #[test]
    fn lists_without_a_strategy_are_replaced() {
        check(
            POD_SPEC,
            &json!({"tolerations": [{"key": "a"}]}),
            &json!({"tolerations": [{"key": "b"}]}),
            &json!({"tolerations": [{"key": "b"}]}),
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let types = Types::builtin();
        let shape = Shape::Named(POD_SPEC.into());
        for patch in [
            json!([]),
            json!({"$patch": "explode"}),
            json!({"containers": [{"image": "no name"}]}),
            json!({"containers": ["text"]}),
            json!({"$retainKeys": "x"}),
            json!({"$retainKeys": ["a"], "b": 1}),
            json!({"$setElementOrder/containers": 1}),
            json!({"$deleteFromPrimitiveList/x": 1}),
        ] {
            let object = json!({"containers": [{"name": "a"}], "x": []});
            assert!(merge(&types, &shape, &object, &patch).is_err(), "{patch}");
        }
    }
}
