//! One resource, as a path names it.

use std::cmp::Ordering;
use std::sync::Arc;

use super::custom::CustomVersion;
use crate::schema::types::Shape;

/// What can be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// GET of one.
    Get,
    /// GET of a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET of a stream of changes.
    Watch,
}

impl Verb {
    /// Every verb in the order of discovery.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    /// Returns the verb as discovery and authorization write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// A part of a resource with a path of its own.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// The last part of the path.
    pub name: String,
    /// The group of the body.
    pub group: String,
    /// The version of the body.
    pub version: String,
    /// The kind of the body.
    pub kind: String,
    /// What can be done with it.
    pub verbs: Vec<Verb>,
}

impl Subresource {
    /// Returns whether it answers a verb.
    #[must_use]
    pub fn supports(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}

/// A resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The group; empty for the core one.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind of its objects.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// The name in paths.
    pub plural: String,
    /// The name of one.
    pub singular: String,
    /// Other names that kubectl takes.
    pub short_names: Vec<String>,
    /// The groups of resources it belongs to, such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<Verb>,
    /// Its parts with paths of their own.
    pub subresources: Vec<Subresource>,
    /// Where its objects are kept, whatever the version: `core/pods`, `apps/deployments`.
    pub storage: Arc<str>,
    /// The version that stored objects have.
    pub storage_version: String,
    /// What its objects look like.
    pub shape: Shape,
    /// What its definition says, for a custom resource.
    pub custom: Option<Arc<CustomVersion>>,
}

impl Resource {
    /// Returns `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Returns the name that errors use: `pods`, `deployments.apps`.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Returns the kind as errors name it: `Pod`, `Deployment.apps`.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Returns whether it answers a verb.
    #[must_use]
    pub fn supports(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Finds a subresource.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Returns whether its status is written apart from the rest.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Returns whether a definition added it.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// Returns whether its objects are questions that are answered and forgotten.
    #[must_use]
    pub fn virtual_only(&self) -> bool {
        !self.supports(Verb::Update)
    }

    /// Returns whether this is a built-in resource of that group and plural.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.custom.is_none() && self.group == group && self.plural == plural
    }
}

/// Returns `group/version`, or the version alone for the core group.
#[must_use]
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Orders versions as discovery does: stable before beta before alpha, newer before older, and
/// names of another form last.
pub(crate) fn version_order(left: &str, right: &str) -> Ordering {
    match (version_rank(left), version_rank(right)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

fn version_rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    for (stage, name) in [(1, "beta"), (0, "alpha")] {
        if let Some((major, minor)) = rest.split_once(name) {
            return Some((stage, major.parse().ok()?, minor.parse().ok()?));
        }
    }
    Some((2, rest.parse().ok()?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability_then_age() {
        let mut versions =
            ["foo10", "v1alpha1", "v1", "v12alpha1", "v2beta1", "v10", "v1beta2", "foo1", "v2"];
        versions.sort_by(|left, right| version_order(left, right));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v2beta1", "v1beta2", "v12alpha1", "v1alpha1", "foo1", "foo10"]
        );
    }
}
