//! The description of the API that kubectl validates, explains and merges with: OpenAPI v3, one
//! document per group and version, and v2, one document for all.

mod custom;
mod gnostic;
mod paths;
mod roots;
mod schemas;
mod v2;

use std::sync::Mutex;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::registry::{Registry, Resource};

/// How many documents are kept; they are large and asked for rarely.
const KEPT_MAX: usize = 4;

const VERSION: &str = "v1.32.0";

/// A form of the v2 document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenApiV2 {
    /// JSON.
    Json,
    /// Protobuf, which older kubectl asks for.
    Protobuf,
}

impl OpenApiV2 {
    /// Returns the content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            // Clients ask with an `@` in place of the last dot, which no content type may have.
            Self::Protobuf => "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        }
    }
}

/// Returns the form of the v2 document that an `Accept` header asks for.
#[must_use]
pub fn negotiate_v2(accept: &str) -> OpenApiV2 {
    for offer in accept.split(',') {
        let media = offer.split(';').next().unwrap_or_default().trim();
        if media.starts_with("application/com.github.proto-openapi.spec.v2") {
            return OpenApiV2::Protobuf;
        }
        if matches!(media, "application/json" | "*/*") {
            return OpenApiV2::Json;
        }
    }
    OpenApiV2::Json
}

/// A document that was built, and what it was built from.
#[derive(Debug)]
struct Kept {
    name: String,
    hash: String,
    document: Bytes,
}

/// Builds the documents when they are asked for, and keeps the last few.
#[derive(Debug, Default)]
pub struct OpenApi {
    kept: Mutex<Vec<Kept>>,
}

impl OpenApi {
    /// Returns a value that has built nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the index of v3 documents.
    #[must_use]
    pub fn v3_index(&self, registry: &Registry) -> Bytes {
        let mut paths = Map::new();
        for (group, versions) in registry.groups() {
            for version in versions {
                let path = document_path(&group, &version);
                let url = format!("/openapi/v3/{path}?hash={}", hash(registry, Some((&group, &version))));
                paths.insert(path, json!({ "serverRelativeURL": url }));
            }
        }
        Bytes::from(json!({ "paths": paths }).to_string())
    }

    /// Returns the v3 document of a path such as `api/v1` or `apis/apps/v1`.
    #[must_use]
    pub fn v3_document(&self, registry: &Registry, path: &str) -> Option<Bytes> {
        let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["api", version] => ("", *version),
            ["apis", group, version] => (*group, *version),
            _ => return None,
        };
        if !registry.has_group_version(group, version) {
            return None;
        }
        let hash = hash(registry, Some((group, version)));
        Some(self.document(path, hash, || v3(registry, group, version).to_string().into_bytes()))
    }

    /// Returns the v2 document.
    #[must_use]
    pub fn v2(&self, registry: &Registry, form: OpenApiV2) -> Bytes {
        let hash = hash(registry, None);
        self.document(form.content_type(), hash, || {
            let document = v2::document(registry);
            match form {
                OpenApiV2::Json => document.to_string().into_bytes(),
                OpenApiV2::Protobuf => gnostic::encode(&document),
            }
        })
    }

    fn document(&self, name: &str, hash: String, build: impl FnOnce() -> Vec<u8>) -> Bytes {
        let found = {
            let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.iter().find(|kept| kept.name == name && kept.hash == hash).map(|kept| kept.document.clone())
        };
        if let Some(document) = found {
            return document;
        }
        let document = Bytes::from(build());
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.retain(|kept| kept.name != name);
        kept.push(Kept { name: name.to_owned(), hash, document: document.clone() });
        if kept.len() > KEPT_MAX {
            kept.remove(0);
        }
        document
    }
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Returns a text that changes when the documents do.
fn hash(registry: &Registry, of: Option<(&str, &str)>) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    digest.update(VERSION);
    let wanted = |resource: &&std::sync::Arc<Resource>| {
        of.is_none_or(|(group, version)| resource.group == group && resource.version == version)
    };
    for resource in registry.resources().filter(wanted) {
        digest.update(&resource.group);
        digest.update(&resource.version);
        digest.update(&resource.kind);
        digest.update(&resource.plural);
        for part in &resource.subresources {
            digest.update(&part.name);
        }
        if let Some(custom) = &resource.custom {
            digest.update(custom.schema.to_string());
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": VERSION})
}

fn v3(registry: &Registry, group: &str, version: &str) -> Value {
    let resources: Vec<&Resource> = registry
        .resources()
        .filter(|resource| resource.group == group && resource.version == version)
        .map(AsRef::as_ref)
        .collect();
    let schemas = schemas::of(registry, &resources);
    let mut paths = Map::new();
    for resource in resources {
        paths::add(resource, &mut paths);
    }
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas,
        "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header",
            "description": "Bearer Token authentication"}}}})
}

#[cfg(test)]
mod tests;
