//! What rules route, as KubeEdge writes it: the messages of group `user`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::rules::{CommandReply, Headers, HttpAnswer, HttpCall, NodeCommand, NodeRules};
use protocol::{NodeReply, NodeRequest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::content::{self, Content};
use crate::path::ResourcePath;
use crate::raw::{RawMessage, RawRoute};

/// The group of all messages here.
const GROUP: &str = "user";
/// Who speaks in the cloud, and on a node.
const TO_EVENTBUS: &str = "router_eventbus";
const TO_SERVICEBUS: &str = "router_servicebus";
const EVENTBUS: &str = "bus";
const SERVICEBUS: &str = "servicebus";

/// Go's `HTTPRequest`. A Go byte slice is base64 text, or null.
#[derive(Serialize, Deserialize)]
struct GoRequest {
    #[serde(default)]
    header: Option<Headers>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
}

/// Go's `HTTPResponse`.
#[derive(Serialize, Deserialize)]
struct GoResponse {
    #[serde(default)]
    header: Option<Headers>,
    #[serde(default)]
    status_code: u16,
    #[serde(default)]
    body: Option<String>,
}

/// Writes a header's name as Go does, which looks headers up by this form only.
fn canonical(name: &str) -> String {
    let mut starts = true;
    let written = name.chars().map(|letter| {
        let written = if starts { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        starts = letter == '-';
        written
    });
    written.collect()
}

fn write_headers(headers: &Headers) -> Option<Headers> {
    let mut written = Headers::new();
    for (name, values) in headers {
        written.entry(canonical(name)).or_default().extend(values.iter().cloned());
    }
    Some(written)
}

fn read_body(body: Option<String>) -> Result<Bytes, String> {
    let body = STANDARD.decode(body.unwrap_or_default());
    body.map(Bytes::from).map_err(|error| format!("the body is not base64: {error}"))
}

fn json<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}

/// Returns the bytes of a text, or of the JSON that stands in its place.
fn payload(raw: Box<RawValue>) -> Result<Bytes, String> {
    Content::of(raw).map(Content::into_bytes).map_err(|error| error.to_string())
}

fn route(source: &str, operation: &str, resource: String) -> RawRoute {
    RawRoute {
        source: source.to_owned(),
        group: GROUP.to_owned(),
        operation: operation.to_owned(),
        resource,
        ..RawRoute::default()
    }
}

/// Returns the route and the content of a command. The codec has none for all rules at once: they are
/// said one by one.
pub(crate) fn write_command(command: NodeCommand) -> (RawRoute, Box<RawValue>) {
    let (source, operation, resource) = match command {
        NodeCommand::Route(NodeRules { topics, urls }) => {
            let content = content::json(&serde_json::json!({ "topics": topics, "urls": urls }));
            return (route(TO_EVENTBUS, "route", String::new()), content);
        }
        NodeCommand::Subscribe(topic) => (TO_EVENTBUS, "subscribe", topic),
        NodeCommand::Unsubscribe(topic) => (TO_EVENTBUS, "unsubscribe", topic),
        NodeCommand::AllowUrl(url) => (TO_SERVICEBUS, "start", url),
        NodeCommand::ForbidUrl(url) => (TO_SERVICEBUS, "stop", url),
        NodeCommand::Publish { topic, payload } => {
            return (route(TO_EVENTBUS, "publish", topic), content::text(&payload));
        }
        NodeCommand::Call(HttpCall { port, path, method, headers, body }) => {
            let content = GoRequest {
                header: write_headers(&headers),
                body: Some(STANDARD.encode(&body)),
                method: method.clone(),
                url: String::new(),
            };
            let path = ResourcePath::ServicePort { port, path };
            return (route(TO_SERVICEBUS, &method, path.to_string()), content::json(&content));
        }
    };
    (route(source, operation, resource), content::null())
}

/// What a message of the cloud's router is.
pub(crate) enum Read {
    /// What a node is to do.
    Command(NodeCommand),
    /// A call that cannot be made, and why.
    BadCall(String),
    /// Nothing that is known here, and why.
    Unknown(String),
}

/// Reads a message of the cloud's router; `None` if it is none.
pub(crate) fn read_command(raw: &RawMessage) -> Option<Read> {
    let RawRoute { source, group, operation, resource, .. } = &raw.route;
    if group != GROUP || !raw.header.parent_msg_id.is_empty() {
        return None;
    }
    let text = resource.clone();
    Some(match (source.as_str(), operation.as_str()) {
        (TO_EVENTBUS, "subscribe") => Read::Command(NodeCommand::Subscribe(text)),
        (TO_EVENTBUS, "unsubscribe") => Read::Command(NodeCommand::Unsubscribe(text)),
        (TO_EVENTBUS, "publish") => match payload(raw.content.clone()) {
            Ok(payload) => Read::Command(NodeCommand::Publish { topic: text, payload }),
            Err(problem) => Read::Unknown(problem),
        },
        (TO_EVENTBUS, "route") if resource.is_empty() => match json::<Rules>(&raw.content) {
            Ok(Rules { topics, urls }) => Read::Command(NodeCommand::Route(NodeRules { topics, urls })),
            Err(problem) => Read::Unknown(problem),
        },
        (TO_SERVICEBUS, "start") => Read::Command(NodeCommand::AllowUrl(text)),
        (TO_SERVICEBUS, "stop") => Read::Command(NodeCommand::ForbidUrl(text)),
        (TO_SERVICEBUS, _) => match read_call(raw) {
            Ok(call) => Read::Command(NodeCommand::Call(call)),
            Err(problem) => Read::BadCall(problem),
        },
        (TO_EVENTBUS, operation) => Read::Unknown(format!("no operation {operation:?} of topics is known")),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Rules {
    topics: std::collections::BTreeSet<String>,
    urls: std::collections::BTreeSet<String>,
}

/// The texts are those of KubeEdge's service bus.
fn read_call(raw: &RawMessage) -> Result<HttpCall, String> {
    let ResourcePath::ServicePort { port, path } = ResourcePath::parse(&raw.route.resource) else {
        return Err(format!("the format of resource {} is incorrect", raw.route.resource));
    };
    let unreadable = |problem: String| format!("error to parse http request: {problem}");
    let GoRequest { header, body, method, .. } = json(&raw.content).map_err(unreadable)?;
    // A request without a method is a GET, as Go makes it.
    let method = if method.is_empty() { "GET".to_owned() } else { method };
    if !is_method(&method) {
        return Err(unreadable(format!("{method:?} is no method")));
    }
    let body = read_body(body).map_err(unreadable)?;
    Ok(HttpCall { port, path, method, headers: header.unwrap_or_default(), body })
}

/// Tells whether this is a method and no operation of another kind, as `start` is one.
fn is_method(text: &str) -> bool {
    text.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'-')
}

/// Returns the route and the content of a reply to a command. KubeEdge's edge answers calls only, and its
/// cloud hears only answers with the operation `upload`: those of KubeEdge's own edge about failed calls
/// have none and are lost.
pub(crate) fn write_reply(reply: CommandReply) -> (RawRoute, Box<RawValue>) {
    let answer = match reply {
        CommandReply::Done => return (route(EVENTBUS, "response", String::new()), content::json(&"OK")),
        CommandReply::Answer(answer) => answer,
        CommandReply::Refused(text) => HttpAnswer::of_agent(502, text),
    };
    let content = GoResponse {
        header: write_headers(&answer.headers),
        status_code: answer.status,
        body: Some(STANDARD.encode(&answer.body)),
    };
    (route(SERVICEBUS, "upload", String::new()), content::json(&content))
}

/// Reads the answer of a node to a call; `None` if the message is none.
pub(crate) fn read_reply(raw: &RawMessage) -> Option<CommandReply> {
    let RawRoute { source, group, operation, .. } = &raw.route;
    let is_answer = source == SERVICEBUS && group == GROUP && !raw.header.parent_msg_id.is_empty();
    if !is_answer || !matches!(operation.as_str(), "upload" | "") {
        return None;
    }
    let answer = json::<GoResponse>(&raw.content).and_then(|GoResponse { header, status_code, body }| {
        let (headers, body) = (header.unwrap_or_default(), read_body(body)?);
        Ok(HttpAnswer { status: status_code, headers, body })
    });
    Some(match answer {
        Ok(answer) => CommandReply::Answer(answer),
        Err(problem) => CommandReply::Refused(format!("the node's answer is not readable: {problem}")),
    })
}

/// Returns the route and the content of what a node passes on for the rules; `None` for other requests.
pub(crate) fn write_request(request: &NodeRequest) -> Option<(RawRoute, Box<RawValue>)> {
    match request {
        NodeRequest::Upload { topic, payload } => {
            Some((route(EVENTBUS, "upload", topic.clone()), content::text(payload)))
        }
        NodeRequest::CallUrl { url, body } => {
            Some((route(SERVICEBUS, "upload", url.clone()), content::json(&STANDARD.encode(body))))
        }
        _ => None,
    }
}

/// Reads what a node passes on for the rules; `None` if the message is nothing of the kind.
pub(crate) fn read_request(raw: &RawMessage) -> Option<Result<NodeRequest, String>> {
    let RawRoute { source, group, operation, resource, .. } = &raw.route;
    if group != GROUP || operation != "upload" || !raw.header.parent_msg_id.is_empty() {
        return None;
    }
    let payload = payload(raw.content.clone());
    match source.as_str() {
        EVENTBUS => Some(payload.map(|payload| NodeRequest::Upload { topic: resource.clone(), payload })),
        SERVICEBUS => Some(payload.and_then(|text| {
            let body = read_body(String::from_utf8(text.to_vec()).ok())?;
            Ok(NodeRequest::CallUrl { url: resource.clone(), body })
        })),
        _ => None,
    }
}

/// Returns the route of the answer to a [`NodeRequest::CallUrl`].
pub(crate) fn answer_route(path: &ResourcePath) -> RawRoute {
    route(SERVICEBUS, "response", path.to_string())
}

/// Reads the answer to a [`NodeRequest::CallUrl`]; `None` if the message is none.
pub(crate) fn read_answer(raw: &RawMessage) -> Option<Result<NodeReply, String>> {
    let RawRoute { source, group, operation, .. } = &raw.route;
    let is_answer = source == SERVICEBUS && group == GROUP && operation == "response";
    if !is_answer || raw.header.parent_msg_id.is_empty() {
        return None;
    }
    let text = payload(raw.content.clone());
    Some(text.map(|text| NodeReply::Text(String::from_utf8_lossy(&text).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_s_name_is_written_as_go_looks_it_up() {
        for (name, expect) in
            [("content-type", "Content-Type"), ("X-TEST", "X-Test"), ("accept", "Accept"), ("-a", "-A")]
        {
            assert_eq!(canonical(name), expect);
        }
    }
}
