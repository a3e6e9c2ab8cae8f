//! A node's requests as KubeEdge writes them.

use protocol::{DeviceId, Lease, Namespace, NodeName, NodeRequest, Object, ObjectKey, ObjectName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::content::{self, Content};
use crate::path::{DeviceAspect, ResourcePath};
use crate::raw::{RawMessage, RawRoute};
use crate::rule;

/// Cluster-scoped types that upstream addresses in the namespace `default`.
const MISPLACED: [&str; 2] = ["volumeattachment", "certificatesigningrequest"];

/// Returns the key that a path means.
pub(crate) fn key_of_path(mut key: ObjectKey) -> ObjectKey {
    if MISPLACED.contains(&key.resource.as_str()) {
        key.namespace = None;
    }
    key
}

fn path_of_key(key: &ObjectKey) -> ResourcePath {
    match &key.namespace {
        None if MISPLACED.contains(&key.resource.as_str()) => {
            ResourcePath::parse(&format!("default/{}/{}", key.resource, key.name))
        }
        _ => ResourcePath::Object(key.clone()),
    }
}

fn path_of_object(resource: &str, scope: &str, object: &Object) -> ResourcePath {
    let meta = object.meta();
    let namespace = match meta.namespace.as_deref() {
        Some(namespace) if scope != "null" && !namespace.is_empty() => namespace,
        _ => scope,
    };
    ResourcePath::parse(&format!("{namespace}/{resource}/{}", meta.name))
}

fn path_in(namespace: &Namespace, resource: &str, name: &ObjectName) -> ResourcePath {
    ResourcePath::parse(&format!("{namespace}/{resource}/{name}"))
}

/// Returns the path that `request` is sent to.
pub(crate) fn path_of(request: &NodeRequest) -> ResourcePath {
    match request {
        NodeRequest::RegisterNode(node) | NodeRequest::UpdateNode(node) => {
            path_of_object("node", "null", node)
        }
        NodeRequest::PatchNodeStatus { node, .. } => ResourcePath::parse(&format!("null/nodepatch/{node}")),
        NodeRequest::PatchPodStatus { namespace, pod, .. } => path_in(namespace, "podpatch", pod),
        NodeRequest::CreatePod(pod) => path_of_object("pod", "default", pod),
        NodeRequest::DeletePod { namespace, pod, .. } => path_in(namespace, "pod", pod),
        NodeRequest::Query(key) => path_of_key(key),
        NodeRequest::Lease(Lease::Create(lease) | Lease::Update(lease)) => {
            path_of_object("lease", "kube-node-lease", lease)
        }
        NodeRequest::Token { namespace, account, .. } => path_in(namespace, "serviceaccounttoken", account),
        NodeRequest::CreateCsr(csr) => path_of_object("certificatesigningrequest", "default", csr),
        NodeRequest::RecordEvent(event) | NodeRequest::PatchEvent { event, .. } => {
            path_of_object("event", "default", event)
        }
        NodeRequest::ReportTwins { device, .. } => path_of_device(device, DeviceAspect::TwinReported),
        NodeRequest::ReportDeviceState { device, .. } => path_of_device(device, DeviceAspect::State),
        NodeRequest::KubernetesCa => ResourcePath::KubernetesCa,
        NodeRequest::Upload { topic: text, .. } | NodeRequest::CallUrl { url: text, .. } => {
            ResourcePath::parse(text)
        }
    }
}

fn path_of_device(device: &DeviceId, aspect: DeviceAspect) -> ResourcePath {
    let DeviceId { namespace, name } = device.clone();
    ResourcePath::Device { namespace, device: name, aspect }
}

#[derive(Serialize, Deserialize)]
struct EventPatch<R> {
    event: R,
    #[serde(rename = "patchData")]
    patch: String,
}

/// Returns the route and the content of `request`.
pub(crate) fn write(path: &ResourcePath, request: &NodeRequest) -> (RawRoute, Box<RawValue>) {
    if let Some(written) = rule::write_request(request) {
        return written;
    }
    let embed = |object: &Object| content::embed(object.raw());
    let (operation, content) = match request {
        NodeRequest::RegisterNode(object)
        | NodeRequest::CreatePod(object)
        | NodeRequest::CreateCsr(object)
        | NodeRequest::RecordEvent(object)
        | NodeRequest::Lease(Lease::Create(object)) => ("insert", embed(object)),
        NodeRequest::UpdateNode(object) | NodeRequest::Lease(Lease::Update(object)) => {
            ("update", embed(object))
        }
        NodeRequest::PatchNodeStatus { patch, .. } | NodeRequest::PatchPodStatus { patch, .. } => {
            ("patch", content::text(patch))
        }
        NodeRequest::DeletePod { options, .. } => ("delete", content::embed(options)),
        // Twins travel as an object and a state as a text.
        NodeRequest::ReportTwins { report, .. } => ("update", content::embed(report)),
        NodeRequest::ReportDeviceState { report, .. } => ("update", content::text(report)),
        NodeRequest::Query(_)
        | NodeRequest::KubernetesCa
        | NodeRequest::Upload { .. }
        | NodeRequest::CallUrl { .. } => ("query", content::null()),
        NodeRequest::Token { request, .. } => ("query", embed(request)),
        NodeRequest::PatchEvent { event, patch } => {
            let patch = String::from_utf8_lossy(patch).into_owned();
            ("patch", content::json(&EventPatch { event: &*embed(event), patch }))
        }
    };
    let (source, group) = match path {
        ResourcePath::KubernetesCa => ("metamanager", "meta"),
        ResourcePath::Device { .. } => ("twin", "resource"),
        _ => ("edged", "meta"),
    };
    let route = RawRoute {
        source: source.to_owned(),
        group: group.to_owned(),
        operation: operation.to_owned(),
        resource: path.to_string(),
        ..RawRoute::default()
    };
    (route, content)
}

/// Says why a message is no request: its kind is not known, or its content does not fit.
pub(crate) type ReadResult = Result<NodeRequest, String>;

/// Reads a request of a node.
pub(crate) fn read(path: &ResourcePath, raw: RawMessage) -> ReadResult {
    let operation = raw.route.operation.as_str();
    if *path == ResourcePath::KubernetesCa {
        return match operation {
            "query" => Ok(NodeRequest::KubernetesCa),
            _ => Err(unknown(operation, "k8s/ca.crt")),
        };
    }
    if let ResourcePath::Device { namespace, device, aspect } = path {
        let device = DeviceId { namespace: namespace.clone(), name: device.clone() };
        return report(operation, device, *aspect, raw.content);
    }
    let ResourcePath::Object(key) = path else {
        return Err(unknown(operation, "this path"));
    };
    let key = key_of_path(key.clone());
    match (operation, key.resource.as_str()) {
        ("insert", "node") => content::object(raw.content).map(NodeRequest::RegisterNode),
        ("update", "node") => content::object(raw.content).map(NodeRequest::UpdateNode),
        ("patch", "nodepatch") => {
            let node = NodeName::parse(key.name.as_str()).map_err(|error| error.to_string())?;
            Ok(NodeRequest::PatchNodeStatus { node, patch: patch(raw.content)? })
        }
        ("patch", "podpatch") => Ok(NodeRequest::PatchPodStatus {
            namespace: namespaced(&key)?,
            pod: key.name,
            patch: patch(raw.content)?,
        }),
        ("insert", "pod") => content::object(raw.content).map(NodeRequest::CreatePod),
        ("delete", "pod") => delete_pod(key, raw.content),
        ("insert", "lease") => content::object(raw.content).map(Lease::Create).map(NodeRequest::Lease),
        ("update", "lease") => content::object(raw.content).map(Lease::Update).map(NodeRequest::Lease),
        ("insert", "certificatesigningrequest") => content::object(raw.content).map(NodeRequest::CreateCsr),
        ("query", "serviceaccounttoken") => Ok(NodeRequest::Token {
            namespace: namespaced(&key)?,
            account: key.name,
            request: content::object(raw.content)?,
        }),
        ("insert" | "update", "event") => content::object(raw.content).map(NodeRequest::RecordEvent),
        ("patch", "event") => patch_event(raw.content),
        ("query", _) => Ok(NodeRequest::Query(key)),
        (operation, resource) => Err(unknown(operation, resource)),
    }
}

fn unknown(operation: &str, of: &str) -> String {
    format!("no operation {operation:?} of {of} is known")
}

fn namespaced(key: &ObjectKey) -> Result<Namespace, String> {
    key.namespace.clone().ok_or_else(|| format!("{key} has no namespace"))
}

fn patch(raw: Box<RawValue>) -> Result<bytes::Bytes, String> {
    json(raw, "the patch")
}

fn report(operation: &str, device: DeviceId, aspect: DeviceAspect, raw: Box<RawValue>) -> ReadResult {
    match (operation, aspect) {
        ("update", DeviceAspect::TwinReported) => {
            Ok(NodeRequest::ReportTwins { device, report: json(raw, "the report")? })
        }
        ("update", DeviceAspect::State) => {
            Ok(NodeRequest::ReportDeviceState { device, report: json(raw, "the report")? })
        }
        _ => Err(unknown(operation, "a device")),
    }
}

/// Returns JSON, embedded or held in a text.
fn json(raw: Box<RawValue>, what: &str) -> Result<bytes::Bytes, String> {
    let json = Content::of(raw).map_err(|error| error.to_string())?.into_bytes();
    match serde_json::from_slice::<serde::de::IgnoredAny>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(format!("{what} is not JSON: {error}")),
    }
}

/// Old edges send the uid alone, which means: at once, and only this pod.
fn delete_pod(key: ObjectKey, raw: Box<RawValue>) -> ReadResult {
    let options = match Content::of(raw).map_err(|error| error.to_string())? {
        Content::Null => content::json(&serde_json::json!({})),
        Content::Text(uid) => {
            content::json(&serde_json::json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
        }
        Content::Json(options) => content::embed(&options),
    };
    let options = Content::of(options).map_err(|error| error.to_string())?.into_bytes();
    Ok(NodeRequest::DeletePod { namespace: namespaced(&key)?, pod: key.name, options })
}

fn patch_event(raw: Box<RawValue>) -> ReadResult {
    let content = Content::of(raw).map_err(|error| error.to_string())?.into_bytes();
    let EventPatch { event, patch } =
        serde_json::from_slice::<EventPatch<Box<RawValue>>>(&content).map_err(|error| error.to_string())?;
    Ok(NodeRequest::PatchEvent { event: content::object(event)?, patch: patch.into_bytes().into() })
}
