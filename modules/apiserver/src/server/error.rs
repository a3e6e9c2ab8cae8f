//! Failures as the Kubernetes API says them: `Status` objects.

use std::fmt;

use serde_json::{Value, json};
use store::StoreError;

/// A failure that is answered with a `Status`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError(Box<Parts>);

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
    /// A whole `Status` made elsewhere; the rest mirrors it.
    status: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts { code, reason, message: message.into(), details: None, status: None }))
    }

    /// Takes a complete `Status` value.
    pub(crate) fn of_status(status: Value) -> Self {
        let code = status
            .get("code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(500);
        let message = status.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self(Box::new(Parts { code, reason: "", message, details: None, status: Some(status) }))
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {cause}"))
            .with_details(json!({"causes": [{"message": cause.to_string()}]}))
    }

    pub(crate) fn storage(error: &StoreError) -> Self {
        Self::internal(error)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(group, plural)))
            .with_details(details(group, plural, name))
    }

    pub(crate) fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(group, plural)))
            .with_details(details(group, plural, name))
    }

    pub(crate) fn conflict(group: &str, plural: &str, name: &str, cause: impl fmt::Display) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {cause}", qualified(group, plural));
        Self::new(409, "Conflict", message).with_details(details(group, plural, name))
    }

    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, cause: impl fmt::Display) -> Self {
        let qualified = qualified(group, plural);
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {cause}")
        } else {
            format!("{qualified} {name:?} is forbidden: {cause}")
        };
        Self::new(403, "Forbidden", message).with_details(details(group, plural, name))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn not_acceptable(offers: &str) -> Self {
        let message = format!("only the following media types are accepted: {offers}");
        Self::new(406, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message).with_details(json!({}))
    }

    pub(crate) fn too_large() -> Self {
        Self::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    }

    pub(crate) fn too_many_requests(message: &str) -> Self {
        Self::new(429, "TooManyRequests", message).with_details(json!({"retryAfterSeconds": 1}))
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn version_ahead(asked: u64, current: u64) -> Self {
        Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {current}")).with_details(
            json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                   "retryAfterSeconds": 1}),
        )
    }

    pub(crate) fn timed_out(message: &str) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// One field of an object or of the query is not valid.
    pub(crate) fn invalid(
        group: &str,
        kind: &str,
        name: &str,
        reason: &str,
        field: &str,
        problem: &str,
    ) -> Self {
        let kind_name = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{kind_name} {name:?} is invalid: {field}: {problem}");
        let mut details = details(group, kind, name);
        if let Some(details) = details.as_object_mut() {
            details.insert("causes".into(), json!([{"reason": reason, "message": problem, "field": field}]));
        }
        Self::new(422, "Invalid", message).with_details(details)
    }

    /// Returns the HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// Returns the `Status` object.
    #[must_use]
    pub fn status(&self) -> Value {
        if let Some(status) = &self.0.status {
            return status.clone();
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.0.message, "reason": self.0.reason, "code": self.0.code,
        });
        if let (Some(details), Some(status)) = (&self.0.details, status.as_object_mut()) {
            status.insert("details".to_owned(), details.clone());
        }
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = serde_json::Map::new();
    for (field, text) in [("name", name), ("group", group), ("kind", kind)] {
        if !text.is_empty() {
            details.insert(field.to_owned(), text.into());
        }
    }
    Value::Object(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_named_with_its_group() {
        let status = ApiError::not_found("apps", "deployments", "x").status();
        assert_eq!(status["message"], "deployments.apps \"x\" not found");
        assert_eq!(status["details"], json!({"name": "x", "group": "apps", "kind": "deployments"}));
        assert_eq!(
            ApiError::not_found("", "configmaps", "none").to_string(),
            "configmaps \"none\" not found"
        );
    }

    #[test]
    fn a_stale_write_is_told_as_a_real_server_does() {
        let cause =
            "the object has been modified; please apply your changes to the latest version and try again";
        let error = ApiError::conflict("", "configmaps", "q", cause);
        assert_eq!(error.to_string(), format!("Operation cannot be fulfilled on configmaps \"q\": {cause}"));
        assert_eq!((error.code(), error.status()["reason"].as_str()), (409, Some("Conflict")));
    }
}
