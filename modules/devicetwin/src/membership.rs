//! Which devices the node has, as the metadata manager knows it.
//!
//! Changes are published. What happened while this module did not run is found by comparing at its start
//! and whenever the store was opened anew.

use std::collections::BTreeSet;
use std::time::Duration;

use beehive::{Context, Failure, Handler, Message};
use protocol::edge::{ListHeld, ListObjects, ObjectChanged};
use protocol::{ChangeKind, DeviceId, Object, ResourceType, group};

use crate::DeviceTwin;
use crate::devices::{Described, Outcome};
use crate::keeper::Asker;

const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The pause before the metadata manager is asked again: the shortest, and as much again at random.
const PAUSE: Duration = Duration::from_secs(2);

/// It is time to compare.
#[derive(Debug, Clone, Message)]
pub(crate) struct Compare;

/// The devices whose objects can be read.
#[derive(Debug, Message)]
pub(crate) struct Listed(Result<Vec<Object>, String>);

/// Those of the devices that are not among them of which the metadata manager holds nothing at all.
#[derive(Debug, Message)]
pub(crate) struct Absent(Result<Vec<DeviceId>, String>);

impl Handler<ObjectChanged> for DeviceTwin {
    async fn handle(
        &mut self,
        ObjectChanged(change): ObjectChanged,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let Some(id) = DeviceId::of(&change.key) else { return Ok(()) };
        self.read_anew(cx).await?;
        let described = Described::of(&change.object);
        match change.kind {
            ChangeKind::Insert | ChangeKind::Update => self.appear(&id, described, cx).await,
            ChangeKind::Delete => self.vanish(&id, &described.uid, cx).await,
        }
        self.report_due(cx);
        Ok(())
    }
}

impl Handler<Compare> for DeviceTwin {
    async fn handle(&mut self, _: Compare, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.compare(cx);
        Ok(())
    }
}

impl Handler<Listed> for DeviceTwin {
    async fn handle(&mut self, Listed(listed): Listed, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.read_anew(cx).await?;
        let objects = match listed {
            Ok(objects) => objects,
            Err(error) => {
                self.compare_later(&error, cx);
                return Ok(());
            }
        };
        let mut found = BTreeSet::new();
        for object in objects {
            let Ok(key) = object.key(ResourceType::DEVICE) else { continue };
            let Some(id) = DeviceId::of(&key) else { continue };
            self.appear(&id, Described::of(&object), cx).await;
            found.insert(id);
        }
        let absent: Vec<DeviceId> = self.devices.ids().filter(|id| !found.contains(*id)).cloned().collect();
        if !absent.is_empty() {
            Self::ask_absent(absent, cx);
        }
        self.report_due(cx);
        Ok(())
    }
}

impl Handler<Absent> for DeviceTwin {
    async fn handle(&mut self, Absent(absent): Absent, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.read_anew(cx).await?;
        match absent {
            Ok(absent) => {
                for id in absent {
                    self.vanish(&id, "", cx).await;
                }
            }
            Err(error) => self.compare_later(&error, cx),
        }
        Ok(())
    }
}

impl DeviceTwin {
    /// Asks the metadata manager for the devices of the node.
    pub(crate) fn compare(&self, cx: &mut Context<Self>) {
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let question = ListObjects(ResourceType::DEVICE);
            let answer = bus.to(group::META).ask(question).within(ANSWER_WITHIN).await;
            let listed = flat(answer);
            if me.send(Listed(listed)).await.is_err() {
                tracing::debug!("the device twins stopped before they could hear of the devices");
            }
        });
    }

    /// Asks whether devices are held that cannot be read: such a device is there all the same.
    fn ask_absent(absent: Vec<DeviceId>, cx: &mut Context<Self>) {
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let held = flat(bus.to(group::META).ask(ListHeld).within(ANSWER_WITHIN).await);
            let absent = held.map(|held| {
                let held: BTreeSet<DeviceId> = held.iter().filter_map(|it| DeviceId::of(&it.key)).collect();
                absent.into_iter().filter(|id| !held.contains(id)).collect()
            });
            if me.send(Absent(absent)).await.is_err() {
                tracing::debug!("the device twins stopped before they could hear of the devices");
            }
        });
    }

    fn compare_later(&self, error: &str, cx: &mut Context<Self>) {
        let pause = PAUSE + PAUSE.mul_f64(rand::Rng::random(cx.rng()));
        tracing::debug!(error, ?pause, "the devices of the node are not known yet");
        cx.after(pause, Compare);
    }

    async fn appear(&mut self, id: &DeviceId, described: Described, cx: &mut Context<Self>) {
        // After a failure all is compared anew.
        if self.keeper.has_failed() {
            return;
        }
        let moment = Self::moment(cx);
        let incarnation = self.devices.incarnation(id);
        let Some(outcome) = self.devices.appear(id, described, &moment) else { return };
        if incarnation.is_some() && self.devices.incarnation(id) != incarnation {
            self.reporter.forget(id);
        }
        self.keep_membership(outcome, moment.at_ms, cx).await;
    }

    async fn vanish(&mut self, id: &DeviceId, uid: &str, cx: &mut Context<Self>) {
        if self.keeper.has_failed() {
            return;
        }
        let moment = Self::moment(cx);
        let Some(outcome) = self.devices.vanish(id, uid, &moment) else { return };
        self.reporter.forget(id);
        self.keep_membership(outcome, moment.at_ms, cx).await;
    }

    async fn keep_membership(&mut self, outcome: Outcome, at_ms: i64, cx: &mut Context<Self>) {
        if let Some(news) = &outcome.news {
            self.reporter.changed(news, cx.now());
        }
        if let Some(place) = self.keeper.wait_for_place().await {
            self.keeper.keep(place, outcome, Asker::Nobody, at_ms);
        }
    }
}

fn flat<T, E: ToString, F: ToString>(answer: Result<Result<T, E>, F>) -> Result<T, String> {
    match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
