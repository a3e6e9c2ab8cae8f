//! What passes on a connection, as its two ends understand it.

use std::time::Duration;

use wire::Codec;
use wire::codec::{CloudFrame, EdgeFrame, Features};
use wire::link::Frame;
use wire::session::{
    Beats, CloudEnd, Conversation, ConversationSettings, EdgeEnd, Heard, KeepaliveLimits, LaneLimits,
};

use super::Direction;

/// Puts the parts of frames together and unpacks what is packed, in both directions.
#[derive(Debug)]
pub(super) struct Ears {
    codec: Codec,
    up: Conversation<CloudEnd>,
    down: Conversation<EdgeEnd>,
}

/// They hear, and say nothing.
const fn settings(codec: Codec) -> ConversationSettings {
    ConversationSettings {
        codec,
        features: Features::ALL,
        keepalive: KeepaliveLimits {
            beats: Beats::Always,
            interval: Duration::MAX,
            silence_max: Duration::MAX,
        },
        lanes: LaneLimits { liveness: 0, status: 0, data: 0, extra: 0 },
        frame_bytes_max: usize::MAX,
        wall_clock: Duration::ZERO,
        seed: 0,
    }
}

impl Ears {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, up: Conversation::new(settings(codec)), down: Conversation::new(settings(codec)) }
    }

    /// Returns the whole and plain frame that one of the two directions brings; `None` while parts of it
    /// are missing.
    pub(super) fn hear(&mut self, direction: Direction, frame: &Frame) -> Option<Frame> {
        let (codec, now) = (self.codec, Duration::ZERO);
        match direction {
            Direction::Up => match codec.decode_edge(frame) {
                Ok(EdgeFrame::Part(_) | EdgeFrame::Packed(_)) => match self.up.hear(frame, now) {
                    Ok(Heard::Message(envelope)) => codec.encode_edge(EdgeFrame::Up(envelope)),
                    _ => None,
                },
                _ => Some(frame.clone()),
            },
            Direction::Down => match codec.decode_cloud(frame) {
                Ok(CloudFrame::Part(_) | CloudFrame::Packed(_)) => match self.down.hear(frame, now) {
                    Ok(Heard::Message(envelope)) => codec.encode_cloud(CloudFrame::Down(envelope)),
                    _ => None,
                },
                _ => Some(frame.clone()),
            },
        }
    }
}
