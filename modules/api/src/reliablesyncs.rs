//! `reliablesyncs.kubeedge.io/v1alpha1`: which version of an object a node has acknowledged.
//!
//! Upstream's cloud keeps one of these per node and object. There it is created with the version `0`
//! before the first send and deleted once the node acknowledged the object's end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};

/// The record of a namespaced object. It lives in the object's namespace.
pub const OBJECT_SYNC: ResourceKind = ResourceKind {
    group: "reliablesyncs.kubeedge.io",
    version: "v1alpha1",
    kind: "ObjectSync",
    plural: "objectsyncs",
    is_namespaced: true,
};

/// The record of a cluster-scoped object.
pub const CLUSTER_OBJECT_SYNC: ResourceKind = ResourceKind {
    kind: "ClusterObjectSync",
    plural: "clusterobjectsyncs",
    is_namespaced: false,
    ..OBJECT_SYNC
};

pub(crate) fn definitions() -> [Definition; 2] {
    let version = || {
        let version = Version::stored("v1alpha1").spec(Part::may::<ObjectSyncSpec>());
        version.status(Part::may::<ObjectSyncStatus>()).with_status_subresource()
    };
    [
        Definition::new(OBJECT_SYNC, "Which version of a namespaced object a node has acknowledged.")
            .version(version()),
        Definition::new(
            CLUSTER_OBJECT_SYNC,
            "Which version of a cluster-scoped object a node has acknowledged.",
        )
        .version(version()),
    ]
}

/// Which object a record is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSyncSpec {
    /// The object's `apiVersion`.
    #[serde(rename = "objectAPIVersion", skip_serializing_if = "String::is_empty")]
    pub object_api_version: String,
    /// The object's kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object_kind: String,
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object_name: String,
}

/// What the node has of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSyncStatus {
    /// The version that the node acknowledged. Empty while the record is being made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object_resource_version: String,
}

/// Says why a text is no record's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncNameError(String);

impl std::fmt::Display for SyncNameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is not a node's name, a dot and a uid", self.0)
    }
}

impl std::error::Error for SyncNameError {}

/// The name of a record: `<node>.<uid>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncName {
    node: String,
    uid: String,
}

impl SyncName {
    /// Makes the name of the record of the object `uid` on `node`.
    ///
    /// # Errors
    ///
    /// When either is empty, or the uid contains a dot.
    pub fn new(node: &str, uid: &str) -> Result<Self, SyncNameError> {
        if node.is_empty() || uid.is_empty() || uid.contains('.') {
            return Err(SyncNameError(format!("{node}.{uid}")));
        }
        Ok(Self { node: node.to_owned(), uid: uid.to_owned() })
    }

    /// Reads a name. A node's name may contain dots, a uid does not: the last dot divides.
    ///
    /// # Errors
    ///
    /// When there is no dot, or nothing on one of its sides.
    pub fn parse(text: &str) -> Result<Self, SyncNameError> {
        let (node, uid) = text.rsplit_once('.').ok_or_else(|| SyncNameError(text.to_owned()))?;
        Self::new(node, uid)
    }

    /// Returns the node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the object's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl std::fmt::Display for SyncName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.node, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_s_name_is_divided_at_its_last_dot() {
        let name = SyncName::parse("ip-10-0-0-1.ec2.internal.3f1d0c1e-8a53").expect("a name");
        assert_eq!((name.node(), name.uid()), ("ip-10-0-0-1.ec2.internal", "3f1d0c1e-8a53"));
        assert_eq!(name.to_string(), "ip-10-0-0-1.ec2.internal.3f1d0c1e-8a53");
        for text in ["", ".", "edge-1", "edge-1.", ".uid"] {
            assert!(SyncName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_record_reads_and_writes_as_upstream_s() {
        let spec = r#"{"objectAPIVersion":"v1","objectKind":"Pod","objectName":"web-0"}"#;
        let read: ObjectSyncSpec = serde_json::from_str(spec).expect("a spec");
        assert_eq!(read.object_api_version, "v1");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), spec);
        let status: ObjectSyncStatus =
            serde_json::from_str(r#"{"objectResourceVersion":"81234"}"#).expect("a status");
        assert_eq!(status.object_resource_version, "81234");
        assert_eq!(CLUSTER_OBJECT_SYNC.api_version(), "reliablesyncs.kubeedge.io/v1alpha1");
    }
}
