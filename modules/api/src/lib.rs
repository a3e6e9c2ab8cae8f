//! KubeEdge's custom resources as Rust types.
//!
//! Upstream's operators and tools know these kinds; what is here follows their schemas exactly, and the
//! definitions are made from the types.

pub mod apps;
pub mod devices;
pub mod kubernetes;
pub mod operations;
pub mod policy;
pub mod reliablesyncs;
pub mod rules;

mod definition;
mod schema;
mod shape;

use serde_json::Value;

/// Returns the custom resource definitions of all kinds here.
#[must_use]
pub fn definitions() -> Vec<Value> {
    let all = reliablesyncs::definitions().into_iter();
    let all = all.chain(devices::definitions()).chain(rules::definitions()).chain(apps::definitions());
    let all = all.chain(operations::definitions()).chain(policy::definitions());
    all.map(|definition| definition.object()).collect()
}

/// Returns the definitions of what the cloud's modules act on: devices, rules, and the records of what
/// nodes have acknowledged.
#[must_use]
pub fn acted_on_definitions() -> Vec<Value> {
    let all = reliablesyncs::definitions().into_iter().chain(devices::definitions());
    let all = all.chain(rules::definitions());
    all.map(|definition| definition.object()).collect()
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
