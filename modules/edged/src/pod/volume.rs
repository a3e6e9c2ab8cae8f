//! Volumes as edged reads them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::container::{LocalRef, ResourceFieldSelector};
use super::null_as_default;

/// A field of the pod, such as `metadata.name`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldSelector {
    /// The path.
    pub field_path: String,
}

/// One key and the file it becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// The file's path below the volume.
    pub path: String,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// Files of a config map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// The config map.
    #[serde(flatten)]
    pub source: LocalRef,
    /// Only these keys.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<KeyToPath>,
    /// Permission bits.
    pub default_mode: Option<u32>,
}

/// Files of a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretVolume {
    /// The secret; in projected volumes it is called `name`.
    #[serde(alias = "name", deserialize_with = "null_as_default")]
    pub secret_name: String,
    /// Whether it may be missing.
    #[serde(deserialize_with = "null_as_default")]
    pub optional: bool,
    /// Only these keys.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<KeyToPath>,
    /// Permission bits.
    pub default_mode: Option<u32>,
}

/// A file with a field of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardFile {
    /// The file's path below the volume.
    pub path: String,
    /// A field.
    pub field_ref: Option<FieldSelector>,
    /// A resource.
    pub resource_field_ref: Option<ResourceFieldSelector>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// Files with fields of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardVolume {
    /// The files.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<DownwardFile>,
    /// Permission bits.
    pub default_mode: Option<u32>,
}

/// A service account's token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenProjection {
    /// Whom it is for.
    #[serde(deserialize_with = "null_as_default")]
    pub audience: String,
    /// How long it lives.
    pub expiration_seconds: Option<u64>,
    /// The file's path below the volume.
    pub path: String,
}

/// One part of a projected volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedSource {
    /// A config map.
    pub config_map: Option<ConfigMapVolume>,
    /// A secret.
    pub secret: Option<SecretVolume>,
    /// Fields of the pod.
    #[serde(rename = "downwardAPI")]
    pub downward: Option<DownwardVolume>,
    /// A token.
    pub service_account_token: Option<TokenProjection>,
}

/// A volume of several parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedVolume {
    /// The parts.
    #[serde(deserialize_with = "null_as_default")]
    pub sources: Vec<ProjectedSource>,
    /// Permission bits.
    pub default_mode: Option<u32>,
}

/// An empty directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDirVolume {
    /// `Memory`, or empty.
    #[serde(deserialize_with = "null_as_default")]
    pub medium: String,
    /// Its bound.
    pub size_limit: Option<String>,
}

/// A path of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HostPathVolume {
    /// The path.
    pub path: String,
    /// What it must be.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
}

/// A volume: its name and exactly one source.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// An empty directory.
    pub empty_dir: Option<EmptyDirVolume>,
    /// A path of the node.
    pub host_path: Option<HostPathVolume>,
    /// A config map.
    pub config_map: Option<ConfigMapVolume>,
    /// A secret.
    pub secret: Option<SecretVolume>,
    /// Fields of the pod.
    #[serde(rename = "downwardAPI")]
    pub downward: Option<DownwardVolume>,
    /// Several of them.
    pub projected: Option<ProjectedVolume>,
    /// What edged does not know, by its key.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
