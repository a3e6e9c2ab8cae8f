//! Custom resource definitions, made from the types.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::ResourceKind;
use crate::schema;

/// A custom resource: its names and its versions.
pub(crate) struct Definition {
    kind: ResourceKind,
    description: &'static str,
    short_names: &'static [&'static str],
    versions: Vec<Version>,
}

impl Definition {
    pub(crate) fn new(kind: ResourceKind, description: &'static str) -> Self {
        Self { kind, description, short_names: &[], versions: Vec::new() }
    }

    pub(crate) fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    pub(crate) fn version(mut self, version: Version) -> Self {
        self.versions.push(version);
        self
    }

    /// Returns the object that tells an API server of the resource.
    pub(crate) fn object(&self) -> Value {
        let ResourceKind { group, kind, plural, .. } = self.kind;
        let mut names = json!({"kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                               "singular": kind.to_lowercase()});
        if !self.short_names.is_empty() {
            names["shortNames"] = json!(self.short_names);
        }
        let versions: Vec<Value> =
            self.versions.iter().map(|version| version.object(self.description)).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "names": names,
                "scope": if self.kind.is_namespaced { "Namespaced" } else { "Cluster" },
                "versions": versions,
            },
        })
    }
}

/// A version of a custom resource.
pub(crate) struct Version {
    name: &'static str,
    is_stored: bool,
    has_status_subresource: bool,
    /// Whether the schema names what every object has.
    has_header: bool,
    /// The schema of the whole object, but for its header and parts.
    root: Option<fn() -> Value>,
    parts: Vec<(&'static str, Part)>,
}

impl Version {
    /// The version that objects are stored in.
    pub(crate) fn stored(name: &'static str) -> Self {
        Self { is_stored: true, ..Self::served(name) }
    }

    /// A version that is served only.
    pub(crate) fn served(name: &'static str) -> Self {
        Self {
            name,
            is_stored: false,
            has_status_subresource: false,
            has_header: true,
            root: None,
            parts: Vec::new(),
        }
    }

    pub(crate) fn spec(mut self, part: Part) -> Self {
        self.parts.push(("spec", part));
        self
    }

    pub(crate) fn status(mut self, part: Part) -> Self {
        self.parts.push(("status", part));
        self
    }

    pub(crate) fn root<T: JsonSchema>(mut self) -> Self {
        self.root = Some(schema::of::<T>);
        self
    }

    pub(crate) fn without_header(mut self) -> Self {
        self.has_header = false;
        self
    }

    pub(crate) fn with_status_subresource(mut self) -> Self {
        self.has_status_subresource = true;
        self
    }

    fn object(&self, description: &str) -> Value {
        let mut version = json!({"name": self.name, "served": true, "storage": self.is_stored,
                                 "schema": {"openAPIV3Schema": self.schema(description)}});
        if self.has_status_subresource {
            version["subresources"] = json!({"status": {}});
        }
        version
    }

    fn schema(&self, description: &str) -> Value {
        let mut root = self.root.map_or_else(|| json!({"type": "object", "properties": {}}), |root| root());
        root["description"] = json!(description);
        let mut properties = Map::new();
        if self.has_header {
            properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
            properties.insert("kind".to_owned(), json!({"type": "string"}));
            properties.insert("metadata".to_owned(), json!({"type": "object"}));
        }
        let mut required = Vec::new();
        for (name, part) in &self.parts {
            properties.insert((*name).to_owned(), (part.schema)());
            if part.is_required {
                required.push(*name);
            }
        }
        if let Some(Value::Object(own)) = root.get_mut("properties") {
            own.append(&mut properties);
        }
        if !required.is_empty() {
            root["required"] = json!(required);
        }
        root
    }
}

/// The spec or the status of a version.
pub(crate) struct Part {
    is_required: bool,
    schema: fn() -> Value,
}

impl Part {
    pub(crate) fn must<T: JsonSchema>() -> Self {
        Self { is_required: true, schema: schema::of::<T> }
    }

    pub(crate) fn may<T: JsonSchema>() -> Self {
        Self { is_required: false, schema: schema::of::<T> }
    }
}
