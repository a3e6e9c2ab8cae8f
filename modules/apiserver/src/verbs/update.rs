//! Replacing objects.

use std::sync::Arc;

use serde_json::Value;

use crate::patch::Manager;
use crate::registry::{self, Resource};
use crate::schema;
use crate::server::call::{Call, Decoded, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::reply::Reply;
use crate::storage::Transaction;
use crate::storage::object::Stored;
use crate::verbs::create::{Tracking, accept, carry_out, insert, place};
use crate::verbs::{admission, negotiate, render};

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";
/// What only the server sets.
const SERVER_OWNED: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "selfLink",
];

pub(crate) async fn update(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    update_part(call, wanted, "").await
}

/// Replaces an object, or the part of it that a subresource writes.
pub(crate) async fn update_part(call: &Call, wanted: &Wanted, subresource: &str) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let Decoded { mut value, duplicates } = call.decode()?;
    let mut warnings = accept(call, &wanted.resource, &mut value, duplicates)?;
    warnings.extend(schema::warnings(&call.registry, &wanted.resource, &value));
    let dry = call.query.dry_run()?;
    let (code, object) =
        carry_out(call, dry, |transaction| match transaction.get(&wanted.resource.storage, &wanted.key()) {
            Some(old) => Ok((200, replace(call, wanted, transaction, &old, value, subresource)?)),
            None if subresource.is_empty() && may_create(&wanted.resource) => {
                check_name(wanted, &mut value)?;
                let namespace = wanted.namespace();
                Ok((201, insert(call, &wanted.resource, namespace, transaction, value, Tracking::Update)?))
            }
            None => Err(wanted.not_found()),
        })
        .await?;
    Ok(render::one(call, code, &wanted.resource, &object, &form).with_warnings(warnings))
}

/// The kinds that a PUT may create.
fn may_create(resource: &Resource) -> bool {
    resource.is("", "events")
        || resource.is("events.k8s.io", "events")
        || resource.is("", "endpoints")
        || resource.is("", "limitranges")
        || resource.is("coordination.k8s.io", "leases")
        || (!resource.is_custom() && resource.group == "rbac.authorization.k8s.io")
}

fn check_name(wanted: &Wanted, value: &mut Value) -> Result<(), ApiError> {
    let given = meta::text(value, "name");
    if !given.is_empty() && given != wanted.name() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            wanted.name()
        )));
    }
    meta::metadata_mut(value).insert("name".to_owned(), wanted.name().into());
    Ok(())
}

/// Stages the new state of an object, or its removal when nothing holds it any longer.
pub(crate) fn replace(
    call: &Call,
    wanted: &Wanted,
    transaction: &mut Transaction<'_>,
    old: &Arc<Stored>,
    new: Value,
    subresource: &str,
) -> Result<Arc<Stored>, ApiError> {
    let before = render::value(&wanted.resource, old);
    let mut new = merge_server_fields(wanted, old, &before, new)?;
    finish(call, wanted, transaction, old, &before, &mut new, subresource)?;
    let manager = call.field_manager();
    let manager = Manager { name: &manager, subresource, now: call.now };
    crate::patch::track(&call.registry, &wanted.resource, Some(&before), &mut new, &manager);
    store(wanted, transaction, old, &before, new)
}

/// Checks a new state against the old one and takes over what only the server sets.
pub(crate) fn merge_server_fields(
    wanted: &Wanted,
    old: &Stored,
    before: &Value,
    mut new: Value,
) -> Result<Value, ApiError> {
    let resource = &wanted.resource;
    check_name(wanted, &mut new)?;
    place(resource, wanted.namespace(), &mut new)?;
    let conflict =
        |cause: String| ApiError::conflict(&resource.group, &resource.plural, wanted.name(), cause);
    let uid = meta::text(&new, "uid");
    if !uid.is_empty() && uid != old.uid {
        return Err(conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.uid
        )));
    }
    match meta::text(&new, "resourceVersion") {
        "" | "0" if resource.is_custom() => {
            let problem = "Invalid value: 0: must be specified for an update";
            let field = "metadata.resourceVersion";
            return Err(ApiError::invalid(
                &resource.group,
                &resource.kind,
                wanted.name(),
                "FieldValueInvalid",
                field,
                problem,
            ));
        }
        "" | "0" => {}
        given if given.parse() == Ok(old.version) => {}
        _ => return Err(conflict(MODIFIED.to_owned())),
    }
    meta::copy(before, &mut new, &SERVER_OWNED);
    if new.pointer("/metadata/managedFields").is_none() {
        meta::copy(before, &mut new, &["managedFields"]);
    }
    Ok(new)
}

/// Prepares, defaults and validates a new state.
pub(crate) fn finish(
    call: &Call,
    wanted: &Wanted,
    transaction: &mut Transaction<'_>,
    old: &Stored,
    before: &Value,
    new: &mut Value,
    subresource: &str,
) -> Result<(), ApiError> {
    let resource = &wanted.resource;
    // Defaults first: what a writer leaves out is no change, and no new generation.
    schema::default(&call.registry, resource, new);
    registry::settle(resource, new);
    schema::prepare(resource, Some(before), new, subresource);
    admission::update(call, resource, transaction, before, new, subresource)?;
    if old.deleting {
        let added = meta::finalizers(new).into_iter().find(|name| !old.finalizers.contains(name));
        if let Some(name) = added {
            let problem = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{name:?}}}"
            );
            let field = "metadata.finalizers";
            let reason = "FieldValueForbidden";
            return Err(ApiError::invalid(
                &resource.group,
                &resource.kind,
                wanted.name(),
                reason,
                field,
                &problem,
            ));
        }
    }
    let errors = schema::validate(&call.registry, resource, Some(before), new, subresource);
    if errors.is_empty() { Ok(()) } else { Err(ApiError::of_status(errors.status(resource, wanted.name()))) }
}

/// Stages a checked state; a change of nothing stages nothing.
pub(crate) fn store(
    wanted: &Wanted,
    transaction: &mut Transaction<'_>,
    old: &Arc<Stored>,
    before: &Value,
    new: Value,
) -> Result<Arc<Stored>, ApiError> {
    let resource = &wanted.resource;
    if is_unheld(&new) {
        return transaction.remove(&resource.storage, wanted.key(), registry::to_storage(resource, new));
    }
    if is_same(before, &new) {
        return Ok(Arc::clone(old));
    }
    transaction.put(&resource.storage, wanted.key(), registry::to_storage(resource, new))
}

/// Tells whether an object that is being deleted has nothing left that holds it.
pub(crate) fn is_unheld(object: &Value) -> bool {
    let grace =
        object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default();
    let emptying = object.get("kind").and_then(Value::as_str) == Some("Namespace")
        && object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|names| !names.is_empty());
    meta::is_deleting(object) && grace == 0 && meta::finalizers(object).is_empty() && !emptying
}

/// Tells whether two states differ in nothing but versions and the times of tracked changes.
fn is_same(before: &Value, after: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        let metadata = meta::metadata_mut(&mut object);
        metadata.remove("resourceVersion");
        let entries = metadata.get_mut("managedFields").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        object
    };
    bare(before) == bare(after)
}
