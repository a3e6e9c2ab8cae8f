//! What local clients read.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::DeviceId;
use protocol::device::payload::{Refusal, TwinDelta, TwinDocument, TwinPast, TwinUpdate, Twins};
use protocol::device::{LocalTopic, PublishLocal};
use serde::Serialize;

use crate::twin::{Slots, is_deleted, shown};

/// When something is done, and a name that nothing had before.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Milliseconds of Unix time.
    pub(crate) at_ms: i64,
    /// A random UUID.
    pub(crate) fresh: String,
}

/// The bytes of text that are repeated to whoever sent it.
const REPEATED_BYTES_MAX: usize = 256;

/// Makes a message to local clients.
pub(crate) fn publish<T: Serialize>(topic: LocalTopic, payload: &T) -> PublishLocal {
    PublishLocal { topic, payload: json(payload) }
}

pub(crate) fn json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("its keys are texts, and memory takes all").into()
}

pub(crate) fn refusal(
    topic: LocalTopic,
    event_id: &str,
    at_ms: i64,
    (code, reason): (u16, &str),
) -> PublishLocal {
    let refusal =
        Refusal { event_id: event_id.to_owned(), timestamp: at_ms, code, reason: reason.to_owned() };
    publish(topic, &refusal)
}

/// Says that a question could not be read, as KubeEdge does: with the question.
pub(crate) fn unreadable(what: &str, payload: &[u8], error: &serde_json::Error) -> String {
    let text = String::from_utf8_lossy(payload.get(..REPEATED_BYTES_MAX).unwrap_or(payload));
    format!("Unmarshal {what} info {text} failed , err: {error}")
}

/// Returns all twins that were not taken away.
pub(crate) fn live(slots: &Slots) -> Twins {
    slots.iter().filter_map(|(name, slot)| Some((name.clone(), Some(shown(&slot.twin)?)))).collect()
}

pub(crate) fn twins(topic: LocalTopic, event_id: &str, at_ms: i64, twins: Twins) -> PublishLocal {
    publish(topic, &TwinUpdate { event_id: event_id.to_owned(), timestamp: at_ms, twin: Some(twins) })
}

pub(crate) fn document(
    device: &DeviceId,
    event_id: &str,
    at_ms: i64,
    twin: BTreeMap<String, TwinPast>,
) -> Option<PublishLocal> {
    let document = TwinDocument { event_id: event_id.to_owned(), timestamp: at_ms, twin };
    (!document.twin.is_empty()).then(|| publish(LocalTopic::TwinDocument(device.clone()), &document))
}

/// Says what is wanted and not reported, if anything is.
pub(crate) fn delta(device: &DeviceId, slots: &Slots, moment: &Moment) -> Option<PublishLocal> {
    let mut delta = BTreeMap::new();
    for (name, slot) in slots.iter().filter(|(_, slot)| !is_deleted(&slot.twin)) {
        let value = |half: &Option<protocol::device::payload::TwinValue>| {
            half.as_ref().and_then(|half| half.value.clone()).unwrap_or_default()
        };
        let expected = value(&slot.twin.expected);
        if !expected.is_empty() && expected != value(&slot.twin.actual) {
            delta.insert(name.clone(), expected);
        }
    }
    if delta.is_empty() {
        return None;
    }
    let wanted = live(slots).into_iter().filter(|(_, twin)| {
        let expected = twin.as_ref().and_then(|twin| twin.expected.as_ref()?.value.as_deref());
        expected.is_some_and(|value| !value.is_empty())
    });
    let delta =
        TwinDelta { event_id: moment.fresh.clone(), timestamp: moment.at_ms, twin: wanted.collect(), delta };
    Some(publish(LocalTopic::TwinDelta(device.clone()), &delta))
}
