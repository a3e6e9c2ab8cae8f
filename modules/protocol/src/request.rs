//! What a node asks of the cloud, and what the cloud answers.

use bytes::Bytes;

use crate::device::DeviceId;
use crate::name::{Namespace, NodeName, ObjectName};
use crate::object::{Object, ObjectKey};
use crate::status::ApiStatus;

/// What is to be done with a node's lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Lease {
    /// Create it.
    Create(Object),
    /// Renew it.
    Update(Object),
}

/// A request of a node, whatever codec carried it.
///
/// Patches are strategic-merge patches as JSON text, as kubelet makes them.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeRequest {
    /// Creates the node's own Node object. Answered with the object, or `AlreadyExists`.
    RegisterNode(Object),
    /// Merges the labels and annotations of the given Node. Answered with `Done`.
    UpdateNode(Object),
    /// Patches the node's status. Answered with the object.
    PatchNodeStatus {
        /// The node.
        node: NodeName,
        /// The patch.
        patch: Bytes,
    },
    /// Patches a pod's status. Answered with the object.
    PatchPodStatus {
        /// The pod's namespace.
        namespace: Namespace,
        /// The pod's name.
        pod: ObjectName,
        /// The patch.
        patch: Bytes,
    },
    /// Creates a mirror pod. Answered with the object.
    CreatePod(Object),
    /// Deletes a pod that the node has ended. Answered with `Done`.
    DeletePod {
        /// The pod's namespace.
        namespace: Namespace,
        /// The pod's name.
        pod: ObjectName,
        /// A `DeleteOptions` object as JSON.
        options: Bytes,
    },
    /// Reads one object. Answered with it.
    Query(ObjectKey),
    /// Creates or renews the node's lease. Answered with the object.
    Lease(Lease),
    /// Makes a service-account token from a `TokenRequest`. Answered with the filled request.
    Token {
        /// The service account's namespace.
        namespace: Namespace,
        /// The service account.
        account: ObjectName,
        /// The `TokenRequest`.
        request: Object,
    },
    /// Creates a certificate signing request. Answered with the object.
    CreateCsr(Object),
    /// Records an event. Not answered.
    RecordEvent(Object),
    /// Patches an event that was recorded before. Not answered.
    PatchEvent {
        /// The event.
        event: Object,
        /// The patch.
        patch: Bytes,
    },
    /// Reports what the twins of a device are. Answered with `Done`.
    ReportTwins {
        /// The device.
        device: DeviceId,
        /// A [`TwinUpdate`](crate::device::payload::TwinUpdate) as JSON, with versions.
        report: Bytes,
    },
    /// Reports the state of a device. Answered with `Done`.
    ReportDeviceState {
        /// The device.
        device: DeviceId,
        /// A [`StateReport`](crate::device::payload::StateReport) as JSON.
        report: Bytes,
    },
    /// Asks for the PEM of the Kubernetes CA. Answered with `Text`.
    KubernetesCa,
    /// Passes on what a local client published, for the rules. Answered with `Done` once the rules have
    /// dealt with it; an edge of KubeEdge is not answered.
    Upload {
        /// The MQTT topic.
        topic: String,
        /// What was published.
        payload: Bytes,
    },
    /// Has a URL called for a local application, by a rule. Answered with `Text`, the body of what the
    /// URL's endpoint answered.
    CallUrl {
        /// The URL, as the rule names it.
        url: String,
        /// The whole request of the application, as JSON.
        body: Bytes,
    },
}

impl NodeRequest {
    /// Tells whether the cloud answers this request.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::RecordEvent(_) | Self::PatchEvent { .. } | Self::Upload { .. })
    }

    /// Tells whether it is for the rules.
    #[must_use]
    pub fn is_for_rules(&self) -> bool {
        matches!(self, Self::Upload { .. } | Self::CallUrl { .. })
    }

    /// Returns the device that is spoken of.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::ReportTwins { device, .. } | Self::ReportDeviceState { device, .. } => Some(device),
            _ => None,
        }
    }
}

/// The cloud's answer to a [`NodeRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum NodeReply {
    /// The object that was made, changed or read.
    Object(Object),
    /// Done, with nothing to say.
    Done,
    /// A text, such as a PEM document.
    Text(String),
    /// The Kubernetes API refused.
    Refused(ApiStatus),
}
