//! The container runtime port.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::held::Sandbox;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Wraps the id as the runtime spells it.
            #[must_use]
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// Returns the id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id!(
    /// The runtime's id of a pod sandbox.
    SandboxId
);
opaque_id!(
    /// The runtime's id of a container.
    ContainerId
);
opaque_id!(
    /// The runtime's id of an image: what `ContainerSpec::image` is set to once it is pulled.
    ImageId
);

/// Says why the runtime did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime cannot be reached. Nothing may be concluded about pods; ask again later.
    #[error("the container runtime is not reachable: {0}")]
    Unavailable(String),
    /// The runtime did not answer in time. It may have acted.
    #[error("the container runtime did not answer in time: {0}")]
    TimedOut(String),
    /// The sandbox, container or image is not there.
    #[error("{0}")]
    NotFound(String),
    /// The image's reference cannot be parsed.
    #[error("couldn't parse image name {image:?}: {message}")]
    InvalidImageName {
        /// The reference.
        image: String,
        /// What is wrong with it.
        message: String,
    },
    /// The registry does not have the image, or denies it, or could not be reached.
    #[error("{0}")]
    PullFailed(String),
    /// The runtime refused or failed. The text is the runtime's, for people.
    #[error("{0}")]
    Failed(String),
}

/// The runtime's names and versions, as a node's `nodeInfo` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// The runtime's name, such as `containerd`; `nodeInfo` shows `name://version`.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl fmt::Display for RuntimeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.version)
    }
}

/// Whether one part of the runtime works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeCondition {
    /// The condition: `RuntimeReady` or `NetworkReady`; others are shown, not acted on.
    pub kind: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why not, one word.
    pub reason: String,
    /// Why not, for people.
    pub message: String,
}

/// Whether the runtime works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// The parts. A runtime without conditions is ready.
    pub conditions: Vec<RuntimeCondition>,
}

/// Which run of which pod a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodIdentity {
    /// The pod's uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// How many sandboxes of this pod came before this one.
    pub attempt: u32,
}

/// How a sandbox is attached to the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// A network of its own.
    #[default]
    Pod,
    /// The node's.
    Host,
}

/// Which processes a container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PidMode {
    /// Only its own.
    #[default]
    Container,
    /// Those of all containers of the pod (`shareProcessNamespace`).
    Pod,
    /// The node's.
    Host,
}

/// Which IPC objects a pod sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpcMode {
    /// Its own.
    #[default]
    Pod,
    /// The node's.
    Host,
}

/// The namespaces of a sandbox and of all its containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SandboxNamespaces {
    /// The network.
    pub network: NetworkMode,
    /// Processes.
    pub pid: PidMode,
    /// IPC.
    pub ipc: IpcMode,
}

/// A filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// None.
    #[default]
    Unconfined,
    /// The runtime's own.
    RuntimeDefault,
    /// A profile in a file of the node.
    Localhost(PathBuf),
}

/// The pod's part of the security context, applied to the sandbox itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxSecurity {
    /// The user that the sandbox's own process runs as.
    pub run_as_user: Option<i64>,
    /// Its group.
    pub run_as_group: Option<i64>,
    /// Its further groups (`supplementalGroups` and `fsGroup`).
    pub supplemental_groups: Vec<i64>,
    /// Whether any container of the pod is privileged.
    pub privileged: bool,
    /// The filter of system calls.
    pub seccomp: Seccomp,
}

/// What containers of the pod find in `/etc/resolv.conf`. All empty means the runtime's default,
/// the node's own file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, as they are written.
    pub options: Vec<String>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the pod that is reached through a port of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The container's port.
    pub container_port: u16,
    /// The node's port.
    pub host_port: u16,
    /// The node's address, empty for all.
    pub host_ip: String,
}

/// A pod sandbox to be made. Kept by the caller: creating a container needs it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Whose it is.
    pub pod: PodIdentity,
    /// The host name inside; empty with the host's network.
    pub hostname: String,
    /// Name resolution; `None` with `dnsPolicy: Default`: the node's own.
    pub dns: Option<DnsConfig>,
    /// Ports of the node.
    pub ports: Vec<PortMapping>,
    /// Labels, returned by `list` as they are.
    pub labels: BTreeMap<String, String>,
    /// Annotations, returned by `list` as they are.
    pub annotations: BTreeMap<String, String>,
    /// The directory that containers' logs are written to; `ContainerSpec::log_path` is relative to it.
    pub log_dir: PathBuf,
    /// The cgroup that the pod's containers are placed under; empty for the runtime's default.
    pub cgroup_parent: String,
    /// Kernel settings of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Namespaces.
    pub namespaces: SandboxNamespaces,
    /// Security.
    pub security: SandboxSecurity,
    /// Which of the runtime's handlers (`runtimeClassName`); empty for the default.
    pub runtime_handler: String,
}

/// A variable of a container's environment. `Debug` never prints its value, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// How mounts made below a mount travel between node and container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the node to the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A file or directory of the node that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where in the container.
    pub container_path: String,
    /// What of the node. It exists.
    pub host_path: PathBuf,
    /// Whether the container may not write.
    pub read_only: bool,
    /// Propagation.
    pub propagation: Propagation,
}

/// What a container may use of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// The CPU weight (cgroup v1 scale, 2 to 262144); 0 for the default.
    pub cpu_shares: u64,
    /// The length of a CPU period in microseconds; 0 for the default.
    pub cpu_period_us: u64,
    /// CPU time per period in microseconds; 0 for no limit.
    pub cpu_quota_us: i64,
    /// Memory in bytes; 0 for no limit.
    pub memory_limit_bytes: i64,
    /// The kernel's readiness to kill it when memory is short.
    pub oom_score_adj: i64,
}

/// Capabilities beyond or short of the runtime's default set, without the `CAP_` prefix; `ALL` is
/// all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// To add.
    pub add: Vec<String>,
    /// To drop.
    pub drop: Vec<String>,
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSecurity {
    /// The user; `None` for the image's.
    pub run_as_user: Option<i64>,
    /// The group; `None` for the image's. Never set without a user.
    pub run_as_group: Option<i64>,
    /// Further groups.
    pub supplemental_groups: Vec<i64>,
    /// Whether it may do all.
    pub privileged: bool,
    /// Whether its root file system is read-only.
    pub read_only_root: bool,
    /// Whether its processes may not gain privileges.
    pub no_new_privileges: bool,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// Paths hidden from it (`procMount: Default`); empty when privileged.
    pub masked_paths: Vec<String>,
    /// Paths it may only read.
    pub read_only_paths: Vec<String>,
}

/// A container to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its name within the pod.
    pub name: String,
    /// How many containers of this name in this pod came before it.
    pub attempt: u32,
    /// The image to run, as `Runtime::image` or `Runtime::pull_image` returned it.
    pub image: ImageId,
    /// The image as the pod asks for it, for people and for `list`.
    pub image_asked: String,
    /// Replaces the image's entry point unless empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments unless empty.
    pub args: Vec<String>,
    /// The working directory; empty for the image's.
    pub working_dir: String,
    /// The environment, in order, names unique.
    pub env: Vec<EnvVar>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Labels, returned by `list` as they are.
    pub labels: BTreeMap<String, String>,
    /// Annotations, returned by `list` as they are.
    pub annotations: BTreeMap<String, String>,
    /// The log's file, relative to `SandboxSpec::log_dir`: `<container>/<attempt>.log`.
    /// The runtime writes it in the CRI log format (`<RFC 3339 nano> stdout|stderr F|P <text>`).
    pub log_path: PathBuf,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Whether standard input closes when the first client leaves it.
    pub stdin_once: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Resources.
    pub resources: Resources,
    /// Security.
    pub security: ContainerSecurity,
    /// The signal that ends it (such as `SIGUSR1`); `None` for the image's own.
    pub stop_signal: Option<String>,
}

/// What a registry wants to know. `Debug` never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageCredentials {
    /// The registry that it is for, as the secret names it.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// A bearer token of the identity server, instead of the password; empty if there is none.
    pub identity_token: String,
}

impl fmt::Debug for ImageCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageCredentials({}: ***)", self.registry)
    }
}

/// An image that the runtime has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its digest references.
    pub digests: Vec<String>,
    /// Its size on disk.
    pub size_bytes: u64,
    /// The numeric user of its configuration, if it has one.
    pub user: Option<i64>,
    /// The user of its configuration by name; empty if it has none.
    pub username: String,
}

/// What a command inside a container gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i32,
    /// The beginning of its standard output; at most 16 KiB are kept.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error; at most 16 KiB are kept.
    pub stderr: Vec<u8>,
}

/// The container runtime. Cheap to clone behind an `Arc`; every call has a deadline of its own, so
/// that none hangs for ever.
///
/// All calls but `pull_image` and `exec` are idempotent where it makes sense: stopping what has
/// stopped and removing what is not there succeed.
#[async_trait]
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// Returns the runtime's name and version.
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError>;

    /// Returns whether the runtime works.
    async fn status(&self) -> Result<RuntimeStatus, RuntimeError>;

    /// Lists all sandboxes and containers, those of others included, with complete state.
    ///
    /// Called about once a second: an implementation remembers what cannot change (the details of
    /// an ended container, the addresses of a ready sandbox) and asks only for the rest.
    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError>;

    /// Makes and starts a sandbox, its network included.
    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError>;

    /// Stops a sandbox: kills what still runs in it and frees its network.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Removes a stopped sandbox and all its containers.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Makes a container in a sandbox. `sandbox` is the spec that `id` was made of.
    async fn create_container(
        &self,
        id: &SandboxId,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError>;

    /// Starts a container that was created.
    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Sends the stop signal, waits at most `grace`, then kills. Returns when it has ended.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError>;

    /// Removes a container, killing it if it runs. Its log stays.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Opens the container's log file again, after it was renamed.
    async fn reopen_log(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Runs a command in a running container and waits for its end. Past `timeout` it is killed
    /// and the answer is [`RuntimeError::TimedOut`].
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError>;

    /// Returns the image that `reference` (name, tag, digest or id) names, or `None` if the runtime
    /// does not have it.
    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError>;

    /// Lists the images that the runtime has.
    async fn images(&self) -> Result<Vec<Image>, RuntimeError>;

    /// Fetches an image. `credentials` are tried in turn; none means anonymously.
    async fn pull_image(
        &self,
        reference: &str,
        credentials: &[ImageCredentials],
        sandbox: &SandboxSpec,
    ) -> Result<ImageId, RuntimeError>;

    /// Removes an image and all its tags.
    async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError>;
}
