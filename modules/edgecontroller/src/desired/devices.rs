//! Devices come, change and go.
//!
//! The API cannot list those of one node, so all are kept here, whatever nodes are known. Their models are
//! what config maps are to pods.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ChangeKind, NodeName, Object, ObjectKey, ResourceType};

use super::pods::send;
use super::{Desired, Effect, Tracked, is_outdated};
use crate::references::PodFacts;

/// The types that concern devices.
pub(crate) const DEVICES: [ResourceType; 2] = [ResourceType::DEVICE, ResourceType::DEVICE_MODEL];

/// Whether devices are told to nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Carrying {
    /// It is not known yet whether there is a device controller, or which devices there are.
    #[default]
    Awaited,
    /// They are not: what a node holds of them is left as it is.
    No,
    /// All are known.
    Yes,
}

/// A device with the node that it is on.
#[derive(Debug)]
struct Device {
    node: Option<NodeName>,
    tracked: Tracked,
    /// How its node is told once it is known whether its model exists. KubeEdge's edge has no mapper open a
    /// device whose model it was not told before, and does not try again.
    waits: Option<ChangeKind>,
}

/// All devices.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    carrying: Carrying,
    listing: Option<BTreeSet<ObjectKey>>,
    all: BTreeMap<ObjectKey, Device>,
    on: BTreeMap<NodeName, BTreeSet<ObjectKey>>,
}

impl Devices {
    /// Tells whether nodes can be told what they must know of devices, if anything.
    pub(super) fn are_settled(&self) -> bool {
        self.carrying != Carrying::Awaited
    }

    /// Tells whether all that concerns a node is known.
    pub(super) fn are_known(&self) -> bool {
        self.carrying == Carrying::Yes
    }

    /// Returns the devices of a node and what they need, if they are known.
    pub(super) fn of<'a>(
        &'a self,
        node: &NodeName,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Object, Option<u64>, &'a BTreeSet<ObjectKey>)> {
        let keys = self.on.get(node).filter(|_| self.are_known());
        let found = keys.into_iter().flatten().filter_map(|key| self.all.get_key_value(key));
        found.map(|(key, Device { tracked, .. })| (key, &tracked.object, tracked.since, &tracked.facts.needs))
    }

    fn insert(&mut self, key: ObjectKey, device: Device) {
        if let Some(node) = &device.node {
            self.on.entry(node.clone()).or_default().insert(key.clone());
        }
        self.all.insert(key, device);
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Device> {
        let device = self.all.remove(key)?;
        if let Some(node) = &device.node
            && let Some(keys) = self.on.get_mut(node)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.on.remove(node);
            }
        }
        Some(device)
    }
}

fn node_of(facts: &PodFacts) -> Option<NodeName> {
    NodeName::parse(facts.node.as_deref()?).ok()
}

impl Desired {
    /// Notes that a list of all devices begins.
    pub(crate) fn begin_devices(&mut self) {
        self.devices.listing = Some(BTreeSet::new());
    }

    /// Notes that the list ended: devices that were not in it are gone.
    pub(crate) fn end_devices(&mut self) -> Vec<Effect> {
        let Some(seen) = self.devices.listing.take() else { return Vec::new() };
        let gone: Vec<ObjectKey> =
            self.devices.all.keys().filter(|key| !seen.contains(*key)).cloned().collect();
        gone.iter().flat_map(|key| self.drop_device(key, None)).collect()
    }

    /// Notes that all devices and models are known.
    pub(crate) fn know_devices(&mut self) -> Vec<Effect> {
        self.carry(Carrying::Yes)
    }

    /// Goes on without devices, unless they are known.
    pub(crate) fn do_without_devices(&mut self) -> Vec<Effect> {
        if self.devices.are_settled() { Vec::new() } else { self.carry(Carrying::No) }
    }

    fn carry(&mut self, carrying: Carrying) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.devices.carrying, carrying);
        match (before, carrying) {
            (Carrying::Awaited, _) => self.settle_complete(),
            // They came late: nodes have been told all but these.
            (Carrying::No, Carrying::Yes) => {
                let nodes: Vec<NodeName> = self.devices.on.keys().cloned().collect();
                nodes.iter().flat_map(|node| self.tell_devices(node)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn tell_devices(&self, node: &NodeName) -> Vec<Effect> {
        let models: BTreeSet<&ObjectKey> = self.devices.of(node).flat_map(|(.., needs)| needs).collect();
        let models = models.into_iter().filter_map(|key| Some((key, self.body(key)?)));
        let devices = self.devices.of(node).map(|(key, object, ..)| (key, object));
        models
            .chain(devices)
            .map(|(key, object)| send(node, ChangeKind::Insert, key, object.clone()))
            .collect()
    }

    /// Tells whether the device is on the node.
    pub(crate) fn has_device(&self, node: &NodeName, key: &ObjectKey) -> bool {
        self.devices.on.get(node).is_some_and(|keys| keys.contains(key))
    }

    pub(crate) fn see_device(&mut self, key: ObjectKey, object: Object) -> Vec<Effect> {
        if let Some(seen) = &mut self.devices.listing {
            seen.insert(key.clone());
        }
        let facts = PodFacts::of_device(&object);
        let Some(held) = self.devices.all.get_mut(&key) else { return self.add_device(key, object, facts) };
        if is_outdated(&object, &held.tracked.object) {
            return Vec::new();
        }
        let is_another = held.tracked.object.uid() != object.uid();
        let (Some(node), false) =
            (held.node.clone().filter(|node| node_of(&facts).as_ref() == Some(node)), is_another)
        else {
            let mut effects = self.drop_device(&key, None);
            effects.extend(self.add_device(key, object, facts));
            return effects;
        };
        let before = held.tracked.facts.needs.clone();
        let changed = held.tracked.renew(object.clone(), facts.clone());
        let mut effects = self.acquire(&node, &facts, Some(&before));
        let kind = if changed { self.turn(&key, &facts, ChangeKind::Update) } else { None };
        effects.extend(kind.map(|kind| send(&node, kind, &key, object)));
        let released = before.difference(&facts.needs).cloned().collect();
        effects.extend(self.give_up(&node, &released));
        self.unless_awaited(effects)
    }

    fn add_device(&mut self, key: ObjectKey, object: Object, facts: PodFacts) -> Vec<Effect> {
        let node = node_of(&facts);
        let tracked = Tracked::new(object.clone(), facts.clone());
        self.devices.insert(key.clone(), Device { node: node.clone(), tracked, waits: None });
        let Some(node) = node else { return Vec::new() };
        let mut effects = self.acquire(&node, &facts, None);
        let kind = self.turn(&key, &facts, ChangeKind::Insert);
        effects.extend(kind.map(|kind| send(&node, kind, &key, object)));
        self.unless_awaited(effects)
    }

    /// Returns how its node is told of a device now; `None` if that waits for its model.
    fn turn(&mut self, key: &ObjectKey, facts: &PodFacts, kind: ChangeKind) -> Option<ChangeKind> {
        let is_model_unknown = self.devices.are_known() && facts.needs.iter().any(|key| self.is_unknown(key));
        let device = self.devices.all.get_mut(key)?;
        let kind = device.waits.take().unwrap_or(kind);
        if is_model_unknown {
            device.waits = Some(kind);
        }
        (!is_model_unknown).then_some(kind)
    }

    /// Tells nodes of the devices that waited for this model.
    pub(super) fn end_wait(&mut self, model: &ObjectKey) -> Vec<Effect> {
        let Some(needed) = self.needed.get(model) else { return Vec::new() };
        let mut effects = Vec::new();
        for node in needed.by.keys() {
            for key in self.devices.on.get(node).into_iter().flatten() {
                let Some(device) = self.devices.all.get_mut(key) else { continue };
                if device.tracked.facts.needs.contains(model)
                    && let Some(kind) = device.waits.take()
                {
                    effects.push(send(node, kind, key, device.tracked.object.clone()));
                }
            }
        }
        effects
    }

    /// Takes the deletion of a device; `last` is its last state.
    pub(crate) fn delete_device(&mut self, key: &ObjectKey, last: Object) -> Vec<Effect> {
        self.drop_device(key, Some(last))
    }

    fn drop_device(&mut self, key: &ObjectKey, last: Option<Object>) -> Vec<Effect> {
        let Some(Device { node, tracked, .. }) = self.devices.remove(key) else { return Vec::new() };
        let Some(node) = node else { return Vec::new() };
        let last = last.unwrap_or(tracked.object);
        let mut effects = vec![send(&node, ChangeKind::Delete, key, last)];
        effects.extend(self.give_up(&node, &tracked.facts.needs));
        self.unless_awaited(effects)
    }

    /// While not all is known, nodes are told nothing of it: the difference they are told will contain it.
    fn unless_awaited(&self, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !self.devices.are_known() {
            effects.retain(|effect| !matches!(effect, Effect::Send { .. }));
        }
        effects
    }
}
