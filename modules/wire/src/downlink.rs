//! All that a cloud sends.

use bytes::Bytes;
use protocol::device::payload::{Device, MembershipUpdate};
use protocol::rules::NodeCommand;
use protocol::{ChangeKind, DeviceId, NodeReply, Object, ObjectChange, ObjectKey, ResourceType};

use crate::content::{self, Content};
use crate::message::{Envelope, MessageId, Unknown};
use crate::path::ResourcePath;
use crate::raw::{RawMessage, RawRoute};
use crate::reply::{self, ReplyShape, ReplyTo};
use crate::request::key_of_path;
use crate::rule::{self, Read};
use crate::uplink::AckRoute;

/// A message of a cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum Downlink {
    /// An object changed. The edge acknowledges it once it is on disk.
    Change {
        /// The module that sends it, which the acknowledgement repeats.
        source: String,
        /// The change.
        change: ObjectChange,
    },
    /// The answer to a request.
    Reply {
        /// What it answers.
        to: ReplyTo,
        /// The answer.
        reply: NodeReply,
    },
    /// Devices of the node came or went, as JSON. Only KubeEdge's edges need it: ours know by the objects.
    Membership(Bytes),
    /// What the node is to do for the rules.
    Command(NodeCommand),
    /// A call of a service on the node that cannot be made.
    BadCall {
        /// The message as it came.
        raw: Box<RawMessage>,
        /// Why not, as KubeEdge's edge answers it.
        problem: String,
    },
    /// Anything else.
    Unknown(Unknown),
}

/// The module that upstream's cloud names as the sender of all this crate sends.
const SOURCE: &str = "edgecontroller";
const GROUP: &str = "resource";
/// The module that upstream's cloud names as the sender of what concerns devices.
const DEVICES: &str = "devicecontroller";

fn is_of_devices(resource: &ResourceType) -> bool {
    [ResourceType::DEVICE, ResourceType::DEVICE_MODEL].contains(resource)
}

impl Downlink {
    /// Makes a change as the controller of its type sends it.
    #[must_use]
    pub fn change(change: ObjectChange) -> Self {
        let source = if is_of_devices(&change.key.resource) { DEVICES } else { SOURCE };
        Self::Change { source: source.to_owned(), change }
    }
}

/// Returns what KubeEdge's cloud says beside a change of a device, if the device comes or goes.
#[must_use]
pub fn membership(change: &ObjectChange, event_id: String, timestamp: i64) -> Option<Downlink> {
    let id = DeviceId::of(&change.key)?;
    let labels = change.object.value().ok();
    let description = labels.as_ref().and_then(|object| object["metadata"]["labels"]["description"].as_str());
    let device = Device {
        id: id.to_string(),
        name: id.name.to_string(),
        description: description.unwrap_or_default().to_owned(),
        ..Device::default()
    };
    let devices = Some(vec![device]);
    let (added_devices, removed_devices) = match change.kind {
        ChangeKind::Insert => (devices, None),
        ChangeKind::Delete => (None, devices),
        ChangeKind::Update => return None,
    };
    let update = MembershipUpdate { event_id, timestamp, added_devices, removed_devices };
    Some(Downlink::Membership(serde_json::to_vec(&update).ok()?.into()))
}

impl Envelope<Downlink> {
    /// Reads a message. Every message is something, if only [`Downlink::Unknown`].
    #[must_use]
    pub fn from_raw(raw: RawMessage) -> Self {
        Self::read(raw, read)
    }

    /// Writes the message as KubeEdge does.
    #[must_use]
    pub fn into_raw(self) -> RawMessage {
        let mut header = self.header();
        let route = |source: String, operation: &str, path: &ResourcePath| RawRoute {
            source,
            group: GROUP.to_owned(),
            operation: operation.to_owned(),
            resource: path.to_string(),
            ..RawRoute::default()
        };
        match self.body {
            Downlink::Unknown(Unknown { raw, .. }) | Downlink::BadCall { raw, .. } => *raw,
            Downlink::Command(command) => {
                let (route, content) = rule::write_command(command);
                RawMessage { header, route, content }
            }
            Downlink::Membership(update) => {
                let route = route(DEVICES.to_owned(), "update", &ResourcePath::Membership);
                let route = RawRoute { group: "twin".to_owned(), ..route };
                RawMessage { header, route, content: content::embed(&update) }
            }
            Downlink::Change { source, change } => {
                header.resourceversion = version(&change.object);
                let operation = operation(&change);
                let content = content::embed(change.object.raw());
                RawMessage {
                    header,
                    route: route(source, operation, &ResourcePath::Object(change.key)),
                    content,
                }
            }
            Downlink::Reply { to, reply } => {
                to.parent.as_str().clone_into(&mut header.parent_msg_id);
                if let (NodeReply::Object(object), true) = (&reply, has_version(&to.path)) {
                    header.resourceversion = version(object);
                }
                let content = reply::write(to.shape, &reply);
                if to.shape == ReplyShape::Body {
                    return RawMessage { header, route: rule::answer_route(&to.path), content };
                }
                let source = match to.path {
                    ResourcePath::KubernetesCa => "cloudhub",
                    ResourcePath::Device { .. } | ResourcePath::Twin => DEVICES,
                    _ => SOURCE,
                };
                if source == DEVICES {
                    let route = route(source.to_owned(), "response", &ResourcePath::Twin);
                    return RawMessage {
                        header,
                        route: RawRoute { group: "twin".to_owned(), ..route },
                        content,
                    };
                }
                RawMessage { header, route: route(source.to_owned(), "response", &to.path), content }
            }
        }
    }

    /// Returns the route of the acknowledgement that upstream's edge would send for this message
    /// once it is dealt with; `None` when it would send none.
    #[must_use]
    pub fn ack_route(&self) -> Option<AckRoute> {
        match &self.body {
            Downlink::Change { source, change } => Some(ack_of_change(source, change)),
            Downlink::Reply { to, .. } if is_acked(&to.path) => {
                Some(AckRoute { source: SOURCE.to_owned(), group: GROUP.to_owned(), path: to.path.clone() })
            }
            Downlink::Reply { .. }
            | Downlink::Membership(_)
            | Downlink::Command(_)
            | Downlink::BadCall { .. }
            | Downlink::Unknown(_) => None,
        }
    }
}

/// Devices that come or go are acknowledged in the name of the module that hands them on.
fn ack_of_change(source: &str, change: &ObjectChange) -> AckRoute {
    let is_device = is_of_devices(&change.key.resource);
    let (source, group) =
        if is_device && change.kind != ChangeKind::Update { ("meta", "twin") } else { (source, GROUP) };
    let path = ResourcePath::Object(change.key.clone());
    AckRoute { source: source.to_owned(), group: group.to_owned(), path }
}

fn version(object: &Object) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

/// Upstream announces a secret as an update even when it is new.
fn operation(change: &ObjectChange) -> &'static str {
    match change.kind {
        ChangeKind::Insert if change.key.resource == ResourceType::SECRET => "update",
        ChangeKind::Insert => "insert",
        ChangeKind::Update => "update",
        ChangeKind::Delete => "delete",
    }
}

fn type_of(path: &ResourcePath) -> &str {
    match path {
        ResourcePath::Object(key) => key.resource.as_str(),
        _ => "",
    }
}

/// Answers to these carry the object's version in the header.
fn has_version(path: &ResourcePath) -> bool {
    let types = ["configmap", "secret", "persistentvolume", "persistentvolumeclaim", "volumeattachment"];
    types.contains(&type_of(path)) || matches!(type_of(path), "nodepatch" | "podpatch")
}

/// Answers to these are acknowledged.
fn is_acked(path: &ResourcePath) -> bool {
    let types = ["configmap", "secret", "persistentvolume", "persistentvolumeclaim", "volumeattachment"];
    types.contains(&type_of(path)) || matches!(type_of(path), "lease" | "node" | "serviceaccounttoken")
}

fn read(raw: RawMessage) -> Downlink {
    if let Some(read) = rule::read_command(&raw) {
        return match read {
            Read::Command(command) => Downlink::Command(command),
            Read::BadCall(problem) => Downlink::BadCall { raw: Box::new(raw), problem },
            Read::Unknown(problem) => Downlink::Unknown(Unknown::new(raw, problem)),
        };
    }
    if let Some(answer) = rule::read_answer(&raw) {
        return match answer {
            Ok(reply) => {
                let parent = MessageId::new(&raw.header.parent_msg_id);
                let path = ResourcePath::parse(&raw.route.resource);
                Downlink::Reply { to: ReplyTo { parent, path, shape: ReplyShape::Body }, reply }
            }
            Err(problem) => Downlink::Unknown(Unknown::new(raw, problem)),
        };
    }
    let path = ResourcePath::parse(&raw.route.resource);
    let to_resources = matches!(raw.route.group.as_str(), "resource" | "func");
    let kind = match raw.route.operation.as_str() {
        "insert" => Some(ChangeKind::Insert),
        "update" => Some(ChangeKind::Update),
        "delete" => Some(ChangeKind::Delete),
        _ => None,
    };
    match (kind, path) {
        (Some(kind), ResourcePath::Object(key)) if to_resources && raw.header.parent_msg_id.is_empty() => {
            match object_of(kind, &key, &raw) {
                Ok(object) => {
                    let source = raw.route.source;
                    Downlink::Change { source, change: ObjectChange { kind, key: key_of_path(key), object } }
                }
                Err(problem) => Downlink::Unknown(Unknown::new(raw, problem)),
            }
        }
        (None, path) if (to_resources || path == ResourcePath::Twin) && raw.route.operation == "response" => {
            match reply::read(&path, raw.content.clone()) {
                Ok((shape, reply)) => {
                    let parent = MessageId::new(&raw.header.parent_msg_id);
                    Downlink::Reply { to: ReplyTo { parent, path, shape }, reply }
                }
                Err(problem) => Downlink::Unknown(Unknown::new(raw, problem)),
            }
        }
        (Some(ChangeKind::Update), ResourcePath::Membership) if raw.route.group == "twin" => {
            match Content::of(raw.content.clone()) {
                Ok(Content::Json(update)) => Downlink::Membership(update),
                _ => Downlink::Unknown(Unknown::new(raw, "a membership is an object")),
            }
        }
        _ => {
            let problem = format!("no operation {:?} of this kind is known", raw.route.operation);
            Downlink::Unknown(Unknown::new(raw, problem))
        }
    }
}

/// A delete may come without content: what it deletes is in its path.
fn object_of(kind: ChangeKind, key: &ObjectKey, raw: &RawMessage) -> Result<Object, String> {
    if kind == ChangeKind::Delete && raw.content.get() == "null" {
        let namespace = key.namespace.as_ref().map(|namespace| namespace.as_str());
        let content = serde_json::json!({"metadata": {"name": key.name.as_str(), "namespace": namespace}});
        return Object::from_value(&content).map_err(|error| error.to_string());
    }
    content::object(raw.content.clone())
}
