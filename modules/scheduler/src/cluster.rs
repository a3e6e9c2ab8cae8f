//! The nodes and what their pods take of them, kept as changes come.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{NodeFacts, NodeState};
use crate::pod::{PlacedPod, PodKey};

/// Says whether a change can make room for a pod that found none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It may.
    Made,
    /// It cannot.
    None,
}

/// The nodes, and the pods that are placed or assumed to be.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    /// Usage of nodes that pods name but that are not known.
    unknown: BTreeMap<String, NodeState>,
    placed: BTreeMap<PodKey, PlacedPod>,
}

impl Cluster {
    pub(crate) fn nodes(&self) -> &BTreeMap<String, NodeState> {
        &self.nodes
    }

    pub(crate) fn see_node(&mut self, facts: NodeFacts) -> Room {
        let name = facts.name.clone();
        if let Some(node) = self.nodes.get_mut(&name) {
            let changed = node.facts != facts;
            node.facts = facts;
            return if changed { Room::Made } else { Room::None };
        }
        let usage = self.unknown.remove(&name).unwrap_or_default();
        self.nodes.insert(name, NodeState { facts, ..usage });
        Room::Made
    }

    pub(crate) fn forget_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name).filter(|node| node.pods > 0) {
            self.unknown.insert(name.to_owned(), NodeState { facts: NodeFacts::default(), ..node });
        }
    }

    /// Forgets the nodes that are not among `present`.
    pub(crate) fn retain_nodes(&mut self, present: &BTreeSet<String>) {
        let gone: Vec<String> = self.nodes.keys().filter(|name| !present.contains(*name)).cloned().collect();
        for name in gone {
            self.forget_node(&name);
        }
    }

    /// Gives a pod its share of its node, whether it is bound or assumed to be soon.
    pub(crate) fn place(&mut self, key: PodKey, pod: PlacedPod) -> Room {
        if self.placed.get(&key) == Some(&pod) {
            return Room::None;
        }
        let room = self.remove(&key);
        self.usage(&pod.node).place(&pod.demand);
        self.placed.insert(key, pod);
        room
    }

    /// Takes back a pod's share.
    pub(crate) fn remove(&mut self, key: &PodKey) -> Room {
        let Some(pod) = self.placed.remove(key) else { return Room::None };
        self.usage(&pod.node).remove(&pod.demand);
        self.unknown.retain(|_, usage| usage.pods > 0);
        Room::Made
    }

    pub(crate) fn placed_keys(&self) -> impl Iterator<Item = &PodKey> {
        self.placed.keys()
    }

    fn usage(&mut self, node: &str) -> &mut NodeState {
        if self.nodes.contains_key(node) {
            return self.nodes.entry(node.to_owned()).or_default();
        }
        self.unknown.entry(node.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Demand;
    use crate::quantity::{Resources, UNIT};

    fn facts(name: &str) -> NodeFacts {
        NodeFacts { name: name.to_owned(), ..NodeFacts::default() }
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "d".to_owned(), name: name.to_owned() }
    }

    fn on(node: &str) -> PlacedPod {
        let requests = Resources::from([("cpu".to_owned(), UNIT)]);
        let demand = Demand { requests, ..Demand::default() };
        PlacedPod { uid: "u".to_owned(), node: node.to_owned(), demand }
    }

    fn cpu(cluster: &Cluster, node: &str) -> Option<i128> {
        cluster.nodes().get(node).map(|node| node.taken.get("cpu").copied().unwrap_or_default() / UNIT)
    }

    #[test]
    fn pods_count_on_a_node_that_comes_after_them() {
        let mut cluster = Cluster::default();
        assert_eq!(cluster.place(key("a"), on("n")), Room::None);
        assert_eq!(cpu(&cluster, "n"), None);
        assert_eq!(cluster.see_node(facts("n")), Room::Made);
        assert_eq!(cpu(&cluster, "n"), Some(1));
        cluster.forget_node("n");
        cluster.place(key("b"), on("n"));
        cluster.see_node(facts("n"));
        assert_eq!(cpu(&cluster, "n"), Some(2));
        cluster.retain_nodes(&BTreeSet::new());
        assert!(cluster.nodes().is_empty());
    }

    #[test]
    fn a_pod_counts_once_however_often_it_is_seen() {
        let mut cluster = Cluster::default();
        cluster.see_node(facts("n"));
        cluster.see_node(facts("m"));
        cluster.place(key("a"), on("n"));
        assert_eq!(cluster.place(key("a"), on("n")), Room::None);
        assert_eq!(cpu(&cluster, "n"), Some(1));
        assert_eq!(cluster.place(key("a"), on("m")), Room::Made);
        assert_eq!((cpu(&cluster, "n"), cpu(&cluster, "m")), (Some(0), Some(1)));
        assert_eq!(cluster.remove(&key("a")), Room::Made);
        assert_eq!(cluster.remove(&key("a")), Room::None);
        assert_eq!(cpu(&cluster, "m"), Some(0));
    }

    #[test]
    fn a_node_that_only_says_it_lives_makes_no_room() {
        let mut cluster = Cluster::default();
        cluster.see_node(facts("n"));
        assert_eq!(cluster.see_node(facts("n")), Room::None);
        let cordoned = NodeFacts { unschedulable: true, ..facts("n") };
        assert_eq!(cluster.see_node(cordoned), Room::Made);
    }
}
