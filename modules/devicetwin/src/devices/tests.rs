//! Calls in; batches, messages and reports out.

mod answers;
mod wanted;

use futures::executor::block_on;
use proptest::prelude::*;
use protocol::device::{DeviceCall, LocalTopic, PublishLocal};
use protocol::{DeviceId, NodeRequest, Object};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::{MemoryStore, Store as _};

use super::membership::Described;
use super::*;
use crate::limits::{DEVICES_MAX, PAYLOAD_BYTES_MAX, REPORTED_AT_ONCE_MAX, TWINS_MAX};
use crate::load::load;

const NODE: &str = "edge-1";

pub(crate) fn id(name: &str) -> DeviceId {
    DeviceId::parse("default", name).expect("a valid id")
}

pub(crate) fn moment() -> Moment {
    Moment { at_ms: 1_700_000_000_012, fresh: "fresh".to_owned() }
}

fn uid(uid: &str) -> Described {
    Described { uid: uid.to_owned(), ..Described::default() }
}

pub(crate) fn with(name: &str) -> Devices {
    let mut devices = Devices::default();
    devices.appear(&id(name), uid("u1"), &moment()).expect("it is new");
    devices
}

/// Returns a topic as KubeEdge writes it.
pub(crate) fn topic(topic: &LocalTopic) -> String {
    let device = |id: &DeviceId, rest: &str| format!("$hw/events/device/{id}/{rest}");
    match topic {
        LocalTopic::TwinResult(None) => "$hw/events/device//twin/update/result".to_owned(),
        LocalTopic::TwinResult(Some(id)) => device(id, "twin/update/result"),
        LocalTopic::TwinDocument(id) => device(id, "twin/update/document"),
        LocalTopic::TwinDelta(id) => device(id, "twin/update/delta"),
        LocalTopic::TwinGetResult(id) => device(id, "twin/get/result"),
        LocalTopic::StateResult(id) => device(id, "state/update/result"),
        LocalTopic::AttributesUpdated(id) => device(id, "updated"),
        LocalTopic::MembershipUpdated => format!("$hw/events/node/{NODE}/membership/updated"),
        LocalTopic::MembershipResult => format!("$hw/events/node/{NODE}/membership/get/result"),
        LocalTopic::Other(topic) => topic.clone(),
    }
}

/// Returns what was told, each as its topic's end and its payload.
fn told(outcome: &Outcome) -> Vec<(String, Value)> {
    outcome.local.iter().map(|local| (topic(&local.topic), read(local))).collect()
}

fn read(local: &PublishLocal) -> Value {
    serde_json::from_slice(&local.payload).expect("JSON")
}

fn update(devices: &mut Devices, payload: &str) -> Outcome {
    devices.call(&DeviceCall::UpdateTwins(id("t1")), payload.as_bytes(), &moment())
}

/// One recorded message.
#[derive(Deserialize)]
struct Recorded {
    topic: String,
    payload: Box<RawValue>,
}

/// One recorded report.
#[derive(Deserialize)]
struct Upward {
    resource: String,
    content: Box<RawValue>,
}

/// Makes all times the same: KubeEdge takes a new one for each value.
fn timeless(text: &str) -> String {
    let mut parts = text.split("\"timestamp\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "\"timestamp\":0" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

fn request_of(topic: &str) -> Option<DeviceCall> {
    let device = || id("temp-1");
    match topic.trim_start_matches("$hw/events/") {
        "device/default/temp-1/twin/update" => Some(DeviceCall::UpdateTwins(device())),
        "device/default/temp-1/twin/get" => Some(DeviceCall::GetTwins(device())),
        "device/default/temp-1/state/update" => Some(DeviceCall::UpdateState(device())),
        "node/edge-1/membership/get" => Some(DeviceCall::GetMembership),
        _ => None,
    }
}

fn moment_of(payload: &RawValue) -> Moment {
    let payload: Value = serde_json::from_str(payload.get()).expect("JSON");
    let fresh = payload["event_id"].as_str().unwrap_or_default().to_owned();
    Moment { at_ms: payload["timestamp"].as_i64().unwrap_or_default(), fresh }
}

/// What began some messages.
enum Cause {
    Call(DeviceCall, Box<RawValue>),
    Added,
    Removed,
}

/// Sorts what was recorded into causes and what followed from each.
fn exchanges() -> Vec<(Cause, Vec<Recorded>)> {
    let mut exchanges: Vec<(Cause, Vec<Recorded>)> = Vec::new();
    for line in include_str!("golden/local.ndjson").lines() {
        let recorded: Recorded = serde_json::from_str(line).expect("a recorded message");
        if let Some(call) = request_of(&recorded.topic) {
            exchanges.push((Cause::Call(call, recorded.payload), Vec::new()));
        } else if recorded.topic.ends_with("membership/updated") {
            let is_end = recorded.payload.get().contains("\"added_devices\":null");
            exchanges.push((if is_end { Cause::Removed } else { Cause::Added }, vec![recorded]));
        } else if recorded.topic != "$hw/events/device/default/temp-1/updated" {
            // KubeEdge's edge heard nothing of that topic, on which the recording's client wrote.
            exchanges.last_mut().expect("an answer has a cause").1.push(recorded);
        }
    }
    exchanges
}

#[test]
fn clients_and_cloud_are_told_what_kubeedge_s_edge_told_them() {
    let device = id("temp-1");
    let mut devices = Devices::default();
    let mut upward = include_str!("golden/upward.ndjson").lines();
    for (cause, expect) in exchanges() {
        let moment = expect.first().map_or_else(moment, |first| moment_of(&first.payload));
        let outcome = match cause {
            Cause::Call(call, payload) => devices.call(&call, payload.get().as_bytes(), &moment),
            Cause::Added => devices.appear(&device, uid("u1"), &moment).expect("it is new"),
            Cause::Removed => devices.vanish(&device, "u1", &moment).expect("it was there"),
        };
        let text = |payload: &[u8]| timeless(std::str::from_utf8(payload).expect("text"));
        let told = outcome.local.iter().map(|local| (topic(&local.topic), text(&local.payload)));
        let expect = expect.iter().map(|it| (it.topic.clone(), text(it.payload.get().as_bytes())));
        assert_eq!(told.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
        if outcome.news.is_none() {
            continue;
        }
        let recorded: Upward = serde_json::from_str(upward.next().expect("one more")).expect("a report");
        let report = devices.report(&device, &moment_of(&recorded.content)).expect("there is news");
        let (resource, content) = match &report.request {
            NodeRequest::ReportTwins { device, report } => {
                (format!("device/{device}/twin/edge_updated"), report)
            }
            NodeRequest::ReportDeviceState { device, report } => {
                (format!("device/{device}/state/update"), report)
            }
            other => panic!("{other:?} is no report"),
        };
        let expect = (recorded.resource, timeless(recorded.content.get()));
        assert_eq!((resource, text(content)), expect);
        devices.confirm(&device, report.incarnation, report.knows);
        assert_eq!(devices.news().count(), 0);
    }
    assert_eq!(upward.next(), None);
}

#[test]
fn a_difference_is_told_on_every_update_while_it_lasts() {
    let mut devices = with("t1");
    let outcome = update(
        &mut devices,
        r#"{"event_id":"a","twin":{"mode":{"expected":{"value":"auto"}},"t":{"actual":{"value":"1"}}}}"#,
    );
    let topics: Vec<String> = told(&outcome).into_iter().map(|(topic, _)| topic).collect();
    let prefix = "$hw/events/device/default/t1/twin/update/";
    assert_eq!(topics, ["result", "document", "delta"].map(|end| format!("{prefix}{end}")));
    let delta = &told(&outcome)[2].1;
    assert_eq!(delta["event_id"], "fresh");
    assert_eq!(delta["delta"], json!({ "mode": "auto" }));
    assert_eq!(delta["twin"].as_object().expect("twins").keys().collect::<Vec<_>>(), ["mode"]);
    let outcome = update(&mut devices, r#"{"event_id":"b","twin":{"t":{"actual":{"value":"1"}}}}"#);
    assert_eq!(told(&outcome)[2].1["delta"], json!({ "mode": "auto" }));
    let outcome = update(&mut devices, r#"{"event_id":"c","twin":{"mode":{"actual":{"value":"auto"}}}}"#);
    assert_eq!(told(&outcome).len(), 2, "{:?}", told(&outcome));
}

#[test]
fn what_is_malformed_is_answered_as_kubeedge_does_and_changes_nothing() {
    let base = r#"{"twin":{"x":{"actual":{"value":"1"},"metadata":{"type":"int"}}}}"#;
    let mut devices = with("t1");
    update(&mut devices, base);
    let before = format!("{:?}", devices.devices);
    let (unnamed, named) =
        ("$hw/events/device//twin/update/result", "$hw/events/device/default/t1/twin/update/result");
    let twin = |name: &str, value: &str| {
        format!(
            r#"{{"event_id":"e","twin":{{"x":{{"actual":{{"value":"2"}}}},"{name}":{{"actual":{{"value":"{value}"}}}}}}}}"#
        )
    };
    let too_long = format!(r#"{{"event_id":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX));
    let cases: [(&str, &str, &str, &str); 16] = [
        ("", unnamed, "", "Unmarshal update request body failed"),
        ("{", unnamed, "", "Unmarshal update request body failed"),
        ("[]", unnamed, "", "Unmarshal update request body failed"),
        ("\u{0}", unnamed, "", "Unmarshal update request body failed"),
        (r#"{"event_id":"e","twin":[]}"#, unnamed, "", "Unmarshal update request body failed"),
        (
            r#"{"event_id":"e","twin":{"x":{"actual":{"value":2}}}}"#,
            unnamed,
            "",
            "Unmarshal update request body failed",
        ),
        (
            r#"{"event_id":7,"twin":{"x":{"actual":{"value":"2"}}}}"#,
            unnamed,
            "",
            "Unmarshal update request body failed",
        ),
        ("null", unnamed, "", "Update twin error, key:twin does not exist"),
        (r#"{"event_id":"e"}"#, unnamed, "", "Update twin error, key:twin does not exist"),
        (r#"{"event_id":"e","twin":null}"#, unnamed, "", "Update twin error, key:twin does not exist"),
        (&twin("a b", "1"), unnamed, "", "The key of twin must only include"),
        (&twin("y", "a b"), unnamed, "", "The value of twin must only include"),
        (&twin("y", &"v".repeat(513)), unnamed, "", "The value of twin must only include"),
        (
            r#"{"event_id":"e","twin":{"x":{"actual":{"value":"warm"}}}}"#,
            named,
            "e",
            "the value is not int or integer",
        ),
        (
            r#"{"event_id":"e","twin":{"x":{"actual":{"value":"2"}},"y":null}}"#,
            named,
            "e",
            "the request body is wrong",
        ),
        (&too_long, named, "", "the payload has "),
    ];
    for (payload, topic, event_id, reason) in cases {
        let outcome = update(&mut devices, payload);
        let [(found, answer)] = told(&outcome).try_into().expect("one answer");
        assert_eq!(
            (found.as_str(), &answer["event_id"], &answer["code"]),
            (topic, &json!(event_id), &json!(400))
        );
        assert!(answer["reason"].as_str().expect("a reason").starts_with(reason), "{answer}");
        assert_eq!(answer.as_object().expect("an object").len(), 4);
        assert!(outcome.batch.writes().is_empty() && outcome.news.is_none() && outcome.reported.is_empty());
        assert_eq!(format!("{:?}", devices.devices), before, "{payload}");
    }
}

#[test]
fn states_attributes_and_questions_that_cannot_be_read_change_nothing() {
    let mut devices = with("t1");
    let before = format!("{:?}", devices.devices);
    let too_long = format!(r#"{{"event_id":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX));
    for payload in ["", "[]", r#"{"state":1}"#, r#"{"state":"disconnected"}"#, "{}", r#"{"attributes":7}"#] {
        for call in [DeviceCall::UpdateState(id("t1")), DeviceCall::UpdateAttributes(id("t1"))] {
            let outcome = devices.call(&call, payload.as_bytes(), &moment());
            assert!(outcome.local.is_empty() && outcome.batch.writes().is_empty(), "{call:?} {payload}");
        }
        assert_eq!(format!("{:?}", devices.devices), before, "{payload}");
    }
    for (call, topic) in [
        (DeviceCall::GetTwins(id("t1")), "$hw/events/device/default/t1/twin/get/result"),
        (DeviceCall::GetMembership, "$hw/events/node/edge-1/membership/get/result"),
    ] {
        for payload in ["", "{", "[]", r#"{"event_id":1}"#, &too_long] {
            let [(found, answer)] =
                told(&devices.call(&call, payload.as_bytes(), &moment())).try_into().expect("one answer");
            assert_eq!(
                (found.as_str(), &answer["event_id"], &answer["code"]),
                (topic, &json!(""), &json!(400))
            );
        }
    }
}

#[test]
fn a_synchronization_that_cannot_be_read_has_a_text_of_its_own() {
    let mut devices = with("t1");
    let sync = DeviceCall::SyncTwins(id("t1"));
    for payload in ["", "{}", r#"{"twin":{"a b":{}}}"#, r#"{"twin":{"x":{"actual":{}}}}"#] {
        let [(found, answer)] =
            told(&devices.call(&sync, payload.as_bytes(), &moment())).try_into().expect("one");
        assert_eq!(found, "$hw/events/device//twin/update/result", "{payload}");
        assert_eq!(answer["reason"], "unmarshal update request body failed, Please check the request");
    }
    let payload = br#"{"event_id":"s","twin":{"x":{"expected":{"value":"1"},"expected_version":{"cloud":1,"edge":0}}}}"#;
    let outcome = devices.call(&sync, payload, &moment());
    let topics: Vec<_> = told(&outcome).into_iter().map(|(topic, _)| topic).collect();
    let prefix = "$hw/events/device/default/t1/twin/update/";
    assert_eq!(topics, ["document", "delta"].map(|end| format!("{prefix}{end}")), "it has no result");
    assert_eq!((outcome.news, devices.news().count()), (None, 0), "what is taken is not told the cloud");
    let payload = br#"{"event_id":"s","twin":{"x":{"expected":{"value":"2"},"expected_version":{"cloud":0,"edge":0}}}}"#;
    let outcome = devices.call(&sync, payload, &moment());
    assert_eq!((told(&outcome).len(), outcome.batch.writes().len(), outcome.news), (1, 1, Some(id("t1"))));
    let report = devices.report(&id("t1"), &moment()).expect("what is here");
    let NodeRequest::ReportTwins { report, .. } = report.request else { panic!("no twins") };
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["twin"]["x"]["expected"]["value"], "1");
    assert_eq!(report["twin"]["x"]["expected_version"], json!({ "cloud": 1, "edge": 0 }));
}

#[test]
fn a_device_that_is_not_here_is_refused_or_passed_over() {
    let mut devices = with("t1");
    let base = br#"{"event_id":"e","twin":{},"state":"online","attributes":{"a":{"value":"1"}}}"#;
    for (call, topic, reason) in [
        (
            DeviceCall::UpdateTwins(id("t2")),
            "twin/update/result",
            "update rejected due to the device is not existed",
        ),
        (
            DeviceCall::SyncTwins(id("t2")),
            "twin/update/result",
            "update rejected due to the device is not existed",
        ),
        (DeviceCall::GetTwins(id("t2")), "twin/get/result", "Device default/t2 not found while getting twin"),
    ] {
        let [(found, answer)] = told(&devices.call(&call, base, &moment())).try_into().expect("one answer");
        assert_eq!(found, format!("$hw/events/device/default/t2/{topic}"));
        let expect = json!({ "event_id": "e", "timestamp": moment().at_ms, "code": 404, "reason": reason });
        assert_eq!(answer, expect);
    }
    for call in [DeviceCall::UpdateState(id("t2")), DeviceCall::UpdateAttributes(id("t2"))] {
        assert!(devices.call(&call, base, &moment()).local.is_empty(), "{call:?}");
    }
}

#[test]
fn attributes_are_kept_told_and_listed() {
    let mut devices = with("t1");
    let call = DeviceCall::UpdateAttributes(id("t1"));
    let payload = br#"{"event_id":"a1","timestamp":0,"attributes":{"fw":{"value":"1.0","optional":true,"metadata":{"type":"string"}}}}"#;
    let outcome = devices.call(&call, payload, &moment());
    let local = outcome.local.first().expect("one message");
    assert_eq!(topic(&local.topic), "$hw/events/device/default/t1/updated");
    assert_eq!(
        std::str::from_utf8(&local.payload),
        Ok(
            r#"{"event_id":"a1","timestamp":1700000000012,"attributes":{"fw":{"value":"1.0","optional":true,"metadata":{"type":"string"}}}}"#
        )
    );
    assert_eq!(
        (outcome.batch.writes().len(), outcome.news),
        (1, None),
        "the cloud does not hear of attributes"
    );
    assert!(devices.call(&call, payload, &moment()).local.is_empty(), "the same again says nothing");
    let listed = devices.call(&DeviceCall::GetMembership, br#"{"event_id":"m"}"#, &moment());
    assert_eq!(
        std::str::from_utf8(&listed.local[0].payload),
        Ok(
            r#"{"event_id":"m","timestamp":1700000000012,"devices":[{"id":"default/t1","name":"t1","attributes":{"fw":{"value":"1.0","optional":true,"metadata":{"type":"string"}}}}]}"#
        )
    );
    let none = Devices::default().call(&DeviceCall::GetMembership, b"{}", &moment());
    assert_eq!(
        std::str::from_utf8(&none.local[0].payload),
        Ok(r#"{"event_id":"","timestamp":1700000000012,"devices":[]}"#)
    );
}

#[test]
fn the_attributes_of_all_devices_have_a_limit() {
    let mut devices = Devices::default();
    let payload = format!(r#"{{"attributes":{{"a":{{"value":"{}"}}}}}}"#, "x".repeat(60 << 10));
    let mut kept = 0;
    for n in 0..200 {
        let id = id(&format!("d{n}"));
        devices.appear(&id, uid("u1"), &moment()).expect("it is new");
        let outcome = devices.call(&DeviceCall::UpdateAttributes(id), payload.as_bytes(), &moment());
        kept += outcome.local.len();
    }
    assert_eq!(kept, (8 << 20) / (60 << 10), "one answer lists them all");
}

#[test]
fn another_uid_is_another_device() {
    let mut devices = with("t1");
    update(&mut devices, r#"{"twin":{"x":{"actual":{"value":"1"}}}}"#);
    assert!(devices.vanish(&id("t1"), "u0", &moment()).is_none(), "the end of its predecessor");
    assert!(devices.appear(&id("t1"), uid("u1"), &moment()).expect("it has news").local.is_empty());
    let described = Described { description: "a \"lamp\"".to_owned(), ..uid("u2") };
    let outcome = devices.appear(&id("t1"), described, &moment()).expect("it is another");
    let halves: Vec<_> = told(&outcome)
        .into_iter()
        .map(|(_, it)| (it["added_devices"].clone(), it["removed_devices"].clone()))
        .collect();
    let removed = (Value::Null, json!([{ "id": "default/t1", "name": "t1" }]));
    let added = (json!([{ "id": "default/t1", "name": "t1", "description": "a \"lamp\"" }]), Value::Null);
    assert_eq!(halves, [removed, added]);
    let got = devices.call(&DeviceCall::GetTwins(id("t1")), b"{}", &moment());
    assert_eq!(told(&got)[0].1["twin"], json!({}), "nothing of the first one is left");
    assert_eq!(devices.twins, 0);
}

#[test]
fn the_description_is_a_label_of_the_object() {
    let object = Object::parse(
        r#"{"metadata":{"name":"t1","namespace":"default","uid":"u1","labels":{"description":"d"}}}"#,
    );
    let expect = Described { description: "d".to_owned(), ..uid("u1") };
    assert_eq!(Described::of(&object.expect("an object")), expect);
    let mut devices = with("t1");
    let outcome = devices.appear(&id("t1"), expect, &moment()).expect("it is described");
    assert_eq!((outcome.local.len(), outcome.batch.writes().len()), (0, 1));
}

#[test]
fn twins_and_devices_have_limits() {
    let mut devices = with("t1");
    let twins = |from: usize, to: usize, twin: &str| {
        let twins: Vec<String> = (from..to).map(|n| format!("\"x{n}\":{twin}")).collect();
        format!("{{\"event_id\":\"e\",\"twin\":{{{}}}}}", twins.join(","))
    };
    let value = r#"{"actual":{"value":"1"}}"#;
    update(&mut devices, &twins(0, TWINS_MAX, value));
    assert_eq!(devices.twins, TWINS_MAX);
    let refused = update(&mut devices, &twins(TWINS_MAX, TWINS_MAX + 1, value));
    assert_eq!(told(&refused)[0].1["reason"], format!("a device has at most {TWINS_MAX} twins"));
    update(&mut devices, &twins(0, 2, "null"));
    assert_eq!(
        told(&update(&mut devices, &twins(2000, 2002, value)))[0].1["code"],
        400,
        "the cloud does not know yet"
    );
    while let Some(report) = devices.report(&id("t1"), &moment()) {
        devices.confirm(&id("t1"), report.incarnation, report.knows);
    }
    let outcome = update(&mut devices, &twins(2000, 2002, value));
    assert_eq!(outcome.batch.writes().len(), 4, "two go, two come");
    assert_eq!(devices.twins, TWINS_MAX);
    for n in 1..DEVICES_MAX {
        devices.appear(&id(&format!("d{n}")), uid("u"), &moment()).expect("there is room");
    }
    assert!(devices.appear(&id("more"), uid("u"), &moment()).is_none());
}

#[test]
fn a_report_is_bounded_and_what_changes_meanwhile_is_told_next() {
    let mut devices = with("t1");
    let count = REPORTED_AT_ONCE_MAX + 10;
    let twins: Vec<String> =
        (0..count).map(|n| format!("\"x{n:04}\":{{\"actual\":{{\"value\":\"1\"}}}}")).collect();
    update(&mut devices, &format!("{{\"twin\":{{{}}}}}", twins.join(",")));
    let names = |report: &Report| {
        let NodeRequest::ReportTwins { report, .. } = &report.request else { panic!("no twins") };
        let report: Value = serde_json::from_slice(report).expect("JSON");
        report["twin"].as_object().expect("twins").keys().cloned().collect::<Vec<_>>()
    };
    let first = devices.report(&id("t1"), &moment()).expect("there is news");
    assert_eq!(names(&first).len(), REPORTED_AT_ONCE_MAX);
    update(&mut devices, r#"{"twin":{"x0000":{"actual":{"value":"2"}}}}"#);
    assert!(!devices.confirm(&id("t1"), first.incarnation, first.knows), "there is more to tell");
    let second = devices.report(&id("t1"), &moment()).expect("there is more");
    assert_eq!((names(&second).len(), names(&second)[0].as_str()), (11, "x0000"));
    let ids = BTreeSet::from([id("t1"), id("t2")]);
    assert!(devices.confirmations(&ids).writes().is_empty(), "it does not know all");
    assert!(!devices.confirm(&id("t1"), second.incarnation + 1, second.knows), "that was another");
    assert!(devices.confirm(&id("t1"), second.incarnation, second.knows), "now it knows all");
    assert_eq!(devices.confirmations(&ids).writes().len(), 1);
}

#[test]
fn state_and_twins_are_told_in_turn() {
    let mut devices = with("t1");
    let mut kinds = Vec::new();
    for _ in 0..4 {
        update(&mut devices, r#"{"twin":{"x":{"actual":{"value":"1"}}}}"#);
        devices.call(&DeviceCall::UpdateState(id("t1")), br#"{"state":"OK"}"#, &moment());
        let report = devices.report(&id("t1"), &moment()).expect("there is news");
        kinds.push(matches!(report.request, NodeRequest::ReportDeviceState { .. }));
        devices.confirm(&id("t1"), report.incarnation, report.knows);
    }
    assert_eq!(kinds, [true, false, true, false]);
}

#[test]
fn a_wish_is_as_a_client_s() {
    let mut devices = with("t1");
    let outcome = devices.desire((&id("t1"), "fan", "on"), &moment()).expect("it is allowed");
    assert_eq!(told(&outcome).len(), 3);
    assert_eq!(told(&outcome)[2].1["delta"], json!({ "fan": "on" }));
    let error = |device: &str, name: &str, value: &str, devices: &mut Devices| {
        devices.desire((&id(device), name, value), &moment()).expect_err("it is wrong").to_string()
    };
    assert_eq!(error("t2", "fan", "on", &mut devices), "this node has no device default/t2");
    assert!(error("t1", "fan", "{}", &mut devices).starts_with("The value of twin must only include"));
    assert!(error("t1", "f n", "on", &mut devices).starts_with("The key of twin must only include"));
    update(&mut devices, r#"{"twin":{"n":{"metadata":{"type":"int"}}}}"#);
    assert_eq!(error("t1", "n", "on", &mut devices), "the value is not int or integer");
}

/// A random twin of a request, or `null`.
fn any_twin() -> impl Strategy<Value = Value> {
    let value = prop::option::of(prop::sample::select(vec!["1", "2", "warm", "true", "", "a b"]));
    let half = move || prop::option::of(value.clone().prop_map(|value| json!({ "value": value })));
    let kind =
        prop::option::of(prop::sample::select(vec!["int", "string", "boolean", "deleted", "double", ""]));
    let version = || {
        prop::option::of((0..3i64, 0..3i64).prop_map(|(cloud, edge)| json!({ "cloud": cloud, "edge": edge })))
    };
    let twin = (half(), half(), kind, any::<Option<bool>>(), version(), version());
    let twin = twin.prop_map(|(expected, actual, kind, optional, expected_version, actual_version)| {
        let metadata = kind.map(|kind| json!({ "type": kind }));
        json!({
            "expected": expected, "actual": actual, "metadata": metadata, "optional": optional,
            "expected_version": expected_version, "actual_version": actual_version,
        })
    });
    prop_oneof![6 => twin, 1 => Just(Value::Null)]
}

fn any_call() -> impl Strategy<Value = (DeviceCall, String)> {
    let twins = prop::collection::btree_map("[abc]", any_twin(), 0..3);
    let twins = twins.prop_map(|twin| json!({ "event_id": "e", "twin": twin }).to_string()).boxed();
    let state = prop::sample::select(vec!["online", "offline", "broken"]);
    let attribute = (prop::sample::select(vec!["1", "2"]), any::<Option<bool>>());
    let attribute = prop::option::of(
        attribute.prop_map(|(value, optional)| json!({ "value": value, "optional": optional })),
    );
    let attributes = prop::collection::btree_map("[ab]", attribute, 0..3);
    prop_oneof![
        twins.clone().prop_map(|twins| (DeviceCall::UpdateTwins(id("t1")), twins)),
        twins.prop_map(|twins| (DeviceCall::SyncTwins(id("t1")), twins)),
        state.prop_map(|state| (DeviceCall::UpdateState(id("t1")), json!({ "state": state }).to_string())),
        attributes
            .prop_map(|it| (DeviceCall::UpdateAttributes(id("t1")), json!({ "attributes": it }).to_string())),
        Just((DeviceCall::GetTwins(id("t1")), "{}".to_owned())),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_held_and_the_cloud_hears_all_of_it(
        calls in prop::collection::vec((any_call(), any::<bool>()), 1..40),
    ) {
        let store = MemoryStore::new();
        let mut devices = Devices::default();
        let keep = |batch: Batch| block_on(store.commit(batch)).expect("it is in memory");
        keep(devices.appear(&id("t1"), uid("u1"), &moment()).expect("it is new").batch);
        for ((call, payload), reports) in calls {
            let outcome = devices.call(&call, payload.as_bytes(), &moment());
            prop_assert!(outcome.news.is_none() || !outcome.batch.writes().is_empty());
            keep(outcome.batch);
            while let Some(report) = reports.then(|| devices.report(&id("t1"), &moment())).flatten() {
                if let NodeRequest::ReportTwins { report, .. } = &report.request {
                    let report: Value = serde_json::from_slice(report).expect("JSON");
                    for (name, told) in report["twin"].as_object().expect("twins") {
                        prop_assert_eq!(told, &json!(devices.devices[&id("t1")].twins[name].twin));
                    }
                }
                if devices.confirm(&id("t1"), report.incarnation, report.knows) {
                    keep(devices.confirmations(&BTreeSet::from([id("t1")])));
                }
            }
            prop_assert!(!reports || devices.news().count() == 0);
        }
        let found = block_on(load(&store)).expect("it is readable");
        let (held, found) = (&devices.devices[&id("t1")], &found.devices[&id("t1")]);
        prop_assert_eq!((&held.head, &held.twins), (&found.head, &found.twins));
        prop_assert!(found.confirmed.twins <= held.confirmed.twins && found.changes <= held.changes);
        prop_assert!(held.is_news() || found.confirmed == held.confirmed);
    }

    #[test]
    fn no_payload_makes_a_call_panic(payload in any::<Vec<u8>>(), (call, _) in any_call()) {
        let mut devices = with("t1");
        let outcome = devices.call(&call, &payload, &moment());
        prop_assert!(outcome.batch.writes().is_empty());
    }
}
