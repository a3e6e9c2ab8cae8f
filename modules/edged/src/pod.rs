//! A pod as edged reads it: the fields that it acts on. All others stay in the raw object.

mod container;
mod volume;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use protocol::{Namespace, Object, ObjectName};
use serde::{Deserialize, Deserializer};

pub use container::{
    ContainerPort, ContainerView, EnvFrom, EnvSource, EnvVarView, ExecAction, Handler, HttpGet, HttpHeader,
    IntOrString, KeySelector, Lifecycle, LocalRef, ProbeView, ResourceFieldSelector, ResourceNeeds,
    SeccompProfile, SecurityContext, TcpSocket, VolumeMount,
};
pub use volume::{
    ConfigMapVolume, DownwardFile, DownwardVolume, EmptyDirVolume, FieldSelector, HostPathVolume, KeyToPath,
    ProjectedSource, ProjectedVolume, SecretVolume, TokenProjection, Volume,
};

use crate::ports::PodDir;
use crate::time::parse_rfc3339;

pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// When containers are started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum RestartPolicy {
    /// Whenever they end.
    #[default]
    Always,
    /// When they fail.
    OnFailure,
    /// Never.
    Never,
}

/// The pod's part of the security context.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurityContext {
    /// User of all containers.
    pub run_as_user: Option<i64>,
    /// Group of all containers.
    pub run_as_group: Option<i64>,
    /// Whether root is refused.
    pub run_as_non_root: Option<bool>,
    /// Group of volumes.
    pub fs_group: Option<i64>,
    /// Further groups.
    #[serde(deserialize_with = "null_as_default")]
    pub supplemental_groups: Vec<i64>,
    /// Kernel settings.
    #[serde(deserialize_with = "null_as_default")]
    pub sysctls: Vec<NameValue>,
    /// The filter of system calls.
    pub seccomp_profile: Option<SeccompProfile>,
}

/// A name and a value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NameValue {
    /// The name.
    pub name: String,
    /// The value.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
}

/// Names for addresses, added to `/etc/hosts`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HostAlias {
    /// The address.
    pub ip: String,
    /// The names.
    #[serde(deserialize_with = "null_as_default")]
    pub hostnames: Vec<String>,
}

/// Name resolution that a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodDnsConfig {
    /// Name servers.
    #[serde(deserialize_with = "null_as_default")]
    pub nameservers: Vec<String>,
    /// Search domains.
    #[serde(deserialize_with = "null_as_default")]
    pub searches: Vec<String>,
    /// Options.
    #[serde(deserialize_with = "null_as_default")]
    pub options: Vec<NameValue>,
}

/// What the pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the API's fields")]
pub struct PodSpec {
    /// The node it is bound to.
    pub node_name: String,
    /// Containers that run to their end, or start, before the others.
    #[serde(deserialize_with = "null_as_default")]
    pub init_containers: Vec<ContainerView>,
    /// Containers.
    #[serde(deserialize_with = "null_as_default")]
    pub containers: Vec<ContainerView>,
    /// Volumes.
    #[serde(deserialize_with = "null_as_default")]
    pub volumes: Vec<Volume>,
    /// Restarts.
    #[serde(deserialize_with = "null_as_default")]
    pub restart_policy: RestartPolicy,
    /// Seconds granted to an ending pod.
    pub termination_grace_period_seconds: Option<u64>,
    /// Seconds that the pod may be active.
    pub active_deadline_seconds: Option<u64>,
    /// Name resolution.
    pub dns_policy: String,
    /// More of it.
    pub dns_config: Option<PodDnsConfig>,
    /// The node's network.
    #[serde(deserialize_with = "null_as_default")]
    pub host_network: bool,
    /// The node's processes.
    #[serde(rename = "hostPID", deserialize_with = "null_as_default")]
    pub host_pid: bool,
    /// The node's IPC.
    #[serde(rename = "hostIPC", deserialize_with = "null_as_default")]
    pub host_ipc: bool,
    /// One process namespace for all containers.
    #[serde(deserialize_with = "null_as_default")]
    pub share_process_namespace: bool,
    /// Security.
    #[serde(deserialize_with = "null_as_default")]
    pub security_context: PodSecurityContext,
    /// Secrets for registries.
    #[serde(deserialize_with = "null_as_default")]
    pub image_pull_secrets: Vec<LocalRef>,
    /// The host name.
    pub hostname: Option<String>,
    /// The name of the headless service.
    pub subdomain: Option<String>,
    /// Whether the host name is the full one.
    #[serde(rename = "setHostnameAsFQDN", deserialize_with = "null_as_default")]
    pub set_hostname_as_fqdn: bool,
    /// Names for addresses.
    #[serde(deserialize_with = "null_as_default")]
    pub host_aliases: Vec<HostAlias>,
    /// The service account.
    pub service_account_name: String,
    /// The runtime's handler.
    pub runtime_class_name: Option<String>,
    /// Conditions of others that readiness waits for.
    #[serde(deserialize_with = "null_as_default")]
    pub readiness_gates: Vec<ReadinessGate>,
}

/// A condition that somebody else sets and readiness waits for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessGate {
    /// The condition's type.
    pub condition_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPod {
    spec: PodSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: serde_json::Value,
    metadata: RawMeta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    creation_timestamp: Option<String>,
}

/// Says why an object is no pod that could be run.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// It does not have a pod's shape.
    #[error("not a pod: {0}")]
    Shape(#[from] serde_json::Error),
    /// It lacks what every pod of an API server has.
    #[error("a pod without {0}")]
    Missing(&'static str),
    /// A name in it is not valid.
    #[error("not a usable pod: {0}")]
    Name(#[from] protocol::NameError),
}

/// A pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When its graceful deletion was asked for, and the grace granted.
    pub deletion: Option<Duration>,
    /// What it asks for.
    pub spec: PodSpec,
    /// What the API last said of its status.
    pub status: serde_json::Value,
    /// When it was made.
    pub created_at: Option<SystemTime>,
}

impl Pod {
    /// Reads a pod.
    ///
    /// # Errors
    ///
    /// When the object is no pod, or lacks name, namespace, uid or containers.
    pub fn read(object: &Object) -> Result<Self, PodError> {
        let raw: RawPod = object.view()?;
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().filter(|text| !text.is_empty());
        let uid = meta.uid.clone().filter(|uid| !uid.is_empty()).ok_or(PodError::Missing("uid"))?;
        protocol::Uid::parse(&uid)?;
        if raw.spec.containers.is_empty() {
            return Err(PodError::Missing("containers"));
        }
        for container in raw.spec.containers.iter().chain(&raw.spec.init_containers) {
            ObjectName::parse(&container.name)?;
        }
        let grace = meta
            .deletion_grace_period_seconds
            .map(|seconds| u64::try_from(seconds).unwrap_or(0))
            .or(raw.spec.termination_grace_period_seconds)
            .unwrap_or(DEFAULT_GRACE.as_secs());
        Ok(Self {
            namespace: Namespace::parse(namespace.ok_or(PodError::Missing("namespace"))?)?,
            name: ObjectName::parse(&meta.name)?,
            uid,
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            labels: meta.labels.clone(),
            annotations: meta.annotations.clone(),
            deletion: meta.deletion_timestamp.as_ref().map(|_| Duration::from_secs(grace)),
            spec: raw.spec,
            status: raw.status,
            created_at: raw.metadata.creation_timestamp.as_deref().and_then(parse_rfc3339),
        })
    }

    /// Returns what names the pod's directories.
    #[must_use]
    pub fn dir(&self) -> PodDir {
        PodDir { uid: self.uid.clone(), name: self.name.to_string(), namespace: self.namespace.to_string() }
    }

    /// Returns the grace that the pod's spec grants.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.deletion
            .or(self.spec.termination_grace_period_seconds.map(Duration::from_secs))
            .unwrap_or(DEFAULT_GRACE)
    }

    /// Returns the phase that the API last knew; empty if none.
    #[must_use]
    pub fn known_phase(&self) -> &str {
        self.status.get("phase").and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// Tells whether the API knows that the pod has ended for good.
    #[must_use]
    pub fn is_known_ended(&self) -> bool {
        matches!(self.known_phase(), "Succeeded" | "Failed")
    }

    /// Returns a container by name, init containers included.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.all_containers().find(|container| container.name == name)
    }

    /// Returns all containers, init containers first.
    pub fn all_containers(&self) -> impl Iterator<Item = &ContainerView> {
        self.spec.init_containers.iter().chain(&self.spec.containers)
    }
}

/// The grace of pods that name none.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
