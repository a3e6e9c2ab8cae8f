//! What rules route, as KubeEdge's router, event bus and service bus write and read it.

use bytes::Bytes;
use protocol::rules::{CommandReply, HttpAnswer, HttpCall, NodeCommand, NodeRules};
use protocol::{ApiStatus, NodeReply, NodeRequest};
use serde_json::{Value, json};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, Downlink, Envelope, MessageId, ReplyShape, ReplyTo, ResourcePath, Uplink};

fn down(text: &str) -> Envelope<Downlink> {
    match Codec::KubeEdge.decode_cloud(&Frame::Text(text.to_owned().into())) {
        Ok(CloudFrame::Down(envelope)) => envelope,
        other => panic!("a message: {other:?}"),
    }
}

fn up(text: &str) -> Envelope<Uplink> {
    match Codec::KubeEdge.decode_edge(&Frame::Text(text.to_owned().into())) {
        Ok(EdgeFrame::Up(envelope)) => envelope,
        other => panic!("a message: {other:?}"),
    }
}

fn said_down(body: Downlink) -> Value {
    let envelope = Envelope { id: MessageId::new("i"), timestamp_ms: 1, body };
    let frame = Codec::KubeEdge.encode_cloud(CloudFrame::Down(envelope)).expect("a frame");
    serde_json::from_slice(frame.payload()).expect("JSON")
}

fn said_up(body: Uplink) -> Value {
    let envelope = Envelope { id: MessageId::new("i"), timestamp_ms: 1, body };
    let frame = Codec::KubeEdge.encode_edge(EdgeFrame::Up(envelope)).expect("a frame");
    serde_json::from_slice(frame.payload()).expect("JSON")
}

/// Recorded from KubeEdge's cloud.
const CALL: &str = r#"{"header":{"msg_id":"65a73b49-dfb4-4c34-a0b4-084e7c2a7863","timestamp":1795212317033},"route":{"source":"router_servicebus","group":"user","operation":"POST","resource":"16666:/target"},"content":{"header":{"Accept":["*/*"],"X-Test":["y"]},"body":"c2IgYm9keQ==","method":"POST","url":""}}"#;

fn call() -> HttpCall {
    let headers = [("Accept", "*/*"), ("X-Test", "y")];
    HttpCall {
        port: 16666,
        path: "/target".to_owned(),
        method: "POST".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into(),
        body: Bytes::from_static(b"sb body"),
    }
}

#[test]
fn a_call_is_read_as_the_recorded_cloud_sends_it_and_written_so() {
    let envelope = down(CALL);
    assert_eq!(envelope.body, Downlink::Command(NodeCommand::Call(call())));
    let written = Codec::KubeEdge.encode_cloud(CloudFrame::Down(envelope)).expect("a frame");
    assert_eq!(String::from_utf8_lossy(written.payload()).trim(), CALL);
}

#[test]
fn a_header_goes_to_a_kubeedge_edge_under_the_name_that_go_looks_up() {
    let mut call = call();
    call.headers = [("accept".to_owned(), vec!["a".to_owned()])].into();
    let written = said_down(Downlink::Command(NodeCommand::Call(call)));
    assert_eq!(written["content"]["header"], json!({ "Accept": ["a"] }));
}

#[test]
fn a_call_that_cannot_be_made_is_one_with_its_reason() {
    for (from, to, expect) in [
        ("16666:/target", "a/b", "the format of resource a/b is incorrect"),
        ("16666:/target", "16666:target", "the format of resource 16666:target is incorrect"),
        ("\"c2IgYm9keQ==\"", "\"?\"", "error to parse http request: the body is not base64"),
        ("\"method\":\"POST\"", "\"method\":7", "error to parse http request"),
        ("\"method\":\"POST\"", "\"method\":\"start\"", "error to parse http request"),
    ] {
        match down(&CALL.replace(from, to)).body {
            Downlink::BadCall { problem, .. } => assert!(problem.starts_with(expect), "{problem}"),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn what_a_node_is_to_route_is_said_one_by_one() {
    let text = |text: &str| text.to_owned();
    for (command, source, operation, resource) in [
        (NodeCommand::Subscribe(text("default/a")), "router_eventbus", "subscribe", "default/a"),
        (NodeCommand::Unsubscribe(text("default/a")), "router_eventbus", "unsubscribe", "default/a"),
        (NodeCommand::AllowUrl(text("http://h/a")), "router_servicebus", "start", "http://h/a"),
        (NodeCommand::ForbidUrl(text("http://h/a")), "router_servicebus", "stop", "http://h/a"),
    ] {
        let written = said_down(Downlink::Command(command.clone()));
        let route =
            json!({ "source": source, "group": "user", "operation": operation, "resource": resource });
        assert_eq!((&written["route"], &written["content"]), (&route, &Value::Null));
        assert_eq!(down(&written.to_string()).body, Downlink::Command(command));
    }
    let all = NodeRules { topics: [text("a")].into(), urls: [text("u")].into() };
    let written = said_down(Downlink::Command(NodeCommand::Route(all.clone())));
    assert_eq!(down(&written.to_string()).body, Downlink::Command(NodeCommand::Route(all)));
}

#[test]
fn a_payload_is_the_text_or_the_json_that_stands_in_its_place() {
    for (content, expect) in
        [("\"{\\\"hello\\\":1}\"", "{\"hello\":1}"), ("{\"hello\":1}", "{\"hello\":1}"), ("null", "")]
    {
        let text = format!(
            r#"{{"route":{{"source":"router_eventbus","group":"user","operation":"publish","resource":"a/b"}},"content":{content}}}"#
        );
        let expect = NodeCommand::Publish { topic: "a/b".to_owned(), payload: expect.into() };
        assert_eq!(down(&text).body, Downlink::Command(expect));
        let text = format!(
            r#"{{"route":{{"source":"bus","group":"user","operation":"upload","resource":"a/b"}},"content":{content}}}"#
        );
        assert!(matches!(up(&text).body, Uplink::Request { request: NodeRequest::Upload { .. }, .. }));
    }
}

#[test]
fn a_failed_call_is_heard_with_and_without_the_operation_and_always_said_with_it() {
    let answer = HttpAnswer::of_agent(404, "error to call service");
    let parent = MessageId::new("p");
    let reply = CommandReply::Answer(answer.clone());
    let written = said_up(Uplink::CommandReply { parent: parent.clone(), reply: reply.clone() });
    assert_eq!(written["route"], json!({ "source": "servicebus", "group": "user", "operation": "upload" }));
    assert_eq!(written["header"]["parent_msg_id"], "p");
    // As KubeEdge's edge says it.
    let mut without = written.clone();
    without["route"] = json!({ "source": "servicebus", "group": "user" });
    for text in [written, without] {
        let heard = up(&text.to_string()).body;
        assert_eq!(heard, Uplink::CommandReply { parent: parent.clone(), reply: reply.clone() });
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_a_refusal_and_not_a_silence() {
    for content in ["7", "{\"status_code\":70000}", "{\"status_code\":200,\"body\":\"?\"}"] {
        let text = format!(
            r#"{{"header":{{"parent_msg_id":"p"}},"route":{{"source":"servicebus","group":"user","operation":"upload"}},"content":{content}}}"#
        );
        match up(&text).body {
            Uplink::CommandReply { reply: CommandReply::Refused(text), .. } => {
                assert!(text.contains("not readable"), "{text}");
            }
            other => panic!("{content}: {other:?}"),
        }
    }
}

#[test]
fn an_application_s_call_is_base64_and_is_answered_by_a_text() {
    let request = NodeRequest::CallUrl { url: "http://h/a".to_owned(), body: Bytes::from_static(b"{}") };
    let written = said_up(Uplink::request(request.clone()));
    assert_eq!(written["content"], "e30=");
    assert!(
        matches!(up(&written.to_string()).body, Uplink::Request { request: read, .. } if read == request)
    );
    let to = ReplyTo {
        parent: MessageId::new("i"),
        path: ResourcePath::parse("http://h/a"),
        shape: ReplyShape::of(&request),
    };
    for (reply, expect) in [
        (NodeReply::Text("{\"sink\":\"ok\"}".to_owned()), "{\"sink\":\"ok\"}"),
        (NodeReply::Refused(ApiStatus::new(500, "EndpointAnswered", "no")), "no"),
    ] {
        let written = said_down(Downlink::Reply { to: to.clone(), reply });
        let route = json!({ "source": "servicebus", "group": "user", "operation": "response", "resource": "http://h/a" });
        assert_eq!((&written["route"], &written["content"]), (&route, &json!(expect)));
        let read = Downlink::Reply { to: to.clone(), reply: NodeReply::Text(expect.to_owned()) };
        assert_eq!(down(&written.to_string()).body, read);
    }
}
