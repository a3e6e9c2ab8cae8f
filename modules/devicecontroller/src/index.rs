//! Which devices there are, by what reports of them are measured.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{DeviceId, NodeName};
use serde::Deserialize;

/// A device, as far as reports need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) uid: String,
    /// The node that it is on.
    pub(crate) node: Option<NodeName>,
    /// The names of its properties.
    pub(crate) properties: BTreeSet<String>,
}

/// A `Device` object without what reports do not need: there may be many.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Debug, Clone, Deserialize)]
struct Property {
    #[serde(default)]
    name: String,
}

impl Device {
    pub(crate) fn new(uid: String, spec: Spec) -> Self {
        let node = spec.node_name.and_then(|node| NodeName::parse(&node).ok());
        Self { uid, node, properties: spec.properties.into_iter().map(|property| property.name).collect() }
    }
}

/// All devices.
#[derive(Debug, Default)]
pub(crate) struct Index {
    devices: BTreeMap<DeviceId, Device>,
    listing: Option<BTreeSet<DeviceId>>,
    is_known: bool,
}

impl Index {
    /// Tells whether a whole list was received.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(crate) fn get(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.get(id)
    }

    pub(crate) fn begin(&mut self) {
        self.listing = Some(BTreeSet::new());
    }

    pub(crate) fn see(&mut self, id: DeviceId, device: Device) {
        if let Some(seen) = &mut self.listing {
            seen.insert(id.clone());
        }
        self.devices.insert(id, device);
    }

    pub(crate) fn forget(&mut self, id: &DeviceId) {
        self.devices.remove(id);
    }

    /// Ends a list; returns the devices that were not in it.
    pub(crate) fn end(&mut self) -> Vec<DeviceId> {
        self.is_known = true;
        let Some(seen) = self.listing.take() else { return Vec::new() };
        let gone: Vec<DeviceId> = self.devices.keys().filter(|id| !seen.contains(*id)).cloned().collect();
        for id in &gone {
            self.devices.remove(id);
        }
        gone
    }
}
