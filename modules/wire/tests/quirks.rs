//! Each habit of upstream that a naive reader would get wrong: one file, one meaning.

use protocol::{ChangeKind, NodeReply, NodeRequest, Object, ObjectChange};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, Downlink, Envelope, MessageId, ResourcePath, Uplink};

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/quirks/", $name, ".json"))
    };
}

fn up(text: &'static str) -> Uplink {
    match Codec::KubeEdge.decode_edge(&Frame::Text(text.into())) {
        Ok(EdgeFrame::Up(up)) => up.body,
        other => panic!("a message: {other:?}"),
    }
}

fn down(text: &'static str) -> Downlink {
    match Codec::KubeEdge.decode_cloud(&Frame::Text(text.into())) {
        Ok(CloudFrame::Down(down)) => down.body,
        other => panic!("a message: {other:?}"),
    }
}

fn request(text: &'static str) -> NodeRequest {
    match up(text) {
        Uplink::Request { request, .. } => request,
        other => panic!("a request: {other:?}"),
    }
}

fn legacy(text: &'static str) -> Vec<String> {
    let Uplink::LegacyStatus { requests, .. } = up(text) else { panic!("a legacy status") };
    requests
        .into_iter()
        .map(|request| match request {
            NodeRequest::PatchPodStatus { namespace, pod, patch } => {
                format!("{namespace}/{pod} {}", String::from_utf8_lossy(&patch))
            }
            NodeRequest::PatchNodeStatus { node, patch } => {
                format!("{node} {}", String::from_utf8_lossy(&patch))
            }
            other => panic!("a status patch: {other:?}"),
        })
        .collect()
}

fn change(text: &'static str) -> ObjectChange {
    match down(text) {
        Downlink::Change { change, .. } => change,
        other => panic!("a change: {other:?}"),
    }
}

fn reply(text: &'static str) -> NodeReply {
    match down(text) {
        Downlink::Reply { reply, .. } => reply,
        other => panic!("an answer: {other:?}"),
    }
}

#[test]
fn a_pod_deleted_by_its_uid_alone_goes_at_once_and_only_if_it_is_that_pod() {
    let NodeRequest::DeletePod { options, .. } = request(golden!("pod-delete-by-uid")) else {
        panic!("a deletion")
    };
    let options: serde_json::Value = serde_json::from_slice(&options).expect("JSON");
    assert_eq!(options, serde_json::json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "3f1d0c1e"}}));
}

#[test]
fn status_reports_of_old_edges_become_patches() {
    assert_eq!(
        legacy(golden!("podstatus-one")),
        [r#"default/web-0 {"metadata":{"uid":"3f1d"},"status":{"phase":"Running"}}"#]
    );
    assert_eq!(
        legacy(golden!("podstatus-many")),
        [
            r#"default/web-0 {"metadata":{"uid":"3f1d"},"status":{"phase":"Running"}}"#,
            r#"default/web-1 {"metadata":{"uid":"4f1d"},"status":{"phase":"Failed"}}"#,
        ]
    );
    assert_eq!(legacy(golden!("nodestatus-update")), [r#"edge-1 {"status":{"phase":""}}"#]);
}

#[test]
fn a_patch_is_the_same_as_a_text_and_embedded() {
    assert_eq!(request(golden!("patch-as-text")), request(golden!("patch-embedded")));
}

#[test]
fn cluster_scoped_objects_that_are_asked_for_in_a_namespace_have_none() {
    for (text, path) in [
        (golden!("csr-in-default"), "default/certificatesigningrequest/csr-1"),
        (golden!("attachment-in-default"), "default/volumeattachment/va-1"),
    ] {
        let asked = request(text);
        let NodeRequest::Query(key) = &asked else { panic!("a query: {asked:?}") };
        assert_eq!(key.namespace, None);
        let Uplink::Request { path: sent_to, .. } = Uplink::request(asked) else { panic!("a request") };
        assert_eq!(sent_to.to_string(), path);
    }
}

#[test]
fn an_event_s_patch_travels_beside_the_event() {
    let NodeRequest::PatchEvent { event, patch } = request(golden!("event-patch")) else { panic!("a patch") };
    assert_eq!(event.meta().name, "web-0.1");
    assert_eq!(&patch[..], br#"{"count":2}"#);
}

#[test]
fn an_acknowledgement_carries_the_cloud_s_own_name_and_an_error_is_none() {
    let parent = MessageId::new("m1");
    match up(golden!("ack-in-the-cloud-s-name")) {
        Uplink::Ack { parent: acked, route } => {
            assert_eq!(acked, parent);
            assert_eq!((route.source.as_str(), route.group.as_str()), ("edgecontroller", "resource"));
        }
        other => panic!("an acknowledgement: {other:?}"),
    }
    let path = ResourcePath::parse("default/pod/web-0");
    assert_eq!(up(golden!("nack")), Uplink::Nack { parent, path, text: "disk full".to_owned() });
}

#[test]
fn a_message_with_nothing_in_it_is_unknown_and_no_error() {
    assert!(matches!(up(golden!("empty")), Uplink::Unknown(_)));
    assert!(matches!(down(golden!("empty")), Downlink::Unknown(_)));
}

#[test]
fn a_delete_may_name_no_kind_or_have_no_content_at_all() {
    let deleted = change(golden!("delete-without-kind"));
    assert_eq!((deleted.kind, deleted.object.kind()), (ChangeKind::Delete, None));
    assert_eq!(deleted.object.uid().map(|uid| uid.to_string()), Some("3f1d".to_owned()));
    let deleted = change(golden!("delete-without-content"));
    assert_eq!(deleted.key.to_string(), "node edge-1");
    assert_eq!(deleted.object.meta().name, "edge-1");
    assert_eq!(deleted.object.uid(), None);
}

#[test]
fn an_update_may_speak_of_an_object_that_was_never_inserted() {
    assert_eq!(change(golden!("update-of-the-unseen")).kind, ChangeKind::Update);
}

#[test]
fn an_object_may_be_held_in_a_text() {
    assert_eq!(change(golden!("object-in-a-text")).object.meta().name, "app");
}

#[test]
fn a_namespace_may_be_called_node() {
    assert_eq!(change(golden!("namespace-called-node")).key.to_string(), "pod node/web-0");
}

#[test]
fn html_characters_are_escaped_as_go_does() {
    let text = golden!("html-escapes");
    let change = change(text);
    let data = change.object.value().expect("JSON")["data"]["a"].clone();
    assert_eq!(data, "<b> & \u{2028}");
    let plain = Object::from_value(&change.object.value().expect("JSON")).expect("an object");
    let body = Downlink::change(ObjectChange { object: plain, ..change });
    let down = Envelope { id: MessageId::new("m1"), timestamp_ms: 1_767_225_600_000, body };
    let written = Codec::KubeEdge.encode_cloud(CloudFrame::Down(down)).expect("a frame");
    let written = String::from_utf8_lossy(written.payload()).into_owned();
    assert!(written.contains(r"\u003cb\u003e \u0026 \u2028"), "{written}");
}

#[test]
fn a_new_secret_is_announced_as_an_update() {
    let object = Object::parse(r#"{"metadata":{"name":"s","namespace":"default"}}"#).expect("an object");
    let key = object.key(protocol::ResourceType::SECRET).expect("a key");
    let body = Downlink::change(ObjectChange { kind: ChangeKind::Insert, key, object });
    let raw = Envelope { id: MessageId::new("m1"), timestamp_ms: 0, body }.into_raw();
    assert_eq!(raw.route.operation, "update");
}

#[test]
fn errors_take_the_object_s_place_or_stand_beside_it() {
    for text in [golden!("error-in-place-of-the-object"), golden!("outcome-with-both")] {
        match reply(text) {
            NodeReply::Refused(status) => assert!(status.is_not_found(), "{status}"),
            other => panic!("a refusal: {other:?}"),
        }
    }
    match reply(golden!("error-without-status")) {
        NodeReply::Refused(status) => assert_eq!(status.code, 500),
        other => panic!("a refusal: {other:?}"),
    }
}

#[test]
fn the_certificate_authority_is_a_text() {
    let pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    assert_eq!(reply(golden!("ca-as-text")), NodeReply::Text(pem));
}
