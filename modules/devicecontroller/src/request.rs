//! Reading what nodes report.

use protocol::device::payload::{self, StateReport, TwinUpdate};
use protocol::{ApiStatus, DeviceId, NodeName, NodeRequest};

use crate::board::Reported;
use crate::index::Index;

/// Reads a report of a device that is on the node.
pub(crate) fn read(
    index: &Index,
    node: &NodeName,
    request: &NodeRequest,
) -> Result<(DeviceId, Reported), ApiStatus> {
    let Some(id) = request.device() else {
        return Err(ApiStatus::new(400, "BadRequest", "this is no report of a device"));
    };
    match index.get(id) {
        Some(device) if device.node.as_ref() == Some(node) => {}
        None if !index.is_known() => {
            let why = "the devices could not be read yet";
            return Err(ApiStatus::new(503, "ServiceUnavailable", why));
        }
        Some(_) => {
            let why =
                format!("devices.devices.kubeedge.io \"{id}\" is forbidden: it is not on the node {node}");
            return Err(ApiStatus::new(403, "Forbidden", why));
        }
        None => return Err(not_found(id)),
    }
    let unreadable = |error: serde_json::Error| {
        ApiStatus::new(400, "BadRequest", format!("the report is not readable: {error}"))
    };
    let reported = match request {
        NodeRequest::ReportDeviceState { report, .. } => {
            Reported::state(payload::read::<StateReport>(report).map_err(unreadable)?.device)
        }
        NodeRequest::ReportTwins { report, .. } => {
            Reported::twins(payload::read::<TwinUpdate>(report).map_err(unreadable)?)
        }
        _ => Reported::default(),
    };
    Ok((id.clone(), reported))
}

/// What is said of a device that there is not.
pub(crate) fn not_found(device: &DeviceId) -> ApiStatus {
    ApiStatus::new(404, "NotFound", format!("devices.devices.kubeedge.io \"{device}\" not found"))
}
