//! A container as edged reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::volume::FieldSelector;
use super::{NameValue, null_as_default};

/// A number or a text, as ports are given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A name.
    Text(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

/// A reference to an object of the pod's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LocalRef {
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Whether it may be missing.
    #[serde(deserialize_with = "null_as_default")]
    pub optional: bool,
}

/// One key of a config map or secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeySelector {
    /// The object.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether object or key may be missing.
    #[serde(deserialize_with = "null_as_default")]
    pub optional: bool,
}

/// A container's request or limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldSelector {
    /// The container; its own if left out.
    #[serde(deserialize_with = "null_as_default")]
    pub container_name: String,
    /// Such as `limits.cpu`.
    pub resource: String,
    /// What it is divided by.
    pub divisor: Option<String>,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvSource {
    /// A config map's key.
    pub config_map_key_ref: Option<KeySelector>,
    /// A secret's key.
    pub secret_key_ref: Option<KeySelector>,
    /// A field of the pod.
    pub field_ref: Option<FieldSelector>,
    /// A resource of a container.
    pub resource_field_ref: Option<ResourceFieldSelector>,
}

/// A variable.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarView {
    /// Its name.
    pub name: String,
    /// Its value, with references to others.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Where its value comes from instead.
    pub value_from: Option<EnvSource>,
}

/// Variables made of all keys of an object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    /// Put before each name.
    #[serde(deserialize_with = "null_as_default")]
    pub prefix: String,
    /// A config map.
    pub config_map_ref: Option<LocalRef>,
    /// A secret.
    pub secret_ref: Option<LocalRef>,
}

/// A mount of a volume.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// What below the volume.
    #[serde(deserialize_with = "null_as_default")]
    pub sub_path: String,
    /// The same, with references to variables.
    #[serde(deserialize_with = "null_as_default")]
    pub sub_path_expr: String,
    /// Whether it may not be written.
    #[serde(deserialize_with = "null_as_default")]
    pub read_only: bool,
    /// Propagation.
    pub mount_propagation: Option<String>,
}

/// A port.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its number.
    pub container_port: u16,
    /// The node's port.
    #[serde(deserialize_with = "null_as_default")]
    pub host_port: u16,
    /// The node's address.
    #[serde(rename = "hostIP", deserialize_with = "null_as_default")]
    pub host_ip: String,
    /// TCP, UDP or SCTP.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
}

/// Requests and limits.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceNeeds {
    /// What it needs.
    #[serde(deserialize_with = "null_as_default")]
    pub requests: BTreeMap<String, String>,
    /// What it may use.
    #[serde(deserialize_with = "null_as_default")]
    pub limits: BTreeMap<String, String>,
}

/// A filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompProfile {
    /// `RuntimeDefault`, `Unconfined` or `Localhost`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The file of `Localhost`.
    #[serde(deserialize_with = "null_as_default")]
    pub localhost_profile: String,
}

/// Capabilities.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CapabilitiesView {
    /// To add.
    #[serde(deserialize_with = "null_as_default")]
    pub add: Vec<String>,
    /// To drop.
    #[serde(deserialize_with = "null_as_default")]
    pub drop: Vec<String>,
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// User.
    pub run_as_user: Option<i64>,
    /// Group.
    pub run_as_group: Option<i64>,
    /// Whether root is refused.
    pub run_as_non_root: Option<bool>,
    /// All.
    #[serde(deserialize_with = "null_as_default")]
    pub privileged: bool,
    /// A root file system that cannot be written.
    #[serde(deserialize_with = "null_as_default")]
    pub read_only_root_filesystem: bool,
    /// Whether privileges can be gained.
    pub allow_privilege_escalation: Option<bool>,
    /// Capabilities.
    #[serde(deserialize_with = "null_as_default")]
    pub capabilities: CapabilitiesView,
    /// The filter of system calls.
    pub seccomp_profile: Option<SeccompProfile>,
    /// `Default` or `Unmasked`.
    pub proc_mount: Option<String>,
}

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    /// The command and its arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
}

/// An HTTP request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGet {
    /// The path.
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    /// The port, by number or name.
    pub port: IntOrString,
    /// The host; the pod's address if empty.
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
    /// HTTP or HTTPS.
    #[serde(deserialize_with = "null_as_default")]
    pub scheme: String,
    /// Headers.
    #[serde(deserialize_with = "null_as_default")]
    pub http_headers: Vec<HttpHeader>,
}

/// A TCP connection.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TcpSocket {
    /// The port, by number or name.
    pub port: IntOrString,
    /// The host; the pod's address if empty.
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
}

/// A pause.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SleepAction {
    /// How long.
    pub seconds: u64,
}

/// What a probe or a lifecycle hook does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Handler {
    /// A command.
    pub exec: Option<ExecAction>,
    /// An HTTP request.
    pub http_get: Option<HttpGet>,
    /// A TCP connection.
    pub tcp_socket: Option<TcpSocket>,
    /// A pause; hooks only.
    pub sleep: Option<SleepAction>,
    /// A gRPC health check; probes only, and not served.
    pub grpc: Option<serde_json::Value>,
}

/// Hooks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// After the start.
    pub post_start: Option<Handler>,
    /// Before the stop.
    pub pre_stop: Option<Handler>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
}

/// A probe.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeView {
    /// What it does.
    #[serde(flatten)]
    pub handler: Handler,
    /// Seconds before the first.
    #[serde(deserialize_with = "null_as_default")]
    pub initial_delay_seconds: u64,
    /// Seconds between two.
    pub period_seconds: Option<u64>,
    /// Seconds that one may take.
    pub timeout_seconds: Option<u64>,
    /// Successes in a row that count.
    pub success_threshold: Option<u32>,
    /// Failures in a row that count.
    pub failure_threshold: Option<u32>,
    /// The grace when this probe ends the container.
    pub termination_grace_period_seconds: Option<u64>,
}

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its image.
    #[serde(deserialize_with = "null_as_default")]
    pub image: String,
    /// `Always`, `IfNotPresent`, `Never`; by the image's tag if empty.
    #[serde(deserialize_with = "null_as_default")]
    pub image_pull_policy: String,
    /// Replaces the entry point.
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
    /// Replaces the arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    /// The working directory.
    #[serde(deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// Variables.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<EnvVarView>,
    /// More of them.
    #[serde(deserialize_with = "null_as_default")]
    pub env_from: Vec<EnvFrom>,
    /// Ports.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ContainerPort>,
    /// Resources.
    #[serde(deserialize_with = "null_as_default")]
    pub resources: ResourceNeeds,
    /// Mounts.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Raw devices; not served.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_devices: Vec<NameValue>,
    /// Security.
    #[serde(deserialize_with = "null_as_default")]
    pub security_context: SecurityContext,
    /// Ends it when it fails.
    pub liveness_probe: Option<ProbeView>,
    /// Says whether it may be used.
    pub readiness_probe: Option<ProbeView>,
    /// Holds the other two back.
    pub startup_probe: Option<ProbeView>,
    /// Hooks.
    #[serde(deserialize_with = "null_as_default")]
    pub lifecycle: Lifecycle,
    /// Where its last words are read.
    #[serde(deserialize_with = "null_as_default")]
    pub termination_message_path: String,
    /// `File` or `FallbackToLogsOnError`.
    #[serde(deserialize_with = "null_as_default")]
    pub termination_message_policy: String,
    /// Standard input.
    #[serde(deserialize_with = "null_as_default")]
    pub stdin: bool,
    /// Closed after its first client.
    #[serde(deserialize_with = "null_as_default")]
    pub stdin_once: bool,
    /// A terminal.
    #[serde(deserialize_with = "null_as_default")]
    pub tty: bool,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
}

impl ContainerView {
    /// Tells whether an init container runs beside the others instead of before them.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// Returns where its last words are read.
    #[must_use]
    pub fn message_path(&self) -> &str {
        if self.termination_message_path.is_empty() {
            "/dev/termination-log"
        } else {
            &self.termination_message_path
        }
    }

    /// Resolves a port given by number or name.
    #[must_use]
    pub fn port(&self, port: &IntOrString) -> Option<u16> {
        match port {
            IntOrString::Int(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
            IntOrString::Text(text) => text.parse().ok().or_else(|| {
                self.ports.iter().find(|port| port.name == *text).map(|port| port.container_port)
            }),
        }
    }

    /// Returns the hash by which a changed container is known: what a restart is needed for. It is
    /// kubelet's since 1.31 (`HashContainer`), so that neither restarts what the other has made.
    #[must_use]
    pub fn restart_relevant(&self) -> u32 {
        let json = serde_json::json!({ "image": self.image, "name": self.name }).to_string();
        let bytes: Vec<String> = json.bytes().map(|byte| byte.to_string()).collect();
        // As Go prints the bytes.
        fnv1a(format!("([]uint8)[{}]", bytes.join(" ")).as_bytes())
    }
}

/// The 32-bit FNV-1a hash: stable for ever, as a value that is stored beside containers must be.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_kubelet_s() {
        let container = ContainerView {
            name: "test_container".to_owned(),
            image: "foo/image:v1".to_owned(),
            ..ContainerView::default()
        };
        assert_eq!(container.restart_relevant(), 0x8e45_cbd0, "the value of kubelet's own test");
    }
}
