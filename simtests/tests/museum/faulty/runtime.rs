//! A container runtime that shows nothing of what it has, for a while, and makes whatever it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use edged::ports::{
    ContainerId, ContainerSpec, ExecOutput, Image, ImageCredentials, ImageId, Runtime, RuntimeError,
    RuntimeStatus, RuntimeVersion, Sandbox, SandboxId, SandboxSpec,
};

/// A runtime whose first listings are empty, whatever it has, and to which each sandbox is a new one,
/// whatever its name.
#[derive(Debug)]
pub(crate) struct BlankAtFirst {
    runtime: Arc<dyn Runtime>,
    blank: AtomicU32,
    made: Arc<AtomicU32>,
}

impl BlankAtFirst {
    /// Lets so many listings be empty; `made` counts sandboxes through restarts of the process.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, listings: u32, made: Arc<AtomicU32>) -> Self {
        Self { runtime, blank: AtomicU32::new(listings), made }
    }
}

#[async_trait]
impl Runtime for BlankAtFirst {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        self.runtime.version().await
    }

    async fn status(&self) -> Result<RuntimeStatus, RuntimeError> {
        self.runtime.status().await
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let listed = self.runtime.list().await?;
        let left = self.blank.load(Ordering::Relaxed);
        self.blank.store(left.saturating_sub(1), Ordering::Relaxed);
        Ok(if left > 0 { Vec::new() } else { listed })
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        let mut spec = spec.clone();
        spec.pod.attempt = self.made.fetch_add(1, Ordering::Relaxed);
        self.runtime.run_sandbox(&spec).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.runtime.stop_sandbox(id).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.runtime.remove_sandbox(id).await
    }

    async fn create_container(
        &self,
        id: &SandboxId,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError> {
        self.runtime.create_container(id, sandbox, spec).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.runtime.start_container(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.runtime.stop_container(id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.runtime.remove_container(id).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.runtime.reopen_log(id).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        self.runtime.exec(id, command, timeout).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        self.runtime.image(reference).await
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        self.runtime.images().await
    }

    async fn pull_image(
        &self,
        reference: &str,
        credentials: &[ImageCredentials],
        sandbox: &SandboxSpec,
    ) -> Result<ImageId, RuntimeError> {
        self.runtime.pull_image(reference, credentials, sandbox).await
    }

    async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError> {
        self.runtime.remove_image(id).await
    }
}
