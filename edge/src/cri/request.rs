//! Translates edged's specs into CRI's.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use edged::ports::{
    ContainerSecurity, ContainerSpec, ImageCredentials, IpcMode, Mount, NetworkMode, PidMode, PodIdentity,
    PortMapping, PortProtocol, Propagation, Resources, RuntimeError, SandboxNamespaces, SandboxSecurity,
    SandboxSpec, Seccomp,
};

use super::proto;
use super::proto::security_profile::ProfileType;

/// The labels and annotations by which kubelet's tools (crictl among them) know pods and containers.
pub(super) mod label {
    pub(in super::super) const POD_NAME: &str = "io.kubernetes.pod.name";
    pub(in super::super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub(in super::super) const POD_UID: &str = "io.kubernetes.pod.uid";
    pub(in super::super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    pub(in super::super) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Keeps the image as the pod asks for it, which runtimes replace with an id or with whichever
    /// tag of the image comes first. It never leaves this adapter.
    pub(in super::super) const IMAGE_ASKED: &str = "beehive.io/image";
}

/// Returns the configuration of a sandbox.
pub(super) fn sandbox(spec: &SandboxSpec) -> proto::PodSandboxConfig {
    let mut labels = identity_labels(&spec.pod);
    labels.extend(spec.labels.clone());
    proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata {
            name: spec.pod.name.clone(),
            uid: spec.pod.uid.clone(),
            namespace: spec.pod.namespace.clone(),
            attempt: spec.pod.attempt,
        }),
        hostname: spec.hostname.clone(),
        log_directory: path_text(&spec.log_dir),
        dns_config: spec.dns.as_ref().map(|dns| proto::DnsConfig {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        port_mappings: spec.ports.iter().map(port_mapping).collect(),
        labels,
        annotations: spec.annotations.clone(),
        linux: Some(proto::LinuxPodSandboxConfig {
            cgroup_parent: spec.cgroup_parent.clone(),
            security_context: Some(sandbox_security(spec.namespaces, &spec.security)),
            sysctls: spec.sysctls.clone(),
            overhead: None,
            resources: None,
        }),
        windows: None,
    }
}

/// Returns the configuration of a container in a sandbox made of `sandbox`.
pub(super) fn container(
    sandbox: &SandboxSpec,
    spec: &ContainerSpec,
) -> Result<proto::ContainerConfig, RuntimeError> {
    let mut labels = identity_labels(&sandbox.pod);
    labels.insert(label::CONTAINER_NAME.to_owned(), spec.name.clone());
    labels.extend(spec.labels.clone());
    let mut annotations = BTreeMap::from([(label::RESTART_COUNT.to_owned(), spec.attempt.to_string())]);
    annotations.extend(spec.annotations.clone());
    annotations.insert(label::IMAGE_ASKED.to_owned(), spec.image_asked.clone());
    Ok(proto::ContainerConfig {
        metadata: Some(proto::ContainerMetadata { name: spec.name.clone(), attempt: spec.attempt }),
        image: Some(proto::ImageSpec {
            image: spec.image.to_string(),
            user_specified_image: spec.image_asked.clone(),
            ..Default::default()
        }),
        command: spec.command.clone(),
        args: spec.args.clone(),
        working_dir: spec.working_dir.clone(),
        envs: spec
            .env
            .iter()
            .map(|variable| proto::KeyValue {
                key: variable.name.clone(),
                value: variable.value.clone().into_bytes(),
            })
            .collect(),
        mounts: spec.mounts.iter().map(mount).collect(),
        devices: Vec::new(),
        labels,
        annotations,
        log_path: path_text(&spec.log_path),
        stdin: spec.stdin,
        stdin_once: spec.stdin_once,
        tty: spec.tty,
        linux: Some(proto::LinuxContainerConfig {
            resources: Some(resources(&spec.resources)),
            security_context: Some(container_security(sandbox.namespaces, &spec.security)),
        }),
        windows: None,
        cdi_devices: Vec::new(),
        stop_signal: stop_signal(spec)?.into(),
    })
}

/// Returns the name of an image as the image service wants it.
pub(super) fn image(reference: &str) -> proto::ImageSpec {
    proto::ImageSpec { image: reference.to_owned(), ..Default::default() }
}

/// Returns the credentials as a registry gets them.
///
/// The address stays empty, as kubelet leaves it: containerd compares it with the host that it
/// talks to in the end, which differs from the name of the registry for Docker Hub, and leaves the
/// credentials out without a word where they differ.
pub(super) fn auth(credentials: &ImageCredentials) -> proto::AuthConfig {
    proto::AuthConfig {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        identity_token: credentials.identity_token.clone(),
        ..Default::default()
    }
}

/// Returns the time in seconds, rounded up: the runtime's clock has no finer hand.
pub(super) fn whole_seconds(time: Duration) -> i64 {
    let up = u64::from(time.subsec_nanos() > 0);
    i64::try_from(time.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
}

fn identity_labels(pod: &PodIdentity) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::POD_NAME.to_owned(), pod.name.clone()),
        (label::POD_NAMESPACE.to_owned(), pod.namespace.clone()),
        (label::POD_UID.to_owned(), pod.uid.clone()),
    ])
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn port_mapping(port: &PortMapping) -> proto::PortMapping {
    let protocol = match port.protocol {
        PortProtocol::Tcp => proto::Protocol::Tcp,
        PortProtocol::Udp => proto::Protocol::Udp,
        PortProtocol::Sctp => proto::Protocol::Sctp,
    };
    proto::PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port.into(),
        host_port: port.host_port.into(),
        host_ip: port.host_ip.clone(),
    }
}

fn namespaces(namespaces: SandboxNamespaces) -> proto::NamespaceOption {
    use proto::NamespaceMode;
    let network = match namespaces.network {
        NetworkMode::Pod => NamespaceMode::Pod,
        NetworkMode::Host => NamespaceMode::Node,
    };
    let pid = match namespaces.pid {
        PidMode::Container => NamespaceMode::Container,
        PidMode::Pod => NamespaceMode::Pod,
        PidMode::Host => NamespaceMode::Node,
    };
    let ipc = match namespaces.ipc {
        IpcMode::Pod => NamespaceMode::Pod,
        IpcMode::Host => NamespaceMode::Node,
    };
    proto::NamespaceOption {
        network: network.into(),
        pid: pid.into(),
        ipc: ipc.into(),
        target_id: String::new(),
        userns_options: None,
    }
}

fn sandbox_security(of: SandboxNamespaces, security: &SandboxSecurity) -> proto::LinuxSandboxSecurityContext {
    proto::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(of)),
        run_as_user: int64(security.run_as_user),
        run_as_group: int64(security.run_as_group),
        supplemental_groups: security.supplemental_groups.clone(),
        privileged: security.privileged,
        seccomp: Some(seccomp(&security.seccomp)),
        ..Default::default()
    }
}

fn container_security(
    of: SandboxNamespaces,
    security: &ContainerSecurity,
) -> proto::LinuxContainerSecurityContext {
    proto::LinuxContainerSecurityContext {
        capabilities: Some(proto::Capability {
            add_capabilities: security.capabilities.add.clone(),
            drop_capabilities: security.capabilities.drop.clone(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged: security.privileged,
        namespace_options: Some(namespaces(of)),
        run_as_user: int64(security.run_as_user),
        run_as_group: int64(security.run_as_group),
        readonly_rootfs: security.read_only_root,
        supplemental_groups: security.supplemental_groups.clone(),
        no_new_privs: security.no_new_privileges,
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.read_only_paths.clone(),
        seccomp: Some(seccomp(&security.seccomp)),
        ..Default::default()
    }
}

fn int64(value: Option<i64>) -> Option<proto::Int64Value> {
    value.map(|value| proto::Int64Value { value })
}

fn seccomp(seccomp: &Seccomp) -> proto::SecurityProfile {
    let (profile, file) = match seccomp {
        Seccomp::Unconfined => (ProfileType::Unconfined, String::new()),
        Seccomp::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
        Seccomp::Localhost(file) => (ProfileType::Localhost, path_text(file)),
    };
    proto::SecurityProfile { profile_type: profile.into(), localhost_ref: file }
}

fn mount(mount: &Mount) -> proto::Mount {
    let propagation = match mount.propagation {
        Propagation::Private => proto::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => proto::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => proto::MountPropagation::PropagationBidirectional,
    };
    proto::Mount {
        container_path: mount.container_path.clone(),
        host_path: path_text(&mount.host_path),
        readonly: mount.read_only,
        propagation: propagation.into(),
        ..Default::default()
    }
}

fn resources(resources: &Resources) -> proto::LinuxContainerResources {
    let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    proto::LinuxContainerResources {
        cpu_period: clamp(resources.cpu_period_us),
        cpu_quota: resources.cpu_quota_us,
        cpu_shares: clamp(resources.cpu_shares),
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adj,
        ..Default::default()
    }
}

fn stop_signal(spec: &ContainerSpec) -> Result<proto::Signal, RuntimeError> {
    let Some(name) = &spec.stop_signal else {
        return Ok(proto::Signal::RuntimeDefault);
    };
    let spelled = name.replace('+', "PLUS").replacen("RTMAX-", "RTMAXMINUS", 1);
    match proto::Signal::from_str_name(&spelled) {
        Some(signal) if signal != proto::Signal::RuntimeDefault => Ok(signal),
        _ => Err(RuntimeError::Failed(format!("container {}: {name:?} is not a signal", spec.name))),
    }
}
