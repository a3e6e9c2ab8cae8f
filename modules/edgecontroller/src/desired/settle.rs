//! The difference between what a node holds and what it must know.

use std::collections::{BTreeMap, BTreeSet};

use protocol::cloud::Holdings;
use protocol::{
    ChangeKind, Held, Kept, NodeName, Object, ObjectChange, ObjectKey, ResourceType, ResourceVersion, Uid,
};

use super::devices::DEVICES;
use super::pods::send;
use super::{Desired, Effect, number};
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

/// Where an object stands in the order of sending: what pods and devices need goes before them.
type Place = (bool, ObjectKey);

/// Tells whether a node that does not hold an object is told of it as of a changed one.
fn is_update(key: &ObjectKey, object: &Object) -> bool {
    key.resource == ResourceType::NODE || object.meta().deletion_timestamp.is_some()
}

fn place(key: ObjectKey) -> Place {
    (matches!(key.resource.as_str(), "pod" | "device"), key)
}

/// How far a node has been told the difference between what it holds and what it must know.
///
/// That is a place among what it must know, not the difference itself: what it must know is looked up
/// for each part, so that a node that lacks everything costs no more than one that lacks a little.
#[derive(Debug)]
pub(crate) struct Settling {
    /// What the node holds and was not compared yet.
    held: BTreeMap<ObjectKey, Held>,
    /// What it may hold, since it acknowledged that once, and was not compared yet.
    remembered: BTreeMap<ObjectKey, Vec<Held>>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// What it must know is compared; all up to this place was.
    Wanted { after: Option<Place> },
    /// What it holds besides is compared.
    Rest,
}

impl Settling {
    /// Begins for a node that holds this. One that cannot say what it holds is told all that it must know.
    pub(crate) fn new(holds: Holdings) -> Self {
        let (mut held, mut remembered) = (BTreeMap::new(), BTreeMap::<ObjectKey, Vec<Held>>::new());
        match holds {
            Holdings::Said(said) => held.extend(said.into_iter().map(|held| (held.key.clone(), held))),
            Holdings::Remembered(all) => {
                for held in all {
                    remembered.entry(held.key.clone()).or_default().push(held);
                }
            }
        }
        Self { held, remembered, progress: Progress::Wanted { after: None } }
    }

    /// Tells whether the node was told everything.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Rest) && self.held.is_empty() && self.remembered.is_empty()
    }

    /// Notes a change that the node is told besides, so that it is not told again, nor what was before.
    pub(crate) fn note(&mut self, change: &ObjectChange) {
        let ObjectChange { kind, key, object } = change;
        if let Some(remembered) = self.remembered.get_mut(key) {
            remembered.retain(|held| is_another(held, object));
        }
        let is_ahead = match &self.progress {
            Progress::Wanted { after } => after.as_ref().is_none_or(|after| place(key.clone()) > *after),
            Progress::Rest => false,
        };
        if *kind == ChangeKind::Delete || !is_ahead {
            self.held.remove(key);
            return;
        }
        let (uid, resource_version) = (object.uid(), object.resource_version());
        self.held.insert(key.clone(), Held { key: key.clone(), uid, resource_version });
    }
}

/// What is known of what a node holds before it is told the difference.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// What it said it keeps, of what it must know.
    pub(crate) kept: Vec<Kept>,
    /// All that it must know, and what it may hold until it has heard that it is gone.
    pub(crate) wanted: BTreeSet<Uid>,
}

impl Desired {
    /// Tells what a node keeps of what it must know.
    pub(crate) fn compare(&self, node: &NodeName, holds: &Holdings) -> Comparison {
        let wanted = self.wanted(node);
        let mut comparison = Comparison {
            kept: Vec::new(),
            wanted: wanted.values().filter_map(|wanted| wanted.object.uid()).collect(),
        };
        let Holdings::Said(held) = holds else {
            comparison.wanted.extend(holds.list().iter().filter_map(|held| held.uid.clone()));
            return comparison;
        };
        for held in held {
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
            self.want_needs(&pod.tracked.facts.needs, &mut wanted);
        }
        for (key, object, since, needs) in self.devices.of(node) {
            wanted.insert(key.clone(), Wanted { object, since });
            self.want_needs(needs, &mut wanted);
        }
        wanted
    }

    fn want_needs<'a>(&'a self, needs: &BTreeSet<ObjectKey>, wanted: &mut BTreeMap<ObjectKey, Wanted<'a>>) {
        for need in needs {
            if let Some(object) = self.body(need) {
                wanted.insert(need.clone(), Wanted { object, since: number(object) });
            }
        }
    }

    /// Returns the types of which all objects that concern a node are known here.
    pub(crate) fn watched(&self) -> Vec<ResourceType> {
        let devices = DEVICES.into_iter().filter(|_| self.devices.are_known());
        WATCHED.into_iter().chain(devices).collect()
    }

    /// Returns the next part of the difference between what a node holds and what it must know, some
    /// `most` effects of it.
    ///
    /// Only for a node that [`Desired::can_settle`]: then what is held and not wanted is known to
    /// be gone, or to be no business of the node.
    pub(crate) fn settle(&mut self, node: &NodeName, settling: &mut Settling, most: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Progress::Wanted { after } = &mut settling.progress {
            for (place, wanted) in in_sending_order(self.wanted(node)) {
                if after.as_ref().is_some_and(|after| place <= *after) {
                    continue;
                }
                if effects.len() >= most {
                    return effects;
                }
                let key = &place.1;
                let remembered = settling.remembered.remove(key).unwrap_or_default();
                let (others, same): (Vec<_>, Vec<_>) =
                    remembered.into_iter().partition(|held| is_another(held, wanted.object));
                effects.extend(others.iter().filter_map(|held| end(node, held)));
                let kind = match settling.held.remove(key) {
                    Some(held) if wanted.is_held(&held) => None,
                    Some(_) => Some(ChangeKind::Update),
                    None if is_update(key, wanted.object) || !same.is_empty() => Some(ChangeKind::Update),
                    None => Some(ChangeKind::Insert),
                };
                effects.extend(kind.map(|kind| send(node, kind, key, wanted.object.clone())));
                *after = Some(place);
            }
            settling.progress = Progress::Rest;
            if let Some(entry) = self.nodes.get_mut(node) {
                entry.doubtful.clear();
            }
        }
        while effects.len() < most {
            let next = settling.held.pop_first().map(|(_, held)| vec![held]);
            let Some(held) = next.or_else(|| Some(settling.remembered.pop_first()?.1)) else { break };
            effects.extend(held.into_iter().filter_map(|held| self.settle_rest(node, held)));
        }
        effects
    }

    /// Returns what follows from that a node holds something that it need not know.
    fn settle_rest(&mut self, node: &NodeName, held: Held) -> Option<Effect> {
        if DEVICES.contains(&held.key.resource) {
            if !self.devices.are_known() {
                return None;
            }
        } else if !WATCHED.contains(&held.key.resource) {
            return Some(Effect::Check { node: node.clone(), held });
        }
        if self.is_unknown(&held.key) && self.needs(node, &held.key) {
            if let Some(entry) = self.nodes.get_mut(node) {
                entry.doubtful.insert(held.key, held.uid);
            }
            return None;
        }
        end(node, &held)
    }
}

/// Lets a node know that what it holds is gone.
fn end(node: &NodeName, held: &Held) -> Option<Effect> {
    let object = raw::tombstone(&held.key, held.uid.as_ref()).ok()?;
    Some(send(node, ChangeKind::Delete, &held.key, object))
}

/// Tells whether a pod or device was made anew under the name of one that is held.
fn is_another(held: &Held, newest: &Object) -> bool {
    matches!(held.key.resource.as_str(), "pod" | "device") && held.uid.is_some() && held.uid != newest.uid()
}

/// The types that are always watched.
const WATCHED: [ResourceType; 4] =
    [ResourceType::POD, ResourceType::CONFIG_MAP, ResourceType::SECRET, ResourceType::NODE];

/// Returns what is wanted in the order of sending.
fn in_sending_order(wanted: BTreeMap<ObjectKey, Wanted<'_>>) -> Vec<(Place, Wanted<'_>)> {
    let mut wanted: Vec<_> = wanted.into_iter().map(|(key, wanted)| (place(key), wanted)).collect();
    // These move behind all others; neither changes its order.
    wanted.sort_by_key(|((is_last, _), _)| *is_last);
    wanted
}
