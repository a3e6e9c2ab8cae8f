//! Config maps, secrets and device models come, change and go.

use std::collections::BTreeSet;

use protocol::{ChangeKind, Object, ObjectKey, ResourceType};

use super::pods::send;
use super::{Body, Desired, Effect, Listing, is_outdated, number};
use crate::raw;

impl Desired {
    /// Notes that a list of all objects of the type begins. It covers what is needed now.
    pub(crate) fn begin_bodies(&mut self, resource: &ResourceType) {
        self.bodies_begun.insert(resource.clone());
        let covered = self.needed.keys().filter(|key| key.resource == *resource).cloned().collect();
        self.body_listings.insert(resource.clone(), Listing { covered, seen: BTreeSet::new() });
    }

    /// Notes that the list ended: what it covers and did not contain does not exist.
    pub(crate) fn end_bodies(&mut self, resource: &ResourceType) -> Vec<Effect> {
        let Some(Listing { covered, seen }) = self.body_listings.remove(resource) else { return Vec::new() };
        let mut effects: Vec<_> =
            covered.difference(&seen).flat_map(|key| self.lose_body(key, None)).collect();
        if self.bodies_known.insert(resource.clone()) {
            effects.extend(self.settle_complete());
        }
        effects
    }

    pub(crate) fn see_body(&mut self, key: ObjectKey, object: Object) -> Vec<Effect> {
        let Some(needed) = self.needed.get_mut(&key) else { return Vec::new() };
        if let Some(listing) = self.body_listings.get_mut(&key.resource) {
            listing.seen.insert(key.clone());
        }
        let kind = match &needed.body {
            Body::Present(held) if is_outdated(&object, held) => return Vec::new(),
            Body::Absent(Some(gone)) if number(&object).is_some_and(|version| version <= *gone) => {
                return Vec::new();
            }
            Body::Present(_) => ChangeKind::Update,
            Body::Unknown | Body::Absent(_) => ChangeKind::Insert,
        };
        let was_unknown = matches!(needed.body, Body::Unknown);
        needed.body = Body::Present(object.clone());
        let nodes: Vec<_> = needed.by.keys().cloned().collect();
        for node in &nodes {
            if let Some(entry) = self.nodes.get_mut(node) {
                entry.doubtful.remove(&key);
            }
        }
        let mut effects: Vec<_> = nodes.iter().map(|node| send(node, kind, &key, object.clone())).collect();
        if was_unknown {
            effects.extend(self.end_wait(&key));
        }
        effects
    }

    /// Takes the deletion of a config map or secret; `last` is its last state.
    pub(crate) fn delete_body(&mut self, key: &ObjectKey, last: Object) -> Vec<Effect> {
        self.lose_body(key, Some(last))
    }

    /// Takes the answer to [`Effect::Fetch`]; `None` says that the object does not exist.
    pub(crate) fn fetched(&mut self, key: ObjectKey, object: Option<Object>) -> Vec<Effect> {
        match object {
            Some(object) => self.see_body(key, object),
            None if self.is_unknown(&key) => self.lose_body(&key, None),
            None => Vec::new(),
        }
    }

    /// Tells whether the object is needed and its state not known.
    pub(crate) fn is_unknown(&self, key: &ObjectKey) -> bool {
        self.needed.get(key).is_some_and(|needed| matches!(needed.body, Body::Unknown))
    }

    fn lose_body(&mut self, key: &ObjectKey, last: Option<Object>) -> Vec<Effect> {
        let Some(needed) = self.needed.get_mut(key) else { return Vec::new() };
        let version = last.as_ref().map(|last| number(last).unwrap_or(u64::MAX));
        let body = std::mem::replace(&mut needed.body, Body::Absent(version));
        let nodes: Vec<_> = needed.by.keys().cloned().collect();
        let mut effects = Vec::new();
        for node in nodes {
            let doubtful = self.nodes.get_mut(&node).and_then(|entry| entry.doubtful.remove(key));
            let object = match (&body, doubtful) {
                (Body::Present(held), _) => Some(last.clone().unwrap_or_else(|| held.clone())),
                (_, Some(uid)) => raw::tombstone(key, uid.as_ref()).ok(),
                (Body::Unknown | Body::Absent(_), None) => None,
            };
            effects.extend(object.map(|object| send(&node, ChangeKind::Delete, key, object)));
        }
        if matches!(body, Body::Unknown) {
            effects.extend(self.end_wait(key));
        }
        effects
    }
}
