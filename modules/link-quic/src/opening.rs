//! How an edge introduces itself, and what the cloud answers.

use protocol::NodeName;
use quinn::{Connection, VarInt};
use serde::{Deserialize, Serialize};
use wire::Codec;
use wire::link::{Frame, FrameReader, FrameWriter, Link, LinkError};

use crate::failure::link_error;
use crate::frames::{Reader, Writer, text};

/// The largest introduction, and the largest answer to one.
const OPENING_BYTES_MAX: usize = 4 << 10;

/// What an edge says first.
#[derive(Debug, Serialize, Deserialize)]
struct Introduction {
    node: String,
    codecs: Vec<String>,
}

/// What the cloud answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    codec: String,
}

/// Why an edge is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not say what it should.
    Malformed,
    /// It is not who it claims to be.
    Forbidden,
    /// It took too long, or gave way to others: it may come again, and another transport is as good.
    TooSlow,
}

impl Refusal {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Malformed => 1,
            Self::Forbidden => 2,
            Self::TooSlow => 4,
        })
    }

    /// Closes a connection and says why.
    pub fn tell(self, connection: &Connection, reason: &str) {
        connection.close(self.code(), reason.as_bytes());
    }
}

/// Introduces an edge on its connection and returns the link in the codec that the cloud chose. The
/// edge accepts frames of at most `bytes_max` bytes.
///
/// # Errors
///
/// When the cloud refuses the edge, or the connection fails.
pub async fn introduce(
    connection: Connection,
    node: &NodeName,
    codecs: &[Codec],
    bytes_max: usize,
) -> Result<(Codec, Link), LinkError> {
    let (sending, receiving) = connection.open_bi().await.map_err(|error| link_error(&error))?;
    let mut writer = Writer { stream: sending };
    let mut reader = Reader::new(connection.clone(), receiving, OPENING_BYTES_MAX);
    let names = codecs.iter().filter_map(|codec| codec.header_value()).map(str::to_owned).collect();
    let introduction = Introduction { node: node.to_string(), codecs: names };
    let content = serde_json::to_vec(&introduction).map_err(|error| LinkError::Local(error.to_string()))?;
    if let Err(error) = writer.send(text(content)).await {
        // A cloud that refuses the certificate has closed the connection and said why.
        return Err(connection.close_reason().map_or(error, |reason| link_error(&reason)));
    }
    let answer: Answer = read(&mut reader).await?;
    let codec = Codec::of_header(Some(&answer.codec));
    if !codecs.contains(&codec) {
        return Err(LinkError::Handshake(format!("the cloud speaks only the codec {codec:?}")));
    }
    reader.bytes_max = bytes_max;
    Ok((codec, Link { reader: Box::new(reader), writer: Box::new(writer) }))
}

/// An edge that introduced itself and waits for the answer.
pub struct Introduced {
    /// The node that it claims to be; foreign text.
    pub claimed: String,
    codecs: Vec<String>,
    reader: Reader,
    writer: Writer,
}

impl std::fmt::Debug for Introduced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introduced").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

impl Introduced {
    /// Waits for an edge to introduce itself.
    ///
    /// # Errors
    ///
    /// When it says something else, or the connection fails.
    pub async fn hear(connection: Connection) -> Result<Self, LinkError> {
        let (sending, receiving) = connection.accept_bi().await.map_err(|error| link_error(&error))?;
        let mut reader = Reader::new(connection, receiving, OPENING_BYTES_MAX);
        let Introduction { node, codecs } = read(&mut reader).await?;
        Ok(Self { claimed: node, codecs, reader, writer: Writer { stream: sending } })
    }

    /// Chooses a codec and returns the link. The cloud accepts frames of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// When the edge does not speak the native codec, or the connection fails.
    pub async fn welcome(mut self, bytes_max: usize) -> Result<(Codec, Link), LinkError> {
        let codec = Codec::of_header(Some(&self.codecs.join(",")));
        let Some(name) = codec.header_value() else {
            let reason = "only the native codec is spoken over QUIC";
            Refusal::Malformed.tell(&self.reader.connection, reason);
            return Err(LinkError::Handshake(reason.to_owned()));
        };
        let answer = Answer { codec: name.to_owned() };
        let content = serde_json::to_vec(&answer).map_err(|error| LinkError::Local(error.to_string()))?;
        self.writer.send(text(content)).await?;
        self.reader.bytes_max = bytes_max;
        Ok((codec, Link { reader: Box::new(self.reader), writer: Box::new(self.writer) }))
    }
}

async fn read<T: for<'a> Deserialize<'a>>(reader: &mut Reader) -> Result<T, LinkError> {
    let frame = match reader.next().await {
        Ok(frame) => frame,
        Err(LinkError::TooLarge { .. }) => return Err(refuse(reader, "the introduction is too large")),
        Err(error) => return Err(error),
    };
    let Frame::Text(content) = frame else {
        return Err(refuse(reader, "the introduction is no text"));
    };
    serde_json::from_slice(&content).map_err(|error| refuse(reader, &format!("the introduction: {error}")))
}

fn refuse(reader: &Reader, reason: &str) -> LinkError {
    Refusal::Malformed.tell(&reader.connection, reason);
    LinkError::Handshake(reason.to_owned())
}
