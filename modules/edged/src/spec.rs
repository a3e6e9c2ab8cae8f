//! From a pod to what the runtime is told: sandbox and container specs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::env;
use crate::net::{self, NodeDns};
use crate::pod::{ContainerView, Pod, SeccompProfile};
use crate::ports::{
    Capabilities, ContainerSecurity, ContainerSpec, EnvVar, Image, IpcMode, Mount, NetworkMode, PidMode,
    PodIdentity, PortMapping, PortProtocol, SandboxNamespaces, SandboxSecurity, SandboxSpec, Seccomp,
};
use crate::qos;

/// The labels and annotations by which a runtime's sandboxes and containers are known again. The
/// `io.kubernetes` ones are kubelet's, so that tools which read them work here too.
pub mod mark {
    /// The node whose edged made the sandbox. What lacks it is kubelet's, and ours only if its pod is.
    pub const NODE: &str = "beehive.io/node";
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// The hash of what the container was made of.
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
    /// How often the container was started before.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Where the container writes its last words.
    pub const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// How its last words are read.
    pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// The grace that the pod's spec granted, in seconds.
    pub const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// What of the node goes into specs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSide {
    /// The node's name.
    pub node_name: String,
    /// Name resolution.
    pub dns: NodeDns,
    /// The node's memory.
    pub memory_bytes: u64,
    /// Whether containers without a seccomp profile get the runtime's.
    pub seccomp_default: bool,
    /// The directory of seccomp profiles.
    pub seccomp_root: PathBuf,
    /// Whether CPU limits are enforced.
    pub cpu_quota: bool,
}

/// Makes the spec of a pod's sandbox.
#[must_use]
pub fn sandbox(pod: &Pod, attempt: u32, log_dir: &Path, node: &NodeSide) -> SandboxSpec {
    let spec = &pod.spec;
    let mut labels = pod.labels.clone();
    labels.extend([
        (mark::POD_NAME.to_owned(), pod.name.to_string()),
        (mark::POD_NAMESPACE.to_owned(), pod.namespace.to_string()),
        (mark::POD_UID.to_owned(), pod.uid.clone()),
        (mark::NODE.to_owned(), node.node_name.clone()),
    ]);
    let (hostname, domain) = net::hostname(pod, &node.dns.cluster_domain);
    let full = spec.set_hostname_as_fqdn && !domain.is_empty();
    let mut supplemental_groups = spec.security_context.supplemental_groups.clone();
    supplemental_groups.extend(spec.security_context.fs_group);
    SandboxSpec {
        pod: PodIdentity {
            uid: pod.uid.clone(),
            name: pod.name.to_string(),
            namespace: pod.namespace.to_string(),
            attempt,
        },
        hostname: match (spec.host_network, full) {
            (true, _) => String::new(),
            (false, true) => format!("{hostname}.{domain}"),
            (false, false) => hostname,
        },
        dns: net::dns(pod, &node.dns),
        ports: if spec.host_network { Vec::new() } else { ports(pod) },
        labels,
        annotations: pod.annotations.clone(),
        log_dir: log_dir.to_owned(),
        cgroup_parent: String::new(),
        sysctls: spec.security_context.sysctls.iter().map(|s| (s.name.clone(), s.value.clone())).collect(),
        namespaces: SandboxNamespaces {
            network: if spec.host_network { NetworkMode::Host } else { NetworkMode::Pod },
            pid: match (spec.host_pid, spec.share_process_namespace) {
                (true, _) => PidMode::Host,
                (false, true) => PidMode::Pod,
                (false, false) => PidMode::Container,
            },
            ipc: if spec.host_ipc { IpcMode::Host } else { IpcMode::Pod },
        },
        security: SandboxSecurity {
            run_as_user: spec.security_context.run_as_user,
            run_as_group: spec.security_context.run_as_user.and(spec.security_context.run_as_group),
            supplemental_groups,
            privileged: pod.all_containers().any(|container| container.security_context.privileged),
            seccomp: seccomp(None, spec.security_context.seccomp_profile.as_ref(), node),
        },
        runtime_handler: spec.runtime_class_name.clone().unwrap_or_default(),
    }
}

fn ports(pod: &Pod) -> Vec<PortMapping> {
    pod.all_containers()
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port != 0)
        .map(|port| PortMapping {
            protocol: match port.protocol.as_str() {
                "UDP" => PortProtocol::Udp,
                "SCTP" => PortProtocol::Sctp,
                _ => PortProtocol::Tcp,
            },
            container_port: port.container_port,
            host_port: port.host_port,
            host_ip: port.host_ip.clone(),
        })
        .collect()
}

fn seccomp(own: Option<&SeccompProfile>, pods: Option<&SeccompProfile>, node: &NodeSide) -> Seccomp {
    match own.or(pods) {
        Some(profile) if profile.kind == "RuntimeDefault" => Seccomp::RuntimeDefault,
        Some(profile) if profile.kind == "Localhost" => {
            Seccomp::Localhost(node.seccomp_root.join(&profile.localhost_profile))
        }
        Some(_) => Seccomp::Unconfined,
        None if node.seccomp_default => Seccomp::RuntimeDefault,
        None => Seccomp::Unconfined,
    }
}

/// What a container is made of beside its pod.
#[derive(Debug)]
pub struct Parts<'a> {
    /// How often it was started before.
    pub attempt: u32,
    /// The image, which the runtime has.
    pub image: &'a Image,
    /// Its environment.
    pub env: Vec<EnvVar>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

/// Makes the spec of a container.
///
/// # Errors
///
/// When the pod forbids what the image wants; the text becomes the message of
/// `CreateContainerConfigError`.
pub fn container(
    pod: &Pod,
    container: &ContainerView,
    parts: Parts<'_>,
    node: &NodeSide,
) -> Result<ContainerSpec, String> {
    check_non_root(pod, container, parts.image)?;
    let mut resources = qos::resources(pod, container, node.memory_bytes);
    if !node.cpu_quota {
        (resources.cpu_quota_us, resources.cpu_period_us) = (0, 0);
    }
    let labels = BTreeMap::from([
        (mark::POD_NAME.to_owned(), pod.name.to_string()),
        (mark::POD_NAMESPACE.to_owned(), pod.namespace.to_string()),
        (mark::POD_UID.to_owned(), pod.uid.clone()),
        (mark::CONTAINER_NAME.to_owned(), container.name.clone()),
    ]);
    let annotations = BTreeMap::from([
        (mark::CONTAINER_HASH.to_owned(), format!("{:x}", container.restart_relevant())),
        (mark::RESTART_COUNT.to_owned(), parts.attempt.to_string()),
        (mark::MESSAGE_PATH.to_owned(), container.message_path().to_owned()),
        (mark::MESSAGE_POLICY.to_owned(), container.termination_message_policy.clone()),
        (mark::GRACE.to_owned(), pod.grace().as_secs().to_string()),
    ]);
    Ok(ContainerSpec {
        name: container.name.clone(),
        attempt: parts.attempt,
        image: parts.image.id.clone(),
        image_asked: container.image.clone(),
        command: env::expand_all(&container.command, &parts.env),
        args: env::expand_all(&container.args, &parts.env),
        working_dir: container.working_dir.clone(),
        env: parts.env,
        mounts: parts.mounts,
        labels,
        annotations,
        log_path: PathBuf::from(&container.name).join(format!("{}.log", parts.attempt)),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        resources,
        security: security(pod, container, node),
        stop_signal: container.lifecycle.stop_signal.clone(),
    })
}

fn check_non_root(pod: &Pod, container: &ContainerView, image: &Image) -> Result<(), String> {
    let own = &container.security_context;
    let pods = &pod.spec.security_context;
    if !own.run_as_non_root.or(pods.run_as_non_root).unwrap_or(false) {
        return Ok(());
    }
    match own.run_as_user.or(pods.run_as_user) {
        Some(0) => Err("container's runAsUser breaks non-root policy".to_owned()),
        Some(_) => Ok(()),
        None if image.user == Some(0) => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        None if image.user.is_none() && !image.username.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root",
            image.username
        )),
        None if image.user.is_none() => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        None => Ok(()),
    }
}

fn security(pod: &Pod, container: &ContainerView, node: &NodeSide) -> ContainerSecurity {
    let own = &container.security_context;
    let pods = &pod.spec.security_context;
    let run_as_user = own.run_as_user.or(pods.run_as_user);
    let mut supplemental_groups = pods.supplemental_groups.clone();
    supplemental_groups.extend(pods.fs_group);
    let unmasked = own.privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked { Vec::new() } else { list.iter().map(|path| (*path).to_owned()).collect() }
    };
    ContainerSecurity {
        run_as_user,
        run_as_group: run_as_user.and(own.run_as_group.or(pods.run_as_group)),
        supplemental_groups,
        privileged: own.privileged,
        read_only_root: own.read_only_root_filesystem,
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        capabilities: Capabilities { add: own.capabilities.add.clone(), drop: own.capabilities.drop.clone() },
        seccomp: if own.privileged {
            Seccomp::Unconfined
        } else {
            seccomp(own.seccomp_profile.as_ref(), pods.seccomp_profile.as_ref(), node)
        },
        masked_paths: paths(&MASKED_PATHS),
        read_only_paths: paths(&READ_ONLY_PATHS),
    }
}

/// What containers do not see, as kubelet decides it for `procMount: Default`.
const MASKED_PATHS: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];

/// What containers may only read.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::pod_with;
    use crate::ports::ImageId;

    fn image(user: Option<i64>, username: &str) -> Image {
        Image {
            id: ImageId::new("sha256:1"),
            tags: Vec::new(),
            digests: Vec::new(),
            size_bytes: 0,
            user,
            username: username.to_owned(),
        }
    }

    fn make(spec: Value, image: &Image) -> Result<ContainerSpec, String> {
        let pod = pod_with(spec);
        let env = vec![EnvVar { name: "A".to_owned(), value: "1".to_owned() }];
        let parts = Parts { attempt: 2, image, env, mounts: Vec::new() };
        container(&pod, &pod.spec.containers[0], parts, &NodeSide { cpu_quota: true, ..NodeSide::default() })
    }

    #[test]
    fn a_container_spec_says_what_it_was_made_of() {
        let spec =
            make(json!({"containers": [{"name": "c", "image": "x", "args": ["$(A)"]}]}), &image(None, ""))
                .expect("a spec");
        assert_eq!(spec.args, ["1"]);
        assert_eq!(spec.log_path, Path::new("c/2.log"));
        assert_eq!(spec.labels[mark::CONTAINER_NAME], "c");
        assert_eq!(spec.annotations[mark::RESTART_COUNT], "2");
        assert_eq!(spec.security.masked_paths.len(), MASKED_PATHS.len());
    }

    #[test]
    fn root_is_refused_where_the_pod_forbids_it() {
        let spec = json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]});
        assert!(make(spec.clone(), &image(None, "")).is_err());
        assert!(make(spec.clone(), &image(Some(0), "")).is_err());
        assert!(make(spec.clone(), &image(None, "nginx")).is_err());
        assert!(make(spec, &image(Some(1000), "")).is_ok());
        let user = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 7, "runAsGroup": 8},
            "containers": [{"name": "c"}]});
        let made = make(user, &image(None, "")).expect("a spec");
        assert_eq!((made.security.run_as_user, made.security.run_as_group), (Some(7), Some(8)));
    }

    #[test]
    fn a_privileged_container_sees_all() {
        let spec = json!({"containers": [{"name": "c", "securityContext": {"privileged": true,
            "seccompProfile": {"type": "RuntimeDefault"}}}]});
        let made = make(spec, &image(None, "")).expect("a spec");
        assert!(made.security.privileged && made.security.masked_paths.is_empty());
        assert_eq!(made.security.seccomp, Seccomp::Unconfined);
    }

    #[test]
    fn a_sandbox_is_marked_as_this_nodes() {
        let pod = pod_with(json!({"hostname": "h", "containers": [{"name": "c",
            "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]}));
        let node = NodeSide { node_name: "edge-1".to_owned(), ..NodeSide::default() };
        let spec = sandbox(&pod, 1, Path::new("/logs"), &node);
        assert_eq!(spec.labels[mark::NODE], "edge-1");
        assert_eq!((spec.hostname.as_str(), spec.ports.len(), spec.pod.attempt), ("h", 1, 1));
        let host = pod_with(json!({"hostNetwork": true, "containers": [{"name": "c"}]}));
        let spec = sandbox(&host, 0, Path::new("/logs"), &node);
        assert_eq!((spec.hostname.as_str(), spec.namespaces.network), ("", NetworkMode::Host));
    }
}
