//! Fields that a type does not have, and values of the wrong JSON type.

use serde_json::Value;

use super::types::{Scalar, Shape, Types};
use crate::registry::{Registry, Resource};

/// Drops what the resource's type does not have; returns a text for each such field:
/// `unknown field "spec.foo"`. Nulls of built-in types go without a word: they mean absence.
pub fn prune(registry: &Registry, resource: &Resource, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let walk = Walk { types: registry.types(), nulls: resource.is_custom() };
    if resource.custom.as_ref().is_some_and(|custom| custom.preserve_unknown) {
        return unknown;
    }
    walk.prune(&resource.shape, object, "", &mut unknown);
    unknown
}

/// Returns the text of the 400 that strict field validation answers with.
#[must_use]
pub fn strict_error(resource: &Resource, texts: &[String]) -> String {
    format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        resource.kind,
        resource.version,
        resource.kind,
        texts.join(", ")
    )
}

struct Walk<'a> {
    types: &'a Types,
    /// Nulls are kept.
    nulls: bool,
}

impl Walk<'_> {
    fn prune(&self, shape: &Shape, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (shape, value) {
            (Shape::Named(_) | Shape::Inline(_), Value::Object(fields)) => {
                let Some(built) = self.types.resolve(shape) else { return };
                fields.retain(|name, value| {
                    if !built.fields.contains_key(name.as_str()) && built.rest.is_none() {
                        unknown.push(format!("unknown field {:?}", at(name)));
                        return false;
                    }
                    self.nulls || !value.is_null()
                });
                for (name, value) in fields.iter_mut() {
                    if let Some(field) = built.fields.get(name.as_str()) {
                        self.prune(&field.shape, value, &at(name), unknown);
                    }
                }
            }
            (Shape::Map(inner, _), Value::Object(entries)) => {
                for (name, value) in entries.iter_mut() {
                    self.prune(inner, value, &at(name), unknown);
                }
            }
            (Shape::List(item, _), Value::Array(items)) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.prune(item, value, &format!("{path}[{index}]"), unknown);
                }
            }
            (Shape::SchemaOr(_), value) => {
                let schema = Shape::Named(format!("{}.JSONSchemaProps", super::types::APIEXTENSIONS).into());
                match value {
                    Value::Object(_) => self.prune(&schema, value, path, unknown),
                    Value::Array(items) => {
                        for (index, value) in
                            items.iter_mut().enumerate().filter(|(_, value)| value.is_object())
                        {
                            self.prune(&schema, value, &format!("{path}[{index}]"), unknown);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Checks the JSON types of a built-in object, and of a custom one's metadata.
///
/// # Errors
///
/// When a value has the wrong type; the text is that of a 400.
pub fn check_types(registry: &Registry, resource: &Resource, object: &Value) -> Result<(), String> {
    let checker = Checker { types: registry.types() };
    let found = if resource.is_custom() {
        if !object.is_object() {
            return Err("the object must be a JSON object".to_owned());
        }
        let metadata = Shape::Named(super::types::OBJECT_META.into());
        object
            .get("metadata")
            .map_or(Ok(()), |value| checker.check(&metadata, value, "ObjectMeta", "metadata"))
    } else {
        checker.check(&resource.shape, object, &resource.kind, "")
    };
    found.map_err(|problem| {
        format!(
            "{} in version {:?} cannot be handled as a {}: {problem}",
            resource.kind, resource.version, resource.kind
        )
    })
}

struct Checker<'a> {
    types: &'a Types,
}

impl Checker<'_> {
    fn check(&self, shape: &Shape, value: &Value, owner: &str, path: &str) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        let wrong = |wanted: &str| {
            let found = match value {
                Value::Bool(_) => "bool".to_owned(),
                Value::Number(number) if number.is_f64() => format!("number {number}"),
                Value::Number(_) => "number".to_owned(),
                Value::String(_) => "string".to_owned(),
                Value::Array(_) => "array".to_owned(),
                Value::Object(_) | Value::Null => "object".to_owned(),
            };
            if path.is_empty() {
                return Err(format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
            }
            Err(format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"
            ))
        };
        match shape {
            Shape::Scalar(scalar) => match self.scalar(*scalar, value)? {
                Some(wanted) => wrong(wanted),
                None => Ok(()),
            },
            Shape::Named(_) | Shape::Inline(_) => {
                let Some(built) = self.types.resolve(shape) else { return Ok(()) };
                let name = built.name.rsplit('.').next().unwrap_or(owner);
                let Value::Object(fields) = value else { return wrong(&format!("v1.{name}")) };
                fields.iter().try_for_each(|(key, value)| {
                    let Some(field) = built.fields.get(key.as_str()) else { return Ok(()) };
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.check(&field.shape, value, name, &path)
                })
            }
            Shape::Map(inner, _) => match value {
                Value::Object(entries) => {
                    entries.values().try_for_each(|value| self.check(inner, value, owner, path))
                }
                _ => wrong(&format!("map[string]{}", go_type(inner))),
            },
            Shape::List(item, _) => match value {
                Value::Array(items) => {
                    items.iter().try_for_each(|value| self.check(item, value, owner, path))
                }
                _ => wrong(&format!("[]{}", go_type(item))),
            },
            Shape::WrappedStrings => match value {
                Value::Array(items) if items.iter().all(Value::is_string) => Ok(()),
                _ => wrong("[]string"),
            },
            Shape::Json | Shape::Open | Shape::SchemaOr(_) => Ok(()),
        }
    }

    /// Returns the wanted type when the value has another one.
    fn scalar(&self, scalar: Scalar, value: &Value) -> Result<Option<&'static str>, String> {
        let text = value.as_str();
        Ok(match scalar {
            Scalar::String if text.is_none() => Some("string"),
            Scalar::Bool if !value.is_boolean() => Some("bool"),
            Scalar::Int32 if value.as_i64().is_none_or(|number| i32::try_from(number).is_err()) => {
                Some("int32")
            }
            Scalar::Int64 if value.as_i64().is_none() => Some("int64"),
            Scalar::Double if !value.is_number() => Some("float64"),
            Scalar::Bytes => match text {
                None => Some("[]uint8"),
                Some(text) => {
                    check_base64(text)?;
                    None
                }
            },
            Scalar::Quantity => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if super::quantity::Quantity::parse(&text).is_none() {
                    return Err("quantities must match the regular expression \
                        '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                        .to_owned());
                }
                None
            }
            Scalar::Time | Scalar::MicroTime => match text {
                None => Some("string"),
                Some(text) if text.parse::<jiff::Timestamp>().is_err() => {
                    return Err(format!(
                        "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                    ));
                }
                Some(_) => None,
            },
            Scalar::Duration if text.is_none() => Some("string"),
            Scalar::IntOrString if text.is_none() && value.as_i64().is_none() => Some("intstr.IntOrString"),
            _ => None,
        })
    }
}

fn check_base64(text: &str) -> Result<(), String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    match STANDARD.decode(text.replace(['\n', '\r'], "")) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", text.len())),
    }
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(Scalar::String) => "string".to_owned(),
        Shape::Scalar(Scalar::Bytes) => "[]uint8".to_owned(),
        Shape::Scalar(Scalar::Int32) => "int32".to_owned(),
        Shape::Scalar(Scalar::Quantity) => "resource.Quantity".to_owned(),
        Shape::Named(name) => format!("v1.{}", name.rsplit('.').next().unwrap_or_default()),
        _ => "interface {}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let registry = Registry::builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "lables": {}, "labels": null},
            "spec": {"containers": [{"name": "c", "imag": "x"}], "nodeSelector": {"any": "thing"}}, "dat": 1});
        let unknown = prune(&registry, pods, &mut pod);
        assert_eq!(
            unknown,
            [
                "unknown field \"dat\"",
                "unknown field \"metadata.lables\"",
                "unknown field \"spec.containers[0].imag\""
            ]
        );
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c"}], "nodeSelector": {"any": "thing"}}})
        );
        assert_eq!(
            strict_error(pods, &unknown[..1]),
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"dat\""
        );
    }

    #[test]
    fn custom_resources_keep_what_their_schema_preserves() {
        let mut registry = Registry::builtin();
        registry
            .upsert_crd(&json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
                "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "known": {"type": "string"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "integer"}}}},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "integer"}}}}}}}}}}]}}))
            .unwrap();
        let things = registry.find("example.com", "v1", "things").unwrap();
        let mut thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "extra": 1,
            "spec": {"known": null, "unknown": 2, "free": {"a": {"b": 1}}, "map": {"k": {"x": 1, "z": 2}}, "list": [{"y": 1, "z": 2}]}});
        let unknown = prune(&registry, things, &mut thing);
        assert_eq!(unknown.len(), 4, "{unknown:?}");
        assert_eq!(
            thing["spec"],
            json!({"known": null, "free": {"a": {"b": 1}}, "map": {"k": {"x": 1}}, "list": [{"y": 1}]})
        );
    }

    #[test]
    fn wrong_types_are_named() {
        let registry = Registry::builtin();
        let check = |group: &str, plural: &str, object: Value, expected: &str| {
            let resource = registry.find(group, "v1", plural).unwrap();
            let found = check_types(&registry, resource, &object).err().unwrap_or_default();
            assert!(found.ends_with(expected), "{object}: {found}");
        };
        check(
            "apps",
            "deployments",
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        check(
            "",
            "configmaps",
            json!({"data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        );
        check(
            "",
            "pods",
            json!({"spec": {"containers": {}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        );
        check("", "secrets", json!({"data": {"a": "%%%"}}), "illegal base64 data at input byte 0");
        check(
            "",
            "pods",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
            "[-+]?[0-9]*)$'",
        );
        check("", "pods", json!([]), "json: cannot unmarshal array into Go value of type v1.Pod");
        check("", "services", json!({"spec": {"ports": [{"port": 80, "targetPort": "web"}]}}), "");
        check("", "pods", json!({"metadata": {"creationTimestamp": null}}), "");
        check("", "pods", json!({"metadata": {"creationTimestamp": "yesterday"}}), "as \"2006\"");
    }
}
