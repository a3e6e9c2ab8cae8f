//! What a spec becomes on the wire.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edged::ports::{
    Capabilities, ContainerSecurity, ContainerSpec, DnsConfig, EnvVar, ImageId, IpcMode, Mount, NetworkMode,
    PidMode, PodIdentity, PortMapping, PortProtocol, Propagation, Resources, RuntimeError, SandboxNamespaces,
    SandboxSecurity, SandboxSpec, Seccomp,
};

use crate::cri::proto;
use crate::cri::request;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

pub(super) fn sandbox_spec() -> SandboxSpec {
    SandboxSpec {
        pod: PodIdentity {
            uid: "uid-1".to_owned(),
            name: "web-0".to_owned(),
            namespace: "shop".to_owned(),
            attempt: 4,
        },
        hostname: "web-0".to_owned(),
        dns: Some(DnsConfig {
            servers: texts(&["10.96.0.10"]),
            searches: texts(&["shop.svc.cluster.local"]),
            options: texts(&["ndots:5"]),
        }),
        ports: vec![PortMapping {
            protocol: PortProtocol::Udp,
            container_port: 53,
            host_port: 10_053,
            host_ip: "127.0.0.1".to_owned(),
        }],
        labels: map(&[("app", "web")]),
        annotations: map(&[("note", "x")]),
        log_dir: PathBuf::from("/var/log/pods/shop_web-0_uid-1"),
        cgroup_parent: "/kubepods/pod1".to_owned(),
        sysctls: map(&[("net.ipv4.ip_unprivileged_port_start", "0")]),
        namespaces: SandboxNamespaces { network: NetworkMode::Host, pid: PidMode::Pod, ipc: IpcMode::Host },
        security: SandboxSecurity {
            run_as_user: Some(1000),
            run_as_group: None,
            supplemental_groups: vec![2000],
            privileged: true,
            seccomp: Seccomp::RuntimeDefault,
        },
        runtime_handler: "gvisor".to_owned(),
    }
}

pub(super) fn container_spec() -> ContainerSpec {
    ContainerSpec {
        name: "main".to_owned(),
        attempt: 2,
        image: ImageId::new("sha256:abc"),
        image_asked: "nginx:1.27".to_owned(),
        command: texts(&["/bin/sh"]),
        args: texts(&["-c", "true"]),
        working_dir: "/srv".to_owned(),
        env: vec![EnvVar { name: "PASSWORD".to_owned(), value: "hunter2".to_owned() }],
        mounts: vec![Mount {
            container_path: "/data".to_owned(),
            host_path: PathBuf::from("/var/lib/data"),
            read_only: true,
            propagation: Propagation::HostToContainer,
        }],
        labels: map(&[("tier", "front")]),
        annotations: map(&[("hash", "1234")]),
        log_path: PathBuf::from("main/2.log"),
        stdin: true,
        stdin_once: true,
        tty: true,
        resources: Resources {
            cpu_shares: 512,
            cpu_period_us: 100_000,
            cpu_quota_us: 50_000,
            memory_limit_bytes: 64 << 20,
            oom_score_adj: 900,
        },
        security: ContainerSecurity {
            run_as_user: Some(1001),
            run_as_group: Some(1002),
            supplemental_groups: vec![3000],
            privileged: false,
            read_only_root: true,
            no_new_privileges: true,
            capabilities: Capabilities { add: texts(&["NET_ADMIN"]), drop: texts(&["ALL"]) },
            seccomp: Seccomp::Localhost(PathBuf::from("/profiles/a.json")),
            masked_paths: texts(&["/proc/kcore"]),
            read_only_paths: texts(&["/proc/sys"]),
        },
        stop_signal: Some("SIGUSR1".to_owned()),
    }
}

#[test]
fn a_sandbox_keeps_all_of_its_spec_and_is_labelled_as_kubelets_are() {
    let config = request::sandbox(&sandbox_spec());
    let metadata = config.metadata.expect("set");
    assert_eq!((metadata.name.as_str(), metadata.namespace.as_str()), ("web-0", "shop"));
    assert_eq!((metadata.uid.as_str(), metadata.attempt), ("uid-1", 4));
    assert_eq!(config.hostname, "web-0");
    assert_eq!(config.log_directory, "/var/log/pods/shop_web-0_uid-1");
    let dns = config.dns_config.expect("set");
    assert_eq!(dns.servers, ["10.96.0.10"]);
    assert_eq!(dns.searches, ["shop.svc.cluster.local"]);
    assert_eq!(dns.options, ["ndots:5"]);
    let port = &config.port_mappings[0];
    assert_eq!((port.protocol(), port.container_port, port.host_port), (proto::Protocol::Udp, 53, 10_053));
    assert_eq!(port.host_ip, "127.0.0.1");
    let labels = [
        ("app", "web"),
        ("io.kubernetes.pod.name", "web-0"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", "uid-1"),
    ];
    assert_eq!(config.labels, map(&labels));
    assert_eq!(config.annotations, map(&[("note", "x")]));
    let linux = config.linux.expect("set");
    assert_eq!(linux.sysctls, map(&[("net.ipv4.ip_unprivileged_port_start", "0")]));
    let security = linux.security_context.expect("set");
    assert_eq!(security.run_as_user, Some(proto::Int64Value { value: 1000 }));
    assert_eq!(security.run_as_group, None);
    assert_eq!(security.supplemental_groups, [2000]);
    assert!(security.privileged);
    let namespaces = security.namespace_options.expect("set");
    assert_eq!(namespaces.network(), proto::NamespaceMode::Node);
    assert_eq!(namespaces.pid(), proto::NamespaceMode::Pod);
    assert_eq!(namespaces.ipc(), proto::NamespaceMode::Node);
}

#[test]
fn the_nodes_own_name_resolution_is_the_runtimes_default() {
    let spec = SandboxSpec { dns: None, ..sandbox_spec() };
    assert_eq!(request::sandbox(&spec).dns_config, None);
}

#[test]
fn a_container_keeps_all_of_its_spec_and_is_labelled_as_kubelets_are() {
    let config = request::container(&sandbox_spec(), &container_spec()).expect("a valid spec");
    assert_eq!(config.metadata, Some(proto::ContainerMetadata { name: "main".to_owned(), attempt: 2 }));
    let image = config.image.as_ref().expect("set");
    assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:abc", "nginx:1.27"));
    assert_eq!(config.command, ["/bin/sh"]);
    assert_eq!(config.args, ["-c", "true"]);
    assert_eq!(config.working_dir, "/srv");
    assert_eq!((config.envs[0].key.as_str(), &config.envs[0].value[..]), ("PASSWORD", &b"hunter2"[..]));
    assert!(!format!("{config:?}").contains("hunter2"), "a value is never printed");
    let mount = &config.mounts[0];
    assert_eq!((mount.container_path.as_str(), mount.host_path.as_str()), ("/data", "/var/lib/data"));
    assert!(mount.readonly);
    assert_eq!(mount.propagation(), proto::MountPropagation::PropagationHostToContainer);
    let labels = [
        ("tier", "front"),
        ("io.kubernetes.container.name", "main"),
        ("io.kubernetes.pod.name", "web-0"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", "uid-1"),
    ];
    assert_eq!(config.labels, map(&labels));
    let annotations =
        [("hash", "1234"), ("io.kubernetes.container.restartCount", "2"), ("beehive.io/image", "nginx:1.27")];
    assert_eq!(config.annotations, map(&annotations));
    assert_eq!(config.log_path, "main/2.log");
    assert!(config.stdin && config.stdin_once && config.tty);
    assert_eq!(config.stop_signal(), proto::Signal::Sigusr1);
}

#[test]
fn a_container_gets_its_limits_and_its_privileges() {
    let config = request::container(&sandbox_spec(), &container_spec()).expect("a valid spec");
    let linux = config.linux.expect("set");
    let resources = linux.resources.expect("set");
    assert_eq!((resources.cpu_shares, resources.cpu_period, resources.cpu_quota), (512, 100_000, 50_000));
    assert_eq!((resources.memory_limit_in_bytes, resources.oom_score_adj), (64 << 20, 900));
    let security = linux.security_context.expect("set");
    assert_eq!(security.run_as_user, Some(proto::Int64Value { value: 1001 }));
    assert_eq!(security.run_as_group, Some(proto::Int64Value { value: 1002 }));
    assert_eq!(security.supplemental_groups, [3000]);
    assert!(security.readonly_rootfs && security.no_new_privs && !security.privileged);
    let capabilities = security.capabilities.expect("set");
    assert_eq!(capabilities.add_capabilities, ["NET_ADMIN"]);
    assert_eq!(capabilities.drop_capabilities, ["ALL"]);
    let seccomp = security.seccomp.expect("set");
    assert_eq!(seccomp.profile_type(), proto::security_profile::ProfileType::Localhost);
    assert_eq!(seccomp.localhost_ref, "/profiles/a.json");
    assert_eq!(security.masked_paths, ["/proc/kcore"]);
    assert_eq!(security.readonly_paths, ["/proc/sys"]);
    let namespaces = security.namespace_options.expect("set");
    assert_eq!(namespaces.network(), proto::NamespaceMode::Node);
}

#[test]
fn a_stop_signal_is_known_by_its_name() {
    let check = |name: Option<&str>, expect: Option<proto::Signal>| {
        let spec = ContainerSpec { stop_signal: name.map(str::to_owned), ..container_spec() };
        let signal = request::container(&sandbox_spec(), &spec).map(|config| config.stop_signal());
        match expect {
            Some(expect) => assert_eq!(signal, Ok(expect), "{name:?}"),
            None => assert!(matches!(signal, Err(RuntimeError::Failed(_))), "{name:?}"),
        }
    };
    check(None, Some(proto::Signal::RuntimeDefault));
    check(Some("SIGTERM"), Some(proto::Signal::Sigterm));
    check(Some("SIGRTMIN+3"), Some(proto::Signal::Sigrtminplus3));
    check(Some("SIGRTMAX-14"), Some(proto::Signal::Sigrtmaxminus14));
    check(Some("SIGNOTHING"), None);
    check(Some("RUNTIME_DEFAULT"), None);
}
