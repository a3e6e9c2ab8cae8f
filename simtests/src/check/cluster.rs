//! What the API server says, against what was acknowledged and what the runtimes have.

use std::collections::{BTreeMap, BTreeSet};

use edged::ports::{ContainerState, Sandbox};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client};

use crate::cluster::is_ready as node_is_ready;
use crate::runtime::is_ready;
use crate::workload::{Content, MARK, Workload};

/// Everything that checks compare, as the API server has it at one time.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) pods: BTreeMap<String, Pod>,
    config_maps: BTreeMap<String, u64>,
    secrets: BTreeMap<String, u64>,
}

fn name_of(name: Option<&String>) -> String {
    name.cloned().unwrap_or_default()
}

impl Picture {
    /// Takes a picture; `None` while the API server does not answer.
    pub(crate) async fn take(kube: &Client) -> Option<Self> {
        let all = ListParams::default();
        let nodes = Api::<Node>::all(kube.clone()).list(&all).await.ok()?;
        let pods = Api::<Pod>::default_namespaced(kube.clone()).list(&all).await.ok()?;
        let maps = Api::<ConfigMap>::default_namespaced(kube.clone()).list(&all).await.ok()?;
        let secrets = Api::<Secret>::default_namespaced(kube.clone()).list(&all).await.ok()?;
        let map_mark = |map: &ConfigMap| map.data.as_ref()?.get(MARK)?.parse().ok();
        let secret_mark = |secret: &Secret| {
            let bytes = secret.data.as_ref()?.get(MARK)?;
            std::str::from_utf8(&bytes.0).ok()?.parse().ok()
        };
        let named = |name: Option<&String>, mark: Option<u64>| Some((name_of(name), mark?));
        Some(Self {
            nodes: nodes.into_iter().map(|node| (name_of(node.metadata.name.as_ref()), node)).collect(),
            pods: pods.into_iter().map(|pod| (name_of(pod.metadata.name.as_ref()), pod)).collect(),
            config_maps: maps
                .iter()
                .filter_map(|map| named(map.metadata.name.as_ref(), map_mark(map)))
                .collect(),
            secrets: secrets
                .iter()
                .filter_map(|secret| named(secret.metadata.name.as_ref(), secret_mark(secret)))
                .collect(),
        })
    }

    /// What was acknowledged to users is there, or something newer of theirs.
    pub(crate) fn keeps(&self, workload: &Workload) -> Result<(), String> {
        contents("config map", &self.config_maps, &workload.config_maps)?;
        contents("secret", &self.secrets, &workload.secrets)?;
        for (name, made) in workload.pods.iter().filter(|(_, made)| !made.is_deleted) {
            let Some(uid) = &made.uid else { continue };
            let found = self.pods.get(name).and_then(|pod| pod.metadata.uid.as_ref());
            if found != Some(uid) {
                return Err(format!("pod {name} was made as {uid} and is {found:?}"));
            }
        }
        Ok(())
    }

    /// A node is `Ready`, or not known yet.
    pub(crate) fn is_ready(&self, node: &str) -> bool {
        self.nodes.get(node).and_then(node_is_ready) != Some(false)
    }

    /// Returns the pods of an edge by their uids.
    fn pods_of<'a>(&'a self, edge: &'a str) -> impl Iterator<Item = (&'a String, &'a Pod)> {
        let is_there =
            move |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(edge);
        self.pods.iter().filter(move |(_, pod)| is_there(pod))
    }

    /// Nothing runs on an edge that the API server does not have there.
    pub(crate) fn nothing_is_left(&self, edge: &str, sandboxes: &[Sandbox]) -> Result<(), String> {
        let wanted: BTreeSet<&str> =
            self.pods_of(edge).filter_map(|(_, pod)| pod.metadata.uid.as_deref()).collect();
        match sandboxes.iter().find(|sandbox| !wanted.contains(sandbox.pod.uid.as_str())) {
            Some(left) => Err(format!("{edge} still has a sandbox of {} {}", left.pod.name, left.pod.uid)),
            None => Ok(()),
        }
    }

    /// Every pod of an edge runs, and its status names the containers that the runtime has.
    pub(crate) fn statuses_are_true(&self, edge: &str, sandboxes: &[Sandbox]) -> Result<(), String> {
        for (name, pod) in self.pods_of(edge) {
            if pod.metadata.deletion_timestamp.is_some() {
                return Err(format!("pod {name} is still being deleted on {edge}"));
            }
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let running: BTreeSet<String> = sandboxes
                .iter()
                .filter(|sandbox| is_ready(sandbox) && sandbox.pod.uid == uid)
                .flat_map(|sandbox| &sandbox.containers)
                .filter(|container| matches!(container.state, ContainerState::Running { .. }))
                .map(|container| format!("simulated://{}", container.id))
                .collect();
            let status = pod.status.as_ref();
            let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("no phase");
            let told: BTreeSet<String> = status
                .and_then(|status| status.container_statuses.as_ref())
                .into_iter()
                .flatten()
                .filter(|told| told.state.as_ref().is_some_and(|state| state.running.is_some()))
                .filter_map(|told| told.container_id.clone())
                .collect();
            let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
            if phase != "Running" || told != running || running.len() != wanted {
                return Err(format!(
                    "pod {name} on {edge} is {phase} with {told:?}, the runtime has {running:?}"
                ));
            }
        }
        Ok(())
    }

    /// The volumes of an edge's pods have the content that the API server has.
    pub(crate) fn volumes_are_current(
        &self,
        edge: &str,
        read: impl Fn(&str, &str) -> Option<u64>,
    ) -> Result<(), String> {
        for (name, pod) in self.pods_of(edge) {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            for volume in pod.spec.iter().filter_map(|spec| spec.volumes.as_ref()).flatten() {
                let wanted = match (&volume.config_map, &volume.secret) {
                    (Some(map), _) => self.config_maps.get(&map.name),
                    (_, Some(secret)) => self.secrets.get(&name_of(secret.secret_name.as_ref())),
                    _ => continue,
                };
                let found = read(uid, &volume.name);
                if found.as_ref() != wanted {
                    let volume = &volume.name;
                    return Err(format!(
                        "volume {volume} of {name} on {edge} has {found:?} instead of {wanted:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn contents(
    kind: &str,
    found: &BTreeMap<String, u64>,
    known: &BTreeMap<String, Content>,
) -> Result<(), String> {
    for (name, content) in known {
        let found = found.get(name).copied().unwrap_or_default();
        if found < content.acknowledged || found > content.sent {
            return Err(format!("{kind} {name} has {found}, acknowledged was {}", content.acknowledged));
        }
    }
    Ok(())
}
