//! Messages recorded between upstream's cloudcore and edgecore (v1.23), one of each kind:
//! each is read as what it is, and written back as it was.

use std::collections::BTreeSet;

use serde_json::Value;
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, Downlink, Envelope, RawMessage, ReplyShape, Uplink};

const UP: &str = include_str!("golden/up.ndjson");
const DOWN: &str = include_str!("golden/down.ndjson");

/// Messages of parts that do not exist here yet: jobs and the metaserver.
const UP_UNKNOWN: &[&str] = &[
    "   ",
    "metaserver dynamiccontroller null null",
    "metaserver dynamiccontroller null watchapp/sync",
    "twin resource get membership/detail",
    "websocket hub UpdateNodeActionStatus configupdatejob",
    "websocket hub UpdateNodeActionStatus imageprepulljob",
    "websocket hub UpdateNodeActionStatus nodeupgradejob",
];
const DOWN_UNKNOWN: &[&str] = &[
    "dynamiccontroller resource applicationResponse ignore/Application/ignore",
    "dynamiccontroller resource applicationResponse watchapp/sync",
    "taskmanager taskmanager Check configupdatejob",
    "taskmanager taskmanager Check imageprepulljob",
    "taskmanager taskmanager Check nodeupgradejob",
];

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

/// What an answer that refuses loses: upstream repeats an empty or the sent object beside the error.
fn without_object_beside_error(mut message: Value) -> Value {
    if let Some(content) = message.get_mut("content").and_then(Value::as_object_mut)
        && content.get("Err").is_some_and(Value::is_object)
    {
        content.insert("Object".to_owned(), Value::Null);
    }
    message
}

#[test]
fn every_recorded_message_is_written_byte_for_byte_as_it_was_read() {
    for line in UP.lines().chain(DOWN.lines()) {
        let message = RawMessage::decode(line.as_bytes()).expect("a message");
        let written = message.encode().expect("encodes");
        assert_eq!(String::from_utf8(written).expect("text"), format!("{line}\n"));
    }
}

#[test]
fn every_message_of_the_edge_is_understood_and_written_back() {
    let mut unknown = BTreeSet::new();
    for line in UP.lines() {
        let frame = Frame::Text(line.to_owned().into());
        let EdgeFrame::Up(up) = Codec::KubeEdge.decode_edge(&frame).expect("a message") else {
            panic!("the KubeEdge codec knows no other frame: {line}");
        };
        if let Uplink::Unknown(message) = &up.body {
            unknown.insert(message.kind());
        }
        if let Uplink::Request { path, request } = &up.body {
            assert_eq!(
                Uplink::request(request.clone()),
                Uplink::Request { path: path.clone(), request: request.clone() }
            );
        }
        let written = Codec::KubeEdge.encode_edge(EdgeFrame::Up(up)).expect("a frame");
        assert_eq!(json(written.payload()), json(line.as_bytes()));
    }
    assert_eq!(unknown, UP_UNKNOWN.iter().map(ToString::to_string).collect());
}

#[test]
fn every_message_of_the_cloud_is_understood_and_written_back() {
    let mut unknown = BTreeSet::new();
    for line in DOWN.lines() {
        let frame = Frame::Text(line.to_owned().into());
        let CloudFrame::Down(down) = Codec::KubeEdge.decode_cloud(&frame).expect("a message") else {
            panic!("the KubeEdge codec knows no other frame: {line}");
        };
        if let Downlink::Unknown(message) = &down.body {
            unknown.insert(message.kind());
        }
        let written = Codec::KubeEdge.encode_cloud(CloudFrame::Down(down)).expect("a frame");
        assert_eq!(json(written.payload()), without_object_beside_error(json(line.as_bytes())));
    }
    assert_eq!(unknown, DOWN_UNKNOWN.iter().map(ToString::to_string).collect());
}

/// The recording's edge acknowledged exactly the kinds that `ack_route` names, with these routes.
#[test]
fn acknowledgements_are_those_of_the_recorded_edge() {
    let route = |line: &str| {
        let route = json(line.as_bytes())["route"].clone();
        (route["source"].to_string(), route["group"].to_string(), route["resource"].to_string())
    };
    let recorded: BTreeSet<_> = UP
        .lines()
        .filter(|line| {
            matches!(
                Envelope::<Uplink>::from_raw(RawMessage::decode(line.as_bytes()).expect("a message")).body,
                Uplink::Ack { .. }
            )
        })
        .map(|line| {
            let (source, group, resource) = route(line);
            (source, group, kind(&resource))
        })
        .collect();
    let ours: BTreeSet<_> = DOWN
        .lines()
        .filter_map(|line| {
            Envelope::<Downlink>::from_raw(RawMessage::decode(line.as_bytes()).expect("a message"))
                .ack_route()
        })
        .map(|route| {
            (format!("{:?}", route.source), format!("{:?}", route.group), kind(&route.path.to_string()))
        })
        .collect();
    assert_eq!(ours, recorded);
}

/// An edge of KubeEdge reads an answer as its request says, whatever the answer looks like.
#[test]
fn each_recorded_answer_has_the_shape_in_which_its_request_is_answered() {
    let id = |line: &str, key: &str| json(line.as_bytes())["header"][key].as_str().map(str::to_owned);
    let mut compared = BTreeSet::new();
    for line in DOWN.lines() {
        let Some(parent) = id(line, "parent_msg_id") else { continue };
        let Some(asked) = UP.lines().find(|asked| id(asked, "msg_id").as_ref() == Some(&parent)) else {
            continue;
        };
        let raw = |line: &str| RawMessage::decode(line.as_bytes()).expect("a message");
        let Uplink::Request { request, path } = Envelope::<Uplink>::from_raw(raw(asked)).body else {
            continue;
        };
        let Downlink::Reply { to, .. } = Envelope::<Downlink>::from_raw(raw(line)).body else {
            panic!("an answer: {line}");
        };
        assert_eq!(to.shape, ReplyShape::of(&request), "{path}");
        compared.insert(kind(&path.to_string()));
    }
    let kinds = [
        "",
        "configmap",
        "device",
        "lease",
        "node",
        "nodepatch",
        "persistentvolume",
        "persistentvolumeclaim",
        "pod",
        "secret",
    ];
    assert_eq!(compared, kinds.map(str::to_owned).into());
}

fn kind(resource: &str) -> String {
    let mut segments = resource.trim_matches('"').split('/');
    match segments.next() {
        Some("device") => "device".to_owned(),
        _ => segments.next().unwrap_or_default().to_owned(),
    }
}
