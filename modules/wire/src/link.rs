//! The ports of the link: who dials, who listens, and what a link carries.
//!
//! An adapter does the transport's own handshake and authentication. It enforces the size limit
//! on what it reads, holds a bounded number of frames, and its failures are values: a listener
//! outlives every connection that breaks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::NodeName;

use crate::codec::Codec;

/// What carries a link between machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket over TLS and TCP: every peer has it.
    WebSocket,
    /// QUIC, for the native codec only.
    Quic,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "WebSocket",
            Self::Quic => "QUIC",
        })
    }
}

/// One message of the transport.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message. An adapter may pass text that is not UTF-8; decoders refuse it.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// Returns the payload, whatever the frame's type.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Text(payload) | Self::Binary(payload) => payload,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(payload) => write!(f, "Text({} bytes)", payload.len()),
            Self::Binary(payload) => write!(f, "Binary({} bytes)", payload.len()),
        }
    }
}

/// Says why a link is of no use, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The peer closed the link, or the listener is gone.
    #[error("the link was closed")]
    Closed,
    /// A frame is larger than the link carries.
    #[error("a frame of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The frame's size, or the part of it that was seen.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(String),
    /// The two ends could not agree to speak: certificates, names, upgrade.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The handshake took too long.
    #[error("the handshake took longer than {0:?}")]
    HandshakeTimeout(Duration),
    /// Local material, such as a certificate file, is missing or broken.
    #[error("{0}")]
    Local(String),
}

/// The reading half of a link.
#[async_trait]
pub trait FrameReader: Send {
    /// Returns the next frame; [`LinkError::Closed`] when the peer ended the link in order.
    ///
    /// Dropping the returned future loses no frame.
    async fn next(&mut self) -> Result<Frame, LinkError>;
}

/// The writing half of a link.
#[async_trait]
pub trait FrameWriter: Send {
    /// Sends one frame, waiting while the transport's bounded buffer is full.
    ///
    /// After an error, and when the future is dropped early, the link is of no further use.
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError>;

    /// Ends the link in order, as far as the transport can.
    async fn close(&mut self);
}

/// An established link. Dropping both halves closes it.
pub struct Link {
    /// The reading half.
    pub reader: Box<dyn FrameReader>,
    /// The writing half.
    pub writer: Box<dyn FrameWriter>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// The PEM files that prove an end's identity and tell whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate authority that both ends' certificates must chain to.
    pub ca: PathBuf,
    /// The own certificate chain.
    pub certificate: PathBuf,
    /// The own private key.
    pub key: PathBuf,
}

/// Where, over what and as whom an edge dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialTo {
    /// What is to carry the link. A dialer within one process has only one way.
    pub transport: Transport,
    /// The cloud's `host:port`.
    pub server: String,
    /// The name that the edge claims.
    pub node: NodeName,
    /// The project that upstream's URL and headers carry.
    pub project: String,
    /// The codecs that the edge can speak, best first.
    pub codecs: Vec<Codec>,
    /// Certificates.
    pub tls: TlsFiles,
    /// The time for connecting and all handshakes together.
    pub handshake_timeout: Duration,
    /// The largest frame to accept.
    pub frame_bytes_max: usize,
}

/// What a dialer returns.
#[derive(Debug)]
pub struct Dialed {
    /// The codec that the listener chose.
    pub codec: Codec,
    /// The link.
    pub link: Link,
}

/// Connects an edge to its cloud.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// Establishes a link.
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError>;
}

/// Where and how a cloud listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOn {
    /// The address to bind.
    pub address: String,
    /// The port to bind.
    pub port: u16,
    /// Certificates.
    pub tls: TlsFiles,
    /// The time for each connection's handshakes together.
    pub handshake_timeout: Duration,
    /// How many connections may be in their handshake at a time.
    pub handshakes_max: usize,
    /// The largest frame to accept.
    pub frame_bytes_max: usize,
}

/// Who the peer is, as its connection proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The common name of a certificate that chains to the CA.
    Certificate(String),
    /// A peer within this process, which needs no proof.
    SameProcess,
}

impl Identity {
    /// Tells whether this peer may speak for `node`.
    #[must_use]
    pub fn may_speak_for(&self, node: &NodeName) -> bool {
        match self {
            Self::SameProcess => true,
            Self::Certificate(name) => name.strip_prefix("system:node:") == Some(node.as_str()),
        }
    }
}

/// A connection whose transport handshake is done.
#[derive(Debug)]
pub struct Accepted {
    /// Who the peer is.
    pub identity: Identity,
    /// The node that it claims to be; foreign text.
    pub claimed: String,
    /// The codec that was agreed.
    pub codec: Codec,
    /// What carries the link.
    pub transport: Transport,
    /// The peer's address, for logs.
    pub address: String,
    /// The link.
    pub link: Link,
}

/// Hands out connections.
#[async_trait]
pub trait Incoming: Send {
    /// Returns the next connection whose handshake succeeded. An error is the listener's own
    /// end; a connection that fails is the adapter's to log and forget.
    ///
    /// Dropping the returned future loses no connection.
    async fn accept(&mut self) -> Result<Accepted, LinkError>;
}

/// Lets edges connect to a cloud.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Returns what carries its links, which decides where it is told to listen.
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    /// Begins to listen. Dropping the result ends it.
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError>;
}
