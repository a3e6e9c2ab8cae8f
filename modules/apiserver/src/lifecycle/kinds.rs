//! The definitions of the kinds that come with the server.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::CRDS;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::path::ResourcePath;
use crate::storage::Transaction;
use crate::storage::object::Key;
use crate::verbs::create::{Tracking, insert};
use crate::verbs::{render, update};

/// Says which definition was written, and which generation that made.
const WRITTEN: &str = "beehive.kubeedge.io/definition";

/// Writes a definition that is missing, and replaces what an earlier version of the server wrote. What
/// anybody else wrote or changed stays.
pub(super) fn ensure(
    call: &Call,
    transaction: &mut Transaction<'_>,
    definition: &Value,
) -> Result<(), ApiError> {
    let (group, kind) = ("apiextensions.k8s.io", "CustomResourceDefinition");
    let resource = call.registry.find_kind(group, "v1", kind);
    let resource = resource.ok_or_else(|| ApiError::internal(format!("{kind} is not served")))?;
    let name = meta::text(definition, "name").to_owned();
    let print = fingerprint(definition);
    let mut definition = definition.clone();
    let Some(old) = transaction.get(CRDS, &Key::new("", &name)) else {
        definition["metadata"]["annotations"] = json!({WRITTEN: format!("{print}/1")});
        return insert(call, resource, "", transaction, definition, Tracking::Update).map(drop);
    };
    let before = render::value(resource, &old);
    let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
    let written = before["metadata"]["annotations"][WRITTEN].as_str();
    let Some((written, of)) = written.and_then(|written| written.split_once('/')) else { return Ok(()) };
    if written == print {
        return Ok(());
    }
    if of.parse() != Ok(generation) {
        tracing::info!(definition = name, "it was changed since it was written, and stays as it is");
        return Ok(());
    }
    let mut after = before.clone();
    after["spec"] = definition["spec"].take();
    let path = ResourcePath {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
        name: Some(name),
        ..ResourcePath::default()
    };
    let wanted = Wanted { resource: resource.clone(), path };
    // A definition that differs in nothing that is kept has no new generation.
    let replaced = update::replace(call, &wanted, transaction, &old, after.clone(), "")?;
    let made = render::value(resource, &replaced)["metadata"]["generation"].as_i64().unwrap_or_default();
    let mut marked = render::value(resource, &replaced);
    marked["metadata"]["annotations"][WRITTEN] = format!("{print}/{made}").into();
    update::replace(call, &wanted, transaction, &replaced, marked, "").map(drop)
}

fn fingerprint(definition: &Value) -> String {
    let digest = Sha256::digest(definition["spec"].to_string());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
