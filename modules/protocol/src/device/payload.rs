//! The JSON of device messages, as KubeEdge's edge writes and reads it (`edge/pkg/devicetwin/dttype`).
//!
//! Go matches the names of fields whatever their case, but never those of twins and attributes: so does
//! [`read`]. What is absent is not written, unless it says so.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A value of a twin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinValue {
    /// The value, always a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ValueMeta>,
}

/// What is said about a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueMeta {
    /// Milliseconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
}

/// What is said about a twin or an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeMeta {
    /// `string`, `int`, `integer`, `float`, `boolean`, or `deleted`.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// How often each side has changed a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinVersion {
    /// By the cloud.
    #[serde(default)]
    pub cloud: i64,
    /// By the edge.
    #[serde(default)]
    pub edge: i64,
}

/// A twin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// The value that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<TwinValue>,
    /// The value that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<TwinValue>,
    /// Whether it may be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TypeMeta>,
    /// The version of the value that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<TwinVersion>,
    /// The version of the reported value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_version: Option<TwinVersion>,
}

/// Twins by name; `None` takes one away.
pub type Twins = BTreeMap<String, Option<Twin>>;

/// What every message has, and all that a question has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseMessage {
    /// Names the request; an answer repeats it.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
}

/// A change of twins, its result, and the edge's report to the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinUpdate {
    /// Names the request; an answer repeats it.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
    /// The twins; a request without them is refused.
    pub twin: Option<Twins>,
}

/// What is wanted and not reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinDelta {
    /// Names this message.
    pub event_id: String,
    /// Milliseconds of Unix time.
    pub timestamp: i64,
    /// Every twin of which a value is wanted.
    pub twin: Twins,
    /// The values that are wanted and not reported.
    pub delta: BTreeMap<String, String>,
}

/// A twin before and after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinPast {
    /// Before; written as `null` when there was none.
    pub last: Option<Twin>,
    /// After; written as `null` when there is none.
    pub current: Option<Twin>,
}

/// Twins before and after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinDocument {
    /// Names the request.
    pub event_id: String,
    /// Milliseconds of Unix time.
    pub timestamp: i64,
    /// The twins that changed.
    pub twin: BTreeMap<String, TwinPast>,
}

/// An attribute of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its value, always written.
    #[serde(default)]
    pub value: String,
    /// Whether it may be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TypeMeta>,
}

/// A device, as membership messages list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The state as it was reported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// RFC 3339, in seconds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_online: String,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
}

/// Which devices a node has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Names the request.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
    /// The devices.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// Devices came or went. The half that is missing is written as `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipUpdate {
    /// Names this message.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
    /// Devices that are new.
    pub added_devices: Option<Vec<Device>>,
    /// Devices that are gone.
    pub removed_devices: Option<Vec<Device>>,
}

/// A change of a device's state or attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUpdate {
    /// Names the request.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
    /// The state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// The attributes; `None` takes one away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, Option<Attribute>>>,
}

/// The state of a device, told to local clients and to the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Names this message.
    #[serde(default)]
    pub event_id: String,
    /// Milliseconds of Unix time.
    #[serde(default)]
    pub timestamp: i64,
    /// The device.
    pub device: DeviceState,
}

/// The state of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its name, without its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The state as it was reported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// RFC 3339, in seconds.
    #[serde(default, rename = "lastOnlineTime", skip_serializing_if = "String::is_empty")]
    pub last_online_time: String,
}

/// A request was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Names the request, where that could be read.
    pub event_id: String,
    /// Milliseconds of Unix time.
    pub timestamp: i64,
    /// 400, 404 or 500.
    pub code: u16,
    /// Why.
    pub reason: String,
}

/// The names of the fields of a JSON object, and what lies under them.
#[derive(Debug)]
pub enum Shape {
    /// Whatever it is, its names are left as they are.
    Plain,
    /// An object with these fields.
    Fields(&'static [(&'static str, Shape)]),
    /// An object with names of the users' own, each over the same.
    Named(&'static Shape),
    /// A list of the same.
    List(&'static Shape),
}

use Shape::{Fields, List, Named, Plain};

const VALUE: Shape = Fields(&[("value", Plain), ("metadata", Fields(&[("timestamp", Plain)]))]);
const TYPE: Shape = Fields(&[("type", Plain)]);
const VERSION: Shape = Fields(&[("cloud", Plain), ("edge", Plain)]);
const TWIN: Shape = Fields(&[
    ("expected", VALUE),
    ("actual", VALUE),
    ("optional", Plain),
    ("metadata", TYPE),
    ("expected_version", VERSION),
    ("actual_version", VERSION),
]);
const ATTRIBUTES: Shape = Named(&Fields(&[("value", Plain), ("optional", Plain), ("metadata", TYPE)]));
const DEVICE: Shape = Fields(&[
    ("id", Plain),
    ("name", Plain),
    ("description", Plain),
    ("state", Plain),
    ("last_online", Plain),
    ("attributes", ATTRIBUTES),
]);

/// A payload that is read.
pub trait Payload: DeserializeOwned {
    /// The names of its fields.
    const SHAPE: Shape;
}

impl Payload for BaseMessage {
    const SHAPE: Shape = Fields(&[("event_id", Plain), ("timestamp", Plain)]);
}

impl Payload for TwinUpdate {
    const SHAPE: Shape = Fields(&[("event_id", Plain), ("timestamp", Plain), ("twin", Named(&TWIN))]);
}

impl Payload for DeviceUpdate {
    const SHAPE: Shape =
        Fields(&[("event_id", Plain), ("timestamp", Plain), ("state", Plain), ("attributes", ATTRIBUTES)]);
}

impl Payload for Membership {
    const SHAPE: Shape = Fields(&[("event_id", Plain), ("timestamp", Plain), ("devices", List(&DEVICE))]);
}

impl Payload for MembershipUpdate {
    const SHAPE: Shape = Fields(&[
        ("event_id", Plain),
        ("timestamp", Plain),
        ("added_devices", List(&DEVICE)),
        ("removed_devices", List(&DEVICE)),
    ]);
}

impl Payload for StateReport {
    const SHAPE: Shape = Fields(&[
        ("event_id", Plain),
        ("timestamp", Plain),
        ("device", Fields(&[("name", Plain), ("state", Plain), ("lastOnlineTime", Plain)])),
    ]);
}

/// Reads a payload, with names of fields in any case. Bytes that are no UTF-8 stand for no letter, as Go
/// has it.
///
/// # Errors
///
/// When it is not JSON, or not of the payload's shape.
pub fn read<P: Payload>(bytes: &[u8]) -> Result<P, serde_json::Error> {
    let mut value: Value = serde_json::from_str(&String::from_utf8_lossy(bytes))?;
    if value.is_null() {
        // Go leaves a struct as it is that is to be read from null.
        value = Value::Object(Map::new());
    }
    fold(&mut value, &P::SHAPE)?;
    serde_json::from_value(value)
}

/// A list is not taken for an object, as serde would.
fn fold(value: &mut Value, shape: &Shape) -> Result<(), serde_json::Error> {
    match (shape, value) {
        (Fields(fields), Value::Object(object)) => {
            let found = std::mem::take(object);
            *object = fold_fields(found, fields)?;
        }
        (Fields(_), Value::Array(_)) => return Err(serde::de::Error::custom("a list is no object")),
        (Named(shape), Value::Object(object)) => {
            object.values_mut().try_for_each(|value| fold(value, shape))?;
        }
        (List(shape), Value::Array(items)) => items.iter_mut().try_for_each(|item| fold(item, shape))?,
        _ => {}
    }
    Ok(())
}

/// The field of exactly this name is taken before one in another case, where Go takes the last of them;
/// `null` is skipped, as in Go.
fn fold_fields(
    mut found: Map<String, Value>,
    fields: &[(&str, Shape)],
) -> Result<Map<String, Value>, serde_json::Error> {
    let mut folded = Map::new();
    for (name, shape) in fields {
        let spelt = found.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let value = found.remove(*name).or_else(|| found.remove(&spelt?));
        if let Some(mut value) = value.filter(|value| !value.is_null()) {
            fold(&mut value, shape)?;
            folded.insert((*name).to_owned(), value);
        }
    }
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_are_read_in_any_case_and_those_of_twins_are_not() {
        let text = r#"{"Event_ID":"e","TIMESTAMP":5,"Twin":{"Temp":{"Actual":{"Value":"1","METADATA":{"Timestamp":7}},"metaData":{"Type":"int"}},"temp":null}}"#;
        let update: TwinUpdate = read(text.as_bytes()).expect("an update");
        let twins = update.twin.expect("twins");
        assert_eq!((update.event_id.as_str(), update.timestamp), ("e", 5));
        assert_eq!(twins.keys().collect::<Vec<_>>(), ["Temp", "temp"]);
        let twin = twins["Temp"].as_ref().expect("a twin");
        let actual =
            TwinValue { value: Some("1".to_owned()), metadata: Some(ValueMeta { timestamp: Some(7) }) };
        assert_eq!(twin.actual, Some(actual));
        assert_eq!(twin.metadata, Some(TypeMeta { kind: "int".to_owned() }));
        assert_eq!(twins["temp"], None);
    }

    #[test]
    fn the_field_of_the_exact_name_wins_and_null_is_absent() {
        let update: DeviceUpdate =
            read(br#"{"State":"a","state":"b","attributes":null,"timestamp":null,"more":{}}"#).expect("one");
        assert_eq!((update.state.as_str(), update.attributes, update.timestamp), ("b", None, 0));
        let update: DeviceUpdate = read(br#"{"STATE":"a"}"#).expect("one");
        assert_eq!(update.state, "a");
    }

    #[test]
    fn bytes_that_are_no_letters_are_read_as_go_reads_them() {
        let base: BaseMessage = read(b"{\"event_id\":\"a\xe9b\",\"more\":\"\xff\"}").expect("one");
        assert_eq!(base.event_id, "a\u{fffd}b");
        assert!(read::<BaseMessage>(b"{\"event_id\":\"a\"\xff}").is_err());
        assert!(read::<BaseMessage>(b"\xff\xfe{}").is_err());
    }

    #[test]
    fn what_is_not_of_the_shape_is_an_error() {
        for text in [
            "",
            "x",
            "[]",
            r#"["e",5,{}]"#,
            r#"{"twin":[]}"#,
            r#"{"twin":{"a":[]}}"#,
            r#"{"twin":{"a":{"actual":["1"]}}}"#,
            r#"{"twin":{"a":{"actual":{"value":1}}}}"#,
            r#"{"event_id":1}"#,
        ] {
            assert!(read::<BaseMessage>(text.as_bytes()).is_err() || text.contains("twin"), "{text}");
            assert!(read::<TwinUpdate>(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["{}", "null"] {
            assert_eq!(
                read::<TwinUpdate>(text.as_bytes()).map(|update| update.twin).ok(),
                Some(None),
                "{text}"
            );
        }
        let base = BaseMessage { event_id: "m1".to_owned(), timestamp: 0 };
        assert_eq!(read::<BaseMessage>(br#"{"Event_ID":"m1","twin":7}"#).ok(), Some(base));
    }

    #[test]
    fn the_missing_half_of_a_membership_is_null() {
        let update = MembershipUpdate {
            event_id: "e".to_owned(),
            timestamp: 1,
            added_devices: Some(vec![Device {
                id: "a/b".to_owned(),
                name: "b".to_owned(),
                ..Device::default()
            }]),
            removed_devices: None,
        };
        assert_eq!(
            serde_json::to_string(&update).expect("JSON"),
            r#"{"event_id":"e","timestamp":1,"added_devices":[{"id":"a/b","name":"b"}],"removed_devices":null}"#
        );
    }
}
