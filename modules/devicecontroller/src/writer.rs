//! Writing statuses.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use protocol::{ApiStatus, DeviceId};
use serde_json::json;

use crate::board::Reported;
use crate::index::Device;
use crate::status::Status;
use crate::watch;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// Brings what a device reported to its `DeviceStatus`, which is made if there is none. Returns what it
/// shows then.
pub(crate) async fn write(
    client: kube::Client,
    id: &DeviceId,
    device: &Device,
    shown: Option<Status>,
    reported: &Reported,
) -> Result<Status, ApiStatus> {
    let resource = watch::resource("DeviceStatus", "devicestatuses");
    let api: Api<DynamicObject> = Api::namespaced_with(client, id.namespace.as_str(), &resource);
    let shown = match shown {
        Some(shown) => shown,
        None => read(&api, id, device).await?,
    };
    let mut wanted = shown.clone();
    reported.apply(&mut wanted, &device.properties);
    let Some(patch) = wanted.patch_from(&shown) else { return Ok(wanted) };
    let name = id.name.as_str();
    call(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await?;
    Ok(wanted)
}

async fn read(api: &Api<DynamicObject>, id: &DeviceId, device: &Device) -> Result<Status, ApiStatus> {
    let name = id.name.as_str();
    if let Some(object) = call(api.get_opt(name)).await? {
        return Ok(Status::of(&object.data));
    }
    let mut object = DynamicObject::new(name, &watch::resource("DeviceStatus", "devicestatuses"));
    object.metadata.namespace = Some(id.namespace.to_string());
    object.metadata.owner_references = Some(vec![owner(id, device)]);
    object.data = json!({ "spec": {} });
    match call(api.create(&PostParams::default(), &object)).await {
        Ok(made) => Ok(Status::of(&made.data)),
        // Another one was faster, or an earlier try was not answered.
        Err(status) if status.code == 409 => call(api.get(name)).await.map(|object| Status::of(&object.data)),
        Err(status) => Err(status),
    }
}

fn owner(id: &DeviceId, device: &Device) -> OwnerReference {
    let kind = watch::resource("Device", "devices");
    OwnerReference {
        api_version: kind.api_version,
        kind: kind.kind,
        name: id.name.to_string(),
        uid: device.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What is not there is the server's trouble, not that of the node which reports: it has the device.
async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiStatus> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            let message = format!("the status of the device cannot be written: {}", status.message);
            Err(ApiStatus::new(503, "ServiceUnavailable", message))
        }
        Ok(Err(kube::Error::Api(status))) => {
            Err(ApiStatus::new(status.code, &status.reason, &status.message))
        }
        Ok(Err(error)) => Err(ApiStatus::new(503, "ServiceUnavailable", error.to_string())),
        Err(_elapsed) => Err(ApiStatus::new(504, "Timeout", "the Kubernetes API did not answer in time")),
    }
}
