//! Patching objects.

use std::sync::Arc;

use serde_json::Value;

use crate::patch::{self, ApplyError, Manager, PatchError, PatchType};
use crate::schema;
use crate::server::call::{Call, Decoded, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::reply::Reply;
use crate::storage::Transaction;
use crate::storage::object::Stored;
use crate::verbs::create::{Tracking, accept, carry_out, insert};
use crate::verbs::update::{finish, merge_server_fields, replace, store};
use crate::verbs::{negotiate, render};

pub(crate) async fn patch(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    patch_part(call, wanted, "").await
}

/// Patches an object, or the part of it that a subresource writes.
pub(crate) async fn patch_part(call: &Call, wanted: &Wanted, subresource: &str) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let (kind, decoded) = decode(call)?;
    let dry = call.query.dry_run()?;
    let (code, object, warnings) = carry_out(call, dry, |transaction| match kind {
        PatchType::Apply => apply(call, wanted, transaction, decoded, subresource),
        _ => modify(call, wanted, transaction, kind, &decoded, subresource),
    })
    .await?;
    Ok(render::one(call, code, &wanted.resource, &object, &form).with_warnings(warnings))
}

/// Reads the body of a patch.
pub(crate) fn decode(call: &Call) -> Result<(PatchType, Decoded), ApiError> {
    let kind = PatchType::of_content_type(&call.content_type).ok_or_else(|| {
        ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml",
        )
    })?;
    let decoded = match kind {
        PatchType::Apply => call.decode_json().or_else(|_| call.decode_yaml())?,
        _ => call.decode_json()?,
    };
    Ok((kind, decoded))
}

type Patched = (u16, Arc<Stored>, Vec<String>);

fn modify(
    call: &Call,
    wanted: &Wanted,
    transaction: &mut Transaction<'_>,
    kind: PatchType,
    decoded: &Decoded,
    subresource: &str,
) -> Result<Patched, ApiError> {
    let old = transaction.get(&wanted.resource.storage, &wanted.key()).ok_or_else(|| wanted.not_found())?;
    let before = render::value(&wanted.resource, &old);
    let mut new = changed(call, wanted, kind, &before, &decoded.value)?;
    let mut warnings = accept(call, &wanted.resource, &mut new, decoded.duplicates.clone())?;
    warnings.extend(schema::warnings(&call.registry, &wanted.resource, &new));
    let object = replace(call, wanted, transaction, &old, new, subresource)?;
    Ok((200, object, warnings))
}

/// Returns what a JSON, merge or strategic merge patch makes of a document.
pub(crate) fn changed(
    call: &Call,
    wanted: &Wanted,
    kind: PatchType,
    before: &Value,
    change: &Value,
) -> Result<Value, ApiError> {
    let result = match kind {
        PatchType::Json => patch::json(before, change),
        PatchType::Merge => patch::merge(before, change),
        PatchType::Strategic => patch::strategic(&call.registry, &wanted.resource, before, change),
        PatchType::Apply => Err(PatchError::Unsupported),
    };
    result.map_err(|error| refused(wanted, error))
}

fn refused(wanted: &Wanted, error: PatchError) -> ApiError {
    match error {
        PatchError::BadRequest(problem) => ApiError::bad_request(problem),
        PatchError::Unprocessable(problem) => ApiError::new(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {problem}"),
        )
        .with_details(serde_json::json!({"name": wanted.name(), "kind": wanted.resource.plural})),
        PatchError::Unsupported => ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ),
    }
}

fn apply(
    call: &Call,
    wanted: &Wanted,
    transaction: &mut Transaction<'_>,
    decoded: Decoded,
    subresource: &str,
) -> Result<Patched, ApiError> {
    let Some(manager) = call.query.filled("fieldManager") else {
        let problem = "Required value: is required for apply patch";
        return Err(ApiError::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            "FieldValueRequired",
            "fieldManager",
            problem,
        ));
    };
    let resource = &wanted.resource;
    let manager = Manager { name: manager, subresource, now: call.now };
    let Decoded { value: mut applied, duplicates } = decoded;
    let mut warnings = accept(call, resource, &mut applied, duplicates)?;
    warnings.extend(schema::warnings(&call.registry, resource, &applied));
    let force = call.query.flag("force");
    let old = transaction.get(&resource.storage, &wanted.key());
    let before = old.as_ref().map(|old| render::value(resource, old));
    let merged = patch::apply(&call.registry, resource, before.as_ref(), &applied, &manager, force)
        .map_err(|error| not_applied(wanted, &error))?;
    let (Some(old), Some(before)) = (old, before) else {
        if !subresource.is_empty() {
            return Err(wanted.not_found());
        }
        let mut merged = merged;
        meta::metadata_mut(&mut merged).insert("name".to_owned(), wanted.name().into());
        let object = insert(call, resource, wanted.namespace(), transaction, merged, Tracking::Applied)?;
        return Ok((201, object, warnings));
    };
    let mut new = merge_server_fields(wanted, &old, &before, merged)?;
    finish(call, wanted, transaction, &old, &before, &mut new, subresource)?;
    Ok((200, store(wanted, transaction, &old, &before, new)?, warnings))
}

fn not_applied(wanted: &Wanted, error: &ApplyError) -> ApiError {
    ApiError::of_status(error.status(&wanted.resource, wanted.name()))
}
