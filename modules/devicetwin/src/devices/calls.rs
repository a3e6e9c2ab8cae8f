//! Calls of local clients.

use protocol::DeviceId;
use protocol::device::payload::{
    BaseMessage, DeviceUpdate, Membership, Twin, TwinUpdate, TwinValue, Twins, read,
};
use protocol::device::{DeviceCall, LocalTopic, TwinError, TwinReported};
use store::Batch;

use super::{Devices, Outcome};
use crate::answers::{self, Moment, refusal};
use crate::layout::{self, DEVICES};
use crate::limits::{ALL_ATTRIBUTES_BYTES_MAX, ALL_TWINS_MAX, PAYLOAD_BYTES_MAX, TWINS_MAX};
use crate::twin::Effect;
use crate::validate::{self, NO_DEVICE, NO_TWIN, UNREADABLE, UNREADABLE_SYNC};
use crate::{attributes, sync, twin};

impl Devices {
    /// Does what a local client wants, or says why not.
    pub(crate) fn call(&mut self, call: &DeviceCall, payload: &[u8], moment: &Moment) -> Outcome {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return too_long(call, payload.len(), moment);
        }
        match call {
            DeviceCall::UpdateTwins(id) => self.update_twins(id, payload, moment),
            DeviceCall::SyncTwins(id) => self.sync_twins(id, payload, moment),
            DeviceCall::GetTwins(id) => self.get_twins(id, payload, moment),
            DeviceCall::UpdateState(id) => self.update_state(id, payload, moment),
            DeviceCall::UpdateAttributes(id) => self.update_attributes(id, payload, moment),
            DeviceCall::GetMembership => self.get_membership(payload, moment),
        }
    }

    fn update_twins(&mut self, id: &DeviceId, payload: &[u8], moment: &Moment) -> Outcome {
        let (event_id, request) = match read_twins(payload) {
            Ok(found) => found,
            Err(reason) => return unnamed(400, reason, moment),
        };
        match self.change_twins(id, &event_id, &request, moment) {
            Ok(outcome) => outcome,
            Err((code, reason)) => named(id, &event_id, (code, &reason), moment),
        }
    }

    /// Wants a value, as a local client does.
    pub(crate) fn desire(
        &mut self,
        (id, property, value): (&DeviceId, &str, &str),
        moment: &Moment,
    ) -> Result<Outcome, TwinError> {
        let expected = Some(TwinValue { value: Some(value.to_owned()), metadata: None });
        let request = Twins::from([(property.to_owned(), Some(Twin { expected, ..Twin::default() }))]);
        validate::check(&request).map_err(|reason| TwinError::Invalid(reason.to_owned()))?;
        if !self.devices.contains_key(id) {
            return Err(TwinError::NoDevice(id.clone()));
        }
        let event_id = moment.fresh.clone();
        self.change_twins(id, &event_id, &request, moment).map_err(|(_, reason)| TwinError::Invalid(reason))
    }

    pub(super) fn change_twins(
        &mut self,
        id: &DeviceId,
        event_id: &str,
        request: &Twins,
        moment: &Moment,
    ) -> Result<Outcome, (u16, String)> {
        let Some(device) = self.devices.get(id) else { return Err((404, NO_DEVICE.to_owned())) };
        let effect = twin::update(&device.twins, request, moment.at_ms);
        let mut effect = effect.map_err(|reason| (400, reason.to_owned()))?;
        self.check_room(id, &effect).map_err(|reason| (400, reason))?;
        let batch = self.apply(id, &effect);
        let result = LocalTopic::TwinResult(Some(id.clone()));
        let told = std::mem::take(&mut effect.result);
        let mut outcome = Outcome {
            batch,
            local: vec![answers::twins(result.clone(), event_id, moment.at_ms, told)],
            asker: Some((result, event_id.to_owned())),
            news: (!effect.upward.is_empty()).then(|| id.clone()),
            ..Outcome::default()
        };
        let reported = std::mem::take(&mut effect.reported).into_iter();
        let reported = reported.map(|(property, value)| TwinReported { device: id.clone(), property, value });
        outcome.reported.extend(reported);
        self.tell_changes(id, event_id, effect, moment, &mut outcome);
        Ok(outcome)
    }

    fn sync_twins(&mut self, id: &DeviceId, payload: &[u8], moment: &Moment) -> Outcome {
        let Ok((event_id, request)) = read_twins(payload) else {
            return unnamed(400, UNREADABLE_SYNC, moment);
        };
        let Some(device) = self.devices.get(id) else {
            return named(id, &event_id, (404, NO_DEVICE), moment);
        };
        let effect = match sync::sync(&device.twins, &request, moment.at_ms) {
            Ok(effect) => effect,
            Err(reason) => return unnamed(400, reason, moment),
        };
        if let Err(reason) = self.check_room(id, &effect) {
            return named(id, &event_id, (400, &reason), moment);
        }
        let batch = self.apply(id, &effect);
        let news = (!effect.upward.is_empty()).then(|| id.clone());
        let mut outcome = Outcome { batch, news, ..Outcome::default() };
        self.tell_changes(id, &event_id, effect, moment, &mut outcome);
        outcome
    }

    /// Adds what follows from a change of twins.
    pub(super) fn tell_changes(
        &self,
        id: &DeviceId,
        event_id: &str,
        effect: Effect,
        moment: &Moment,
        outcome: &mut Outcome,
    ) {
        outcome.local.extend(answers::document(id, event_id, moment.at_ms, effect.document));
        let device = self.devices.get(id);
        outcome.local.extend(device.and_then(|device| answers::delta(id, &device.twins, moment)));
    }

    pub(super) fn check_room(&self, id: &DeviceId, effect: &Effect) -> Result<(), String> {
        let Some(device) = self.devices.get(id) else { return Ok(()) };
        if !device.has_room(effect) {
            return Err(format!("a device has at most {TWINS_MAX} twins"));
        }
        let added = effect.written.keys().filter(|name| !device.twins.contains_key(*name)).count();
        if added > 0 && self.twins + added > ALL_TWINS_MAX {
            return Err(format!("the devices of a node have at most {ALL_TWINS_MAX} twins"));
        }
        Ok(())
    }

    fn get_twins(&self, id: &DeviceId, payload: &[u8], moment: &Moment) -> Outcome {
        let topic = LocalTopic::TwinGetResult(id.clone());
        let base: BaseMessage = match read(payload) {
            Ok(base) => base,
            Err(error) => {
                let reason = answers::unreadable("twin", payload, &error);
                return Outcome::told(refusal(topic, "", moment.at_ms, (400, &reason)));
            }
        };
        let Some(device) = self.devices.get(id) else {
            let reason = format!("Device {id} not found while getting twin");
            return Outcome::told(refusal(topic, &base.event_id, moment.at_ms, (404, &reason)));
        };
        let twins = answers::live(&device.twins);
        let asker = Some((topic.clone(), base.event_id.clone()));
        let local = answers::twins(topic, &base.event_id, moment.at_ms, twins);
        Outcome { asker, ..Outcome::told(local) }
    }

    fn update_state(&mut self, id: &DeviceId, payload: &[u8], moment: &Moment) -> Outcome {
        let Some(update) = read_device(id, payload) else { return Outcome::default() };
        match self.report_state(id, &update.state, moment) {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::debug!(device = %id, %error, "ignored the state of a device");
                Outcome::default()
            }
        }
    }

    fn update_attributes(&mut self, id: &DeviceId, payload: &[u8], moment: &Moment) -> Outcome {
        let Some(update) = read_device(id, payload) else { return Outcome::default() };
        let Some(device) = self.devices.get(id) else {
            tracing::debug!(device = %id, "ignored attributes of a device that is not of this node");
            return Outcome::default();
        };
        let (next, told) =
            attributes::update(&device.head.attributes, &update.attributes.unwrap_or_default());
        if told.is_empty() {
            return Outcome::default();
        }
        if let Some(excess) = attributes::excess(&next).or_else(|| self.attributes_excess(id, &next)) {
            tracing::warn!(device = %id, excess, "ignored attributes that are too much");
            return Outcome::default();
        }
        let Some(device) = self.devices.get_mut(id) else { return Outcome::default() };
        device.head.attributes = next;
        let told = DeviceUpdate {
            event_id: update.event_id,
            timestamp: moment.at_ms,
            state: String::new(),
            attributes: Some(told),
        };
        Outcome {
            batch: Batch::new().put(DEVICES, layout::device_key(id), layout::head(&device.head)),
            ..Outcome::told(answers::publish(LocalTopic::AttributesUpdated(id.clone()), &told))
        }
    }

    /// Says whether all attributes would be too much, were these a device's.
    fn attributes_excess(&self, id: &DeviceId, next: &attributes::Attributes) -> Option<String> {
        let others = self.devices.iter().filter(|(other, _)| *other != id);
        let others: usize = others.map(|(_, device)| attributes::size(&device.head.attributes)).sum();
        let bytes = others + attributes::size(next);
        (bytes > ALL_ATTRIBUTES_BYTES_MAX).then(|| {
            format!("the attributes of a node have at most {ALL_ATTRIBUTES_BYTES_MAX} bytes, and these make {bytes}")
        })
    }

    fn get_membership(&self, payload: &[u8], moment: &Moment) -> Outcome {
        let topic = LocalTopic::MembershipResult;
        let base: BaseMessage = match read(payload) {
            Ok(base) => base,
            Err(error) => {
                let reason = answers::unreadable("get membership", payload, &error);
                return Outcome::told(refusal(topic, "", moment.at_ms, (400, &reason)));
            }
        };
        let devices = self.devices.iter().map(|(id, device)| device.listed(id)).collect();
        let asker = Some((topic.clone(), base.event_id.clone()));
        let membership = Membership { event_id: base.event_id, timestamp: moment.at_ms, devices };
        Outcome { asker, ..Outcome::told(answers::publish(topic, &membership)) }
    }
}

/// Returns where a client that wants a change hears that the disk takes none, if it can hear it at all.
pub(crate) fn asker(call: &DeviceCall, payload: &[u8]) -> Option<(LocalTopic, String)> {
    let DeviceCall::UpdateTwins(id) = call else { return None };
    let base: BaseMessage = read(payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(payload)).unwrap_or_default();
    Some((LocalTopic::TwinResult(Some(id.clone())), base.event_id))
}

fn read_twins(payload: &[u8]) -> Result<(String, Twins), &'static str> {
    let update: TwinUpdate = read(payload).map_err(|_| UNREADABLE)?;
    let twins = update.twin.ok_or(NO_TWIN)?;
    validate::check(&twins)?;
    Ok((update.event_id, twins))
}

fn read_device(id: &DeviceId, payload: &[u8]) -> Option<DeviceUpdate> {
    match read(payload) {
        Ok(update) => Some(update),
        Err(error) => {
            tracing::warn!(device = %id, %error, "ignored an update of a device that cannot be read");
            None
        }
    }
}

/// Refuses what was not read far enough to know whose it is, as KubeEdge does.
fn unnamed(code: u16, reason: &str, moment: &Moment) -> Outcome {
    Outcome::told(refusal(LocalTopic::TwinResult(None), "", moment.at_ms, (code, reason)))
}

fn named(id: &DeviceId, event_id: &str, why: (u16, &str), moment: &Moment) -> Outcome {
    Outcome::told(refusal(LocalTopic::TwinResult(Some(id.clone())), event_id, moment.at_ms, why))
}

fn too_long(call: &DeviceCall, bytes: usize, moment: &Moment) -> Outcome {
    let reason = format!("the payload has {bytes} bytes, and at most {PAYLOAD_BYTES_MAX} are read");
    tracing::warn!(?call, bytes, "ignored a payload that is too long");
    let topic = match call {
        DeviceCall::UpdateTwins(id) | DeviceCall::SyncTwins(id) => LocalTopic::TwinResult(Some(id.clone())),
        DeviceCall::GetTwins(id) => LocalTopic::TwinGetResult(id.clone()),
        DeviceCall::GetMembership => LocalTopic::MembershipResult,
        DeviceCall::UpdateState(_) | DeviceCall::UpdateAttributes(_) => return Outcome::default(),
    };
    Outcome::told(refusal(topic, "", moment.at_ms, (400, &reason)))
}
