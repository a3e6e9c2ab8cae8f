//! The schemas of custom resources, with the fields that all objects have.

use serde_json::{Map, Value, json};

use super::schemas::reference;
use crate::registry::Resource;
use crate::schema::types::OBJECT_META;

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers \
    should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer \
    this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// Returns the schema of a custom resource's objects.
pub(super) fn schema(resource: &Resource) -> Value {
    let own = resource.custom.as_ref().map(|custom| &custom.schema);
    let mut schema = own.and_then(Value::as_object).cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| Value::from("object"));
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(properties) = properties {
        properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": API_VERSION}));
        properties.insert("kind".to_owned(), json!({"type": "string", "description": KIND}));
        properties.insert("metadata".to_owned(), reference(OBJECT_META, METADATA));
    }
    schema.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([{"group": resource.group, "kind": resource.kind, "version": resource.version}]),
    );
    Value::Object(schema)
}
