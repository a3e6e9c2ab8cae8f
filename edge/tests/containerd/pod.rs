//! A pod of one test, and what the tests ask of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use edgecore::cri::{Cri, CriOptions, SocketEndpoint};
use edged::ports::{
    Container, ContainerId, ContainerSecurity, ContainerSpec, ContainerState, EnvVar, ExecOutput, Exit,
    PodIdentity, Resources, Runtime, Sandbox, SandboxId, SandboxNamespaces, SandboxSecurity, SandboxSpec,
};

use crate::proxy::Proxy;

pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// How long the machine may take for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: value.to_owned() }
}

pub(crate) struct TestPod {
    pub(crate) cri: Cri,
    pub(crate) sandbox: SandboxSpec,
    endpoint: String,
    id: Option<SandboxId>,
    directory: tempfile::TempDir,
}

impl TestPod {
    /// Describes a pod that no other test, and no other run of this one, uses.
    pub(crate) fn new(test: &str, endpoint: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log_dir = directory.path().join("logs");
        std::fs::create_dir(&log_dir).expect("the directory is ours");
        let sandbox = SandboxSpec {
            pod: PodIdentity {
                uid: format!("{test}-{}", std::process::id()),
                name: test.to_owned(),
                namespace: "containerd-test".to_owned(),
                attempt: 0,
            },
            hostname: format!("{test}-host"),
            dns: None,
            ports: Vec::new(),
            labels: BTreeMap::from([("app".to_owned(), "containerd-test".to_owned())]),
            annotations: BTreeMap::from([("note".to_owned(), test.to_owned())]),
            log_dir,
            cgroup_parent: String::new(),
            sysctls: BTreeMap::new(),
            namespaces: SandboxNamespaces::default(),
            security: SandboxSecurity::default(),
            runtime_handler: String::new(),
        };
        Self { cri: connect(endpoint), sandbox, endpoint: endpoint.to_owned(), id: None, directory }
    }

    /// Describes another pod of the same test.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        Self::new(&format!("{}-{name}", self.sandbox.pod.name), &self.endpoint)
    }

    /// Makes a directory that the pod may mount.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(&path).expect("the directory is ours");
        path
    }

    /// Puts a proxy, still closed, between the adapter and the runtime.
    pub(crate) fn reach_through_proxy(&mut self) -> Proxy {
        let runtime = SocketEndpoint::parse(&self.endpoint).expect("the script names a socket");
        let proxy = Proxy::new(self.directory.path().join("containerd.sock"), runtime.path().to_owned());
        self.cri = connect(&format!("unix://{}", proxy.path().display()));
        proxy
    }

    pub(crate) fn reach_directly(&mut self) {
        self.cri = connect(&self.endpoint);
    }

    pub(crate) async fn run_sandbox(&mut self) {
        self.id = Some(self.cri.run_sandbox(&self.sandbox).await.expect("the sandbox starts"));
    }

    pub(crate) fn sandbox_id(&self) -> SandboxId {
        self.id.clone().expect("the sandbox was started")
    }

    /// Describes a container that runs `script` in a shell.
    pub(crate) fn container(&self, name: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            attempt: 0,
            image: edged::ports::ImageId::new(BUSYBOX),
            image_asked: "busybox".to_owned(),
            command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            args: Vec::new(),
            working_dir: String::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log_path: PathBuf::from(name).join("0.log"),
            stdin: false,
            stdin_once: false,
            tty: false,
            resources: Resources::default(),
            security: ContainerSecurity::default(),
            stop_signal: None,
        }
    }

    pub(crate) async fn create(&self, spec: &ContainerSpec) -> ContainerId {
        std::fs::create_dir_all(self.sandbox.log_dir.join(&spec.name)).expect("the directory is ours");
        let mut spec = spec.clone();
        let image = self.cri.image(BUSYBOX).await.expect("an answer");
        spec.image = image.expect("`.ci/containerd.sh start` imports the image").id;
        self.cri.create_container(&self.sandbox_id(), &self.sandbox, &spec).await.expect("it is created")
    }

    pub(crate) async fn start(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.create(spec).await;
        self.cri.start_container(&id).await.expect("it starts");
        id
    }

    pub(crate) async fn exec(&self, id: &ContainerId, script: &str) -> ExecOutput {
        let command = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        self.cri.exec(id, &command, PATIENCE).await.expect("it runs")
    }

    pub(crate) fn log_path(&self, spec: &ContainerSpec) -> PathBuf {
        self.sandbox.log_dir.join(&spec.log_path)
    }

    /// Returns the container's log; empty until there is one.
    pub(crate) fn log(&self, spec: &ContainerSpec) -> String {
        std::fs::read_to_string(self.log_path(spec)).unwrap_or_default()
    }

    pub(crate) async fn found(&self) -> Option<Sandbox> {
        let listed = self.cri.list().await.expect("the runtime lists");
        listed.into_iter().find(|sandbox| sandbox.pod.uid == self.sandbox.pod.uid)
    }

    pub(crate) async fn listed(&self) -> Sandbox {
        self.found().await.expect("the pod is listed")
    }

    async fn listed_container(&self, name: &str) -> Container {
        let containers = self.listed().await.containers;
        containers.into_iter().find(|container| container.name == name).expect("the container is listed")
    }

    /// Waits for the container's end.
    pub(crate) async fn exit_of(&self, name: &str) -> Exit {
        self.until("the container ends", async |pod| {
            matches!(pod.listed_container(name).await.state, ContainerState::Exited(_))
        })
        .await;
        match self.listed_container(name).await.state {
            ContainerState::Exited(exit) => exit,
            other => panic!("{name} has ended and then is {other:?}"),
        }
    }

    /// Waits until the predicate holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let watch = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !holds(self).await {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Removes the pod, directly from the runtime.
    pub(crate) async fn remove(&self) {
        let cri = connect(&self.endpoint);
        for sandbox in cri.list().await.expect("the runtime lists") {
            if sandbox.pod.uid == self.sandbox.pod.uid {
                cri.stop_sandbox(&sandbox.id).await.expect("it stops");
                cri.remove_sandbox(&sandbox.id).await.expect("it goes");
            }
        }
    }

    pub(crate) async fn assert_nothing_left(&self) {
        let left = connect(&self.endpoint).list().await.expect("the runtime lists");
        let ours = |sandbox: &&Sandbox| sandbox.pod.uid.starts_with(&self.sandbox.pod.uid);
        assert_eq!(left.iter().filter(ours).count(), 0, "left behind: {left:?}");
    }
}

fn connect(endpoint: &str) -> Cri {
    Cri::new(CriOptions::new(SocketEndpoint::parse(endpoint).expect("a socket")))
}
