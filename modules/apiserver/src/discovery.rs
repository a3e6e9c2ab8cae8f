//! What a server serves, as clients ask for it: path by path, or all at once.

use serde_json::{Map, Value, json};

use crate::registry::{Registry, Resource, Subresource, Verb};

/// Returns the answer to `GET /api`.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs":
        [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]})
}

/// Returns the answer to `GET /apis`.
#[must_use]
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| Value::Object(group_fields(group, versions)))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// Returns the answer to `GET /apis/GROUP`.
#[must_use]
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let groups = registry.groups();
    let (group, versions) = groups.iter().find(|(name, _)| name == group && !name.is_empty())?;
    let mut fields = group_fields(group, versions);
    fields.insert("kind".to_owned(), Value::from("APIGroup"));
    fields.insert("apiVersion".to_owned(), Value::from("v1"));
    Some(Value::Object(fields))
}

fn group_fields(group: &str, versions: &[String]) -> Map<String, Value> {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let mut fields = Map::new();
    fields.insert("name".to_owned(), Value::from(group));
    if let Some(preferred) = versions.first() {
        fields.insert("preferredVersion".to_owned(), preferred.clone());
    }
    fields.insert("versions".to_owned(), Value::from(versions));
    fields
}

/// Returns the answer to `GET /api/v1` (the group is empty) and `GET /apis/GROUP/VERSION`.
#[must_use]
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    if !registry.has_group_version(group, version) {
        return None;
    }
    let mut resources: Vec<Value> = Vec::new();
    for resource in served(registry, group, version) {
        resources.push(classic(resource));
        resources.extend(resource.subresources.iter().map(|part| classic_part(resource, part)));
    }
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version(group, version),
        "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = Value::from("v1");
    }
    Some(list)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn served<'a>(registry: &'a Registry, group: &str, version: &str) -> Vec<&'a Resource> {
    registry
        .resources()
        .filter(|resource| resource.group == group && resource.version == version)
        .map(AsRef::as_ref)
        .collect()
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn classic(resource: &Resource) -> Value {
    let mut fields = json!({"name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs(&resource.verbs)});
    add_names(&mut fields, resource);
    fields
}

fn classic_part(resource: &Resource, part: &Subresource) -> Value {
    let mut fields = json!({"name": format!("{}/{}", resource.plural, part.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": part.kind, "verbs": verbs(&part.verbs)});
    if (&part.group, &part.version) != (&resource.group, &resource.version) {
        fields["group"] = Value::from(part.group.clone());
        fields["version"] = Value::from(part.version.clone());
    }
    fields
}

fn add_names(fields: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        fields["shortNames"] = Value::from(resource.short_names.clone());
    }
    if !resource.categories.is_empty() {
        fields["categories"] = Value::from(resource.categories.clone());
    }
}

/// A form of aggregated discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `apidiscovery.k8s.io/v2`.
    V2,
    /// `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
}

impl Flavor {
    /// Returns the content type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }

    /// Returns the first form that an `Accept` header names before plain JSON; `None` when plain
    /// JSON is wanted.
    #[must_use]
    pub fn negotiate(accept: &str) -> Option<Self> {
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if media != "application/json" && media != "*/*" {
                continue;
            }
            let parameters: Vec<&str> = parts.filter(|part| !part.starts_with("q=")).collect();
            let has = |wanted: &str| parameters.contains(&wanted);
            if !has("as=APIGroupDiscoveryList") {
                return None;
            }
            if has("g=apidiscovery.k8s.io") && has("v=v2") {
                return Some(Self::V2);
            }
            if has("g=apidiscovery.k8s.io") && has("v=v2beta1") {
                return Some(Self::V2Beta1);
            }
        }
        None
    }
}

/// Returns the answer to `GET /api` (`core`) or `GET /apis` for clients that take everything at
/// once.
#[must_use]
pub fn aggregated(registry: &Registry, core: bool, flavor: Flavor) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let mut metadata = json!({ "creationTimestamp": null });
            if !group.is_empty() {
                metadata["name"] = Value::from(group.clone());
            }
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        served(registry, group, version).into_iter().map(whole).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let version = match flavor {
        Flavor::V2 => "apidiscovery.k8s.io/v2",
        Flavor::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
    };
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": version, "metadata": {}, "items": items})
}

fn whole(resource: &Resource) -> Value {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut fields = json!({"resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": verbs(&resource.verbs)});
    add_names(&mut fields, resource);
    let parts: Vec<Value> = resource
        .subresources
        .iter()
        .map(|part| {
            json!({"subresource": part.name, "verbs": verbs(&part.verbs),
                "responseKind": kind(&part.group, &part.version, &part.kind)})
        })
        .collect();
    if !parts.is_empty() {
        fields["subresources"] = Value::from(parts);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_listed_without_the_core_one() {
        let list = group_list(&Registry::builtin());
        let first = &list["groups"][0];
        assert_eq!(
            *first,
            json!({"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
            "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}})
        );
        assert_eq!(group(&Registry::builtin(), "apps").unwrap()["kind"], "APIGroup");
        assert!(group(&Registry::builtin(), "none").is_none());
        assert!(group(&Registry::builtin(), "").is_none());
    }

    #[test]
    fn resources_are_listed_with_their_parts() {
        let registry = Registry::builtin();
        let list = resource_list(&registry, "apps", "v1").unwrap();
        let names: Vec<&str> =
            list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"deployments/scale"));
        let scale = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == "deployments/scale");
        assert_eq!(
            *scale.unwrap(),
            json!({"name": "deployments/scale", "singularName": "", "namespaced": true,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]})
        );
        let core = resource_list(&registry, "", "v1").unwrap();
        assert!(core.get("apiVersion").is_none());
        assert!(resource_list(&registry, "apps", "v2").is_none());
    }

    #[test]
    fn everything_at_once_has_every_resource() {
        let registry = Registry::builtin();
        let core = aggregated(&registry, true, Flavor::V2);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let apis = aggregated(&registry, false, Flavor::V2Beta1);
        assert_eq!(apis["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        let count = |list: &Value| -> usize {
            list["items"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|item| item["versions"].as_array().unwrap())
                .map(|version| version["resources"].as_array().unwrap().len())
                .sum()
        };
        assert_eq!(count(&core) + count(&apis), registry.resources().count());
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        fn check(accept: &str, expected: Option<Flavor>) {
            assert_eq!(Flavor::negotiate(accept), expected, "{accept}");
        }
        let v2 = Flavor::V2.content_type();
        let beta = Flavor::V2Beta1.content_type();
        check(&format!("{v2},{beta},application/json"), Some(Flavor::V2));
        check(&format!("{beta}, application/json"), Some(Flavor::V2Beta1));
        check("application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io;q=0.9", Some(Flavor::V2));
        check(&format!("application/json,{v2}"), None);
        check("application/json, */*", None);
        check("", None);
    }
}
