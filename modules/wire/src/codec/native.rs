//! The native byte form: one MessagePack document per binary message.

use std::io::Cursor;

use bytes::Bytes;
use protocol::{Digest, NodeName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::native_form::{CloudForm, DownForm, EdgeForm, HeldForm, UpForm};
use super::short::{self, Short};
use super::{CloudFrame, DecodeError, EdgeFrame, Features, Hello, Packed, Part};
use crate::downlink::Downlink;
use crate::link::Frame;
use crate::message::{Envelope, MessageId};
use crate::path::ResourcePath;
use crate::raw::RawMessage;
use crate::reply::{ReplyShape, ReplyTo};
use crate::uplink::{AckRoute, Uplink};

/// The version of the native codec that this crate speaks.
pub const VERSION: u16 = 1;

/// The deepest nesting of a frame. Ours need six levels; the decoder recurses, so more is refused.
const DEPTH_MAX: usize = 16;

fn encode<T: Serialize>(form: &T) -> Frame {
    let bytes = rmp_serde::to_vec_named(form).expect("a frame of strings, numbers and bytes encodes");
    Frame::Binary(Bytes::from(bytes))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut decoder = rmp_serde::Deserializer::new(Cursor::new(bytes));
    decoder.set_max_depth(DEPTH_MAX);
    let form = T::deserialize(&mut decoder)?;
    let read = usize::try_from(decoder.position()).unwrap_or(usize::MAX);
    match bytes.len().saturating_sub(read) {
        0 => Ok(form),
        trailing => Err(DecodeError::TrailingBytes(trailing)),
    }
}

fn raw(message: &RawMessage) -> Bytes {
    message.encode().map(Bytes::from).unwrap_or_default()
}

pub(super) fn encode_edge(frame: EdgeFrame) -> Frame {
    encode(&match frame {
        EdgeFrame::Renewal(step_ms) => return short::encode_renewal(step_ms),
        EdgeFrame::Hello(hello) => EdgeForm::Hello {
            version: hello.version,
            node: hello.node,
            instance: Bytes::copy_from_slice(&hello.instance),
            held: hello.held.map(|held| held.iter().map(HeldForm::from).collect()),
            features: hello.features.bits(),
            digest: hello.digest.map(|digest| Bytes::copy_from_slice(&digest.to_bytes())),
        },
        EdgeFrame::Up(Envelope { id, timestamp_ms, body }) => {
            EdgeForm::Up { id: id.to_string(), at: timestamp_ms, up: write_up(body) }
        }
        EdgeFrame::Ping(number) => EdgeForm::Ping(number),
        EdgeFrame::Pong(number) => EdgeForm::Pong(number),
        EdgeFrame::Goodbye(reason) => EdgeForm::Goodbye(reason),
        EdgeFrame::Part(Part { lane, is_last, bytes }) => EdgeForm::Part { lane, last: is_last, bytes },
        EdgeFrame::Packed(Packed { lane, size, bytes }) => EdgeForm::Packed { lane, size, bytes },
        EdgeFrame::Comparison(comparison) => EdgeForm::Comparison(comparison.into()),
    })
}

fn write_up(body: Uplink) -> UpForm {
    match body {
        Uplink::Keepalive => UpForm::Keepalive,
        Uplink::Ack { parent, .. } => UpForm::Ack(parent.to_string()),
        Uplink::Nack { parent, text, .. } => UpForm::Nack { parent: parent.to_string(), text },
        Uplink::Request { request, .. } => UpForm::Request(request.into()),
        Uplink::CommandReply { parent, reply } => {
            UpForm::CommandReply { parent: parent.to_string(), reply: reply.into() }
        }
        Uplink::LegacyStatus { raw: message, .. } => UpForm::Raw(raw(&message)),
        Uplink::Unknown(unknown) => UpForm::Raw(raw(&unknown.raw)),
    }
}

pub(super) fn encode_cloud(frame: CloudFrame) -> Frame {
    encode(&match frame {
        CloudFrame::Renewed => return short::encode_renewed(),
        CloudFrame::Welcome { version, session, features } => {
            CloudForm::Welcome { version, session, features: features.bits() }
        }
        CloudFrame::Down(Envelope { id, timestamp_ms, body }) => {
            let down = match body {
                Downlink::Change { change, .. } => DownForm::Change((&change).into()),
                Downlink::Reply { to, reply } => {
                    DownForm::Reply { parent: to.parent.to_string(), reply: reply.into() }
                }
                Downlink::Command(command) => DownForm::Command(command.into()),
                Downlink::BadCall { raw: message, .. } => DownForm::Raw(raw(&message)),
                Downlink::Unknown(unknown) => DownForm::Raw(raw(&unknown.raw)),
                body @ Downlink::Membership(_) => {
                    DownForm::Raw(raw(&Envelope { id: id.clone(), timestamp_ms, body }.into_raw()))
                }
            };
            CloudForm::Down { id: id.to_string(), at: timestamp_ms, down }
        }
        CloudFrame::Ping(number) => CloudForm::Ping(number),
        CloudFrame::Pong(number) => CloudForm::Pong(number),
        CloudFrame::Goodbye(reason) => CloudForm::Goodbye(reason),
        CloudFrame::Part(Part { lane, is_last, bytes }) => CloudForm::Part { lane, last: is_last, bytes },
        CloudFrame::Packed(Packed { lane, size, bytes }) => CloudForm::Packed { lane, size, bytes },
        CloudFrame::Notice(text) => CloudForm::Notice(text),
        CloudFrame::Comparison(comparison) => CloudForm::Comparison(comparison.into()),
    })
}

/// A short frame that only the other end sends.
fn misdirected() -> DecodeError {
    DecodeError::Value { what: "short frame", problem: "the other end says it".to_owned() }
}

pub(super) fn decode_edge(bytes: &[u8]) -> Result<EdgeFrame, DecodeError> {
    if let Some(short) = short::decode(bytes) {
        return match short? {
            Short::Ping(number) => Ok(EdgeFrame::Ping(number)),
            Short::Pong(number) => Ok(EdgeFrame::Pong(number)),
            Short::Renewal(step_ms) => Ok(EdgeFrame::Renewal(step_ms)),
            Short::Renewed => Err(misdirected()),
        };
    }
    Ok(match decode(bytes)? {
        EdgeForm::Hello { version, node, instance, held, features, digest } => {
            let features = Features::of_bits(features);
            let hello = read_hello(version, node, &instance, held, features)?;
            let digest = digest.map(|digest| array(&digest, "digest")).transpose()?.map(Digest::of_bytes);
            EdgeFrame::Hello(Hello { digest, ..hello })
        }
        EdgeForm::Up { id, at, up } => {
            let id = MessageId::new(&id);
            EdgeFrame::Up(Envelope { id, timestamp_ms: at, body: read_up(up)? })
        }
        EdgeForm::Ping(number) => EdgeFrame::Ping(number),
        EdgeForm::Pong(number) => EdgeFrame::Pong(number),
        EdgeForm::Goodbye(reason) => EdgeFrame::Goodbye(reason),
        EdgeForm::Part { lane, last, bytes } => EdgeFrame::Part(Part { lane, is_last: last, bytes }),
        EdgeForm::Packed { lane, size, bytes } => EdgeFrame::Packed(Packed { lane, size, bytes }),
        EdgeForm::Comparison(comparison) => EdgeFrame::Comparison(comparison.read()?),
    })
}

fn array(bytes: &[u8], what: &'static str) -> Result<[u8; 16], DecodeError> {
    let problem = || DecodeError::Value { what, problem: "it is not 16 bytes".to_owned() };
    <[u8; 16]>::try_from(bytes).map_err(|_| problem())
}

fn read_hello(
    version: u16,
    node: String,
    instance: &[u8],
    held: Option<Vec<HeldForm>>,
    features: Features,
) -> Result<Hello, DecodeError> {
    NodeName::parse(&node)
        .map_err(|error| DecodeError::Value { what: "node name", problem: error.to_string() })?;
    let instance = array(instance, "instance")?;
    let held = held.map(|held| held.into_iter().map(HeldForm::read).collect()).transpose()?;
    Ok(Hello { version, node, instance, held, digest: None, features })
}

fn read_up(up: UpForm) -> Result<Uplink, DecodeError> {
    Ok(match up {
        UpForm::Keepalive => Uplink::Keepalive,
        UpForm::Ack(parent) => {
            let route = AckRoute { source: String::new(), group: String::new(), path: ResourcePath::Empty };
            Uplink::Ack { parent: MessageId::new(&parent), route }
        }
        UpForm::Nack { parent, text } => {
            Uplink::Nack { parent: MessageId::new(&parent), path: ResourcePath::Empty, text }
        }
        UpForm::Request(request) => Uplink::request(request.read()?),
        UpForm::CommandReply { parent, reply } => {
            Uplink::CommandReply { parent: MessageId::new(&parent), reply: reply.into() }
        }
        UpForm::Raw(message) => Envelope::<Uplink>::from_raw(RawMessage::decode(&message)?).body,
    })
}

pub(super) fn decode_cloud(bytes: &[u8]) -> Result<CloudFrame, DecodeError> {
    if let Some(short) = short::decode(bytes) {
        return match short? {
            Short::Ping(number) => Ok(CloudFrame::Ping(number)),
            Short::Pong(number) => Ok(CloudFrame::Pong(number)),
            Short::Renewed => Ok(CloudFrame::Renewed),
            Short::Renewal(_) => Err(misdirected()),
        };
    }
    Ok(match decode(bytes)? {
        CloudForm::Welcome { version, session, features } => {
            CloudFrame::Welcome { version, session, features: Features::of_bits(features) }
        }
        CloudForm::Down { id, at, down } => {
            let id = MessageId::new(&id);
            CloudFrame::Down(Envelope { id, timestamp_ms: at, body: read_down(down)? })
        }
        CloudForm::Ping(number) => CloudFrame::Ping(number),
        CloudForm::Pong(number) => CloudFrame::Pong(number),
        CloudForm::Goodbye(reason) => CloudFrame::Goodbye(reason),
        CloudForm::Part { lane, last, bytes } => CloudFrame::Part(Part { lane, is_last: last, bytes }),
        CloudForm::Packed { lane, size, bytes } => CloudFrame::Packed(Packed { lane, size, bytes }),
        CloudForm::Notice(text) => CloudFrame::Notice(text),
        CloudForm::Comparison(comparison) => CloudFrame::Comparison(comparison.read()?),
    })
}

/// A native answer carries neither path nor shape: the request's id is enough.
fn read_down(down: DownForm) -> Result<Downlink, DecodeError> {
    Ok(match down {
        DownForm::Change(change) => Downlink::change(change.read()?),
        DownForm::Reply { parent, reply } => {
            let parent = MessageId::new(&parent);
            let to = ReplyTo { parent, path: ResourcePath::Empty, shape: ReplyShape::Object };
            Downlink::Reply { to, reply: reply.read()? }
        }
        DownForm::Command(command) => Downlink::Command(command.into()),
        DownForm::Raw(message) => Envelope::<Downlink>::from_raw(RawMessage::decode(&message)?).body,
    })
}
