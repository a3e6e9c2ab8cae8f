//! The first version, which is served beside the stored one.

use crate::kubernetes::LabelSelector;
use crate::shape::shape;

shape! {
    /// Which images are pulled, and where.
    pub struct ImagePrePullJobSpec {
        /// All of it.
        may image_pre_pull_template: ImagePrePullTemplate,
    }

    /// Which images are pulled, and where.
    pub struct ImagePrePullTemplate {
        /// What is checked before.
        may check_items: Vec<String>,
        /// How many nodes pull at a time.
        may concurrency: i32,
        /// The share of nodes that may fail, as `0.1`.
        may failure_tolerate: String,
        /// The secret of the registry, as `namespace/name`.
        may image_secrets: String,
        /// The images.
        may images: Vec<String>,
        /// The nodes, by labels.
        may label_selector: LabelSelector,
        /// The nodes, by name.
        may node_names: Vec<String>,
        /// How often a pull is tried again.
        may retry_times: i32,
        /// How long a node has.
        may timeout_seconds: i32,
    }

    /// How far a pull is.
    pub struct ImagePrePullJobStatus {
        /// The last action.
        may action: String,
        /// The last event.
        may event: String,
        /// Why it came to it.
        may reason: String,
        /// The state.
        may state: String,
        /// How far each node is.
        may status: Vec<ImagePrePullStatus>,
        /// When that was.
        may time: String,
    }

    /// How far a node's pull is.
    pub struct ImagePrePullStatus {
        /// How far each image is.
        may image_status: Vec<ImageStatus>,
        /// How far the node is.
        may node_status: TaskStatus,
    }

    /// How far an image is.
    pub struct ImageStatus {
        /// The image.
        may image: String,
        /// Why it came to it.
        may reason: String,
        /// The state.
        may state: String,
    }

    /// How far a node's task is.
    pub struct TaskStatus {
        /// The last action.
        may action: String,
        /// The last event.
        may event: String,
        /// The node's name.
        may node_name: String,
        /// Why it came to it.
        may reason: String,
        /// The state.
        may state: String,
        /// When that was.
        may time: String,
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
        /// The registry that tells the digest.
        #[serde(rename = "registryAPI")]
        may registry_api: RegistryApi,
        /// The digest.
        may value: String,
    }

    /// A registry that tells digests.
    pub struct RegistryApi {
        /// Its address.
        must host: String,
        /// The token for it.
        must token: String,
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
        may node_status: Vec<TaskStatus>,
        /// Why it came to it.
        may reason: String,
        /// The state.
        may state: String,
        /// When that was.
        may time: String,
    }
}
