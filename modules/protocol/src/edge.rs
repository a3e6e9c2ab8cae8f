//! Messages on the bus of an edge process.

use std::time::Duration;

use beehive::Message;
use bytes::Bytes;

use crate::name::{Namespace, ObjectName, ResourceType};
use crate::object::{Held, Object, ObjectChange, ObjectKey};
use crate::request::{NodeReply, NodeRequest};
use crate::status::ApiStatus;

/// Says why the cloud gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// No link is up.
    #[error("the cloud is not connected")]
    Disconnected,
    /// The link broke or the deadline passed before the answer came. The cloud may have acted.
    #[error("the cloud did not answer in time")]
    NoAnswer,
    /// Too many requests wait for the link already.
    #[error("too many requests wait for the cloud")]
    Overloaded,
    /// The request is kept on disk until the cloud has it, and the disk failed.
    #[error("the request could not be kept for the cloud: {0}")]
    NotKept(String),
    /// The cloud does not know this request.
    #[error("the cloud does not serve this: {0}")]
    Unsupported(String),
}

/// Asks the cloud; served by the hub. A `Refused` reply is the Kubernetes API's own no.
///
/// Events are answered with `Done` when they are on disk, link or not: the hub passes them on.
#[derive(Debug, Clone, Message)]
#[reply(Result<NodeReply, CloudError>)]
pub struct AskCloud(pub NodeRequest);

/// The link to the cloud came up. Published by the hub.
#[derive(Debug, Clone, Message)]
pub struct LinkUp;

/// The link to the cloud was lost. Published by the hub.
#[derive(Debug, Clone, Message)]
pub struct LinkDown;

/// Says why the edge's store could not take or give an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the edge store failed: {0}")]
pub struct MetaError(pub String);

/// Keeps a change that came from the cloud; served by the metadata manager.
///
/// `Ok` means that the change is on disk: only then may the hub acknowledge it.
#[derive(Debug, Clone, Message)]
#[reply(Result<(), MetaError>)]
pub struct KeepChange(pub ObjectChange);

/// Lists what the node holds, for the hub to tell the cloud; served by the metadata manager.
///
/// The list is read from the disk, and all of it is durable: the reply waits until the changes that came
/// before are.
#[derive(Debug, Clone, Message)]
#[reply(Result<Vec<Held>, MetaError>)]
pub struct ListHeld;

/// An object changed, and the change is on disk. Published by the metadata manager.
#[derive(Debug, Clone, Message)]
pub struct ObjectChanged(pub ObjectChange);

/// Says why an object could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// The cloud says that it does not exist.
    #[error("{0} does not exist")]
    NotFound(ObjectKey),
    /// Not held here, and the cloud cannot be asked.
    #[error("{key} is not held here and {cause}")]
    Unavailable {
        /// The object.
        key: ObjectKey,
        /// Why the cloud could not be asked.
        cause: CloudError,
    },
    /// The cloud refused.
    #[error("the cloud refused {key}: {message}")]
    Refused {
        /// The object.
        key: ObjectKey,
        /// The API's text.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
}

/// Reads an object from the node's store, and from the cloud if the store has none, keeping the
/// answer; served by the metadata manager.
#[derive(Debug, Clone, Message)]
#[reply(Result<Object, GetError>)]
pub struct GetObject(pub ObjectKey);

/// Says why a service account's token could not be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// The API refused.
    #[error("{0}")]
    Refused(ApiStatus),
    /// None is held here that may be given, and the cloud cannot be asked.
    #[error("{0}")]
    Unavailable(CloudError),
    /// The cloud's answer holds none.
    #[error("the cloud's answer is no token")]
    NoToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
}

/// Has a token of a service account, for a pod of this node: the one that is held here until it is time to
/// renew it, or a new one of the cloud, or, while the cloud is away, an old one; served by the metadata
/// manager. The reply is the filled `TokenRequest`.
#[derive(Debug, Clone, Message)]
#[reply(Result<Object, TokenError>)]
pub struct GetToken {
    /// The service account's namespace.
    pub namespace: Namespace,
    /// The service account.
    pub account: ObjectName,
    /// The `TokenRequest`, bound to the pod.
    pub request: Object,
}

/// Lists the objects of one type that the node holds; served by the metadata manager.
#[derive(Debug, Clone, Message)]
#[reply(Result<Vec<Object>, MetaError>)]
pub struct ListObjects(pub ResourceType);

/// Which part of which container's log is wanted. Mirrors the query of the Kubernetes `log` subresource.
#[derive(Debug, Clone, Message)]
#[reply(Result<LogStream, LogError>)]
pub struct ReadPodLog {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod.
    pub pod: ObjectName,
    /// The container; may be left out where the pod has one.
    pub container: Option<String>,
    /// Go on as the log grows.
    pub follow: bool,
    /// The container's previous instance.
    pub previous: bool,
    /// At most this many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines of the last so many seconds.
    pub since: Option<Duration>,
    /// Only lines at or after this RFC 3339 time.
    pub since_time: Option<String>,
    /// Begin each line with its RFC 3339 time.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Says why a log could not be read. The texts follow kubelet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such pod or container, or the choice is ambiguous.
    #[error("{0}")]
    BadRequest(String),
    /// The pod is not on this node.
    #[error("{0}")]
    NotFound(String),
    /// The log could not be read.
    #[error("{0}")]
    Failed(String),
}

/// A log as it is read: chunks of at most 32 KiB, at most 16 waiting. Dropping it ends the reading.
#[derive(Debug)]
pub struct LogStream(pub tokio::sync::mpsc::Receiver<Result<Bytes, LogError>>);
