//! Content of a message: an object, a text that may itself hold JSON, or nothing.

use bytes::Bytes;
use protocol::Object;
use serde::Serialize;
use serde_json::value::RawValue;

/// The content, told apart by its first character, as its consumers do.
#[derive(Debug)]
pub(crate) enum Content {
    Null,
    Text(String),
    Json(Bytes),
}

impl Content {
    pub(crate) fn of(raw: Box<RawValue>) -> Result<Self, serde_json::Error> {
        match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get()).map(Self::Text),
            Some(b'n') => Ok(Self::Null),
            _ => Ok(Self::Json(Bytes::from(String::from(Box::<str>::from(raw)).into_bytes()))),
        }
    }

    /// Returns the bytes that upstream's consumers see: a text's own bytes, or the JSON.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Null => Bytes::new(),
            Self::Text(text) => Bytes::from(text.into_bytes()),
            Self::Json(json) => json,
        }
    }
}

/// Reads the content as a Kubernetes object, embedded or held in a text.
pub(crate) fn object(raw: Box<RawValue>) -> Result<Object, String> {
    let content = Content::of(raw).map_err(|error| error.to_string())?;
    Object::parse(content.into_bytes()).map_err(|error| error.to_string())
}

/// Embeds JSON that is known to be valid; what is not becomes `null`.
pub(crate) fn embed(json: &Bytes) -> Box<RawValue> {
    let text = std::str::from_utf8(json).unwrap_or("null").to_owned();
    RawValue::from_string(text).unwrap_or_else(|_| null())
}

pub(crate) fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// Makes content of a value of our own.
pub(crate) fn json<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| null())
}

/// Makes a JSON string that holds `bytes`, as patches travel.
pub(crate) fn text(bytes: &Bytes) -> Box<RawValue> {
    json(&String::from_utf8_lossy(bytes))
}
