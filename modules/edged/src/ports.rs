//! What edged needs from outside: a container runtime, the node's files, the node's facts, and a
//! prober. None of them names a runtime's own protocol, so that an embedded runtime can stand where
//! a remote one does.

mod files;
mod held;
mod node;
mod runtime;

use std::sync::Arc;

pub use files::{
    EmptyDir, FileError, HostPathKind, LogQuery, Medium, PodDir, PodFiles, VolumeFile, VolumeKind,
    VolumeOwner,
};
pub use held::{Container, ContainerState, Exit, Sandbox, SandboxState};
pub use node::{HttpProbe, NodeFacts, NodeInfo, NodeUsage, ProbeScheme, Prober};
pub use runtime::{
    Capabilities, ContainerId, ContainerSecurity, ContainerSpec, DnsConfig, EnvVar, ExecOutput, Image,
    ImageCredentials, ImageId, IpcMode, Mount, NetworkMode, PidMode, PodIdentity, PortMapping, PortProtocol,
    Propagation, Resources, Runtime, RuntimeCondition, RuntimeError, RuntimeStatus, RuntimeVersion,
    SandboxId, SandboxNamespaces, SandboxSecurity, SandboxSpec, Seccomp,
};

/// All that edged is given when it is built.
#[derive(Debug, Clone)]
pub struct EdgedPorts {
    /// Runs containers.
    pub runtime: Arc<dyn Runtime>,
    /// Keeps volumes and logs.
    pub files: Arc<dyn PodFiles>,
    /// Knows the machine.
    pub node: Arc<dyn NodeInfo>,
    /// Knocks at containers' ports.
    pub prober: Arc<dyn Prober>,
}
