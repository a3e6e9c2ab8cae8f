//! `policy.kubeedge.io/v1alpha1`: what service accounts may do, for nodes to decide by themselves.

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};
use crate::kubernetes::{PolicyRule, RoleBinding, ServiceAccount};
use crate::shape::shape;

/// What a service account may do.
pub const SERVICE_ACCOUNT_ACCESS: ResourceKind = ResourceKind {
    group: "policy.kubeedge.io",
    version: "v1alpha1",
    kind: "ServiceAccountAccess",
    plural: "serviceaccountaccesses",
    is_namespaced: true,
};

pub(crate) fn definitions() -> [Definition; 1] {
    [Definition::new(SERVICE_ACCOUNT_ACCESS, "What a service account may do.").short(&["saaccess"]).version(
        Version::stored("v1alpha1")
            .spec(Part::must::<AccessSpec>())
            .status(Part::may::<AccessStatus>())
            .with_status_subresource(),
    )]
}

shape! {
    /// A service account and what it is bound to.
    pub struct AccessSpec {
        /// Its cluster role bindings, with what they allow.
        may access_cluster_role_binding: Vec<AccessClusterRoleBinding>,
        /// Its role bindings, with what they allow.
        may access_role_binding: Vec<AccessRoleBinding>,
        /// The service account.
        may service_account: ServiceAccount,
        /// The service account's uid.
        may service_account_uid: String,
    }

    /// A cluster role binding and what it allows.
    pub struct AccessClusterRoleBinding {
        /// The binding.
        may cluster_role_binding: RoleBinding,
        /// What its role allows.
        may rules: Vec<PolicyRule>,
    }

    /// A role binding and what it allows.
    pub struct AccessRoleBinding {
        /// The binding.
        may role_binding: RoleBinding,
        /// What its role allows.
        may rules: Vec<PolicyRule>,
    }

    /// Which nodes need to know.
    pub struct AccessStatus {
        /// The nodes with pods of the service account.
        may node_list: Vec<String>,
    }
}
