//! All that an edge sends.

use protocol::NodeRequest;
use protocol::rules::CommandReply;

use crate::content::{self, Content};
use crate::legacy;
use crate::message::{Envelope, MessageId, Unknown};
use crate::path::ResourcePath;
use crate::raw::{RawMessage, RawRoute};
use crate::request;
use crate::rule;

/// What an acknowledgement repeats of the message that it acknowledges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckRoute {
    /// The module that sent the message.
    pub source: String,
    /// The group that it was for.
    pub group: String,
    /// Its path.
    pub path: ResourcePath,
}

/// A message of an edge.
#[derive(Debug, Clone, PartialEq)]
pub enum Uplink {
    /// The edge is there.
    Keepalive,
    /// A change is on the edge's disk, or an answer arrived.
    Ack {
        /// The acknowledged message.
        parent: MessageId,
        /// Its route.
        route: AckRoute,
    },
    /// A change could not be kept: it is to be sent again.
    Nack {
        /// The message.
        parent: MessageId,
        /// Its path.
        path: ResourcePath,
        /// What went wrong.
        text: String,
    },
    /// A request.
    Request {
        /// Its path, which the answer repeats.
        path: ResourcePath,
        /// What is asked.
        request: NodeRequest,
    },
    /// What became of a command. KubeEdge's edge says so of calls only.
    CommandReply {
        /// The command.
        parent: MessageId,
        /// What became of it.
        reply: CommandReply,
    },
    /// A status report of an old edge, answered with `OK` once all of it is done.
    LegacyStatus {
        /// Its path, which the answer repeats.
        path: ResourcePath,
        /// What it amounts to.
        requests: Vec<NodeRequest>,
        /// The message as it came.
        raw: Box<RawMessage>,
    },
    /// Anything else.
    Unknown(Unknown),
}

impl Uplink {
    /// Makes a request of a node, with the path that KubeEdge's cloud expects.
    #[must_use]
    pub fn request(request: NodeRequest) -> Self {
        Self::Request { path: request::path_of(&request), request }
    }
}

impl Envelope<Uplink> {
    /// Reads a message. Every message is something, if only [`Uplink::Unknown`].
    #[must_use]
    pub fn from_raw(raw: RawMessage) -> Self {
        Self::read(raw, read)
    }

    /// Writes the message as KubeEdge does.
    #[must_use]
    pub fn into_raw(self) -> RawMessage {
        let mut header = self.header();
        let route = |source: &str, group: &str, operation: &str, path: &ResourcePath| RawRoute {
            source: source.to_owned(),
            group: group.to_owned(),
            operation: operation.to_owned(),
            resource: path.to_string(),
            ..RawRoute::default()
        };
        let (route, content) = match self.body {
            Uplink::Unknown(Unknown { raw, .. }) | Uplink::LegacyStatus { raw, .. } => return *raw,
            Uplink::Keepalive => (
                route("websocket", "resource", "keepalive", &ResourcePath::Keepalive),
                content::json(&"ping"),
            ),
            Uplink::Ack { parent, route: ack } => {
                parent.as_str().clone_into(&mut header.parent_msg_id);
                (route(&ack.source, &ack.group, "response", &ack.path), content::json(&"OK"))
            }
            Uplink::Nack { parent, path, text } => {
                parent.as_str().clone_into(&mut header.parent_msg_id);
                (route("", "", "error", &path), content::json(&text))
            }
            Uplink::CommandReply { parent, reply } => {
                parent.as_str().clone_into(&mut header.parent_msg_id);
                rule::write_reply(reply)
            }
            Uplink::Request { path, request } => request::write(&path, &request),
        };
        RawMessage { header, route, content }
    }
}

/// Reads in the order in which upstream's dispatcher decides.
fn read(raw: RawMessage) -> Uplink {
    let path = ResourcePath::parse(&raw.route.resource);
    let parent = || MessageId::new(&raw.header.parent_msg_id);
    match raw.route.operation.as_str() {
        "keepalive" => return Uplink::Keepalive,
        "config" | "ping" | "pong" => return Uplink::Unknown(Unknown::new(raw, "a control message")),
        _ if matches!(path, ResourcePath::Volume { .. }) => {
            return Uplink::Unknown(Unknown::new(raw, "volumes are not served"));
        }
        "response" => {
            let route = AckRoute { source: raw.route.source.clone(), group: raw.route.group.clone(), path };
            return Uplink::Ack { parent: parent(), route };
        }
        "error" => {
            let text = Content::of(raw.content.clone()).map(Content::into_bytes).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            return Uplink::Nack { parent: parent(), path, text };
        }
        _ => {}
    }
    if let Some(reply) = rule::read_reply(&raw) {
        return Uplink::CommandReply { parent: parent(), reply };
    }
    if let Some(request) = rule::read_request(&raw) {
        return match request {
            Ok(request) => Uplink::Request { path, request },
            Err(problem) => Uplink::Unknown(Unknown::new(raw, problem)),
        };
    }
    let is_report = matches!(path, ResourcePath::Device { .. }) && raw.route.source == "twin";
    if !is_report
        && matches!(raw.route.source.as_str(), "metaserver" | "twin" | "bus" | "servicebus" | "websocket")
    {
        let problem = format!("messages of {} are not served", raw.route.source);
        return Uplink::Unknown(Unknown::new(raw, problem));
    }
    if let Some(legacy) = legacy::read(&path, &raw) {
        return match legacy {
            Ok(requests) => Uplink::LegacyStatus { path, requests, raw: Box::new(raw) },
            Err(problem) => Uplink::Unknown(Unknown::new(raw, problem)),
        };
    }
    match request::read(&path, raw.clone()) {
        Ok(request) => Uplink::Request { path, request },
        Err(problem) => Uplink::Unknown(Unknown::new(raw, problem)),
    }
}
