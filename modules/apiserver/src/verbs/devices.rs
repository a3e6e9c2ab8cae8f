//! Devices, shown with what is known of them.
//!
//! KubeEdge 1.23 keeps what devices report in objects of their own, `DeviceStatus`; up to 1.22 it stood in
//! the device's status, where people and tutorials look for it. So it is shown there too when a device is
//! read. It is not a change of the device: whoever watches devices hears nothing of it, and nothing of it
//! is kept there.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::Resource;
use crate::storage::Storage;
use crate::storage::object::{Key, Stored};

const GROUP: &str = "devices.kubeedge.io";
const STATUSES: &str = "devices.kubeedge.io/devicestatuses";
/// What is shown of a `DeviceStatus`.
const SHOWN: [&str; 3] = ["twins", "state", "lastOnlineTime"];

/// Returns an object as it is to be shown.
pub(crate) fn shown(storage: &Storage, resource: &Resource, key: &Key, object: Arc<Stored>) -> Arc<Stored> {
    if !(resource.is_custom() && resource.group == GROUP && resource.plural == "devices") {
        return object;
    }
    let Some(known) = storage.get(STATUSES, key) else { return object };
    // An earlier device of this name may not have been cleaned up after yet.
    if !known.owners.is_empty() && known.owners.iter().all(|owner| owner.uid != object.uid) {
        return object;
    }
    let known = known.bare_value();
    let Some(known) = known.get("status").and_then(Value::as_object) else { return object };
    let mut value = object.bare_value();
    let Some(fields) = value.as_object_mut() else { return object };
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return object };
    let known = SHOWN.into_iter().filter_map(|field| Some((field.to_owned(), known.get(field)?.clone())));
    status.extend(known);
    // It was stored, so it has the form of what can be.
    Stored::new(value, object.version).map_or(object, Arc::new)
}
