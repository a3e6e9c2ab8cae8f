//! The schemas of a group's kinds, with what clients need to merge and to find them.

use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{custom, roots};
use crate::registry::{Registry, Resource};
use crate::schema::types::{APIEXTENSIONS, Field, ListKind, Merging, Shape, Type, type_name};

/// Where references point to.
pub(super) const PREFIX: &str = "#/components/schemas/";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const COMMON: [&str; 5] = ["DeleteOptions", "ListMeta", "ObjectMeta", "Status", "Patch"];

/// Returns the name under which a kind's schema stands.
pub(super) fn name(resource: &Resource) -> String {
    if resource.is_custom() {
        let mut parts: Vec<&str> = resource.group.split('.').collect();
        parts.reverse();
        return format!("{}.{}.{}", parts.join("."), resource.version, resource.kind);
    }
    type_name(&resource.group, &resource.version, &resource.kind)
}

/// Returns the name under which the schema of a kind's lists stands.
pub(super) fn list_name(resource: &Resource) -> String {
    let name = name(resource);
    match name.rsplit_once('.') {
        Some((package, _)) => format!("{package}.{}", resource.list_kind),
        None => resource.list_kind.clone(),
    }
}

/// Returns the schemas of some resources and of all that they refer to.
pub(super) fn of(registry: &Registry, resources: &[&Resource]) -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2019_09();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.transforms.clear();
    let mut generator = SchemaGenerator::new(settings);
    for kind in COMMON {
        roots::add(&mut generator, "meta.k8s.io", "v1", kind);
    }
    let mut kinds: BTreeSet<(String, String, String)> = BTreeSet::new();
    for resource in resources.iter().filter(|resource| !resource.is_custom()) {
        kinds.insert((resource.group.clone(), resource.version.clone(), resource.kind.clone()));
        for part in &resource.subresources {
            kinds.insert((part.group.clone(), part.version.clone(), part.kind.clone()));
        }
    }
    for (group, version, kind) in &kinds {
        roots::add(&mut generator, group, version, kind);
    }
    let mut schemas: Map<String, Value> = generator
        .take_definitions(false)
        .into_iter()
        .map(|(name, mut schema)| {
            describe(registry, &name, &mut schema);
            (name, schema)
        })
        .collect();
    for (group, version, kind) in &kinds {
        mark(
            &mut schemas,
            &type_name(group, version, kind),
            &[json!({"group": group, "kind": kind, "version": version})],
        );
    }
    for resource in resources {
        if resource.is_custom() {
            schemas.insert(name(resource), custom::schema(resource));
        }
        if resource.supports(crate::registry::Verb::List) {
            schemas.insert(list_name(resource), list(resource));
        }
    }
    let versions: BTreeSet<(&str, &str)> =
        resources.iter().map(|resource| (resource.group.as_str(), resource.version.as_str())).collect();
    let options: Vec<Value> = versions
        .into_iter()
        .map(|(group, version)| json!({"group": group, "kind": "DeleteOptions", "version": version}))
        .collect();
    mark(&mut schemas, DELETE_OPTIONS, &options);
    schemas
}

fn mark(schemas: &mut Map<String, Value>, name: &str, kinds: &[Value]) {
    if let Some(Value::Object(schema)) = schemas.get_mut(name) {
        schema.insert("x-kubernetes-group-version-kind".to_owned(), Value::from(kinds.to_vec()));
    }
}

fn list(resource: &Resource) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({"description": format!("{} is a list of {}", resource.list_kind, resource.kind), "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
            "kind": text("Kind is a string value representing the REST resource this object represents."),
            "metadata": reference(LIST_META, "Standard list metadata."),
            "items": {"type": "array", "description": format!("List of {}.", resource.plural),
                "items": {"default": {}, "allOf": [{"$ref": format!("{PREFIX}{}", name(resource))}]}}},
        "x-kubernetes-group-version-kind":
            [{"group": resource.group, "kind": resource.list_kind, "version": resource.version}]})
}

/// Returns a reference with a description, in the form of v3 documents.
pub(super) fn reference(name: &str, description: &str) -> Value {
    json!({"description": description, "default": {}, "allOf": [{"$ref": format!("{PREFIX}{name}")}]})
}

/// Adds to one schema what the types tell: how its parts merge.
fn describe(registry: &Registry, name: &str, schema: &mut Value) {
    let built = registry.types().get(name);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            rewrite(property, true);
            if let Some(field) = built.and_then(|built| built.fields.get(name.as_str())) {
                merging(field, property);
            }
        }
    }
    rewrite(schema, false);
    if let Some(built) = built
        && built.merging == Merging::Atomic
    {
        schema["x-kubernetes-map-type"] = Value::from("atomic");
    }
    if name.ends_with(".intstr.IntOrString") {
        schema["format"] = Value::from("int-or-string");
        schema["oneOf"] = json!([{"type": "integer"}, {"type": "string"}]);
    } else if name.ends_with(".resource.Quantity") {
        schema["oneOf"] = json!([{"type": "string"}, {"type": "number"}]);
    }
    if let Value::Object(fields) = schema
        && (name.ends_with(".IntOrString") || name.ends_with(".Quantity"))
    {
        fields.remove("x-kubernetes-int-or-string");
    }
    if let Some(built) = built {
        optional(built, schema);
    }
    if is_anything(name)
        && let Value::Object(fields) = schema
    {
        fields.retain(|key, _| key == "description");
    }
}

/// Returns whether a schema stands for more than one JSON type.
fn is_anything(name: &str) -> bool {
    matches!(
        name.strip_prefix(APIEXTENSIONS),
        Some(
            ".JSON" | ".JSONSchemaPropsOrArray" | ".JSONSchemaPropsOrBool" | ".JSONSchemaPropsOrStringArray"
        )
    )
}

/// Objects may come without what servers fill in: nothing but what every writer has to give is
/// required.
fn optional(built: &Type, schema: &mut Value) {
    if !built.fields.contains_key("kind") {
        return;
    }
    if let Value::Object(fields) = schema
        && let Some(Value::Array(required)) = fields.get_mut("required")
    {
        required.retain(|name| name != "metadata");
        if required.is_empty() {
            fields.remove("required");
        }
    }
}

/// Writes references with siblings as v3 documents do.
fn rewrite(schema: &mut Value, is_property: bool) {
    if let Value::Object(fields) = schema {
        if is_property && let Some(target) = fields.remove("$ref") {
            let scalar = target.as_str().is_some_and(|target| {
                target.ends_with(".Time") || target.ends_with(".MicroTime") || target.ends_with(".Quantity")
            });
            fields.insert("allOf".to_owned(), json!([{ "$ref": target }]));
            if !scalar && !target.as_str().is_some_and(|target| target.ends_with(".IntOrString")) {
                fields.insert("default".to_owned(), json!({}));
            }
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = fields.get_mut(inner) {
                rewrite(inner, true);
            }
        }
    }
}

fn merging(field: &Field, property: &mut Value) {
    let mut strategies = Vec::new();
    if field.patch.merge {
        strategies.push("merge");
    }
    if field.patch.replace {
        strategies.push("replace");
    }
    if field.patch.retain_keys {
        strategies.push("retainKeys");
    }
    if !strategies.is_empty() {
        property["x-kubernetes-patch-strategy"] = Value::from(strategies.join(","));
    }
    if let Some(key) = &field.patch.merge_key {
        property["x-kubernetes-patch-merge-key"] = Value::from(&**key);
    }
    match &field.shape {
        Shape::List(_, ListKind::Map(keys)) => {
            let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
            property["x-kubernetes-list-type"] = Value::from("map");
            property["x-kubernetes-list-map-keys"] = Value::from(keys);
        }
        Shape::List(_, ListKind::Set) => property["x-kubernetes-list-type"] = Value::from("set"),
        Shape::List(_, ListKind::Atomic) => property["x-kubernetes-list-type"] = Value::from("atomic"),
        Shape::Map(_, Merging::Atomic) => property["x-kubernetes-map-type"] = Value::from("atomic"),
        _ => {}
    }
}
