//! Config maps and secrets as edged reads them, and which of them a pod refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::{Object, ObjectKey, ObjectName, ResourceType};
use serde::Deserialize;

use crate::pod::{ContainerView, Pod, Volume, null_as_default};

/// Whether a reference is to a config map or a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKind {
    /// A config map.
    ConfigMap,
    /// A secret.
    Secret,
}

impl DataKind {
    /// Returns the kind in the words of kubelet's messages.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    fn resource(self) -> ResourceType {
        match self {
            Self::ConfigMap => ResourceType::CONFIG_MAP,
            Self::Secret => ResourceType::SECRET,
        }
    }
}

/// A reference of a pod to an object of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataRef {
    /// The kind.
    pub kind: DataKind,
    /// The name.
    pub name: String,
}

impl DataRef {
    /// Makes a reference.
    #[must_use]
    pub fn new(kind: DataKind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// Returns the object's key, unless the name is not valid.
    #[must_use]
    pub fn key(&self, pod: &Pod) -> Option<ObjectKey> {
        let name = ObjectName::parse(&self.name).ok()?;
        Some(ObjectKey { resource: self.kind.resource(), namespace: Some(pod.namespace.clone()), name })
    }
}

/// The content of a config map or secret. `Debug` prints keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// The content by key.
    pub entries: BTreeMap<String, Bytes>,
    /// A secret's type.
    pub kind: String,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawData {
    #[serde(deserialize_with = "null_as_default")]
    data: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    binary_data: BTreeMap<String, String>,
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    kind: String,
}

impl Data {
    /// Reads an object's content.
    ///
    /// # Errors
    ///
    /// When it does not have the shape of its kind, or what must be base64 is not.
    pub fn read(kind: DataKind, object: &Object) -> Result<Self, String> {
        let raw: RawData = object.view().map_err(|error| format!("not a {}: {error}", kind.noun()))?;
        let mut entries = BTreeMap::new();
        for (key, text) in raw.data {
            let content = match kind {
                DataKind::ConfigMap => Bytes::from(text),
                DataKind::Secret => decode(&key, &text)?,
            };
            entries.insert(key, content);
        }
        for (key, text) in raw.binary_data {
            let content = decode(&key, &text)?;
            entries.insert(key, content);
        }
        Ok(Self { entries, kind: raw.kind })
    }
}

fn decode(key: &str, text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| format!("the value of key {key} is not base64"))
}

/// What became of the attempt to read a referenced object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is there.
    Found(Data),
    /// It does not exist.
    Missing,
    /// It cannot be told: the text says why.
    Unavailable(String),
}

/// The objects that a decision was given.
pub type DataSet = BTreeMap<DataRef, Fetched>;

/// Lists what a container's environment refers to.
#[must_use]
pub fn env_refs(container: &ContainerView) -> BTreeSet<DataRef> {
    let mut refs = BTreeSet::new();
    for from in &container.env_from {
        refs.extend(from.config_map_ref.iter().map(|at| DataRef::new(DataKind::ConfigMap, &at.name)));
        refs.extend(from.secret_ref.iter().map(|at| DataRef::new(DataKind::Secret, &at.name)));
    }
    for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        refs.extend(source.config_map_key_ref.iter().map(|at| DataRef::new(DataKind::ConfigMap, &at.name)));
        refs.extend(source.secret_key_ref.iter().map(|at| DataRef::new(DataKind::Secret, &at.name)));
    }
    refs
}

/// Lists what a volume refers to.
#[must_use]
pub fn volume_refs(volume: &Volume) -> BTreeSet<DataRef> {
    let mut refs = BTreeSet::new();
    let config_map = |name: &str| DataRef::new(DataKind::ConfigMap, name);
    let secret = |name: &str| DataRef::new(DataKind::Secret, name);
    refs.extend(volume.config_map.iter().map(|at| config_map(&at.source.name)));
    refs.extend(volume.secret.iter().map(|at| secret(&at.secret_name)));
    for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
        refs.extend(source.config_map.iter().map(|at| config_map(&at.source.name)));
        refs.extend(source.secret.iter().map(|at| secret(&at.secret_name)));
    }
    refs
}

/// Lists all that a pod refers to.
#[must_use]
pub fn pod_refs(pod: &Pod) -> BTreeSet<DataRef> {
    let mut refs: BTreeSet<DataRef> = pod.all_containers().flat_map(env_refs).collect();
    refs.extend(pod.spec.volumes.iter().flat_map(volume_refs));
    refs.extend(pod.spec.image_pull_secrets.iter().map(|at| DataRef::new(DataKind::Secret, &at.name)));
    refs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_decoded_and_never_printed() {
        let object =
            Object::parse(r#"{"metadata":{"name":"s"},"type":"Opaque","data":{"p":"aHVudGVyMg=="}}"#)
                .expect("an object");
        let data = Data::read(DataKind::Secret, &object).expect("a secret");
        assert_eq!(data.entries["p"], "hunter2");
        assert!(!format!("{data:?}").contains("hunter2"));
        assert!(
            Data::read(DataKind::Secret, &Object::parse(r#"{"metadata":{},"data":{"p":"%"}}"#).expect("x"))
                .is_err()
        );
    }

    #[test]
    fn a_config_map_has_text_and_bytes() {
        let object = Object::parse(r#"{"metadata":{"name":"c"},"data":{"a":"x"},"binaryData":{"b":"AAE="}}"#)
            .expect("an object");
        let data = Data::read(DataKind::ConfigMap, &object).expect("a config map");
        assert_eq!(data.entries["a"], "x");
        assert_eq!(data.entries["b"], &[0_u8, 1][..]);
    }
}
