//! What each edge node must know, kept as the API's objects change.
//!
//! A node is to know its own Node object, the pods and devices that are bound to it, and the config maps,
//! secrets and device models that these need. Only such objects are kept here, whatever else the cluster holds.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ChangeKind, NodeName, Object, ObjectChange, ObjectKey, ResourceType, Uid};

use crate::references::PodFacts;
use devices::Devices;

mod bodies;
pub(crate) mod devices;
mod pods;
pub(crate) mod settle;
#[cfg(test)]
mod tests;

/// What follows from a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// The node is to know this.
    Send { node: NodeName, change: ObjectChange },
    /// The object is needed, and its state is not known: read it and tell [`Desired::fetched`].
    Fetch(ObjectKey),
    /// The node is new: read its pods and tell [`Desired::pods_listed`].
    ListPods(NodeName),
    /// The node's pods are known: if it is connected, it can be settled.
    Settle(NodeName),
    /// The node holds an object that is not watched: read it, and send what is newer or its deletion.
    Check { node: NodeName, held: protocol::Held },
}

/// An object with the oldest of its versions that desires the same.
#[derive(Debug, Clone)]
struct Tracked {
    object: Object,
    facts: PodFacts,
    since: Option<u64>,
}

impl Tracked {
    fn new(object: Object, facts: PodFacts) -> Self {
        Self { facts, since: number(&object), object }
    }

    fn of_pod(object: Object) -> Self {
        let facts = PodFacts::of(&object);
        Self::new(object, facts)
    }

    /// Takes a newer state; tells whether it desires something else.
    fn renew(&mut self, object: Object, facts: PodFacts) -> bool {
        let mut newer = Self::new(object, facts);
        let same_object = self.object.uid() == newer.object.uid();
        let changed = !same_object || self.facts.desired != newer.facts.desired;
        if !changed {
            newer.since = self.since;
        }
        *self = newer;
        changed
    }
}

fn number(object: &Object) -> Option<u64> {
    object.resource_version().and_then(|version| version.number())
}

/// Tells whether `newer` is an older state than `held`, or the same.
fn is_outdated(newer: &Object, held: &Object) -> bool {
    match (number(newer), number(held)) {
        (Some(newer), Some(held)) => newer <= held,
        _ => false,
    }
}

#[derive(Debug)]
struct NodeEntry {
    own: Tracked,
    pods: BTreeSet<ObjectKey>,
    /// Whether all pods of the node are known here.
    complete: bool,
    /// Pods that were deleted while the node's pods were being read, by their last version.
    gone: BTreeMap<ObjectKey, u64>,
    /// What the node holds whose state was not known when it was settled.
    doubtful: BTreeMap<ObjectKey, Option<Uid>>,
}

/// What is known of a config map or secret that some pod needs.
#[derive(Debug)]
enum Body {
    Unknown,
    Present(Object),
    /// It does not exist; the version of its deletion, if that was seen.
    Absent(Option<u64>),
}

#[derive(Debug)]
struct Needed {
    /// How many pods of each node need it.
    by: BTreeMap<NodeName, usize>,
    body: Body,
}

/// A list that is being received from a watch: what it covers, and what was seen of that.
#[derive(Debug)]
struct Listing<K> {
    covered: BTreeSet<K>,
    seen: BTreeSet<ObjectKey>,
}

/// All that edge nodes must know.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    nodes: BTreeMap<NodeName, NodeEntry>,
    pods: BTreeMap<ObjectKey, Pod>,
    devices: Devices,
    needed: BTreeMap<ObjectKey, Needed>,
    node_listing: Option<BTreeSet<NodeName>>,
    pod_listing: Option<Listing<NodeName>>,
    /// Whether the pod watch has begun: nodes that come later are not covered by its first list.
    pods_begun: bool,
    body_listings: BTreeMap<ResourceType, Listing<ObjectKey>>,
    bodies_begun: BTreeSet<ResourceType>,
    /// The types of which a whole list was received.
    bodies_known: BTreeSet<ResourceType>,
}

/// The types of what pods need.
pub(crate) const BODIES: [ResourceType; 2] = [ResourceType::CONFIG_MAP, ResourceType::SECRET];

/// A pod that is bound to an edge node.
#[derive(Debug)]
struct Pod {
    node: NodeName,
    tracked: Tracked,
}

impl Desired {
    /// Notes that a list of all nodes begins.
    pub(crate) fn begin_nodes(&mut self) {
        self.node_listing = Some(BTreeSet::new());
    }

    /// Notes that the list ended: nodes that were not in it are gone.
    pub(crate) fn end_nodes(&mut self) {
        let Some(seen) = self.node_listing.take() else { return };
        let gone: Vec<NodeName> = self.nodes.keys().filter(|node| !seen.contains(*node)).cloned().collect();
        for node in gone {
            self.forget_node(&node);
        }
    }

    pub(crate) fn see_node(&mut self, node: NodeName, object: Object) -> Vec<Effect> {
        if let Some(seen) = &mut self.node_listing {
            seen.insert(node.clone());
        }
        if let Some(entry) = self.nodes.get_mut(&node) {
            let facts = PodFacts::of(&object);
            let changed = entry.own.renew(object, facts);
            let change = |entry: &NodeEntry| own_change(&node, &entry.own.object);
            return changed
                .then(|| change(entry))
                .flatten()
                .map(|change| Effect::Send { node: node.clone(), change })
                .into_iter()
                .collect();
        }
        let entry = NodeEntry {
            own: Tracked::of_pod(object),
            pods: BTreeSet::new(),
            complete: false,
            gone: BTreeMap::new(),
            doubtful: BTreeMap::new(),
        };
        self.nodes.insert(node.clone(), entry);
        if self.pods_begun { vec![Effect::ListPods(node)] } else { Vec::new() }
    }

    /// Forgets a node. It is told nothing: that its Node object is gone says nothing of its pods.
    pub(crate) fn forget_node(&mut self, node: &NodeName) {
        let Some(entry) = self.nodes.remove(node) else { return };
        for key in &entry.pods {
            if let Some(pod) = self.pods.remove(key) {
                self.release(node, &pod.tracked.facts.needs);
            }
        }
    }

    /// Tells whether the node is known, and all its pods are.
    pub(crate) fn is_complete(&self, node: &NodeName) -> bool {
        self.nodes.get(node).is_some_and(|entry| entry.complete)
    }

    /// Tells whether the node can be settled: it is complete, and what pods need was read once. A node
    /// that is settled before that would be told of all that it holds.
    pub(crate) fn can_settle(&self, node: &NodeName) -> bool {
        self.is_complete(node) && self.is_ready()
    }

    /// Tells whether all is known that does not belong to one node.
    fn is_ready(&self) -> bool {
        BODIES.iter().all(|resource| self.bodies_known.contains(resource)) && self.devices.are_settled()
    }

    /// Settles every node whose pods are known, if that can be done now.
    fn settle_complete(&self) -> Vec<Effect> {
        let complete = self.nodes.iter().filter(|(_, entry)| entry.complete && self.is_ready());
        complete.map(|(node, _)| Effect::Settle(node.clone())).collect()
    }

    /// Returns what is known of something that is needed.
    fn body(&self, key: &ObjectKey) -> Option<&Object> {
        match &self.needed.get(key)?.body {
            Body::Present(object) => Some(object),
            Body::Unknown | Body::Absent(_) => None,
        }
    }

    /// Returns the pod if it is bound to the node.
    pub(crate) fn pod_on(&self, node: &NodeName, key: &ObjectKey) -> Option<(&Object, &PodFacts)> {
        let pod = self.pods.get(key).filter(|pod| pod.node == *node)?;
        Some((&pod.tracked.object, &pod.tracked.facts))
    }

    /// Tells whether a pod of the node needs the config map or secret.
    pub(crate) fn needs(&self, node: &NodeName, key: &ObjectKey) -> bool {
        self.needed.get(key).is_some_and(|needed| needed.by.contains_key(node))
    }

    /// Tells whether a pod of the node mounts the claim.
    pub(crate) fn claims(&self, node: &NodeName, claim: &ObjectKey) -> bool {
        self.pods_of(node).any(|pod| pod.tracked.facts.claims.contains(claim))
    }

    /// Returns the claims that pods of the node mount.
    pub(crate) fn claims_of(&self, node: &NodeName) -> BTreeSet<ObjectKey> {
        self.pods_of(node).flat_map(|pod| pod.tracked.facts.claims.iter().cloned()).collect()
    }

    fn pods_of(&self, node: &NodeName) -> impl Iterator<Item = &Pod> {
        let pods = self.nodes.get(node).into_iter().flat_map(|entry| &entry.pods);
        pods.filter_map(|key| self.pods.get(key))
    }

    /// Counts nodes, pods, and config maps and secrets.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.nodes.len(), self.pods.len(), self.needed.len())
    }

    fn release(&mut self, node: &NodeName, needs: &BTreeSet<ObjectKey>) -> Vec<(ObjectKey, Body)> {
        let mut released = Vec::new();
        for key in needs {
            let Some(needed) = self.needed.get_mut(key) else { continue };
            let Some(pods) = needed.by.get_mut(node) else { continue };
            *pods -= 1;
            if *pods > 0 {
                continue;
            }
            needed.by.remove(node);
            let object = match &needed.body {
                Body::Present(object) => Body::Present(object.clone()),
                Body::Unknown => Body::Unknown,
                Body::Absent(version) => Body::Absent(*version),
            };
            released.push((key.clone(), object));
            if needed.by.is_empty() {
                self.needed.remove(key);
            }
        }
        released
    }
}

fn own_change(node: &NodeName, object: &Object) -> Option<ObjectChange> {
    let key = object.key(ResourceType::NODE).ok().filter(|key| key.name.as_str() == node.as_str())?;
    Some(ObjectChange { kind: ChangeKind::Update, key, object: object.clone() })
}
