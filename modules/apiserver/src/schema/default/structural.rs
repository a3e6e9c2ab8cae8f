//! The defaults of custom resources' schemas.

use serde_json::Value;

/// Fills in the defaults that a schema gives.
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default") {
                    let nullable = property.get("nullable").and_then(Value::as_bool) == Some(true);
                    match fields.get(name) {
                        None => drop(fields.insert(name.clone(), default.clone())),
                        Some(Value::Null) if !nullable => drop(fields.insert(name.clone(), default.clone())),
                        Some(_) => {}
                    }
                }
                if let Some(value) = fields.get_mut(name) {
                    fill(property, value);
                }
            }
            if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
                for (name, value) in fields.iter_mut() {
                    if properties.is_none_or(|properties| !properties.contains_key(name)) {
                        fill(rest, value);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fill(schema, item));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_fill_what_is_missing_at_every_depth() {
        let schema = json!({"properties": {
            "spec": {"default": {}, "properties": {"size": {"default": 3}, "note": {"default": "n", "nullable": true}}},
            "list": {"items": {"properties": {"x": {"default": true}}}},
            "map": {"additionalProperties": {"properties": {"y": {"default": 1}}}}}});
        let mut object = json!({"list": [{}, {"x": false}], "map": {"k": {}}});
        fill(&schema, &mut object);
        assert_eq!(
            object,
            json!({"spec": {"size": 3, "note": "n"}, "list": [{"x": true}, {"x": false}], "map": {"k": {"y": 1}}})
        );
        let mut object = json!({"spec": {"size": null, "note": null}});
        fill(&schema, &mut object);
        assert_eq!(object["spec"], json!({"size": 3, "note": null}));
    }
}
