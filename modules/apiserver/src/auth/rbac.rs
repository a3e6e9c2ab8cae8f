//! Role-based access control over the stored roles and bindings.

use serde::Deserialize;
use serde_json::Value;

use crate::auth::identity::{Identity, MASTERS};
use crate::storage::object::Key;
use crate::storage::{Range, Storage};

/// What somebody wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub namespace: String,
    /// The path, for what is not a resource.
    pub path: Option<String>,
}

impl Attributes {
    /// Returns the resource as access rules and messages name it.
    pub(crate) fn full_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }

    /// Returns the sentence that a refusal ends with.
    pub(crate) fn refusal(&self, identity: &Identity) -> String {
        let user = &identity.name;
        if let Some(path) = &self.path {
            return format!("User {user:?} cannot {} path {path:?}", self.verb);
        }
        let scope = match self.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let resource = self.full_resource();
        format!(
            "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
            self.verb, self.group
        )
    }
}

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub urls: Vec<String>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    #[serde(default, deserialize_with = "nullable_subjects")]
    subjects: Vec<Subject>,
}

fn nullable_subjects<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Subject>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Debug, Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

impl Rule {
    fn allows(&self, wanted: &Attributes) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|entry| entry == "*" || entry == item);
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        if let Some(path) = &wanted.path {
            return self.urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => url == path,
            });
        }
        let full = wanted.full_resource();
        let any_of_subresource = format!("*/{}", wanted.subresource);
        let resource = has(&self.resources, &full)
            || (!wanted.subresource.is_empty() && self.resources.contains(&any_of_subresource));
        let named = self.resource_names.is_empty() || self.resource_names.contains(&wanted.name);
        has(&self.api_groups, &wanted.group) && resource && named
    }
}

impl Subject {
    fn is(&self, identity: &Identity, binding_namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == identity.name,
            "Group" => identity.in_group(&self.name),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                identity.name == crate::auth::token::account_user(namespace, &self.name)
            }
            _ => false,
        }
    }
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// Tells whether somebody may do something.
pub(crate) fn allows(storage: &Storage, identity: &Identity, wanted: &Attributes) -> bool {
    if identity.in_group(MASTERS) {
        return true;
    }
    let mut allowed = false;
    visit(storage, identity, &wanted.namespace, |rule| {
        allowed = rule.allows(wanted);
        allowed
    });
    allowed
}

/// Returns every rule that somebody has in a namespace, cluster-wide ones included.
pub(crate) fn rules(storage: &Storage, identity: &Identity, namespace: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    if identity.in_group(MASTERS) {
        let all = || vec!["*".to_owned()];
        rules.push(Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() });
        rules.push(Rule { verbs: all(), urls: all(), ..Rule::default() });
    }
    visit(storage, identity, namespace, |rule| {
        rules.push(rule.clone());
        false
    });
    rules
}

/// Shows `enough` each rule until it has seen enough.
fn visit(storage: &Storage, identity: &Identity, namespace: &str, mut enough: impl FnMut(&Rule) -> bool) {
    for binding in bindings(storage, "clusterrolebindings", None) {
        if binding.subjects.iter().any(|subject| subject.is(identity, "")) {
            let rules = role_rules(storage, &binding.role_ref, "");
            if rules.iter().any(&mut enough) {
                return;
            }
        }
    }
    if namespace.is_empty() {
        return;
    }
    for binding in bindings(storage, "rolebindings", Some(namespace)) {
        if binding.subjects.iter().any(|subject| subject.is(identity, namespace)) {
            let rules = role_rules(storage, &binding.role_ref, namespace);
            if rules.iter().any(&mut enough) {
                return;
            }
        }
    }
}

fn bindings(storage: &Storage, plural: &str, namespace: Option<&str>) -> Vec<Binding> {
    let range = Range { namespace: namespace.map(Into::into), ..Range::default() };
    let snapshot = storage.list(&format!("{GROUP}/{plural}"), &range, None, |_, _| true);
    let objects = snapshot.map(|snapshot| snapshot.objects).unwrap_or_default();
    objects.iter().filter_map(|(_, object)| serde_json::from_slice(object.bare()).ok()).collect()
}

fn role_rules(storage: &Storage, role: &RoleRef, namespace: &str) -> Vec<Rule> {
    let (plural, key) = match role.kind.as_str() {
        "ClusterRole" => ("clusterroles", Key::new("", &role.name)),
        _ => ("roles", Key::new(namespace, &role.name)),
    };
    let Some(role) = storage.get(&format!("{GROUP}/{plural}"), &key) else { return Vec::new() };
    let value = role.bare_value();
    let Some(selectors) = value.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array)
    else {
        return own_rules(&value);
    };
    let mut rules = own_rules(&value);
    let roles = storage.list(&format!("{GROUP}/clusterroles"), &Range::default(), None, |_, role| {
        selectors.iter().any(|selector| selects(selector, role))
    });
    for (_, role) in roles.map(|roles| roles.objects).unwrap_or_default() {
        rules.extend(own_rules(&role.bare_value()));
    }
    rules
}

fn selects(selector: &Value, role: &crate::storage::object::Stored) -> bool {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    labels.is_some_and(|labels| {
        labels.iter().all(|(name, value)| role.labels.get(name).map(String::as_str) == value.as_str())
    })
}

fn own_rules(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        Rule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            urls: Vec::new(),
        }
    }

    fn wanted(verb: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        let get_pods = rule(&["get"], &[""], &["pods"], &[]);
        assert!(get_pods.allows(&wanted("get", "pods", "", "a")));
        assert!(!get_pods.allows(&wanted("list", "pods", "", "")));
        assert!(!get_pods.allows(&wanted("get", "pods", "log", "a")));
        assert!(rule(&["*"], &["*"], &["pods/log"], &[]).allows(&wanted("get", "pods", "log", "a")));
        assert!(rule(&["*"], &["*"], &["*/status"], &[]).allows(&wanted("get", "pods", "status", "a")));
        assert!(!rule(&["*"], &["*"], &["*/status"], &[]).allows(&wanted("get", "pods", "", "a")));
        assert!(rule(&["*"], &["*"], &["*"], &[]).allows(&wanted("get", "pods", "log", "a")));
        assert!(!rule(&["*"], &["apps"], &["*"], &[]).allows(&wanted("get", "pods", "", "a")));
        assert!(!rule(&["get"], &[""], &["pods"], &["b"]).allows(&wanted("get", "pods", "", "a")));
        assert!(rule(&["get"], &[""], &["pods"], &["a"]).allows(&wanted("get", "pods", "", "a")));
    }

    #[test]
    fn a_path_is_allowed_whole_or_by_its_beginning() {
        let rule = Rule {
            verbs: vec!["get".into()],
            urls: vec!["/healthz".into(), "/openapi/*".into()],
            ..Rule::default()
        };
        let path =
            |path: &str| Attributes { verb: "get".into(), path: Some(path.into()), ..Attributes::default() };
        assert!(rule.allows(&path("/healthz")));
        assert!(rule.allows(&path("/openapi/v3")));
        assert!(!rule.allows(&path("/metrics")));
        assert!(!rule.allows(&wanted("get", "pods", "", "")));
    }

    #[test]
    fn a_refusal_reads_as_a_real_servers() {
        let wanted = Attributes { verb: "list".into(), resource: "nodes".into(), ..Attributes::default() };
        assert_eq!(
            wanted.refusal(&Identity::anonymous()),
            "User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
        );
    }
}
