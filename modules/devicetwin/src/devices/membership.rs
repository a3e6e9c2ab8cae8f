//! Devices that come and go.

use protocol::DeviceId;
use protocol::device::payload::{self, MembershipUpdate};
use protocol::device::{LocalTopic, PublishLocal};
use store::Batch;

use super::{Devices, Outcome};
use crate::answers::{Moment, publish};
use crate::device::{Device, Head};
use crate::layout::{self, CONFIRMED, DEVICES, TWINS};
use crate::limits::DEVICES_MAX;

/// The label of a device's object that describes it.
const DESCRIPTION: &str = "description";

/// What an object says of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// Empty if it is not known.
    pub(crate) uid: String,
    pub(crate) description: String,
}

impl Described {
    pub(crate) fn of(object: &protocol::Object) -> Self {
        let uid = object.uid().map(|uid| uid.to_string()).unwrap_or_default();
        Self { uid, description: object.meta().labels.get(DESCRIPTION).cloned().unwrap_or_default() }
    }
}

impl Devices {
    /// A device is there. One with another uid is another device, and its predecessor is gone.
    pub(crate) fn appear(&mut self, id: &DeviceId, described: Described, moment: &Moment) -> Option<Outcome> {
        let Described { uid, description } = described;
        let Some(device) = self.devices.get_mut(id) else { return self.add(id, uid, description, moment) };
        if is_other(&device.head.uid, &uid) {
            let gone = self.vanish(id, "", moment).unwrap_or_default();
            let Some(new) = self.add(id, uid, description, moment) else { return Some(gone) };
            let writes = gone.batch.writes().iter().chain(new.batch.writes());
            let batch = writes.cloned().fold(Batch::new(), append);
            let local = gone.local.into_iter().chain(new.local).collect();
            return Some(Outcome { batch, local, ..Outcome::default() });
        }
        let news = device.is_news().then(|| id.clone());
        let uid = if uid.is_empty() { device.head.uid.clone() } else { uid };
        if device.head.uid == uid && device.head.description == description {
            return news.map(|id| Outcome { news: Some(id), ..Outcome::default() });
        }
        (device.head.uid, device.head.description) = (uid, description);
        let batch = Batch::new().put(DEVICES, layout::device_key(id), layout::head(&device.head));
        Some(Outcome { batch, news, ..Outcome::default() })
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

fn append(batch: Batch, write: store::Write) -> Batch {
    match write {
        store::Write::Put { tree, key, value } => batch.put(tree, key, value),
        store::Write::Remove { tree, key } => batch.remove(tree, key),
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
