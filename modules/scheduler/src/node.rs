//! What the scheduler knows of a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{self, Demand, HostPort, Weight};
use crate::quantity::{self, Amount, Resources, UNIT};

/// How many pods a node takes that does not say so, as kubelet's default.
const PODS_MAX_DEFAULT: Amount = 110 * UNIT;

/// The part of a node that it states itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Resources,
}

impl NodeFacts {
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
            allocatable: quantity::parse_list(allocatable),
        }
    }
}

/// A node and what its pods take of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeState {
    pub(crate) facts: NodeFacts,
    pub(crate) taken: Resources,
    pub(crate) weight: Weight,
    pub(crate) pods: u32,
    pub(crate) host_ports: Vec<HostPort>,
}

impl NodeState {
    /// Gives a pod its share.
    pub(crate) fn place(&mut self, demand: &Demand) {
        pod::add(&mut self.taken, &demand.requests);
        self.weight.cpu += demand.weight.cpu;
        self.weight.memory += demand.weight.memory;
        self.pods += 1;
        self.host_ports.extend(demand.host_ports.iter().cloned());
    }

    /// Takes back the share of a pod that was placed.
    pub(crate) fn remove(&mut self, demand: &Demand) {
        for (name, amount) in &demand.requests {
            if let Some(taken) = self.taken.get_mut(name) {
                *taken -= amount;
            }
        }
        self.taken.retain(|_, amount| *amount != 0);
        self.weight.cpu -= demand.weight.cpu;
        self.weight.memory -= demand.weight.memory;
        self.pods -= 1;
        for port in &demand.host_ports {
            if let Some(index) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(index);
            }
        }
    }

    /// Returns how much of a resource the node has for pods.
    pub(crate) fn allocatable(&self, resource: &str) -> Amount {
        self.facts.allocatable.get(resource).copied().unwrap_or_default()
    }

    /// Tells whether one more pod would be too many.
    pub(crate) fn is_full(&self) -> bool {
        let pods_max = self.facts.allocatable.get("pods").copied().unwrap_or(PODS_MAX_DEFAULT);
        (Amount::from(self.pods) + 1) * UNIT > pods_max
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn placing_and_removing_pods_leaves_what_was_there() {
        let spec = |cpu: &str, port: i32| -> Demand {
            let spec = json!({ "containers": [{ "name": "c",
                "ports": [{ "containerPort": 1, "hostPort": port }],
                "resources": { "requests": { "cpu": cpu, "example.com/gpu": "1" } } }] });
            Demand::of(&serde_json::from_value::<PodSpec>(spec).expect("a valid spec"))
        };
        let mut node = NodeState::default();
        node.place(&spec("100m", 1));
        let before = node.clone();
        node.place(&spec("200m", 2));
        assert_ne!(node, before);
        node.remove(&spec("200m", 2));
        assert_eq!(node, before);
        node.remove(&spec("100m", 1));
        assert_eq!(node, NodeState::default());
    }

    #[test]
    fn a_node_takes_as_many_pods_as_it_says() {
        let node = json!({ "metadata": { "name": "n" }, "status": { "allocatable": { "pods": "1" } } });
        let facts = NodeFacts::of(&serde_json::from_value(node).expect("a valid node"));
        let mut node = NodeState { facts, ..NodeState::default() };
        assert!(!node.is_full());
        node.place(&Demand::default());
        assert!(node.is_full());
    }
}
