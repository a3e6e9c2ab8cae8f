//! The devices of a node, and what calls do to them.
//!
//! A call changes what is in memory and says what is to be written and who is told of it when it is.

mod calls;
mod membership;
mod reports;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use calls::asker;
pub(crate) use membership::Described;
use protocol::DeviceId;
use protocol::device::{LocalTopic, PublishLocal, TwinReported};
use store::{Batch, Write};

use crate::answers::Moment;
use crate::device::{Confirmed, Device, Report};
use crate::layout::{self, CONFIRMED, TWINS};
use crate::twin::Effect;

/// What becomes of a call.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What is to be written; nothing if it is empty.
    pub(crate) batch: Batch,
    /// What local clients are told when it is on disk.
    pub(crate) local: Vec<PublishLocal>,
    /// What other modules are told then.
    pub(crate) reported: Vec<TwinReported>,
    /// Where the client hears that the disk failed, and the name of its request.
    pub(crate) asker: Option<(LocalTopic, String)>,
    /// The device of which the cloud must hear.
    pub(crate) news: Option<DeviceId>,
}

impl Outcome {
    fn told(local: PublishLocal) -> Self {
        Self { local: vec![local], ..Self::default() }
    }

    /// Returns this, and then another of the same device.
    fn and(self, then: Self) -> Self {
        let batch = then.batch.writes().iter().cloned().fold(self.batch, |batch, write| match write {
            Write::Put { tree, key, value } => batch.put(tree, key, value),
            Write::Remove { tree, key } => batch.remove(tree, key),
        });
        Self {
            batch,
            local: self.local.into_iter().chain(then.local).collect(),
            reported: self.reported.into_iter().chain(then.reported).collect(),
            asker: self.asker.or(then.asker),
            news: self.news.or(then.news),
        }
    }

    fn is_empty(&self) -> bool {
        self.batch.writes().is_empty()
            && self.local.is_empty()
            && self.reported.is_empty()
            && self.news.is_none()
    }

    /// Returns about how much memory it takes until it is done.
    pub(crate) fn bytes(&self) -> usize {
        let local: usize = self.local.iter().map(|local| local.payload.len() + 128).sum();
        let reported: usize = self.reported.iter().map(|it| it.property.len() + it.value.len() + 128).sum();
        local + reported + 256
    }
}

/// The devices of a node.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    devices: BTreeMap<DeviceId, Device>,
    /// The twins of all.
    twins: usize,
    incarnations: u64,
}

impl Devices {
    /// Takes devices as the store has them.
    pub(crate) fn new(devices: BTreeMap<DeviceId, Device>) -> Self {
        let twins = devices.values().map(|device| device.twins.len()).sum();
        let mut all = Self { devices, twins, incarnations: 0 };
        for device in all.devices.values_mut() {
            all.incarnations += 1;
            device.incarnation = all.incarnations;
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &DeviceId> {
        self.devices.keys()
    }

    /// Returns what tells a device from others that had its name.
    pub(crate) fn incarnation(&self, id: &DeviceId) -> Option<u64> {
        self.devices.get(id).map(|device| device.incarnation)
    }

    /// Returns the devices of which the cloud must hear.
    pub(crate) fn news(&self) -> impl Iterator<Item = &DeviceId> {
        self.devices.iter().filter(|(_, device)| device.is_news()).map(|(id, _)| id)
    }

    pub(crate) fn report(&mut self, id: &DeviceId, moment: &Moment) -> Option<Report> {
        self.devices.get_mut(id)?.report(id, moment)
    }

    /// Returns a device unless another one has its name by now.
    pub(crate) fn same(&mut self, id: &DeviceId, incarnation: u64) -> Option<&mut Device> {
        self.devices.get_mut(id).filter(|device| device.incarnation == incarnation)
    }

    /// Notes what the cloud knows of a device, and tells whether that is all.
    pub(crate) fn confirm(&mut self, id: &DeviceId, incarnation: u64, knows: Confirmed) -> bool {
        let Some(device) = self.same(id, incarnation) else { return false };
        device.confirm(knows);
        !device.is_news()
    }

    /// Returns what is to be written of devices of which the cloud knows all.
    pub(crate) fn confirmations(&self, ids: &BTreeSet<DeviceId>) -> Batch {
        let known = ids.iter().filter_map(|id| Some((id, self.devices.get(id)?)));
        known.filter(|(_, device)| !device.is_news()).fold(Batch::new(), |batch, (id, device)| {
            batch.put(CONFIRMED, layout::device_key(id), layout::confirmed(device.confirmed))
        })
    }

    /// Changes a device's twins, and returns what is to be written.
    fn apply(&mut self, id: &DeviceId, effect: &Effect) -> Batch {
        let mut batch = Batch::new();
        let Some(device) = self.devices.get_mut(id) else { return batch };
        let before = device.twins.len();
        for gone in device.take(effect) {
            batch = batch.remove(TWINS, layout::twin_key(id, &gone));
        }
        for name in effect.written.keys() {
            if let Some(slot) = device.twins.get(name) {
                batch = batch.put(TWINS, layout::twin_key(id, name), layout::slot(slot));
            }
        }
        self.twins = (self.twins + device.twins.len()).saturating_sub(before);
        batch
    }
}
