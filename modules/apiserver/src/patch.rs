//! The four kinds of patches.

pub mod apply;
mod fieldset;
mod strategic;

use serde_json::Value;

pub use apply::{ApplyError, Manager, apply, track};

use crate::registry::{Registry, Resource};

/// The most operations that one JSON patch may have.
const OPERATIONS_MAX: usize = 10_000;

/// A kind of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// A list of operations, RFC 6902.
    Json,
    /// A partial object, RFC 7386.
    Merge,
    /// A partial object whose lists merge by key.
    Strategic,
    /// The whole intent of one manager.
    Apply,
}

impl PatchType {
    /// Returns the kind that a content type names.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().map(str::trim)? {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Says why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch makes no sense: 400.
    #[error("{0}")]
    BadRequest(String),
    /// The patch does not fit the object: 422.
    #[error("{0}")]
    Unprocessable(String),
    /// The resource takes no patch of this kind: 415.
    #[error("415: Unsupported Media Type")]
    Unsupported,
}

/// Applies a JSON patch.
///
/// # Errors
///
/// When it is no list of operations, or when one of them fails; nothing is applied then.
pub fn json(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::BadRequest(format!("error decoding patch: {error}")))?;
    if operations.0.len() > OPERATIONS_MAX {
        return Err(PatchError::BadRequest(format!(
            "the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.0.len()
        )));
    }
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &operations.0)
        .map_err(|error| PatchError::Unprocessable(error.to_string()))?;
    Ok(patched)
}

/// Applies a JSON merge patch.
///
/// # Errors
///
/// When the patch is no object.
pub fn merge(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::BadRequest("a merge patch must be a JSON object".to_owned()));
    }
    let mut merged = object.clone();
    json_patch::merge(&mut merged, patch);
    Ok(merged)
}

/// Applies a strategic merge patch.
///
/// # Errors
///
/// When the resource is a custom one, or when the patch does not fit the object.
pub fn strategic(
    registry: &Registry,
    resource: &Resource,
    object: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    if resource.is_custom() {
        return Err(PatchError::Unsupported);
    }
    strategic::merge(registry.types(), &resource.shape, object, patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_types_name_the_kinds() {
        fn check(content_type: &str, expected: Option<PatchType>) {
            assert_eq!(PatchType::of_content_type(content_type), expected, "{content_type}");
        }
        check("application/json-patch+json", Some(PatchType::Json));
        check("application/merge-patch+json; charset=utf-8", Some(PatchType::Merge));
        check("application/strategic-merge-patch+json", Some(PatchType::Strategic));
        check("application/apply-patch+yaml", Some(PatchType::Apply));
        check("application/json", None);
    }

    #[test]
    fn a_json_patch_is_all_or_nothing() {
        let object = json!({"data": {"a": "1"}});
        let patched = json(&object, &json!([{"op": "replace", "path": "/data/a", "value": "2"}])).unwrap();
        assert_eq!(patched, json!({"data": {"a": "2"}}));
        let failing =
            json!([{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/data/b", "value": 1}]);
        assert!(matches!(json(&object, &failing), Err(PatchError::Unprocessable(_))));
        assert!(matches!(json(&object, &json!({"op": "x"})), Err(PatchError::BadRequest(_))));
    }

    #[test]
    fn a_merge_patch_removes_with_null() {
        let merged =
            merge(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": null, "d": {"e": null}}})).unwrap();
        assert_eq!(merged, json!({"a": {"c": 2, "d": {}}}));
        assert!(merge(&json!({}), &json!([])).is_err());
    }
}
