//! What each fuzz target does with its input. `tests/fuzz.rs` runs the same functions on a
//! bounded number of inputs, so that they stay true between fuzzing runs.

use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, RawMessage, ResourcePath};

/// A message that decodes is written in a form that decodes to the same.
pub(crate) fn raw_message(input: &[u8]) {
    let Ok(message) = RawMessage::decode(input) else { return };
    let written = message.encode().expect("what was decoded encodes");
    let again = RawMessage::decode(&written).expect("what was encoded decodes");
    assert_eq!(again.encode().expect("encodes"), written);
}

/// A path prints as it was read, in both readings.
pub(crate) fn resource_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert_eq!(ResourcePath::parse(text).to_string(), text);
    assert_eq!(ResourcePath::parse_internal(text).to_string(), text);
}

/// A frame of either end that decodes with KubeEdge's codec survives both codecs.
pub(crate) fn kubeedge(input: &[u8]) {
    both_ends(Codec::KubeEdge, &Frame::Text(bytes::Bytes::copy_from_slice(input)));
}

/// A frame of either end that decodes with the native codec survives it.
pub(crate) fn native(input: &[u8]) {
    both_ends(Codec::Native, &Frame::Binary(bytes::Bytes::copy_from_slice(input)));
}

fn both_ends(codec: Codec, frame: &Frame) {
    if let Ok(frame) = codec.decode_edge(frame) {
        edge(codec, frame.clone());
        edge(Codec::Native, frame);
    }
    if let Ok(frame) = codec.decode_cloud(frame) {
        cloud(codec, frame.clone());
        cloud(Codec::Native, frame);
    }
}

fn edge(codec: Codec, frame: EdgeFrame) {
    let Some(written) = codec.encode_edge(frame) else { return };
    let again = codec.decode_edge(&written).expect("what was encoded decodes");
    assert_eq!(codec.encode_edge(again), Some(written));
}

fn cloud(codec: Codec, frame: CloudFrame) {
    let Some(written) = codec.encode_cloud(frame) else { return };
    let again = codec.decode_cloud(&written).expect("what was encoded decodes");
    assert_eq!(codec.encode_cloud(again), Some(written));
}
