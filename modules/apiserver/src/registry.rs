//! Which resources there are: the built-in ones and those that custom resource definitions add.

mod autoscaling;
mod builtin;
mod custom;
mod devices;
mod events;
mod parts;
mod resource;
mod scale;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use custom::{Column, CrdError, CustomVersion, ScalePaths};
pub use events::{converts, from_storage, settle, to_storage};
pub use resource::{Resource, Subresource, Verb};
pub(crate) use scale::selector_text;
pub use scale::{apply_scale, scale_of};

use crate::schema::types::Types;

/// The resources of a server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    types: Arc<Types>,
    builtin: Arc<Vec<Arc<Resource>>>,
    /// By the definition's name.
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
}

impl Registry {
    /// Returns the built-in resources.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            types: Arc::new(Types::builtin()),
            builtin: Arc::new(builtin::resources()),
            custom: BTreeMap::new(),
        }
    }

    /// Returns the types of built-in kinds.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Returns every resource: built-in ones first, then custom ones by definition name.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.builtin.iter().chain(self.custom())
    }

    /// Returns the resources that definitions added.
    pub fn custom(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.custom.values().flatten()
    }

    /// Finds a resource by the parts of its path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources().find(|resource| {
            resource.plural == plural && resource.group == group && resource.version == version
        })
    }

    /// Finds a resource by its kind.
    #[must_use]
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.resources()
            .find(|resource| resource.kind == kind && resource.group == group && resource.version == version)
    }

    /// Returns whether anything is served under a group and version.
    #[must_use]
    pub fn has_group_version(&self, group: &str, version: &str) -> bool {
        self.resources().any(|resource| resource.group == group && resource.version == version)
    }

    /// Returns the groups in the order of discovery, each with its versions, preferred first.
    #[must_use]
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for resource in self.resources() {
            let at = match groups.iter().position(|(group, _)| *group == resource.group) {
                Some(at) => at,
                None => {
                    groups.push((resource.group.clone(), Vec::new()));
                    groups.len() - 1
                }
            };
            let versions = &mut groups[at].1;
            if !versions.contains(&resource.version) {
                versions.push(resource.version.clone());
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by(|left, right| resource::version_order(left, right));
        }
        groups
    }

    /// Adds or replaces what a definition serves; returns what its author should be warned of.
    ///
    /// # Errors
    ///
    /// When the definition lacks what it takes to serve it, or would hide a built-in resource.
    pub fn upsert_crd(&mut self, crd: &Value) -> Result<Vec<String>, CrdError> {
        let definition = custom::Definition::parse(crd, &self.types)?;
        if self.builtin.iter().any(|builtin| builtin.group == definition.group) {
            return Err(CrdError::BuiltinGroup(definition.group));
        }
        self.custom.insert(definition.name, definition.resources);
        Ok(definition.warnings)
    }

    /// Forgets what a definition served.
    pub fn remove_crd(&mut self, name: &str) {
        self.custom.remove(name);
    }

    /// Returns a registry of the built-in resources and what these definitions serve; definitions
    /// that cannot be served are left out.
    #[must_use]
    pub fn with_crds<'a>(&self, crds: impl Iterator<Item = &'a Value>) -> Self {
        let mut registry = Self {
            types: Arc::clone(&self.types),
            builtin: Arc::clone(&self.builtin),
            custom: BTreeMap::new(),
        };
        for crd in crds {
            if let Err(refused) = registry.upsert_crd(crd) {
                tracing::warn!(%refused, "a custom resource definition is not served");
            }
        }
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_path_and_by_kind() {
        let registry = Registry::builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        assert_eq!(pods.kind, "Pod");
        assert_eq!(pods.list_kind, "PodList");
        assert_eq!(pods.singular, "pod");
        assert!(pods.namespaced && pods.has_status());
        assert_eq!(&*pods.storage, "core/pods");
        let scale = registry.find_kind("apps", "v1", "Deployment").unwrap().subresource("scale").unwrap();
        assert_eq!((scale.group.as_str(), scale.kind.as_str()), ("autoscaling", "Scale"));
        assert!(registry.find("apps", "v1", "pods").is_none());
        assert!(registry.has_group_version("batch", "v1"));
        assert!(!registry.has_group_version("batch", "v2"));
    }

    #[test]
    fn both_event_interfaces_share_their_storage() {
        let registry = Registry::builtin();
        let core = registry.find("", "v1", "events").unwrap();
        let grouped = registry.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(core.storage, grouped.storage);
    }

    #[test]
    fn every_resource_has_a_type() {
        let registry = Registry::builtin();
        for resource in registry.resources() {
            assert!(registry.types().resolve(&resource.shape).is_some(), "{}", resource.qualified());
        }
    }

    #[test]
    fn groups_come_in_the_order_of_a_real_server() {
        let groups: Vec<_> = Registry::builtin().groups().into_iter().map(|(group, _)| group).collect();
        let expected = [
            "",
            "apps",
            "events.k8s.io",
            "authentication.k8s.io",
            "authorization.k8s.io",
            "autoscaling",
            "batch",
            "certificates.k8s.io",
            "networking.k8s.io",
            "policy",
            "rbac.authorization.k8s.io",
            "storage.k8s.io",
            "admissionregistration.k8s.io",
            "apiextensions.k8s.io",
            "scheduling.k8s.io",
            "coordination.k8s.io",
            "node.k8s.io",
            "discovery.k8s.io",
        ];
        assert_eq!(groups, expected);
    }
}
