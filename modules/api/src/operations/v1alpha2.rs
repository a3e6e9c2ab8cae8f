//! The stored version. The statuses keep the fields of the first one, which old tools read.

use std::collections::BTreeMap;

use super::v1alpha1::{ImagePrePullStatus, RegistryApi};
use crate::kubernetes::LabelSelector;
use crate::shape::shape;

shape! {
    /// One step of a node's task.
    pub struct ActionStep {
        /// What was done.
        may action: String,
        /// Why it came to it.
        may reason: String,
        /// How it went.
        may status: String,
        /// When that was.
        may time: String,
    }

    /// What is changed, and where.
    pub struct ConfigUpdateJobSpec {
        /// How many nodes change at a time.
        may concurrency: i32,
        /// The share of nodes that may fail, as `0.1`.
        may failure_tolerate: String,
        /// The nodes, by labels.
        may label_selector: LabelSelector,
        /// The nodes, by name.
        may node_names: Vec<String>,
        /// How long a node has.
        may timeout_seconds: i32,
        /// The fields, by their paths in the configuration.
        must update_fields: BTreeMap<String, String>,
    }

    /// How far a change is.
    pub struct ConfigUpdateJobStatus {
        /// How far each node is.
        may node_status: Vec<NodeTaskStatus>,
        /// How far it is as a whole.
        must phase: String,
        /// Why it came to it.
        may reason: String,
    }

    /// How far a node's task is.
    pub struct NodeTaskStatus {
        /// What was done.
        may action_flow: Vec<ActionStep>,
        /// The node's name.
        may node_name: String,
        /// How far it is.
        may phase: String,
        /// Why it came to it.
        may reason: String,
    }

    /// How far a pull is.
    pub struct ImagePrePullJobStatus {
        /// The last action.
        may action: String,
        /// The last event.
        may event: String,
        /// How far each node is.
        may node_status: Vec<ImagePrePullNodeStatus>,
        /// How far it is as a whole.
        must phase: String,
        /// Why it came to it.
        may reason: String,
        /// The state, as the first version has it.
        may state: String,
        /// How far each node is, as the first version has it.
        may status: Vec<ImagePrePullStatus>,
        /// When that was.
        may time: String,
    }

    /// How far a node's pull is.
    pub struct ImagePrePullNodeStatus {
        /// What was done.
        may action_flow: Vec<ActionStep>,
        /// How far each image is.
        may image_status: Vec<ImageStatus>,
        /// The node's name.
        may node_name: String,
        /// How far it is.
        may phase: String,
        /// Why it came to it.
        may reason: String,
    }

    /// How far an image is.
    pub struct ImageStatus {
        /// The image.
        may image: String,
        /// Why it came to it.
        may reason: String,
        /// How it went.
        may status: String,
    }

    /// What nodes are upgraded to.
    pub struct NodeUpgradeJobSpec {
        /// What is checked before.
        may check_items: Vec<String>,
        /// How many nodes are upgraded at a time.
        may concurrency: i32,
        /// The share of nodes that may fail, as `0.1`.
        may failure_tolerate: String,
        /// The image that the new version comes in.
        may image: String,
        /// How the image is checked.
        may image_digest_gatter: ImageDigestGatter,
        /// The nodes, by labels.
        may label_selector: LabelSelector,
        /// The nodes, by name.
        may node_names: Vec<String>,
        /// Whether each node waits for a person to agree.
        may require_confirmation: bool,
        /// How long a node has.
        may timeout_seconds: i32,
        /// The new version.
        may version: String,
    }

    /// How an image is checked.
    pub struct ImageDigestGatter {
        /// The digest for amd64.
        may amd64: String,
        /// The digest for arm64.
        may arm64: String,
        /// The registry that tells the digest.
        #[serde(rename = "registryAPI")]
        may registry_api: RegistryApi,
    }

    /// How far an upgrade is.
    pub struct NodeUpgradeJobStatus {
        /// The last action.
        may action: String,
        /// The version that nodes have.
        may current_version: String,
        /// The last event.
        may event: String,
        /// The version that nodes had.
        may historic_version: String,
        /// How far each node is.
        may node_status: Vec<NodeUpgradeNodeStatus>,
        /// How far it is as a whole.
        must phase: String,
        /// Why it came to it.
        may reason: String,
        /// The state, as the first version has it.
        may state: String,
        /// When that was.
        may time: String,
    }

    /// How far a node's upgrade is.
    pub struct NodeUpgradeNodeStatus {
        /// What was done.
        may action_flow: Vec<ActionStep>,
        /// The version that the node has.
        may current_version: String,
        /// The last event.
        may event: String,
        /// The version that the node had.
        may historic_version: String,
        /// The node's name.
        may node_name: String,
        /// How far it is.
        may phase: String,
        /// Why it came to it.
        may reason: String,
        /// The state, as the first version has it.
        may state: String,
    }
}
