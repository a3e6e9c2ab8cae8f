//! Devices that come and go.

use protocol::DeviceId;
use protocol::device::payload::{self, MembershipUpdate};
use protocol::device::{LocalTopic, PublishLocal};
use store::Batch;

use super::{Devices, Outcome};
use crate::answers::{Moment, publish};
use crate::desired::Desired;
use crate::device::{Device, Head};
use crate::layout::{self, CONFIRMED, DEVICES, TWINS};
use crate::limits::DEVICES_MAX;
use crate::twin::Effect;

/// The label of a device's object that describes it.
const DESCRIPTION: &str = "description";

/// What an object says of its device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Described {
    /// Empty if it is not known.
    pub(crate) uid: String,
    pub(crate) description: String,
    /// The values that are wanted of its properties.
    pub(crate) desired: Desired,
}

impl Described {
    pub(crate) fn of(object: &protocol::Object) -> Self {
        let uid = object.uid().map(|uid| uid.to_string()).unwrap_or_default();
        let description = object.meta().labels.get(DESCRIPTION).cloned().unwrap_or_default();
        Self { uid, description, desired: Desired::of(object) }
    }
}

impl Devices {
    /// A device is there. One with another uid is another device, and its predecessor is gone.
    pub(crate) fn appear(&mut self, id: &DeviceId, described: Described, moment: &Moment) -> Option<Outcome> {
        let Described { uid, description, desired } = described;
        let held = self.devices.get(id).map(|device| device.head.uid.clone());
        let outcome = match held {
            Some(held) if is_other(&held, &uid) => {
                let gone = self.vanish(id, "", moment).unwrap_or_default();
                match self.add(id, uid, description, moment) {
                    Some(new) => gone.and(new),
                    None => return Some(gone),
                }
            }
            Some(_) => self.describe(id, uid, description),
            None => self.add(id, uid, description, moment)?,
        };
        let outcome = outcome.and(self.want(id, &desired, moment));
        (!outcome.is_empty()).then_some(outcome)
    }

    /// Takes what its object says of a device that is known.
    fn describe(&mut self, id: &DeviceId, uid: String, description: String) -> Outcome {
        let Some(device) = self.devices.get_mut(id) else { return Outcome::default() };
        let news = device.is_news().then(|| id.clone());
        let uid = if uid.is_empty() { device.head.uid.clone() } else { uid };
        if device.head.uid == uid && device.head.description == description {
            return Outcome { news, ..Outcome::default() };
        }
        (device.head.uid, device.head.description) = (uid, description);
        let batch = Batch::new().put(DEVICES, layout::device_key(id), layout::head(&device.head));
        Outcome { batch, news, ..Outcome::default() }
    }

    /// Wants of a device what its object wants, where that differs from what it wanted last: what a local
    /// client has wanted since then stays.
    fn want(&mut self, id: &DeviceId, desired: &Desired, moment: &Moment) -> Outcome {
        let Some(device) = self.devices.get_mut(id) else { return Outcome::default() };
        let wanted = desired.values();
        if device.head.desired == wanted {
            return Outcome::default();
        }
        let before = std::mem::replace(&mut device.head.desired, wanted);
        let head = layout::head(&device.head);
        let (mut effect, refused) = desired.effect(&before, &device.twins, moment.at_ms);
        for (property, cause) in refused {
            tracing::warn!(device = %id, property, cause, "cannot want what a device's object wants");
        }
        if let Err(cause) = self.check_room(id, &effect) {
            tracing::error!(device = %id, cause, "cannot want what a device's object wants");
            effect = Effect::default();
        }
        let batch = self.apply(id, &effect).put(DEVICES, layout::device_key(id), head);
        let news = (!effect.upward.is_empty()).then(|| id.clone());
        let mut outcome = Outcome { batch, news, ..Outcome::default() };
        if !effect.document.is_empty() {
            self.tell_changes(id, &moment.fresh, effect, moment, &mut outcome);
        }
        outcome
    }

    fn add(&mut self, id: &DeviceId, uid: String, description: String, moment: &Moment) -> Option<Outcome> {
        if self.devices.len() >= DEVICES_MAX {
            tracing::error!(device = %id, most = DEVICES_MAX, "a node has no room for a device");
            return None;
        }
        self.incarnations += 1;
        let head = Head { uid, description, ..Head::default() };
        let device = Device { head, incarnation: self.incarnations, ..Device::default() };
        let batch = Batch::new().put(DEVICES, layout::device_key(id), layout::head(&device.head));
        let told = (Some(vec![named(id, &device)]), None);
        self.devices.insert(id.clone(), device);
        tracing::info!(device = %id, "a device was added");
        Some(Outcome { batch, ..Outcome::told(update(told, moment)) })
    }

    /// A device is gone, unless another one has its name by now. An empty uid stands for any.
    pub(crate) fn vanish(&mut self, id: &DeviceId, uid: &str, moment: &Moment) -> Option<Outcome> {
        let held = &self.devices.get(id)?.head.uid;
        if is_other(held, uid) {
            return None;
        }
        let device = self.devices.remove(id)?;
        self.twins = self.twins.saturating_sub(device.twins.len());
        let key = layout::device_key(id);
        let batch = Batch::new().remove(DEVICES, key.clone()).remove(CONFIRMED, key);
        let twins = device.twins.keys().map(|name| layout::twin_key(id, name));
        let batch = twins.fold(batch, |batch, key| batch.remove(TWINS, key));
        tracing::info!(device = %id, "a device was removed");
        Some(Outcome { batch, ..Outcome::told(update((None, Some(vec![named(id, &device)])), moment)) })
    }
}

fn is_other(held: &str, uid: &str) -> bool {
    !held.is_empty() && !uid.is_empty() && held != uid
}

/// Returns a device with what its object says of it, and nothing else.
fn named(id: &DeviceId, device: &Device) -> payload::Device {
    let described = device.head.description.clone();
    payload::Device {
        id: id.to_string(),
        name: id.name.to_string(),
        description: described,
        ..payload::Device::default()
    }
}

type Halves = (Option<Vec<payload::Device>>, Option<Vec<payload::Device>>);

fn update((added_devices, removed_devices): Halves, moment: &Moment) -> PublishLocal {
    let event_id = moment.fresh.clone();
    let update = MembershipUpdate { event_id, timestamp: moment.at_ms, added_devices, removed_devices };
    publish(LocalTopic::MembershipUpdated, &update)
}
