//! The devices and models of the node, and which mapper must know which.

use std::collections::{BTreeMap, BTreeSet};

use dmi_proto::ProtobufMessage as _;
use dmi_proto::v1beta1 as dmi;
use protocol::{Object, ObjectKey, ObjectName, ResourceType};

use crate::fingerprint::fingerprint;
use crate::message::{self, MessageError};
use crate::view;

/// Devices of a node, as the device twins have it.
const DEVICES_MAX: usize = 10_000;
/// Models of a node.
const MODELS_MAX: usize = 10_000;

/// What may have to be told: to the mapper of which protocol, about which object.
pub(crate) type Touched = BTreeSet<(String, ObjectKey)>;

/// What a mapper is to know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This state of it.
    Is(u64),
    /// That it is gone.
    Gone,
    /// Nothing: it is not known what is right.
    Unknown,
}

/// What is to be told of a device: the protocol and the state, or why nothing can be told.
type Told = Result<(String, u64), MessageError>;

#[derive(Debug)]
struct KnownDevice {
    view: view::Device,
    model: Option<ObjectKey>,
    told: Told,
}

/// The devices and models of the node.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    devices: BTreeMap<ObjectKey, KnownDevice>,
    models: BTreeMap<ObjectKey, view::Model>,
    /// The devices of each model, whether it is there or not.
    users: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Objects that are held on the node and cannot be read.
    unreadable: BTreeSet<ObjectKey>,
    /// Whether all objects of the node were listed.
    is_complete: bool,
}

impl Inventory {
    /// Notes that all objects were listed, and which of them cannot be read.
    pub(crate) fn complete(&mut self, unreadable: BTreeSet<ObjectKey>) {
        self.is_complete = true;
        self.unreadable = unreadable;
    }

    /// Returns all objects that are known.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.devices.keys().chain(self.models.keys())
    }

    /// Returns how many devices there are.
    pub(crate) fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Takes the newest state of an object.
    pub(crate) fn put(&mut self, key: &ObjectKey, object: &Object) -> Touched {
        if key.resource == ResourceType::DEVICE {
            match object.view::<view::Device>() {
                Ok(view) => self.put_device(key, view),
                Err(error) => self.cannot_read(key, &error),
            }
        } else {
            match object.view::<view::Model>() {
                Ok(view) => self.put_model(key, view),
                Err(error) => self.cannot_read(key, &error),
            }
        }
    }

    /// What cannot be read is not told, and what was told of it before stays.
    fn cannot_read(&mut self, key: &ObjectKey, error: &serde_json::Error) -> Touched {
        tracing::error!(object = %key, %error, "mappers are not told of an object that cannot be read");
        let touched = self.remove(key);
        self.unreadable.insert(key.clone());
        touched
    }

    fn put_device(&mut self, key: &ObjectKey, view: view::Device) -> Touched {
        if self.devices.len() >= DEVICES_MAX && !self.devices.contains_key(key) {
            tracing::error!(device = %key, most = DEVICES_MAX, "mappers are told of no more devices");
            return Touched::new();
        }
        let mut touched = self.remove(key);
        let name = ObjectName::parse(&view.spec.device_model_ref.name).ok();
        let model = name.map(|name| ObjectKey {
            resource: ResourceType::DEVICE_MODEL,
            namespace: key.namespace.clone(),
            name,
        });
        if let Some(model) = &model {
            self.users.entry(model.clone()).or_default().insert(key.clone());
        }
        let told = self.tell(key, &view, model.as_ref());
        match &told {
            Ok(_) => {}
            // It speaks MQTT itself.
            Err(error) if view.spec.protocol.protocol_name.is_empty() => {
                tracing::debug!(device = %key, %error, "a device is not told to mappers");
            }
            // Objects come in any order.
            Err(error @ MessageError::NoModel(_)) => {
                tracing::info!(device = %key, %error, "a device is not told to mappers yet");
            }
            Err(error) => tracing::warn!(device = %key, %error, "a device is not told to mappers"),
        }
        self.devices.insert(key.clone(), KnownDevice { view, model, told });
        touched.extend(self.touches(key));
        touched
    }

    fn put_model(&mut self, key: &ObjectKey, view: view::Model) -> Touched {
        if self.models.len() >= MODELS_MAX && !self.models.contains_key(key) {
            tracing::error!(model = %key, most = MODELS_MAX, "mappers are told of no more models");
            return Touched::new();
        }
        let mut touched = self.remove(key);
        touched.insert((view.spec.protocol.clone(), key.clone()));
        self.models.insert(key.clone(), view);
        touched.extend(self.tell_users(key));
        touched
    }

    /// An object is gone.
    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Touched {
        self.unreadable.remove(key);
        let mut touched = self.touches(key);
        if let Some(device) = self.devices.remove(key) {
            if let Some(model) = device.model
                && let Some(users) = self.users.get_mut(&model)
            {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(&model);
                }
            }
        } else if let Some(model) = self.models.remove(key) {
            touched.insert((model.spec.protocol, key.clone()));
            touched.extend(self.tell_users(key));
        }
        touched
    }

    /// Computes anew what is told of a model's devices.
    fn tell_users(&mut self, model: &ObjectKey) -> Touched {
        let users: Vec<ObjectKey> = self.users.get(model).into_iter().flatten().cloned().collect();
        let mut touched = Touched::new();
        for user in users {
            touched.extend(self.touches(&user));
            let Some(device) = self.devices.get(&user) else { continue };
            let told = self.tell(&user, &device.view, Some(model));
            if let Some(device) = self.devices.get_mut(&user) {
                device.told = told;
            }
            touched.extend(self.touches(&user));
        }
        touched
    }

    /// Returns which mappers a change of this object is about as it is. A device brings its model along.
    fn touches(&self, key: &ObjectKey) -> Touched {
        let mut touched = Touched::new();
        let Some(device) = self.devices.get(key) else { return touched };
        if let Ok((protocol, _)) = &device.told {
            touched.insert((protocol.clone(), key.clone()));
            touched.extend(device.model.iter().map(|model| (protocol.clone(), model.clone())));
        }
        touched
    }

    fn tell(&self, key: &ObjectKey, device: &view::Device, model: Option<&ObjectKey>) -> Told {
        let model = model.ok_or(MessageError::NoModelNamed)?;
        let of_model = self.models.get(model).ok_or_else(|| MessageError::NoModel(model.name.to_string()))?;
        let strangers = message::strangers(device, of_model);
        if !strangers.is_empty() {
            tracing::warn!(device = %key, properties = ?strangers, "left out properties that the model has not");
        }
        let message = message::device(key, device, of_model)?;
        Ok((device.spec.protocol.protocol_name.clone(), of_device(message)))
    }

    /// Returns the message of a device, if it can be told.
    pub(crate) fn device(&self, key: &ObjectKey) -> Option<dmi::Device> {
        let device = self.devices.get(key)?;
        message::device(key, &device.view, self.models.get(device.model.as_ref()?)?).ok()
    }

    /// Returns the message of a model, if it is there.
    pub(crate) fn model(&self, key: &ObjectKey) -> Option<dmi::DeviceModel> {
        Some(message::model(key, self.models.get(key)?))
    }

    /// Returns the protocol by which a device is reached.
    pub(crate) fn protocol(&self, key: &ObjectKey) -> Option<&str> {
        let device = self.devices.get(key)?;
        Some(&device.view.spec.protocol.protocol_name)
    }

    /// Returns the model of a device.
    pub(crate) fn model_of(&self, key: &ObjectKey) -> Option<&ObjectKey> {
        self.devices.get(key)?.model.as_ref()
    }

    /// Returns what the mapper of a protocol is to know of an object.
    pub(crate) fn wanted(&self, protocol: &str, key: &ObjectKey) -> Wanted {
        if self.unreadable.contains(key) {
            return Wanted::Unknown;
        }
        if let Some(device) = self.devices.get(key) {
            return match &device.told {
                Ok((by, state)) if by == protocol => Wanted::Is(*state),
                Ok(_) => Wanted::Gone,
                Err(_) => Wanted::Unknown,
            };
        }
        let mut users = self.users.get(key).into_iter().flatten();
        let is_used = users.any(|user| self.protocol(user) == Some(protocol));
        if let Some(model) = self.models.get(key)
            && (is_used || model.spec.protocol == protocol)
        {
            return Wanted::Is(of_model(&message::model(key, model)));
        }
        // A model is not taken from devices that need it, nor from those of which that is not known.
        let is_model = key.resource == ResourceType::DEVICE_MODEL;
        let hides_users =
            || is_model && self.unreadable.iter().any(|key| key.resource == ResourceType::DEVICE);
        if self.is_complete && !is_used && !hides_users() { Wanted::Gone } else { Wanted::Unknown }
    }

    /// Returns all that the mapper of a protocol is to know, models before devices.
    pub(crate) fn of_protocol(&self, protocol: &str) -> Vec<(ObjectKey, u64)> {
        let keys = self.models.keys().chain(self.devices.keys());
        let wanted = keys.filter_map(|key| match self.wanted(protocol, key) {
            Wanted::Is(state) => Some((key.clone(), state)),
            Wanted::Gone | Wanted::Unknown => None,
        });
        wanted.collect()
    }
}

/// Properties and methods in another order are no other device, as in KubeEdge.
fn of_device(mut message: dmi::Device) -> u64 {
    if let Some(spec) = &mut message.spec {
        spec.properties.sort_by(|one, other| one.name.cmp(&other.name));
        spec.methods.sort_by(|one, other| one.name.cmp(&other.name));
    }
    fingerprint(&message.encode_to_vec())
}

fn of_model(message: &dmi::DeviceModel) -> u64 {
    fingerprint(&message.encode_to_vec())
}

#[cfg(test)]
pub(crate) mod tests;
