//! Which devices and models the node has, as the metadata manager knows it.
//!
//! Changes are published. What happened while this module did not run is found by listing at its start and
//! whenever the store was opened anew.

use std::collections::BTreeSet;
use std::time::Duration;

use beehive::{Bus, Context, Failure, Handler, Message};
use protocol::edge::{ListHeld, ListObjects};
use protocol::{Object, ObjectKey, ResourceType, group};

use crate::Dmi;

const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The pause before the metadata manager is asked again: the shortest, and as much again at random.
const PAUSE: Duration = Duration::from_secs(2);

/// It is time to list.
#[derive(Debug, Clone, Message)]
pub(crate) struct Compare;

/// What the metadata manager has.
#[derive(Debug)]
struct All {
    models: Vec<Object>,
    devices: Vec<Object>,
    /// All that it holds, also what cannot be read.
    held: BTreeSet<ObjectKey>,
}

/// The objects were listed.
#[derive(Debug, Message)]
pub(crate) struct Listed(Result<All, String>);

impl Handler<Compare> for Dmi {
    async fn handle(&mut self, _: Compare, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.compare(cx);
        Ok(())
    }
}

impl Handler<Listed> for Dmi {
    async fn handle(&mut self, Listed(listed): Listed, cx: &mut Context<Self>) -> Result<(), Failure> {
        let changed = self.changed.take().unwrap_or_default();
        match listed {
            Ok(all) => self.take_all(all, &changed),
            Err(error) => {
                let pause = PAUSE + PAUSE.mul_f64(rand::Rng::random(cx.rng()));
                tracing::debug!(error, ?pause, "the devices of the node are not known yet");
                cx.after(pause, Compare);
                return Ok(());
            }
        }
        tracing::info!(devices = self.inventory.devices(), "the devices of the node are known to mappers");
        if let Some(known) = self.known.take()
            && known.send(()).is_err()
        {
            tracing::debug!("mappers were listened to already");
        }
        for line in self.lines.values_mut() {
            line.touch_all(&self.inventory);
        }
        self.tell_due(cx);
        Ok(())
    }
}

impl Dmi {
    /// Asks the metadata manager for devices and models.
    pub(crate) fn compare(&mut self, cx: &mut Context<Self>) {
        if self.changed.is_some() {
            // Asked already; what changes since is noted.
            return;
        }
        self.changed = Some(BTreeSet::new());
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let listed = list(&bus).await;
            if me.send(Listed(listed)).await.is_err() {
                tracing::debug!("the module stopped before it could hear of the devices");
            }
        });
    }

    /// Takes all objects, but for those that changed meanwhile: what is listed of them may be old.
    fn take_all(&mut self, all: All, changed: &BTreeSet<ObjectKey>) {
        let All { models, devices, held } = all;
        let mut found = BTreeSet::new();
        for (resource, objects) in [(ResourceType::DEVICE_MODEL, models), (ResourceType::DEVICE, devices)] {
            for object in objects {
                let Ok(key) = object.key(resource.clone()) else { continue };
                if !changed.contains(&key) {
                    self.inventory.put(&key, &object);
                }
                found.insert(key);
            }
        }
        let absent = self.inventory.keys().filter(|key| !found.contains(*key) && !changed.contains(*key));
        let absent: Vec<ObjectKey> = absent.cloned().collect();
        absent.iter().for_each(|key| drop(self.inventory.remove(key)));
        let unreadable = held.into_iter().filter(|key| !found.contains(key) && !changed.contains(key));
        self.inventory.complete(unreadable.collect());
    }
}

async fn list(bus: &Bus) -> Result<All, String> {
    let list = async |resource: ResourceType| {
        let answer = bus.to(group::META).ask(ListObjects(resource)).within(ANSWER_WITHIN).await;
        answer.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    };
    let models = list(ResourceType::DEVICE_MODEL).await?;
    let devices = list(ResourceType::DEVICE).await?;
    let held = bus.to(group::META).ask(ListHeld).within(ANSWER_WITHIN).await;
    let held = held.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let is_ours =
        |key: &ObjectKey| key.resource == ResourceType::DEVICE || key.resource == ResourceType::DEVICE_MODEL;
    let held = held.into_iter().map(|held| held.key).filter(is_ours).collect();
    Ok(All { models, devices, held })
}
