//! The two byte forms of the link.
//!
//! An edge offers what it speaks in the HTTP upgrade, the cloud names its choice in the answer,
//! and a peer that says nothing speaks KubeEdge's.

mod kubeedge;
mod native;
mod native_form;
mod rule_form;
mod short;

use bytes::Bytes;
use protocol::{Buckets, Digest, Held};

use crate::downlink::Downlink;
use crate::link::Frame;
use crate::message::Envelope;
use crate::uplink::Uplink;

pub use native::VERSION as NATIVE_VERSION;
pub(crate) use short::{encode_ping, encode_pong};

/// A byte form of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// JSON text messages, exactly as upstream's.
    KubeEdge,
    /// MessagePack with a hello, an inventory, pings both ways and acknowledgements in a window.
    Native,
}

/// Says why a frame is no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON of a message's shape.
    #[error("the frame is not a KubeEdge message")]
    KubeEdge(#[from] crate::raw::RawError),
    /// Not MessagePack of a frame's shape.
    #[error("the frame is not a native frame")]
    Native(#[from] rmp_serde::decode::Error),
    /// More bytes than the frame needs.
    #[error("{0} bytes follow the native frame")]
    TrailingBytes(usize),
    /// A value in a native frame is not valid.
    #[error("the native frame has a bad {what}: {problem}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// What an end can do beyond the first version of the native codec. An end that knows no features,
/// or that speaks KubeEdge, has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Puts frames together that come in parts.
    pub const PARTS: Self = Self(1);

    /// Answers every request, events too.
    pub const CONFIRMS: Self = Self(2);

    /// Takes notices.
    pub const NOTICES: Self = Self(4);

    /// Unpacks frames.
    pub const PACKS: Self = Self(8);

    /// Compares what the node holds by digests: a hello has one in the place of the list.
    pub const DIGESTS: Self = Self(16);

    /// Understands pings, pongs and renewals of leases in one to four bytes, and ids that are short since
    /// they are of one session only.
    pub const SHORT: Self = Self(32);

    /// Carries what rules route.
    pub const RULES: Self = Self(64);

    /// All that this crate knows.
    pub const ALL: Self = Self(
        Self::PARTS.0
            | Self::CONFIRMS.0
            | Self::NOTICES.0
            | Self::PACKS.0
            | Self::DIGESTS.0
            | Self::SHORT.0
            | Self::RULES.0,
    );

    /// Reads what a peer said of itself; what is not known here counts for nothing.
    #[must_use]
    pub const fn of_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Returns the features as they are told to a peer.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns what both can do.
    #[must_use]
    pub const fn shared_with(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns these but for `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Tells whether all of `features` are there.
    #[must_use]
    pub const fn has(self, features: Self) -> bool {
        self.0 & features.0 == features.0
    }
}

/// What an edge says first on the native codec.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The highest version of the codec that the edge speaks.
    pub version: u16,
    /// The node.
    pub node: String,
    /// Random bytes that tell this run of the edge process from others.
    pub instance: [u8; 16],
    /// What the edge holds, for a cloud without [`Features::DIGESTS`]; `None` when it could not say, or
    /// the digest does.
    pub held: Option<Vec<Held>>,
    /// The digest of what the edge holds; `None` when it could not say.
    pub digest: Option<Digest>,
    /// What the edge can do.
    pub features: Features,
}

/// A piece of a frame, cut so that others may pass between. Native only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The lane; the parts of one lane belong together.
    pub lane: u8,
    /// Whether it completes a frame.
    pub is_last: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// A frame made small: an LZ4 block, packed against what its lane packed before. Native only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The lane.
    pub lane: u8,
    /// The frame's own size.
    pub size: u32,
    /// The block.
    pub bytes: Bytes,
}

/// What the ends tell each other to find out where what a node holds differs from what the cloud knows
/// of it. The cloud asks, one question at a time. Native only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The cloud wants a [`Comparison::Summary`].
    AskSummary,
    /// The sums of the buckets of the node's inventory.
    Summary(Vec<u64>),
    /// The cloud wants to know what is in some buckets.
    AskHeld(Buckets),
    /// All that is in some of the buckets that were asked for; the cloud asks for the rest.
    Held {
        /// The buckets.
        buckets: Buckets,
        /// What is in them.
        held: Vec<Held>,
    },
    /// The node cannot say what it holds.
    Unknown,
}

/// What either end sends, whichever it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal<B> {
    /// What begins a session.
    Greeting,
    /// A message.
    Message(Envelope<B>),
    /// Asks for a pong with the same number.
    Ping(u64),
    /// Answers a ping, and with it all before it.
    Pong(u64),
    /// The peer ends the session.
    Goodbye(String),
    /// A piece of a frame.
    Part(Part),
    /// A frame made small.
    Packed(Packed),
    /// A text for the peer's log.
    Notice(String),
    /// About what the node holds.
    Comparison(Comparison),
    /// The node's lease, so many milliseconds later than it was.
    Renewal(u32),
    /// The node's lease is as the renewal said.
    Renewed,
}

impl Envelope<Uplink> {
    /// Writes the message as it is kept until it can be sent.
    #[must_use]
    pub fn to_record(&self) -> Bytes {
        native::encode_edge(EdgeFrame::Up(self.clone())).payload().clone()
    }

    /// Reads a message that was kept.
    ///
    /// # Errors
    ///
    /// When the record is not one.
    pub fn from_record(record: &[u8]) -> Result<Self, DecodeError> {
        match native::decode_edge(record)? {
            EdgeFrame::Up(envelope) => Ok(envelope),
            _ => Err(DecodeError::Value { what: "record", problem: "it is no message".to_owned() }),
        }
    }
}

/// Encodes a piece of a frame, which looks the same in both directions.
pub(crate) fn encode_part(part: Part) -> Frame {
    native::encode_edge(EdgeFrame::Part(part))
}

/// Encodes a packed frame, which looks the same in both directions.
pub(crate) fn encode_packed(packed: Packed) -> Frame {
    native::encode_edge(EdgeFrame::Packed(packed))
}

/// What an edge sends.
#[derive(Debug, Clone, PartialEq)]
pub enum EdgeFrame {
    /// The first frame. Native only.
    Hello(Hello),
    /// A message.
    Up(Envelope<Uplink>),
    /// Asks for a [`CloudFrame::Pong`] with the same number. Native only.
    Ping(u64),
    /// Answers a ping. Native only.
    Pong(u64),
    /// The edge ends the session. Native only.
    Goodbye(String),
    /// A piece of a frame. Native only.
    Part(Part),
    /// A frame made small. Native only.
    Packed(Packed),
    /// About what the node holds. Native only.
    Comparison(Comparison),
    /// Renews the lease that the cloud answered with last: it is so many milliseconds later. Native only.
    Renewal(u32),
}

/// What a cloud sends.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudFrame {
    /// Accepts the hello. Native only.
    Welcome {
        /// The version of the codec that both speak.
        version: u16,
        /// The session's number.
        session: u64,
        /// What both ends can do.
        features: Features,
    },
    /// A message.
    Down(Envelope<Downlink>),
    /// Asks for an [`EdgeFrame::Pong`] with the same number. Native only.
    Ping(u64),
    /// Answers a ping. Native only.
    Pong(u64),
    /// The cloud ends the session. Native only.
    Goodbye(String),
    /// A piece of a frame. Native only.
    Part(Part),
    /// A frame made small. Native only.
    Packed(Packed),
    /// Something that the node's operator may want to know. Native only.
    Notice(String),
    /// About what the node holds. Native only.
    Comparison(Comparison),
    /// Answers a renewal: the lease is as it was to be. Native only.
    Renewed,
}

impl Codec {
    /// The header of the HTTP upgrade, in the request and in the answer, that names a codec.
    ///
    /// It is not the WebSocket subprotocol, since client libraries give up a connection whose
    /// server ignores the subprotocols it was offered, and upstream's servers ignore them.
    pub const HEADER: &'static str = "beehive-codec";

    const NATIVE_NAME: &'static str = "native.v1";

    /// Returns the header's value that stands for this codec; KubeEdge's is its absence.
    #[must_use]
    pub fn header_value(self) -> Option<&'static str> {
        match self {
            Self::KubeEdge => None,
            Self::Native => Some(Self::NATIVE_NAME),
        }
    }

    /// Returns the codec that the header's value, a comma-separated list, names or offers.
    #[must_use]
    pub fn of_header(value: Option<&str>) -> Self {
        let mut names = value.unwrap_or_default().split(',').map(str::trim);
        if names.any(|name| name == Self::NATIVE_NAME) { Self::Native } else { Self::KubeEdge }
    }

    /// Encodes an edge's frame; `None` when this codec has no such frame.
    #[must_use]
    pub fn encode_edge(self, frame: EdgeFrame) -> Option<Frame> {
        match (self, frame) {
            (Self::Native, frame) => Some(native::encode_edge(frame)),
            (Self::KubeEdge, EdgeFrame::Up(up)) => kubeedge::encode(&up.into_raw()),
            (Self::KubeEdge, _) => None,
        }
    }

    /// Encodes a cloud's frame; `None` when this codec has no such frame.
    #[must_use]
    pub fn encode_cloud(self, frame: CloudFrame) -> Option<Frame> {
        match (self, frame) {
            (Self::Native, frame) => Some(native::encode_cloud(frame)),
            (Self::KubeEdge, CloudFrame::Down(down)) => kubeedge::encode(&down.into_raw()),
            (Self::KubeEdge, _) => None,
        }
    }

    /// Decodes an edge's frame.
    ///
    /// # Errors
    ///
    /// When the bytes are not of this codec.
    pub fn decode_edge(self, frame: &Frame) -> Result<EdgeFrame, DecodeError> {
        match self {
            Self::Native => native::decode_edge(frame.payload()),
            Self::KubeEdge => Ok(EdgeFrame::Up(Envelope::<Uplink>::from_raw(kubeedge::decode(frame)?))),
        }
    }

    /// Decodes a cloud's frame.
    ///
    /// # Errors
    ///
    /// When the bytes are not of this codec.
    pub fn decode_cloud(self, frame: &Frame) -> Result<CloudFrame, DecodeError> {
        match self {
            Self::Native => native::decode_cloud(frame.payload()),
            Self::KubeEdge => Ok(CloudFrame::Down(Envelope::<Downlink>::from_raw(kubeedge::decode(frame)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_codec_is_chosen_only_when_it_is_offered() {
        for (offered, expect) in [
            (None, Codec::KubeEdge),
            (Some(""), Codec::KubeEdge),
            (Some("chat"), Codec::KubeEdge),
            (Some("native.v2"), Codec::KubeEdge),
            (Some("native.v2, native.v1"), Codec::Native),
            (Some("native.v1"), Codec::Native),
        ] {
            assert_eq!(Codec::of_header(offered), expect, "{offered:?}");
        }
    }
}
