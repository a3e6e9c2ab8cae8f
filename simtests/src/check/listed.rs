//! What the API server lists, without what no check compares: lists are most of what checks cost.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::workload::MARK;

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// Whether it is `Ready`; `None` when nothing is said of that.
    pub(crate) is_ready: Option<bool>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) node: Option<String>,
    pub(crate) is_deleted: bool,
    /// Empty when nothing is said of it.
    pub(crate) phase: String,
    /// How many containers it should have.
    pub(crate) containers: usize,
    /// The ids of the containers that run by its status.
    pub(crate) running: BTreeSet<String>,
    /// Its volumes by name.
    pub(crate) volumes: Vec<(String, Source)>,
}

/// Where the content of a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    ConfigMap(String),
    Secret(String),
}

#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// An object with a part `spec`, a part `status` and what a config map or a secret has.
#[derive(Debug, Deserialize)]
struct Item<S, T> {
    metadata: Metadata,
    spec: Option<S>,
    status: Option<T>,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    deletion_timestamp: Option<String>,
}

/// What is not read of an object.
#[derive(Debug, Deserialize)]
struct Unread {}

#[derive(Debug, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    containers: Vec<Unread>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    config_map: Option<ConfigMapVolume>,
    secret: Option<SecretVolume>,
}

#[derive(Debug, Deserialize)]
struct ConfigMapVolume {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretVolume {
    secret_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    #[serde(default)]
    state: State,
}

#[derive(Debug, Default, Deserialize)]
struct State {
    running: Option<Unread>,
}

/// Lists objects; `None` while the API server does not answer.
async fn list<S: DeserializeOwned, T: DeserializeOwned>(
    kube: &Client,
    path: &str,
) -> Option<Vec<Item<S, T>>> {
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    let list: List<Item<S, T>> = kube.request(request).await.ok()?;
    Some(list.items)
}

/// Returns all nodes by name.
pub(crate) async fn nodes(kube: &Client) -> Option<BTreeMap<String, Node>> {
    let nodes = list::<Unread, NodeStatus>(kube, "/api/v1/nodes").await?;
    let node = |status: Option<NodeStatus>| {
        let conditions = status.map(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.r#type == "Ready");
        Node { is_ready: ready.map(|condition| condition.status == "True") }
    };
    Some(nodes.into_iter().map(|item| (item.metadata.name, node(item.status))).collect())
}

/// Returns the pods of the namespace `default` by name.
pub(crate) async fn pods(kube: &Client) -> Option<BTreeMap<String, Pod>> {
    let pods = list::<PodSpec, PodStatus>(kube, "/api/v1/namespaces/default/pods").await?;
    Some(pods.into_iter().map(pod).collect())
}

fn pod(item: Item<PodSpec, PodStatus>) -> (String, Pod) {
    let Item { metadata, spec, status, .. } = item;
    let (phase, statuses) =
        status.map(|status| (status.phase, status.container_statuses)).unwrap_or_default();
    let runs = |status: &ContainerStatus| status.state.running.is_some();
    let running = statuses.into_iter().filter(runs).filter_map(|status| status.container_id).collect();
    let (node, containers, volumes) =
        spec.map(|spec| (spec.node_name, spec.containers.len(), spec.volumes)).unwrap_or_default();
    let source = |volume: Volume| {
        let source = match (volume.config_map, volume.secret) {
            (Some(map), _) => Source::ConfigMap(map.name),
            (None, Some(secret)) => Source::Secret(secret.secret_name),
            (None, None) => return None,
        };
        Some((volume.name, source))
    };
    let volumes = volumes.into_iter().filter_map(source).collect();
    let is_deleted = metadata.deletion_timestamp.is_some();
    (metadata.name, Pod { uid: metadata.uid, node, is_deleted, phase, containers, running, volumes })
}

/// Returns the numbers of the contents of the config maps of the namespace `default`.
pub(crate) async fn config_maps(kube: &Client) -> Option<BTreeMap<String, u64>> {
    let maps = list::<Unread, Unread>(kube, "/api/v1/namespaces/default/configmaps").await?;
    let mark = |item: Item<Unread, Unread>| Some((item.metadata.name, item.data.get(MARK)?.parse().ok()?));
    Some(maps.into_iter().filter_map(mark).collect())
}

/// Returns the numbers of the contents of the secrets of the namespace `default`.
pub(crate) async fn secrets(kube: &Client) -> Option<BTreeMap<String, u64>> {
    let secrets = list::<Unread, Unread>(kube, "/api/v1/namespaces/default/secrets").await?;
    let mark = |item: Item<Unread, Unread>| {
        let bytes =
            k8s_openapi::ByteString::deserialize(serde_json::Value::from(item.data.get(MARK)?.as_str()));
        Some((item.metadata.name, std::str::from_utf8(&bytes.ok()?.0).ok()?.parse().ok()?))
    };
    Some(secrets.into_iter().filter_map(mark).collect())
}
