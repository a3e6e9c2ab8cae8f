//! One state of one object, as it is kept and served.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::server::error::ApiError;

/// What tells an object from the others of its resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A reference to an owner, as far as garbage collection needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: String,
    pub group: String,
    pub kind: String,
    pub blocks: bool,
}

/// One state of one object: its JSON without `apiVersion` and `kind`, which depend on the version
/// it is served in, and the parts of its metadata that the server decides by.
#[derive(Debug)]
pub(crate) struct Stored {
    raw: Bytes,
    pub version: u64,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub owners: Vec<Owner>,
    pub deleting: bool,
    pub finalizers: Vec<String>,
}

impl Stored {
    /// Takes a value, strips what depends on the served version and gives it `version`; what was never
    /// stored has version 0 and shows none.
    pub(crate) fn new(mut value: Value, version: u64) -> Result<Self, ApiError> {
        let Some(object) = value.as_object_mut() else {
            return Err(ApiError::internal("the object to store is not a JSON object"));
        };
        object.remove("apiVersion");
        object.remove("kind");
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        let Some(metadata) = metadata.as_object_mut() else {
            return Err(ApiError::internal("the metadata of the object to store is not a JSON object"));
        };
        metadata.remove("resourceVersion");
        if version > 0 {
            metadata.insert("resourceVersion".to_owned(), Value::String(version.to_string()));
        }
        let head = Head::of(metadata);
        let raw = serde_json::to_vec(&value).map_err(ApiError::internal)?;
        Ok(head.with(raw.into(), version))
    }

    /// Reads an object as the store kept it.
    pub(crate) fn parse(raw: Bytes) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(&raw).map_err(ApiError::internal)?;
        let metadata = value
            .get("metadata")
            .and_then(Value::as_object)
            .ok_or_else(|| ApiError::internal("a stored object has no metadata"))?;
        let version = metadata
            .get("resourceVersion")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::internal("a stored object has no resource version"))?;
        Ok(Head::of(metadata).with(raw, version))
    }

    /// Returns the JSON without `apiVersion` and `kind`.
    pub(crate) fn bare(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the JSON as it is served in one version.
    pub(crate) fn json(&self, api_version: &str, kind: &str) -> Bytes {
        let rest = self.raw.get(1..).unwrap_or_default();
        let mut json = BytesMut::with_capacity(self.raw.len() + api_version.len() + kind.len() + 32);
        json.put_slice(b"{\"kind\":\"");
        json.put_slice(kind.as_bytes());
        json.put_slice(b"\",\"apiVersion\":\"");
        json.put_slice(api_version.as_bytes());
        json.put_slice(b"\",");
        json.put_slice(rest);
        json.freeze()
    }

    /// Returns the object as a value, without `apiVersion` and `kind`.
    pub(crate) fn bare_value(&self) -> Value {
        serde_json::from_slice(&self.raw).expect("it was written by serde_json or parsed when it was loaded")
    }

    /// Returns the object as a value in one version.
    pub(crate) fn value(&self, api_version: &str, kind: &str) -> Value {
        let mut value = self.bare_value();
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".to_owned(), Value::from(api_version));
            object.insert("kind".to_owned(), Value::from(kind));
        }
        value
    }
}

struct Head {
    uid: String,
    labels: BTreeMap<String, String>,
    owners: Vec<Owner>,
    deleting: bool,
    finalizers: Vec<String>,
}

impl Head {
    fn of(metadata: &Map<String, Value>) -> Self {
        Self {
            uid: text(metadata, "uid"),
            labels: metadata
                .get("labels")
                .and_then(Value::as_object)
                .map(|labels| {
                    labels
                        .iter()
                        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                        .collect()
                })
                .unwrap_or_default(),
            owners: metadata
                .get("ownerReferences")
                .and_then(Value::as_array)
                .map(|owners| owners.iter().filter_map(Value::as_object).map(owner).collect())
                .unwrap_or_default(),
            deleting: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
            finalizers: metadata
                .get("finalizers")
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }

    fn with(self, raw: Bytes, version: u64) -> Stored {
        let Self { uid, labels, owners, deleting, finalizers } = self;
        Stored { raw, version, uid, labels, owners, deleting, finalizers }
    }
}

fn text(map: &Map<String, Value>, name: &str) -> String {
    map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn owner(reference: &Map<String, Value>) -> Owner {
    let api_version = text(reference, "apiVersion");
    let group = api_version.split_once('/').map(|(group, _)| group).unwrap_or_default();
    Owner {
        uid: text(reference, "uid"),
        group: group.to_owned(),
        kind: text(reference, "kind"),
        blocks: reference.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_served_in_the_version_that_is_asked_for() {
        let value =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let stored = Stored::new(value, 7).expect("it is an object");
        let served: Value = serde_json::from_slice(&stored.json("g/v2", "Thing")).expect("it is JSON");
        assert_eq!(
            served,
            json!({"apiVersion": "g/v2", "kind": "Thing",
                   "metadata": {"name": "a", "resourceVersion": "7"}, "data": {"k": "v"}})
        );
        assert_eq!(stored.value("g/v2", "Thing"), served);
        assert!(!String::from_utf8_lossy(stored.bare()).contains("kind"));
    }

    #[test]
    fn what_the_store_kept_is_read_back_with_its_version() {
        let stored =
            Stored::new(json!({"metadata": {"uid": "u", "labels": {"a": "b"}, "finalizers": ["f"]}}), 3)
                .expect("it is an object");
        let read = Stored::parse(stored.bare().clone()).expect("it is what was written");
        assert_eq!((read.version, read.uid.as_str(), read.finalizers.len()), (3, "u", 1));
        assert_eq!(read.labels.get("a").map(String::as_str), Some("b"));
    }

    #[test]
    fn a_record_that_is_no_object_is_an_error() {
        for raw in ["", "3", "{}", r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":"x"}}"#] {
            assert!(Stored::parse(Bytes::from(raw)).is_err(), "{raw}");
        }
    }
}
