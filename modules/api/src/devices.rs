//! `devices.kubeedge.io`: devices, their models and what is known of them.

pub mod v1alpha2;
pub mod v1beta1;

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};

/// A device.
pub const DEVICE: ResourceKind = ResourceKind {
    group: "devices.kubeedge.io",
    version: "v1beta1",
    kind: "Device",
    plural: "devices",
    is_namespaced: true,
};

/// What devices of one type have in common.
pub const DEVICE_MODEL: ResourceKind = ResourceKind { kind: "DeviceModel", plural: "devicemodels", ..DEVICE };

/// What is known of a device.
pub const DEVICE_STATUS: ResourceKind =
    ResourceKind { kind: "DeviceStatus", plural: "devicestatuses", ..DEVICE };

pub(crate) fn definitions() -> [Definition; 3] {
    [
        Definition::new(DEVICE, "A device.")
            .version(
                Version::served("v1alpha2")
                    .spec(Part::may::<v1alpha2::DeviceSpec>())
                    .status(Part::may::<v1alpha2::DeviceStatus>()),
            )
            .version(
                Version::stored("v1beta1")
                    .spec(Part::may::<v1beta1::DeviceSpec>())
                    .status(Part::may::<v1beta1::DeviceReport>()),
            ),
        Definition::new(DEVICE_MODEL, "What devices of one type have in common.")
            .version(Version::served("v1alpha2").spec(Part::may::<v1alpha2::DeviceModelSpec>()))
            .version(Version::stored("v1beta1").spec(Part::may::<v1beta1::DeviceModelSpec>())),
        Definition::new(DEVICE_STATUS, "What is known of a device.")
            // The first version's schema has the twins at the root and nothing else.
            .version(Version::served("v1alpha2").without_header().root::<v1alpha2::DeviceStatus>())
            .version(
                Version::stored("v1beta1")
                    .spec(Part::may::<v1beta1::DeviceStatusSpec>())
                    .status(Part::may::<v1beta1::DeviceStatusStatus>()),
            ),
    ]
}
