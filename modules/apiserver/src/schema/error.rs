//! What is wrong with an object, field by field, worded as a real server does.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// Why a field was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is needed and missing.
    Required,
    /// Its value is not acceptable.
    Invalid,
    /// Its value is not one of the known ones.
    NotSupported,
    /// Another item has the same identity.
    Duplicate,
    /// It may not be set here.
    Forbidden,
    /// What it names does not exist.
    NotFound,
    /// It is too long.
    TooLong,
    /// It has too many items.
    TooMany,
    /// It is of the wrong JSON type.
    TypeInvalid,
}

impl Reason {
    /// Returns the reason as a status names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The path of the field.
    pub field: String,
    /// Why it was refused.
    pub reason: Reason,
    /// The message without the path.
    pub message: String,
}

impl FieldError {
    /// Says that a field is missing.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.into(), reason: Reason::Required, message }
    }

    /// Says that a value is not acceptable.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", shown(value));
        Self { field: field.into(), reason: Reason::Invalid, message }
    }

    /// Says that a value is not one of the known ones.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value), known.join(", "));
        Self { field: field.into(), reason: Reason::NotSupported, message }
    }

    /// Says that another item has the same identity.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", shown(value));
        Self { field: field.into(), reason: Reason::Duplicate, message }
    }

    /// Says that a field may not be set.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { field: field.into(), reason: Reason::Forbidden, message: format!("Forbidden: {detail}") }
    }

    /// Says that what a field names does not exist.
    #[must_use]
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self {
            field: field.into(),
            reason: Reason::NotFound,
            message: format!("Not found: {}", shown(value)),
        }
    }

    /// Says that a value is longer than it may be.
    #[must_use]
    pub fn too_long(field: impl Into<String>, bytes_max: usize) -> Self {
        let message = format!("Too long: may not be more than {bytes_max} bytes");
        Self { field: field.into(), reason: Reason::TooLong, message }
    }

    /// Says that a value is of the wrong JSON type.
    #[must_use]
    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", shown(value));
        Self { field: field.into(), reason: Reason::TypeInvalid, message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Writes a value as messages show it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// Everything that is wrong with an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an error.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Returns `Ok` when nothing is wrong.
    ///
    /// # Errors
    ///
    /// When something is.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Returns the message of a status for an object of the resource.
    #[must_use]
    pub fn message(&self, resource: &Resource, name: &str) -> String {
        let kind = resource.qualified_kind();
        format!("{kind} {name:?} is invalid: {self}")
    }

    /// Returns the causes of a status.
    #[must_use]
    pub fn causes(&self) -> Vec<Value> {
        self.0
            .iter()
            .map(|error| {
                let mut cause = Map::new();
                cause.insert("reason".to_owned(), Value::from(error.reason.as_str()));
                cause.insert("message".to_owned(), Value::from(error.message.clone()));
                if !error.field.is_empty() {
                    cause.insert("field".to_owned(), Value::from(error.field.clone()));
                }
                Value::Object(cause)
            })
            .collect()
    }

    /// Returns the 422 status for an object of the resource.
    #[must_use]
    pub fn status(&self, resource: &Resource, name: &str) -> Value {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".to_owned(), Value::from(name));
        }
        if !resource.group.is_empty() {
            details.insert("group".to_owned(), Value::from(resource.group.clone()));
        }
        details.insert("kind".to_owned(), Value::from(resource.kind.clone()));
        details.insert("causes".to_owned(), Value::from(self.causes()));
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message(resource, name), "reason": "Invalid", "details": details, "code": 422})
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::new();
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [only] => f.write_str(only),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

impl std::error::Error for FieldErrors {}
