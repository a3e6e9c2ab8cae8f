//! The scale of what has replicas.

use serde_json::Value;

use crate::patch::PatchType;
use crate::registry;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::path::Action;
use crate::server::reply::Reply;
use crate::verbs::create::carry_out;
use crate::verbs::{patch, render, update};

pub(crate) fn get(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let object = call.server.0.storage.get(&wanted.resource.storage, &wanted.key());
    let object = object.ok_or_else(|| wanted.not_found())?;
    Ok(Reply::json(200, &of(wanted, &render::value(&wanted.resource, &object))?))
}

fn of(wanted: &Wanted, object: &Value) -> Result<Value, ApiError> {
    registry::scale_of(&wanted.resource, object)
        .ok_or_else(|| ApiError::new(404, "NotFound", "the object has no scale"))
}

pub(crate) async fn write(call: &Call, wanted: &Wanted, action: Action) -> Result<Reply, ApiError> {
    let (kind, decoded) = match action {
        Action::Patch => {
            let (kind, decoded) = patch::decode(call)?;
            (Some(kind), decoded)
        }
        _ => (None, call.decode()?),
    };
    let dry = call.query.dry_run()?;
    let resource = &wanted.resource;
    let stored = carry_out(call, dry, |transaction| {
        let old = transaction.get(&resource.storage, &wanted.key()).ok_or_else(|| wanted.not_found())?;
        let before = render::value(resource, &old);
        let scale = of(wanted, &before)?;
        let wanted_scale = match kind {
            None => decoded.value,
            // Of a scale, all fields are plain values: the strategic patch is a merge patch.
            Some(PatchType::Strategic | PatchType::Apply) => {
                patch::changed(call, wanted, PatchType::Merge, &scale, &decoded.value)?
            }
            Some(kind) => patch::changed(call, wanted, kind, &scale, &decoded.value)?,
        };
        check(wanted, &old.uid, old.version, &wanted_scale)?;
        let mut new = before.clone();
        registry::apply_scale(resource, &mut new, &wanted_scale)
            .map_err(|errors| ApiError::of_status(errors.status(resource, wanted.name())))?;
        meta::metadata_mut(&mut new).insert("resourceVersion".to_owned(), old.version.to_string().into());
        update::replace(call, wanted, transaction, &old, new, "")
    })
    .await?;
    Ok(Reply::json(200, &of(wanted, &render::value(resource, &stored))?))
}

fn check(wanted: &Wanted, uid: &str, version: u64, scale: &Value) -> Result<(), ApiError> {
    let resource = &wanted.resource;
    let conflict =
        |cause: &str| Err(ApiError::conflict(&resource.group, &resource.plural, wanted.name(), cause));
    let (given_uid, given) = (meta::text(scale, "uid"), meta::text(scale, "resourceVersion"));
    if !given_uid.is_empty() && given_uid != uid {
        return conflict("Precondition failed: the UID of the scale is not that of the object");
    }
    if !given.is_empty() && given.parse() != Ok(version) {
        return conflict(
            "the object has been modified; please apply your changes to the latest version and try again",
        );
    }
    Ok(())
}
