//! The end of namespaces: what is in them goes first.

use serde_json::json;

use super::{change, delete_all, objects, resource_of};
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::verbs::delete::DeleteOptions;

const NAMESPACES: &str = "core/namespaces";

/// Deletes the contents of namespaces that are being deleted, and ends the empty ones.
pub(super) async fn empty(call: &Call) -> Result<(), ApiError> {
    for (key, namespace) in objects(call, NAMESPACES, None, |namespace| namespace.deleting) {
        let mut left = 0;
        for space in call.server.0.storage.spaces() {
            let Some(resource) = resource_of(&call.registry, &space).filter(|resource| resource.namespaced)
            else {
                continue;
            };
            let found = objects(call, &space, Some(&key.name), |object| !object.deleting);
            delete_all(call, resource, &found, &DeleteOptions::default()).await?;
            left += objects(call, &space, Some(&key.name), |_| true).len();
        }
        if left > 0 {
            continue;
        }
        let Some(resource) = resource_of(&call.registry, NAMESPACES) else { continue };
        call.server
            .0
            .storage
            .write(|transaction| {
                // Nothing may have come in meanwhile: creation is refused since the deletion began.
                change(resource, transaction, &key, &namespace.uid, |object| {
                    object["spec"]["finalizers"] = json!([])
                })
            })
            .await?;
    }
    Ok(())
}
