//! What is in `deploy/` is what cloudcore needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiserver::NoNodeLogs;
use cloudcore::{Embedded, EmbeddedOptions};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde_json::Value;
use store::MemoryStore;

/// What cloudcore does in the whole cluster, as `group/resource verbs`.
const IN_THE_CLUSTER: [&str; 16] = [
    // Watched by the edge controller; a node may also ask for one.
    "/nodes get list watch",
    "/pods get list watch",
    "/configmaps get list watch",
    "/secrets get list watch",
    // Asked for by nodes.
    "/services get",
    "/serviceaccounts get",
    "/persistentvolumes get",
    "/persistentvolumeclaims get",
    "storage.k8s.io/volumeattachments get",
    "storage.k8s.io/csidrivers get",
    "storage.k8s.io/csinodes get",
    "node.k8s.io/runtimeclasses get",
    // Written for nodes.
    "/nodes create patch",
    "/pods create delete",
    "/events create patch",
    "certificates.k8s.io/certificatesigningrequests create get",
];
/// The same of subresources and of records.
const PARTS: [&str; 12] = [
    "/nodes/status patch",
    "/pods/status patch",
    "/serviceaccounts/token create",
    "reliablesyncs.kubeedge.io/objectsyncs get list watch create delete",
    "reliablesyncs.kubeedge.io/clusterobjectsyncs get list watch create delete",
    "reliablesyncs.kubeedge.io/objectsyncs/status patch",
    "reliablesyncs.kubeedge.io/clusterobjectsyncs/status patch",
    "devices.kubeedge.io/devices get list watch",
    "devices.kubeedge.io/devicemodels get list watch",
    "devices.kubeedge.io/devicestatuses get create patch",
    "rules.kubeedge.io/ruleendpoints get list watch",
    "rules.kubeedge.io/rules get list watch patch",
];
/// What it does in one namespace or with one object, as `namespace group/resource name verbs`.
const IN_A_PLACE: [&str; 9] = [
    "- /namespaces kubeedge get",
    "kube-node-lease coordination.k8s.io/leases * create get update",
    "kubeedge /secrets * create",
    "kubeedge /secrets casecret update",
    "kubeedge /secrets cloudcoresecret update",
    "kubeedge /secrets tokensecret update",
    "kubeedge coordination.k8s.io/leases * create",
    "kubeedge coordination.k8s.io/leases cloudcore get update",
    // What the roles for the whole cluster allow here as well.
    "kubeedge /secrets casecret get",
];
/// What it must not be able to do.
const NOT: [&str; 12] = [
    "default /secrets x create",
    "default /secrets x update",
    "kubeedge /secrets other update",
    "kubeedge /secrets casecret delete",
    "kubeedge coordination.k8s.io/leases other update",
    "default /configmaps x update",
    "default /pods x patch",
    "default /pods/exec x create",
    "- /nodes x delete",
    "- rbac.authorization.k8s.io/clusterroles x create",
    "- certificates.k8s.io/certificatesigningrequests/approval x update",
    "- apiextensions.k8s.io/customresourcedefinitions x create",
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn documents(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(deploy(path)).expect("it is there");
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
}

#[test]
fn the_definitions_are_those_of_the_types() {
    let text = std::fs::read_to_string(deploy("beehive/crds/kubeedge.yaml")).expect("it is there");
    assert_eq!(
        text,
        cloudcore::definitions_yaml(),
        "write it anew: cloudcore --crds > deploy/beehive/crds/kubeedge.yaml"
    );
    let read: Vec<Value> = documents("beehive/crds/kubeedge.yaml");
    assert_eq!(read, api::definitions(), "it is read as it was meant");
}

/// Flattens what rules allow: one text for each resource, name and verb.
fn allowed(rules: &Value, namespace: &str) -> BTreeSet<String> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules.as_array().expect("rules") {
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push("*".to_owned());
        }
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for (name, verb) in
                    names.iter().flat_map(|name| texts(&rule["verbs"]).into_iter().map(move |it| (name, it)))
                {
                    all.insert(format!("{namespace} {group}/{resource} {name} {verb}"));
                }
            }
        }
    }
    all
}

/// Spreads lines with several verbs.
fn spread(lines: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in lines {
        let parts: Vec<&str> = line.split(' ').collect();
        for verb in &parts[3..] {
            all.insert(format!("{} {} {} {verb}", parts[0], parts[1], parts[2]));
        }
    }
    all
}

fn needed() -> BTreeSet<String> {
    let in_the_cluster = IN_THE_CLUSTER.iter().chain(&PARTS).map(|line| {
        let (resource, verbs) = line.split_once(' ').expect("verbs");
        format!("- {resource} * {verbs}")
    });
    spread(in_the_cluster.chain(IN_A_PLACE.iter().map(|line| (*line).to_owned())))
}

#[test]
fn the_roles_allow_what_is_needed_and_no_more() {
    let mut found = BTreeSet::new();
    for document in documents("beehive/files/rbac.yaml") {
        if document["kind"].as_str().is_some_and(|kind| kind.ends_with("Role")) {
            let namespace = document["metadata"]["namespace"].as_str().unwrap_or("-");
            found.extend(allowed(&document["rules"], namespace));
        }
    }
    let mut needed = needed();
    needed.remove("kubeedge /secrets casecret get");
    assert_eq!(found, needed);
}

#[tokio::test]
async fn an_api_server_that_is_given_the_roles_lets_cloudcore_do_that_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let embedded = Embedded::open(EmbeddedOptions {
        store: Arc::new(MemoryStore::new()),
        directory: directory.path().join("kube-api"),
        address: ([127, 0, 0, 1], 0).into(),
        logs: Arc::new(NoNodeLogs),
    });
    let client = embedded.await.expect("it opens").client();
    let namespace =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeedge"}});
    for document in [vec![namespace], documents("beehive/files/rbac.yaml")].concat() {
        let object: DynamicObject = serde_json::from_value(document).expect("an object");
        let types = object.types.clone().expect("a kind");
        let (resource, capabilities) =
            pinned_kind(&client, &GroupVersionKind::try_from(&types).expect("a kind"))
                .await
                .expect("it is served");
        let api: Api<DynamicObject> = match (&capabilities.scope, &object.metadata.namespace) {
            (Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
            _ => Api::all_with(client.clone(), &resource),
        };
        api.create(&PostParams::default(), &object).await.expect("it is taken");
    }
    for line in needed() {
        assert!(may(&client, &line).await, "it needs {line}");
    }
    for line in NOT {
        assert!(!may(&client, line).await, "it must not {line}");
    }
}

async fn may(client: &kube::Client, line: &str) -> bool {
    let parts: Vec<&str> = line.split(' ').collect();
    let (group, resource) = parts[1].split_once('/').expect("a group");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let some = |text: &str| (!text.is_empty() && text != "*" && text != "-").then(|| text.to_owned());
    let attributes = ResourceAttributes {
        namespace: some(parts[0]),
        group: some(group),
        resource: some(resource),
        subresource: some(subresource),
        name: some(parts[2]),
        verb: some(parts[3]),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some("system:serviceaccount:kubeedge:cloudcore".to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    answer.status.is_some_and(|status| status.allowed)
}
