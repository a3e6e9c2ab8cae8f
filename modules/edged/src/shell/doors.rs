//! The requests that edged makes on the bus.

use std::fmt;
use std::time::Duration;

use beehive::Bus;
use bytes::Bytes;
use protocol::edge::{AskCloud, CloudError, GetError, GetObject, GetToken, ListObjects};
use protocol::{ApiStatus, NodeReply, NodeRequest, Object, ObjectKey, ResourceType, group};

/// How long the cloud may take to answer.
const CLOUD_WITHIN: Duration = Duration::from_secs(10);

/// How long the edge's store may take, the cloud's answer to it included.
const STORE_WITHIN: Duration = Duration::from_secs(30);

/// Says why the cloud did not do as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum CloudTrouble {
    /// The Kubernetes API said no.
    #[error("{0}")]
    Refused(ApiStatus),
    /// No answer; asking again may help.
    #[error("{0}")]
    Away(String),
}

impl CloudTrouble {
    /// Tells whether the API may have done all the same what it was asked.
    pub(crate) fn is_doubtful(&self) -> bool {
        match self {
            Self::Refused(status) => status.code >= 500,
            Self::Away(_) => true,
        }
    }
}

/// Says why an object could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It does not exist.
    NotFound,
    /// It cannot be told.
    Unknown(String),
}

/// The bus, as edged uses it.
#[derive(Clone)]
pub(crate) struct Doors {
    bus: Bus,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doors")
    }
}

impl Doors {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Lists the pods that the node holds.
    pub(crate) async fn pods(&self) -> Result<Vec<Object>, String> {
        let ask = self.bus.to(group::META).ask(ListObjects(ResourceType::POD));
        match ask.within(STORE_WITHIN).await {
            Ok(Ok(pods)) => Ok(pods),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads an object from the node's store, or from the cloud.
    pub(crate) async fn object(&self, key: ObjectKey) -> Result<Object, Absent> {
        let ask = self.bus.to(group::META).ask(GetObject(key));
        match ask.within(STORE_WITHIN).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(GetError::NotFound(_))) => Err(Absent::NotFound),
            Ok(Err(error)) => Err(Absent::Unknown(error.to_string())),
            Err(error) => Err(Absent::Unknown(error.to_string())),
        }
    }

    /// Has a service account's token. Returns the filled request.
    pub(crate) async fn token(&self, wanted: GetToken) -> Result<Object, String> {
        match self.bus.to(group::META).ask(wanted).within(STORE_WITHIN).await {
            Ok(Ok(filled)) => Ok(filled),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks the cloud.
    pub(crate) async fn cloud(&self, request: NodeRequest) -> Result<NodeReply, CloudTrouble> {
        let ask = self.bus.to(group::HUB).ask(AskCloud(request));
        match ask.within(CLOUD_WITHIN).await {
            Ok(Ok(NodeReply::Refused(status))) => Err(CloudTrouble::Refused(status)),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(CloudError::Unsupported(what))) => {
                Err(CloudTrouble::Refused(ApiStatus::new(501, "NotImplemented", what)))
            }
            Ok(Err(error)) => Err(CloudTrouble::Away(error.to_string())),
            Err(error) => Err(CloudTrouble::Away(error.to_string())),
        }
    }

    /// Sends an event to the cloud. Best effort.
    pub(crate) async fn event(&self, event: &serde_json::Value, patch: Option<&serde_json::Value>) {
        let Ok(event) = Object::from_value(event) else { return };
        let request = match patch {
            None => NodeRequest::RecordEvent(event),
            Some(patch) => NodeRequest::PatchEvent { event, patch: Bytes::from(patch.to_string()) },
        };
        if let Err(error) = self.cloud(request).await {
            tracing::debug!(%error, "an event did not reach the cloud");
        }
    }
}
