//! `operations.kubeedge.io`: jobs on many nodes: upgrades, images in advance, changes of configuration.

pub mod v1alpha1;
pub mod v1alpha2;

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};

/// A change of the configuration of nodes.
pub const CONFIG_UPDATE_JOB: ResourceKind = ResourceKind {
    group: "operations.kubeedge.io",
    version: "v1alpha2",
    kind: "ConfigUpdateJob",
    plural: "configupdatejobs",
    is_namespaced: false,
};

/// A pull of images to nodes before they are needed.
pub const IMAGE_PRE_PULL_JOB: ResourceKind =
    ResourceKind { kind: "ImagePrePullJob", plural: "imageprepulljobs", ..CONFIG_UPDATE_JOB };

/// An upgrade of nodes.
pub const NODE_UPGRADE_JOB: ResourceKind =
    ResourceKind { kind: "NodeUpgradeJob", plural: "nodeupgradejobs", ..CONFIG_UPDATE_JOB };

pub(crate) fn definitions() -> [Definition; 3] {
    [
        Definition::new(CONFIG_UPDATE_JOB, "A change of the configuration of nodes.").version(
            Version::stored("v1alpha2")
                .spec(Part::may::<v1alpha2::ConfigUpdateJobSpec>())
                .status(Part::may::<v1alpha2::ConfigUpdateJobStatus>())
                .with_status_subresource(),
        ),
        Definition::new(IMAGE_PRE_PULL_JOB, "A pull of images to nodes before they are needed.")
            .version(
                Version::served("v1alpha1")
                    .spec(Part::must::<v1alpha1::ImagePrePullJobSpec>())
                    .status(Part::may::<v1alpha1::ImagePrePullJobStatus>())
                    .with_status_subresource(),
            )
            .version(
                Version::stored("v1alpha2")
                    .spec(Part::must::<v1alpha1::ImagePrePullJobSpec>())
                    .status(Part::may::<v1alpha2::ImagePrePullJobStatus>())
                    .with_status_subresource(),
            ),
        Definition::new(NODE_UPGRADE_JOB, "An upgrade of nodes.")
            .version(
                Version::served("v1alpha1")
                    .spec(Part::may::<v1alpha1::NodeUpgradeJobSpec>())
                    .status(Part::may::<v1alpha1::NodeUpgradeJobStatus>())
                    .with_status_subresource(),
            )
            .version(
                Version::stored("v1alpha2")
                    .spec(Part::may::<v1alpha2::NodeUpgradeJobSpec>())
                    .status(Part::may::<v1alpha2::NodeUpgradeJobStatus>())
                    .with_status_subresource(),
            ),
    ]
}
