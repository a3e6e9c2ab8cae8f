//! The values that a device's object wants of its properties.
//!
//! They are what KubeEdge's v1beta1 devices have under `spec.properties[].desired`. KubeEdge's edge hands
//! them to mappers only; here they are wanted of the twins too, so that clients of MQTT read them as they
//! did from KubeEdge's v1alpha2 devices.

use std::collections::BTreeMap;

use protocol::Object;
use protocol::device::payload::{Twin, TwinVersion};
use serde::Deserialize;

use crate::limits::TWINS_MAX;
use crate::twin::{Effect, Slots, is_deleted, kind_of, meta, set};
use crate::validate::{BAD_KEY, DELETED, KEY_BYTES_MAX, KINDS, STRING, VALUE_BYTES_MAX, check_type, is_word};

/// A value that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Want {
    /// Empty if nothing is: so a manifest only says that there is such a twin.
    value: String,
    /// The type of the twin, if there is none yet.
    kind: &'static str,
}

/// What an object wants of its device, by property.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Desired(BTreeMap<String, Want>);

/// The part of a device's object that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    properties: Vec<Property>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Property {
    name: String,
    desired: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Value {
    value: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Desired {
    /// Reads what an object wants. One that is not a device as the API describes it wants nothing.
    pub(crate) fn of(object: &Object) -> Self {
        let manifest: Manifest = object.view().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read what a device's object wants of it");
            Manifest::default()
        });
        let wants = manifest.spec.properties.into_iter().filter_map(|property| {
            let Value { value, metadata } = property.desired?;
            let value = value.unwrap_or_default();
            let named = metadata.get("type").map_or(STRING, String::as_str).to_ascii_lowercase();
            let kind = KINDS.into_iter().find(|kind| *kind == named).unwrap_or(STRING);
            Some((property.name, Want { value, kind }))
        });
        Self(wants.take(TWINS_MAX).collect())
    }

    /// Returns the values.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, want)| (name.clone(), want.value.clone())).collect()
    }

    /// Says what it does to a device's twins that these values are wanted instead of those before, and
    /// which properties cannot have their value, and why.
    pub(crate) fn effect(
        &self,
        before: &BTreeMap<String, String>,
        held: &Slots,
        at_ms: i64,
    ) -> (Effect, Vec<(String, &'static str)>) {
        let (mut effect, mut refused) = (Effect::default(), Vec::new());
        for (name, want) in &self.0 {
            if before.get(name) == Some(&want.value) {
                continue;
            }
            let twin = held.get(name).map(|slot| &slot.twin);
            match wanting(name, twin, want, at_ms) {
                Ok(next) if twin == Some(&next) => {}
                Ok(next) => note(&mut effect, name, twin, &next),
                Err(cause) => refused.push((name.clone(), cause)),
            }
        }
        let ends = before.keys().filter(|name| !self.0.contains_key(*name));
        for (name, twin) in ends.filter_map(|name| Some((name, &held.get(name)?.twin))) {
            if !is_deleted(twin) && twin.expected.is_some() {
                let mut next = wanting_nothing(twin);
                if next.actual.is_none() {
                    next.metadata = meta(DELETED);
                }
                note(&mut effect, name, Some(twin), &next);
            }
        }
        (effect, refused)
    }
}

/// Notes a change. The cloud hears of values and their versions only.
fn note(effect: &mut Effect, name: &str, last: Option<&Twin>, next: &Twin) {
    effect.change(name, last, next);
    if next.expected_version != last.and_then(|last| last.expected_version) {
        effect.upward.insert(name.to_owned());
    }
}

/// Returns the version after a change of the cloud's.
fn bumped(version: Option<TwinVersion>) -> Option<TwinVersion> {
    let TwinVersion { cloud, edge } = version.unwrap_or_default();
    Some(TwinVersion { cloud: cloud.saturating_add(1), edge })
}

/// Returns a twin of which a value is wanted. The letters of the value are the manifest's business; those
/// of the name are held to what clients can say.
fn wanting(name: &str, twin: Option<&Twin>, want: &Want, at_ms: i64) -> Result<Twin, &'static str> {
    if !is_word(name, KEY_BYTES_MAX) {
        return Err(BAD_KEY);
    }
    if want.value.len() > VALUE_BYTES_MAX {
        return Err("the value has more than 512 bytes");
    }
    let live = twin.filter(|twin| !is_deleted(twin));
    if want.value.is_empty() {
        // The versions of one that was taken away go on.
        let new = || Twin {
            optional: Some(true),
            metadata: meta(want.kind),
            expected_version: twin.and_then(|twin| twin.expected_version),
            actual_version: twin.and_then(|twin| twin.actual_version),
            ..Twin::default()
        };
        return Ok(match live {
            None => new(),
            Some(twin) if twin.expected.is_none() => twin.clone(),
            Some(twin) => wanting_nothing(twin),
        });
    }
    let kind = live.map_or(want.kind, kind_of);
    check_type(kind, &want.value)?;
    let optional = twin.and_then(|twin| twin.optional).or(Some(true));
    Ok(Twin {
        expected: set(&want.value, at_ms),
        expected_version: bumped(twin.and_then(|twin| twin.expected_version)),
        metadata: live.map_or_else(|| meta(kind), |twin| twin.metadata.clone()),
        optional,
        ..twin.cloned().unwrap_or_default()
    })
}

/// Returns a twin of which nothing is wanted any more.
fn wanting_nothing(twin: &Twin) -> Twin {
    Twin { expected: None, expected_version: bumped(twin.expected_version), ..twin.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::twin::Slot;

    fn desired(properties: &serde_json::Value) -> Desired {
        let metadata = json!({ "name": "t1", "namespace": "default" });
        let object = json!({ "metadata": metadata, "spec": { "properties": properties } });
        Desired::of(&Object::from_value(&object).expect("an object"))
    }

    fn slots(twins: &BTreeMap<String, Twin>) -> Slots {
        let slots = twins.iter().map(|(name, twin)| (name.clone(), Slot { twin: twin.clone(), changed: 0 }));
        slots.collect()
    }

    fn one(value: &str) -> Desired {
        desired(&json!([{ "name": "fan", "desired": { "value": value } }]))
    }

    #[test]
    fn values_and_their_types_are_read() {
        let read = desired(&json!([
            { "name": "fan", "desired": { "value": "on", "metadata": { "type": "INT", "timestamp": "1" } } },
            { "name": "led", "desired": { "value": "a b", "metadata": { "type": "colour" } } },
            { "name": "door", "desired": { "value": "" } },
            { "name": "temp", "visitors": { "protocolName": "x" } },
        ]));
        let want = |value: &str, kind| Want { value: value.to_owned(), kind };
        let expect =
            [("fan", want("on", "int")), ("led", want("a b", "string")), ("door", want("", "string"))];
        assert_eq!(read, Desired(expect.map(|(name, want)| (name.to_owned(), want)).into()));
        assert_eq!(desired(&json!("none")), Desired::default());
    }

    #[test]
    fn a_twin_has_what_is_wanted_and_a_version_that_says_that_the_cloud_did_it() {
        let (effect, refused) = one("on").effect(&BTreeMap::new(), &Slots::new(), 5);
        assert_eq!(refused, []);
        let twin = &effect.written["fan"];
        assert_eq!((twin.expected.clone(), twin.actual.clone()), (set("on", 5), None));
        assert_eq!(twin.expected_version, Some(TwinVersion { cloud: 1, edge: 0 }));
        assert_eq!((twin.metadata.clone(), twin.optional), (meta("string"), Some(true)));
        assert!(effect.upward.contains("fan") && effect.document["fan"].last.is_none());
        let held = slots(&effect.written);
        let (effect, _) = one("on").effect(&one("on").values(), &held, 6);
        assert_eq!(effect, Effect::default(), "it is no news");
        let (effect, _) = one("off").effect(&one("on").values(), &held, 7);
        assert_eq!(effect.written["fan"].expected_version, Some(TwinVersion { cloud: 2, edge: 0 }));
    }

    #[test]
    fn an_empty_value_makes_a_twin_of_its_type_and_wants_nothing() {
        let empty =
            desired(&json!([{ "name": "fan", "desired": { "value": "", "metadata": { "type": "int" } } }]));
        let (effect, _) = empty.effect(&BTreeMap::new(), &Slots::new(), 1);
        let twin = Twin { optional: Some(true), metadata: meta("int"), ..Twin::default() };
        assert_eq!(effect.written["fan"], twin);
        assert!(effect.upward.is_empty(), "there is no value that the cloud could show");
        let (effect, _) = empty.effect(&BTreeMap::new(), &slots(&effect.written), 2);
        assert_eq!(effect, Effect::default());
        let twin = Twin { expected: set("5", 1), expected_version: bumped(None), ..twin };
        let (effect, _) =
            empty.effect(&one("5").values(), &slots(&BTreeMap::from([("fan".to_owned(), twin)])), 3);
        let next = &effect.written["fan"];
        assert_eq!((next.expected.clone(), next.metadata.clone()), (None, meta("int")), "the twin stays");
        assert!(effect.upward.contains("fan"));
    }

    #[test]
    fn what_is_wanted_no_more_leaves_what_was_reported() {
        let twin = Twin {
            expected: set("on", 1),
            actual: set("off", 1),
            metadata: meta("string"),
            ..Twin::default()
        };
        let held = slots(&BTreeMap::from([("fan".to_owned(), twin.clone())]));
        let (effect, _) = Desired::default().effect(&one("on").values(), &held, 2);
        let next = &effect.written["fan"];
        assert_eq!((next.expected.clone(), next.actual.clone()), (None, set("off", 1)));
        let only = Twin { actual: None, ..twin };
        let held = slots(&BTreeMap::from([("fan".to_owned(), only)]));
        let (effect, _) = Desired::default().effect(&one("on").values(), &held, 2);
        assert!(is_deleted(&effect.written["fan"]));
        assert_eq!(effect.document["fan"].current, None);
    }

    #[test]
    fn what_cannot_be_wanted_is_refused_and_the_others_are_wanted() {
        let twin = Twin { actual: set("5", 1), metadata: meta("int"), ..Twin::default() };
        let held = slots(&BTreeMap::from([("speed".to_owned(), twin)]));
        let wanted = desired(&json!([
            { "name": "speed", "desired": { "value": "fast" } },
            { "name": "a b", "desired": { "value": "1" } },
            { "name": "long", "desired": { "value": "x".repeat(513) } },
            { "name": "fan", "desired": { "value": "{\"on\": true}" } },
        ]));
        let (effect, refused) = wanted.effect(&BTreeMap::new(), &held, 2);
        assert_eq!(effect.written.keys().collect::<Vec<_>>(), ["fan"]);
        let refused: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(refused, ["a b", "long", "speed"]);
    }
}
