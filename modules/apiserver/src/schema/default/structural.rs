//! The defaults of custom resources' schemas, and nulls where a schema has no place for them.

use serde_json::Value;

/// Fills in the defaults that a schema gives. A null in a field that may not be null means absence: Go's
/// clients write it for what they leave empty.
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default") {
                    match fields.get(name) {
                        None => drop(fields.insert(name.clone(), default.clone())),
                        Some(Value::Null) if !is_nullable(property) => {
                            drop(fields.insert(name.clone(), default.clone()));
                        }
                        Some(_) => {}
                    }
                }
                if let Some(value) = fields.get_mut(name) {
                    fill(property, value);
                }
            }
            let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
            fields.retain(|name, value| {
                let known = properties.and_then(|properties| properties.get(name)).or(rest);
                !value.is_null() || known.is_none_or(is_nullable)
            });
            if let Some(rest) = rest {
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

fn is_nullable(schema: &Value) -> bool {
    schema.get("nullable").and_then(Value::as_bool) == Some(true)
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
    #[test]
    fn a_null_means_absence_where_the_schema_has_no_null() {
        let schema = json!({"properties": {
            "status": {"properties": {"extensions": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                                      "note": {"type": "string", "nullable": true}}},
            "list": {"items": {"type": "string"}},
            "map": {"additionalProperties": {"type": "string"}}}});
        let mut object = json!({"status": {"extensions": null, "note": null, "unknown": null},
                                "list": [null], "map": {"a": null, "b": "c"}});
        fill(&schema, &mut object);
        assert_eq!(
            object,
            json!({"status": {"note": null, "unknown": null}, "list": [null], "map": {"b": "c"}})
        );
    }
}
