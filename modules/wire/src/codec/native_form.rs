//! The shapes of the native codec's frames: flat, named, and without a nested level of foreign
//! making, since objects travel as opaque bytes.

use bytes::Bytes;
use protocol::{
    ApiStatus, Buckets, ChangeKind, DeviceId, Held, Lease, Namespace, NodeName, NodeReply, NodeRequest,
    Object, ObjectChange, ObjectKey, ObjectName, ResourceType, ResourceVersion, Uid,
};
use serde::{Deserialize, Serialize};

use super::{Comparison, DecodeError};

pub(super) use super::rule_form::{CommandForm, CommandReplyForm};

#[derive(Serialize, Deserialize)]
pub(super) enum EdgeForm {
    Hello {
        version: u16,
        node: String,
        instance: Bytes,
        held: Option<Vec<HeldForm>>,
        #[serde(default)]
        features: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Bytes>,
    },
    Up {
        id: String,
        at: i64,
        up: UpForm,
    },
    Ping(u64),
    Pong(u64),
    Goodbye(String),
    Part {
        lane: u8,
        last: bool,
        bytes: Bytes,
    },
    Packed {
        lane: u8,
        size: u32,
        bytes: Bytes,
    },
    Comparison(ComparisonForm),
}

#[derive(Serialize, Deserialize)]
pub(super) enum CloudForm {
    Welcome {
        version: u16,
        session: u64,
        #[serde(default)]
        features: u32,
    },
    Down {
        id: String,
        at: i64,
        down: DownForm,
    },
    Ping(u64),
    Pong(u64),
    Goodbye(String),
    Part {
        lane: u8,
        last: bool,
        bytes: Bytes,
    },
    Packed {
        lane: u8,
        size: u32,
        bytes: Bytes,
    },
    Notice(String),
    Comparison(ComparisonForm),
}

#[derive(Serialize, Deserialize)]
pub(super) enum ComparisonForm {
    AskSummary,
    Summary(Vec<u64>),
    AskHeld { of: u16, buckets: Bytes },
    Held { of: u16, buckets: Bytes, held: Vec<HeldForm> },
    Unknown,
}

#[derive(Serialize, Deserialize)]
pub(super) enum UpForm {
    Keepalive,
    Ack(String),
    Nack {
        parent: String,
        text: String,
    },
    Request(RequestForm),
    CommandReply {
        parent: String,
        reply: CommandReplyForm,
    },
    /// A KubeEdge message that has no native form.
    Raw(Bytes),
}

#[derive(Serialize, Deserialize)]
pub(super) enum DownForm {
    Change(ChangeForm),
    Reply { parent: String, reply: ReplyForm },
    Command(CommandForm),
    Raw(Bytes),
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeyForm {
    resource: String,
    namespace: Option<String>,
    name: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeldForm {
    key: KeyForm,
    uid: Option<String>,
    version: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum KindForm {
    Insert,
    Update,
    Delete,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ChangeForm {
    kind: KindForm,
    key: KeyForm,
    object: Bytes,
}

#[derive(Serialize, Deserialize)]
pub(super) enum RequestForm {
    RegisterNode(Bytes),
    UpdateNode(Bytes),
    PatchNodeStatus { node: String, patch: Bytes },
    PatchPodStatus { namespace: String, pod: String, patch: Bytes },
    CreatePod(Bytes),
    DeletePod { namespace: String, pod: String, options: Bytes },
    Query(KeyForm),
    CreateLease(Bytes),
    UpdateLease(Bytes),
    Token { namespace: String, account: String, request: Bytes },
    CreateCsr(Bytes),
    RecordEvent(Bytes),
    PatchEvent { event: Bytes, patch: Bytes },
    KubernetesCa,
    ReportTwins { namespace: String, device: String, report: Bytes },
    ReportDeviceState { namespace: String, device: String, report: Bytes },
    Upload { topic: String, payload: Bytes },
    CallUrl { url: String, body: Bytes },
}

#[derive(Serialize, Deserialize)]
pub(super) enum ReplyForm {
    Object(Bytes),
    Done,
    Text(String),
    /// The status as JSON, since its details are open.
    Refused(Bytes),
}

type Read<T> = Result<T, DecodeError>;

fn bad(what: &'static str, problem: impl ToString) -> DecodeError {
    DecodeError::Value { what, problem: problem.to_string() }
}

fn object(bytes: Bytes) -> Read<Object> {
    Object::parse(bytes).map_err(|error| bad("object", error))
}

fn namespace(text: &str) -> Read<Namespace> {
    Namespace::parse(text).map_err(|error| bad("namespace", error))
}

fn name(text: &str) -> Read<ObjectName> {
    ObjectName::parse(text).map_err(|error| bad("name", error))
}

/// JSON that is handed on unread is checked once, so that nobody later embeds what is not JSON.
fn json(bytes: Bytes) -> Read<Bytes> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(bad("JSON text", error)),
    }
}

impl From<&ObjectKey> for KeyForm {
    fn from(key: &ObjectKey) -> Self {
        Self {
            resource: key.resource.to_string(),
            namespace: key.namespace.as_ref().map(ToString::to_string),
            name: key.name.to_string(),
        }
    }
}

impl KeyForm {
    fn read(self) -> Read<ObjectKey> {
        Ok(ObjectKey {
            resource: ResourceType::parse(&self.resource).map_err(|error| bad("resource type", error))?,
            namespace: self.namespace.as_deref().map(namespace).transpose()?,
            name: name(&self.name)?,
        })
    }
}

impl From<&Held> for HeldForm {
    fn from(held: &Held) -> Self {
        Self {
            key: KeyForm::from(&held.key),
            uid: held.uid.as_ref().map(ToString::to_string),
            version: held.resource_version.as_ref().map(ToString::to_string),
        }
    }
}

impl HeldForm {
    pub(super) fn read(self) -> Read<Held> {
        Ok(Held {
            key: self.key.read()?,
            uid: self.uid.as_deref().map(Uid::parse).transpose().map_err(|error| bad("uid", error))?,
            resource_version: self.version.as_deref().map(ResourceVersion::new),
        })
    }
}

/// Writes how many buckets there are and which are meant.
fn write_buckets(buckets: &Buckets) -> (u16, Bytes) {
    let of = u16::try_from(buckets.of()).expect("at most 256 buckets");
    (of, Bytes::copy_from_slice(buckets.chosen()))
}

fn read_buckets(of: u16, chosen: &[u8]) -> Read<Buckets> {
    Buckets::new(of.into(), chosen.to_vec()).ok_or_else(|| bad("bucket", "there is no such bucket"))
}

impl From<Comparison> for ComparisonForm {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::AskSummary => Self::AskSummary,
            Comparison::Summary(sums) => Self::Summary(sums),
            Comparison::AskHeld(buckets) => {
                let (of, buckets) = write_buckets(&buckets);
                Self::AskHeld { of, buckets }
            }
            Comparison::Held { buckets, held } => {
                let (of, buckets) = write_buckets(&buckets);
                Self::Held { of, buckets, held: held.iter().map(HeldForm::from).collect() }
            }
            Comparison::Unknown => Self::Unknown,
        }
    }
}

impl ComparisonForm {
    pub(super) fn read(self) -> Read<Comparison> {
        Ok(match self {
            Self::AskSummary => Comparison::AskSummary,
            Self::Summary(sums) => Comparison::Summary(sums),
            Self::AskHeld { of, buckets } => Comparison::AskHeld(read_buckets(of, &buckets)?),
            Self::Held { of, buckets, held } => Comparison::Held {
                buckets: read_buckets(of, &buckets)?,
                held: held.into_iter().map(HeldForm::read).collect::<Read<_>>()?,
            },
            Self::Unknown => Comparison::Unknown,
        })
    }
}

impl From<&ObjectChange> for ChangeForm {
    fn from(change: &ObjectChange) -> Self {
        let kind = match change.kind {
            ChangeKind::Insert => KindForm::Insert,
            ChangeKind::Update => KindForm::Update,
            ChangeKind::Delete => KindForm::Delete,
        };
        Self { kind, key: KeyForm::from(&change.key), object: change.object.raw().clone() }
    }
}

impl ChangeForm {
    pub(super) fn read(self) -> Read<ObjectChange> {
        let kind = match self.kind {
            KindForm::Insert => ChangeKind::Insert,
            KindForm::Update => ChangeKind::Update,
            KindForm::Delete => ChangeKind::Delete,
        };
        Ok(ObjectChange { kind, key: self.key.read()?, object: object(self.object)? })
    }
}

impl From<NodeRequest> for RequestForm {
    fn from(request: NodeRequest) -> Self {
        let raw = |object: Object| object.raw().clone();
        match request {
            NodeRequest::RegisterNode(node) => Self::RegisterNode(raw(node)),
            NodeRequest::UpdateNode(node) => Self::UpdateNode(raw(node)),
            NodeRequest::PatchNodeStatus { node, patch } => {
                Self::PatchNodeStatus { node: node.to_string(), patch }
            }
            NodeRequest::PatchPodStatus { namespace, pod, patch } => {
                Self::PatchPodStatus { namespace: namespace.to_string(), pod: pod.to_string(), patch }
            }
            NodeRequest::CreatePod(pod) => Self::CreatePod(raw(pod)),
            NodeRequest::DeletePod { namespace, pod, options } => {
                Self::DeletePod { namespace: namespace.to_string(), pod: pod.to_string(), options }
            }
            NodeRequest::Query(key) => Self::Query(KeyForm::from(&key)),
            NodeRequest::Lease(Lease::Create(lease)) => Self::CreateLease(raw(lease)),
            NodeRequest::Lease(Lease::Update(lease)) => Self::UpdateLease(raw(lease)),
            NodeRequest::Token { namespace, account, request } => Self::Token {
                namespace: namespace.to_string(),
                account: account.to_string(),
                request: raw(request),
            },
            NodeRequest::CreateCsr(csr) => Self::CreateCsr(raw(csr)),
            NodeRequest::RecordEvent(event) => Self::RecordEvent(raw(event)),
            NodeRequest::PatchEvent { event, patch } => Self::PatchEvent { event: raw(event), patch },
            NodeRequest::KubernetesCa => Self::KubernetesCa,
            NodeRequest::ReportTwins { device: DeviceId { namespace, name }, report } => {
                Self::ReportTwins { namespace: namespace.to_string(), device: name.to_string(), report }
            }
            NodeRequest::ReportDeviceState { device: DeviceId { namespace, name }, report } => {
                Self::ReportDeviceState { namespace: namespace.to_string(), device: name.to_string(), report }
            }
            NodeRequest::Upload { topic, payload } => Self::Upload { topic, payload },
            NodeRequest::CallUrl { url, body } => Self::CallUrl { url, body },
        }
    }
}

impl RequestForm {
    pub(super) fn read(self) -> Read<NodeRequest> {
        Ok(match self {
            Self::RegisterNode(node) => NodeRequest::RegisterNode(object(node)?),
            Self::UpdateNode(node) => NodeRequest::UpdateNode(object(node)?),
            Self::PatchNodeStatus { node, patch } => NodeRequest::PatchNodeStatus {
                node: NodeName::parse(&node).map_err(|error| bad("node name", error))?,
                patch: json(patch)?,
            },
            Self::PatchPodStatus { namespace: of, pod, patch } => NodeRequest::PatchPodStatus {
                namespace: namespace(&of)?,
                pod: name(&pod)?,
                patch: json(patch)?,
            },
            Self::CreatePod(pod) => NodeRequest::CreatePod(object(pod)?),
            Self::DeletePod { namespace: of, pod, options } => NodeRequest::DeletePod {
                namespace: namespace(&of)?,
                pod: name(&pod)?,
                options: json(options)?,
            },
            Self::Query(key) => NodeRequest::Query(key.read()?),
            Self::CreateLease(lease) => NodeRequest::Lease(Lease::Create(object(lease)?)),
            Self::UpdateLease(lease) => NodeRequest::Lease(Lease::Update(object(lease)?)),
            Self::Token { namespace: of, account, request } => NodeRequest::Token {
                namespace: namespace(&of)?,
                account: name(&account)?,
                request: object(request)?,
            },
            Self::CreateCsr(csr) => NodeRequest::CreateCsr(object(csr)?),
            Self::RecordEvent(event) => NodeRequest::RecordEvent(object(event)?),
            Self::PatchEvent { event, patch } => {
                NodeRequest::PatchEvent { event: object(event)?, patch: json(patch)? }
            }
            Self::KubernetesCa => NodeRequest::KubernetesCa,
            Self::ReportTwins { namespace: of, device, report } => NodeRequest::ReportTwins {
                device: DeviceId { namespace: namespace(&of)?, name: name(&device)? },
                report: json(report)?,
            },
            Self::ReportDeviceState { namespace: of, device, report } => NodeRequest::ReportDeviceState {
                device: DeviceId { namespace: namespace(&of)?, name: name(&device)? },
                report: json(report)?,
            },
            Self::Upload { topic, payload } => NodeRequest::Upload { topic, payload },
            Self::CallUrl { url, body } => NodeRequest::CallUrl { url, body },
        })
    }
}

impl From<NodeReply> for ReplyForm {
    fn from(reply: NodeReply) -> Self {
        match reply {
            NodeReply::Object(object) => Self::Object(object.raw().clone()),
            NodeReply::Done => Self::Done,
            NodeReply::Text(text) => Self::Text(text),
            NodeReply::Refused(status) => {
                Self::Refused(serde_json::to_vec(&status).unwrap_or_default().into())
            }
        }
    }
}

impl ReplyForm {
    pub(super) fn read(self) -> Read<NodeReply> {
        Ok(match self {
            Self::Object(bytes) => NodeReply::Object(object(bytes)?),
            Self::Done => NodeReply::Done,
            Self::Text(text) => NodeReply::Text(text),
            Self::Refused(status) => {
                let status: ApiStatus =
                    serde_json::from_slice(&status).map_err(|error| bad("status", error))?;
                NodeReply::Refused(status)
            }
        })
    }
}
