//! Pods come, change and go.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ChangeKind, NodeName, Object, ObjectChange, ObjectKey};

use super::{Body, Desired, Effect, Listing, Needed, Pod, Tracked, is_outdated, number};
use crate::references::PodFacts;

impl Desired {
    /// Notes that a list of all pods begins. It covers the nodes that are known now.
    pub(crate) fn begin_pods(&mut self) {
        self.pods_begun = true;
        let covered = self.nodes.keys().cloned().collect();
        self.pod_listing = Some(Listing { covered, seen: BTreeSet::new() });
    }

    /// Notes that the list ended: pods of covered nodes that were not in it are gone.
    pub(crate) fn end_pods(&mut self) -> Vec<Effect> {
        let Some(Listing { covered, seen }) = self.pod_listing.take() else { return Vec::new() };
        let gone: Vec<ObjectKey> = self
            .pods
            .iter()
            .filter(|(key, pod)| covered.contains(&pod.node) && !seen.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut effects: Vec<Effect> = gone.iter().flat_map(|key| self.drop_pod(key, None)).collect();
        for node in covered {
            effects.extend(self.complete(node));
        }
        effects
    }

    /// Takes the pods of one node, as they were read after the node became known.
    pub(crate) fn pods_listed(&mut self, node: NodeName, pods: Vec<(ObjectKey, Object)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (key, pod) in pods {
            let gone = self.nodes.get(&node).and_then(|entry| entry.gone.get(&key));
            let outdated = gone.is_some_and(|gone| number(&pod).is_some_and(|version| version <= *gone));
            if !outdated {
                effects.extend(self.see_pod(key, pod));
            }
        }
        effects.extend(self.complete(node));
        effects
    }

    fn complete(&mut self, node: NodeName) -> Option<Effect> {
        let entry = self.nodes.get_mut(&node)?;
        entry.gone.clear();
        let first = !std::mem::replace(&mut entry.complete, true);
        (first && self.is_ready()).then_some(Effect::Settle(node))
    }

    pub(crate) fn see_pod(&mut self, key: ObjectKey, object: Object) -> Vec<Effect> {
        if let Some(listing) = &mut self.pod_listing {
            listing.seen.insert(key.clone());
        }
        let Some(held) = self.pods.get_mut(&key) else { return self.add_pod(key, object) };
        if is_outdated(&object, &held.tracked.object) {
            return Vec::new();
        }
        let facts = PodFacts::of(&object);
        if facts.node.as_deref() != Some(held.node.as_str()) {
            let mut effects = self.drop_pod(&key, None);
            effects.extend(self.add_pod(key, object));
            return effects;
        }
        let node = held.node.clone();
        let before = held.tracked.facts.needs.clone();
        let older = held.tracked.object.clone();
        let changed = held.tracked.renew(object, facts.clone());
        let object = held.tracked.object.clone();
        let mut effects = self.acquire(&node, &facts, Some(&before));
        if older.uid() != object.uid() {
            // The deletion of the one before was missed.
            effects.push(send(&node, ChangeKind::Delete, &key, older));
        }
        if changed {
            effects.push(send(&node, ChangeKind::Update, &key, object));
        }
        let released = before.difference(&facts.needs).cloned().collect();
        effects.extend(self.give_up(&node, &released));
        effects
    }

    fn add_pod(&mut self, key: ObjectKey, object: Object) -> Vec<Effect> {
        let tracked = Tracked::of_pod(object);
        let Some(node) = tracked.facts.node.as_deref().and_then(|node| NodeName::parse(node).ok()) else {
            return Vec::new();
        };
        let Some(entry) = self.nodes.get_mut(&node) else { return Vec::new() };
        entry.pods.insert(key.clone());
        let mut effects = self.acquire(&node, &tracked.facts, None);
        let leaving = tracked.object.meta().deletion_timestamp.is_some();
        let kind = if leaving { ChangeKind::Update } else { ChangeKind::Insert };
        effects.push(send(&node, kind, &key, tracked.object.clone()));
        self.pods.insert(key, Pod { node, tracked });
        effects
    }

    /// Takes the deletion of a pod; `last` is its last state.
    pub(crate) fn delete_pod(&mut self, key: &ObjectKey, last: Object) -> Vec<Effect> {
        let node = PodFacts::of(&last).node.and_then(|node| NodeName::parse(&node).ok());
        if let Some(entry) = node.and_then(|node| self.nodes.get_mut(&node)).filter(|entry| !entry.complete) {
            entry.gone.insert(key.clone(), number(&last).unwrap_or(u64::MAX));
        }
        self.drop_pod(key, Some(last))
    }

    fn drop_pod(&mut self, key: &ObjectKey, last: Option<Object>) -> Vec<Effect> {
        let Some(pod) = self.pods.remove(key) else { return Vec::new() };
        if let Some(entry) = self.nodes.get_mut(&pod.node) {
            entry.pods.remove(key);
        }
        let last = last.unwrap_or(pod.tracked.object);
        let mut effects = vec![send(&pod.node, ChangeKind::Delete, key, last)];
        effects.extend(self.give_up(&pod.node, &pod.tracked.facts.needs));
        effects
    }

    /// Notes what a pod needs that it did not need before. What it needs is sent before the pod.
    pub(super) fn acquire(
        &mut self,
        node: &NodeName,
        facts: &PodFacts,
        before: Option<&BTreeSet<ObjectKey>>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for key in facts.needs.iter().filter(|key| before.is_none_or(|before| !before.contains(*key))) {
            let begun = self.bodies_begun.contains(&key.resource);
            let mut first = false;
            let needed = self.needed.entry(key.clone()).or_insert_with(|| {
                first = true;
                Needed { by: BTreeMap::new(), body: Body::Unknown }
            });
            let pods = needed.by.entry(node.clone()).or_default();
            *pods += 1;
            match &needed.body {
                Body::Present(object) if *pods == 1 => {
                    effects.push(send(node, ChangeKind::Insert, key, object.clone()));
                }
                Body::Unknown if first && begun => effects.push(Effect::Fetch(key.clone())),
                Body::Present(_) | Body::Unknown | Body::Absent(_) => {}
            }
        }
        effects
    }

    /// Notes what a pod does not need any more. What no pod of the node needs is taken from it.
    pub(super) fn give_up(&mut self, node: &NodeName, needs: &BTreeSet<ObjectKey>) -> Vec<Effect> {
        self.release(node, needs)
            .into_iter()
            .filter_map(|(key, body)| match body {
                Body::Present(object) => Some(send(node, ChangeKind::Delete, &key, object)),
                Body::Unknown | Body::Absent(_) => None,
            })
            .collect()
    }
}

pub(super) fn send(node: &NodeName, kind: ChangeKind, key: &ObjectKey, object: Object) -> Effect {
    Effect::Send { node: node.clone(), change: ObjectChange { kind, key: key.clone(), object } }
}
