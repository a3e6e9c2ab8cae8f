//! The end of custom resource definitions: their objects go first.

use super::{delete_all, objects, release, resource_of};
use crate::server::CRDS;
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::verbs::delete::{CUSTOM_CLEANUP, DeleteOptions};

/// Deletes the objects of definitions that are being deleted, and ends the empty ones.
pub(super) async fn empty(call: &Call) -> Result<(), ApiError> {
    let ending = objects(call, CRDS, None, |definition| {
        definition.deleting && definition.finalizers.iter().any(|name| name == CUSTOM_CLEANUP)
    });
    for (key, definition) in ending {
        let served = call
            .registry
            .custom()
            .find(|resource| resource.custom.as_ref().is_some_and(|custom| *custom.definition == *key.name));
        if let Some(resource) = served {
            let found = objects(call, &resource.storage, None, |object| !object.deleting);
            delete_all(call, resource, &found, &DeleteOptions::default()).await?;
            if !objects(call, &resource.storage, None, |_| true).is_empty() {
                continue;
            }
        }
        let Some(resource) = resource_of(&call.registry, CRDS) else { continue };
        let storage = &call.server.0.storage;
        storage
            .write(|transaction| release(resource, transaction, &key, &definition.uid, CUSTOM_CLEANUP))
            .await?;
    }
    Ok(())
}
