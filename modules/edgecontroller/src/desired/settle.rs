//! The difference between what a node holds and what it must know.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ChangeKind, Held, Kept, NodeName, Object, ObjectKey, ResourceType, ResourceVersion, Uid};

use super::pods::send;
use super::{Body, Desired, Effect, number};
use crate::raw;

/// An object that a node must know.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) object: &'a Object,
    /// The oldest version that says the same; a node that holds it or a newer one lacks nothing.
    since: Option<u64>,
}

impl Wanted<'_> {
    fn is_held(&self, held: &Held) -> bool {
        let same_object = held.uid.is_some() && held.uid == self.object.uid();
        let number_held = held.resource_version.as_ref().and_then(ResourceVersion::number);
        let new_enough = match (number_held, self.since) {
            (Some(held), Some(since)) => held >= since,
            _ => held.resource_version == self.object.resource_version(),
        };
        same_object && new_enough
    }
}

/// What is known of what a node holds before it is told the difference.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// What it said it keeps, of what it must know.
    pub(crate) kept: Vec<Kept>,
    /// All that it must know.
    pub(crate) wanted: BTreeSet<Uid>,
}

impl Desired {
    /// Tells what a node keeps of what it must know.
    pub(crate) fn compare(&self, node: &NodeName, held: Option<&[Held]>) -> Comparison {
        let wanted = self.wanted(node);
        let mut comparison = Comparison {
            kept: Vec::new(),
            wanted: wanted.values().filter_map(|wanted| wanted.object.uid()).collect(),
        };
        for held in held.unwrap_or_default() {
            let Some(uid) = &held.uid else { continue };
            match wanted.get(&held.key) {
                Some(Wanted { object, .. }) if object.uid().as_ref() == Some(uid) => {
                    let version = held.resource_version.clone();
                    comparison.kept.extend(version.and_then(|version| Kept::of(&held.key, object, version)));
                }
                // Its state is not known yet, so it counts as what it was.
                None if self.is_unknown(&held.key) && self.needs(node, &held.key) => {
                    comparison.wanted.insert(uid.clone());
                }
                Some(_) | None => {}
            }
        }
        comparison
    }

    /// Returns what the node must know, as far as it is known here.
    pub(crate) fn wanted(&self, node: &NodeName) -> BTreeMap<ObjectKey, Wanted<'_>> {
        let mut wanted = BTreeMap::new();
        let Some(entry) = self.nodes.get(node) else { return wanted };
        if let Ok(key) = entry.own.object.key(ResourceType::NODE) {
            wanted.insert(key, Wanted { object: &entry.own.object, since: entry.own.since });
        }
        for (key, pod) in entry.pods.iter().filter_map(|key| self.pods.get_key_value(key)) {
            wanted.insert(key.clone(), Wanted { object: &pod.tracked.object, since: pod.tracked.since });
            for need in &pod.tracked.facts.needs {
                if let Some(Body::Present(object)) = self.needed.get(need).map(|needed| &needed.body) {
                    wanted.insert(need.clone(), Wanted { object, since: number(object) });
                }
            }
        }
        wanted
    }

    /// Compares what a node holds with what it must know; `None` if it cannot say what it holds.
    ///
    /// Only for a node that [`Desired::is_complete`]: then what is held and not wanted is known to
    /// be gone, or to be no business of the node.
    pub(crate) fn settle(&mut self, node: &NodeName, held: Option<&[Held]>) -> Vec<Effect> {
        let mut held: BTreeMap<&ObjectKey, &Held> =
            held.unwrap_or_default().iter().map(|held| (&held.key, held)).collect();
        let mut effects = Vec::new();
        for (key, wanted) in in_sending_order(self.wanted(node)) {
            let kind = match held.remove(&key) {
                Some(held) if wanted.is_held(held) => continue,
                Some(_) => ChangeKind::Update,
                None if key.resource == ResourceType::NODE => ChangeKind::Update,
                None if wanted.object.meta().deletion_timestamp.is_some() => ChangeKind::Update,
                None => ChangeKind::Insert,
            };
            effects.push(send(node, kind, &key, wanted.object.clone()));
        }
        let mut doubtful = BTreeMap::new();
        for (key, held) in held {
            if !is_watched(&key.resource) {
                effects.push(Effect::Check { node: node.clone(), held: held.clone() });
            } else if self.is_unknown(key) && self.needs(node, key) {
                doubtful.insert(key.clone(), held.uid.clone());
            } else if let Ok(object) = raw::tombstone(key, held.uid.as_ref()) {
                effects.push(send(node, ChangeKind::Delete, key, object));
            }
        }
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.doubtful = doubtful;
        }
        effects
    }
}

/// The types of which all objects that concern a node are known here.
pub(crate) const WATCHED: [ResourceType; 4] =
    [ResourceType::POD, ResourceType::CONFIG_MAP, ResourceType::SECRET, ResourceType::NODE];

fn is_watched(resource: &ResourceType) -> bool {
    WATCHED.contains(resource)
}

/// What pods need goes before them.
fn in_sending_order(wanted: BTreeMap<ObjectKey, Wanted<'_>>) -> Vec<(ObjectKey, Wanted<'_>)> {
    let (pods, others): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(key, _)| key.resource == ResourceType::POD);
    others.into_iter().chain(pods).collect()
}
