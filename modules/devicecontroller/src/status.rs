//! What the `DeviceStatus` of a device shows, and what a report makes of it.
//!
//! The shapes are those of KubeEdge 1.23: a twin has both of its values, empty ones where nothing is known,
//! and the metadata of a value are texts.

use std::collections::BTreeSet;

use protocol::device::payload::{DeviceState, Twin, TwinUpdate, TwinValue};
use serde_json::{Map, Value, json};

/// The part `status`, as the API has it; what others wrote there stays.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status(Map<String, Value>);

impl Status {
    /// Reads a `DeviceStatus` object.
    pub(crate) fn of(object: &Value) -> Self {
        Self(object["status"].as_object().cloned().unwrap_or_default())
    }

    #[cfg(test)]
    pub(crate) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Takes reported twins. Those that the device has no property of are left out.
    pub(crate) fn take_twins(&mut self, update: &TwinUpdate, properties: &BTreeSet<String>) {
        let mut twins = self.twins();
        for (name, twin) in update.twin.iter().flatten() {
            match twin {
                Some(twin) if properties.contains(name) => take_twin(&mut twins, name, twin),
                Some(_) => {}
                None => twins.retain(|held| held["propertyName"] != **name),
            }
        }
        twins.retain(|held| held["propertyName"].as_str().is_some_and(|name| properties.contains(name)));
        if !twins.is_empty() || self.0.contains_key("twins") {
            self.0.insert("twins".to_owned(), Value::Array(twins));
        }
    }

    /// Takes a reported state.
    pub(crate) fn take_state(&mut self, state: &DeviceState) {
        for (field, value) in [("state", &state.state), ("lastOnlineTime", &state.last_online_time)] {
            // A device that is not online was last online when it was shown to be.
            if !value.is_empty() {
                self.0.insert(field.to_owned(), json!(value));
            }
        }
    }

    /// Returns the merge patch that brings what the API has to this; `None` if that is the same.
    pub(crate) fn patch_from(&self, shown: &Self) -> Option<Value> {
        let fields = ["twins", "state", "lastOnlineTime"];
        let changed = fields.into_iter().filter(|field| self.0.get(*field) != shown.0.get(*field));
        let changed: Map<String, Value> = changed
            .map(|field| (field.to_owned(), self.0.get(field).cloned().unwrap_or(Value::Null)))
            .collect();
        (!changed.is_empty()).then(|| json!({ "status": changed }))
    }

    fn twins(&self) -> Vec<Value> {
        self.0.get("twins").and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

fn take_twin(twins: &mut Vec<Value>, name: &str, twin: &Twin) {
    let at = twins.iter().position(|held| held["propertyName"] == name).unwrap_or_else(|| {
        twins.push(json!({
            "propertyName": name, "reported": { "value": "" }, "observedDesired": { "value": "" },
        }));
        twins.len() - 1
    });
    let kind = twin.metadata.as_ref().map_or("", |metadata| metadata.kind.as_str());
    for (field, value) in [("reported", &twin.actual), ("observedDesired", &twin.expected)] {
        if let Some(shown) = value.as_ref().and_then(|value| shown(value, kind)) {
            twins[at][field] = shown;
        }
    }
}

fn shown(value: &TwinValue, kind: &str) -> Option<Value> {
    let text = value.value.as_ref()?;
    let mut metadata = Map::new();
    if let Some(at) = value.metadata.as_ref().and_then(|metadata| metadata.timestamp) {
        metadata.insert("timestamp".to_owned(), json!(at.to_string()));
    }
    if !kind.is_empty() {
        metadata.insert("type".to_owned(), json!(kind));
    }
    Some(match metadata.is_empty() {
        true => json!({ "value": text }),
        false => json!({ "value": text, "metadata": metadata }),
    })
}

#[cfg(test)]
mod tests {
    use protocol::device::payload::read;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn update(text: &str) -> TwinUpdate {
        read(text.as_bytes()).expect("an update")
    }

    fn empty() -> Status {
        Status::of(&json!({}))
    }

    #[test]
    fn reports_are_shown_as_kubeedge_shows_them() {
        let mut status = empty();
        let properties = names(&["temperature", "enable"]);
        status.take_twins(
            &update(r#"{"twin":{"temperature":{"actual":{"value":"26","metadata":{"timestamp":1795211919637}},"metadata":{"type":"int"}},"enable":{"expected":{"value":"on"}},"other":{"actual":{"value":"1"}}}}"#),
            &properties,
        );
        status.take_state(&DeviceState {
            name: "t".to_owned(),
            state: "online".to_owned(),
            last_online_time: "2026-11-20T21:58:41Z".to_owned(),
        });
        let expected = json!({
            "lastOnlineTime": "2026-11-20T21:58:41Z", "state": "online",
            "twins": [
                { "propertyName": "enable", "reported": { "value": "" }, "observedDesired": { "value": "on" } },
                { "propertyName": "temperature", "observedDesired": { "value": "" },
                  "reported": { "value": "26", "metadata": { "timestamp": "1795211919637", "type": "int" } } },
            ],
        });
        assert_eq!(status.value(), expected);
        assert_eq!(status.patch_from(&empty()), Some(json!({ "status": expected })));
        assert_eq!(status.patch_from(&status), None);
    }

    #[test]
    fn a_report_changes_what_it_speaks_of_and_nothing_else() {
        let shown = Status::of(&json!({ "status": {
            "extensions": { "a": 1 }, "state": "online", "lastOnlineTime": "then",
            "twins": [
                { "propertyName": "a", "reported": { "value": "1" }, "observedDesired": { "value": "2" }, "x": 1 },
                { "propertyName": "b", "reported": { "value": "3" }, "observedDesired": { "value": "" } },
                { "propertyName": "gone", "reported": { "value": "3" }, "observedDesired": { "value": "" } },
            ] } }));
        let mut status = shown.clone();
        let twins = r#"{"twin":{"a":{"actual":{"value":"5"}},"b":null}}"#;
        status.take_twins(&update(twins), &names(&["a", "b"]));
        status.take_state(&DeviceState { state: "offline".to_owned(), ..DeviceState::default() });
        assert_eq!(
            status.patch_from(&shown),
            Some(json!({ "status": {
                "state": "offline",
                "twins": [
                    { "propertyName": "a", "reported": { "value": "5" }, "observedDesired": { "value": "2" }, "x": 1 },
                ] } }))
        );
        assert_eq!(status.value()["extensions"], json!({ "a": 1 }));
        assert_eq!(status.value()["lastOnlineTime"], "then");
    }

    #[test]
    fn a_value_that_is_empty_is_a_value_and_one_that_is_absent_is_none() {
        let mut status = empty();
        let twins = r#"{"twin":{"a":{"actual":{"value":"1"},"expected":{"value":"2"}}}}"#;
        status.take_twins(&update(twins), &names(&["a"]));
        status.take_twins(&update(r#"{"twin":{"a":{"actual":{"value":""},"expected":{}}}}"#), &names(&["a"]));
        let twin = &status.value()["twins"][0];
        assert_eq!(
            (&twin["reported"]["value"], &twin["observedDesired"]["value"]),
            (&json!(""), &json!("2"))
        );
    }
}
