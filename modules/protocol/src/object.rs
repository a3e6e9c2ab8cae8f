//! Kubernetes objects as they travel: raw JSON beside the metadata that routing needs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::name::{NameError, Namespace, ObjectName, ResourceType, ResourceVersion, Uid};

/// What tells one object from all others of a cluster at one time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The object's type.
    pub resource: ResourceType,
    /// The namespace; `None` for cluster-scoped objects.
    pub namespace: Option<Namespace>,
    /// The name within type and namespace.
    pub name: ObjectName,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource, self.name),
            None => write!(f, "{} {}", self.resource, self.name),
        }
    }
}

/// The part of an object's metadata that modules decide by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// The name, empty if the sender left it out.
    pub name: String,
    /// The namespace, absent for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The uid.
    pub uid: Option<String>,
    /// The version of this state.
    pub resource_version: Option<String>,
    /// The generation of the desired state.
    pub generation: Option<i64>,
    /// When graceful deletion began, RFC 3339.
    pub deletion_timestamp: Option<String>,
    /// Seconds granted to graceful deletion.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: ObjectMeta,
}

/// Says why bytes are no Kubernetes object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not JSON, or not of an object's shape.
    #[error("not a Kubernetes object")]
    Shape(#[from] serde_json::Error),
    /// An identifier in it is not valid.
    #[error("not a usable Kubernetes object")]
    Name(#[from] NameError),
}

/// A Kubernetes object: its JSON untouched, so that fields of a newer cluster survive, and its
/// parsed metadata. Cheap to clone. `Debug` never prints content, which may be secret.
#[derive(Clone)]
pub struct Object {
    raw: Bytes,
    head: Arc<Head>,
}

impl Object {
    /// Parses the metadata of `raw` and keeps the bytes.
    ///
    /// # Errors
    ///
    /// When `raw` is not a JSON object with `metadata`.
    pub fn parse(raw: impl Into<Bytes>) -> Result<Self, ObjectError> {
        let raw = raw.into();
        let head = serde_json::from_slice(&raw)?;
        Ok(Self { raw, head: Arc::new(head) })
    }

    /// Makes an object of a JSON value.
    ///
    /// # Errors
    ///
    /// When the value is not an object with `metadata`.
    pub fn from_value(value: &Value) -> Result<Self, ObjectError> {
        Self::parse(serde_json::to_vec(value)?)
    }

    /// Returns the JSON as it arrived.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        &self.head.metadata
    }

    /// Returns `apiVersion`, if the sender gave one.
    #[must_use]
    pub fn api_version(&self) -> Option<&str> {
        self.head.api_version.as_deref()
    }

    /// Returns `kind`, if the sender gave one.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.head.kind.as_deref()
    }

    /// Returns the uid, if the object has a valid one.
    #[must_use]
    pub fn uid(&self) -> Option<Uid> {
        self.meta().uid.as_deref().and_then(|uid| Uid::parse(uid).ok())
    }

    /// Returns the resource version, if the object has one.
    #[must_use]
    pub fn resource_version(&self) -> Option<ResourceVersion> {
        self.meta().resource_version.as_deref().map(ResourceVersion::new)
    }

    /// Returns the key under which this object of type `resource` is known.
    ///
    /// # Errors
    ///
    /// When its name or namespace is not a valid identifier.
    pub fn key(&self, resource: ResourceType) -> Result<ObjectKey, NameError> {
        let namespace = match self.meta().namespace.as_deref() {
            None | Some("") => None,
            Some(namespace) => Some(Namespace::parse(namespace)?),
        };
        Ok(ObjectKey { resource, namespace, name: ObjectName::parse(&self.meta().name)? })
    }

    /// Decodes the object as `T`, which may know fewer fields.
    ///
    /// # Errors
    ///
    /// When the JSON does not fit `T`.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.raw)
    }

    /// Decodes the object as a JSON value.
    ///
    /// # Errors
    ///
    /// Never for an object that was parsed; the signature is that of `serde_json`.
    pub fn value(&self) -> Result<Value, serde_json::Error> {
        self.view()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = self.meta();
        f.debug_struct("Object")
            .field("kind", &self.kind().unwrap_or_default())
            .field("namespace", &meta.namespace.as_deref().unwrap_or_default())
            .field("name", &meta.name)
            .field("resource_version", &meta.resource_version.as_deref().unwrap_or_default())
            .field("bytes", &self.raw.len())
            .finish()
    }
}

/// What happened to an object, as the cloud says it. An edge treats `Insert` and `Update` alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The object is new to the node.
    Insert,
    /// The object has a newer state.
    Update,
    /// The object is gone.
    Delete,
}

/// A change of one object on its way from the cloud to a node and through it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectChange {
    /// What happened.
    pub kind: ChangeKind,
    /// Which object.
    pub key: ObjectKey,
    /// Its newest state; for `Delete` the last known one, perhaps only name, namespace and uid.
    pub object: Object,
}

impl ObjectChange {
    /// What a change that waits in memory costs beside its object, in bytes: about its key and its place.
    pub const BYTES_BESIDE: usize = 256;

    /// Returns the bytes that the change counts for where what waits is bounded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.object.raw().len() + Self::BYTES_BESIDE
    }
}

/// One object that a node holds: what it says about it when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which object.
    pub key: ObjectKey,
    /// Its uid, if it has one.
    pub uid: Option<Uid>,
    /// The version that the node holds, if it has one.
    pub resource_version: Option<ResourceVersion>,
}

/// A version of an object that a node keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The object.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Uid,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The version.
    pub version: ResourceVersion,
}

impl Kept {
    /// Says that `version` of an object is kept. `None` if the object does not say what it is.
    #[must_use]
    pub fn of(key: &ObjectKey, object: &Object, version: ResourceVersion) -> Option<Self> {
        let (api_version, kind) = (object.api_version()?.to_owned(), object.kind()?.to_owned());
        Some(Self { key: key.clone(), uid: object.uid()?, api_version, kind, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_the_fields_that_nobody_knows() {
        let raw =
            br#"{"kind":"Pod","metadata":{"name":"a","namespace":"b","labels":null,"x":1},"fresh":{"y":2}}"#;
        let object = Object::parse(&raw[..]).expect("it is an object");
        assert_eq!(&object.raw()[..], raw);
        assert_eq!(object.key(ResourceType::POD).expect("valid names").to_string(), "pod b/a");
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for raw in ["", "[]", "{}", "1", "{\"metadata\":3}", "{\"metadata\":null}"] {
            assert!(Object::parse(raw.to_owned()).is_err(), "{raw}");
        }
    }

    #[test]
    fn debug_does_not_print_content() {
        let raw = r#"{"kind":"Secret","metadata":{"name":"s"},"data":{"password":"aHVudGVyMg=="}}"#;
        let object = Object::parse(raw).expect("it is an object");
        assert!(!format!("{object:?}").contains("aHVudGVyMg"));
    }
}
