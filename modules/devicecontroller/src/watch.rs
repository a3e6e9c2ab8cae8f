//! Watching devices.

use beehive::{Me, Message};
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, ResourceExt};
use kube_watch::{Resume, Told, Watch};
use protocol::DeviceId;
use serde::Deserialize;

use crate::DeviceController;
use crate::index::{Device, Spec};

/// How many devices of a list come at once.
const PAGE: u32 = 500;

/// Devices changed.
#[derive(Debug, Message)]
pub(crate) enum Seen {
    Begin,
    Device(DeviceId, Device),
    Gone(DeviceId),
    End,
}

/// The kind of device that the API serves.
pub(crate) fn resource(kind: &str, plural: &str) -> ApiResource {
    let (group, version) = ("devices.kubeedge.io", "v1beta1");
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Watches all devices for as long as the module lives.
pub(crate) async fn watch(client: kube::Client, me: Me<DeviceController>, random: [u8; 16]) {
    let api = Api::<DynamicObject>::all_with(client, &resource("Device", "devices"));
    let watch = Watch::new(api, Config::default().page_size(PAGE), "devices", Resume::FromLast, random);
    let tell = async |told| match told {
        Told::Event(event) => match seen(event) {
            Some(seen) => me.send(seen).await.is_ok(),
            None => true,
        },
        Told::Lost => true,
    };
    watch.run(tell).await;
}

fn seen(event: Event<DynamicObject>) -> Option<Seen> {
    match event {
        Event::Init => Some(Seen::Begin),
        Event::InitDone => Some(Seen::End),
        Event::Apply(object) | Event::InitApply(object) => {
            let uid = object.uid().unwrap_or_default();
            // What is not of the expected shape is on no node and has no property.
            let spec = Spec::deserialize(&object.data["spec"]).unwrap_or_default();
            Some(Seen::Device(id(&object.metadata)?, Device::new(uid, spec)))
        }
        Event::Delete(object) => Some(Seen::Gone(id(&object.metadata)?)),
    }
}

fn id(meta: &ObjectMeta) -> Option<DeviceId> {
    let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
    match DeviceId::parse(namespace, name) {
        Ok(id) => Some(id),
        Err(error) => {
            tracing::warn!(%error, "left out a device whose name is not valid");
            None
        }
    }
}
