//! KubeEdge's byte form: one JSON document and a newline per text message.

use bytes::Bytes;

use crate::link::Frame;
use crate::raw::{RawError, RawMessage};

pub(super) fn encode(message: &RawMessage) -> Option<Frame> {
    message.encode().ok().map(|json| Frame::Text(Bytes::from(json)))
}

/// Reads a message. Upstream accepts binary messages with the same content, and so does this.
pub(super) fn decode(frame: &Frame) -> Result<RawMessage, RawError> {
    RawMessage::decode(frame.payload())
}
