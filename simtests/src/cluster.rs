//! Questions that scenarios ask the API server. Where it does not answer, nothing is so.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};

/// Tells whether a node is `Ready`; `None` when that is not known.
pub async fn node_readiness(kube: &Client, name: &str) -> Option<bool> {
    let node = Api::<Node>::all(kube.clone()).get_opt(name).await.ok()??;
    is_ready(&node)
}

fn is_ready(node: &Node) -> Option<bool> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status == "True")
}

/// Tells whether a node is `Ready`.
pub async fn node_is_ready(kube: &Client, name: &str) -> bool {
    node_readiness(kube, name).await == Some(true)
}

/// Counts the nodes that are `Ready`; `None` when that is not known.
pub async fn ready_nodes(kube: &Client) -> Option<usize> {
    let nodes = Api::<Node>::all(kube.clone()).list(&ListParams::default()).await.ok()?;
    Some(nodes.iter().filter(|node| is_ready(node) == Some(true)).count())
}

/// Tells whether a pod of the namespace `default` has a phase, such as `Running`.
pub async fn pod_is(kube: &Client, name: &str, phase: &str) -> bool {
    let pod = Api::<Pod>::default_namespaced(kube.clone()).get_opt(name).await;
    let phase_of = |pod: Pod| pod.status.and_then(|status| status.phase);
    pod.ok().flatten().and_then(phase_of).as_deref() == Some(phase)
}

/// Tells whether a pod of the namespace `default` does not exist.
pub async fn pod_is_gone(kube: &Client, name: &str) -> bool {
    matches!(Api::<Pod>::default_namespaced(kube.clone()).get_opt(name).await, Ok(None))
}
