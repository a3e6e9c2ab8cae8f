//! What a custom resource definition adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::resource::{Resource, Subresource, Verb, version_order};
use crate::schema::types::{
    Field, ListKind, Merging, OBJECT_META, PatchStrategy, Scalar, Shape, Type, Types,
};

/// Says why a definition cannot be served.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CrdError {
    /// Something it takes is missing.
    #[error("the definition has no {0}")]
    Missing(&'static str),
    /// It is in a group of built-in resources.
    #[error("the group {0} belongs to built-in resources")]
    BuiltinGroup(String),
}

/// A column of a table, as its definition writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// The type: string, integer, number, boolean or date.
    pub kind: String,
    /// The format.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above 0: only with `-o wide`.
    pub priority: i64,
    /// Where the value stands.
    pub json_path: String,
}

/// Where the parts of a scale stand, as JSON pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted number.
    pub spec: String,
    /// The present number.
    pub status: String,
    /// The selector's text.
    pub selector: Option<String>,
}

/// What a definition says of one version.
#[derive(Debug, Clone)]
pub struct CustomVersion {
    /// The definition's name.
    pub definition: String,
    /// The structural schema; null when there is none.
    pub schema: Value,
    /// The columns; empty for the standard one.
    pub columns: Vec<Column>,
    /// The paths that field selectors may use, such as `.spec.color`.
    pub selectable: Vec<String>,
    /// Where its scale stands.
    pub scale: Option<ScalePaths>,
    /// What users of the version are warned of.
    pub deprecation: Option<String>,
    /// Unknown fields are kept everywhere.
    pub preserve_unknown: bool,
}

/// A definition, read.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) warnings: Vec<String>,
}

impl Definition {
    /// Reads a definition.
    pub(super) fn parse(crd: &Value, types: &Types) -> Result<Self, CrdError> {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name").ok_or(CrdError::Missing("name"))?;
        let group = text("/spec/group").ok_or(CrdError::Missing("group"))?;
        let versions =
            crd.pointer("/spec/versions").and_then(Value::as_array).ok_or(CrdError::Missing("versions"))?;
        let stored = versions
            .iter()
            .find(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
            .and_then(|version| version.get("name")?.as_str())
            .ok_or(CrdError::Missing("storage version"))?;
        let mut resources = Vec::new();
        let mut warnings = Vec::new();
        for version in versions {
            warnings.extend(rule_warnings(version));
            if version.get("served").and_then(Value::as_bool) == Some(true) {
                resources.push(Arc::new(resource(crd, &name, &group, stored, version, types)?));
            }
        }
        resources.sort_by(|left, right| version_order(&left.version, &right.version));
        Ok(Self { name, group, resources, warnings })
    }
}

fn resource(
    crd: &Value,
    name: &str,
    group: &str,
    stored: &str,
    version: &Value,
    types: &Types,
) -> Result<Resource, CrdError> {
    let names = crd.pointer("/spec/names").ok_or(CrdError::Missing("names"))?;
    let text = |key: &str| names.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let texts = |key: &str| strings(names.get(key));
    let kind = text("kind").ok_or(CrdError::Missing("kind"))?.to_owned();
    let plural = text("plural").ok_or(CrdError::Missing("plural name"))?.to_owned();
    let version_name =
        version.get("name").and_then(Value::as_str).ok_or(CrdError::Missing("version name"))?;
    let namespaced = crd.pointer("/spec/scope").and_then(Value::as_str) == Some("Namespaced");
    let scale = scale_paths(version);
    let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or(Value::Null);
    let mut subresources = Vec::new();
    let part = |name: &str, group: &str, version: &str, kind: &str| Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: vec![Verb::Get, Verb::Patch, Verb::Update],
    };
    if version.pointer("/subresources/status").is_some_and(|status| !status.is_null()) {
        subresources.push(part("status", group, version_name, &kind));
    }
    if scale.is_some() {
        subresources.push(part("scale", "autoscaling", "v1", "Scale"));
    }
    let shape = root_shape(&schema, types);
    let preserve_unknown = crd.pointer("/spec/preserveUnknownFields").and_then(Value::as_bool) == Some(true);
    let custom = CustomVersion {
        definition: name.to_owned(),
        schema,
        columns: columns(version),
        selectable: selectable(version),
        scale,
        deprecation: deprecation(version, group, version_name, &kind),
        preserve_unknown,
    };
    Ok(Resource {
        group: group.to_owned(),
        version: version_name.to_owned(),
        list_kind: text("listKind").map_or_else(|| format!("{kind}List"), str::to_owned),
        singular: text("singular").map_or_else(|| kind.to_lowercase(), str::to_owned),
        kind,
        short_names: texts("shortNames"),
        categories: texts("categories"),
        namespaced,
        verbs: Verb::ALL.to_vec(),
        subresources,
        storage: Arc::from(format!("{group}/{plural}")),
        plural,
        storage_version: stored.to_owned(),
        shape,
        custom: Some(Arc::new(custom)),
    })
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .map(|items| items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

fn columns(version: &Value) -> Vec<Column> {
    let Some(columns) = version.get("additionalPrinterColumns").and_then(Value::as_array) else {
        return Vec::new();
    };
    let text = |column: &Value, key: &str| {
        column.get(key).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    columns
        .iter()
        .map(|column| Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description: text(column, "description"),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            json_path: text(column, "jsonPath"),
        })
        .collect()
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = version.get("selectableFields").and_then(Value::as_array);
    fields
        .into_iter()
        .flatten()
        .filter_map(|field| field.get("jsonPath")?.as_str())
        .map(str::to_owned)
        .collect()
}

fn scale_paths(version: &Value) -> Option<ScalePaths> {
    let scale = version.pointer("/subresources/scale").filter(|scale| scale.is_object())?;
    let pointer = |key: &str| scale.get(key).and_then(Value::as_str).map(|path| path.replace('.', "/"));
    Some(ScalePaths {
        spec: pointer("specReplicasPath")?,
        status: pointer("statusReplicasPath")?,
        selector: pointer("labelSelectorPath").filter(|path| !path.is_empty()),
    })
}

fn deprecation(version: &Value, group: &str, name: &str, kind: &str) -> Option<String> {
    if version.get("deprecated").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let own = version.get("deprecationWarning").and_then(Value::as_str).map(str::to_owned);
    Some(own.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated")))
}

/// Names the expression rules of a version, which are kept but not evaluated.
fn rule_warnings(version: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
    if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
        find_rules(schema, &format!("spec.versions[{name}].schema.openAPIV3Schema"), &mut found);
    }
    found
        .into_iter()
        .map(|path| format!("{path}.x-kubernetes-validations: the rules are kept but not evaluated"))
        .collect()
}

fn find_rules(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(fields) = schema.as_object() else { return };
    if fields.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty())
    {
        found.push(path.to_owned());
    }
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            find_rules(property, &format!("{path}.properties[{name}]"), found);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get(key) {
            find_rules(inner, &format!("{path}.{key}"), found);
        }
    }
}

fn field(shape: Shape) -> Field {
    Field { shape, always: false, pointer: true, patch: PatchStrategy::default(), key_default: None }
}

/// Returns the shape of whole objects: what the schema says, with the fields all objects have.
fn root_shape(schema: &Value, types: &Types) -> Shape {
    let mut root = match shape_of(schema, types) {
        Shape::Inline(inline) => Arc::unwrap_or_clone(inline),
        _ => Type {
            name: Arc::from(""),
            merging: Merging::Granular,
            fields: BTreeMap::new(),
            slots: BTreeMap::new(),
            rest: Some(Shape::Open),
        },
    };
    add_object_fields(&mut root.fields);
    Shape::Inline(Arc::new(root))
}

fn add_object_fields(fields: &mut BTreeMap<Arc<str>, Field>) {
    for name in ["apiVersion", "kind"] {
        fields.insert(Arc::from(name), field(Shape::Scalar(Scalar::String)));
    }
    fields.insert(Arc::from("metadata"), field(Shape::Named(Arc::from(OBJECT_META))));
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn shape_of(schema: &Value, types: &Types) -> Shape {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::Scalar(Scalar::IntOrString);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => object_shape(schema, types),
        Some("array") => {
            let item = schema.get("items").map_or(Shape::Open, |items| shape_of(items, types));
            let kind = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => ListKind::Set,
                Some("map") => {
                    let keys = strings(schema.get("x-kubernetes-list-map-keys"));
                    ListKind::Map(keys.into_iter().map(Arc::from).collect())
                }
                _ => ListKind::Atomic,
            };
            Shape::List(Arc::new(item), kind)
        }
        Some("integer") => Shape::Scalar(Scalar::Int64),
        Some("number") => Shape::Scalar(Scalar::Double),
        Some("boolean") => Shape::Scalar(Scalar::Bool),
        Some("string") => Shape::Scalar(Scalar::String),
        _ => Shape::Open,
    }
}

fn object_shape(schema: &Value, types: &Types) -> Shape {
    let merging = match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
        Some("atomic") => Merging::Atomic,
        _ => Merging::Granular,
    };
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let properties = schema.get("properties").and_then(Value::as_object);
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if properties.is_none() && !embedded {
        if let Some(additional) = schema.get("additionalProperties").filter(|value| value.is_object()) {
            return Shape::Map(Arc::new(shape_of(additional, types)), merging);
        }
        if preserve || flag(schema, "additionalProperties") {
            return if merging == Merging::Atomic { Shape::Json } else { Shape::Open };
        }
    }
    let mut fields = BTreeMap::new();
    for (name, property) in properties.into_iter().flatten() {
        let mut own = field(shape_of(property, types));
        own.key_default = property.get("default").and_then(Value::as_str).map(Arc::from);
        fields.insert(Arc::from(name.as_str()), own);
    }
    if embedded {
        add_object_fields(&mut fields);
    }
    let rest = preserve.then_some(Shape::Open);
    Shape::Inline(Arc::new(Type { name: Arc::from(""), merging, fields, slots: BTreeMap::new(), rest }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::registry::Registry;

    #[test]
    fn a_definition_adds_its_served_versions() {
        let mut registry = Registry::builtin();
        let crd = json!({"metadata": {"name": "things.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [
                {"name": "v1alpha1", "served": true, "storage": false, "deprecated": true},
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {},
                  "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                  "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                    "x-kubernetes-validations": [{"rule": "true"}]}}}}},
                {"name": "v2", "served": false, "storage": false}]}});
        let warnings = registry.upsert_crd(&crd).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("properties[spec]"), "{warnings:?}");
        let versions: Vec<_> = registry.custom().map(|resource| resource.version.as_str()).collect();
        assert_eq!(versions, ["v1", "v1alpha1"]);
        let things = registry.find("example.com", "v1alpha1", "things").unwrap();
        assert_eq!(things.storage_version, "v1");
        assert_eq!(
            things.custom.as_ref().unwrap().deprecation.as_deref(),
            Some("example.com/v1alpha1 Thing is deprecated")
        );
        let things = registry.find("example.com", "v1", "things").unwrap();
        assert!(things.has_status() && things.subresource("scale").is_some());
        registry.remove_crd("things.example.com");
        assert!(registry.find("example.com", "v1", "things").is_none());
    }

    #[test]
    fn a_definition_cannot_hide_built_in_resources() {
        let mut registry = Registry::builtin();
        let crd = json!({"metadata": {"name": "pods.apps"}, "spec": {"group": "apps",
            "names": {"plural": "pods", "kind": "Pod"},
            "versions": [{"name": "v1", "served": true, "storage": true}]}});
        assert!(registry.upsert_crd(&crd).is_err());
    }
}
