//! The Kubernetes API's way to say no.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A failure `Status` of the Kubernetes API, the part that callers decide by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} (reason {reason}, code {code})")]
#[serde(rename_all = "camelCase", default)]
pub struct ApiStatus {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, such as `NotFound`.
    pub reason: String,
    /// The text for people.
    pub message: String,
    /// Details as the server gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Default for ApiStatus {
    fn default() -> Self {
        Self { code: 500, reason: "InternalError".to_owned(), message: String::new(), details: None }
    }
}

impl ApiStatus {
    /// Makes a status of its parts.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), message: message.into(), details: None }
    }

    /// Tells whether the object was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Tells whether the same request may succeed later: the server had no room or trouble of its own.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self.code, 429 | 500 | 502 | 503 | 504)
    }

    /// Tells whether the object was there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }
}
