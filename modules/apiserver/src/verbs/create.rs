//! Creating objects.

use std::sync::Arc;

use serde_json::Value;

use crate::patch::Manager;
use crate::registry::{self, Resource};
use crate::schema;
use crate::server::call::{Call, Decoded, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::query::FieldValidation;
use crate::server::reply::Reply;
use crate::storage::Transaction;
use crate::storage::object::{Key, Stored};
use crate::verbs::{admission, negotiate, render};

/// How often a generated name may be taken before the request fails.
const GENERATED_NAMES_MAX: usize = 8;
const GENERATED_PREFIX_MAX: usize = 58;

pub(crate) async fn create(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let Decoded { mut value, duplicates } = call.decode()?;
    let mut warnings = accept(call, &wanted.resource, &mut value, duplicates)?;
    warnings.extend(schema::warnings(&call.registry, &wanted.resource, &value));
    let dry = call.query.dry_run()?;
    let object = carry_out(call, dry, |transaction| {
        insert(call, &wanted.resource, wanted.namespace(), transaction, value, Tracking::Update)
    })
    .await?;
    Ok(render::one(call, 201, &wanted.resource, &object, &form).with_warnings(warnings))
}

/// Carries out a write, or only tries it.
pub(crate) async fn carry_out<T>(
    call: &Call,
    dry: bool,
    decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let storage = &call.server.0.storage;
    if dry { storage.rehearse(decide) } else { storage.write(decide).await }
}

/// Checks that a body is of the resource's kind and holds known fields of the right types.
/// Returns what the sender should be warned of.
pub(crate) fn accept(
    call: &Call,
    resource: &Resource,
    value: &mut Value,
    duplicates: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    check_kind(resource, value)?;
    let mut odd = duplicates;
    odd.extend(schema::prune(&call.registry, resource, value));
    let warnings = match call.query.field_validation()? {
        FieldValidation::Strict if !odd.is_empty() => {
            return Err(ApiError::bad_request(schema::strict_error(resource, &odd)));
        }
        FieldValidation::Warn => odd,
        FieldValidation::Strict | FieldValidation::Ignore => Vec::new(),
    };
    schema::check_types(&call.registry, resource, value).map_err(ApiError::bad_request)?;
    Ok(warnings)
}

fn check_kind(resource: &Resource, value: &mut Value) -> Result<(), ApiError> {
    let Some(object) = value.as_object_mut() else {
        return Err(ApiError::bad_request("the body is not a JSON object"));
    };
    let api_version = resource.api_version();
    let check =
        |object: &mut serde_json::Map<String, Value>, field: &str, expected: &str, what: &str| match object
            .get(field)
            .and_then(Value::as_str)
        {
            None | Some("") => {
                object.insert(field.to_owned(), expected.into());
                Ok(())
            }
            Some(given) if given == expected => Ok(()),
            Some(given) => Err(ApiError::bad_request(format!(
                "the {what} in the data ({given}) does not match the expected {what} ({expected})"
            ))),
        };
    check(object, "apiVersion", &api_version, "API version")?;
    check(object, "kind", &resource.kind, "kind")
}

/// Whether the record of who set which field is still to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// As a plain write of the caller.
    Update,
    /// An apply wrote it already.
    Applied,
}

/// Stages a new object.
pub(crate) fn insert(
    call: &Call,
    resource: &Resource,
    namespace: &str,
    transaction: &mut Transaction<'_>,
    mut value: Value,
    tracking: Tracking,
) -> Result<Arc<Stored>, ApiError> {
    if !matches!(meta::text(&value, "resourceVersion"), "" | "0") {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    place(resource, namespace, &mut value)?;
    admission::check_namespace(call, resource, transaction, namespace, meta::text(&value, "name"))?;
    let name = choose_name(call, resource, namespace, transaction, &mut value)?;
    let metadata = meta::metadata_mut(&mut value);
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), call.server.new_uid().into());
    metadata.insert("creationTimestamp".to_owned(), meta::time(call.now));
    schema::prepare(resource, None, &mut value, "");
    schema::default(&call.registry, resource, &mut value);
    admission::create(call, resource, namespace, transaction, &mut value)?;
    // What was added has defaults too.
    schema::default(&call.registry, resource, &mut value);
    let errors = schema::validate(&call.registry, resource, None, &value, "");
    if !errors.is_empty() {
        return Err(ApiError::of_status(errors.status(resource, &name)));
    }
    let key = Key::new(namespace, &name);
    if transaction.get(&resource.storage, &key).is_some() {
        return Err(ApiError::already_exists(&resource.group, &resource.plural, &name));
    }
    if tracking == Tracking::Update {
        let manager = call.field_manager();
        let manager = Manager { name: &manager, subresource: "", now: call.now };
        crate::patch::track(&call.registry, resource, None, &mut value, &manager);
    }
    let stored = transaction.put(&resource.storage, key, registry::to_storage(resource, value))?;
    admission::created(call, resource, transaction, &name)?;
    Ok(stored)
}

/// Puts an object into the namespace of its path.
pub(crate) fn place(resource: &Resource, namespace: &str, value: &mut Value) -> Result<(), ApiError> {
    let given = meta::text(value, "namespace");
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given:?} is not {namespace:?}"
        )));
    }
    let metadata = meta::metadata_mut(value);
    if resource.namespaced {
        metadata.insert("namespace".to_owned(), namespace.into());
    } else {
        metadata.remove("namespace");
    }
    Ok(())
}

fn choose_name(
    call: &Call,
    resource: &Resource,
    namespace: &str,
    transaction: &Transaction<'_>,
    value: &mut Value,
) -> Result<String, ApiError> {
    let name = meta::text(value, "name");
    if !name.is_empty() {
        return Ok(name.to_owned());
    }
    let prefix: String = meta::text(value, "generateName").chars().take(GENERATED_PREFIX_MAX).collect();
    if prefix.is_empty() {
        let problem = "Required value: name or generateName is required";
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            "",
            "FieldValueRequired",
            "metadata.name",
            problem,
        ));
    }
    for _ in 0..GENERATED_NAMES_MAX {
        let name = format!("{prefix}{}", call.server.new_suffix());
        if transaction.get(&resource.storage, &Key::new(namespace, &name)).is_none() {
            meta::metadata_mut(value).insert("name".to_owned(), name.clone().into());
            return Ok(name);
        }
    }
    Err(ApiError::already_exists(&resource.group, &resource.plural, &prefix))
}
