//! Devices and their twins: what a node's device module, its local clients and the cloud say to each other.
//!
//! A twin is one property of a device with two values: the one that is wanted of it and the one that it
//! reported. Local clients are those of the MQTT broker and the mappers.

use std::fmt;

use beehive::Message;
use bytes::Bytes;

use crate::edge::MetaError;
use crate::name::{NameError, Namespace, ObjectName, ResourceType};
use crate::object::ObjectKey;

pub mod payload;

/// A device, written `<namespace>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl DeviceId {
    /// Reads a namespace and a name.
    ///
    /// # Errors
    ///
    /// When one of them is not valid.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, NameError> {
        Ok(Self { namespace: Namespace::parse(namespace)?, name: ObjectName::parse(name)? })
    }

    /// Returns the device that an object of the API is.
    #[must_use]
    pub fn of(key: &ObjectKey) -> Option<Self> {
        let is_device = key.resource == ResourceType::DEVICE;
        let namespace = key.namespace.clone().filter(|_| is_device)?;
        Some(Self { namespace, name: key.name.clone() })
    }

    /// Returns the key of its `Device` object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            resource: ResourceType::DEVICE,
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a local client wants of devices. The payloads are JSON, as KubeEdge's MQTT topics carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceCall {
    /// `.../twin/update`: values were reported or are wanted.
    UpdateTwins(DeviceId),
    /// `.../twin/get`: what are its twins?
    GetTwins(DeviceId),
    /// `.../twin/cloud_updated`: the twins as another copy of them has them, with versions.
    SyncTwins(DeviceId),
    /// `.../state/update`: the device is online, or is not.
    UpdateState(DeviceId),
    /// `.../updated`: attributes changed.
    UpdateAttributes(DeviceId),
    /// `membership/get` of the node: which devices are there?
    GetMembership,
}

/// A local client calls; served by the device twins.
///
/// `Ok` means that whatever it changes is on disk, or that it changes nothing: what was wrong with it the
/// client is told in an answer of its own, a [`PublishLocal`].
#[derive(Debug, Clone, Message)]
#[reply(Result<(), MetaError>)]
pub struct CallDevice {
    /// What is wanted.
    pub call: DeviceCall,
    /// The payload as it came.
    pub payload: Bytes,
}

/// What a mapper says of one property of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportedProperty {
    /// The property's name.
    pub name: String,
    /// The value that the device has.
    pub reported: Option<String>,
    /// The value that is wanted of it, as the mapper knows that. Empty if none is.
    pub observed_desired: Option<String>,
}

/// Says why what a mapper reports was not kept, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The node has no such device.
    #[error("this node has no device {0}")]
    NoDevice(DeviceId),
    /// Names or values that are not allowed. What else was reported is on disk.
    #[error("{0}")]
    Invalid(String),
    /// The store failed, or too much waits for it.
    #[error(transparent)]
    Store(#[from] MetaError),
}

/// A mapper reports values of a device; served by the device twins. `Ok` means that they are on disk.
///
/// Local clients are told as if the mapper had published them by MQTT, as KubeEdge's edgecore does.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[reply(Result<(), ReportError>)]
pub struct ReportProperties {
    /// The device.
    pub device: DeviceId,
    /// The properties.
    pub properties: Vec<ReportedProperty>,
}

/// A mapper reports the state of a device; served by the device twins. `Ok` means that it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[reply(Result<(), ReportError>)]
pub struct ReportState {
    /// The device.
    pub device: DeviceId,
    /// `online`, `ok`, `offline`, `unknown` or `unhealthy`, in any case.
    pub state: String,
}

/// Where local clients read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalTopic {
    /// `.../twin/update/result`. Requests that could not be read are answered without a device, as KubeEdge
    /// does.
    TwinResult(Option<DeviceId>),
    /// `.../twin/update/document`: the twins before and after.
    TwinDocument(DeviceId),
    /// `.../twin/update/delta`: what is wanted and not reported.
    TwinDelta(DeviceId),
    /// `.../twin/get/result`.
    TwinGetResult(DeviceId),
    /// `.../state/update/result`.
    StateResult(DeviceId),
    /// `.../updated`: attributes changed.
    AttributesUpdated(DeviceId),
    /// `membership/updated` of the node.
    MembershipUpdated,
    /// `membership/get/result` of the node.
    MembershipResult,
    /// A topic of the users' own.
    Other(String),
}

/// Tells local clients something; served by the event bus. Lost where there is no broker.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PublishLocal {
    /// Where.
    pub topic: LocalTopic,
    /// What.
    pub payload: Bytes,
}

/// A device reported a value, and it is on disk. Published by the device twins.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub struct TwinReported {
    /// The device.
    pub device: DeviceId,
    /// The twin's name.
    pub property: String,
    /// The value, as text.
    pub value: String,
}

/// Says why a twin's value cannot be wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// The node has no such device.
    #[error("this node has no device {0}")]
    NoDevice(DeviceId),
    /// The name or the value is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
}

/// Wants a value of a twin, as a local client does; served by the device twins. `Ok` means that it is on
/// disk.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[reply(Result<(), TwinError>)]
pub struct DesireTwin {
    /// The device.
    pub device: DeviceId,
    /// The twin's name.
    pub property: String,
    /// The value, as text.
    pub value: String,
}
