//! Telling mappers what they are to know.

use beehive::{Context, Failure, Handler, Message};
use dmi_proto::v1beta1::{
    CreateDeviceModelRequest, RegisterDeviceRequest, RemoveDeviceModelRequest, RemoveDeviceRequest,
    UpdateDeviceModelRequest, UpdateDeviceRequest,
};
use protocol::{Namespace, ObjectKey, ResourceType};
use store::Batch;
use tokio::time::Instant;

use crate::Dmi;
use crate::inventory::Inventory;
use crate::line::{End, Line, Step, Verb};
use crate::mapper;
use crate::ports::{CallError, MapperCall};

/// A call may begin.
#[derive(Debug, Clone, Message)]
pub(crate) struct Due;

/// A call ended.
#[derive(Debug, Message)]
pub(crate) struct Ended {
    protocol: String,
    generation: u64,
    step: Step,
    done: Result<(), CallError>,
}

impl Handler<Due> for Dmi {
    async fn handle(&mut self, _: Due, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.wake = None;
        self.tell_due(cx);
        Ok(())
    }
}

impl Handler<Ended> for Dmi {
    async fn handle(&mut self, ended: Ended, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Ended { protocol, generation, step, done } = ended;
        let roll = rand::Rng::random(cx.rng());
        // A mapper that registered meanwhile has its own calls.
        let line = self.lines.get_mut(&protocol).filter(|line| line.generation == generation);
        let Some(line) = line else { return Ok(()) };
        let end = line.finished(&step, &done, cx.now(), roll);
        log(line, &step, &end, &done);
        let key = &step.key;
        let batch = match (end, step.state) {
            (End::Told, Some(state)) => mapper::put_told(Batch::new(), &protocol, key, state),
            (End::Told | End::GivenUp, None) => mapper::remove_told(Batch::new(), &protocol, key),
            _ => Batch::new(),
        };
        self.note(batch, cx);
        self.tell_due(cx);
        Ok(())
    }
}

fn log(line: &Line, step: &Step, end: &End, done: &Result<(), CallError>) {
    let (mapper, object, verb) = (&line.mapper.name, &step.key, step.verb);
    let cause = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
    match end {
        End::Told if done.is_err() => {
            tracing::warn!(mapper, %object, ?verb, cause, "a mapper cannot be told of an object");
        }
        End::Told => tracing::debug!(mapper, %object, ?verb, "a mapper was told of an object"),
        End::Away { is_new: true } => tracing::warn!(
            mapper,
            due = line.due(),
            cause,
            "a mapper is away and is told of its devices when it is back"
        ),
        End::Away { is_new: false } => {
            tracing::debug!(mapper, due = line.due(), cause, "a mapper is still away")
        }
        End::Refused => tracing::warn!(mapper, %object, ?verb, cause, "a mapper refused and is asked again"),
        End::GivenUp => tracing::error!(
            mapper, %object, ?verb, cause, "a mapper refuses an object until that changes or the mapper restarts"
        ),
    }
}

impl Dmi {
    /// Begins the calls that may begin.
    pub(crate) fn tell_due(&mut self, cx: &mut Context<Self>) {
        let Some(mappers) = self.ports.mappers.clone() else { return };
        let now = cx.now();
        for (protocol, line) in &mut self.lines {
            let Some((step, call)) = next(line, now, &self.inventory) else { continue };
            let (mappers, me) = (mappers.clone(), cx.me());
            let (protocol, generation) = (protocol.clone(), line.generation);
            let (address, timeout) = (line.mapper.address.clone(), self.config.call_timeout);
            cx.spawn(async move {
                let done = mappers.call(&address, call, timeout).await;
                if me.send(Ended { protocol, generation, step, done }).await.is_err() {
                    tracing::debug!("the module stopped before a mapper had answered");
                }
            });
        }
        let wake = self.lines.values().filter_map(Line::wake).min();
        self.wake_at(wake, cx);
    }

    fn wake_at(&mut self, at: Option<Instant>, cx: &mut Context<Self>) {
        if self.wake.map(|(set, _)| set) == at {
            return;
        }
        if let Some((_, timer)) = self.wake.take() {
            cx.cancel(timer);
        }
        self.wake = at.map(|at| (at, cx.after(at.saturating_duration_since(cx.now()), Due)));
    }
}

fn next(line: &mut Line, now: Instant, inventory: &Inventory) -> Option<(Step, MapperCall)> {
    let step = line.next(now, inventory)?;
    let call = call(&step, inventory);
    if call.is_none() {
        // It is only chosen if it is there.
        tracing::error!(object = %step.key, "an object that is to be told is not there");
    }
    Some((step, call?))
}

fn call(step: &Step, inventory: &Inventory) -> Option<MapperCall> {
    let key = &step.key;
    let is_model = key.resource == ResourceType::DEVICE_MODEL;
    Some(match (step.verb, is_model) {
        (Verb::Create, true) => {
            MapperCall::CreateModel(CreateDeviceModelRequest { model: Some(inventory.model(key)?) })
        }
        (Verb::Update, true) => {
            MapperCall::UpdateModel(UpdateDeviceModelRequest { model: Some(inventory.model(key)?) })
        }
        (Verb::Create, false) => {
            MapperCall::RegisterDevice(RegisterDeviceRequest { device: Some(inventory.device(key)?) })
        }
        (Verb::Update, false) => {
            MapperCall::UpdateDevice(UpdateDeviceRequest { device: Some(inventory.device(key)?) })
        }
        (Verb::Remove, true) => MapperCall::RemoveModel(RemoveDeviceModelRequest {
            model_name: key.name.to_string(),
            model_namespace: namespace(key),
        }),
        (Verb::Remove, false) => MapperCall::RemoveDevice(RemoveDeviceRequest {
            device_name: key.name.to_string(),
            device_namespace: namespace(key),
        }),
    })
}

fn namespace(key: &ObjectKey) -> String {
    key.namespace.as_ref().map(Namespace::to_string).unwrap_or_default()
}
