//! What an author of a mapper implements.

use async_trait::async_trait;

use crate::device::{Device, Property};
use crate::value::Value;

/// Says why a device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The connection to the device is lost: it is opened again.
    #[error("the device is not reached: {0}")]
    Disconnected(String),
    /// The device, or what is configured of it, allows no such thing. The connection is kept.
    #[error("{0}")]
    Failed(String),
}

/// Speaks the protocol of some devices.
///
/// One task has each device, so that of one device one method runs at a time. A method that takes longer
/// than ten seconds is given up, and the device opened again.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// An open device.
    type Handle: Send;

    /// Connects to a device. [`Device::config`] says how it is reached.
    async fn open(&self, device: &Device) -> Result<Self::Handle, DriverError>;

    /// Reads a property. [`Property::visitor`] says how it is reached.
    async fn read(&self, handle: &mut Self::Handle, property: &Property) -> Result<Value, DriverError>;

    /// Writes the value that is wanted of a property.
    async fn write(
        &self,
        handle: &mut Self::Handle,
        property: &Property,
        value: &Value,
    ) -> Result<(), DriverError>;

    /// Returns the state of a device: `online`, `ok`, `offline`, `unknown` or `unhealthy`.
    async fn state(&self, handle: &mut Self::Handle) -> Result<String, DriverError> {
        let _unused = handle;
        Ok("ok".to_owned())
    }

    /// Disconnects from a device that is gone, or whose configuration is another.
    async fn close(&self, handle: Self::Handle) {
        drop(handle);
    }
}
