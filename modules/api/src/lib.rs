//! KubeEdge's custom resources as Rust types.
//!
//! Upstream's operators and tools know these kinds; what is here follows their schemas exactly.

pub mod reliablesyncs;

/// Returns the custom resource definitions of all kinds here, as YAML.
pub fn definitions() -> impl Iterator<Item = &'static str> {
    reliablesyncs::DEFINITIONS.into_iter()
}

/// The group, version, kind and plural of a custom resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    /// The API group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The plural, as URLs have it.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
}

impl ResourceKind {
    /// Returns `group/version`.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}
