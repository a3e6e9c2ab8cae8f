//! Status reports of old edges, translated to the patches that today's edges send.

use protocol::{NodeName, NodeRequest, ObjectName};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::content::{self, Content};
use crate::path::ResourcePath;
use crate::raw::RawMessage;

/// Go's field names: the struct has no JSON tags.
#[derive(Deserialize)]
struct PodStatus {
    #[serde(rename = "UID", default)]
    uid: String,
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Status")]
    status: Box<RawValue>,
}

#[derive(Deserialize)]
struct NodeStatus {
    #[serde(rename = "Status")]
    status: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<serde_json::Value>),
    One(serde_json::Value),
}

/// Reads the requests that a legacy status report amounts to; `None` when it is none.
pub(crate) fn read(path: &ResourcePath, raw: &RawMessage) -> Option<Result<Vec<NodeRequest>, String>> {
    let (namespace, resource, name) = match path {
        ResourcePath::Object(key) => (&key.namespace, &key.resource, Some(&key.name)),
        ResourcePath::Collection { namespace, resource } => (namespace, resource, None),
        _ => return None,
    };
    let content = raw.content.clone();
    match (raw.route.operation.as_str(), resource.as_str(), name) {
        ("insert", "nodestatus", _) => {
            Some(content::object(content).map(|node| vec![NodeRequest::RegisterNode(node)]))
        }
        ("update", "nodestatus", Some(name)) => Some(node_status(name, content)),
        ("update", "podstatus", name) => {
            let namespace = namespace.clone()?;
            let statuses = pod_statuses(name, content);
            let request =
                |(pod, patch)| NodeRequest::PatchPodStatus { namespace: namespace.clone(), pod, patch };
            Some(statuses.map(|statuses| statuses.into_iter().map(request).collect()))
        }
        _ => None,
    }
}

fn node_status(name: &ObjectName, raw: Box<RawValue>) -> Result<Vec<NodeRequest>, String> {
    let node = NodeName::parse(name.as_str()).map_err(|error| error.to_string())?;
    let content = Content::of(raw).map_err(|error| error.to_string())?.into_bytes();
    let report: NodeStatus = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    let patch = format!("{{\"status\":{}}}", report.status.get());
    Ok(vec![NodeRequest::PatchNodeStatus { node, patch: patch.into_bytes().into() }])
}

type PodPatch = (ObjectName, bytes::Bytes);

fn pod_statuses(name: Option<&ObjectName>, raw: Box<RawValue>) -> Result<Vec<PodPatch>, String> {
    let content = Content::of(raw).map_err(|error| error.to_string())?.into_bytes();
    let reports = match serde_json::from_slice(&content).map_err(|error| error.to_string())? {
        OneOrMany::Many(reports) => reports,
        OneOrMany::One(report) => vec![report],
    };
    reports.into_iter().map(|report| pod_status(name, report)).collect()
}

fn pod_status(name: Option<&ObjectName>, report: serde_json::Value) -> Result<PodPatch, String> {
    let text = report.to_string();
    let report: PodStatus = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let pod = match name {
        Some(name) => name.clone(),
        None => ObjectName::parse(&report.name).map_err(|error| error.to_string())?,
    };
    let uid = serde_json::Value::String(report.uid);
    let patch = format!("{{\"metadata\":{{\"uid\":{uid}}},\"status\":{}}}", report.status.get());
    Ok((pod, patch.into_bytes().into()))
}
