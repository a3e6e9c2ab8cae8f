//! `apps.kubeedge.io/v1alpha1`: groups of nodes, and applications that differ between them.

use std::collections::BTreeMap;

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};
use crate::kubernetes::{EnvVar, LabelSelector, Open, ResourceRequirements};
use crate::shape::{shape, words};

/// An application that is deployed to groups of nodes.
pub const EDGE_APPLICATION: ResourceKind = ResourceKind {
    group: "apps.kubeedge.io",
    version: "v1alpha1",
    kind: "EdgeApplication",
    plural: "edgeapplications",
    is_namespaced: true,
};

/// A group of nodes.
pub const NODE_GROUP: ResourceKind =
    ResourceKind { kind: "NodeGroup", plural: "nodegroups", is_namespaced: false, ..EDGE_APPLICATION };

pub(crate) fn definitions() -> [Definition; 2] {
    [
        Definition::new(EDGE_APPLICATION, "An application that is deployed to groups of nodes.")
            .short(&["eapp"])
            .version(
                Version::stored("v1alpha1")
                    .spec(Part::must::<EdgeApplicationSpec>())
                    .status(Part::may::<EdgeApplicationStatus>())
                    .with_status_subresource(),
            ),
        Definition::new(NODE_GROUP, "A group of nodes, named or selected by labels.").short(&["ng"]).version(
            Version::stored("v1alpha1")
                .spec(Part::must::<NodeGroupSpec>())
                .status(Part::may::<NodeGroupStatus>())
                .with_status_subresource(),
        ),
    ]
}

words! {
    /// What is done with the values of a list.
    pub enum ListOperator { Add = "add", Remove = "remove", }
    /// What is done with a value.
    pub enum Operator { Add = "add", Remove = "remove", Replace = "replace", }
    /// A part of an image's name.
    pub enum ImageComponent { Registry = "Registry", Repository = "Repository", Tag = "Tag", }
    /// How far a workload is.
    pub enum WorkloadCondition { Processing = "Processing", Available = "Available", }
}

shape! {
    /// What is deployed, and where.
    pub struct EdgeApplicationSpec {
        /// Where it is deployed.
        must workload_scope: WorkloadScope,
        /// What is deployed.
        may workload_template: WorkloadTemplate,
    }

    /// What is deployed.
    pub struct WorkloadTemplate {
        /// The objects.
        may manifests: Vec<Open>,
    }

    /// Where an application is deployed.
    pub struct WorkloadScope {
        /// Groups of nodes, by name.
        may target_node_groups: Vec<TargetNodeGroup>,
        /// Nodes, by labels.
        may target_node_labels: Vec<TargetNodeLabels>,
    }

    /// A group of nodes that an application is deployed to.
    pub struct TargetNodeGroup {
        /// The group's name.
        must name: String,
        /// What differs there.
        may overriders: Overriders,
    }

    /// Nodes that an application is deployed to.
    pub struct TargetNodeLabels {
        /// The nodes' labels.
        may label_selector: LabelSelector,
        /// What differs there.
        may overriders: Overriders,
    }

    /// What differs between groups of nodes.
    pub struct Overriders {
        /// Arguments of containers.
        may args_overriders: Vec<CommandOverrider>,
        /// Commands of containers.
        may command_overriders: Vec<CommandOverrider>,
        /// Variables of containers.
        may env_overriders: Vec<EnvOverrider>,
        /// Images of containers.
        may image_overriders: Vec<ImageOverrider>,
        /// How many replicas there are.
        may replicas: isize,
        /// Resources of containers.
        may resources_overriders: Vec<ResourcesOverrider>,
    }

    /// Changes a container's command or its arguments.
    pub struct CommandOverrider {
        /// The container.
        must container_name: String,
        /// What is done with the values.
        must operator: ListOperator,
        /// The values.
        may value: Vec<String>,
    }

    /// Changes a container's variables.
    pub struct EnvOverrider {
        /// The container.
        must container_name: String,
        /// What is done with the variables.
        must operator: Operator,
        /// The variables.
        may value: Vec<EnvVar>,
    }

    /// Changes a part of an image's name.
    pub struct ImageOverrider {
        /// The part.
        must component: ImageComponent,
        /// What is done with it.
        must operator: Operator,
        /// Which images; all when absent.
        may predicate: ImagePredicate,
        /// The value.
        may value: String,
    }

    /// Says which image is meant.
    pub struct ImagePredicate {
        /// The path of the image's field.
        must path: String,
    }

    /// Changes a container's resources.
    pub struct ResourcesOverrider {
        /// The container.
        must container_name: String,
        /// The resources.
        must value: ResourceRequirements,
    }

    /// How far an application is.
    pub struct EdgeApplicationStatus {
        /// How far each of its objects is.
        may workload_status: Vec<ManifestStatus>,
    }

    /// How far one object is.
    pub struct ManifestStatus {
        /// What is known of it.
        may conditions: WorkloadCondition,
        /// Which object it is.
        must identifier: ResourceIdentifier,
    }

    /// Which object of an application is meant.
    pub struct ResourceIdentifier {
        /// The API group.
        may group: String,
        /// The kind.
        may kind: String,
        /// The name.
        may name: String,
        /// The namespace.
        may namespace: String,
        /// The object's place among the manifests.
        #[schemars(range(min = 0))]
        must ordinal: isize,
        /// The plural.
        may resource: String,
        /// The version.
        may version: String,
    }

    /// Which nodes belong to a group.
    pub struct NodeGroupSpec {
        /// Labels of nodes that belong to it.
        may match_labels: BTreeMap<String, String>,
        /// Names of nodes that belong to it.
        may nodes: Vec<String>,
        /// Whether traffic stays within the group.
        may topology_enabled: bool,
    }

    /// What is known of a group's nodes.
    pub struct NodeGroupStatus {
        /// What is known of each.
        may node_statuses: Vec<NodeStatus>,
    }

    /// What is known of a node of a group.
    pub struct NodeStatus {
        /// The node's name.
        must node_name: String,
        /// Whether it is ready.
        must ready_status: String,
        /// Whether it could be taken into the group.
        must selection_status: String,
        /// Why it could not.
        may selection_status_reason: String,
    }
}
