//! Bodies, paths and queries that make no sense.

use apiserver::Identity;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::cluster::{Cluster, pod, read, request};

/// Values of every shape, nested a little, with names that the server looks for.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z./:-]{0,8}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "resourceVersion",
        "uid",
        "generateName",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "tolerations",
        "ports",
        "type",
        "clusterIP",
        "clusterIPs",
        "names",
        "versions",
        "group",
        "conditions",
        "storedVersions",
        "target",
        "deleteOptions",
        "boundObjectRef",
        "audiences",
        "data",
        "resourceAttributes",
        "nonResourceAttributes",
        "replicas",
        "selector",
        "template",
        "op",
        "path",
        "value",
        "deletionTimestamp",
        "nodeName",
        "serviceAccountName",
        "schema",
        "openAPIV3Schema",
        "properties",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

const TARGETS: [(&str, &str); 16] = [
    ("POST", "/api/v1/namespaces/default/pods"),
    ("POST", "/api/v1/namespaces/default/services"),
    ("POST", "/api/v1/namespaces/default/configmaps"),
    ("POST", "/api/v1/namespaces"),
    ("POST", "/apis/apps/v1/namespaces/default/deployments"),
    ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
    ("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ("POST", "/api/v1/namespaces/default/pods/p/binding"),
    ("POST", "/api/v1/namespaces/default/pods/p/eviction?dryRun=All"),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token"),
    ("PUT", "/api/v1/namespaces/default/pods/p/status"),
    ("PATCH", "/api/v1/namespaces/default/pods/p"),
    ("DELETE", "/api/v1/namespaces/default/configmaps/none"),
];

const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

#[test]
fn no_body_makes_the_server_panic_or_fail_internally() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is made");
    let cluster = runtime.block_on(async {
        let cluster = Cluster::new().await;
        cluster.create("/api/v1/namespaces/default/pods", pod("p")).await;
        cluster
    });
    let cases = (prop::sample::select(TARGETS.to_vec()), 0..PATCHES.len(), any::<bool>(), value());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&cases, |((method, path), kind, named, body)| {
            let kind = if method == "PATCH" { PATCHES[kind] } else { "application/json" };
            let path =
                if method == "PATCH" { format!("{path}?fieldManager=f&force=true") } else { path.to_owned() };
            let mut body = body;
            if let (true, Some(fields)) = (named, body.as_object_mut()) {
                fields.insert("metadata".to_owned(), json!({"generateName": "g-"}));
            }
            let (code, reply) = runtime.block_on(async {
                let mut request = request(method, &path, kind, body.to_string());
                request.extensions_mut().insert(Identity::admin());
                read(cluster.raw(request).await).await
            });
            prop_assert!(code < 500, "{} {} {}: {} {}", method, path, body, code, reply);
            Ok(())
        })
        .expect("every body is answered");
}

#[test]
fn no_bytes_path_or_query_make_the_server_panic() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is made");
    let cluster = runtime.block_on(Cluster::new());
    let kinds = prop::sample::select(vec![
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/apply-patch+yaml",
        "text/plain",
    ]);
    let methods = prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"]);
    let path = "(/(api|apis|v1|apps|namespaces|default|pods|nodes|log|status|x|%2e|openapi|v3)){0,7}";
    let query = "((watch|limit|continue|resourceVersion|labelSelector|fieldSelector|timeoutSeconds)=[a-z0-9=!(),%]{0,8}&){0,4}";
    let cases = (methods, path, query, kinds, prop::collection::vec(any::<u8>(), 0..64));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&cases, |(method, path, query, kind, mut body)| {
            if kind.ends_with("protobuf") {
                body.splice(0..0, *b"k8s\0");
            }
            let uri = format!("/{}?{query}", path.trim_start_matches('/'));
            let Ok(uri) = uri.parse::<http::Uri>() else { return Ok(()) };
            let code = runtime.block_on(async {
                let mut request = request(method, &uri.to_string(), kind, body);
                request.extensions_mut().insert(Identity::admin());
                cluster.raw(request).await.status().as_u16()
            });
            prop_assert!(code != 500, "{} {}: {}", method, uri, code);
            Ok(())
        })
        .expect("every request is answered");
}
