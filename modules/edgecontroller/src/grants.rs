//! What a node may ask for. A node speaks for itself: its own Node and lease, the pods that are
//! bound to it, and what these pods need.

use std::collections::BTreeSet;

use protocol::{
    ApiStatus, Lease, Namespace, NodeName, NodeRequest, Object, ObjectKey, ObjectName, ResourceType,
};
use serde_json::Value;

use crate::desired::Desired;
use crate::kinds::Kind;

/// The namespace in which nodes keep their leases.
const LEASES: &str = "kube-node-lease";
/// The annotation that tells a pod that a node made of a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The annotation that tells which node asked for a certificate.
pub(crate) const REQUESTED_BY: &str = "beehive.kubeedge.io/requested-by";

/// On what condition a request is served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Grant {
    /// On none.
    Granted,
    /// If this pod is bound to the node; for a token also with this account and uid.
    IfBound { pod: ObjectKey, runs_as: Option<(ObjectName, String)> },
    /// If a pod of the node needs it. It was not seen that one does, but not all of the node's pods are known yet.
    IfNeeded(ObjectKey),
    /// If the volume that is read belongs to one of these claims.
    IfClaimed(BTreeSet<ObjectKey>),
    /// If the volume attachment that is read is the node's.
    IfAttached,
    /// If the certificate request that is read was made by the node.
    IfRequested,
}

/// Decides on a request of `node` by what is known here.
pub(crate) fn decide(desired: &Desired, node: &NodeName, request: &NodeRequest) -> Result<Grant, ApiStatus> {
    match request {
        NodeRequest::RegisterNode(object) | NodeRequest::UpdateNode(object) => {
            own_node(node, &object.meta().name)
        }
        NodeRequest::PatchNodeStatus { node: other, .. } => own_node(node, other.as_str()),
        NodeRequest::PatchPodStatus { namespace, pod, .. }
        | NodeRequest::DeletePod { namespace, pod, .. } => {
            Ok(bound_pod(desired, node, pod_key(namespace, pod), None))
        }
        NodeRequest::CreatePod(pod) => mirror_pod(node, pod),
        NodeRequest::Query(key) => query(desired, node, key),
        NodeRequest::Lease(Lease::Create(lease) | Lease::Update(lease)) => {
            let meta = lease.meta();
            let own = meta.name == node.as_str() && meta.namespace.as_deref() == Some(LEASES);
            let cause =
                format!("can only access node lease with the same name as the requesting node {node}");
            if own { Ok(Grant::Granted) } else { Err(forbidden(&ResourceType::LEASE, &meta.name, &cause)) }
        }
        NodeRequest::Token { namespace, account, request } => {
            token(desired, node, namespace, account, request)
        }
        NodeRequest::CreateCsr(csr) => certificate(csr),
        NodeRequest::RecordEvent(event) | NodeRequest::PatchEvent { event, .. } => own_event(node, event),
        NodeRequest::KubernetesCa => Ok(Grant::Granted),
        NodeRequest::ReportTwins { device, .. } | NodeRequest::ReportDeviceState { device, .. } => {
            let cause = "the device controller takes reports of devices";
            Err(forbidden(&ResourceType::DEVICE, device.name.as_str(), cause))
        }
        NodeRequest::Upload { .. } | NodeRequest::CallUrl { .. } => {
            Err(ApiStatus::new(403, "Forbidden", "the router takes what rules route"))
        }
    }
}

/// Makes the refusal that the Kubernetes API gives for what is not allowed.
pub(crate) fn forbidden(resource: &ResourceType, name: &str, cause: &str) -> ApiStatus {
    let qualified = Kind::of(resource).map_or_else(|| resource.to_string(), Kind::qualified);
    ApiStatus::new(403, "Forbidden", format!("{qualified} {name:?} is forbidden: {cause}"))
}

fn pod_key(namespace: &Namespace, pod: &ObjectName) -> ObjectKey {
    ObjectKey { resource: ResourceType::POD, namespace: Some(namespace.clone()), name: pod.clone() }
}

fn own_node(node: &NodeName, name: &str) -> Result<Grant, ApiStatus> {
    if name == node.as_str() {
        return Ok(Grant::Granted);
    }
    Err(forbidden(
        &ResourceType::NODE,
        name,
        &format!("node {:?} is not allowed to modify another node", node.as_str()),
    ))
}

fn bound_pod(
    desired: &Desired,
    node: &NodeName,
    pod: ObjectKey,
    runs_as: Option<(ObjectName, String)>,
) -> Grant {
    match (desired.pod_on(node, &pod), &runs_as) {
        (Some(_), None) => Grant::Granted,
        (Some((known, facts)), Some((account, uid)))
            if is_run_as(known, facts.account.as_deref(), account, uid) =>
        {
            Grant::Granted
        }
        _ => Grant::IfBound { pod, runs_as },
    }
}

/// Tells whether the pod with this uid runs as the account.
pub(crate) fn is_run_as(pod: &Object, runs_as: Option<&str>, account: &ObjectName, uid: &str) -> bool {
    pod.meta().uid.as_deref() == Some(uid) && runs_as.unwrap_or("default") == account.as_str()
}

fn mirror_pod(node: &NodeName, pod: &Object) -> Result<Grant, ApiStatus> {
    let facts = crate::references::PodFacts::of(pod);
    let no = |cause: &str| Err(forbidden(&ResourceType::POD, &pod.meta().name, cause));
    if !pod.meta().annotations.contains_key(MIRROR) {
        return no("a node can only create mirror pods");
    }
    if facts.node.as_deref() != Some(node.as_str()) {
        return no("a node can only create pods with spec.nodeName set to itself");
    }
    if !facts.needs.is_empty() || !facts.claims.is_empty() || facts.account.is_some() {
        return no(
            "a node can not create pods that reference configmaps, secrets, persistentvolumeclaims or a service account",
        );
    }
    Ok(Grant::Granted)
}

fn query(desired: &Desired, node: &NodeName, key: &ObjectKey) -> Result<Grant, ApiStatus> {
    let no = |cause: &str| Err(forbidden(&key.resource, key.name.as_str(), cause));
    let own = key.name.as_str() == node.as_str();
    match key.resource.as_str() {
        "node" | "csinode" if own => Ok(Grant::Granted),
        "lease" if own && key.namespace.as_ref().is_some_and(|namespace| namespace.as_str() == LEASES) => {
            Ok(Grant::Granted)
        }
        "node" | "csinode" | "lease" => no("a node can only read its own"),
        "service" | "csidriver" | "runtimeclass" => Ok(Grant::Granted),
        "pod" => Ok(bound_pod(desired, node, key.clone(), None)),
        "device" if desired.has_device(node, key) => Ok(Grant::Granted),
        "configmap" | "secret" | "devicemodel" if desired.needs(node, key) => Ok(Grant::Granted),
        "persistentvolumeclaim" if desired.claims(node, key) => Ok(Grant::Granted),
        "configmap" | "secret" | "persistentvolumeclaim" if !desired.is_complete(node) => {
            Ok(Grant::IfNeeded(key.clone()))
        }
        "configmap" | "secret" | "persistentvolumeclaim" => {
            let relation = format!("no relationship found between node {:?} and this object", node.as_str());
            no(&relation)
        }
        "persistentvolume" => Ok(Grant::IfClaimed(desired.claims_of(node))),
        "volumeattachment" => Ok(Grant::IfAttached),
        "certificatesigningrequest" => Ok(Grant::IfRequested),
        _ => no("nodes have no business with this resource"),
    }
}

fn token(
    desired: &Desired,
    node: &NodeName,
    namespace: &Namespace,
    account: &ObjectName,
    request: &Object,
) -> Result<Grant, ApiStatus> {
    let resource = ResourceType::parse("serviceaccount").expect("a valid type");
    let no = |cause: &str| Err(forbidden(&resource, account.as_str(), cause));
    let Ok(request) = request.value() else { return no("the request is not readable") };
    let bound = &request["spec"]["boundObjectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = ObjectName::parse(&text(&bound["name"]));
    let (true, Ok(pod)) = (bound["kind"] == "Pod", name) else {
        return no(&format!("node requested token not bound to a pod, node {:?}", node.as_str()));
    };
    let uid = text(&bound["uid"]);
    if uid.is_empty() {
        return no("node requested token with a pod binding without a uid");
    }
    Ok(bound_pod(desired, node, pod_key(namespace, &pod), Some((account.clone(), uid))))
}

fn certificate(csr: &Object) -> Result<Grant, ApiStatus> {
    let signer = csr.value().ok().and_then(|csr| csr["spec"]["signerName"].as_str().map(str::to_owned));
    if signer.as_deref() == Some("kubernetes.io/kubelet-serving") {
        return Ok(Grant::Granted);
    }
    let resource = ResourceType::parse("certificatesigningrequest").expect("a valid type");
    Err(forbidden(&resource, &csr.meta().name, "a node can only ask for a serving certificate"))
}

fn own_event(node: &NodeName, event: &Object) -> Result<Grant, ApiStatus> {
    let host = event.value().ok().and_then(|event| event["source"]["host"].as_str().map(str::to_owned));
    match host.filter(|host| !host.is_empty()) {
        Some(host) if host != node.as_str() => {
            let cause = format!("the event is told in the name of node {host:?}");
            Err(forbidden(&ResourceType::EVENT, &event.meta().name, &cause))
        }
        _ => Ok(Grant::Granted),
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
