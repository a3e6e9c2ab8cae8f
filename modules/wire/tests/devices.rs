//! Reports of devices, as KubeEdge's edge sends them and its cloud confirms them.

use protocol::{ChangeKind, DeviceId, NodeReply, NodeRequest, Object, ObjectChange, ResourceType};
use serde_json::{Value, json};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, Downlink, Envelope, MessageId, ReplyShape, ReplyTo, Uplink};

fn device() -> DeviceId {
    DeviceId::parse("default", "t1").expect("a device")
}

fn up(text: &str) -> Envelope<Uplink> {
    match Codec::KubeEdge.decode_edge(&Frame::Text(text.to_owned().into())) {
        Ok(EdgeFrame::Up(envelope)) => envelope,
        other => panic!("a message: {other:?}"),
    }
}

const STATE: &str = r#"{"header":{"msg_id":"i","timestamp":1},"route":{"source":"twin","group":"resource","operation":"update","resource":"device/default/t1/state/update"},"content":"{\"device\":{}}"}"#;

#[test]
fn a_state_is_a_text_and_twins_are_an_object() {
    let twins = r#"{"header":{"msg_id":"i","timestamp":1},"route":{"source":"twin","group":"resource","operation":"update","resource":"device/default/t1/twin/edge_updated"},"content":{"twin":{}}}"#;
    for (text, expected) in [
        (STATE, NodeRequest::ReportDeviceState { device: device(), report: r#"{"device":{}}"#.into() }),
        (twins, NodeRequest::ReportTwins { device: device(), report: r#"{"twin":{}}"#.into() }),
    ] {
        let envelope = up(text);
        let Uplink::Request { request, .. } = &envelope.body else { panic!("a request: {envelope:?}") };
        assert_eq!(*request, expected);
        let written = Codec::KubeEdge.encode_edge(EdgeFrame::Up(envelope)).expect("a frame");
        assert_eq!(String::from_utf8_lossy(written.payload()).trim(), text);
    }
}

#[test]
fn a_report_that_is_no_json_and_other_words_of_devices_are_unknown() {
    for (from, to) in [
        (r#""{\"device\":{}}""#, r#""{""#),
        ("state/update\"", "twin/cloud_updated\""),
        ("state/update\"", "updated\""),
        ("\"operation\":\"update\"", "\"operation\":\"delete\""),
    ] {
        let envelope = up(&STATE.replace(from, to));
        assert!(matches!(envelope.body, Uplink::Unknown(_)), "{to}: {envelope:?}");
    }
}

#[test]
fn a_report_is_confirmed_in_the_name_of_the_device_controller() {
    let envelope = up(STATE);
    let Uplink::Request { path, request } = envelope.body else { panic!("a request") };
    let to = ReplyTo { parent: envelope.id, path, shape: ReplyShape::of(&request) };
    let reply = Downlink::Reply { to, reply: NodeReply::Done };
    let written = Envelope { id: MessageId::new("j"), timestamp_ms: 2, body: reply };
    let frame = Codec::KubeEdge.encode_cloud(CloudFrame::Down(written)).expect("a frame");
    let json: Value = serde_json::from_slice(frame.payload()).expect("JSON");
    assert_eq!(json["header"]["parent_msg_id"], "i");
    assert_eq!(json["content"], "OK");
    let route = &json["route"];
    assert_eq!((route["source"].as_str(), route["group"].as_str()), (Some("devicecontroller"), Some("twin")));
    assert_eq!((route["operation"].as_str(), route["resource"].as_str()), (Some("response"), Some("twin")));
}

#[test]
fn a_device_that_comes_or_goes_is_a_member_or_is_none() {
    let object =
        json!({ "metadata": { "name": "t1", "namespace": "default", "labels": { "description": "hall" } } });
    let object = Object::from_value(&object).expect("an object");
    let key = object.key(ResourceType::DEVICE).expect("a key");
    let said = |kind| {
        let change = ObjectChange { kind, key: key.clone(), object: object.clone() };
        let body = wire::membership(&change, "e".to_owned(), 7)?;
        let frame = CloudFrame::Down(Envelope { id: MessageId::new("j"), timestamp_ms: 2, body });
        let frame = Codec::KubeEdge.encode_cloud(frame).expect("a frame");
        Some(serde_json::from_slice::<Value>(frame.payload()).expect("JSON"))
    };
    let device = json!([{ "id": "default/t1", "name": "t1", "description": "hall" }]);
    let come = said(ChangeKind::Insert).expect("a message");
    let route = json!({ "source": "devicecontroller", "group": "twin", "operation": "update", "resource": "membership" });
    assert_eq!(come["route"], route);
    let content =
        json!({ "event_id": "e", "timestamp": 7, "added_devices": device, "removed_devices": null });
    assert_eq!(come["content"], content);
    assert_eq!(said(ChangeKind::Delete).expect("a message")["content"]["removed_devices"], device);
    assert_eq!(said(ChangeKind::Update), None);
}
