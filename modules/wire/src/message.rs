//! Message ids and the envelope that every message of the link travels in.

use std::fmt;
use std::sync::Arc;

use crate::path::ResourcePath;
use crate::raw::{RawHeader, RawMessage};

/// The id of a message. KubeEdge makes UUIDs; a peer may send any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// Wraps a peer's id.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the id under which a lease that is renewed in shorthand is answered.
    #[must_use]
    pub fn of_renewal() -> Self {
        Self::new("renewal")
    }

    /// Makes a version 4 UUID of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        Self(uuid.hyphenated().to_string().into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message with its id and the time that its sender gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<B> {
    /// The id.
    pub id: MessageId,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// What it says.
    pub body: B,
}

impl<B> Envelope<B> {
    /// Reads id and time; `body` reads the rest.
    pub(crate) fn read(raw: RawMessage, body: impl FnOnce(RawMessage) -> B) -> Self {
        let id = MessageId::new(&raw.header.msg_id);
        let timestamp_ms = raw.header.timestamp;
        Self { id, timestamp_ms, body: body(raw) }
    }

    /// Writes id and time.
    pub(crate) fn header(&self) -> RawHeader {
        RawHeader {
            msg_id: self.id.as_str().to_owned(),
            timestamp: self.timestamp_ms,
            ..RawHeader::default()
        }
    }
}

/// A message that this version has no meaning for, or whose content does not fit its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    /// The message as it came.
    pub raw: Box<RawMessage>,
    /// Why it was not understood.
    pub problem: String,
}

impl Unknown {
    pub(crate) fn new(raw: RawMessage, problem: impl Into<String>) -> Self {
        Self { raw: Box::new(raw), problem: problem.into() }
    }

    /// Returns a label for counting and for logging once: route without names.
    #[must_use]
    pub fn kind(&self) -> String {
        let route = &self.raw.route;
        let form = ResourcePath::parse(&route.resource).form();
        let short = |text: &str| text.chars().take(40).collect::<String>();
        format!("{} {} {} {form}", short(&route.source), short(&route.group), short(&route.operation))
    }
}
