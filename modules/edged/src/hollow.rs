//! The hollow runtime: for machines without a container runtime, and for simulation.
//!
//! It never pretends to be real. Its name is `hollow`, which every node that uses it shows in
//! `nodeInfo`, in a label, in an annotation and in the message of its `Ready` condition. Sandboxes
//! and containers are records in memory: no process runs, no image is fetched, no network is made,
//! a log says only that the container is played, and addresses come from 198.18.0.0/15, which is never routed. When its process
//! ends, all of them are gone, as if the machine had lost power; edged then starts pods again and
//! counts a restart.
//!
//! A container runs until it is stopped, whatever its command. Annotations of the pod script it:
//!
//! | annotation | effect |
//! |---|---|
//! | `hollow.beehive.io/exit.<container>: "3"` | it ends at once with exit code 3 |
//! | `hollow.beehive.io/exit.<container>: "0/5s"` | it ends 5 s after its start with exit code 0 |
//! | `hollow.beehive.io/start-delay: "2s"` | each start takes 2 s |
//! | `hollow.beehive.io/pull-delay: "2s"` | each pull takes 2 s |
//! | `hollow.beehive.io/pull: "fail"` | pulls fail |
//! | `hollow.beehive.io/exec: "1"` | commands inside containers give exit code 1 |

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use beehive::config::duration;

use crate::memory_files::MemoryFiles;
use crate::ports::{
    Container, ContainerId, ContainerSpec, ContainerState, ExecOutput, Exit, HttpProbe, Image,
    ImageCredentials, ImageId, NetworkMode, PodDir, PodIdentity, Prober, Runtime, RuntimeError,
    RuntimeStatus, RuntimeVersion, Sandbox, SandboxId, SandboxSpec, SandboxState,
};
use crate::time::unix_nanos;

/// The runtime's name.
pub const NAME: &str = "hollow";

/// Where the annotations that script containers begin.
pub const ANNOTATION: &str = "hollow.beehive.io/";

/// A clock that is given, not taken.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The hollow runtime. Clones share their containers.
#[derive(Clone)]
pub struct HollowRuntime {
    clock: WallClock,
    logs: MemoryFiles,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    made: u64,
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    images: BTreeMap<String, Image>,
}

impl fmt::Debug for HollowRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HollowRuntime").field("sandboxes", &self.world().sandboxes.len()).finish()
    }
}

impl HollowRuntime {
    /// Makes an empty runtime that writes its containers' logs to `logs`.
    #[must_use]
    pub fn new(clock: WallClock, logs: MemoryFiles) -> Self {
        Self { clock, logs, world: Arc::default() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Ends a running container from outside, as a crash of its process would.
    pub fn crash(&self, id: &ContainerId, code: i32) {
        let now = self.now();
        if let Some((pod, container)) = self.world().container(id) {
            exit(&self.logs, pod, container, code, now);
        }
    }

    /// Makes a sandbox not ready and ends its containers, as a reboot would.
    pub fn kill_sandbox(&self, id: &SandboxId) {
        let now = self.now();
        if let Some(sandbox) = self.world().sandboxes.get_mut(id) {
            stop(&self.logs, sandbox, now);
        }
    }
}

impl World {
    fn id(&mut self, now: SystemTime) -> String {
        self.made += 1;
        format!("{:032x}{:032x}", unix_nanos(now), self.made)
    }

    fn container(&mut self, id: &ContainerId) -> Option<(&PodIdentity, &mut Container)> {
        self.sandboxes.values_mut().find_map(|sandbox| {
            let container = sandbox.containers.iter_mut().find(|container| container.id == *id)?;
            Some((&sandbox.pod, container))
        })
    }

    fn settle(&mut self, logs: &MemoryFiles, now: SystemTime) {
        for sandbox in self.sandboxes.values_mut() {
            for container in &mut sandbox.containers {
                let ContainerState::Running { started_at } = container.state else { continue };
                if let Some((code, after)) = script(&sandbox.annotations, &container.name)
                    && started_at + after <= now
                {
                    exit(logs, &sandbox.pod, container, code, started_at + after);
                }
            }
        }
    }
}

fn script(annotations: &BTreeMap<String, String>, container: &str) -> Option<(i32, Duration)> {
    let text = annotations.get(&format!("{ANNOTATION}exit.{container}"))?;
    let (code, after) = text.split_once('/').unwrap_or((text, "0"));
    Some((code.trim().parse().ok()?, duration::parse(after).ok()?))
}

/// Writes to a container's log what became of it: nothing else does.
fn note(logs: &MemoryFiles, pod: &PodIdentity, container: &Container, at: SystemTime, what: &str) -> PodDir {
    let dir = PodDir { uid: pod.uid.clone(), name: pod.name.clone(), namespace: pod.namespace.clone() };
    let line = format!("hollow: container {} of pod {}/{} {what}", container.name, pod.namespace, pod.name);
    logs.append_log(&dir, &container.name, container.attempt, at, &line);
    dir
}

fn exit(logs: &MemoryFiles, pod: &PodIdentity, container: &mut Container, code: i32, at: SystemTime) {
    let started_at = match container.state {
        ContainerState::Running { started_at } => Some(started_at),
        ContainerState::Created => None,
        ContainerState::Exited(_) | ContainerState::Unknown => return,
    };
    container.state = ContainerState::Exited(Exit {
        code,
        reason: String::new(),
        message: String::new(),
        started_at,
        finished_at: at,
    });
    let dir = note(logs, pod, container, at, &format!("has ended: its exit code is played as {code}"));
    logs.end_log(&dir, &container.name, container.attempt);
}

fn stop(logs: &MemoryFiles, sandbox: &mut Sandbox, now: SystemTime) {
    sandbox.state = SandboxState::NotReady;
    for container in &mut sandbox.containers {
        exit(logs, &sandbox.pod, container, 137, now);
    }
}

fn not_found(what: &str, id: &impl fmt::Display) -> RuntimeError {
    RuntimeError::NotFound(format!("{what} {id} does not exist"))
}

async fn delay(annotations: &BTreeMap<String, String>, key: &str) {
    let text = annotations.get(&format!("{ANNOTATION}{key}"));
    if let Some(delay) = text.and_then(|text| duration::parse(text).ok()) {
        tokio::time::sleep(delay.min(Duration::from_secs(3600))).await;
    }
}

#[async_trait]
impl Runtime for HollowRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        Ok(RuntimeVersion { name: NAME.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
    }

    async fn status(&self) -> Result<RuntimeStatus, RuntimeError> {
        Ok(RuntimeStatus::default())
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let now = self.now();
        let mut world = self.world();
        world.settle(&self.logs, now);
        Ok(world.sandboxes.values().cloned().collect())
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        let now = self.now();
        let mut world = self.world();
        if let Some(taken) = world.sandboxes.values().find(|sandbox| sandbox.pod == spec.pod) {
            let PodIdentity { name, namespace, uid, attempt } = &spec.pod;
            return Err(RuntimeError::Failed(format!(
                "the name {name}_{namespace}_{uid}_{attempt} is reserved for {}",
                taken.id
            )));
        }
        let id = SandboxId::new(world.id(now));
        let place = u32::try_from(world.made % 0x1_fffe).unwrap_or(0) + 1;
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + place);
        let ips = match spec.namespaces.network {
            NetworkMode::Host => Vec::new(),
            NetworkMode::Pod => vec![IpAddr::V4(ip)],
        };
        let sandbox = Sandbox {
            id: id.clone(),
            pod: spec.pod.clone(),
            state: SandboxState::Ready,
            created_at: now,
            ips,
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
            containers: Vec::new(),
        };
        world.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.kill_sandbox(id);
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.world().sandboxes.remove(id);
        Ok(())
    }

    async fn create_container(
        &self,
        id: &SandboxId,
        _sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError> {
        let now = self.now();
        let mut world = self.world();
        let container = ContainerId::new(world.id(now));
        let sandbox = world.sandboxes.get_mut(id).ok_or_else(|| not_found("sandbox", id))?;
        if sandbox.state != SandboxState::Ready {
            return Err(RuntimeError::Failed(format!("sandbox {id} is not ready")));
        }
        let taken = |c: &Container| c.name == spec.name && c.attempt == spec.attempt;
        if sandbox.containers.iter().any(taken) {
            return Err(RuntimeError::Failed(format!(
                "the name {}_{} is reserved by another container of sandbox {id}",
                spec.name, spec.attempt
            )));
        }
        sandbox.containers.push(Container {
            id: container.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image_asked.clone(),
            image_id: format!("hollow://{}", spec.image),
            created_at: now,
            state: ContainerState::Created,
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
        });
        Ok(container)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let annotations = {
            let world = self.world();
            let mut sandboxes = world.sandboxes.values();
            let sandbox = sandboxes.find(|sandbox| sandbox.containers.iter().any(|c| c.id == *id));
            sandbox.map(|sandbox| sandbox.annotations.clone())
        };
        delay(&annotations.ok_or_else(|| not_found("container", id))?, "start-delay").await;
        let now = self.now();
        let mut world = self.world();
        let (pod, container) = world.container(id).ok_or_else(|| not_found("container", id))?;
        if container.state != ContainerState::Created {
            return Err(RuntimeError::Failed(format!("container {id} was started before")));
        }
        container.state = ContainerState::Running { started_at: now };
        note(&self.logs, pod, container, now, "is played: no process runs");
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.crash(id, if grace.is_zero() { 137 } else { 143 });
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        for sandbox in self.world().sandboxes.values_mut() {
            sandbox.containers.retain(|container| container.id != *id);
        }
        Ok(())
    }

    async fn reopen_log(&self, _id: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        let world = self.world();
        let found = world.sandboxes.values().find_map(|sandbox| {
            let container = sandbox.containers.iter().find(|c| c.id == *id)?;
            Some((sandbox, container))
        });
        let (sandbox, container) = found.ok_or_else(|| not_found("container", id))?;
        if !matches!(container.state, ContainerState::Running { .. }) {
            return Err(RuntimeError::Failed(format!("container {id} does not run")));
        }
        let code = sandbox.annotations.get(&format!("{ANNOTATION}exec"));
        let code = code.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(ExecOutput { code, stdout: Vec::new(), stderr: Vec::new() })
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        Ok(self.world().images.get(reference).cloned())
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        Ok(self.world().images.values().cloned().collect())
    }

    async fn pull_image(
        &self,
        reference: &str,
        _credentials: &[ImageCredentials],
        sandbox: &SandboxSpec,
    ) -> Result<ImageId, RuntimeError> {
        delay(&sandbox.annotations, "pull-delay").await;
        if sandbox.annotations.get(&format!("{ANNOTATION}pull")).is_some_and(|text| text == "fail") {
            return Err(RuntimeError::PullFailed(format!(
                "the hollow runtime was told not to have {reference}"
            )));
        }
        let image = Image {
            id: ImageId::new(reference),
            tags: vec![reference.to_owned()],
            digests: Vec::new(),
            size_bytes: 0,
            // Nothing runs, so nothing runs as root.
            user: Some(65_532),
            username: String::new(),
        };
        let id = image.id.clone();
        self.world().images.insert(reference.to_owned(), image);
        Ok(id)
    }

    async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError> {
        self.world().images.retain(|_, image| image.id != *id);
        Ok(())
    }
}

/// Answers every probe of a hollow container's ports with success, since none of them listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct HollowProber;

#[async_trait]
impl Prober for HollowProber {
    async fn tcp(&self, _host: &str, _port: u16, _timeout: Duration) -> Result<(), String> {
        Ok(())
    }

    async fn http(&self, _probe: &HttpProbe, _timeout: Duration) -> Result<u16, String> {
        Ok(200)
    }
}
