//! KubeEdge's message, exactly as its JSON is.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Says why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// Not the JSON of a message.
    #[error("not a message")]
    Json(#[from] serde_json::Error),
    /// JSON perhaps, but not an object.
    #[error("not a JSON object")]
    NoObject,
}

/// The header of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawHeader {
    /// The id.
    #[serde(deserialize_with = "null_as_default")]
    pub msg_id: String,
    /// The id of the message that this one answers.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub parent_msg_id: String,
    /// Unix milliseconds.
    #[serde(deserialize_with = "null_as_default")]
    pub timestamp: i64,
    /// The resource version of the content.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub resourceversion: String,
    /// Never true on the link.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub sync: bool,
    /// Never set on the link.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub message_type: String,
}

/// The route of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawRoute {
    /// The sending module.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub source: String,
    /// Not used on the link.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub destination: String,
    /// The group that is to receive it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub group: String,
    /// The verb.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub operation: String,
    /// The resource path.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub resource: String,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A message of the KubeEdge codec. The content stays raw JSON: an object, a string that may hold
/// JSON or base64, or null.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawMessage {
    /// The header.
    #[serde(default, deserialize_with = "null_as_default")]
    pub header: RawHeader,
    /// The route.
    #[serde(default, deserialize_with = "null_as_default")]
    pub route: RawRoute,
    /// The content.
    #[serde(default = "null")]
    pub content: Box<RawValue>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

impl PartialEq for RawMessage {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.route == other.route && self.content.get() == other.content.get()
    }
}

impl RawMessage {
    /// Decodes a message. White space around it is accepted, anything else is not.
    ///
    /// # Errors
    ///
    /// When `bytes` are not one JSON document of a message's shape.
    pub fn decode(bytes: &[u8]) -> Result<Self, RawError> {
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Ok(serde_json::from_slice(bytes)?),
            _ => Err(RawError::NoObject),
        }
    }

    /// Encodes the message as Go's encoder does: HTML-sensitive characters escaped, one newline
    /// at the end.
    ///
    /// # Errors
    ///
    /// Never for a value of this type; the signature is that of `serde_json`.
    pub fn encode(&self) -> Result<Vec<u8>, RawError> {
        let plain = serde_json::to_vec(self)?;
        let mut escaped = escape_html(plain);
        escaped.push(b'\n');
        Ok(escaped)
    }
}

/// Escapes what Go's `encoding/json` escapes beyond the JSON standard. These characters can stand
/// only within strings, so that replacing them wherever they are keeps the document's meaning.
fn escape_html(json: Vec<u8>) -> Vec<u8> {
    let sensitive =
        |window: &[u8]| matches!(window, [b'<' | b'>' | b'&', ..] | [0xE2, 0x80, 0xA8 | 0xA9, ..]);
    let first = (0..json.len()).find(|&at| json.get(at..).is_some_and(sensitive));
    let Some(first) = first else { return json };
    let mut escaped = Vec::with_capacity(json.len() + 64);
    let (head, mut rest) = json.split_at(first);
    escaped.extend_from_slice(head);
    loop {
        match rest {
            [] => return escaped,
            [b'<', tail @ ..] => push_escape(&mut escaped, b"\\u003c", &mut rest, tail),
            [b'>', tail @ ..] => push_escape(&mut escaped, b"\\u003e", &mut rest, tail),
            [b'&', tail @ ..] => push_escape(&mut escaped, b"\\u0026", &mut rest, tail),
            [0xE2, 0x80, 0xA8, tail @ ..] => push_escape(&mut escaped, b"\\u2028", &mut rest, tail),
            [0xE2, 0x80, 0xA9, tail @ ..] => push_escape(&mut escaped, b"\\u2029", &mut rest, tail),
            [other, tail @ ..] => push_escape(&mut escaped, &[*other], &mut rest, tail),
        }
    }
}

fn push_escape<'a>(escaped: &mut Vec<u8>, text: &[u8], rest: &mut &'a [u8], tail: &'a [u8]) {
    escaped.extend_from_slice(text);
    *rest = tail;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let message = RawMessage::decode(text.as_bytes()).expect("a message");
        assert_eq!(String::from_utf8(message.encode().expect("encodes")).expect("text"), expect);
    }

    #[test]
    fn fields_keep_go_s_order_and_empty_ones_are_left_out() {
        check(
            r#"{"content":"OK","route":{"resource":"a/pod/b","operation":"response"},"header":{"timestamp":5,"msg_id":"i","parent_msg_id":"p"}}"#,
            "{\"header\":{\"msg_id\":\"i\",\"parent_msg_id\":\"p\",\"timestamp\":5},\"route\":{\"operation\":\"response\",\"resource\":\"a/pod/b\"},\"content\":\"OK\"}\n",
        );
    }

    #[test]
    fn an_empty_message_is_what_go_sends_for_its_zero_value() {
        check("{}", "{\"header\":{\"msg_id\":\"\",\"timestamp\":0},\"route\":{},\"content\":null}\n");
        check(
            r#"{"header":null,"route":{"source":null},"content":null,"extra":1}"#,
            "{\"header\":{\"msg_id\":\"\",\"timestamp\":0},\"route\":{},\"content\":null}\n",
        );
    }

    #[test]
    fn html_characters_are_escaped_and_both_forms_are_read() {
        let escaped = r#"{"header":{"msg_id":"","timestamp":0},"route":{},"content":{"a":"\u003c\u003e\u0026\u2028\u2029é"}}"#;
        check("{\"content\":{\"a\":\"<>&\u{2028}\u{2029}é\"}}", &format!("{escaped}\n"));
        check(escaped, &format!("{escaped}\n"));
    }

    #[test]
    fn garbage_is_an_error() {
        for text in ["", "[]", "{\"header\":[}", "{}{}", "{\"header\":{\"timestamp\":\"x\"}}", "\u{0}"] {
            assert!(RawMessage::decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
