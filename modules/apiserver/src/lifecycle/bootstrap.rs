//! What a cluster begins with.

use serde_json::{Value, json};

use super::kinds;
use crate::auth::bootstrap::{cluster_role_bindings, cluster_roles};
use crate::server::ApiServer;
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::storage::Transaction;
use crate::storage::object::Key;
use crate::verbs::admission;
use crate::verbs::create::{Tracking, insert};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Writes what is missing of it.
pub(crate) async fn run(server: &ApiServer) -> Result<(), ApiError> {
    let call = Call::internal(server);
    let definitions = (server.0.options.definitions)();
    let decide = |transaction: &mut Transaction<'_>| {
        for name in NAMESPACES {
            ensure(
                &call,
                transaction,
                "",
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            )?;
        }
        // The CA may be another than when a namespace was made.
        for (key, _) in transaction.list("core/namespaces", None) {
            admission::furnish(&call, transaction, &key.name)?;
        }
        for object in cluster_roles().into_iter().chain(cluster_role_bindings()).chain(priority_classes()) {
            ensure(&call, transaction, "", object)?;
        }
        for definition in &definitions {
            kinds::ensure(&call, transaction, definition)?;
        }
        front(&call, transaction)
    };
    server.0.storage.write(decide).await
}

fn ensure(
    call: &Call,
    transaction: &mut Transaction<'_>,
    namespace: &str,
    object: Value,
) -> Result<(), ApiError> {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = call.registry.find_kind(group, version, &kind);
    let resource = resource.ok_or_else(|| ApiError::internal(format!("{kind} is not served")))?;
    let key = Key::new(namespace, meta::text(&object, "name"));
    if transaction.get(&resource.storage, &key).is_some() {
        return Ok(());
    }
    insert(call, resource, namespace, transaction, object, Tracking::Update).map(drop)
}

fn priority_classes() -> Vec<Value> {
    let class = |name: &str, value: i64, description: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
               "value": value, "globalDefault": false, "description": description})
    };
    vec![
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

/// The service that clients in the cluster find the server by.
fn front(call: &Call, transaction: &mut Transaction<'_>) -> Result<(), ApiError> {
    let options = &call.server.0.options;
    let (host, port) = options.address.rsplit_once(':').unwrap_or((&options.address, "443"));
    let port: u16 = port.parse().unwrap_or(443);
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": options.service_range.at(1).to_string(), "sessionAffinity": "None",
                 "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]}});
    ensure(call, transaction, "default", service)?;
    if host.parse::<std::net::IpAddr>().is_err() {
        return Ok(());
    }
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]});
    // A loopback address is no valid endpoint: then there is nothing to point at.
    if host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
    {
        ensure(call, transaction, "default", endpoints)?;
    }
    Ok(())
}
