//! Who may ask for what.

use serde_json::json;

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::parse(name).expect("a valid name")
}

fn key(resource: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        resource: ResourceType::parse(resource).expect("a valid type"),
        namespace: Namespace::parse(namespace).ok(),
        name: ObjectName::parse(name).expect("a valid name"),
    }
}

fn object(value: Value) -> Object {
    Object::from_value(&value).expect("it is an object")
}

/// Node `n` with one pod that runs as `sa`, needs the config map `c` and mounts the claim `data`.
fn desired() -> Desired {
    let mut desired = Desired::default();
    for name in ["n", "m"] {
        desired.see_node(node(name), object(json!({ "metadata": { "name": name } })));
    }
    desired.begin_pods();
    let pod = object(json!({ "metadata": { "name": "p", "namespace": "d", "uid": "u" }, "spec": {
        "nodeName": "n", "serviceAccountName": "sa",
        "volumes": [{ "configMap": { "name": "c" } }, { "persistentVolumeClaim": { "claimName": "data" } }],
    } }));
    desired.see_pod(key("pod", "d", "p"), pod);
    desired.end_pods();
    desired
}

fn name_of(decision: Result<Grant, ApiStatus>) -> &'static str {
    match decision {
        Ok(Grant::Granted) => "granted",
        Ok(Grant::IfBound { .. }) => "if bound",
        Ok(Grant::IfNeeded(_)) => "if needed",
        Ok(Grant::IfClaimed(_)) => "if claimed",
        Ok(Grant::IfAttached) => "if attached",
        Ok(Grant::IfRequested) => "if requested",
        Err(status) => {
            assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
            "refused"
        }
    }
}

#[test]
fn a_node_reads_its_own_and_what_its_pods_need() {
    let cases = [
        ("node", "", "n", "granted", "refused"),
        ("node", "", "m", "refused", "granted"),
        ("pod", "d", "p", "granted", "if bound"),
        ("configmap", "d", "c", "granted", "refused"),
        ("configmap", "other", "c", "refused", "refused"),
        ("secret", "d", "c", "refused", "refused"),
        ("secret", "kube-system", "token", "refused", "refused"),
        ("persistentvolumeclaim", "d", "data", "granted", "refused"),
        ("persistentvolume", "", "pv", "if claimed", "if claimed"),
        ("volumeattachment", "default", "va", "if attached", "if attached"),
        ("certificatesigningrequest", "default", "csr", "if requested", "if requested"),
        ("lease", "kube-node-lease", "n", "granted", "refused"),
        ("lease", "kube-system", "n", "refused", "refused"),
        ("service", "d", "svc", "granted", "granted"),
        ("clusterrole", "", "admin", "refused", "refused"),
        ("serviceaccount", "d", "sa", "refused", "refused"),
    ];
    let desired = desired();
    for (resource, namespace, name, by_n, by_m) in cases {
        let request = NodeRequest::Query(key(resource, namespace, name));
        assert_eq!(
            name_of(decide(&desired, &node("n"), &request)),
            by_n,
            "n reads {resource} {namespace}/{name}"
        );
        assert_eq!(
            name_of(decide(&desired, &node("m"), &request)),
            by_m,
            "m reads {resource} {namespace}/{name}"
        );
    }
}

#[test]
fn what_a_node_needs_is_checked_at_the_source_while_its_pods_are_not_known() {
    let request = NodeRequest::Query(key("secret", "d", "s"));
    assert_eq!(name_of(decide(&Desired::default(), &node("n"), &request)), "if needed");
}

#[test]
fn a_node_changes_itself_and_its_pods() {
    let patch = bytes::Bytes::from_static(b"{}");
    let named = |name: &str| object(json!({ "metadata": { "name": name, "namespace": "kube-node-lease" } }));
    let pod = |name: &str| ObjectName::parse(name).expect("a valid name");
    let namespace = || Namespace::parse("d").expect("a valid namespace");
    let status = |name: &str| NodeRequest::PatchPodStatus {
        namespace: namespace(),
        pod: pod(name),
        patch: patch.clone(),
    };
    let delete = |name: &str| NodeRequest::DeletePod {
        namespace: namespace(),
        pod: pod(name),
        options: patch.clone(),
    };
    let event = |host: &str| {
        NodeRequest::RecordEvent(object(json!({ "metadata": { "name": "e" }, "source": { "host": host } })))
    };
    let csr = |signer: &str| {
        NodeRequest::CreateCsr(object(
            json!({ "metadata": { "name": "c" }, "spec": { "signerName": signer } }),
        ))
    };
    let cases = [
        (NodeRequest::RegisterNode(named("n")), "granted"),
        (NodeRequest::RegisterNode(named("m")), "refused"),
        (NodeRequest::UpdateNode(named("m")), "refused"),
        (NodeRequest::PatchNodeStatus { node: node("n"), patch: patch.clone() }, "granted"),
        (NodeRequest::PatchNodeStatus { node: node("m"), patch: patch.clone() }, "refused"),
        (status("p"), "granted"),
        (status("q"), "if bound"),
        (delete("p"), "granted"),
        (delete("q"), "if bound"),
        (NodeRequest::Lease(Lease::Update(named("n"))), "granted"),
        (NodeRequest::Lease(Lease::Create(named("m"))), "refused"),
        (
            NodeRequest::Lease(Lease::Create(object(
                json!({ "metadata": { "name": "n", "namespace": "d" } }),
            ))),
            "refused",
        ),
        (event("n"), "granted"),
        (event(""), "granted"),
        (event("m"), "refused"),
        (csr("kubernetes.io/kubelet-serving"), "granted"),
        (csr("kubernetes.io/kube-apiserver-client"), "refused"),
        (NodeRequest::KubernetesCa, "granted"),
    ];
    let desired = desired();
    for (request, expected) in cases {
        assert_eq!(name_of(decide(&desired, &node("n"), &request)), expected, "{request:?}");
    }
}

#[test]
fn a_token_is_for_the_account_of_a_pod_of_the_node() {
    let token = |account: &str, bound: Value| NodeRequest::Token {
        namespace: Namespace::parse("d").expect("a valid namespace"),
        account: ObjectName::parse(account).expect("a valid name"),
        request: object(json!({ "metadata": {}, "spec": { "boundObjectRef": bound } })),
    };
    let pod = |name: &str, uid: &str| json!({ "kind": "Pod", "name": name, "uid": uid });
    let cases = [
        ("n", token("sa", pod("p", "u")), "granted"),
        ("n", token("admin", pod("p", "u")), "if bound"),
        ("n", token("sa", pod("p", "older")), "if bound"),
        ("m", token("sa", pod("p", "u")), "if bound"),
        ("n", token("sa", pod("p", "")), "refused"),
        ("n", token("sa", json!({ "kind": "Secret", "name": "p", "uid": "u" })), "refused"),
        ("n", token("sa", json!(null)), "refused"),
    ];
    let desired = desired();
    for (by, request, expected) in cases {
        assert_eq!(name_of(decide(&desired, &node(by), &request)), expected, "{by}: {request:?}");
    }
    let pod = object(json!({ "metadata": { "name": "p", "uid": "u" } }));
    let account = |name: &str| ObjectName::parse(name).expect("a valid name");
    assert!(is_run_as(&pod, None, &account("default"), "u"));
    assert!(!is_run_as(&pod, None, &account("admin"), "u"));
    assert!(!is_run_as(&pod, Some("sa"), &account("sa"), "v"));
}

#[test]
fn a_node_makes_mirror_pods_of_itself_that_need_nothing() {
    let pod = |annotations: Value, spec: Value| {
        NodeRequest::CreatePod(object(json!({
            "metadata": { "name": "static-n", "namespace": "d", "annotations": annotations }, "spec": spec })))
    };
    let mirror = || json!({ "kubernetes.io/config.mirror": "x" });
    let cases = [
        (pod(mirror(), json!({ "nodeName": "n" })), "granted"),
        (pod(json!({}), json!({ "nodeName": "n" })), "refused"),
        (pod(mirror(), json!({ "nodeName": "m" })), "refused"),
        (pod(mirror(), json!({ "nodeName": "n", "serviceAccountName": "sa" })), "refused"),
        (
            pod(mirror(), json!({ "nodeName": "n", "volumes": [{ "secret": { "secretName": "s" } }] })),
            "refused",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(name_of(decide(&desired(), &node("n"), &request)), expected, "{request:?}");
    }
}
