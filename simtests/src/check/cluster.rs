//! What the API server says, against what was acknowledged and what the runtimes have.

use std::collections::{BTreeMap, BTreeSet};

use edged::ports::{ContainerState, Sandbox};
use kube::Client;

use crate::check::listed::{self, Node, Pod};
use crate::runtime::is_ready;
use crate::workload::{Content, Workload};

/// Everything that checks compare, as the API server has it at one time.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<String, Pod>,
    config_maps: BTreeMap<String, u64>,
    secrets: BTreeMap<String, u64>,
}

impl Picture {
    /// Takes a picture; `None` while the API server does not answer.
    pub(crate) async fn take(kube: &Client) -> Option<Self> {
        Some(Self {
            nodes: listed::nodes(kube).await?,
            pods: listed::pods(kube).await?,
            config_maps: listed::config_maps(kube).await?,
            secrets: listed::secrets(kube).await?,
        })
    }

    /// What was acknowledged to users is there, or something newer of theirs.
    pub(crate) fn keeps(&self, workload: &Workload) -> Result<(), String> {
        contents("config map", &self.config_maps, &workload.config_maps)?;
        contents("secret", &self.secrets, &workload.secrets)?;
        for (name, made) in workload.pods.iter().filter(|(_, made)| !made.is_deleted) {
            let Some(uid) = &made.uid else { continue };
            let found = self.pods.get(name).map(|pod| &pod.uid);
            if found != Some(uid) {
                return Err(format!("pod {name} was made as {uid} and is {found:?}"));
            }
        }
        Ok(())
    }

    /// A node is `Ready`, or not known yet.
    pub(crate) fn is_ready(&self, node: &str) -> bool {
        self.nodes.get(node).and_then(|node| node.is_ready) != Some(false)
    }

    /// Returns the pods of an edge by their uids.
    fn pods_of<'a>(&'a self, edge: &'a str) -> impl Iterator<Item = (&'a String, &'a Pod)> {
        self.pods.iter().filter(move |(_, pod)| pod.node.as_deref() == Some(edge))
    }

    /// Nothing runs on an edge that the API server does not have there.
    pub(crate) fn nothing_is_left(&self, edge: &str, sandboxes: &[Sandbox]) -> Result<(), String> {
        let wanted: BTreeSet<&str> = self.pods_of(edge).map(|(_, pod)| pod.uid.as_str()).collect();
        match sandboxes.iter().find(|sandbox| !wanted.contains(sandbox.pod.uid.as_str())) {
            Some(left) => Err(format!("{edge} still has a sandbox of {} {}", left.pod.name, left.pod.uid)),
            None => Ok(()),
        }
    }

    /// Every pod of an edge runs, and its status names the containers that the runtime has.
    pub(crate) fn statuses_are_true(&self, edge: &str, sandboxes: &[Sandbox]) -> Result<(), String> {
        for (name, pod) in self.pods_of(edge) {
            if pod.is_deleted {
                return Err(format!("pod {name} is still being deleted on {edge}"));
            }
            let running: BTreeSet<String> = sandboxes
                .iter()
                .filter(|sandbox| is_ready(sandbox) && sandbox.pod.uid == pod.uid)
                .flat_map(|sandbox| &sandbox.containers)
                .filter(|container| matches!(container.state, ContainerState::Running { .. }))
                .map(|container| format!("simulated://{}", container.id))
                .collect();
            let (phase, told) = (&pod.phase, &pod.running);
            if phase != "Running" || *told != running || running.len() != pod.containers {
                return Err(format!(
                    "pod {name} on {edge} is {phase:?} with {told:?}, the runtime has {running:?}"
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
            for (volume, source) in &pod.volumes {
                let wanted = match source {
                    listed::Source::ConfigMap(map) => self.config_maps.get(map),
                    listed::Source::Secret(secret) => self.secrets.get(secret),
                };
                let found = read(&pod.uid, volume);
                if found.as_ref() != wanted {
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
