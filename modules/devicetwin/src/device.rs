//! A device, and what of it the cloud does not know yet.

use std::collections::BTreeMap;

use protocol::device::payload::{self, Attribute, DeviceState, StateReport, TwinUpdate};
use protocol::{DeviceId, NodeRequest};
use serde::{Deserialize, Serialize};

use crate::answers::{Moment, json};
use crate::limits::{REPORTED_AT_ONCE_MAX, TWINS_MAX};
use crate::twin::{Effect, Slot, Slots, is_deleted};

/// What is kept of a device beside its twins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Head {
    /// The uid of its object; empty if that is not known.
    pub(crate) uid: String,
    pub(crate) description: String,
    /// As it was reported.
    pub(crate) state: String,
    /// RFC 3339.
    pub(crate) last_online: String,
    pub(crate) attributes: BTreeMap<String, Attribute>,
    /// The number of the change that set the state.
    pub(crate) state_changed: u64,
    /// The values that its object wanted when they were last looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) desired: BTreeMap<String, String>,
}

/// Up to which change the cloud is known to have been told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) twins: u64,
    pub(crate) state: u64,
}

/// A device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    pub(crate) head: Head,
    pub(crate) twins: Slots,
    pub(crate) confirmed: Confirmed,
    /// The number of the last change that the cloud must hear of.
    pub(crate) changes: u64,
    /// Tells it from others that had its name while this process runs.
    pub(crate) incarnation: u64,
    /// Whether the last report was of its state.
    pub(crate) told_state: bool,
    /// Whether the log says already that the cloud refuses its reports.
    pub(crate) is_refused: bool,
}

/// What is said to the cloud, and what it then knows.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) request: NodeRequest,
    pub(crate) knows: Confirmed,
    pub(crate) incarnation: u64,
}

impl Device {
    /// Takes what was decided, and returns the names of twins that make room for others.
    pub(crate) fn take(&mut self, effect: &Effect) -> Vec<String> {
        let gone = self.make_room(effect);
        for (name, twin) in &effect.written {
            let slot = self.twins.entry(name.clone()).or_default();
            slot.twin.clone_from(twin);
            if effect.upward.contains(name) {
                self.changes += 1;
                slot.changed = self.changes;
            }
        }
        gone
    }

    /// Tells whether a device may hold what an effect writes.
    pub(crate) fn has_room(&self, effect: &Effect) -> bool {
        self.twins.len() + self.added(effect) <= TWINS_MAX + self.forgettable(effect).count()
    }

    fn added(&self, effect: &Effect) -> usize {
        effect.written.keys().filter(|name| !self.twins.contains_key(*name)).count()
    }

    /// Twins that were taken away, which the cloud knows.
    fn forgettable<'a>(&'a self, effect: &'a Effect) -> impl Iterator<Item = &'a String> {
        let ends = self.twins.iter().filter(move |(name, slot)| {
            is_deleted(&slot.twin)
                && slot.changed <= self.confirmed.twins
                && !effect.written.contains_key(*name)
        });
        ends.map(|(name, _)| name)
    }

    fn make_room(&mut self, effect: &Effect) -> Vec<String> {
        let excess = (self.twins.len() + self.added(effect)).saturating_sub(TWINS_MAX);
        let gone: Vec<String> = self.forgettable(effect).take(excess).cloned().collect();
        for name in &gone {
            self.twins.remove(name);
        }
        gone
    }

    pub(crate) const fn state_is_news(&self) -> bool {
        self.head.state_changed > self.confirmed.state
    }

    pub(crate) fn twins_are_news(&self) -> bool {
        self.twins.values().any(|slot| slot.changed > self.confirmed.twins)
    }

    pub(crate) fn is_news(&self) -> bool {
        self.state_is_news() || self.twins_are_news()
    }

    /// Returns what the cloud is to be told next: the state and the twins in turn.
    pub(crate) fn report(&mut self, id: &DeviceId, moment: &Moment) -> Option<Report> {
        let (state, twins) = (self.state_is_news(), self.twins_are_news());
        self.told_state = match (state, twins) {
            (false, false) => return None,
            (state, false) => state,
            (state, true) => state && !self.told_state,
        };
        Some(if self.told_state { self.state_report(id, moment) } else { self.twin_report(id, moment) })
    }

    fn state_report(&self, id: &DeviceId, moment: &Moment) -> Report {
        let report = json(&self.told_locally(id, moment));
        let knows = Confirmed { state: self.head.state_changed, ..self.confirmed };
        let request = NodeRequest::ReportDeviceState { device: id.clone(), report };
        Report { request, knows, incarnation: self.incarnation }
    }

    /// Returns the state as local clients and the cloud are told it.
    pub(crate) fn told_locally(&self, id: &DeviceId, moment: &Moment) -> StateReport {
        let device = DeviceState {
            name: id.name.to_string(),
            state: self.head.state.clone(),
            last_online_time: self.head.last_online.clone(),
        };
        StateReport { event_id: moment.fresh.clone(), timestamp: moment.at_ms, device }
    }

    /// Tells the twins that changed, those first that changed first, so that one number says up to
    /// which the cloud knows them.
    fn twin_report(&self, id: &DeviceId, moment: &Moment) -> Report {
        let news = self.twins.iter().filter(|(_, slot)| slot.changed > self.confirmed.twins);
        let mut news: Vec<(&String, &Slot)> = news.collect();
        news.sort_by_key(|(_, slot)| slot.changed);
        news.truncate(REPORTED_AT_ONCE_MAX);
        let last = news.last().map_or(self.confirmed.twins, |(_, slot)| slot.changed);
        let twin = news.into_iter().map(|(name, slot)| (name.clone(), Some(slot.twin.clone()))).collect();
        let update = TwinUpdate { event_id: moment.fresh.clone(), timestamp: moment.at_ms, twin: Some(twin) };
        let request = NodeRequest::ReportTwins { device: id.clone(), report: json(&update) };
        let knows = Confirmed { twins: last, ..self.confirmed };
        Report { request, knows, incarnation: self.incarnation }
    }

    /// Notes what the cloud knows.
    pub(crate) fn confirm(&mut self, knows: Confirmed) {
        self.confirmed.twins = self.confirmed.twins.max(knows.twins);
        self.confirmed.state = self.confirmed.state.max(knows.state);
    }

    /// Returns the device as membership messages list it.
    pub(crate) fn listed(&self, id: &DeviceId) -> payload::Device {
        payload::Device {
            id: id.to_string(),
            name: id.name.to_string(),
            description: self.head.description.clone(),
            state: self.head.state.clone(),
            last_online: self.head.last_online.clone(),
            attributes: self.head.attributes.clone(),
        }
    }
}
