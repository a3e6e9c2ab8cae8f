//! How much a node keeps of devices.

/// Devices of a node.
pub(crate) const DEVICES_MAX: usize = 10_000;
/// Twins of a device, those that were taken away among them as long as the cloud does not know.
pub(crate) const TWINS_MAX: usize = 1024;
/// Twins of all devices.
pub(crate) const ALL_TWINS_MAX: usize = 200_000;
/// Attributes of a device.
pub(crate) const ATTRIBUTES_MAX: usize = 256;
/// Bytes of a device's attributes, names and values.
pub(crate) const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;
/// Bytes of all devices' attributes: one answer lists them all.
pub(crate) const ALL_ATTRIBUTES_BYTES_MAX: usize = 8 << 20;
/// Bytes of a payload.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// Twins in one report to the cloud; more go in the next.
pub(crate) const REPORTED_AT_ONCE_MAX: usize = 256;
