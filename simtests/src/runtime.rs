//! A machine's container runtime: it outlives the edge's process, and it can be slow and fail.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edged::hollow::HollowRuntime;
use edged::memory_files::MemoryFiles;
use edged::ports::{
    ContainerId, ContainerSpec, ContainerState, ExecOutput, Image, ImageCredentials, ImageId, PodIdentity,
    Runtime, RuntimeError, RuntimeStatus, RuntimeVersion, Sandbox, SandboxId, SandboxSpec, SandboxState,
};
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use crate::clock::SimClock;
use crate::machine::wall;
use crate::world::World;

/// How long a call takes where nothing is wrong.
const LATENCY: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(40);

/// How a runtime fails. Each share is between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RuntimeTrouble {
    /// Which share of the calls fails without an effect.
    pub failing: f64,
    /// Which share of the calls has its effect and no answer.
    pub unanswered: f64,
    /// Whether nothing answers at all.
    pub is_away: bool,
    /// How much longer each call takes, at most.
    pub slowness: Duration,
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    trouble: RuntimeTrouble,
}

/// The runtime. Clones are the same runtime.
#[derive(Debug, Clone)]
pub(crate) struct SimRuntime {
    name: Arc<str>,
    world: Arc<World>,
    containers: HollowRuntime,
    state: Arc<Mutex<State>>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Failing,
    Unanswered,
}

impl SimRuntime {
    pub(crate) fn new(
        name: &Arc<str>,
        world: &Arc<World>,
        clock: &Arc<SimClock>,
        files: MemoryFiles,
    ) -> Self {
        let rng = world.rng(&format!("runtime of {name}"));
        Self {
            name: name.clone(),
            world: world.clone(),
            containers: HollowRuntime::new(wall(clock), files),
            state: Arc::new(Mutex::new(State { rng, trouble: RuntimeTrouble::default() })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_trouble(&self, trouble: RuntimeTrouble) {
        self.lock().trouble = trouble;
    }

    /// Returns what the runtime has, as it is.
    pub(crate) async fn inventory(&self) -> Vec<Sandbox> {
        // The hollow runtime answers at once and never refuses.
        self.containers.list().await.unwrap_or_default()
    }

    /// Ends all containers as a loss of power does.
    pub(crate) async fn power_off(&self) {
        for sandbox in self.inventory().await {
            self.containers.kill_sandbox(&sandbox.id);
        }
    }

    /// Ends one running container, whichever the randomness picks. Returns whether there was one.
    pub(crate) async fn crash_container(&self) -> bool {
        let is_running = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
        let running: Vec<ContainerId> = self
            .inventory()
            .await
            .into_iter()
            .flat_map(|sandbox| sandbox.containers)
            .filter(|container| is_running(&container.state))
            .map(|container| container.id)
            .collect();
        if running.is_empty() {
            return false;
        }
        let at = self.lock().rng.random_range(0..running.len());
        if let Some(id) = running.get(at) {
            self.containers.crash(id, 1);
        }
        true
    }

    /// Lets a call take its time and decides what becomes of it.
    async fn begin(&self, call: &'static str) -> Result<Fate, RuntimeError> {
        let (latency, trouble, roll) = {
            let mut state = self.lock();
            let trouble = state.trouble;
            let latency = state.rng.random_range(LATENCY);
            let extra = trouble.slowness.mul_f64(state.rng.random());
            (latency + extra, trouble, state.rng.random::<f64>())
        };
        sleep(latency).await;
        if trouble.is_away {
            return Err(RuntimeError::Unavailable("connection refused".to_owned()));
        }
        if roll < trouble.failing {
            self.world.fault("runtime-fails", format_args!("{} {call}", self.name));
            Ok(Fate::Failing)
        } else if roll < trouble.failing + trouble.unanswered {
            self.world.fault("runtime-unanswered", format_args!("{} {call}", self.name));
            Ok(Fate::Unanswered)
        } else {
            Ok(Fate::Answered)
        }
    }

    /// Makes a call that changes something.
    async fn change<T>(
        &self,
        call: &'static str,
        what: &str,
        doing: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let fate = self.begin(call).await?;
        if fate == Fate::Failing {
            return Err(RuntimeError::Failed(format!("{call}: the simulation lets this fail")));
        }
        let done = doing.await;
        let outcome = done.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        self.world.record(format_args!("runtime {} {call} {what}: {outcome}", self.name));
        self.world.ledger.containers_changed(&self.name, &self.inventory().await);
        if fate == Fate::Unanswered {
            return Err(RuntimeError::TimedOut(call.to_owned()));
        }
        done
    }

    /// Makes a call that changes nothing.
    async fn ask<T>(
        &self,
        call: &'static str,
        asking: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        match self.begin(call).await? {
            Fate::Answered => asking.await,
            Fate::Failing | Fate::Unanswered => Err(RuntimeError::TimedOut(call.to_owned())),
        }
    }
}

fn pod_text(pod: &PodIdentity) -> String {
    format!("{}/{} {} attempt {}", pod.namespace, pod.name, pod.uid, pod.attempt)
}

#[async_trait]
impl Runtime for SimRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        let version = RuntimeVersion { name: "simulated".to_owned(), version: "1.0.0".to_owned() };
        self.ask("version", async { Ok(version) }).await
    }

    async fn status(&self) -> Result<RuntimeStatus, RuntimeError> {
        self.ask("status", self.containers.status()).await
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        self.ask("list", self.containers.list()).await
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        self.change("run_sandbox", &pod_text(&spec.pod), self.containers.run_sandbox(spec)).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.change("stop_sandbox", id.as_str(), self.containers.stop_sandbox(id)).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.change("remove_sandbox", id.as_str(), self.containers.remove_sandbox(id)).await
    }

    async fn create_container(
        &self,
        id: &SandboxId,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError> {
        let what = format!("{} {} attempt {}", pod_text(&sandbox.pod), spec.name, spec.attempt);
        self.change("create_container", &what, self.containers.create_container(id, sandbox, spec)).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.change("start_container", id.as_str(), self.containers.start_container(id)).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.change("stop_container", id.as_str(), self.containers.stop_container(id, grace)).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.change("remove_container", id.as_str(), self.containers.remove_container(id)).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.ask("reopen_log", self.containers.reopen_log(id)).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        self.ask("exec", self.containers.exec(id, command, timeout)).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        self.ask("image", self.containers.image(reference)).await
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        self.ask("images", self.containers.images()).await
    }

    async fn pull_image(
        &self,
        reference: &str,
        credentials: &[ImageCredentials],
        sandbox: &SandboxSpec,
    ) -> Result<ImageId, RuntimeError> {
        self.change("pull_image", reference, self.containers.pull_image(reference, credentials, sandbox))
            .await
    }

    async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError> {
        self.change("remove_image", id.as_str(), self.containers.remove_image(id)).await
    }
}

/// Returns whether a sandbox can hold running containers.
pub(crate) fn is_ready(sandbox: &Sandbox) -> bool {
    sandbox.state == SandboxState::Ready
}

#[cfg(test)]
mod tests;
