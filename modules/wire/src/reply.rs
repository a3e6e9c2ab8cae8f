//! The four shapes in which upstream's cloud answers, and what each says.

use protocol::{ApiStatus, NodeReply, NodeRequest, Object, ResourceType};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::content::{self, Content};
use crate::message::MessageId;
use crate::path::ResourcePath;

/// How an answer is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyShape {
    /// `{"Object": .., "Err": ..}`.
    Outcome,
    /// The object itself, or `{"ErrStatus": ..}`.
    Object,
    /// The text `OK`, or `{"ErrStatus": ..}`.
    Ok,
    /// A text, or `{"ErrStatus": ..}`.
    Text,
    /// The body of an HTTP answer, as a text, or why there is none.
    Body,
}

impl ReplyShape {
    /// Returns the shape in which `request` is answered.
    #[must_use]
    pub fn of(request: &NodeRequest) -> Self {
        match request {
            NodeRequest::RegisterNode(_)
            | NodeRequest::PatchNodeStatus { .. }
            | NodeRequest::PatchPodStatus { .. }
            | NodeRequest::CreatePod(_)
            | NodeRequest::Lease(_)
            | NodeRequest::CreateCsr(_) => Self::Outcome,
            // An edge of KubeEdge takes any other answer for a lease that is none, and never makes one
            // (`handleLeaseResp` in its edge/pkg/metamanager/client/lease.go).
            NodeRequest::Query(key) if key.resource == ResourceType::LEASE => Self::Outcome,
            NodeRequest::Query(_) | NodeRequest::Token { .. } => Self::Object,
            NodeRequest::KubernetesCa => Self::Text,
            NodeRequest::CallUrl { .. } => Self::Body,
            NodeRequest::UpdateNode(_)
            | NodeRequest::DeletePod { .. }
            | NodeRequest::ReportTwins { .. }
            | NodeRequest::ReportDeviceState { .. }
            | NodeRequest::RecordEvent(_)
            | NodeRequest::PatchEvent { .. }
            | NodeRequest::Upload { .. } => Self::Ok,
        }
    }
}

/// What an answer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The request's id.
    pub parent: MessageId,
    /// The request's path, which the answer repeats.
    pub path: ResourcePath,
    /// The shape of the answer.
    pub shape: ReplyShape,
}

/// Go's `StatusError`: a status under a capital key.
#[derive(Serialize, Deserialize)]
struct StatusError {
    #[serde(rename = "ErrStatus")]
    status: GoStatus,
}

/// A `metav1.Status` with Go's field order. Absent fields are Go's zero values.
#[derive(Serialize, Deserialize)]
struct GoStatus {
    #[serde(default = "empty_object")]
    metadata: Value,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    #[serde(default)]
    code: u16,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(rename = "Object")]
    object: &'a RawValue,
    #[serde(rename = "Err")]
    error: &'a RawValue,
}

/// The keys by which the shapes are told apart.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "Object", default, deserialize_with = "present")]
    object: Option<Box<RawValue>>,
    #[serde(rename = "Err", default, deserialize_with = "present")]
    error: Option<Box<RawValue>>,
    #[serde(rename = "ErrStatus", default, deserialize_with = "present")]
    status: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    metadata: Option<Box<RawValue>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

fn write_status(status: &ApiStatus) -> Box<RawValue> {
    let status = GoStatus {
        metadata: empty_object(),
        status: "Failure".to_owned(),
        message: status.message.clone(),
        reason: status.reason.clone(),
        details: status.details.clone(),
        code: status.code,
    };
    content::json(&StatusError { status })
}

/// Reads `{"ErrStatus": ..}`; a Go error of another type arrives as `{}`.
fn read_status(raw: &RawValue) -> ApiStatus {
    match serde_json::from_str::<StatusError>(raw.get()) {
        Ok(StatusError { status }) => ApiStatus {
            code: status.code,
            reason: status.reason,
            message: status.message,
            details: status.details,
        },
        Err(_) => ApiStatus::new(500, "InternalError", "the cloud failed and gave no reason"),
    }
}

pub(crate) fn write(shape: ReplyShape, reply: &NodeReply) -> Box<RawValue> {
    let null = content::null();
    if shape == ReplyShape::Outcome {
        return match reply {
            NodeReply::Object(object) => {
                content::json(&Outcome { object: &content::embed(object.raw()), error: &null })
            }
            NodeReply::Refused(status) => {
                content::json(&Outcome { object: &null, error: &write_status(status) })
            }
            NodeReply::Done | NodeReply::Text(_) => content::json(&Outcome { object: &null, error: &null }),
        };
    }
    match reply {
        NodeReply::Refused(status) if shape == ReplyShape::Body => content::json(&status.message),
        NodeReply::Refused(status) => write_status(status),
        NodeReply::Text(text) => content::json(text),
        NodeReply::Object(object) if shape == ReplyShape::Object => content::embed(object.raw()),
        NodeReply::Object(_) | NodeReply::Done => content::json(&"OK"),
    }
}

/// Reads an answer. Its shape tells itself: an object has `metadata`, the others do not.
pub(crate) fn read(path: &ResourcePath, raw: Box<RawValue>) -> Result<(ReplyShape, NodeReply), String> {
    let json = match Content::of(raw).map_err(|error| error.to_string())? {
        Content::Null => return Ok((ReplyShape::Ok, NodeReply::Done)),
        Content::Text(text) if *path == ResourcePath::KubernetesCa => {
            return Ok((ReplyShape::Text, NodeReply::Text(text)));
        }
        Content::Text(text) if text == "OK" => return Ok((ReplyShape::Ok, NodeReply::Done)),
        Content::Text(text) => {
            let status = ApiStatus::new(500, "InternalError", text);
            return Ok((ReplyShape::Ok, NodeReply::Refused(status)));
        }
        Content::Json(json) => json,
    };
    let shape: Shape = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    match shape {
        Shape { metadata: Some(_), .. } => {
            let object = Object::parse(json).map_err(|error| error.to_string())?;
            Ok((ReplyShape::Object, NodeReply::Object(object)))
        }
        Shape { error: Some(error), .. } if !is_null(&error) => {
            Ok((ReplyShape::Outcome, NodeReply::Refused(read_status(&error))))
        }
        Shape { object: Some(object), .. } if !is_null(&object) => {
            let object = content::object(object)?;
            Ok((ReplyShape::Outcome, NodeReply::Object(object)))
        }
        Shape { object: Some(_), .. } => Ok((ReplyShape::Outcome, NodeReply::Done)),
        Shape { status: Some(_), .. } => Ok((ReplyShape::Object, NodeReply::Refused(read_json(&json)))),
        _ => Ok((ReplyShape::Object, NodeReply::Refused(read_json(b"{}")))),
    }
}

fn read_json(json: &[u8]) -> ApiStatus {
    serde_json::from_slice::<Box<RawValue>>(json)
        .map_or_else(|_| ApiStatus::default(), |raw| read_status(&raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, content: &str, expect: (ReplyShape, NodeReply)) {
        let raw = RawValue::from_string(content.to_owned()).expect("JSON");
        assert_eq!(read(&ResourcePath::parse(path), raw), Ok(expect.clone()), "{content}");
        assert_eq!(write(expect.0, &expect.1).get(), content);
    }

    fn object(text: &str) -> Object {
        Object::parse(text.to_owned()).expect("an object")
    }

    #[test]
    fn each_shape_reads_as_it_is_written() {
        let node = r#"{"metadata":{"name":"edge-1"},"Object":1}"#;
        check(
            "null/node/a",
            &format!("{{\"Object\":{node},\"Err\":null}}"),
            (ReplyShape::Outcome, NodeReply::Object(object(node))),
        );
        check("a/configmap/b", node, (ReplyShape::Object, NodeReply::Object(object(node))));
        check("a/pod/b", "\"OK\"", (ReplyShape::Ok, NodeReply::Done));
        check("k8s/ca.crt", "\"OK\"", (ReplyShape::Text, NodeReply::Text("OK".to_owned())));
        check("a/lease/b", "{\"Object\":null,\"Err\":null}", (ReplyShape::Outcome, NodeReply::Done));
        let status = r#"{"ErrStatus":{"metadata":{},"status":"Failure","message":"no","reason":"NotFound","details":{"name":"x"},"code":404}}"#;
        let mut refused = ApiStatus::new(404, "NotFound", "no");
        refused.details = Some(serde_json::json!({"name": "x"}));
        check("a/secret/b", status, (ReplyShape::Object, NodeReply::Refused(refused.clone())));
        check(
            "a/lease/b",
            &format!("{{\"Object\":null,\"Err\":{status}}}"),
            (ReplyShape::Outcome, NodeReply::Refused(refused)),
        );
    }

    #[test]
    fn an_error_without_a_status_is_still_a_refusal() {
        for content in ["{}", "{\"Object\":null,\"Err\":{}}", "\"some text\"", "{\"ErrStatus\":3}"] {
            let raw = RawValue::from_string(content.to_owned()).expect("JSON");
            let read = read(&ResourcePath::parse("a/pod/b"), raw);
            assert!(matches!(read, Ok((_, NodeReply::Refused(_)))), "{content}: {read:?}");
        }
    }
}
