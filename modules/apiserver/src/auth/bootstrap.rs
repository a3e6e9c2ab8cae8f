//! The roles and bindings that a cluster begins with.

use serde_json::{Value, json};

const API: &str = "rbac.authorization.k8s.io/v1";
const CORE_RESOURCES: [&str; 14] = [
    "configmaps",
    "endpoints",
    "events",
    "limitranges",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "pods/status",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "resourcequotas",
    "serviceaccounts",
    "services",
    "services/status",
];
const GROUPS: [&str; 7] =
    ["apps", "autoscaling", "batch", "discovery.k8s.io", "events.k8s.io", "networking.k8s.io", "policy"];
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// Returns the cluster roles.
pub(crate) fn cluster_roles() -> Vec<Value> {
    let mut roles = vec![
        role(
            "cluster-admin",
            json!([rule(&["*"], &["*"], &["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ),
        role(
            "system:discovery",
            json!([{"verbs": ["get"], "nonResourceURLs":
            ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"]}]),
        ),
        role(
            "system:public-info-viewer",
            json!([{"verbs": ["get"], "nonResourceURLs":
            ["/healthz", "/livez", "/readyz", "/version", "/version/"]}]),
        ),
        role(
            "system:basic-user",
            json!([
                rule(
                    &["create"],
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
                ),
                rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"])
            ]),
        ),
        role("system:node", node_rules()),
        role(
            "system:node-bootstrapper",
            json!([rule(
                &["create", "get", "list", "watch"],
                &["certificates.k8s.io"],
                &["certificatesigningrequests"]
            )]),
        ),
        role(
            "system:auth-delegator",
            json!([
                rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
                rule(&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"])
            ]),
        ),
    ];
    roles.extend(user_roles());
    roles
}

/// Returns the cluster role bindings.
pub(crate) fn cluster_role_bindings() -> Vec<Value> {
    vec![
        binding("cluster-admin", "cluster-admin", &["system:masters"]),
        binding("system:discovery", "system:discovery", &["system:authenticated"]),
        binding("system:basic-user", "system:basic-user", &["system:authenticated"]),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &["system:authenticated", "system:unauthenticated"],
        ),
        binding("system:node", "system:node", &["system:nodes"]),
    ]
}

fn user_roles() -> Vec<Value> {
    let mut view = vec![rule(&READ, &[""], &CORE_RESOURCES), rule(&READ, &[""], &["namespaces"])];
    view.extend(GROUPS.iter().map(|group| rule(&READ, &[group], &["*"])));
    let mut edit = vec![
        rule(&WRITE, &[""], &CORE_RESOURCES),
        rule(&[&READ[..], &WRITE[..]].concat(), &[""], &["secrets"]),
        rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]),
        rule(&["create", "get"], &[""], &["pods/attach", "pods/exec", "pods/portforward"]),
        rule(&[&READ[..], &WRITE[..]].concat(), &["coordination.k8s.io"], &["leases"]),
    ];
    edit.extend(GROUPS.iter().map(|group| rule(&WRITE, &[group], &["*"])));
    let admin = vec![
        rule(&[&READ[..], &WRITE[..]].concat(), &["rbac.authorization.k8s.io"], &["roles", "rolebindings"]),
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
    ];
    // Each role is the sum of the narrower ones, by label, so that custom roles can join.
    let aggregate = |name: &str, rules: Vec<Value>| {
        let mut role = role(&format!("system:aggregate-to-{name}"), Value::Array(rules));
        role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{name}")] = json!("true");
        role
    };
    let mut roles = vec![aggregate("view", view), aggregate("edit", edit), aggregate("admin", admin)];
    for (name, parts) in
        [("view", &["view"][..]), ("edit", &["edit", "view"]), ("admin", &["admin", "edit", "view"])]
    {
        let mut sum = role(name, Value::Null);
        sum["aggregationRule"] = json!({"clusterRoleSelectors": parts.iter().map(|part|
            json!({"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{part}"): "true"}})).collect::<Vec<_>>()});
        roles.push(sum);
    }
    roles
}

fn node_rules() -> Value {
    json!([
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews", "subjectaccessreviews"]),
        rule(
            &READ,
            &[""],
            &["services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"]
        ),
        rule(&["create", "delete", "get", "list", "patch", "update", "watch"], &[""], &["nodes", "pods"]),
        rule(&["patch", "update"], &[""], &["nodes/status", "pods/status"]),
        rule(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]),
        rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]),
        rule(&["get"], &[""], &["serviceaccounts"]),
        rule(&["create", "delete", "get", "patch", "update"], &["coordination.k8s.io"], &["leases"]),
        rule(&["create", "get", "list", "watch"], &["certificates.k8s.io"], &["certificatesigningrequests"]),
        rule(&READ, &["node.k8s.io"], &["runtimeclasses"]),
        rule(&READ, &["storage.k8s.io"], &["csidrivers", "volumeattachments"]),
        rule(&["create", "delete", "get", "patch", "update"], &["storage.k8s.io"], &["csinodes"]),
    ])
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": API, "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

fn binding(name: &str, role: &str, groups: &[&str]) -> Value {
    let subjects: Vec<_> = groups
        .iter()
        .map(|group| json!({"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}))
        .collect();
    json!({"apiVersion": API, "kind": "ClusterRoleBinding", "metadata": metadata(name), "subjects": subjects,
           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
           "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}
