//! Runs pods through a container runtime that speaks CRI v1 over a Unix socket: containerd, CRI-O
//! and their like. It implements edged's [`Runtime`] port; nothing of CRI leaves this module.
//!
//! The connection is made at the first call and again whenever it broke, so that the runtime may
//! start later than the edge and may be restarted under it.

mod cgroup;
mod connection;
mod endpoint;
mod failure;
mod leftover;
mod listing;
mod probe;
mod proto;
mod reply;
mod request;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edged::ports::{
    ContainerId, ContainerSpec, ExecOutput, Image, ImageCredentials, ImageId, Runtime, RuntimeError,
    RuntimeStatus, RuntimeVersion, Sandbox, SandboxId, SandboxSpec,
};

pub use cgroup::CgroupDriver;
pub use endpoint::{EndpointError, SocketEndpoint};
pub use probe::{DEFAULT_ENDPOINTS, Probed, probe, probe_cgroup_driver, probe_first, probe_sandbox_image};

use connection::Connection;
use leftover::Leftovers;
use listing::Known;
use proto::image_service_client::ImageServiceClient;
use proto::runtime_service_client::RuntimeServiceClient;
use tonic::transport::Channel;

/// How much of each stream of a command's output is kept.
const EXEC_OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What the runtime is given on top of a command's own time limit to report that it was exceeded.
const EXEC_MARGIN: Duration = Duration::from_secs(10);

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Calls that read.
    pub query: Duration,
    /// Calls that change something.
    pub change: Duration,
    /// Making or stopping a sandbox, which sets its network up or tears it down.
    pub sandbox: Duration,
    /// Fetching one image. What was fetched when it passes is kept by the runtime, and the next
    /// attempt goes on from there.
    pub pull: Duration,
}

impl Deadlines {
    /// Derives all from the time for an ordinary change (`runtimeRequestTimeout`).
    #[must_use]
    pub fn from_request_timeout(timeout: Duration) -> Self {
        Self { query: timeout / 4, change: timeout, sandbox: timeout * 2, pull: timeout * 30 }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::from_request_timeout(Duration::from_secs(120))
    }
}

/// Where the runtime listens and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriOptions {
    /// The socket of its runtime service (`containerRuntimeEndpoint`).
    pub endpoint: SocketEndpoint,
    /// The socket of its image service (`imageServiceEndpoint`); `None` for the same.
    pub image_endpoint: Option<SocketEndpoint>,
    /// Deadlines.
    pub deadlines: Deadlines,
}

impl CriOptions {
    /// Returns the options for one endpoint, all else being default.
    #[must_use]
    pub fn new(endpoint: SocketEndpoint) -> Self {
        Self { endpoint, image_endpoint: None, deadlines: Deadlines::default() }
    }
}

/// A CRI v1 container runtime.
pub struct Cri {
    runtime: Connection<RuntimeServiceClient<Channel>>,
    images: Connection<ImageServiceClient<Channel>>,
    leftovers: Leftovers,
    deadlines: Deadlines,
    known: Mutex<Known>,
    cgroup_driver: Mutex<Option<CgroupDriver>>,
}

impl Cri {
    /// Prepares the connection without making it. Must be called within a tokio runtime, which
    /// then drives the connection.
    #[must_use]
    pub fn new(options: CriOptions) -> Self {
        let image_endpoint = options.image_endpoint.unwrap_or_else(|| options.endpoint.clone());
        let limit = connection::MESSAGE_BYTES_MAX;
        Self {
            leftovers: Leftovers::new(options.endpoint.clone(), options.deadlines.change),
            runtime: Connection::open(options.endpoint, |channel| {
                RuntimeServiceClient::new(channel).max_decoding_message_size(limit)
            }),
            images: Connection::open(image_endpoint, |channel| {
                ImageServiceClient::new(channel).max_decoding_message_size(limit)
            }),
            deadlines: options.deadlines,
            known: Mutex::default(),
            cgroup_driver: Mutex::default(),
        }
    }

    /// Returns how the runtime arranges cgroups; asked for once, and again when the runtime was away,
    /// since it may come back with another configuration.
    async fn cgroup_driver(&self) -> Result<CgroupDriver, RuntimeError> {
        let seen = *self.cgroup_driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = seen {
            return Ok(driver);
        }
        let driver = cgroup::ask_driver(&self.runtime, self.deadlines.query).await?;
        *self.cgroup_driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        Ok(driver)
    }

    /// Translates the spec of a sandbox. Creating a container needs the same translation again.
    async fn sandbox_config(&self, spec: &SandboxSpec) -> Result<proto::PodSandboxConfig, RuntimeError> {
        let mut config = request::sandbox(spec);
        if let Some(linux) = &mut config.linux {
            linux.cgroup_parent = self.cgroup_driver().await?.parent(&spec.cgroup_parent);
        }
        Ok(config)
    }

    async fn remove_container_once(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let message = proto::RemoveContainerRequest { container_id: id.to_string() };
        let removed = self
            .runtime
            .ask("remove container", self.deadlines.change, message, async |mut client, request| {
                client.remove_container(request).await
            })
            .await;
        failure::gone_is_done(removed.map(drop))
    }

    async fn remove_sandbox_once(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let message = proto::RemovePodSandboxRequest { pod_sandbox_id: id.to_string() };
        let removed = self
            .runtime
            .ask("remove sandbox", self.deadlines.sandbox, message, async |mut client, request| {
                client.remove_pod_sandbox(request).await
            })
            .await;
        failure::gone_is_done(removed.map(drop))
    }

    /// Removes all containers of a sandbox, those included that outlived it since their creation raced
    /// with its removal.
    async fn remove_containers_of(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let filter = proto::ContainerFilter { pod_sandbox_id: id.to_string(), ..Default::default() };
        let message = proto::ListContainersRequest { filter: Some(filter) };
        let left = self
            .runtime
            .ask("list containers", self.deadlines.query, message, async |mut client, request| {
                client.list_containers(request).await
            })
            .await?;
        for container in left.containers {
            self.remove_container(&ContainerId::new(container.id)).await?;
        }
        Ok(())
    }

    async fn pull_once(
        &self,
        image: &proto::ImageSpec,
        credentials: Option<&ImageCredentials>,
        sandbox: &proto::PodSandboxConfig,
    ) -> Result<ImageId, RuntimeError> {
        let message = proto::PullImageRequest {
            image: Some(image.clone()),
            auth: credentials.map(request::auth),
            sandbox_config: Some(sandbox.clone()),
        };
        let reply = self
            .images
            .ask_raw("pull image", self.deadlines.pull, message, async |mut client, request| {
                client.pull_image(request).await
            })
            .await
            .map_err(|failed| failed.into_pull_error(&image.image))?;
        Ok(ImageId::new(reply.image_ref))
    }
}

impl fmt::Debug for Cri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cri")
            .field("runtime", self.runtime.endpoint())
            .field("images", self.images.endpoint())
            .field("deadlines", &self.deadlines)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for Cri {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        probe::version(&self.runtime, self.deadlines.query).await
    }

    async fn status(&self) -> Result<RuntimeStatus, RuntimeError> {
        probe::status(&self.runtime, self.deadlines.query).await
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let listed = listing::list(&self.runtime, self.deadlines.query, &self.known).await;
        if let Err(RuntimeError::Unavailable(_)) = &listed {
            *self.cgroup_driver.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        listed
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        let message = proto::RunPodSandboxRequest {
            config: Some(self.sandbox_config(spec).await?),
            runtime_handler: spec.runtime_handler.clone(),
        };
        let reply = self
            .runtime
            .ask("run sandbox", self.deadlines.sandbox, message, async |mut client, request| {
                client.run_pod_sandbox(request).await
            })
            .await?;
        Ok(SandboxId::new(reply.pod_sandbox_id))
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let message = proto::StopPodSandboxRequest { pod_sandbox_id: id.to_string() };
        let stopped = self
            .runtime
            .ask("stop sandbox", self.deadlines.sandbox, message, async |mut client, request| {
                client.stop_pod_sandbox(request).await
            })
            .await;
        failure::gone_is_done(stopped.map(drop))
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        if let Err(error) = self.remove_sandbox_once(id).await {
            if !leftover::is_in_the_way(&error) {
                return Err(error);
            }
            self.remove_containers_of(id).await?;
            self.leftovers.end(id.as_str()).await?;
            self.remove_sandbox_once(id).await?;
        }
        self.remove_containers_of(id).await
    }

    async fn create_container(
        &self,
        id: &SandboxId,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError> {
        let message = proto::CreateContainerRequest {
            pod_sandbox_id: id.to_string(),
            config: Some(request::container(sandbox, spec)?),
            sandbox_config: Some(self.sandbox_config(sandbox).await?),
        };
        let reply = self
            .runtime
            .ask("create container", self.deadlines.change, message, async |mut client, request| {
                client.create_container(request).await
            })
            .await?;
        Ok(ContainerId::new(reply.container_id))
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let message = proto::StartContainerRequest { container_id: id.to_string() };
        self.runtime
            .ask("start container", self.deadlines.change, message, async |mut client, request| {
                client.start_container(request).await
            })
            .await
            .map(drop)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let message = proto::StopContainerRequest {
            container_id: id.to_string(),
            timeout: request::whole_seconds(grace),
        };
        let deadline = grace.saturating_add(self.deadlines.change);
        let stopped = self
            .runtime
            .ask("stop container", deadline, message, async |mut client, request| {
                client.stop_container(request).await
            })
            .await;
        failure::gone_is_done(stopped.map(drop))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        match self.remove_container_once(id).await {
            Err(error) if leftover::is_in_the_way(&error) => {
                self.leftovers.end(id.as_str()).await?;
                self.remove_container_once(id).await
            }
            decided => decided,
        }
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let message = proto::ReopenContainerLogRequest { container_id: id.to_string() };
        self.runtime
            .ask("reopen log", self.deadlines.change, message, async |mut client, request| {
                client.reopen_container_log(request).await
            })
            .await
            .map(drop)
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        let seconds = request::whole_seconds(timeout).max(1);
        let message =
            proto::ExecSyncRequest { container_id: id.to_string(), cmd: command.to_vec(), timeout: seconds };
        let deadline = Duration::from_secs(seconds.unsigned_abs()).saturating_add(EXEC_MARGIN);
        let mut reply = self
            .runtime
            .ask("exec", deadline, message, async |mut client, request| client.exec_sync(request).await)
            .await?;
        reply.stdout.truncate(EXEC_OUTPUT_BYTES_MAX);
        reply.stderr.truncate(EXEC_OUTPUT_BYTES_MAX);
        Ok(ExecOutput { code: reply.exit_code, stdout: reply.stdout, stderr: reply.stderr })
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        let message = proto::ImageStatusRequest { image: Some(request::image(reference)), verbose: false };
        let reply = self
            .images
            .ask_raw("image status", self.deadlines.query, message, async |mut client, request| {
                client.image_status(request).await
            })
            .await;
        match reply {
            Ok(reply) => Ok(reply.image.map(reply::image)),
            Err(failed) => match failed.into_image_error(reference) {
                RuntimeError::NotFound(_) => Ok(None),
                other => Err(other),
            },
        }
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        let message = proto::ListImagesRequest { filter: None };
        let reply = self
            .images
            .ask("list images", self.deadlines.query, message, async |mut client, request| {
                client.list_images(request).await
            })
            .await?;
        Ok(reply.images.into_iter().map(reply::image).collect())
    }

    async fn pull_image(
        &self,
        reference: &str,
        credentials: &[ImageCredentials],
        sandbox: &SandboxSpec,
    ) -> Result<ImageId, RuntimeError> {
        let image = request::image(reference);
        let sandbox = self.sandbox_config(sandbox).await?;
        let Some((last, others)) = credentials.split_last() else {
            return self.pull_once(&image, None, &sandbox).await;
        };
        for credentials in others {
            match self.pull_once(&image, Some(credentials), &sandbox).await {
                Err(RuntimeError::PullFailed(refused)) => {
                    tracing::debug!(%reference, registry = %credentials.registry, %refused, "trying the next credentials");
                }
                decided => return decided,
            }
        }
        self.pull_once(&image, Some(last), &sandbox).await
    }

    async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError> {
        let message = proto::RemoveImageRequest { image: Some(request::image(id.as_str())) };
        let removed = self
            .images
            .ask("remove image", self.deadlines.change, message, async |mut client, request| {
                client.remove_image(request).await
            })
            .await;
        failure::gone_is_done(removed.map(drop))
    }
}
