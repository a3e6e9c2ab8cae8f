//! The two ends of the link.

use protocol::NodeRequest;
use protocol::rules::NodeCommand;

use super::conversation::End;
use crate::codec::{CloudFrame, Codec, DecodeError, EdgeFrame, Signal};
use crate::downlink::Downlink;
use crate::link::Frame;
use crate::path::ResourcePath;
use crate::reply::{ReplyShape, ReplyTo};
use crate::uplink::Uplink;

/// The end at a node.
#[derive(Debug)]
pub enum EdgeEnd {}

/// The end in the cloud.
#[derive(Debug)]
pub enum CloudEnd {}

impl End for EdgeEnd {
    type Says = Uplink;
    type Hears = Downlink;

    fn encode(codec: Codec, signal: Signal<Uplink>) -> Option<Frame> {
        codec.encode_edge(match signal {
            Signal::Greeting | Signal::Notice(_) | Signal::Renewed => return None,
            Signal::Message(envelope) => EdgeFrame::Up(envelope),
            Signal::Ping(number) => EdgeFrame::Ping(number),
            Signal::Pong(number) => EdgeFrame::Pong(number),
            Signal::Goodbye(reason) => EdgeFrame::Goodbye(reason),
            Signal::Part(part) => EdgeFrame::Part(part),
            Signal::Packed(packed) => EdgeFrame::Packed(packed),
            Signal::Comparison(comparison) => EdgeFrame::Comparison(comparison),
            Signal::Renewal(step_ms) => EdgeFrame::Renewal(step_ms),
        })
    }

    fn decode(codec: Codec, frame: &Frame) -> Result<Signal<Downlink>, DecodeError> {
        Ok(match codec.decode_cloud(frame)? {
            CloudFrame::Welcome { .. } => Signal::Greeting,
            CloudFrame::Down(envelope) => Signal::Message(envelope),
            CloudFrame::Ping(number) => Signal::Ping(number),
            CloudFrame::Pong(number) => Signal::Pong(number),
            CloudFrame::Goodbye(reason) => Signal::Goodbye(reason),
            CloudFrame::Part(part) => Signal::Part(part),
            CloudFrame::Packed(packed) => Signal::Packed(packed),
            CloudFrame::Notice(text) => Signal::Notice(text),
            CloudFrame::Comparison(comparison) => Signal::Comparison(comparison),
            CloudFrame::Renewed => Signal::Renewed,
        })
    }

    fn keepalive() -> Option<Uplink> {
        Some(Uplink::Keepalive)
    }

    fn is_secret(body: &Uplink) -> bool {
        match body {
            Uplink::CommandReply { .. } => true,
            Uplink::Request { request, .. } => matches!(request, NodeRequest::CallUrl { .. }),
            _ => false,
        }
    }
}

impl End for CloudEnd {
    type Says = Downlink;
    type Hears = Uplink;

    fn encode(codec: Codec, signal: Signal<Downlink>) -> Option<Frame> {
        codec.encode_cloud(match signal {
            Signal::Greeting | Signal::Renewal(_) => return None,
            Signal::Message(envelope) => CloudFrame::Down(envelope),
            Signal::Ping(number) => CloudFrame::Ping(number),
            Signal::Pong(number) => CloudFrame::Pong(number),
            Signal::Goodbye(reason) => CloudFrame::Goodbye(reason),
            Signal::Part(part) => CloudFrame::Part(part),
            Signal::Packed(packed) => CloudFrame::Packed(packed),
            Signal::Notice(text) => CloudFrame::Notice(text),
            Signal::Comparison(comparison) => CloudFrame::Comparison(comparison),
            Signal::Renewed => CloudFrame::Renewed,
        })
    }

    fn decode(codec: Codec, frame: &Frame) -> Result<Signal<Uplink>, DecodeError> {
        Ok(match codec.decode_edge(frame)? {
            EdgeFrame::Hello(_) => Signal::Greeting,
            EdgeFrame::Up(envelope) => Signal::Message(envelope),
            EdgeFrame::Ping(number) => Signal::Ping(number),
            EdgeFrame::Pong(number) => Signal::Pong(number),
            EdgeFrame::Goodbye(reason) => Signal::Goodbye(reason),
            EdgeFrame::Part(part) => Signal::Part(part),
            EdgeFrame::Packed(packed) => Signal::Packed(packed),
            EdgeFrame::Comparison(comparison) => Signal::Comparison(comparison),
            EdgeFrame::Renewal(step_ms) => Signal::Renewal(step_ms),
        })
    }

    fn keepalive() -> Option<Downlink> {
        None
    }

    fn is_secret(body: &Downlink) -> bool {
        let key = match body {
            Downlink::Change { change, .. } => &change.key,
            Downlink::Reply { to: ReplyTo { path: ResourcePath::Object(key), .. }, .. } => key,
            // Calls of services carry who calls.
            Downlink::Command(NodeCommand::Call(_)) | Downlink::BadCall { .. } => return true,
            Downlink::Reply { to: ReplyTo { shape: ReplyShape::Body, .. }, .. } => return true,
            Downlink::Command(_)
            | Downlink::Reply { .. }
            | Downlink::Membership(_)
            | Downlink::Unknown(_) => {
                return false;
            }
        };
        matches!(key.resource.as_str(), "secret" | "serviceaccounttoken")
    }
}
