//! The decision: which node a pod goes to, or why none will have it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Taint;

use crate::matching;
use crate::node::NodeState;
use crate::pod::PendingPod;
use crate::quantity::Amount;

/// Where a pod goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To this node.
    Bind(String),
    /// Nowhere, for the reasons in the text, which is kube-scheduler's.
    Unschedulable(String),
}

/// Why a node will not have a pod, in kube-scheduler's words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Unschedulable,
    Taint { key: String, value: String },
    Selector,
    HostPorts,
    TooManyPods,
    Insufficient(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Taint { key, value } => write!(f, "node(s) had untolerated taint {{{key}: {value}}}"),
            Self::Selector => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::HostPorts => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// Decides where `pod` goes among `nodes`, which count the pods that are placed or assumed.
///
/// The same input gives the same decision: equal nodes are told apart by the number of their pods,
/// then by name.
pub(crate) fn schedule(pod: &PendingPod, nodes: &BTreeMap<String, NodeState>) -> Decision {
    if nodes.is_empty() {
        return Decision::Unschedulable("no nodes available to schedule pods".to_owned());
    }
    let mut candidates = Vec::new();
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes.values() {
        let refused = refuse(pod, node);
        if refused.is_empty() {
            candidates.push(node);
        }
        for refusal in refused {
            *refusals.entry(refusal.to_string()).or_default() += 1;
        }
    }
    match best(pod, &candidates) {
        Some(node) => Decision::Bind(node.facts.name.clone()),
        None => Decision::Unschedulable(explain(nodes.len(), &refusals)),
    }
}

fn explain(nodes: usize, refusals: &BTreeMap<String, usize>) -> String {
    let mut reasons: Vec<String> =
        refusals.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

/// Returns why a node will not have a pod: the first kind of reason, with all of that kind.
fn refuse(pod: &PendingPod, node: &NodeState) -> Vec<Refusal> {
    let facts = &node.facts;
    if facts.unschedulable && matching::repelled_by(&pod.tolerations, &[cordon()]).is_some() {
        return vec![Refusal::Unschedulable];
    }
    if let Some(taint) = matching::repelled_by(&pod.tolerations, &facts.taints) {
        let value = taint.value.clone().unwrap_or_default();
        return vec![Refusal::Taint { key: taint.key.clone(), value }];
    }
    if !matching::selects(pod, facts) {
        return vec![Refusal::Selector];
    }
    let wanted = &pod.demand.host_ports;
    if wanted.iter().any(|port| node.host_ports.iter().any(|taken| taken.collides(port))) {
        return vec![Refusal::HostPorts];
    }
    let mut refused = Vec::new();
    if node.is_full() {
        refused.push(Refusal::TooManyPods);
    }
    for (resource, wanted) in &pod.demand.requests {
        let taken = node.taken.get(resource).copied().unwrap_or_default();
        if *wanted > 0 && wanted + taken > node.allocatable(resource) {
            refused.push(Refusal::Insufficient(resource.clone()));
        }
    }
    refused
}

/// The taint that stands for `spec.unschedulable`, which tolerations can cover.
fn cordon() -> Taint {
    Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    }
}

/// The weights by which the parts of a score count, as in kube-scheduler's default profile.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;
const WEIGHT_ALLOCATION: i64 = 1;

/// The best score that a part gives.
const SCORE_MAX: i64 = 100;

fn best<'a>(pod: &PendingPod, candidates: &[&'a NodeState]) -> Option<&'a NodeState> {
    let preferences: Vec<i64> =
        candidates.iter().map(|node| matching::preference(pod, &node.facts)).collect();
    let dislikes: Vec<i64> =
        candidates.iter().map(|node| matching::dislikes(&pod.tolerations, &node.facts.taints)).collect();
    let preferred_most = preferences.iter().copied().max().unwrap_or_default().max(1);
    let disliked_most = dislikes.iter().copied().max().unwrap_or_default().max(1);
    let scored =
        candidates.iter().zip(preferences.iter().zip(&dislikes)).map(|(node, (preference, dislikes))| {
            let score = WEIGHT_AFFINITY * (SCORE_MAX * preference / preferred_most)
                + WEIGHT_TAINTS * (SCORE_MAX - SCORE_MAX * dislikes / disliked_most)
                + WEIGHT_ALLOCATION * least_allocated(pod, node);
            (score, *node)
        });
    scored
        .min_by(|(score, node), (other_score, other)| {
            other_score
                .cmp(score)
                .then(node.pods.cmp(&other.pods))
                .then_with(|| node.facts.name.cmp(&other.facts.name))
        })
        .map(|(_, node)| node)
}

/// Returns how much of cpu and memory would be left, from 0 to 100.
fn least_allocated(pod: &PendingPod, node: &NodeState) -> i64 {
    let left = |resource: &str, taken: Amount| {
        let allocatable = node.allocatable(resource);
        if allocatable <= 0 || taken > allocatable {
            return 0;
        }
        i64::try_from((allocatable - taken) * Amount::from(SCORE_MAX) / allocatable).unwrap_or_default()
    };
    let cpu = left("cpu", node.weight.cpu + pod.demand.weight.cpu);
    let memory = left("memory", node.weight.memory + pod.demand.weight.memory);
    i64::midpoint(cpu, memory)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
